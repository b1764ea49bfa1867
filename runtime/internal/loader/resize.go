package loader

import (
	"errors"
	"fmt"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// ResizeArray gives the variable at an offset, the array that ends a data section, n
// elements, and the section the size that this makes, as libbpf's bpf_map__set_value_size
// does: the object's BTF says so too. m is the map of .data, .bss, .rodata or one of their
// like, before Load. limit is how many bytes the section may have.
//
// It fails for a variable that does not end the section or is not an array, and for fewer
// elements than it is declared with: what was generated for the section relies on these.
func (o *Object) ResizeArray(m *Map, offset uint32, n int, limit uint64) error {
	if m.Kind != image.DataMap && m.Kind != image.RodataMap && m.Kind != image.BssMap {
		return errors.New("only .data, .bss, .rodata and their like can be resized")
	}
	types, err := o.localTypes()
	if err != nil {
		return err
	}
	datasec := types.At(m.ValueType)
	if datasec.Kind() != rawbtf.Datasec || datasec.Vlen() == 0 {
		return errors.New("the object has no types of its variables: compile it with -g")
	}
	last := 0
	for i := range datasec.Vlen() {
		if datasec.Secinfo(i).Offset > datasec.Secinfo(last).Offset {
			last = i
		}
	}
	info := datasec.Secinfo(last)
	variable := types.At(info.Type)
	if info.Offset != offset {
		return fmt.Errorf("%s follows it in section %s: declare it alone in a section of its own, such as SEC(\".data.NAME\")", variable.Name(), m.Name)
	}
	// Qualifiers and typedefs around the array are left out of the new type.
	array, ok := variable.Elem().Skip()
	if !ok || array.Kind() != rawbtf.Array {
		return errors.New("it is not an array")
	}
	elem, declared := array.Array()
	size, ok := types.At(elem).SizeOf()
	if !ok || size == 0 {
		return errors.New("its elements have no size")
	}
	if n < 0 || uint64(n) < uint64(declared) {
		return fmt.Errorf("%d elements, and it is declared with %d: give it as many or more", n, declared)
	}
	if limit < uint64(info.Offset) || uint64(n) > (limit-uint64(info.Offset))/size {
		return fmt.Errorf("%d elements of %d bytes, and this machine has memory for sections of %d bytes", n, size, limit)
	}
	info.Size = uint32(uint64(n) * size)
	b := types.Edit()
	id := b.AddCopy(array)
	b.At(id).SetCount(uint32(n))
	b.At(info.Type).SetRef(id)
	sec := b.At(m.ValueType)
	sec.SetSize(info.Offset + info.Size)
	sec.SetSecinfo(last, info)
	raw, err := b.Bytes()
	if err != nil {
		return err
	}
	o.Image.BTF, o.types = raw, nil
	m.ValueSize = info.Offset + info.Size
	for i := range o.Image.Variables {
		if v := &o.Image.Variables[i]; v.Map != image.NoIndex && o.Maps[v.Map] == m && v.Offset == info.Offset {
			v.Size, v.Type = info.Size, id
		}
	}
	return nil
}
