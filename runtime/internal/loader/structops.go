package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/refusal"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// openStructOps defines the struct_ops maps as the object has them.
func (o *Object) openStructOps() {
	for i := range o.Image.StructOps {
		desc := &o.Image.StructOps[i]
		s := &StructOps{
			Name:     desc.Name,
			Section:  desc.Section,
			Table:    bytes.Clone(desc.Contents),
			Programs: make(map[uint32]*Program, len(desc.Funcs)),
			// As in libbpf: Load leaves out a map whose section begins with "?".
			Autocreate: !strings.HasPrefix(desc.Section, "?"),
			desc:       desc,
		}
		for _, f := range desc.Funcs {
			s.Programs[f.Offset] = o.Programs[f.Program]
		}
		o.StructOps = append(o.StructOps, s)
	}
}

// linked reports whether the map is registered through a link.
func (s *StructOps) linked() bool { return strings.HasSuffix(s.Section, ".link") }

// opsType is a struct_ops type of the running kernel.
type opsType struct {
	// table is the type of the table, and value that of the struct around it, in which it
	// starts at offset, in bytes.
	table, value rawbtf.Type
	offset       uint32
	// fd is a descriptor of the BTF of the module that has the type, 0 for the kernel.
	fd int
}

// valuePrefix is what the name of the struct around a table begins with.
const valuePrefix = "bpf_struct_ops_"

// opsTypeName returns the name of the table's type in the kernel: that in the object without
// a flavour.
func (l *load) opsTypeName(s *StructOps) (string, error) {
	local, err := l.object.localTypes()
	if err != nil {
		return "", err
	}
	return rawbtf.EssentialName(local.At(s.desc.Type).Name()), nil
}

// structOpsNames adds the names of the kernel's types of the tables.
func (l *load) structOpsNames(names *rawbtf.Names) {
	for _, s := range l.object.StructOps {
		if !s.Autocreate {
			continue
		}
		if name, err := l.opsTypeName(s); err == nil {
			names.Add(valuePrefix + name)
		}
	}
}

// findOpsType finds the kernel's type of a table.
func (l *load) findOpsType(s *StructOps) (opsType, error) {
	name, err := l.opsTypeName(s)
	if err != nil {
		return opsType{}, err
	}
	value, ok, err := l.findType(valuePrefix+name, rawbtf.Struct)
	if err != nil {
		return opsType{}, err
	}
	if !ok && !refusal.HasJIT() {
		return opsType{}, &TargetError{name, fmt.Errorf("the kernel has no BPF JIT compiler (CONFIG_BPF_JIT), and so no struct_ops types such as %s: call SetAutocreate(false) on the map there, or use another kernel: %w", name, ebpf.ErrNotSupported)}
	}
	if !ok {
		return opsType{}, &TargetError{name, l.withUnreadable(fmt.Errorf("neither the kernel nor a module has the struct_ops type %s (struct %s%s is not in their BTF): load the module that has it, or use another kernel: %w", name, valuePrefix, name, ebpf.ErrNotSupported))}
	}
	t := opsType{value: value}
	for i := range value.Vlen() {
		m := value.Member(i)
		// The kernel may have several structs of the name: this is the one that it means.
		t.table, t.offset = value.In().At(m.Type), m.Offset/8
		if t.table.Kind() == rawbtf.Struct && t.table.Name() == name && uint64(t.offset)+uint64(t.table.ByteSize()) <= uint64(value.ByteSize()) {
			t.fd, err = l.kernel.FD(value.In())
			return t, err
		}
	}
	return opsType{}, fmt.Errorf("struct %s%s of the kernel has no member of struct %s", valuePrefix, name, name)
}

// opsUse is the member that a program is loaded for, in the first table that has it.
type opsUse struct {
	s      *StructOps
	member string
	target target
}

func (u opsUse) String() string { return "member " + u.member + " of map " + u.s.Name }

// prepareStructOps finds the kernel's types of the tables, and lays them out.
func (l *load) prepareStructOps() error {
	uses := make(map[*Program]opsUse)
	var errs []error
	for _, s := range l.object.StructOps {
		if !s.Autocreate {
			continue
		}
		for _, err := range l.prepareTable(s, uses) {
			errs = append(errs, &StructOpsError{s, err})
		}
	}
	return errors.Join(errs...)
}

