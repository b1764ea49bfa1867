package gotype

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
)

// structType is a declared struct.
type structType struct {
	name string
	doc  string // what the type is, after "Name is "
	size uint64
	// alignment is the largest that any GOARCH gives the struct.
	alignment uint64
	fields    []field
}

// field is a field of a struct; without a name it is a gap.
type field struct {
	name   string
	c      string
	offset uint64
	typ    Type
}

func (t *structType) Size() uint64   { return t.size }
func (t *structType) align() uint64  { return t.alignment }
func (t *structType) String() string { return t.name }

func (t *structType) appendDecl(b []byte) []byte {
	b = fmt.Appendf(b, "\n// %s is %s.\ntype %s struct {\n\t_ structs.HostLayout\n", t.name, t.doc, t.name)
	for _, f := range t.fields {
		if f.name == "" {
			b = fmt.Appendf(b, "\t_ %s\n", f.typ)
		} else {
			b = fmt.Appendf(b, "\t%s %s // %s\n", f.name, f.typ, Comment(f.c))
		}
	}
	return append(b, "}\n"...)
}

func (t *structType) appendAsserts(b []byte) []byte {
	// An index that is too large does not compile, nor does a negative one.
	b = fmt.Appendf(b, "\t_ = [1]struct{}{}[unsafe.Sizeof(%s{})-%d]\n", t.name, t.size)
	for _, f := range t.fields {
		if f.name != "" {
			b = fmt.Appendf(b, "\t_ = [1]struct{}{}[unsafe.Offsetof(%s{}.%s)-%d]\n", t.name, f.name, f.offset)
		}
	}
	return b
}

// Variable is a variable of a data section.
type Variable struct {
	Name         string
	Offset, Size uint64
	Type         btf.Type
}

// Section declares the struct called goName, which must be taken from the names
// already, for a data section of size bytes. Variables are in order of offsets.
//
// The struct's size is that of the section, rounded up to its alignment: a
// section ends with its last variable. The memory that loaders give a section
// is always large enough.
//
// Every variable that has no Go form is an error in the list that it returns.
func (d *Decls) Section(goName, doc string, size uint64, variables []Variable) []error {
	t := &structType{name: goName, doc: doc}
	d.list = append(d.list, t)
	l := newLayout(t)
	var errs []error
	for _, v := range variables {
		name := l.names.Export(v.Name)
		typ, err := d.convert(v.Type, place{goName + name, "the type of " + Comment(v.Name)}, 0)
		if err == nil && typ.Size() != v.Size {
			err = fail(v.Type, fmt.Sprintf("has %d bytes, and the variable has %d", typ.Size(), v.Size))
		}
		if err == nil {
			err = l.add(field{name, v.Name, v.Offset, typ}, v.Type)
		}
		if err != nil {
			errs = append(errs, inside(Comment(v.Name), err))
		}
	}
	if len(errs) == 0 {
		l.finish((size + l.align - 1) / l.align * l.align)
	}
	return errs
}

func (d *Decls) convertStruct(c *btf.Struct, at place, depth int) (Type, error) {
	if t, ok := d.types[c]; ok {
		if t == nil {
			return nil, fail(c, "contains itself")
		}
		return t, nil
	}
	if c.Size == 0 {
		return nil, fail(c, "a struct without size is not supported")
	}
	d.types[c] = nil
	t, err := d.layOut(c, at, depth)
	if err != nil {
		delete(d.types, c)
		return nil, err
	}
	d.types[c] = t
	return t, nil
}

func (d *Decls) layOut(c *btf.Struct, at place, depth int) (*structType, error) {
	t := &structType{name: d.declName(c.Name, at), doc: docOf("struct", c.Name, at)}
	d.list = append(d.list, t)
	l := newLayout(t)
	// BTF does not promise an order.
	members := slices.Clone(c.Members)
	slices.SortStableFunc(members, func(a, b btf.Member) int { return cmp.Compare(a.Offset, b.Offset) })
	for _, m := range members {
		if err := d.addMember(&l, m, depth); err != nil {
			return nil, inside("."+memberName(m), err)
		}
	}
	size := uint64(c.Size)
	switch {
	case l.end > size:
		return nil, fail(c, fmt.Sprintf("has %d bytes, fewer than its members", size))
	case size%l.align != 0:
		return nil, fail(c, fmt.Sprintf("has %d bytes, and Go makes it larger: a packed struct is not supported", size))
	}
	l.finish(size)
	return t, nil
}

func memberName(m btf.Member) string {
	if m.Name == "" {
		return "(anonymous)"
	}
	return Comment(m.Name)
}

func (d *Decls) addMember(l *layout, m btf.Member, depth int) error {
	if m.BitfieldSize != 0 || m.Offset%8 != 0 {
		return fail(m.Type, "a bit-field is not supported")
	}
	if m.Name == "" {
		return fail(m.Type, "a member without a name is not supported")
	}
	name := l.names.Export(m.Name)
	typ, err := d.convert(m.Type, place{l.t.name + name, "the type of " + Comment(m.Name) + " in " + l.t.name}, depth+1)
	if err != nil {
		return err
	}
	return l.add(field{name, m.Name, uint64(m.Offset.Bytes()), typ}, m.Type)
}

// declName takes the name for the declaration of a C type called tag.
func (d *Decls) declName(tag string, at place) string {
	if tag == "" {
		return d.names.Take(at.goName)
	}
	return d.names.Export(tag)
}

// docOf says what a declared type is in C.
func docOf(keyword, tag string, at place) string {
	if tag == "" {
		return at.c
	}
	return keyword + " " + Comment(tag)
}

// layout places the fields of a struct one after the other.
type layout struct {
	t     *structType
	names *gonames.Scope
	end   uint64 // of the last field
	align uint64
}

func newLayout(t *structType) layout {
	return layout{t: t, names: gonames.NewScope(), align: 1}
}

// add places the next field, whose C type is c.
func (l *layout) add(f field, c btf.Type) error {
	switch {
	case f.offset < l.end:
		return fail(c, fmt.Sprintf("is at offset %d, within what comes before it", f.offset))
	case f.offset%f.typ.align() != 0:
		return fail(c, fmt.Sprintf("is at offset %d, where Go cannot have it: a packed struct is not supported", f.offset))
	}
	l.pad(f.offset)
	l.align = max(l.align, f.typ.align())
	l.t.fields = append(l.t.fields, f)
	l.end = f.offset + f.typ.Size()
	return nil
}

// pad fills the gap up to offset.
func (l *layout) pad(offset uint64) {
	if n := offset - l.end; n > 0 {
		l.t.fields = append(l.t.fields, field{typ: arrayType{byteType, uint32(n)}})
	}
}

func (l *layout) finish(size uint64) {
	l.pad(size)
	l.end = size
	l.t.size = size
	l.t.alignment = l.align
}

// Comment returns a name of C fit for a comment in Go source, and for a message
// of one line. A name that a compiler allows stays as it is.
func Comment(c string) string {
	for _, r := range c {
		if !strconv.IsPrint(r) || r == '\ufffd' {
			return strconv.QuoteToASCII(c)
		}
	}
	return c
}
