package linker

import (
	"fmt"

	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/rawbtf"
)

// matcher compares types of two files by structure.
type matcher struct {
	a, b *rawbtf.BTF
	// strict asks for booleans on both sides or on none, which matters for what a
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
func (m *matcher) symbols(a, b *use) *difference {
	ka, kb := m.a.Kind(a.id), m.b.Kind(b.id)
	if ka != kb {
		return &difference{a: "a " + ka.String(), b: "a " + kb.String()}
	}
	ta, tb := m.a.Ref(a.id), m.b.Ref(b.id)
	if a.isMap() || b.isMap() {
		return m.maps(ta, tb)
	}
	return m.types(ta, tb, true, false)
}

// isMap says whether the file has a map under the name.
func (u *use) isMap() bool {
	if u.defines() {
		return u.sym.Section.Name == ".maps"
	}
	return u.declaredIn() == ".maps"
}

// skip returns the type behind names and qualifiers.
func skip(b *rawbtf.BTF, id uint32) uint32 {
	// No chain is longer than there are types; a cycle is.
	for range b.Len() {
		switch b.Kind(id) {
		case rawbtf.Const, rawbtf.Volatile, rawbtf.Restrict, rawbtf.TypeTag, rawbtf.Typedef:
			id = b.Ref(id)
		default:
			return id
		}
	}
	return 0
}

// types compares two types. With exact it looks at what structs and unions have in
// them, without at their names only, as behind a pointer. Inside says that the
// types are those of members, where arrays must have one length.
func (m *matcher) types(a, b uint32, exact, inside bool) *difference {
	a, b = skip(m.a, a), skip(m.b, b)
	p := pair{a, b, inside, exact}
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
	ka, kb := m.a.Kind(a), m.b.Kind(b)
	na, nb := m.name(m.a, a), m.name(m.b, b)
	say := func(b *rawbtf.BTF, id uint32, name string) string {
		s := "a " + b.Kind(id).String()
		if k := b.Kind(id); k == rawbtf.Void || k == rawbtf.Int || k == rawbtf.Enum || k == rawbtf.Enum64 || k == rawbtf.Array {
			s = "an " + b.Kind(id).String()
			if k == rawbtf.Void {
				s = "void"
			}
		}
		if name != "" {
			s += " " + elfobj.Quote(name)
		}
		return s
	}
	other := &difference{a: say(m.a, a, na), b: say(m.b, b, nb)}
	if !exact && (ka == rawbtf.Fwd) != (kb == rawbtf.Fwd) {
		if na == nb && aggregate(m.a, a) == aggregate(m.b, b) && aggregate(m.a, a) != rawbtf.Void {
			return nil
		}
		return other
	}
	if ka != kb {
		return other
	}
	switch ka {
	case rawbtf.Struct, rawbtf.Union, rawbtf.Enum, rawbtf.Enum64, rawbtf.Fwd:
		if na != nb {
			return other
		}
	}
	switch ka {
	case rawbtf.Int, rawbtf.Float, rawbtf.Enum, rawbtf.Enum64:
		if sa, sb := m.a.Size(a), m.b.Size(b); sa != sb {
			return &difference{a: fmt.Sprintf("%s of %d bytes", other.a, sa), b: fmt.Sprintf("%s of %d bytes", other.b, sb)}
		}
		if m.strict && ka == rawbtf.Int && isBool(m.a, a) != isBool(m.b, b) {
			return other
		}
	case rawbtf.Fwd:
		if m.a.Flag(a) != m.b.Flag(b) {
			return other
		}
	case rawbtf.Ptr:
		return m.types(m.a.Ref(a), m.b.Ref(b), false, false).in("behind the pointer:")
	case rawbtf.Array:
		if la, lb := m.a.Word(a, 2), m.b.Word(b, 2); inside && la != lb {
			return &difference{a: fmt.Sprintf("an array of %d", la), b: fmt.Sprintf("an array of %d", lb)}
		}
		// Only the first length of a declaration can be left out.
		return m.types(m.a.Word(a, 0), m.b.Word(b, 0), exact, true).in("element:")
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

func (m *matcher) members(a, b uint32, names *difference) *difference {
	if sa, sb := m.a.Size(a), m.b.Size(b); sa != sb {
		return &difference{a: fmt.Sprintf("%s of %d bytes", names.a, sa), b: fmt.Sprintf("%s of %d bytes", names.b, sb)}
	}
	if na, nb := m.a.Vlen(a), m.b.Vlen(b); na != nb {
		return &difference{a: fmt.Sprintf("%s with %d members", names.a, na), b: fmt.Sprintf("%s with %d members", names.b, nb)}
	}
	for i := range m.a.Vlen(a) {
		na, _ := m.a.String(m.a.Word(a, 3*i))
		nb, _ := m.b.String(m.b.Word(b, 3*i))
		if na != nb {
			return &difference{a: elfobj.Quote(na), b: elfobj.Quote(nb), path: []string{fmt.Sprintf("member %d:", i+1)}}
		}
		oa, ob := m.a.Word(a, 3*i+2), m.b.Word(b, 3*i+2)
		if oa != ob || m.a.Flag(a) != m.b.Flag(b) {
			return &difference{a: fmt.Sprintf("at bit %d", oa&0xffffff), b: fmt.Sprintf("at bit %d", ob&0xffffff), path: []string{fmt.Sprintf("member %s:", elfobj.Quote(na))}}
		}
		if d := m.types(m.a.Word(a, 3*i+1), m.b.Word(b, 3*i+1), true, true); d != nil {
			return d.in("member %s:", elfobj.Quote(na))
		}
	}
	return nil
}

func (m *matcher) params(a, b uint32, exact bool) *difference {
	if na, nb := m.a.Vlen(a), m.b.Vlen(b); na != nb {
		return &difference{a: fmt.Sprintf("a function with %d parameters", na), b: fmt.Sprintf("a function with %d parameters", nb)}
	}
	for i := range m.a.Vlen(a) {
		if d := m.types(m.a.Word(a, 2*i+1), m.b.Word(b, 2*i+1), exact, true); d != nil {
			return d.in("parameter %d:", i+1)
		}
	}
	return m.types(m.a.Ref(a), m.b.Ref(b), exact, true).in("the result:")
}

func (m *matcher) name(b *rawbtf.BTF, id uint32) string {
	if id == 0 {
		return ""
	}
	return b.Name(id)
}

// aggregate returns what a type or the declaration of one is: a struct or a union,
// void for anything else.
func aggregate(b *rawbtf.BTF, id uint32) rawbtf.Kind {
	switch k := b.Kind(id); k {
	case rawbtf.Struct, rawbtf.Union:
		return k
	case rawbtf.Fwd:
		if b.Flag(id) {
			return rawbtf.Union
		}
		return rawbtf.Struct
	}
	return rawbtf.Void
}

// isBool says whether an integer is a boolean: BTF_INT_BOOL.
func isBool(b *rawbtf.BTF, id uint32) bool { return b.Word(id, 0)>>24&4 != 0 }

// mapDecl is what a map's declaration says, by the names of its members.
type mapDecl struct {
	numbers map[string]uint64
	types   map[string]uint32
	// inner is the declaration of the maps that are the map's values, nil when they
	// are none.
	inner *mapDecl
	valid bool
}

// mapNumbers are the members that are numbers, in the order in which they are
// compared.
var mapNumbers = []string{"type", "key_size", "value_size", "max_entries", "map_flags", "numa_node", "pinning", "map_extra"}

func readMap(b *rawbtf.BTF, id uint32, inner bool) *mapDecl {
	d := &mapDecl{numbers: make(map[string]uint64), types: make(map[string]uint32)}
	id = skip(b, id)
	if b.Kind(id) != rawbtf.Struct {
		return d
	}
	d.valid = true
	for i := range b.Vlen(id) {
		name, _ := b.String(b.Word(id, 3*i))
		t := skip(b, b.Word(id, 3*i+1))
		switch name {
		case "key", "value":
			if b.Kind(t) != rawbtf.Ptr {
				d.valid = false
				continue
			}
			d.types[name] = b.Ref(t)
			size, ok := typeSize(b, b.Ref(t))
			d.valid = d.valid && ok
			d.numbers[name+"_size"] = size
		case "values":
			if b.Kind(t) == rawbtf.Array {
				t = skip(b, b.Word(t, 0))
			}
			if b.Kind(t) == rawbtf.Ptr {
				t = skip(b, b.Ref(t))
			}
			if b.Kind(t) == rawbtf.Struct && !inner {
				d.inner = readMap(b, t, true)
				d.valid = d.valid && d.inner.valid
			}
		default:
			switch {
			case b.Kind(t) == rawbtf.Ptr && b.Kind(skip(b, b.Ref(t))) == rawbtf.Array:
				d.numbers[name] = uint64(b.Word(skip(b, b.Ref(t)), 2))
			case b.Kind(t) == rawbtf.Enum && b.Vlen(t) == 1:
				d.numbers[name] = uint64(b.Word(t, 1))
			case b.Kind(t) == rawbtf.Enum64 && b.Vlen(t) == 1:
				d.numbers[name] = uint64(b.Word(t, 1)) | uint64(b.Word(t, 2))<<32
			default:
				d.valid = false
			}
		}
	}
	return d
}

// typeSize returns the size of a variable of the type in bytes.
func typeSize(b *rawbtf.BTF, id uint32) (uint64, bool) {
	n := uint64(1)
	for range b.Len() {
		switch b.Kind(id) {
		case rawbtf.Const, rawbtf.Volatile, rawbtf.Restrict, rawbtf.TypeTag, rawbtf.Typedef:
			id = b.Ref(id)
		case rawbtf.Int, rawbtf.Float, rawbtf.Enum, rawbtf.Enum64, rawbtf.Struct, rawbtf.Union:
			return n * uint64(b.Size(id)), true
		case rawbtf.Ptr:
			return n * 8, true
		case rawbtf.Array:
			n *= uint64(b.Word(id, 2))
			id = b.Word(id, 0)
		default:
			return 0, false
		}
		if n > 1<<31 {
			return 0, false
		}
	}
	return 0, false
}

// maps compares two declarations of a map.
func (m *matcher) maps(a, b uint32) *difference {
	da, db := readMap(m.a, a, false), readMap(m.b, b, false)
	if da.valid != db.valid {
		valid := map[bool]string{true: "the declaration of a map", false: "something else"}
		return &difference{a: valid[da.valid], b: valid[db.valid]}
	}
	if !da.valid {
		return m.types(a, b, true, false)
	}
	return m.mapDecls(da, db)
}

func (m *matcher) mapDecls(a, b *mapDecl) *difference {
	for _, name := range mapNumbers {
		if na, nb := a.numbers[name], b.numbers[name]; na != nb {
			return &difference{a: fmt.Sprint(na), b: fmt.Sprint(nb), path: []string{name + ":"}}
		}
	}
	given := map[bool]string{true: "given", false: "not given"}
	for _, name := range []string{"key", "value"} {
		ta, oka := a.types[name]
		tb, okb := b.types[name]
		if oka != okb {
			return &difference{a: given[oka], b: given[okb], path: []string{"the type of the " + name + ":"}}
		}
		if oka {
			if d := m.types(ta, tb, true, true); d != nil {
				return d.in("the %s:", name)
			}
		}
	}
	if (a.inner == nil) != (b.inner == nil) {
		return &difference{a: given[a.inner != nil], b: given[b.inner != nil], path: []string{"the inner map:"}}
	}
	if a.inner != nil {
		return m.mapDecls(a.inner, b.inner).in("the inner map:")
	}
	return nil
}
