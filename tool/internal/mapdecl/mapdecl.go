// Package mapdecl reads the declarations of BPF maps.
//
// # Model
//
// C declares a map as a variable in SEC(".maps"), and the type of the variable is the map's
// definition: a struct that is never instantiated. The names and types of its members are
// the properties of the map:
//
//   - __uint(name, n) is a pointer to an array of n elements: type, max_entries, map_flags,
//     numa_node, pinning, map_extra, key_size and value_size.
//   - __ulong(name, n) is an enum with the one value n, for the 64 bits of map_extra.
//   - __type(name, T) is a pointer to T: key and value.
//   - __array(values, T) is an array without a length of pointers to T, at the end: a map of
//     maps has the declaration of its inner maps for T, a program array a function. Initial
//     values are given there.
//
// The rules are those of libbpf (parse_btf_map_def): typedefs and qualifiers are skipped where
// it does so, and what it refuses is refused, so that a declaration has one meaning. Maps as
// they were declared before BTF, by a struct bpf_map_def in SEC("maps"), are not read by any
// loader since libbpf 1.0.
package mapdecl

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// Map is a declaration. What it does not have is 0.
type Map struct {
	Type ebpf.MapType
	// KeySize and ValueSize are in bytes, of the types where the declaration has types. See
	// ValueBytes for maps with initial values.
	KeySize, ValueSize uint32
	// Key and Value are the IDs of the types of keys and values.
	Key, Value                  uint32
	MaxEntries, Flags, NUMANode uint32
	// Extra is map_extra.
	Extra uint64
	// Pinning is how the loader pins the map: LIBBPF_PIN_*, or a number of another loader.
	Pinning uint32
	// Values are the declaration's initial values, nil when it has no member for any.
	Values *Values
}

// Values are the initial values of a map.
type Values struct {
	// Offset is that of the first value in the variable, in bytes. Each takes 8.
	Offset uint32
	// Inner is the declaration of the maps that are the values, nil when these are programs.
	Inner *Map
}

// Inner returns the declaration of the maps that are the map's values, nil when the
// declaration has none.
func (m *Map) Inner() *Map {
	if m.Values == nil {
		return nil
	}
	return m.Values.Inner
}

// ValueBytes is the size of the map's values: that of the declaration, or that of a handle,
// where the declaration has values of maps or programs.
func (m *Map) ValueBytes() uint32 {
	if m.Values != nil {
		return handleSize
	}
	return m.ValueSize
}

// Read returns what the declaration of the type says. Errors say what is wrong with which
// member, and what to do.
func Read(t rawbtf.Type) (*Map, error) { return read(t, false) }

func read(t rawbtf.Type, inner bool) (*Map, error) {
	decl, ok := t.Skip()
	if !ok || decl.Kind() != rawbtf.Struct {
		return nil, errors.New("is not a struct of __uint, __type and __array members, as maps in SEC(\".maps\") are: declare it so")
	}
	m := new(Map)
	for i := range decl.Vlen() {
		member := decl.Member(i)
		var err error
		if member.Name == "values" {
			if i != decl.Vlen()-1 {
				return nil, errors.New("member values of the declaration is not the last one: move it to the end")
			}
			if inner {
				return nil, errors.New("declares maps whose values are maps of maps, which the kernel does not have: leave out the inner values")
			}
			err = m.readValues(member, decl.In())
		} else {
			err = m.read(member.Name, decl.In().At(member.Type), inner)
		}
		if err != nil {
			return nil, fmt.Errorf("member %s of the declaration %w", quote.Name(member.Name), err)
		}
	}
	if m.Type == ebpf.UnspecifiedMap {
		return nil, errors.New("the declaration does not say the type: add __uint(type, BPF_MAP_TYPE_...)")
	}
	return m, nil
}

