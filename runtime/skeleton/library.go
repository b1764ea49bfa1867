package skeleton

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/bpflib"
)

// Any is any generated skeleton, or the [Object] of one.
type Any interface{ object() *Object }

func (o *Object) object() *Object { return o }

// MismatchError is the error for an object that does not have what a library needs.
// It lists all that is missing or of another type.
type MismatchError = bpflib.MismatchError

// Mismatch is one symbol of a [MismatchError].
type Mismatch = bpflib.Mismatch

// LibraryDesc is what the generated code of a subskeleton tells the runtime of its
// library.
type LibraryDesc struct {
	// Name is the library's name, used in errors.
	Name string
	// Library is what the library needs of an object, but for its programs.
	Library string
	Maps    []MapDesc
	Progs   []LibraryProgDesc
	// StructOps are the struct_ops maps.
	StructOps []LibraryStructOpsDesc
	Vars      []VarDesc
}

// LibraryProgDesc ties a program of a library to the fields of the subskeleton that
// hold its handle and the slot of its link. Generated code makes it with
// [LibraryProg].
type LibraryProgDesc struct {
	name, section string
	// open puts a handle on the program into its field.
	open func(*Program)
	link **link.Link
}

// LibraryProg describes the program called name of the section SEC(section), whose
// handle, of one of the program types of this package, belongs in *field, and the
// address of whose slot in *slot.
func LibraryProg[H any, P interface {
	*H
	wrap(*Program) *H
}](name, section string, field **H, slot **link.Link) LibraryProgDesc {
	return LibraryProgDesc{
		name:    name,
		section: section,
		open:    func(p *Program) { *field = P(nil).wrap(p) },
		link:    slot,
	}
}

// LibraryStructOpsDesc ties a struct_ops map of a library to the fields of the
// subskeleton that hold its table, its handle and the slot of its link. Generated
// code makes it with [LibraryStructOps].
type LibraryStructOpsDesc struct {
	name string
	size uintptr
	// set points the field of the table to it.
	set    func(table unsafe.Pointer)
	handle **StructOpsMap
	link   **link.Link
}

// LibraryStructOps describes the struct_ops map called name whose table, laid out as
// T, is in the object's skeleton: its address belongs in *field, its handle in
// *handle, and the address of its slot in *slot.
func LibraryStructOps[T any](name string, field **T, handle **StructOpsMap, slot **link.Link) LibraryStructOpsDesc {
	var zero T
	return LibraryStructOpsDesc{
		name:   name,
		size:   unsafe.Sizeof(zero),
		set:    func(table unsafe.Pointer) { *field = (*T)(table) },
		handle: handle,
		link:   slot,
	}
}

// VarDesc ties a variable of a library to the field of the subskeleton that points
// to it. Generated code makes it with [Variable].
type VarDesc struct {
	name        string
	size, align uintptr
	set         func(unsafe.Pointer)
}

// Variable describes the variable called name, whose type is T and whose address
// belongs in *field.
func Variable[T any](name string, field **T) VarDesc {
	var zero T
	return VarDesc{
		name:  name,
		size:  unsafe.Sizeof(zero),
		align: unsafe.Alignof(zero),
		set:   func(p unsafe.Pointer) { *field = (*T)(p) },
	}
}

// OpenLibrary fills the fields that desc names with the library's part of obj, which
// is open or loaded. It is called by the Open function of generated code.
//
// The pointers are into the memory of obj's section structs, and as valid as pointers
// into these: for as long as they are used. Handles and slots are those of obj.
func OpenLibrary(obj Any, desc LibraryDesc) error {
	// A field for a skeleton that nobody has set is a nil pointer.
	if v := reflect.ValueOf(obj); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("open library %s: no skeleton given: open that of the object first", desc.Name)
	}
	o := obj.object()
	if o == nil {
		return fmt.Errorf("open library %s: the skeleton is not open: make it with the Open function of its package", desc.Name)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.openLibrary(desc); err != nil {
		return fmt.Errorf("open library %s: %w", desc.Name, err)
	}
	return nil
}

