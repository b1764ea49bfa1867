package inspect

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// Type is a struct, a union or an enum.
type Type struct {
	// Name has struct, union or enum in front, but for what has no name besides that of a
	// typedef. What has none at all is named by where it is: struct (value of counts).
	Name string `json:"name"`
	// Kind is struct, union or enum.
	Kind string `json:"kind"`
	// Size is in bytes.
	Size uint32 `json:"size"`
	// Members are those of a struct or a union. What a member has that has no name, or whose
	// type has none, stands in its place, or follows it.
	Members []Member `json:"members,omitempty"`
	// Constants are those of an enum, and Signed is true when its type has a sign.
	Constants []Constant `json:"constants,omitempty"`
	Signed    bool       `json:"signed,omitempty"`
	// hidden is true when it has no name, and is of a variable that packages do not show.
	hidden bool
	// table is true when it is of struct_ops tables only, which get the kernel's layout.
	table bool
}

// Member is a member of a struct or a union.
type Member struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Layout is the type without typedefs, qualifiers and names of integers.
	Layout string `json:"layout"`
	// Offset is in bits, and so is Bits, the size of a bit-field. It is 0 otherwise.
	Offset uint32 `json:"offset"`
	Bits   uint32 `json:"bits,omitempty"`
}

// Constant is a constant of an enum.
type Constant struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
}

// cTypes collects the types of keys, values, variables and struct_ops tables.
func (r *reader) cTypes() {
	c := &typeCollector{seen: make(map[seenType]bool), left: maxMembers}
	for i, m := range r.img.Maps {
		if !m.Kind.IsSection() {
			name := quote.Text(r.report.Maps[i].Name)
			c.collect(r.typeByID(m.KeyType), "", place{in: "key of " + name}, 0)
			c.collect(r.typeByID(m.ValueType), "", place{in: "value of " + name}, 0)
		}
	}
	for i, v := range r.img.Variables {
		c.collect(r.typeByID(v.Type), "", place{"variable " + quote.Text(v.Name), !r.report.Variables[i].shown()}, 0)
	}
	for _, t := range r.img.StructOps {
		first := len(c.types)
		c.collect(r.typeByID(t.Type), "", place{in: "table " + quote.Text(t.Name)}, 0)
		if len(c.types) > first {
			c.types[first].table = true
		}
	}
	if c.types != nil {
		r.report.Types = c.types
	}
	slices.SortStableFunc(r.report.Types, func(a, b Type) int { return cmp.Compare(a.Name, b.Name) })
}

// place is where a type without a name is used.
type place struct {
	// in is a key, a value, a variable, or a member of another type.
	in string
	// hidden is true when packages do not show it.
	hidden bool
}

// seenType is a type by one of its names: one without a name of its own may have several
// typedefs, and may be used in any number of places.
type seenType struct {
	t    btf.Type
	name string
}

type typeCollector struct {
	seen  map[seenType]bool
	types []Type
	// left is how many more members of types without names are looked at. Those with names
	// are looked at once.
	left int
}

// collect adds a type and what it consists of. typedef is the last name that the type was
// given, and at is where it is.
func (c *typeCollector) collect(t btf.Type, typedef string, at place, depth int) {
	if t == nil || depth > maxDepth {
		return
	}
	depth++
	switch t := t.(type) {
	case *btf.Typedef:
		c.collect(t.Type, t.Name, at, depth)
	case *btf.Const:
		c.collect(t.Type, typedef, at, depth)
	case *btf.Volatile:
		c.collect(t.Type, typedef, at, depth)
	case *btf.Restrict:
		c.collect(t.Type, typedef, at, depth)
	case *btf.TypeTag:
		c.collect(t.Type, typedef, at, depth)
	case *btf.Array:
		c.collect(t.Type, "", at, depth)
	case *btf.Struct:
		c.composite(t, Type{Kind: "struct", Size: t.Size}, typedef, t.Members, at, depth)
	case *btf.Union:
		c.composite(t, Type{Kind: "union", Size: t.Size}, typedef, t.Members, at, depth)
	case *btf.Enum:
		out := Type{Kind: "enum", Size: t.Size, Signed: t.Signed}
		if !c.enter(t, &out, typedef, at, len(t.Values)) {
			return
		}
		for _, v := range t.Values {
			out.Constants = append(out.Constants, Constant{v.Name, int64(v.Value)})
		}
		c.types = append(c.types, out)
	}
}

// enter names a type that has n members or constants, and reports whether it is to be added.
func (c *typeCollector) enter(t btf.Type, out *Type, typedef string, at place, n int) bool {
	out.Name = named(out.Kind, t.TypeName(), typedef)
	if t.TypeName() == "" && typedef == "" {
		if !c.take(n) {
			return false
		}
		out.Name, out.hidden = fmt.Sprintf("%s (%s)", out.Kind, at.in), at.hidden
	}
	key := seenType{t, out.Name}
	if c.seen[key] {
		return false
	}
	c.seen[key] = true
	return true
}

