package skeleton

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// StructOpsMapDesc ties a struct_ops map of the object to the fields of the skeleton
// that hold its handle and its link.
type StructOpsMapDesc struct {
	// Name is the map's name: the name of its C variable.
	Name string
	// Section is the argument of SEC(), which says whether the map is optional ("?")
	// and whether it is attached through a link (".link").
	Section string
	// Contents is the data section of the object that holds the map's contents.
	Contents string
	// Map is where the handle goes.
	Map **StructOpsMap
	// Link is the slot that Attach fills.
	Link *link.Link
	// Funcs are the function pointers of the table.
	Funcs []StructOpsFunc
}

// StructOpsFunc is a function pointer of a struct_ops map.
type StructOpsFunc struct {
	Name string
	// Offset is where the 8 bytes of the pointer are, from the start of the table.
	Offset uintptr
	// Prog is the name of the program that C has there, "" for none.
	Prog string
}

// StructOpsDesc is a [StructOpsMapDesc] with the type of the table. Generated code
// makes it with [StructOps].
type StructOpsDesc struct {
	StructOpsMapDesc
	// open makes the table and puts it into its field.
	open func() (table unsafe.Pointer, size uintptr)
}

// StructOps describes the struct_ops map desc whose table, laid out as T, belongs in
// *field.
func StructOps[T any](field **T, desc StructOpsMapDesc) StructOpsDesc {
	return StructOpsDesc{desc, func() (unsafe.Pointer, uintptr) {
		table := new(T)
		*field = table
		return unsafe.Pointer(table), unsafe.Sizeof(*table)
	}}
}

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
	object  *Object
	section string
	typ     *btf.Struct
	// table is the user's struct, of the size of typ.
	table unsafe.Pointer
	funcs []StructOpsFunc
	slot  *link.Link

	autocreate, autoattach bool

	// made is what the map in the kernel was made of.
	made *opsTable
	// unattached is why the link slot is empty. The object's mutex guards it.
	unattached string
	// used says that the map in the kernel was registered before: it cannot be
	// again.
	used bool
}

// Autocreate says whether Load creates the map. It is true unless the section's name
// starts with "?".
func (m *StructOpsMap) Autocreate() bool { return m.autocreate }

// SetAutocreate sets whether Load creates the map. Programs that only maps have that
// are not created are not loaded. After Load it does nothing.
func (m *StructOpsMap) SetAutocreate(autocreate bool) { m.autocreate = autocreate }

// Autoattach says whether the skeleton's Attach attaches the map. It is true by
// default.
func (m *StructOpsMap) Autoattach() bool { return m.autoattach }

// SetAutoattach sets whether the skeleton's Attach attaches the map.
func (m *StructOpsMap) SetAutoattach(autoattach bool) { m.autoattach = autoattach }

// linked says whether the map attaches through a link.
func (m *StructOpsMap) linked() bool { return strings.HasSuffix(m.section, ".link") }

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
	if *m.slot != nil {
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
	loaded, err := m.get()
	if err != nil {
		return err
	}
	fd, ok := l.(interface{ FD() int })
	if !ok || !m.linked() {
		return fmt.Errorf("only maps of section .struct_ops.link have links that can be updated: %w", ebpf.ErrNotSupported)
	}
	return updateOpsLink(fd.FD(), loaded)
}

// openStructOps makes the handles and tables of the struct_ops maps, and takes their
// contents out of the spec, which is not to make maps of them.
func (o *Object) openStructOps(descs []StructOpsDesc) error {
	contents := make(map[string]*ebpf.MapSpec)
	for _, d := range descs {
		if ms := o.spec.Maps[d.Contents]; ms != nil {
			contents[d.Contents] = ms
			delete(o.spec.Maps, d.Contents)
		}
		m, err := o.openStructOpsMap(d, contents[d.Contents])
		if err != nil {
			return fmt.Errorf("struct_ops map %s: %w: generate the code again", d.Name, err)
		}
		*d.Map = m
		o.structOps = append(o.structOps, m)
	}
	return nil
}

