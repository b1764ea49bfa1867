package linker

import (
	"fmt"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/mapdecl"
)

// matcher compares types of two files by structure.
type matcher struct {
	// strict requires booleans on both sides or on neither, which matters for what a
	// loader fills in.
	strict bool
	seen   map[pair]bool
	// depth is how deep types calls itself.
	depth int
}

// What follows is bounded because a damaged file can have cycles of types that meet
// again only after as many steps as two cycles' lengths multiplied. C programs do
// not come near.
const (
	maxDepth = 64
	maxPairs = 1 << 17
)

// pair are types that are being compared, or were and are equal.
type pair struct {
	a, b   uint32
	inside bool
	exact  bool
}

// difference is the first one that was found.
type difference struct {
	// path is where it is, the outermost part last.
	path []string
	// a and b say what is there.
	a, b string
}

func (d *difference) prefix() string {
	s := ""
	for _, part := range d.path {
		s = part + " " + s
	}
	return s
}

// in adds where a difference is, if there is one.
func (d *difference) in(format string, args ...any) *difference {
	if d != nil {
		d.path = append(d.path, fmt.Sprintf(format, args...))
	}
	return d
}

// symbols compares what two files have under a name.
func (m *matcher) symbols(a, b *symbolRef) *difference {
	ta, tb := a.obj.btf.At(a.id), b.obj.btf.At(b.id)
	if ta.Kind() != tb.Kind() {
		return &difference{a: "a " + ta.Kind().String(), b: "a " + tb.Kind().String()}
	}
	if a.isMap() || b.isMap() {
		return m.maps(ta.Elem(), tb.Elem())
	}
	return m.types(ta.Elem(), tb.Elem(), true, false)
}

// isMap reports whether the file has a map under the name.
func (u *symbolRef) isMap() bool {
	if u.defines() {
		return u.sym.Section.Name == ".maps"
	}
	return u.declaredIn() == ".maps"
}

// types compares two types. With exact it looks at what structs and unions have in
// them, without at their names only, as behind a pointer. Inside says that the
// types are those of members, where arrays must have one length.
func (m *matcher) types(a, b rawbtf.Type, exact, inside bool) *difference {
	// Skip returns void for names that refer to each other without end.
	a, _ = a.Skip()
	b, _ = b.Skip()
	p := pair{a.ID, b.ID, inside, exact}
	if m.seen[p] {
		return nil
	}
	if m.seen == nil {
		m.seen = make(map[pair]bool)
	}
	m.seen[p] = true
	if m.depth == maxDepth || len(m.seen) > maxPairs {
		return &difference{a: "a type that is nested too deep to compare", b: "one that is too"}
	}
	m.depth++
	defer func() { m.depth-- }()
	kind := a.Kind()
	other := &difference{a: describeType(a), b: describeType(b)}
	if !exact && (kind == rawbtf.Fwd) != (b.Kind() == rawbtf.Fwd) {
		if a.Name() == b.Name() && aggregate(a) == aggregate(b) && aggregate(a) != rawbtf.Void {
			return nil
		}
		return other
	}
	if kind != b.Kind() {
		return other
	}
	switch kind {
	case rawbtf.Struct, rawbtf.Union, rawbtf.Enum, rawbtf.Enum64, rawbtf.Fwd:
		if a.Name() != b.Name() {
			return other
		}
	}
	switch kind {
	case rawbtf.Int, rawbtf.Float, rawbtf.Enum, rawbtf.Enum64:
		if sa, sb := a.ByteSize(), b.ByteSize(); sa != sb {
			return &difference{a: fmt.Sprintf("%s of %d bytes", other.a, sa), b: fmt.Sprintf("%s of %d bytes", other.b, sb)}
		}
		if m.strict && kind == rawbtf.Int && a.Bool() != b.Bool() {
			return other
		}
	case rawbtf.Fwd:
		if a.Flag() != b.Flag() {
			return other
		}
	case rawbtf.Ptr:
		return m.types(a.Elem(), b.Elem(), false, false).in("behind the pointer:")
	case rawbtf.Array:
		ea, la := a.Array()
		eb, lb := b.Array()
		if inside && la != lb {
			return &difference{a: fmt.Sprintf("an array of %d", la), b: fmt.Sprintf("an array of %d", lb)}
		}
		// Only the first length of a declaration can be left out.
		return m.types(a.In().At(ea), b.In().At(eb), exact, true).in("element:")
	case rawbtf.Struct, rawbtf.Union:
		if exact {
			return m.members(a, b, other)
		}
	case rawbtf.FuncProto:
		return m.params(a, b, exact)
	case rawbtf.Void:
	default:
		// What cannot be the type of anything.
		return other
	}
	return nil
}

// describeType returns what a type is.
func describeType(t rawbtf.Type) string {
	s := "a " + t.Kind().String()
	switch t.Kind() {
	case rawbtf.Void:
		s = "void"
	case rawbtf.Int, rawbtf.Enum, rawbtf.Enum64, rawbtf.Array:
		s = "an " + t.Kind().String()
	}
	if name := t.Name(); name != "" {
		s += " " + quote.Name(name)
	}
	return s
}