// take reports whether the n members of a type without a name may be looked at.
func (c *typeCollector) take(n int) bool {
	c.left -= n + 1
	return c.left >= 0
}

// named returns what a struct, a union or an enum is called.
func named(keyword, name, typedef string) string {
	switch {
	case name != "":
		return keyword + " " + quote.Text(name)
	case typedef != "":
		return quote.Text(typedef)
	}
	return keyword + " (anonymous)"
}

func (c *typeCollector) composite(t btf.Type, out Type, typedef string, members []btf.Member, at place, depth int) {
	if !c.enter(t, &out, typedef, at, len(members)) {
		return
	}
	f := flattener{left: maxMembers}
	f.flatten(members, "", 0, depth)
	out.Members = f.list
	c.types = append(c.types, out)
	c.members(members, "", place{out.Name, out.hidden}, depth)
}

// members collects the types of members. Those without names whose members stand in place of
// them are not added.
func (c *typeCollector) members(members []btf.Member, prefix string, of place, depth int) {
	if depth > maxDepth {
		return
	}
	for _, m := range members {
		name := prefix + quote.Text(m.Name)
		inner, ok := flattened(&m)
		switch {
		case !ok:
			c.collect(m.Type, "", place{name + " of " + of.in, of.hidden}, depth)
		case !c.take(len(inner)):
			return
		case m.Name == "":
			c.members(inner, prefix, of, depth+1)
		default:
			c.members(inner, name+".", of, depth+1)
		}
	}
}

// flattened returns the members of a member that has no name, or whose type has none, and
// reports whether it is such.
func flattened(m *btf.Member) ([]btf.Member, bool) {
	t := unqualified(m.Type)
	if m.Name == "" {
		// With -fms-extensions, the type may have a name.
		t = btf.UnderlyingType(t)
	}
	switch t := t.(type) {
	case *btf.Struct:
		return t.Members, m.Name == "" || t.Name == ""
	case *btf.Union:
		return t.Members, m.Name == "" || t.Name == ""
	}
	return nil, false
}

// maxMembers bounds how many members are listed of a type: in damaged BTF, members of
// members can be any number.
const maxMembers = 1 << 14

// flattener lists members.
type flattener struct {
	list []Member
	// left is how many more are looked at.
	left int
}

// flatten appends members, and those of structs and unions without a name in their place.
func (f *flattener) flatten(members []btf.Member, prefix string, offset uint32, depth int) {
	if depth > maxDepth {
		return
	}
	for _, m := range members {
		if f.left--; f.left < 0 {
			return
		}
		at := offset + uint32(m.Offset)
		inner, ok := flattened(&m)
		if m.Name == "" {
			// Padding, such as a bit-field without a name.
			if ok {
				f.flatten(inner, prefix, at, depth+1)
			}
			continue
		}
		name := prefix + quote.Text(m.Name)
		f.list = append(f.list, Member{Name: name, Type: cType(m.Type), Layout: layout(m.Type, 0), Offset: at, Bits: uint32(m.BitfieldSize)})
		if ok {
			f.flatten(inner, name+".", at, depth+1)
		}
	}
}

// unqualified returns a type without what const and the like say of it.
func unqualified(t btf.Type) btf.Type {
	for range maxDepth {
		switch q := t.(type) {
		case *btf.Const:
			t = q.Type
		case *btf.Volatile:
			t = q.Type
		case *btf.Restrict:
			t = q.Type
		case *btf.TypeTag:
			t = q.Type
		default:
			return t
		}
	}
	return t
}

// layout spells what Go code sees of a type.
func layout(t btf.Type, depth int) string {
	typedef := ""
	for {
		if depth > maxDepth {
			return "..."
		}
		depth++
		u := unqualified(t)
		d, ok := u.(*btf.Typedef)
		if !ok {
			t = u
			break
		}
		typedef, t = d.Name, d.Type
	}
	switch t := t.(type) {
	case *btf.Void:
		return "void"
	case *btf.Int:
		switch {
		case t.Encoding == btf.Bool:
			return "bool"
		case t.Encoding == btf.Unsigned:
			return fmt.Sprintf("uint%d", 8*t.Size)
		}
		return fmt.Sprintf("int%d", 8*t.Size)
	case *btf.Float:
		return fmt.Sprintf("float%d", 8*t.Size)
	case *btf.Pointer:
		return "pointer to " + layout(t.Target, depth)
	case *btf.Array:
		return fmt.Sprintf("[%d]%s", t.Nelems, layout(t.Type, depth))
	case *btf.FuncProto:
		return "function"
	case *btf.Struct:
		return named("struct", t.Name, typedef)
	case *btf.Union:
		return named("union", t.Name, typedef)
	case *btf.Enum:
		return named("enum", t.Name, typedef)
	case *btf.Fwd:
		return named(t.Kind.String(), t.Name, typedef)
	}
	return quote.Text(t.TypeName())
}
