package loader

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/features"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// openMaps defines the maps as the image does.
func (o *Object) openMaps() {
	img := o.Image
	all := make([]Map, len(img.Maps))
	o.Maps = make([]*Map, len(all))
	for i := range all {
		m, desc := &all[i], &img.Maps[i]
		o.Maps[i] = m
		*m = Map{
			Name: desc.Name, Kind: desc.Kind, Type: ebpf.MapType(desc.Type),
			KeySize: desc.KeySize, ValueSize: desc.ValueSize, MaxEntries: desc.MaxEntries,
			Flags: desc.Flags, NUMANode: desc.NUMANode, Extra: desc.Extra,
			KeyType: desc.KeyType, ValueType: desc.ValueType,
			PinByName:  desc.Pinning == pinByName,
			Autocreate: desc.Kind != image.InnerMap,
			Contents:   desc.Contents,
		}
		m.dropRecordType()
		if desc.Inner != image.NoIndex {
			m.Inner = &all[desc.Inner]
		}
	}
	if img.Arena.Map != image.NoIndex {
		m := &all[img.Arena.Map]
		m.Contents, m.arenaData = img.Arena.Contents, int(img.Arena.Size)
	}
	for _, v := range img.Variables {
		if v.Visible && v.Map != image.NoIndex {
			all[v.Map].Mmap = true
		}
	}
	for _, e := range img.Elements {
		m := &all[e.Map]
		element := Element{Key: e.Key}
		if e.IsProgram {
			element.Program = o.Programs[e.Target]
		} else {
			element.Map = &all[e.Target]
		}
		m.Elements = append(m.Elements, element)
	}
}

// dropRecordType clears the key and value that a ring buffer or a perf event array is declared
// with: cilium/ebpf lets these state the type of the records, and neither the kernel nor libbpf
// takes them.
func (m *Map) dropRecordType() {
	switch m.Type {
	case ebpf.RingBuf, ebpf.UserRingbuf:
		m.KeySize, m.ValueSize = 0, 0
	case ebpf.PerfEventArray:
		m.KeySize, m.ValueSize = 4, 4
	default:
		return
	}
	m.KeyType, m.ValueType = 0, 0
}

// pinByName is LIBBPF_PIN_BY_NAME.
const pinByName = 1

// isConstant reports whether neither programs nor user space write to the map.
func (m *Map) isConstant() bool { return m.Kind == image.RodataMap || m.Kind == image.KconfigMap }

// creates reports whether the load has the map in the kernel, made by it or taken.
func (l *load) creates(m *Map) bool { return m.Autocreate && m.Kind != image.InnerMap }

// createMaps makes the maps, and fills those of sections and the maps of maps.
func (l *load) createMaps() error {
	if err := l.checkMaps(); err != nil {
		return err
	}
	l.undo.Push(l.closeMaps)
	var exclusive []*Map
	for _, m := range l.object.Maps {
		switch {
		case !l.creates(m):
			continue
		case m.Exclusive != nil:
			exclusive = append(exclusive, m)
			continue
		}
		if err := l.createMap(m); err != nil {
			return &MapError{Map: m, Err: err}
		}
	}
	if err := l.createExclusive(exclusive); err != nil {
		return err
	}
	for _, m := range l.object.Maps {
		if m.Map == nil || m.Taken || m.Type == ebpf.ProgramArray {
			continue
		}
		if err := m.putElements(); err != nil {
			return &MapError{Map: m, Err: err}
		}
	}
	return nil
}

// checkMaps finds what cannot work before anything is made.
func (l *load) checkMaps() error {
	for name := range l.opts.Maps {
		if !slices.ContainsFunc(l.object.Maps, func(m *Map) bool { return m.Name == name && m.Kind != image.InnerMap }) {
			return fmt.Errorf("map %s is to be used in place of the object's, which has no map of this name", name)
		}
	}
	for _, m := range l.object.Maps {
		if !l.creates(m) || m.Type != ebpf.ProgramArray {
			continue
		}
		for _, e := range m.Elements {
			if e.Program != nil && !slices.Contains(l.selected, e.Program) {
				return &MapError{Map: m, Err: fmt.Errorf("element %d is program %s, which is not to be loaded: call its SetAutoload(true), or take it out with SetContents", e.Key, e.Program.Name)}
			}
		}
	}
	return nil
}

