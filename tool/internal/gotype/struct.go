package gotype

import (
	"fmt"
	"go/token"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
)

// structType is a declared struct or union.
type structType struct {
	name string
	doc  string // what the type is, after "Name is "
	size uint64
	// alignment is the largest that any GOARCH gives the struct.
	alignment uint64
	fields    []field
	methods   []method
	origin
}

// origin is where a declaration comes from.
type origin struct {
	// id is what C calls the type, with what kind of name that is.
	id string
	// imported is true when another package declares it.
	imported bool
}

func (o *origin) from() *origin { return o }

// field is a field of a struct; without a name it is a gap.
type field struct {
	name    string
	comment string
	offset  uint64
	typ     Type
}

func (t *structType) Size() uint64   { return t.size }
func (t *structType) align() uint64  { return t.alignment }
func (t *structType) String() string { return t.name }

func (t *structType) appendDecl(b []byte) []byte {
	b = fmt.Appendf(b, "\n// %s is %s.\ntype %s struct {\n\t_ structs.HostLayout\n", t.name, t.doc, t.name)
	for _, f := range t.fields {
		switch {
		case f.name == "":
			b = fmt.Appendf(b, "\t_ %s\n", f.typ)
		case f.typ == programType:
			b = fmt.Appendf(b, "\t_ %s\n\t%s %s // %s\n", programGap, f.name, f.typ, f.comment)
		default:
			b = fmt.Appendf(b, "\t%s %s // %s\n", f.name, f.typ, f.comment)
		}
	}
	b = append(b, "}\n"...)
	for _, m := range t.methods {
		b = m.append(b, t.name)
	}
	return b
}