// prepareTable lays a table out as the kernel has it, and notes what it uses its programs
// for. It returns all that is wrong.
func (l *load) prepareTable(s *StructOps, uses map[*Program]opsUse) (errs []error) {
	kernel, err := l.findOpsType(s)
	if err != nil {
		return []error{err}
	}
	local, err := l.object.localTypes()
	if err != nil {
		return []error{err}
	}
	user := local.At(s.desc.Type)
	s.made = opsMade{typeName: kernel.table.Name(), valueID: kernel.value.ID, moduleFD: kernel.fd}
	s.Value = make([]byte, kernel.value.ByteSize())
	for _, offset := range slices.Sorted(maps.Keys(s.Programs)) {
		p := s.Programs[offset]
		if p == nil {
			continue
		}
		name, err := functionAt(user, offset)
		if err == nil {
			err = l.useProgram(s, kernel, opsUse{s: s, member: name}, p, uses)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if uint64(len(s.Table)) < uint64(user.ByteSize()) {
		return append(errs, fmt.Errorf("has %d bytes, and its type %d: generate the code again", len(s.Table), user.ByteSize()))
	}
	if err := copyMembers(s.Value[kernel.offset:], s.Table, kernel.table, user); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// functionAt returns the name of the function pointer at an offset of the table, in bytes.
func functionAt(table rawbtf.Type, offset uint32) (string, error) {
	for i := range table.Vlen() {
		if m := table.Member(i); uint64(m.Offset) == 8*uint64(offset) && isFunctionPointer(table.In().At(m.Type)) {
			return m.Name, nil
		}
	}
	return "", fmt.Errorf("has a program at offset %d, where struct %s has no function", offset, table.Name())
}

// useProgram notes that a member of a table is a program. The kernel verifies a program for
// one member of one type.
func (l *load) useProgram(s *StructOps, kernel opsType, use opsUse, p *Program, uses map[*Program]opsUse) error {
	switch {
	case p.object != l.object:
		return fmt.Errorf("member %s is program %s of another object: assign one of this object", use.member, p.Name)
	case p.Type != ebpf.StructOps:
		return fmt.Errorf("member %s is program %s of SEC(%q): assign a program of SEC(\"struct_ops\")", use.member, p.Name, p.Section)
	}
	index, offset, err := functionMember(kernel.table, use.member)
	if err != nil {
		err = fmt.Errorf("member %s is program %s, and %w: set it to nil, or load on a kernel that has it", use.member, p.Name, err)
		return &TargetError{kernel.table.Name() + "." + use.member, err}
	}
	use.target = target{id: kernel.table.ID, fd: kernel.fd, member: index}
	if first, ok := uses[p]; !ok {
		uses[p] = use
		l.setTarget(p, use.target)
	} else if first.target != use.target {
		return fmt.Errorf("program %s is both %s and %s: the kernel takes a program for one member of one type: write a second program that calls the same function", p.Name, first, use)
	}
	s.made.funcs = append(s.made.funcs, opsFunc{kernel.offset + offset, p})
	return nil
}

// opsMade is what a map in the kernel is made of.
type opsMade struct {
	typeName string
	// valueID is the ID of the struct around the table.
	valueID uint32
	// moduleFD is a descriptor of the BTF of the module that has the type, 0 for the kernel.
	moduleFD int
	funcs    []opsFunc
}

// opsFunc is a program in the kernel's value, at an offset in bytes.
type opsFunc struct {
	offset uint32
	prog   *Program
}

// createStructOps makes the struct_ops maps, of the programs that are loaded by then:
// before the first program, Linux 5.10 does not know its own types. Maps that are
// registered through links get their contents now, which makes the kernel look at them;
// for the others this is what registers them.
func (l *load) createStructOps() error {
	for _, s := range l.object.StructOps {
		if !s.Autocreate {
			continue
		}
		if err := l.createTable(s); err != nil {
			return &StructOpsError{s, err}
		}
	}
	return nil
}

func (l *load) createTable(s *StructOps) error {
	if s.made.moduleFD != 0 {
		// Maps are made after Load, too.
		fd, err := sys.Dup(s.made.moduleFD)
		if err != nil {
			return err
		}
		s.made.moduleFD = fd
		l.undo.Push(func() error { return sys.Close(fd) })
	}
	for _, f := range s.made.funcs {
		binary.NativeEndian.PutUint64(s.Value[f.offset:], uint64(f.prog.Program.FD()))
	}
	m, err := l.newStructOps(s)
	if err != nil {
		return err
	}
	s.Map = m
	l.undo.Push(func() error {
		s.Map = nil
		return m.Close()
	})
	if !s.linked() {
		return nil
	}
	key := uint32(0)
	if err := sys.MapUpdate(m.FD(), sys.PointerTo(&key), sys.PointerToSlice(s.Value), 0); err != nil {
		return fmt.Errorf("the kernel does not take this table of type %s: give it the members that the type requires, and leave at zero or nil those that the kernel does not take from programs (its log may say which): %w", s.made.typeName, err)
	}
	return nil
}

// NewStructOps makes one more map of a table that Load has made one of, as the kernel
// registers a map only once. The map is the caller's, and has no value yet.
func (o *Object) NewStructOps(s *StructOps) (*ebpf.Map, error) {
	if o.loaded == nil || s.Map == nil {
		return nil, errNotLoaded
	}
	return o.loaded.newStructOps(s)
}

func (l *load) newStructOps(s *StructOps) (*ebpf.Map, error) {
	attr := sys.MapCreateAttr{
		Type:           sys.StructOps,
		KeySize:        4,
		ValueSize:      uint32(len(s.Value)),
		MaxEntries:     1,
		Name:           sys.Name(s.Name),
		VmlinuxValueID: s.made.valueID,
	}
	if s.linked() {
		attr.Flags |= sys.Link
	}
	if s.made.moduleFD != 0 {
		attr.Flags |= sys.VtypeBTF
		attr.ModuleBTFFD = int32(s.made.moduleFD)
	}
	// The kernel wants BTF of the object for every map with types, and looks at none of it
	// for this kind.
	if l.btf >= 0 {
		attr.BTFFD = uint32(l.btf)
	}
	attr.UseToken(l.token.FD)
	fd, err := sys.MapCreate(&attr)
	if errors.Is(err, syscall.EINVAL) && s.linked() {
		// Is it the flag that the kernel does not know?
		attr.Flags &^= sys.Link
		if fd, err := sys.MapCreate(&attr); err == nil {
			sys.Close(fd)
			return nil, fmt.Errorf("the kernel has no links for struct_ops maps, which Linux 6.4 brought: put the map into section .struct_ops, or use a newer kernel: %w", ebpf.ErrNotSupported)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create a map of type %s: %w", s.made.typeName, err)
	}
	return ebpf.NewMapFromFD(fd)
}
