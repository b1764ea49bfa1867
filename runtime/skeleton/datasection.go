package skeleton

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
	"github.com/rules-bpf/rules_bpf/runtime/internal/region"
)

// field is a field of generated code that points to memory which this package owns.
type field struct{ p *unsafe.Pointer }

func fieldOf(f binding.Field) field { return field{(*unsafe.Pointer)(f.Pointer)} }

func (f field) get() unsafe.Pointer  { return *f.p }
func (f field) set(p unsafe.Pointer) { *f.p = p }

// takeOver makes the field, which was set to at, point there again. When the user has
// set it to a value of his own since, that is copied first.
func (f field) takeOver(at unsafe.Pointer, copyValue func(dst, src unsafe.Pointer)) error {
	switch p := f.get(); p {
	case at:
	case nil:
		return errFieldIsNil
	default:
		copyValue(at, p)
		f.set(at)
	}
	return nil
}

// copySharedOf returns a function that copies size bytes as region.CopyShared does.
func copySharedOf(size uintptr) func(dst, src unsafe.Pointer) {
	return func(dst, src unsafe.Pointer) {
		region.CopyShared(unsafe.Slice((*byte)(dst), size), unsafe.Slice((*byte)(src), size))
	}
}

// errFieldIsNil is for a field that the user has set to nil before Load.
var errFieldIsNil = errors.New("its field was set to nil: leave the pointer there that Open has set, and change what it points to")

// section is a data section of an open object.
type section struct {
	name string
	// size is that of the struct in generated code, and field points to it.
	size  uintptr
	field field
	// m is the section's map, or the arena that has its variables.
	m      *loader.Map
	region *region.Region
	// before are the values that Load gives to the kernel, while it runs.
	before *region.Snapshot
	// base is where the section is: in the region, unless Load has moved it to an
	// arena.
	base unsafe.Pointer
	// vars are the variables that subskeletons point to, until Load.
	vars []boundVar
	// hidden is true when the kernel cannot map the section.
	hidden bool
}

// boundVar is a variable in a section, and a subskeleton's pointer to it.
type boundVar struct {
	name         string
	offset, size uintptr
	field        field
}

// takeOver puts the values into the section that the user has given by replacing
// structs of the skeleton, or pointers of subskeletons, instead of changing what they
// point to.
func (s *section) takeOver() error {
	if err := s.field.takeOver(s.base, copySharedOf(s.size)); err != nil {
		return fmt.Errorf("section %s: %w", s.name, err)
	}
	for _, v := range s.vars {
		if err := v.field.takeOver(unsafe.Add(s.base, v.offset), copySharedOf(v.size)); err != nil {
			return fmt.Errorf("variable %s of a subskeleton: %w", v.name, err)
		}
	}
	return nil
}

// setRegion makes the region the section's memory, which the fields point to from now on.
func (s *section) setRegion(r *region.Region) {
	s.region, s.base = r, r.Pointer()
	s.show()
}

// show points the fields of the skeleton and of the subskeletons at the memory.
func (s *section) show() {
	s.hidden = false
	s.field.set(s.base)
	for _, v := range s.vars {
		v.field.set(unsafe.Add(s.base, v.offset))
	}
}

// hide sets the fields to nil.
func (s *section) hide() {
	s.hidden = true
	s.field.set(nil)
	for _, v := range s.vars {
		v.field.set(nil)
	}
}

// bind points v's field at its variable, and keeps it right if it may change.
func (s *section) bind(v boundVar, mayChange bool) {
	if mayChange {
		s.vars = append(s.vars, v)
	}
	if !s.hidden {
		v.field.set(unsafe.Add(s.base, v.offset))
	}
}

// checkSize compares the size of a section with that of the struct in generated code.
func (s *section) checkSize(size int) error {
	if !region.Fits(size) {
		return fmt.Errorf("section %s: has %d bytes, and this machine has memory for sections of %d: make the variables smaller, or use a map", s.name, size, region.MaxSize())
	}
	// The struct may be longer by the padding that its alignment asks for.
	if s.size < uintptr(size) || s.size > uintptr(region.WholePages(size)) {
		return fmt.Errorf("section %s: has %d bytes in the object and %d in the generated code: generate it again", s.name, size, s.size)
	}
	return nil
}

// readOnly reports whether the kernel's map of the section is frozen.
func (s *section) readOnly() bool {
	return s.m.Kind == image.RodataMap || s.m.Kind == image.KconfigMap
}

// mapOver makes the section the memory of its map, or takes the struct away where that
// cannot be mapped. old is a second mapping of the sections' memory.
func (s *section) mapOver(old region.Alias) error {
	if !s.m.Mappable {
		s.hide()
		return nil
	}
	contents := s.before
	if s.m.Taken {
		// What was written to the section is not meant for a map that was there before.
		contents = nil
	}
	err := s.region.MapOver(s.m.Map.FD(), s.readOnly(), contents, old)
	if errors.Is(err, region.ErrNotMappable) || s.m.Taken && errors.Is(err, region.ErrRefused) {
		s.hide()
		return nil
	}
	return err
}