// closeMaps closes the maps in the kernel. The memory of arenas stays, as there may be
// pointers to it, unless the load has failed.
func (l *load) closeMaps() error {
	var errs []error
	for _, m := range l.object.Maps {
		if m.Arena != nil && !l.succeeded {
			errs = append(errs, m.Arena.discard())
			m.Arena = nil
		}
		if m.Map != nil {
			errs = append(errs, m.Map.Close())
			m.Map, m.Taken, m.Mappable = nil, false, false
		}
	}
	return errors.Join(errs...)
}

// createMap makes the map, or takes another one in its place.
func (l *load) createMap(m *Map) error {
	given := m.Reuse
	if given == nil {
		given = l.opts.Maps[m.Name]
	}
	if given != nil {
		return l.take(m, given)
	}
	if path := l.pinPath(m); path != "" {
		found, err := l.takePinned(m, path)
		if found || err != nil {
			return err
		}
		l.toPin = append(l.toPin, pin{m: m, path: path})
	}
	fd, mmapable, err := l.newMap(m)
	if err != nil {
		return err
	}
	if err := m.fill(fd); err != nil {
		return errors.Join(err, sys.Close(fd))
	}
	if m.Map, err = wrapMap(fd, m.Type); err != nil {
		return err
	}
	m.Mappable = mmapable
	if m.Type == ebpf.Arena {
		return m.mapArena()
	}
	return nil
}

// wrapMap makes a map of cilium/ebpf from the descriptor, for which that asks the kernel about
// the map. It closes the descriptor on error.
func wrapMap(fd int, typ ebpf.MapType) (*ebpf.Map, error) {
	switch typ {
	case ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUCPUHash, ebpf.PerCPUCGroupStorage:
		// cilium/ebpf needs their number for such a map.
		if _, err := possibleCPUs(); err != nil {
			return nil, errors.Join(err, sys.Close(fd))
		}
	}
	if err := sys.Fault(sys.ObjInfoByFDCmd); err != nil {
		return nil, errors.Join(err, sys.Close(fd))
	}
	return ebpf.NewMapFromFD(fd)
}

// possibleCPUs returns how many CPUs there may be. cilium/ebpf reads that the first time,
// and remembers for good if it cannot, as for lack of a descriptor.
func possibleCPUs() (int, error) {
	f, err := os.Open("/sys/devices/system/cpu/possible")
	if err != nil {
		return 0, err
	}
	f.Close()
	return ebpf.PossibleCPU()
}

// NewMap makes one more map of a definition, as for the values of a map of maps, with the
// types of the object, which must be loaded. The map is the caller's.
func (o *Object) NewMap(m *Map) (*ebpf.Map, error) {
	if o.loaded == nil {
		return nil, errNotLoaded
	}
	fd, _, err := o.loaded.newMap(m)
	if err == nil {
		var made *ebpf.Map
		if made, err = wrapMap(fd, m.Type); err == nil {
			return made, nil
		}
	}
	return nil, &MapError{Map: m, Err: err}
}

// newMap makes a map in the kernel, and returns its descriptor and whether it can be mapped.
func (l *load) newMap(m *Map) (fd int, mmapable bool, err error) {
	attr, err := l.mapAttr(m)
	if err != nil {
		return -1, false, err
	}
	if isMapOfMaps(m.Type) {
		inner, err := l.innerMap(m)
		if err != nil {
			return -1, false, err
		}
		// The kernel copies the definition of the inner map, and does not keep the map.
		defer sys.Close(inner)
		attr.InnerMapFD = uint32(inner)
	}
	fd, err = l.create(m, &attr)
	return fd, attr.Flags&sys.Mmapable != 0, err
}

// mapAttr returns what is passed to the kernel to create the map.
func (l *load) mapAttr(m *Map) (sys.MapCreateAttr, error) {
	entries, err := m.Entries()
	if err != nil {
		return sys.MapCreateAttr{}, err
	}
	attr := sys.MapCreateAttr{
		Type: sys.MapType(m.Type), KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: entries,
		Flags: m.Flags, NUMANode: m.NUMANode, Extra: m.Extra, Ifindex: m.Ifindex,
		Name: l.kernelName(m),
	}
	if m.Kind.IsSection() && l.isMappable(m) {
		attr.Flags |= sys.Mmapable
	}
	if hash := l.hashes[m.Exclusive]; hash != nil {
		attr.ProgHash, attr.ProgHashSize = sys.PointerToSlice(hash), uint32(len(hash))
	}
	if l.btf >= 0 && takesTypes(m.Type) && (m.KeyType != 0 || m.ValueType != 0) {
		attr.BTFFD, attr.KeyTypeID, attr.ValueTypeID = uint32(l.btf), m.KeyType, m.ValueType
	}
	return attr, nil
}

