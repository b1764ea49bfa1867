package skeleton

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// StructOpsMap is a handle on a struct_ops map of the object: a table of programs and
// values that the kernel takes in place of one of its own, such as a TCP congestion
// control.
//
// The table is a struct of the skeleton, skel.StructOps.<Map>. Load makes the map of
// what the struct holds then; later changes do nothing. The kernel's struct may
// differ from the object's: members are matched by their names, and one that is zero
// fits every kernel. A type foo___v2 is the kernel's type foo.
type StructOpsMap struct {
	UntypedMap
	object *object
	ops    *loader.StructOps
	// table is the user's struct, of size bytes.
	table unsafe.Pointer
	size  uintptr
	// fields are those of the skeleton and, until Load, of the subskeletons that point
	// to it.
	fields []field
	funcs  []binding.StructOpsFunc
	slot   *link.Link

	autoattach bool
	// unpinned is what SetPinLinks(false) has set.
	unpinned bool
	// links watches the link in the slot, which may be closed by hand.
	links attach.Links

	// made is the map in the kernel, nil when it was not to be created.
	made *ebpf.Map
	// unattached is why the link slot is empty. The object's mutex guards it.
	unattached string
	// used is true when the map in the kernel was registered before: it cannot be registered again.
	used bool
}

// Section returns the argument of SEC().
func (m *StructOpsMap) Section() string { return m.ops.Section }

// Autoattach reports whether the skeleton's Attach attaches the map (bpf_map__autoattach).
// It is true by default.
func (m *StructOpsMap) Autoattach() bool { return m.autoattach }

// SetAutoattach sets whether the skeleton's Attach attaches the map
// (bpf_map__set_autoattach), before Load or after it. It fails with [ErrClosed] after Close.
func (m *StructOpsMap) SetAutoattach(autoattach bool) error {
	return m.object.setUntil(closed, "autoattach of map "+m.name, func() error {
		m.autoattach = autoattach
		return nil
	})
}

// Slot returns the map's link slot: see [BaseProgram.Slot].
func (m *StructOpsMap) Slot() *link.Link { return m.slot }

// slotInUse reports whether there is a link in the slot that has not been closed.
func (m *StructOpsMap) slotInUse() bool { return *m.slot != nil && !attach.IsClosed(*m.slot) }

// linked reports whether the map attaches through a link.
func (m *StructOpsMap) linked() bool { return strings.HasSuffix(m.ops.Section, ".link") }

// Attach gives the table to the kernel, and puts the link that keeps it there into
// the map's slot, from which Detach and Close take it.
//
// A map of section .struct_ops.link (Linux 6.4) is there for as long as the link,
// which can be pinned. One of section .struct_ops has no link in the kernel: it is
// there until the link in the slot is closed, also when the process ends without
// that. After such a map was detached, Attach makes a new map of the same programs
// and values, as the kernel registers a map only once.
//
// It fails with [ErrNotLoaded] before Load, and when the map was not to be created.
func (m *StructOpsMap) Attach() (link.Link, error) {
	m.object.mu.Lock()
	defer m.object.mu.Unlock()
	if m.object.state == closed {
		return nil, m.fail("attach", ErrClosed)
	}
	if m.slotInUse() {
		return nil, m.fail("attach", errors.New("it is attached: close the link in its slot first"))
	}
	l, err := m.attach()
	if err != nil {
		return nil, m.fail("attach", err)
	}
	*m.slot = l
	m.unattached = detached
	return l, nil
}

// UpdateLink puts this map in the place of the one that l, the link of another
// struct_ops map of the same type, keeps in the kernel. There is no moment without
// either. The link stays in its slot, and this map's slot stays empty: when both are
// of one skeleton, call SetAutoattach(false) for the map that is to follow.
//
// Kernels since 6.4 have it, for types that can be replaced. Whether two maps are
// fit to follow each other is up to the type: congestion controls must have the same
// name.
func (m *StructOpsMap) UpdateLink(l link.Link) error {
	m.object.mu.Lock()
	defer m.object.mu.Unlock()
	return m.fail("update link to", m.updateLink(l))
}

func (m *StructOpsMap) updateLink(l link.Link) error {
	loaded, err := m.begin()
	if err != nil {
		return err
	}
	defer m.end()
	fd, ok := l.(interface{ FD() int })
	if !ok || !m.linked() {
		return fmt.Errorf("only maps of section .struct_ops.link have links that can be updated: %w", ebpf.ErrNotSupported)
	}
	return attach.UpdateTable(fd.FD(), loaded)
}