func (t *structType) appendAsserts(b []byte) []byte {
	// An index that is too large does not compile, nor does a negative one.
	b = fmt.Appendf(b, "\t_ = [1]struct{}{}[unsafe.Sizeof(%s{})-%d]\n", t.name, t.size)
	for _, f := range t.fields {
		switch {
		case f.name == "", t.imported && !token.IsExported(f.name):
		case f.typ == programType:
			b = fmt.Appendf(b, "\t_ = [1]struct{}{}[unsafe.Offsetof(%s{}.%s)+unsafe.Sizeof(uintptr(0))-%d]\n", t.name, f.name, f.offset+programType.size)
		default:
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
	// Note is what the comment says after the name.
	Note string
}

// Section declares the struct called goName, which must be taken from the names
// already, for the data section c of size bytes. Variables are in order of offsets.
//
// The struct's size is that of the section, rounded up to its alignment: a
// section ends with its last variable. The memory that loaders give a section
// is always large enough.
//
// Every variable that has no Go form is an error in the list that it returns.
func (d *Decls) Section(goName, c, doc string, size uint64, variables []Variable) []error {
	t := &structType{name: goName, doc: doc}
	d.list = append(d.list, t)
	l := newLayout(d, t)
	l.section = c
	for _, v := range variables {
		start := v.Offset * 8
		l.slots = append(l.slots, slot{
			start:   start,
			members: []member{{c: v.Name, typ: v.Type, start: start, size: v.Size, variable: true, note: v.Note}},
		})
	}
	return l.finish(size, nil, 0)
}

// Variable returns the Go type of a variable that is reached by a pointer, and so
// by itself, nil for one without bytes. Its offset does not matter. A type without a
// name is called hint.
func (d *Decls) Variable(v Variable, hint string) (Type, error) {
	mark := d.mark()
	typ, err := d.convert(v.Type, place{goName: hint, c: "the type of " + quote.Text(v.Name)}, 0)
	if err == nil {
		err = fits(v.Type, typ.Size(), v.Size)
	}
	if err != nil {
		d.forget(mark)
		return nil, inside(quote.Text(v.Name), err)
	}
	if typ.Size() == 0 {
		d.forget(mark)
		return nil, nil
	}
	return typ, nil
}

// convertStruct returns the Go struct for a struct or a union.
func (d *Decls) convertStruct(c btf.Type, size uint32, keyword, tag string, at place, depth int) (Type, error) {
	if t, ok := d.types[c]; ok {
		if t == nil {
			return nil, fail(c, "contains itself")
		}
		return t, nil
	}
	if size > maxSize {
		return nil, fail(c, "is larger than memory can be")
	}
	key := d.declKey(keyword, tag, at, c)
	if t, ok := d.layouts[key]; ok {
		d.types[c] = t
		return t, nil
	}
	d.types[c] = nil
	t := &structType{doc: docOf(keyword, tag, at)}
	if name, ok := d.importedName(key); ok {
		t.name, t.imported = name, true
		d.imported = append(d.imported, t)
	} else {
		t.id = declID(keyword, tag, at)
		t.name = d.Prefix + d.declName(c, keyword, tag, at)
		d.list = append(d.list, t)
	}
	if err := d.layOut(t, c, uint64(size), depth); err != nil {
		delete(d.types, c)
		return nil, err
	}
	d.types[c] = t
	d.keep(key, t)
	return t, nil
}

func (d *Decls) layOut(t *structType, c btf.Type, size uint64, depth int) error {
	l := newLayout(d, t)
	switch s := c.(type) {
	case *btf.Struct:
		if kernelOwned[s.Name] && size > 0 {
			l.hide(size)
			return nil
		}
		if err := l.flatten(s.Members, 0, depth); err != nil {
			return err
		}
	case *btf.Union:
		if err := l.flattenUnion(s, 0, depth); err != nil {
			return err
		}
	}
	if errs := l.finish(size, c, depth); len(errs) > 0 {
		return errs[0]
	}
	if _, ok := c.(*btf.Union); ok && size > 0 {
		t.doc += fmt.Sprintf(". Its members share %s", bytesOf(size))
	}
	return nil
}

func bytesOf(n uint64) string {
	if n == 1 {
		return "1 byte"
	}
	return strconv.FormatUint(n, 10) + " bytes"
}

// declName takes the name for the declaration of a C type called tag: a struct, union or
// enum, as keyword says. A type without a tag is named after its typedef, or after where it
// is used.
func (d *Decls) declName(c btf.Type, keyword, tag string, at place) string {
	switch {
	case tag != "":
		return d.nameOf(keyword, tag, d.define(c))
	case at.typedef != "":
		return d.nameOf("typedef", at.typedef, d.define(c))
	}
	name, key := at.goName, declID(keyword, tag, at)
	if d.variant != "" {
		definition := d.define(c)
		name += d.ending(key, definition)
		key += " " + definition
	}
	exact := "T_" + name
	return d.names.Name(key, name, exact, exact+"_"+hash(strings.TrimPrefix(key, "place ")))
}

// declID returns what C calls a type, with what kind of name that is.
func declID(keyword, tag string, at place) string {
	switch {
	case tag != "":
		return keyword + " " + tag
	case at.typedef != "":
		return "typedef " + at.typedef
	}
	return "place " + at.c
}

// nameOf takes the Go name of the thing of a kind (tag, typedef, constant) that C calls c.
// Things of different kinds can have the same name, and files of an object can have
// different types of one tag: these are distinguished by their definitions.
func (d *Decls) nameOf(kind, c, definition string) string {
	name, exact := gonames.Export(c), gonames.Exact(c)
	if ending := d.ending(kind+" "+c, definition); ending != "" {
		name += ending
		exact += "_" + ending
	}
	ofKind := strings.ToUpper(kind[:1]) + kind[1:] + "_" + exact
	h := hash(definition)
	return d.names.Name(kind+" "+c+" "+h, name, exact, ofKind, ofKind+"_"+h)
}

func hash(s string) string {
	h := fnv.New32a()
	h.Write([]byte(s))
	return fmt.Sprintf("%08x", h.Sum32())
}

// define returns the text by which C types of one name are distinguished.
func (d *Decls) define(c btf.Type) string {
	if d.variant != "" {
		return d.layoutKey(c)
	}
	return describe(c)
}

// describe returns a text by which types of one name are distinguished.
func describe(t btf.Type) string {
	var b strings.Builder
	members := func(size uint32, members []btf.Member) {
		fmt.Fprintf(&b, "%d", size)
		for _, m := range members {
			fmt.Fprintf(&b, " %s %s %d %d", m.Name, ctype.Name(m.Type), m.Offset, m.BitfieldSize)
		}
	}
	switch t := t.(type) {
	case *btf.Struct:
		members(t.Size, t.Members)
	case *btf.Union:
		members(t.Size, t.Members)
	case *btf.Enum:
		fmt.Fprintf(&b, "%d %t %v", t.Size, t.Signed, t.Values)
	}
	return b.String()
}

// docOf returns what a declared type is in C.
func docOf(keyword, tag string, at place) string {
	if tag == "" {
		return at.c
	}
	return keyword + " " + quote.Text(tag)
}

// LastArray returns the last field of the declared struct called goName, when it is an
// array: its name, and the type of its elements.
func (d *Decls) LastArray(goName string) (field string, elem Type, ok bool) {
	for _, decl := range d.list {
		t, isStruct := decl.(*structType)
		if !isStruct || t.name != goName {
			continue
		}
		// The gap at the end is no field.
		for _, f := range slices.Backward(t.fields) {
			if f.name == "" {
				continue
			}
			array, isArray := f.typ.(arrayType)
			return f.name, array.elem, isArray && token.IsExported(f.name)
		}
	}
	return "", nil, false
}
