package skeleton

import (
	"fmt"
	"iter"
	"unsafe"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/region"
)

// AllMaps ranges over the maps of the object, as bpf_object__for_each_map does: the declared
// ones and those of data sections, in the order of the object, then those of struct_ops. The
// handles share their state with the typed handles of the same maps.
func (o *Object) AllMaps() iter.Seq[*UntypedMap] {
	return func(yield func(*UntypedMap) bool) {
		if !isOpen(o) {
			return
		}
		for _, m := range o.maps {
			if !yield(m) {
				return
			}
		}
		for _, m := range o.structOps {
			if !yield(&m.UntypedMap) {
				return
			}
		}
	}
}

// FindMap returns the map with the name, that in C or a section's, and nil when there is
// none (bpf_object__find_map_by_name).
func (o *Object) FindMap(name string) *UntypedMap {
	for m := range o.AllMaps() {
		if m.name == name {
			return m
		}
	}
	return nil
}

// AllStructOps ranges over the struct_ops maps, in the order of the object, with what a
// table has that other maps do not, such as [StructOpsMap.Attach].
func (o *Object) AllStructOps() iter.Seq[*StructOpsMap] {
	return func(yield func(*StructOpsMap) bool) {
		if !isOpen(o) {
			return
		}
		for _, m := range o.structOps {
			if !yield(m) {
				return
			}
		}
	}
}

// FindStructOps returns the struct_ops map with the name, that of its variable in C, and nil
// when there is none.
func (o *Object) FindStructOps(name string) *StructOpsMap {
	if !isOpen(o) {
		return nil
	}
	return (*object)(o).structOpsMap(name)
}

// AllPrograms ranges over the programs of the object in its order, as
// bpf_object__for_each_program does.
func (o *Object) AllPrograms() iter.Seq[*BaseProgram] {
	return func(yield func(*BaseProgram) bool) {
		if !isOpen(o) {
			return
		}
		for _, p := range o.progs {
			if !yield(p) {
				return
			}
		}
	}
}

// FindProgram returns the program with the name, that of its C function, and nil when there
// is none (bpf_object__find_program_by_name).
func (o *Object) FindProgram(name string) *BaseProgram {
	if !isOpen(o) {
		return nil
	}
	return (*object)(o).prog(name)
}

// AllSections ranges over the data sections that have a struct in the skeleton, in the
// order of the object.
func (o *Object) AllSections() iter.Seq[DataSection] {
	return func(yield func(DataSection) bool) {
		if !isOpen(o) {
			return
		}
		for i := range o.sections {
			if !yield(DataSection{(*object)(o), &o.sections[i]}) {
				return
			}
		}
	}
}

// FindSection returns the data section with the name, such as ".data", and reports whether
// there is one with a struct in the skeleton.
func (o *Object) FindSection(name string) (DataSection, bool) {
	if !isOpen(o) {
		return DataSection{}, false
	}
	s := (*object)(o).section(name)
	if s == nil {
		return DataSection{}, false
	}
	return DataSection{(*object)(o), s}, true
}

