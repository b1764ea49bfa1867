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
	// typedef.
	Name string `json:"name"`
	// Kind is struct, union or enum.
	Kind string `json:"kind"`
	// Size is in bytes.
	Size uint32 `json:"size"`
	// Members are those of a struct or a union. What a member without a name has stands in
	// its place.
	Members []Member `json:"members,omitempty"`
	// Constants are those of an enum.
	Constants []Constant `json:"constants,omitempty"`
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

// cTypes collects the types of keys, values and variables.
func (r *reader) cTypes() {
	c := &typeCollector{seen: make(map[btf.Type]bool)}
	for _, m := range r.img.Maps {
		if !m.Kind.IsSection() {
			c.collect(r.typeByID(m.KeyType), "", 0)
			c.collect(r.typeByID(m.ValueType), "", 0)
		}
	}
	for _, v := range r.img.Variables {
		c.collect(r.typeByID(v.Type), "", 0)
	}
	if c.types != nil {
		r.report.Types = c.types
	}
	slices.SortStableFunc(r.report.Types, func(a, b Type) int { return cmp.Compare(a.Name, b.Name) })
}

type typeCollector struct {
	seen  map[btf.Type]bool
	types []Type
}

// collect adds a type and what it consists of. typedef is the last name that the type was
// given.
func (c *typeCollector) collect(t btf.Type, typedef string, depth int) {
	if t == nil || depth > maxDepth {
		return
	}
	depth++
	switch t := t.(type) {
	case *btf.Typedef:
		c.collect(t.Type, t.Name, depth)
	case *btf.Const:
		c.collect(t.Type, typedef, depth)
	case *btf.Volatile:
		c.collect(t.Type, typedef, depth)
	case *btf.Restrict:
		c.collect(t.Type, typedef, depth)
	case *btf.TypeTag:
		c.collect(t.Type, typedef, depth)
	case *btf.Array:
		c.collect(t.Type, "", depth)
	case *btf.Struct:
		c.composite(t, "struct", typedef, t.Size, t.Members, depth)
	case *btf.Union:
		c.composite(t, "union", typedef, t.Size, t.Members, depth)
	case *btf.Enum:
		if c.seen[t] {
			return
		}
		c.seen[t] = true
		out := Type{Name: named("enum", t.Name, typedef), Kind: "enum", Size: t.Size}
		for _, v := range t.Values {
			out.Constants = append(out.Constants, Constant{v.Name, int64(v.Value)})
		}
		c.types = append(c.types, out)
	}
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

func (c *typeCollector) composite(t btf.Type, keyword, typedef string, size uint32, members []btf.Member, depth int) {
	if c.seen[t] {
		return
	}
	c.seen[t] = true
	out := Type{Name: named(keyword, t.TypeName(), typedef), Kind: keyword, Size: size}
	if t.TypeName() != "" || typedef != "" {
		out.Members = flatten(nil, members, "", 0, depth)
		c.types = append(c.types, out)
	}
	for _, m := range members {
		c.collect(m.Type, "", depth)
	}
}

// maxMembers bounds how many members are listed of a type: in damaged BTF, members of
// members can be any number.
const maxMembers = 1 << 14

// flatten appends members, and those of structs and unions without a name in their place.
func flatten(list []Member, members []btf.Member, prefix string, offset uint32, depth int) []Member {
	if depth > maxDepth {
		return list
	}
	for _, m := range members {
		if len(list) >= maxMembers {
			return list
		}
		at := offset + uint32(m.Offset)
		var inner []btf.Member
		anonymous := false
		switch t := unqualified(m.Type).(type) {
		case *btf.Struct:
			inner, anonymous = t.Members, t.Name == ""
		case *btf.Union:
			inner, anonymous = t.Members, t.Name == ""
		}
		if !anonymous {
			inner = nil
		}
		if m.Name == "" {
			// Padding, as a bit-field without a name, is nobody's.
			list = flatten(list, inner, prefix, at, depth+1)
			continue
		}
		name := prefix + quote.Text(m.Name)
		list = append(list, Member{Name: name, Type: cType(m.Type), Layout: layout(m.Type, 0), Offset: at, Bits: uint32(m.BitfieldSize)})
		list = flatten(list, inner, name+".", at, depth+1)
	}
	return list
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
