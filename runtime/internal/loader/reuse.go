package loader

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// take uses a map that is there in place of a new one.
func (l *load) take(m *Map, given *ebpf.Map) error {
	fd, err := sys.Dup(given.FD())
	if err != nil {
		return err
	}
	return l.takeFD(m, fd)
}

// Take makes the object one that others have loaded: it gets references of its own to their
// maps and programs, which have the indices of the object's, nil for what is not there. It
// stands in for Load, and leaves nothing on error. done is as [Options.Done].
func (o *Object) Take(maps []*ebpf.Map, programs []*ebpf.Program, done func() error) error {
	l := &load{object: o, opts: Options{Done: done}, btf: -1, complete: true}
	l.undo.Push(l.closeMaps)
	takeMaps := func() error {
		for i, m := range maps {
			if m == nil {
				continue
			}
			if err := l.take(o.Maps[i], m); err != nil {
				return &MapError{Map: o.Maps[i], Err: err}
			}
		}
		return nil
	}
	takePrograms := func() error {
		for i, p := range programs {
			own, err := p.Clone()
			if err != nil {
				return &ProgramError{Program: o.Programs[i], Err: err}
			}
			def := o.Programs[i]
			def.Program = own
			l.undo.Push(func() error {
				def.Program = nil
				return own.Close()
			})
		}
		return nil
	}
	for _, step := range []func() error{takeMaps, takePrograms, l.done} {
		if err := step(); err != nil {
			return errors.Join(err, l.undo.Unwind())
		}
	}
	l.succeeded = true
	o.loaded = l
	return nil
}

// takeFD is take for a descriptor, which it closes on error.
func (l *load) takeFD(m *Map, fd int) error {
	info, err := l.checkFits(m, fd)
	if err != nil {
		sys.Close(fd)
		return err
	}
	if m.Map, err = wrapMap(fd, m.Type); err != nil {
		return err
	}
	m.Taken, m.Mappable = true, info.Flags&sys.Mmapable != 0
	if m.Type == ebpf.Arena {
		return m.mapArena()
	}
	return nil
}

// checkFits returns what the kernel knows of a map, or an error that wraps
// [ebpf.ErrMapIncompatible] unless programs can use it as the object declares it: what
// libbpf compares of a pinned map must be the same.
func (l *load) checkFits(m *Map, fd int) (info sys.MapInfo, err error) {
	if err := sys.GetInfoByFD(fd, &info); err != nil {
		return info, fmt.Errorf("read its definition from the kernel: %w", err)
	}
	want, err := l.mapAttr(m)
	if err != nil {
		return info, err
	}
	flags := info.Flags
	if m.Type == ebpf.DevMap || m.Type == ebpf.DevMapHash {
		// The kernel sets the flag for all maps of these types.
		flags = flags&^sys.RdonlyProg | want.Flags&sys.RdonlyProg
	}
	if m.Kind.IsSection() {
		// Older kernels cannot map it, and other loaders do not ask for it.
		flags = flags&^sys.Mmapable | want.Flags&sys.Mmapable
	}
	var diffs []string
	differ := func(what string, has, wants uint64) {
		if has != wants {
			diffs = append(diffs, fmt.Sprintf("%s %d and not %d", what, has, wants))
		}
	}
	if info.Type != want.Type {
		diffs = append(diffs, fmt.Sprintf("the type %v and not %v", ebpf.MapType(info.Type), m.Type))
	}
	differ("key_size", uint64(info.KeySize), uint64(want.KeySize))
	differ("value_size", uint64(info.ValueSize), uint64(want.ValueSize))
	differ("max_entries", uint64(info.MaxEntries), uint64(want.MaxEntries))
	differ("map_flags", uint64(flags), uint64(want.Flags))
	differ("map_extra", info.Extra, want.Extra)
	if len(diffs) > 0 {
		return info, fmt.Errorf("%w: it has %s", ebpf.ErrMapIncompatible, strings.Join(diffs, ", "))
	}
	return info, nil
}

// checkTypes returns an error that wraps [ebpf.ErrMapIncompatible] when the kernel knows other
// types of the keys or values of a map than those of the definition. Sizes and the like are
// compared by checkFits.
func (l *load) checkTypes(m *Map, fd int) error {
	if !m.SameTypes || l.btf < 0 || !takesTypes(m.Type) || m.KeyType == 0 && m.ValueType == 0 {
		return nil
	}
	var info sys.MapInfo
	if err := sys.GetInfoByFD(fd, &info); err != nil {
		return fmt.Errorf("read its definition from the kernel: %w", err)
	}
	if info.BTFID == 0 || uint32(info.Type) != uint32(m.Type) {
		return nil
	}
	other, err := sys.GetFDByID(sys.BTFFDByIDCmd, info.BTFID)
	if errors.Is(err, syscall.EPERM) {
		// Opening BTF by its ID takes CAP_SYS_ADMIN, which no token stands for.
		return nil
	}
	if err != nil {
		return fmt.Errorf("BTF of the map: %w", err)
	}
	defer sys.Close(other)
	has, err := readBTF(other)
	if err != nil {
		return fmt.Errorf("BTF of the map: %w", err)
	}
	// What the kernel has been given, which is not all that the object has on older kernels.
	wants, err := readBTF(l.btf)
	if err != nil {
		return fmt.Errorf("BTF of the object: %w", err)
	}
	for _, t := range []struct {
		what       string
		has, wants uint32
	}{{"keys", info.KeyTypeID, m.KeyType}, {"values", info.ValueTypeID, m.ValueType}} {
		if t.has == 0 || t.wants == 0 {
			continue
		}
		a, err := has.TypeByID(btf.TypeID(t.has))
		if err != nil {
			return fmt.Errorf("type of its %s: %w", t.what, err)
		}
		b, err := wants.TypeByID(btf.TypeID(t.wants))
		if err != nil {
			return fmt.Errorf("type of the %s of the object's: %w", t.what, err)
		}
		if x, y, same := subskel.Compare(a, b); !same {
			return fmt.Errorf("%w: its %s are %s, and the object's are %s", ebpf.ErrMapIncompatible, t.what, x, y)
		}
	}
	return nil
}

// readBTF returns the BTF that a descriptor is of.
func readBTF(fd int) (*btf.Spec, error) {
	var info sys.BTFInfo
	if err := sys.GetInfoByFD(fd, &info); err != nil {
		return nil, err
	}
	raw := make([]byte, info.Size)
	info = sys.BTFInfo{BTF: sys.PointerToSlice(raw), Size: info.Size}
	if err := sys.GetInfoByFD(fd, &info); err != nil {
		return nil, err
	}
	return btf.LoadSpecFromReader(bytes.NewReader(raw))
}