func (o *Object) openStructOpsMap(d StructOpsDesc, contents *ebpf.MapSpec) (*StructOpsMap, error) {
	typ, data, err := findTable(contents, d.Name)
	if err != nil {
		return nil, err
	}
	table, size := d.open()
	if uintptr(len(data)) != size {
		return nil, fmt.Errorf("has %d bytes in the object and %d in the generated code", len(data), size)
	}
	m := &StructOpsMap{
		object:  o,
		section: d.Section,
		typ:     typ,
		table:   table,
		funcs:   slices.Clone(d.Funcs),
		slot:    d.Link,
		// libbpf: a section name that starts with "?" is one of maps not to create by
		// default.
		autocreate: !strings.HasPrefix(d.Section, "?"),
		autoattach: true,
		unattached: notCalled,
	}
	m.init(m, d.Name)
	m.spec = &ebpf.MapSpec{
		Name: d.Name, Type: ebpf.StructOpsMap, KeySize: 4, ValueSize: typ.Size, MaxEntries: 1, Value: typ,
	}
	slices.SortFunc(m.funcs, func(a, b StructOpsFunc) int { return int(a.Offset) - int(b.Offset) })
	for i, f := range m.funcs {
		if f.Offset%8 != 0 || f.Offset+8 > size || i > 0 && f.Offset < m.funcs[i-1].Offset+8 {
			return nil, fmt.Errorf("member %s is not at offset %d", f.Name, f.Offset)
		}
		if f.Prog == "" {
			continue
		}
		i := slices.IndexFunc(o.progs, func(p *Program) bool { return p.name == f.Prog })
		if i < 0 {
			return nil, fmt.Errorf("member %s: program %s is not in the object", f.Name, f.Prog)
		}
		*m.program(f) = o.progs[i]
	}
	m.copyValues(m.bytes(), data)
	return m, nil
}

// findTable returns the type and the contents of the variable called name in a data
// section.
func findTable(section *ebpf.MapSpec, name string) (*btf.Struct, []byte, error) {
	if section == nil || len(section.Contents) != 1 {
		return nil, nil, errors.New("its section is not in the object")
	}
	ds, ok := section.Value.(*btf.Datasec)
	contents, _ := section.Contents[0].Value.([]byte)
	if !ok {
		return nil, nil, errors.New("its section has no types")
	}
	for _, info := range ds.Vars {
		v, ok := info.Type.(*btf.Var)
		if !ok || v.Name != name {
			continue
		}
		typ, ok := btf.As[*btf.Struct](v.Type)
		if end := uint64(info.Offset) + uint64(info.Size); ok && info.Size == typ.Size && end <= uint64(len(contents)) {
			return typ, contents[info.Offset:end], nil
		}
	}
	return nil, nil, errors.New("it is not in the object")
}

// bytes returns the memory of the table. Only what is between the programs may be
// written as bytes: the garbage collector must know of the rest.
func (m *StructOpsMap) bytes() []byte {
	return unsafe.Slice((*byte)(m.table), m.typ.Size)
}