func (m *matcher) members(a, b rawbtf.Type, names *difference) *difference {
	if sa, sb := a.ByteSize(), b.ByteSize(); sa != sb {
		return &difference{a: fmt.Sprintf("%s of %d bytes", names.a, sa), b: fmt.Sprintf("%s of %d bytes", names.b, sb)}
	}
	if na, nb := a.Vlen(), b.Vlen(); na != nb {
		return &difference{a: fmt.Sprintf("%s with %d members", names.a, na), b: fmt.Sprintf("%s with %d members", names.b, nb)}
	}
	for i := range a.Vlen() {
		ma, mb := a.Member(i), b.Member(i)
		if ma.Name != mb.Name {
			return &difference{a: quote.Name(ma.Name), b: quote.Name(mb.Name), path: []string{fmt.Sprintf("member %d:", i+1)}}
		}
		if ma.Offset != mb.Offset || ma.Bits != mb.Bits || a.Flag() != b.Flag() {
			return &difference{a: fmt.Sprintf("at bit %d", ma.Offset), b: fmt.Sprintf("at bit %d", mb.Offset), path: []string{fmt.Sprintf("member %s:", quote.Name(ma.Name))}}
		}
		if d := m.types(a.In().At(ma.Type), b.In().At(mb.Type), true, true); d != nil {
			return d.in("member %s:", quote.Name(ma.Name))
		}
	}
	return nil
}

func (m *matcher) params(a, b rawbtf.Type, exact bool) *difference {
	if na, nb := a.Vlen(), b.Vlen(); na != nb {
		return &difference{a: fmt.Sprintf("a function with %d parameters", na), b: fmt.Sprintf("a function with %d parameters", nb)}
	}
	for i := range a.Vlen() {
		if d := m.types(a.In().At(a.Param(i)), b.In().At(b.Param(i)), exact, true); d != nil {
			return d.in("parameter %d:", i+1)
		}
	}
	return m.types(a.Elem(), b.Elem(), exact, true).in("the result:")
}

// aggregate returns what a type or the declaration of one is: a struct or a union,
// void for anything else.
func aggregate(t rawbtf.Type) rawbtf.Kind {
	switch k := t.Kind(); k {
	case rawbtf.Struct, rawbtf.Union:
		return k
	case rawbtf.Fwd:
		if t.Flag() {
			return rawbtf.Union
		}
		return rawbtf.Struct
	}
	return rawbtf.Void
}

// maps compares two declarations of a map.
func (m *matcher) maps(a, b rawbtf.Type) *difference {
	da, errA := mapdecl.Read(a)
	db, errB := mapdecl.Read(b)
	valid := map[bool]string{true: "the declaration of a map", false: "something else"}
	switch {
	case (errA == nil) != (errB == nil):
		return &difference{a: valid[errA == nil], b: valid[errB == nil]}
	case errA != nil:
		return m.types(a, b, true, false)
	}
	return m.mapDecls(a.In(), b.In(), da, db)
}

// mapDecls compares two declarations, whose type IDs are of a and b.
func (m *matcher) mapDecls(inA, inB *rawbtf.Types, a, b *mapdecl.Map) *difference {
	for _, number := range []struct {
		name string
		a, b uint64
	}{
		{"type", uint64(a.Type), uint64(b.Type)},
		{"key_size", uint64(a.KeySize), uint64(b.KeySize)},
		{"value_size", uint64(a.ValueBytes()), uint64(b.ValueBytes())},
		{"max_entries", uint64(a.MaxEntries), uint64(b.MaxEntries)},
		{"map_flags", uint64(a.Flags), uint64(b.Flags)},
		{"numa_node", uint64(a.NUMANode), uint64(b.NUMANode)},
		{"pinning", uint64(a.Pinning), uint64(b.Pinning)},
		{"map_extra", a.Extra, b.Extra},
	} {
		if number.a != number.b {
			return &difference{a: fmt.Sprint(number.a), b: fmt.Sprint(number.b), path: []string{number.name + ":"}}
		}
	}
	given := map[bool]string{true: "given", false: "not given"}
	for _, typ := range []struct {
		name string
		a, b uint32
	}{{"key", a.Key, b.Key}, {"value", a.Value, b.Value}} {
		switch {
		case (typ.a == 0) != (typ.b == 0):
			return &difference{a: given[typ.a != 0], b: given[typ.b != 0], path: []string{"the type of the " + typ.name + ":"}}
		case typ.a != 0:
			if d := m.types(inA.At(typ.a), inB.At(typ.b), true, true); d != nil {
				return d.in("the %s:", typ.name)
			}
		}
	}
	ia, ib := a.Inner(), b.Inner()
	switch {
	case (ia == nil) != (ib == nil):
		return &difference{a: given[ia != nil], b: given[ib != nil], path: []string{"the inner map:"}}
	case ia != nil:
		return m.mapDecls(inA, inB, ia, ib).in("the inner map:")
	}
	return nil
}