// Associate associates the map with a program, for kfuncs of the map's type that find the map
// by the program that calls them (bpf_program__assoc_struct_ops). The program may be of another
// skeleton, must not be of struct_ops, and keeps the map for as long as it lives: another map
// is [syscall.EBUSY]. It needs kernel 7.0, and fails with [ErrNotLoaded] before Load of either.
func (m *StructOpsMap) Associate(p *BaseProgram) error {
	if p == nil {
		return m.fail("associate", errors.New("the program is nil: give one of a skeleton"))
	}
	err := m.associate(p)
	if err != nil {
		err = fmt.Errorf("program %s: %w", p.name, err)
	}
	return m.fail("associate", err)
}

func (m *StructOpsMap) associate(p *BaseProgram) error {
	made, err := m.begin()
	if err != nil {
		return err
	}
	defer m.end()
	if !p.calls.enter() {
		return ErrClosed
	}
	defer p.calls.leave()
	prog := p.Program()
	if prog == nil {
		return ErrNotLoaded
	}
	err = sys.ProgAssocStructOps(prog.FD(), made.FD())
	switch {
	case errors.Is(err, syscall.EINVAL) && p.def.Type == ebpf.StructOps:
		return fmt.Errorf("programs of struct_ops have the map that they are in: %w", err)
	case errors.Is(err, syscall.EINVAL) && sys.OlderThan("7.0"):
		return fmt.Errorf("struct_ops maps of programs need a kernel of version 7.0 or later: %w: %w", ebpf.ErrNotSupported, err)
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("it has another map already: %w", err)
	}
	return err
}

// openStructOps makes the handles and tables of the struct_ops maps.
func (o *object) openStructOps(desc desc) error {
	next := 0
	for _, d := range desc.StructOps {
		ops, i := find(o.loader.StructOps, next, d.Name, structOpsName)
		if ops == nil {
			return notInObject("struct_ops map", d.Name)
		}
		next = i + 1
		m, err := o.openStructOpsMap(d, ops)
		if err != nil {
			return fmt.Errorf("struct_ops map %s: %w: generate the code again", d.Name, err)
		}
		o.structOps = append(o.structOps, m)
	}
	sortBy(o.structOps, o.loader.StructOps, func(m *StructOpsMap) *loader.StructOps { return m.ops })
	return nil
}

func (o *object) openStructOpsMap(d structOpsDesc, ops *loader.StructOps) (*StructOpsMap, error) {
	if uintptr(len(ops.Table)) != d.Size {
		return nil, fmt.Errorf("has %d bytes in the object and %d in the generated code", len(ops.Table), d.Size)
	}
	m, at := d.Handle, fieldOf(d.Field)
	*m = StructOpsMap{
		object:     o,
		ops:        ops,
		table:      at.get(),
		size:       d.Size,
		funcs:      slices.Clone(d.Funcs),
		slot:       d.Link,
		autoattach: true,
		unattached: notCalled,
	}
	m.bind(at, true)
	m.init(d.Name, binding.MapTypes{})
	m.owner = o
	m.def = &loader.Map{Name: d.Name, Type: ebpf.StructOpsMap, KeySize: 4, ValueSize: uint32(d.Size), MaxEntries: 1}
	slices.SortFunc(m.funcs, func(a, b binding.StructOpsFunc) int { return int(a.Offset) - int(b.Offset) })
	programs := 0
	for i, f := range m.funcs {
		if f.Offset%8 != 0 || f.Offset+8 > d.Size || i > 0 && f.Offset < m.funcs[i-1].Offset+8 {
			return nil, fmt.Errorf("member %s is not at offset %d", f.Name, f.Offset)
		}
		def := ops.Programs[uint32(f.Offset)]
		if def == nil {
			continue
		}
		programs++
		i := slices.IndexFunc(o.progs, func(p *BaseProgram) bool { return p.def == def })
		if i < 0 {
			return nil, fmt.Errorf("member %s: program %s has no handle", f.Name, def.Name)
		}
		*programAt(m.table, f) = o.progs[i]
	}
	if programs != len(ops.Programs) {
		return nil, fmt.Errorf("has %d programs in the object, and %d of them in members of the generated code", len(ops.Programs), programs)
	}
	m.copyValues(m.bytes(), ops.Table)
	return m, nil
}

// bind points a field at the table, and keeps it right until Load if that is to come.
func (m *StructOpsMap) bind(f field, opened bool) {
	f.set(m.table)
	if opened {
		m.fields = append(m.fields, f)
	}
}

// takeOver puts what the user has set fields of the table to into the table.
func (m *StructOpsMap) takeOver() error {
	for _, f := range m.fields {
		if err := f.takeOver(m.table, m.copyTable); err != nil {
			return fmt.Errorf("struct_ops map %s: %w; SetAutocreate(false) is what leaves the map out", m.name, err)
		}
	}
	return nil
}