// AllVariables ranges over the variables of all data sections, static ones included.
func (o *Object) AllVariables() iter.Seq[Variable] {
	return func(yield func(Variable) bool) {
		for s := range o.AllSections() {
			for v := range s.Variables() {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// global returns the variable of the section with the name in C and global linkage.
func (s DataSection) global(name string) (Variable, bool) {
	for v := range s.Variables() {
		if v.v.Name == name && v.v.Visible {
			return v, true
		}
	}
	return Variable{}, false
}

// FindVariable returns the variable with the name in C, and reports whether there is one
// with global linkage: files may have static variables of the same name.
func (o *Object) FindVariable(name string) (Variable, bool) {
	for s := range o.AllSections() {
		if v, ok := s.global(name); ok {
			return v, true
		}
	}
	return Variable{}, false
}

// DataSection is a data section of an object: .data, .bss, .rodata, .kconfig and their like,
// and the variables in an arena. The zero value has nothing.
type DataSection struct {
	o *object
	s *section
}

// Name returns the section's name in the object: .addr_space.1 for an arena.
func (s DataSection) Name() string {
	if s.s == nil {
		return ""
	}
	return s.s.name
}

// Bytes returns the memory of the section, which is that of its struct in the skeleton: what is
// written to it before Load is what Load takes, and after it what programs see. It is nil when
// the kernel cannot map the section: [Variable.Get] works all the same. The memory of .rodata
// and .kconfig is read-only after Load: a write is a fault that ends the process. Call Bytes
// again after Load for a section in an arena, which moves, and after [Variable.ResizeArray].
func (s DataSection) Bytes() []byte {
	if s.s == nil {
		return nil
	}
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return s.bytes()
}

// bytes returns the memory that the section's field points to, nil when it does not.
func (s DataSection) bytes() []byte {
	p, size := s.s.field.get(), s.s.region.Size()
	if p == nil {
		return nil
	}
	if p != s.s.base && uintptr(size) > s.s.size {
		// A struct of the user's own is shorter than a section that was resized. Load would
		// take its values, too.
		if s.o.state == opened {
			copySharedOf(s.s.size)(s.s.base, p)
			s.s.field.set(s.s.base)
		}
		p = s.s.base
	}
	return unsafe.Slice((*byte)(p), size)
}

// Variables ranges over the variables of the section, in the order of their offsets.
func (s DataSection) Variables() iter.Seq[Variable] {
	return func(yield func(Variable) bool) {
		if s.s == nil {
			return
		}
		img := s.o.loader.Image
		for i := range img.Variables {
			v := &img.Variables[i]
			in := img.Arena.Map
			if v.Map != image.NoIndex {
				in = v.Map
			}
			if s.s.m == s.o.loader.Maps[in] && !yield(Variable{s, v}) {
				return
			}
		}
	}
}

// Variable is a variable of a data section. The zero value has no name, no section and no
// bytes.
type Variable struct {
	section DataSection
	v       *image.Variable
}

// Name returns the variable's name in C, empty for the zero value.
func (v Variable) Name() string {
	if v.v == nil {
		return ""
	}
	return v.v.Name
}

// Section returns the section that has the variable.
func (v Variable) Section() DataSection { return v.section }

// Offset returns where the variable begins in its section, in bytes.
func (v Variable) Offset() int {
	if v.v == nil {
		return 0
	}
	return int(v.v.Offset)
}

// Size returns the variable's size in bytes, which [Variable.ResizeArray] changes.
func (v Variable) Size() int {
	if v.v == nil {
		return 0
	}
	v.section.o.mu.Lock()
	defer v.section.o.mu.Unlock()
	return int(v.v.Size)
}

// Global reports whether the variable has global linkage and is not hidden, so that
// subskeletons may find it.
func (v Variable) Global() bool { return v.v != nil && v.v.Visible }

// Bytes returns the memory of the variable: see [DataSection.Bytes].
func (v Variable) Bytes() []byte {
	if v.v == nil {
		return nil
	}
	v.section.o.mu.Lock()
	defer v.section.o.mu.Unlock()
	data := v.section.bytes()
	if data == nil {
		return nil
	}
	end := v.v.Offset + v.v.Size
	return data[v.v.Offset:end:end]
}

// Type returns the variable's type in the object's BTF. It fails when that cannot be
// decoded, and for the zero value.
func (v Variable) Type() (btf.Type, error) {
	if v.v == nil {
		return nil, errNoVariable
	}
	v.section.o.mu.Lock()
	defer v.section.o.mu.Unlock()
	types, err := v.section.o.types()
	if err != nil {
		return nil, err
	}
	return typeOf(types, v.v.Type)
}

// ResizeArray gives the variable, an array at the end of its section, n elements before
// Load, as bpf_map__set_value_size does for a data section: the way to have an element for
// each CPU or thread, say, in memory that programs and user space share. The new elements
// are zero.
//
// The section moves, and with it the skeleton's field and those of subskeletons that point
// to it or into it: take pointers to its variables, and [DataSection.Bytes], again. The
// method Resize<Section> of a skeleton whose struct ends in the array returns the elements.
//
// It fails with [ErrLoaded] after Load and with [ErrClosed] after Close; for a variable that
// is not an array, that others follow in the section, or that is in .kconfig or an arena; for
// fewer elements than are declared, and for more than fit the value of a map (2 GiB) or half
// of the machine's memory.
func (v Variable) ResizeArray(n int) error {
	o := v.section.o
	if o == nil {
		return fmt.Errorf("resize a variable: %w", ErrNotOpen)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.resizeArray(v.section.s, v.v.Offset, n); err != nil {
		return fmt.Errorf("resize variable %s: %w", v.v.Name, err)
	}
	return nil
}

func (o *object) resizeArray(s *section, offset uint32, n int) error {
	switch o.state {
	case prepared, loaded:
		return ErrLoaded
	case closed:
		return ErrClosed
	}
	// What the user has replaced the struct by is part of its contents.
	if err := s.takeOver(); err != nil {
		return err
	}
	// Libraries are compared with what the object's files were compiled with.
	types, err := o.types()
	if err != nil {
		return err
	}
	if err := o.indexVariables(types); err != nil {
		return err
	}
	if err := o.loader.ResizeArray(s.m, offset, n, region.MaxSize()); err != nil {
		return err
	}
	resized := region.New(region.Spec{Size: int(s.m.ValueSize), Writable: !s.readOnly()})
	resized.Types = s.region.Types
	copy(resized.Bytes(), s.region.Bytes())
	s.setRegion(resized)
	o.decodeTypes()
	return nil
}