// program returns the field of a function pointer, which is at the end of its 8
// bytes.
func (m *StructOpsMap) program(f StructOpsFunc) **Program {
	return (**Program)(unsafe.Add(m.table, f.Offset+8-unsafe.Sizeof(uintptr(0))))
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

// opsTable is the contents of a struct_ops map as the kernel takes it.
type opsTable struct {
	m      *StructOpsMap
	kernel *opsType
	// value is the kernel's struct around the table. The function pointers in it are
	// file descriptors of programs, which are set when there are any.
	value []byte
	funcs []opsFunc
	// created is the map in the kernel.
	created *ebpf.Map
}

// opsFunc is a program in a table, at offset of the value.
type opsFunc struct {
	member string
	offset uint32
	prog   *Program
}

// opsType is a struct_ops type of the running kernel.
type opsType struct {
	// typ is the table's type.
	typ *btf.Struct
	// id and size are those of the struct around it, in which it starts at offset.
	id     btf.TypeID
	size   uint32
	offset uint32
	// module is the BTF of the module that the type is from, 0 for the kernel's own.
	module btf.ID
}

// structOpsLoad is what a Load makes of the struct_ops maps.
type structOpsLoad struct {
	tables []*opsTable
	// users says where each program is used first.
	users map[*Program]opsUser
}

type opsUser struct {
	table  *opsTable
	member string
}

func (u opsUser) String() string { return "member " + u.member + " of map " + u.table.m.name }

// attachTo is how the loader is told what the program is for.
func (u opsUser) attachTo() string { return u.table.kernel.typ.Name + ":" + u.member }

// prepareStructOps finds out what maps and programs the present tables ask for.
func (o *Object) prepareStructOps(cache *btf.Cache) (*structOpsLoad, error) {
	l := &structOpsLoad{users: make(map[*Program]opsUser)}
	for _, m := range o.structOps {
		if !m.autocreate {
			continue
		}
		t, err := m.build(cache)
		if err == nil {
			err = l.use(t)
		}
		if err != nil {
			return nil, fmt.Errorf("map %s, SEC(%q): %w", m.name, m.section, err)
		}
		l.tables = append(l.tables, t)
	}
	return l, nil
}

// build lays out the table as the kernel has it.
func (m *StructOpsMap) build(cache *btf.Cache) (*opsTable, error) {
	if m.reuse != nil {
		return nil, errors.New("a struct_ops map belongs to the programs that it was made with: Reuse is not for it")
	}
	name := essentialName(m.typ.Name)
	kernel, err := findOpsType(name, cache)
	if err != nil {
		return nil, err
	}
	t := &opsTable{m: m, kernel: kernel, value: make([]byte, kernel.size)}
	for _, f := range m.funcs {
		p := *m.program(f)
		if p == nil {
			continue
		}
		switch {
		case !slices.Contains(m.object.progs, p):
			return nil, fmt.Errorf("member %s is program %s of another skeleton: assign one of this skeleton", f.Name, p.name)
		case p.spec.Type != ebpf.StructOps:
			return nil, fmt.Errorf("member %s is program %s of SEC(%q): assign a program of SEC(\"struct_ops\")", f.Name, p.name, p.spec.SectionName)
		}
		offset, err := funcOffset(kernel.typ, f.Name)
		if err != nil {
			return nil, fmt.Errorf("member %s is program %s, and %w: set it to nil, or load on a kernel that has it", f.Name, p.name, err)
		}
		t.funcs = append(t.funcs, opsFunc{f.Name, kernel.offset + offset, p})
	}
	values := make([]byte, m.typ.Size)
	m.copyValues(values, m.bytes())
	return t, copyMembers(t.value[kernel.offset:], values, kernel.typ, m.typ)
}

// use notes what the table uses its programs for. The kernel verifies a program for
// one member of one type.
func (l *structOpsLoad) use(t *opsTable) error {
	for _, f := range t.funcs {
		user := opsUser{t, f.member}
		first, ok := l.users[f.prog]
		if !ok {
			l.users[f.prog] = user
			continue
		}
		if first.attachTo() != user.attachTo() {
			return fmt.Errorf("program %s is both %s and %s: the kernel takes a program for one member of one type: write a second program that calls the same function", f.prog.name, first, user)
		}
	}
	return nil
}

// program returns the definition to load p from, nil when no table has it.
func (l *structOpsLoad) program(p *Program) *ebpf.ProgramSpec {
	user, ok := l.users[p]
	if !ok {
		return nil
	}
	spec := p.spec.Copy()
	spec.AttachTo = user.attachTo()
	return spec
}

// create makes the maps, once there are the programs: before the first program, Linux
// 5.10 does not know its own types. Maps that attach through links get their contents
// now, which makes the kernel look at them; for the others this is what registers
// them.
func (l *structOpsLoad) create(progs map[string]*ebpf.Program) error {
	for _, t := range l.tables {
		if err := t.create(progs); err != nil {
			return fmt.Errorf("map %s, SEC(%q): %w", t.m.name, t.m.section, err)
		}
	}
	return nil
}

func (t *opsTable) create(progs map[string]*ebpf.Program) error {
	for _, f := range t.funcs {
		nativeEndian.PutUint64(t.value[f.offset:], uint64(progs[f.prog.name].FD()))
	}
	created, err := createOpsMap(t.kernel, t.m.spec.Name, t.m.linked())
	if err != nil {
		return err
	}
	t.created = created
	if t.m.linked() {
		return t.put()
	}
	return nil
}

// put gives the map in the kernel its contents.
func (t *opsTable) put() error {
	if err := t.created.Put(uint32(0), t.value); err != nil {
		return fmt.Errorf("the kernel does not take this table of type %s: give it the members that the type requires, and leave at zero or nil those that the kernel does not take from programs (its log may say which): %w", t.kernel.typ.Name, err)
	}
	return nil
}

// commit makes the maps those of the handles.
func (l *structOpsLoad) commit() {
	for _, t := range l.tables {
		t.m.made = t
		t.m.loaded.Store(t.created)
	}
}

// close frees the maps after a failed load.
func (l *structOpsLoad) close() {
	for _, t := range l.tables {
		if t.created != nil {
			t.created.Close()
		}
	}
}

// attach gives the table to the kernel.
func (m *StructOpsMap) attach() (link.Link, error) {
	if m.made == nil {
		if m.object.state == loaded {
			return nil, fmt.Errorf("the map was not to be created: call SetAutocreate(true) before Load: %w", ErrNotLoaded)
		}
		return nil, ErrNotLoaded
	}
	if m.linked() {
		l, err := link.AttachStructOps(link.StructOpsOptions{Map: m.made.created})
		if err != nil {
			return nil, fmt.Errorf("%w: the kernel may have a table of the same name already", err)
		}
		return l, nil
	}
	if m.used {
		again, err := createOpsMap(m.made.kernel, m.spec.Name, false)
		if err != nil {
			return nil, err
		}
		m.made.created.Close()
		m.made.created, m.used = again, false
		m.loaded.Store(again)
	}
	// The link outlives the skeleton if the user takes it out of its slot.
	clone, err := m.made.created.Clone()
	if err != nil {
		return nil, err
	}
	if err := m.made.put(); err != nil {
		clone.Close()
		return nil, err
	}
	m.used = true
	return &opsRegistration{registered: clone}, nil
}

// opsRegistration is the link of a map that has none in the kernel.
type opsRegistration struct {
	// Link is nil: it is there for the method that keeps others from implementing
	// the interface.
	link.Link
	registered *ebpf.Map
}

func (r *opsRegistration) unsupported(what string) error {
	return fmt.Errorf("%s map %s: a map of section .struct_ops has no link in the kernel: put it into .struct_ops.link: %w", what, r.registered, link.ErrNotSupported)
}

func (r *opsRegistration) Update(*ebpf.Program) error { return r.unsupported("update") }
func (r *opsRegistration) Pin(string) error           { return r.unsupported("pin") }
func (r *opsRegistration) Unpin() error               { return r.unsupported("unpin") }
func (r *opsRegistration) Info() (*link.Info, error)  { return nil, r.unsupported("info on") }

// Detach takes the table from the kernel.
func (r *opsRegistration) Detach() error { return r.Close() }

// Close takes the table from the kernel.
func (r *opsRegistration) Close() error {
	if r.registered == nil {
		return nil
	}
	err := unregisterOps(r.registered)
	r.registered.Close()
	r.registered = nil
	return err
}