// bytes returns the memory of the table. Only what is between the programs may be
// written as bytes: the garbage collector must know of the rest.
func (m *StructOpsMap) bytes() []byte { return m.bytesAt(m.table) }

func (m *StructOpsMap) bytesAt(table unsafe.Pointer) []byte {
	return unsafe.Slice((*byte)(table), m.size)
}

// programAt returns the field of a function pointer in a table, which is the end of its 8 bytes.
func programAt(table unsafe.Pointer, f binding.StructOpsFunc) **BaseProgram {
	return (**BaseProgram)(unsafe.Add(table, f.Offset+8-unsafe.Sizeof(uintptr(0))))
}

// copyTable copies a table of the map's type, programs included.
func (m *StructOpsMap) copyTable(dst, src unsafe.Pointer) {
	m.copyValues(m.bytesAt(dst), m.bytesAt(src))
	for _, f := range m.funcs {
		*programAt(dst, f) = *programAt(src, f)
	}
}

// copyValues copies all but the function pointers from one table to another.
func (m *StructOpsMap) copyValues(dst, src []byte) {
	var at uintptr
	for _, f := range m.funcs {
		copy(dst[at:f.Offset], src[at:f.Offset])
		at = f.Offset + 8
	}
	copy(dst[at:], src[at:])
}

// current returns the table that Load would take now: the user's, where a field points to one
// of his own. It is nil when a field is nil.
func (m *StructOpsMap) current() unsafe.Pointer {
	table := m.table
	for _, f := range m.fields {
		if p := f.get(); p != m.table {
			table = p
		}
	}
	return table
}

// has reports whether a member of the map is the program: of the map that Load has made, and
// before of the one that it would make now.
func (m *StructOpsMap) has(p *BaseProgram) bool {
	if m.object.state >= loaded {
		for _, def := range m.ops.Programs {
			if def == p.def {
				return true
			}
		}
		return false
	}
	table := m.current()
	return table != nil && slices.ContainsFunc(m.funcs, func(f binding.StructOpsFunc) bool { return *programAt(table, f) == p })
}

// tablesWith returns the struct_ops maps that have the program.
func (o *object) tablesWith(p *BaseProgram) []*StructOpsMap {
	var tables []*StructOpsMap
	for _, m := range o.structOps {
		if m.has(p) {
			tables = append(tables, m)
		}
	}
	return tables
}

// setTables gives the loader what the tables hold now.
func (o *object) setTables(LoadOptions) error {
	for _, m := range o.structOps {
		if !m.ops.Autocreate {
			continue
		}
		if err := m.setTable(); err != nil {
			return fmt.Errorf("map %s, SEC(%q): %w", m.name, m.ops.Section, err)
		}
	}
	return nil
}

func (m *StructOpsMap) setTable() error {
	from := m.current()
	if from == nil {
		return errFieldIsNil
	}
	programs := make(map[uint32]*loader.Program)
	for _, f := range m.funcs {
		p := *programAt(from, f)
		switch {
		case p == nil:
			continue
		case p.owner != m.object:
			return fmt.Errorf("member %s is program %s of another skeleton: assign one of this skeleton", f.Name, p.name)
		case p.def.Type != ebpf.StructOps:
			return fmt.Errorf("member %s is program %s of SEC(%q): assign a program of SEC(\"struct_ops\")", f.Name, p.name, p.section)
		}
		programs[uint32(f.Offset)] = p.def
	}
	table := make([]byte, m.size)
	m.copyValues(table, unsafe.Slice((*byte)(from), m.size))
	m.ops.Table, m.ops.Programs = table, programs
	return nil
}

// attach gives the table to the kernel.
func (m *StructOpsMap) attach() (link.Link, error) {
	if m.made == nil {
		if m.object.state == loaded {
			return nil, fmt.Errorf("the map was not to be created: call SetAutocreate(true) before Load: %w", ErrNotLoaded)
		}
		return nil, ErrNotLoaded
	}
	return attach.ConnectTable(&m.links, attach.StructOps{
		Name:    m.name,
		Section: m.ops.Section,
		Map:     m.made,
		Pins:    m.object.pinsOf(m.unpinned),
	}, m.register)
}

// register is attach for a map that has been made.
func (m *StructOpsMap) register() (link.Link, error) {
	if m.linked() {
		l, err := attach.Table(m.made)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	if m.used {
		again, err := m.object.loader.NewStructOps(m.ops)
		if err != nil {
			return nil, err
		}
		m.made.Close()
		m.made, m.used = again, false
		m.loaded.Store(again)
	}
	l, err := attach.RegisterTable(m.made, m.name, m.ops.Value)
	if err != nil {
		return nil, err
	}
	m.used = true
	return l, nil
}