// isMappable reports whether the section is to be mapped: as for libbpf, one with variables
// that others than its file see.
func (l *load) isMappable(m *Map) bool {
	return m.Mmap || m.Kind == image.KconfigMap
}

// Entries returns how many entries the map has in the kernel, as libbpf makes them of what
// is declared: rings have a size that the kernel takes, and perf event arrays without one
// have an entry for each CPU.
func (m *Map) Entries() (uint32, error) {
	switch m.Type {
	case ebpf.RingBuf, ebpf.UserRingbuf:
		return ringSize(m.MaxEntries, uint32(os.Getpagesize())), nil
	case ebpf.PerfEventArray:
		if m.MaxEntries == 0 {
			n, err := possibleCPUs()
			return uint32(n), err
		}
	}
	return m.MaxEntries, nil
}

// ringSize rounds the number of bytes that a ring buffer holds up to what the kernel takes:
// a power of two of pages. 0 stays 0, so that a size that was forgotten is an error.
func ringSize(n, pageSize uint32) uint32 {
	if n == 0 || n > 1<<31 {
		return n
	}
	return max(pageSize, 1<<bits.Len32(n-1))
}

func isMapOfMaps(t ebpf.MapType) bool { return t == ebpf.ArrayOfMaps || t == ebpf.HashOfMaps }

// takesTypes reports whether libbpf passes the types of keys and values of such a map to the
// kernel, which refuses them for all others.
func takesTypes(t ebpf.MapType) bool {
	switch t {
	case ebpf.PerfEventArray, ebpf.CGroupArray, ebpf.StackTrace, ebpf.ArrayOfMaps, ebpf.HashOfMaps,
		ebpf.DevMap, ebpf.DevMapHash, ebpf.CPUMap, ebpf.XSKMap, ebpf.SockMap, ebpf.SockHash,
		ebpf.Queue, ebpf.Stack, ebpf.Arena:
		return false
	}
	return true
}

// innerMap returns a descriptor of a map like the values of a map of maps.
func (l *load) innerMap(m *Map) (int, error) {
	if m.InnerMap != nil {
		return sys.Dup(m.InnerMap.FD())
	}
	if m.Inner == nil {
		return -1, errors.New("it holds maps, and does not say of which kind: declare them with __array(values, ...), or call SetInner")
	}
	fd, _, err := l.newMap(m.Inner)
	if err != nil {
		return -1, fmt.Errorf("make a map like its values: %w", err)
	}
	return fd, nil
}

// create makes the map that attr describes. Where the kernel refuses it, it gives up what
// the kernel does not know and the map can do without: first that the map can be mapped, then
// its types.
func (l *load) create(m *Map, attr *sys.MapCreateAttr) (int, error) {
	attr.UseToken(l.token.FD)
	fd, err := sys.MapCreate(attr)
	if m.Kind.IsSection() && attr.Flags&sys.Mmapable != 0 && errors.Is(err, syscall.EINVAL) {
		yes, unknown := l.has(features.Mmapable)
		if unknown != nil {
			return -1, unknown
		}
		if !yes {
			attr.Flags &^= sys.Mmapable
			fd, err = sys.MapCreate(attr)
		}
	}
	if err == nil {
		return fd, nil
	}
	if attr.BTFFD != 0 && !features.IsLack(err) && !features.IsForbidden(err) && !m.needsBTF(l.object) {
		attr.BTFFD, attr.KeyTypeID, attr.ValueTypeID = 0, 0, 0
		if fd, err = sys.MapCreate(attr); err == nil {
			return fd, nil
		}
	}
	return -1, fmt.Errorf("create it: %w", explainCreate(attr, err, sys.KernelVersion()))
}