// read reads a member but that of values.
func (m *Map) read(name string, t rawbtf.Type, inner bool) (err error) {
	switch name {
	case "type":
		var n uint32
		n, err = number(t)
		m.Type = ebpf.MapType(n)
	case "max_entries":
		m.MaxEntries, err = number(t)
	case "map_flags":
		m.Flags, err = number(t)
	case "numa_node":
		m.NUMANode, err = number(t)
	case "map_extra":
		m.Extra, err = longNumber(t)
	case "pinning":
		if inner {
			return errors.New("is of an inner map, which cannot be pinned: leave it out")
		}
		m.Pinning, err = number(t)
	case "key_size":
		err = setSize(&m.KeySize, number, t)
	case "value_size":
		err = setSize(&m.ValueSize, number, t)
	case "key":
		if err = setSize(&m.KeySize, pointeeSize, t); err == nil {
			m.Key = t.Ref()
		}
	case "value":
		if err = setSize(&m.ValueSize, pointeeSize, t); err == nil {
			m.Value = t.Ref()
		}
	default:
		return errors.New("is not one that loaders know: correct the name, or leave it out")
	}
	return err
}

// setSize sets the size of keys or values, which two members can give.
func setSize(size *uint32, read func(rawbtf.Type) (uint32, error), t rawbtf.Type) error {
	n, err := read(t)
	if err == nil && *size != 0 && *size != n {
		return fmt.Errorf("says %d bytes, and another member %d: leave one out", n, *size)
	}
	*size = n
	return err
}

// number reads what __uint declares.
func number(t rawbtf.Type) (uint32, error) {
	if p, ok := t.Skip(); ok && p.Kind() == rawbtf.Ptr && p.Elem().Kind() == rawbtf.Array {
		_, n := p.Elem().Array()
		return n, nil
	}
	return 0, errors.New("is not a number: declare it with __uint")
}

// longNumber reads what __uint or __ulong declares.
func longNumber(t rawbtf.Type) (uint64, error) {
	if e, ok := t.Skip(); ok && e.Kind().IsEnum() && e.Vlen() == 1 {
		return e.Number(0), nil
	}
	n, err := number(t)
	return uint64(n), err
}

// pointeeSize returns the size of what __type declares.
func pointeeSize(t rawbtf.Type) (uint32, error) {
	if t.Kind() != rawbtf.Ptr {
		return 0, errors.New("is not a type: declare it with __type")
	}
	n, ok := t.Elem().SizeOf()
	if !ok {
		return 0, errors.New("is of a type without a size: declare one that is complete")
	}
	return uint32(n), nil
}

// handleSize is what a map or a program takes as a value, in bytes.
const handleSize = 4

// readValues reads what __array declares.
func (m *Map) readValues(member rawbtf.Member, types *rawbtf.Types) error {
	ofMaps := m.Type == ebpf.ArrayOfMaps || m.Type == ebpf.HashOfMaps
	if !ofMaps && m.Type != ebpf.ProgramArray {
		return errors.New("is for maps of maps and program arrays: leave it out, or declare the type before it")
	}
	if m.ValueSize != 0 && m.ValueSize != handleSize {
		return fmt.Errorf("has values of %d bytes, and the declaration says %d: leave that out", handleSize, m.ValueSize)
	}
	wrong := errors.New("is not an array of pointers without a length: declare it with __array")
	t := types.At(member.Type)
	if t.Kind() != rawbtf.Array {
		return wrong
	}
	elem, n := t.Array()
	p, ok := types.At(elem).Skip()
	if !ok || n != 0 || p.Kind() != rawbtf.Ptr {
		return wrong
	}
	target, ok := p.Elem().Skip()
	if !ok {
		return wrong
	}
	m.Values = &Values{Offset: member.Offset / 8}
	if !ofMaps {
		if target.Kind() != rawbtf.FuncProto {
			return errors.New("is not an array of pointers to functions: declare it as __array(values, int (void *))")
		}
		return nil
	}
	var err error
	m.Values.Inner, err = read(target, true)
	return err
}