func (o *Object) openLibrary(desc LibraryDesc) error {
	if o.state == closed {
		return ErrClosed
	}
	lib, err := bpflib.Unmarshal([]byte(desc.Library))
	if err != nil {
		return err
	}
	lib.Name = desc.Name
	for _, p := range desc.Progs {
		lib.Progs = append(lib.Progs, bpflib.Prog{Name: p.name, Section: p.section})
	}
	if err := bpflib.Check(lib, libraryView{o}); err != nil {
		return err
	}
	// Nothing below fails for what the check has seen, unless the code was changed by
	// hand. What is weak, and not there, has a nil field.
	for _, v := range desc.Vars {
		if err := o.bindVariable(v); err != nil {
			return err
		}
	}
	for _, m := range desc.Maps {
		if err := o.bindMap(m); err != nil {
			return err
		}
	}
	for _, d := range desc.Progs {
		p := o.prog(d.name)
		d.open(p)
		*d.link = p.link
	}
	for _, d := range desc.StructOps {
		m := o.structOpsMap(d.name)
		if m == nil || d.size != uintptr(m.typ.Size) {
			return fmt.Errorf("struct_ops map %s: does not fit the generated code: generate it again", d.name)
		}
		d.set(m.table)
		*d.handle, *d.link = m, m.slot
	}
	return nil
}

func (o *Object) bindVariable(d VarDesc) error {
	v, ok := o.vars[d.name]
	if !ok {
		return nil
	}
	s := o.section(v.Section)
	if s == nil {
		return nil
	}
	offset := uintptr(v.Offset)
	if uint64(d.size) > v.Size || offset%d.align != 0 || offset+d.size > uintptr(s.region.pages) {
		return fmt.Errorf("variable %s: does not fit the generated code: generate it again", d.name)
	}
	s.bind(boundVar{offset, d.set}, o.state == opened)
	return nil
}

func (o *Object) bindMap(d MapDesc) error {
	for _, m := range o.maps {
		if m.name != d.name {
			continue
		}
		handle, h := d.open()
		h.init(handle, m.name)
		h.of = m
		if kernel := m.loaded.Load(); kernel != nil {
			return h.checkSizes(kernel.KeySize(), kernel.ValueSize())
		}
		m.shared = append(m.shared, h)
		return nil
	}
	return nil
}

func (o *Object) prog(name string) *Program {
	for _, p := range o.progs {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (o *Object) structOpsMap(name string) *StructOpsMap {
	for _, m := range o.structOps {
		if m.name == name {
			return m
		}
	}
	return nil
}

func (o *Object) section(name string) *section {
	for i := range o.sections {
		if o.sections[i].name == name {
			return &o.sections[i]
		}
	}
	return nil
}

// libraryView is an object as package bpflib sees it.
type libraryView struct{ o *Object }

func (v libraryView) Name() string { return v.o.name }

func (v libraryView) Order() binary.ByteOrder { return v.o.spec.ByteOrder }

func (v libraryView) Var(name string) (bpflib.ObjectVar, bool) {
	out, ok := v.o.vars[name]
	s := v.o.section(out.Section)
	if !ok || s == nil {
		return bpflib.ObjectVar{}, false
	}
	switch {
	case s.kconfig != nil:
		out.Section = bpflib.Kconfig
	case v.o.inArena(*s):
		out.Section = bpflib.Arena
	}
	return out, true
}

func (v libraryView) Map(name string) (bpflib.MapDef, bool) {
	for _, m := range v.o.maps {
		if m.name == name {
			return m.decl, true
		}
	}
	return bpflib.MapDef{}, false
}

func (v libraryView) StructOps(name string) (btf.Type, bool) {
	m := v.o.structOpsMap(name)
	if m == nil {
		return nil, false
	}
	return m.typ, true
}

func (v libraryView) Prog(name string) (bpflib.Prog, bool) {
	p := v.o.prog(name)
	if p == nil {
		return bpflib.Prog{}, false
	}
	return bpflib.Prog{Name: name, Section: p.section}, true
}

// libraryVars returns the variables that the loader found, which are those of global
// linkage that are not hidden, without their values.
func libraryVars(specs map[string]*ebpf.VariableSpec) map[string]bpflib.ObjectVar {
	vars := make(map[string]bpflib.ObjectVar, len(specs))
	for name, spec := range specs {
		v := bpflib.ObjectVar{Section: spec.SectionName, Offset: uint64(spec.Offset), Size: uint64(spec.Size())}
		if spec.Type != nil {
			v.Type = spec.Type.Type
		}
		vars[name] = v
	}
	return vars
}

// mapDef returns the definition of a map as the object has it.
func mapDef(spec *ebpf.MapSpec) bpflib.MapDef {
	def := bpflib.MapDef{
		Kind:      uint32(spec.Type),
		KeySize:   spec.KeySize,
		ValueSize: spec.ValueSize,
		Key:       spec.Key,
		Value:     spec.Value,
	}
	if spec.InnerMap != nil {
		inner := mapDef(spec.InnerMap)
		def.Inner = &inner
		// What the kernel stores is the number of a map.
		def.ValueSize, def.Value = 0, nil
	}
	return def
}
