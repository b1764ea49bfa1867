package gotype

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
)

// Variant begins the types of a variant of an object: one of several that are compiled from the
// same sources. C types whose declarations are equal share one, across variants. Those that
// differ are each named after the first variant that has them: with the name V61, struct event
// is EventV61. differing is nil in the first pass over the types, and the result of
// [Decls.Differing] in the second, so that the names are known from the start.
//
// The name must be usable as the end of Go names. Variant is called for each variant, and
// before anything is declared.
func (d *Decls) Variant(name string, differing map[string]bool) {
	d.variant, d.differing = name, differing
	d.byKey()
	if d.definitions == nil {
		d.definitions = make(map[string]map[string]bool)
	}
}

// byKey makes types that are equal one declaration.
func (d *Decls) byKey() {
	if d.layouts == nil {
		d.layouts = make(map[string]Type)
		d.keys = make(map[btf.Type]string)
	}
}

// Differing returns the declared C names that have several definitions.
func (d *Decls) Differing() map[string]bool {
	differing := make(map[string]bool)
	for key, definitions := range d.definitions {
		if len(definitions) > 1 {
			differing[key] = true
		}
	}
	return differing
}

// ending returns how the Go name ends for a thing with the key, which is what C calls it, and
// notes what defines it.
func (d *Decls) ending(key, definition string) string {
	if d.variant == "" {
		return ""
	}
	if d.definitions[key] == nil {
		d.definitions[key] = make(map[string]bool)
	}
	d.definitions[key][definition] = true
	if d.differing[key] {
		return d.variant
	}
	return ""
}

// declKey returns all that decides the declaration of a C type, empty where types are not
// compared with those of other objects.
func (d *Decls) declKey(keyword, tag string, at place, c btf.Type) string {
	if d.layouts == nil {
		return ""
	}
	name := tag
	switch {
	case tag != "":
	case at.typedef != "":
		keyword, name = "typedef "+keyword, at.typedef
	default:
		keyword, name = "place "+keyword, at.goName
	}
	return keyword + " " + name + " " + d.layoutKey(c)
}

// keep makes t the declaration for all C types with the key.
func (d *Decls) keep(key string, t Type) {
	if key != "" {
		d.layouts[key] = t
	}
}

// layoutKey returns a text that two structs, unions or enums have in common when the same
// declaration fits both: same names, sizes, offsets and types of members, and of what these
// consist of. To what a pointer leads does not matter.
func (d *Decls) layoutKey(c btf.Type) string {
	if key, ok := d.keys[c]; ok {
		return key
	}
	// BTF can have types that contain themselves. They have no declaration.
	d.keys[c] = "itself"
	var b strings.Builder
	members := func(keyword, name string, size uint32, members []btf.Member) {
		fmt.Fprintf(&b, "%s %q %d", keyword, name, size)
		for _, m := range members {
			fmt.Fprintf(&b, " %q %d %d %s", m.Name, m.Offset, m.BitfieldSize, d.typeKey(m.Type))
			if m.BitfieldSize > 0 {
				// The methods are for one byte order.
				fmt.Fprintf(&b, " %t", d.BigEndian)
			}
		}
	}
	switch c := c.(type) {
	case *btf.Struct:
		members("struct", c.Name, c.Size, c.Members)
	case *btf.Union:
		members("union", c.Name, c.Size, c.Members)
	case *btf.Enum:
		key := enumKey(c)
		b.WriteString(key)
		if d.variant != "" && c.Name != "" {
			d.noteEnum(key, c)
		}
		if d.grown[key] != nil {
			break
		}
		for _, v := range c.Values {
			fmt.Fprintf(&b, " %q %d", v.Name, v.Value)
		}
	}
	sum := sha256.Sum256([]byte(b.String()))
	d.keys[c] = fmt.Sprintf("%x", sum[:16])
	return d.keys[c]
}

// typeKey is layoutKey for any type.
func (d *Decls) typeKey(t btf.Type) string {
	var b strings.Builder
	for range maxDepth {
		if inner, ok := ctype.Unqualify(t); ok {
			t = inner
			continue
		}
		switch c := t.(type) {
		case *btf.Typedef:
			fmt.Fprintf(&b, "typedef %q ", c.Name)
			t = c.Type
		case *btf.Array:
			fmt.Fprintf(&b, "[%d] ", c.Nelems)
			t = c.Type
		case *btf.Int:
			fmt.Fprintf(&b, "int %q %d %d", c.Name, c.Size, c.Encoding)
			return b.String()
		case *btf.Float:
			fmt.Fprintf(&b, "float %d", c.Size)
			return b.String()
		case *btf.Pointer:
			// Those of a table are programs.
			fmt.Fprintf(&b, "pointer %t", isFuncPointer(c))
			return b.String()
		case *btf.Struct, *btf.Union, *btf.Enum:
			return b.String() + d.layoutKey(c)
		default:
			return fmt.Sprintf("%s%T", b.String(), c)
		}
	}
	return b.String()
}

// enumKey is equal for enums that differ in their constants only.
func enumKey(c *btf.Enum) string {
	return fmt.Sprintf("enum %q %d %t", c.Name, c.Size, isSigned(c))
}

// grownEnum is an enum whose constants differ between variants.
type grownEnum struct {
	// values are the constants of all variants, those of the first one first.
	values []btf.EnumValue
	// differs is true when there are two definitions, and conflict when a constant has two values.
	differs, conflict bool
}

// noteEnum adds the constants of an enum to those of others with the key.
func (d *Decls) noteEnum(key string, c *btf.Enum) {
	if d.enums == nil {
		d.enums = make(map[string]*grownEnum)
	}
	g := d.enums[key]
	if g == nil {
		d.enums[key] = &grownEnum{values: slices.Clone(c.Values)}
		return
	}
	g.differs = g.differs || !slices.Equal(g.values, c.Values)
	for _, v := range c.Values {
		i := slices.IndexFunc(g.values, func(have btf.EnumValue) bool { return have.Name == v.Name })
		if i < 0 {
			g.values = append(g.values, v)
		} else if g.values[i].Value != v.Value {
			g.conflict = true
		}
	}
}

// Grow makes enums one type that differ in nothing but constants which some variants have and
// others do not: the type has all of them. from are declarations of the same types, made
// before. It is called before anything is declared.
func (d *Decls) Grow(from *Decls) {
	d.grown = make(map[string]*grownEnum)
	for key, g := range from.enums {
		if g.differs && !g.conflict {
			d.grown[key] = g
		}
	}
}

// constants returns the constants of an enum.
func (d *Decls) constants(c *btf.Enum) []btf.EnumValue {
	if g := d.grown[enumKey(c)]; g != nil {
		return g.values
	}
	return c.Values
}