// kernelName returns the name of the map in the kernel. That of a section is libbpf's: as
// much of the object's name as fits before that of the section, for which at least seven
// characters are kept. A section with a name of the user's own, such as .data.counters, has
// that alone.
func (l *load) kernelName(m *Map) [sys.NameLen]byte {
	if !m.Kind.IsSection() {
		return sys.Name(m.Name)
	}
	const most = sys.NameLen - 1
	section := m.Name[:min(len(m.Name), most)]
	prefix := l.object.Image.Name
	if len(m.Name) > 1 && strings.Contains(m.Name[1:], ".") {
		prefix = ""
	}
	prefix = prefix[:min(len(prefix), most-max(len(section), 7))]
	name := sys.Name(prefix + section)
	for i, c := range name[:most] {
		if c != 0 && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			name[i] = '_'
		}
	}
	return name
}

// fill writes the contents of a section into its map, which is new and has zeros. A constant
// map is frozen then.
func (m *Map) fill(fd int) error {
	if !m.Kind.IsSection() {
		return nil
	}
	if uint64(len(m.Contents)) > uint64(m.ValueSize) {
		return fmt.Errorf("has %d bytes of contents and a value of %d: make its value larger", len(m.Contents), m.ValueSize)
	}
	if !isZero(m.Contents) {
		contents := m.Contents
		if n := m.ValueSize; uint32(len(contents)) < n {
			contents = append(make([]byte, 0, n), contents...)[:n]
		}
		var key uint32
		if err := sys.MapUpdate(fd, sys.PointerTo(&key), sys.PointerToSlice(contents), 0); err != nil {
			return fmt.Errorf("write its contents: %w", err)
		}
	}
	if !m.isConstant() {
		return nil
	}
	if err := sys.MapFreeze(fd); err != nil {
		return fmt.Errorf("freeze it: %w", err)
	}
	return nil
}

// isZero reports whether all bytes are zero. Others may be writing to them: the race
// detector does not look here.
//
//go:norace
func isZero(b []byte) bool {
	p := unsafe.Pointer(unsafe.SliceData(b))
	i := 0
	if uintptr(p)%8 == 0 {
		for ; i+8 <= len(b); i += 8 {
			if *(*uint64)(unsafe.Add(p, i)) != 0 {
				return false
			}
		}
	}
	for ; i < len(b); i++ {
		if *(*byte)(unsafe.Add(p, i)) != 0 {
			return false
		}
	}
	return true
}

// putElements puts programs into the program arrays.
func (l *load) putElements() error {
	for _, m := range l.object.Maps {
		if m.Map == nil || m.Type != ebpf.ProgramArray {
			continue
		}
		if err := m.putElements(); err != nil {
			return &MapError{Map: m, Err: err}
		}
	}
	return nil
}

func (m *Map) putElements() error {
	for _, e := range m.Elements {
		fd, err := e.fd()
		if err == nil {
			key, value := e.Key, uint32(fd)
			err = sys.MapUpdate(m.Map.FD(), sys.PointerTo(&key), sys.PointerTo(&value), 0)
		}
		if err != nil {
			return fmt.Errorf("element %d, %v: %w", e.Key, e, explainElement(err))
		}
	}
	return nil
}

func (e Element) String() string {
	switch {
	case e.Program != nil:
		return "program " + e.Program.Name
	case e.Map != nil:
		return "map " + e.Map.Name
	}
	return "nothing"
}

// fd returns the descriptor of the element.
func (e Element) fd() (int, error) {
	switch {
	case e.Program != nil && e.Program.Program != nil:
		return e.Program.Program.FD(), nil
	case e.Program != nil:
		return -1, errors.New("is not loaded: call its SetAutoload(true), or take it out with SetContents")
	case e.Map != nil && e.Map.Map != nil:
		return e.Map.Map.FD(), nil
	case e.Map != nil:
		return -1, errors.New("is not created: call its SetAutocreate(true), or take it out of the map")
	}
	return -1, errors.New("neither a map nor a program is given")
}

// explainElement explains what the kernel means when it refuses an element.
func explainElement(err error) error {
	switch {
	case errors.Is(err, syscall.E2BIG):
		return fmt.Errorf("the map has no such element: raise its max_entries: %w", err)
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("the kernel does not take it: maps must be like the declared values, and programs of one type: %w", err)
	}
	return err
}
