package skeleton

import (
	"errors"
	"fmt"
	"unsafe"
)

// errNotMappable is returned by region.mapOver when the kernel has no way to
// map the BPF map into user space.
var errNotMappable = errors.New("map cannot be mapped into user space")

// region is the memory behind one data section's struct.
//
// It is a page-aligned part of a Go heap allocation. Go's collector does not
// move objects and does not look into allocations without pointers, so pages
// inside such an allocation can be replaced by pages of a BPF map (mapOver) and
// back (release) while pointers to them exist. The allocation stays alive as
// long as any pointer into it, also one that the user took.
type region struct {
	// buf is the whole allocation: one page more than needed, because the
	// start of a Go allocation need not be aligned to the machine's pages.
	buf []byte
	// off is where the first page starts in buf.
	off int
	// size is the size of the section, in bytes; pages is size rounded up.
	size, pages int
	// mapped says that the pages are those of a BPF map.
	mapped bool
	// guarded says that buf's finalizer, which gives its pages back, is set.
	guarded bool
}

// newRegion returns a region that holds contents, aligned to pageSize.
func newRegion(contents []byte, pageSize int) *region {
	pages := (len(contents) + pageSize - 1) / pageSize * pageSize
	buf := make([]byte, pages+pageSize)
	off := -int(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))) & (pageSize - 1)
	r := &region{buf: buf, off: off, size: len(contents), pages: pages}
	copy(r.bytes(), contents)
	return r
}

// pointer returns the address of the section's first byte. It is the same for
// the whole life of the region.
func (r *region) pointer() unsafe.Pointer {
	return unsafe.Pointer(&r.buf[r.off])
}

// bytes returns the section's memory.
func (r *region) bytes() []byte {
	return r.buf[r.off : r.off+r.size : r.off+r.size]
}

// SectionDesc ties a data section of the object to the field of the skeleton
// that points to it. Generated code makes it with [Section].
type SectionDesc struct {
	name string
	size uintptr
	set  func(unsafe.Pointer)
	// kconfig are the __kconfig variables of a section that holds them.
	kconfig []KconfigVar
}

// Section describes the section called name, whose contents are laid out as T
// and whose address belongs in *field.
func Section[T any](name string, field **T) SectionDesc {
	var zero T
	return SectionDesc{
		name: name,
		size: unsafe.Sizeof(zero),
		set:  func(p unsafe.Pointer) { *field = (*T)(p) },
	}
}

// section is a data section of an open object.
type section struct {
	SectionDesc
	region *region
	// base is where the section is: in the region, unless Load has moved it to an
	// arena.
	base unsafe.Pointer
	// vars are the variables that subskeletons point to, until Load.
	vars []boundVar
	// hidden says that the kernel cannot map the section.
	hidden bool
}

// boundVar is a variable in a section, and what sets the pointers to it.
type boundVar struct {
	offset uintptr
	set    func(unsafe.Pointer)
}

// show points the fields of the skeleton and of the subskeletons at the memory.
func (s *section) show() {
	s.hidden = false
	s.set(s.base)
	for _, v := range s.vars {
		v.set(unsafe.Add(s.base, v.offset))
	}
}

// hide makes them nil.
func (s *section) hide() {
	s.hidden = true
	s.set(nil)
	for _, v := range s.vars {
		v.set(nil)
	}
}

// bind points v's field at its variable, and keeps it right if it may change.
func (s *section) bind(v boundVar, mayChange bool) {
	if mayChange {
		s.vars = append(s.vars, v)
	}
	if !s.hidden {
		v.set(unsafe.Add(s.base, v.offset))
	}
}

// openSection copies contents, the section's initial values in the ELF, to
// memory and points the field at it.
func openSection(desc SectionDesc, contents []byte, pageSize int) (section, error) {
	s := section{SectionDesc: desc, region: newRegion(contents, pageSize)}
	// The struct may be longer by the padding that its alignment asks for.
	if desc.size < uintptr(len(contents)) || desc.size > uintptr(s.region.pages) {
		return section{}, fmt.Errorf("section %s: has %d bytes in the object and %d in the generated code: generate it again", desc.name, len(contents), desc.size)
	}
	s.base = s.region.pointer()
	s.show()
	return s, nil
}
