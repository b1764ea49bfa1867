package binding

import (
	"slices"
	"unsafe"
)

// Only lists the variants of an object that have something which not all of them have.
type Only struct {
	// In has a bit for each variant, that of the first the lowest of the first byte. It is
	// empty for what all have.
	In string
	// Field is the address of the field that points to a handle, nil where none does: it becomes
	// nil where the variant does not have what the handle is for.
	Field unsafe.Pointer
}

// has reports whether the variant has it, and sets the field to nil where it does not.
func (o *Only) has(variant int) bool {
	if o.In == "" || variant/8 < len(o.In) && o.In[variant/8]>>(variant%8)&1 != 0 {
		return true
	}
	if o.Field != nil {
		*(*unsafe.Pointer)(o.Field) = nil
	}
	return false
}

// SectionVar is a variable of a section that is not the same in all variants of an object. Its
// address belongs in the field.
type SectionVar struct {
	Name string
	Field
	Align uintptr
	Only  Only
}

// Select leaves in the description what the variant has, and makes the fields for the rest
// nil. Variants count from 0.
func Select[M, P, S any](d *Desc[M, P, S], variant int) {
	d.Maps = slices.DeleteFunc(d.Maps, func(m Map[M]) bool { return !m.Only.has(variant) })
	d.Progs = slices.DeleteFunc(d.Progs, func(p Prog[P]) bool { return !p.Only.has(variant) })
	d.StructOps = slices.DeleteFunc(d.StructOps, func(s StructOps[S]) bool {
		if s.Only.has(variant) {
			return false
		}
		*(*unsafe.Pointer)(s.Pointer) = nil
		return true
	})
	d.Sections = slices.DeleteFunc(d.Sections, func(s Section) bool { return !s.Only.has(variant) })
	for i := range d.Sections {
		d.Sections[i].Vars = slices.DeleteFunc(d.Sections[i].Vars, func(v SectionVar) bool { return !v.Only.has(variant) })
	}
}
