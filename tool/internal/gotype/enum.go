package gotype

import (
	"fmt"
	"math"
	"strconv"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// enumType is a declared enum: a defined integer type and its constants.
type enumType struct {
	name   string
	doc    string
	under  basicType
	values []enumValue
	// differs is true when a constant is called after a variant.
	differs bool
	origin
}

type enumValue struct {
	name string
	c    string
	// value is spelled as Go spells it.
	value string
}

func (t *enumType) Size() uint64   { return t.under.Size() }
func (t *enumType) align() uint64  { return t.under.align() }
func (t *enumType) String() string { return t.name }

func (t *enumType) appendDecl(b []byte) []byte {
	b = fmt.Appendf(b, "\n// %s is %s.\ntype %s %s\n", t.name, t.doc, t.name, t.under)
	if len(t.values) == 0 {
		return b
	}
	b = fmt.Appendf(b, "\n// Values of %s.\nconst (\n", t.name)
	for _, v := range t.values {
		b = fmt.Appendf(b, "\t%s %s = %s // %s\n", v.name, t.name, v.value, quote.Text(v.c))
	}
	b = fmt.Appendf(b, `)

// String returns the name of the constant in C.
func (e %s) String() string {
	switch e {
`, t.name)
	seen := make(map[string]bool, len(t.values))
	for _, v := range t.values {
		// Of several names for one value, the first is as good as any.
		if !seen[v.value] {
			seen[v.value] = true
			b = fmt.Appendf(b, "\tcase %s:\n\t\treturn %q\n", v.name, v.c)
		}
	}
	unknown, wide := "UnknownUint", "uint64"
	if t.under.signed() {
		unknown, wide = "UnknownInt", "int64"
	}
	return fmt.Appendf(b, "\t}\n\treturn skelimpl.%s(%q, %s(e))\n}\n", unknown, t.name, wide)
}

// appendAsserts has nothing to add unless another package declares the type: an enum's size
// is that of its Go type.
func (t *enumType) appendAsserts(b []byte) []byte { return t.appendSize(b, t.name, t.under) }

func (d *Decls) convertEnum(c *btf.Enum, at place) (Type, error) {
	if t, ok := d.types[c]; ok {
		return t, nil
	}
	key := d.declKey("enum", c.Name, at, c)
	if t, ok := d.layouts[key]; ok {
		d.types[c] = t
		return t, nil
	}
	neg := isSigned(c)
	kind := unsigned
	if neg {
		kind = signed
	}
	under, ok := kind[c.Size]
	if !ok || c.Size > 8 {
		return nil, fail(c, fmt.Sprintf("an enum of %d bytes is not supported", c.Size))
	}
	if name, ok := d.importedName(key); ok {
		t := &enumType{name: name, under: under, origin: origin{imported: true}}
		d.types[c] = t
		d.keep(key, t)
		d.imported = append(d.imported, t)
		return t, nil
	}
	t := &enumType{
		origin: origin{id: declID("enum", c.Name, at)},
		name:   d.Prefix + d.declName(c, "enum", c.Name, at),
		doc:    docOf("enum", c.Name, at),
		under:  under,
		values: make([]enumValue, 0, len(c.Values)),
	}
	for _, v := range d.constants(c) {
		value, ok := enumConstant(c, neg, v.Value)
		if !ok {
			return nil, fail(c, fmt.Sprintf("%s does not fit its %d bytes", quote.Text(v.Name), c.Size))
		}
		definition := c.Name + "=" + value
		if d.variant != "" {
			// The constants of another layout have another type.
			definition += " " + d.layoutKey(c)
			t.differs = t.differs || d.differing["constant "+v.Name]
		}
		t.values = append(t.values, enumValue{d.Prefix + d.nameOf("constant", v.Name, definition), v.Name, value})
	}
	d.types[c] = t
	d.keep(key, t)
	d.list = append(d.list, t)
	return t, nil
}

// isSigned reports whether an enum has negative values. Clang before version 16
// does not mark such enums; when their values have fewer bytes than BTF's 4,
// it shows nevertheless, as no other value is that large.
func isSigned(c *btf.Enum) bool {
	if c.Signed {
		return true
	}
	if c.Size >= 4 {
		return false
	}
	for _, v := range c.Values {
		if v.Value > math.MaxInt32 {
			return true
		}
	}
	return false
}

// enumConstant returns the value of an enum's constant as Go spells it, and
// whether it fits the enum's type. BTF keeps values of 4 bytes and fewer in 32
// bits.
func enumConstant(c *btf.Enum, signed bool, value uint64) (string, bool) {
	bits := 8 * c.Size
	if !signed {
		return strconv.FormatUint(value, 10), bits >= 64 || value>>bits == 0
	}
	v := int64(value)
	if !c.Signed {
		v = int64(int32(uint32(value)))
	}
	least, most := int64(-1)<<(bits-1), int64(1)<<(bits-1)-1
	return strconv.FormatInt(v, 10), v >= least && v <= most
}
