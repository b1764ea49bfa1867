package gotype

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// maxDepth bounds how deep types are nested: more than any C program needs, and
// few enough that hostile BTF, which can make cycles that C cannot, ends soon.
const maxDepth = 64

// maxSize bounds the size of a type: what a data section can hold is less.
const maxSize = 1<<31 - 1

// place is where a type is used. A type without a name is named after it.
type place struct {
	typedef string // the name of an anonymous type in C
	goName  string // the name that it gets otherwise
	c       string // what the doc comment says it is
}

// convert returns the Go type for the C type t.
func (d *Decls) convert(t btf.Type, at place, depth int) (Type, error) {
	if depth > maxDepth {
		return nil, fail(t, "is nested too deep")
	}
	typedef := ""
	for range maxDepth {
		if inner, ok := ctype.Unqualify(t); ok {
			t = inner
			continue
		}
		switch c := t.(type) {
		case *btf.Typedef:
			// Of several names, the first is what the variable was declared with.
			if typedef == "" && !wellKnown[c.Name] {
				typedef = c.Name
			}
			// typedef struct { ... } name_t: the type's only name.
			at = place{typedef: c.Name, c: "the C type " + quote.Text(c.Name)}
			t = c.Type
		case *btf.Int:
			basic, err := convertInt(c)
			return d.scalar(typedef, basic), err
		case *btf.Float:
			basic, ok := floats[c.Size]
			if !ok {
				// long double, _Float16: Go has no arithmetic for them.
				return arrayType{byteType, c.Size}, nil
			}
			return d.scalar(typedef, basic), nil
		case *btf.Pointer:
			return pointerType, nil
		case *btf.Enum:
			return d.convertEnum(c, at)
		case *btf.Array:
			return d.convertArray(c, at, depth)
		case *btf.Struct:
			return d.convertStruct(c, c.Size, "struct", c.Name, at, depth)
		case *btf.Union:
			return d.convertStruct(c, c.Size, "union", c.Name, at, depth)
		case *btf.Fwd:
			return nil, fail(t, "is declared and never defined")
		default:
			return nil, fail(t, "is not the type of a variable")
		}
	}
	return nil, fail(t, "is nested too deep")
}

// basicType is a Go type that needs no declaration.
type basicType struct {
	name      string
	size      uint64
	alignment uint64
}

func (t basicType) Size() uint64   { return t.size }
func (t basicType) align() uint64  { return t.alignment }
func (t basicType) String() string { return t.name }

func (t basicType) signed() bool { return t.name[0] == 'i' }

var (
	signed = map[uint32]basicType{
		1: {"int8", 1, 1}, 2: {"int16", 2, 2}, 4: {"int32", 4, 4}, 8: {"int64", 8, 8},
		16: {"skeleton.Int128", 16, 8},
	}
	unsigned = map[uint32]basicType{
		1: {"uint8", 1, 1}, 2: {"uint16", 2, 2}, 4: {"uint32", 4, 4}, 8: {"uint64", 8, 8},
		16: {"skeleton.Uint128", 16, 8},
	}
	floats      = map[uint32]basicType{4: {"float32", 4, 4}, 8: {"float64", 8, 8}}
	boolType    = basicType{"bool", 1, 1}
	byteType    = basicType{"byte", 1, 1}
	pointerType = basicType{"skeleton.Pointer", 8, 8}
)

func convertInt(c *btf.Int) (basicType, error) {
	kind := unsigned
	switch c.Encoding {
	case btf.Bool:
		// A wider one is a number that happens to be 0 or 1.
		if c.Size == 1 {
			return boolType, nil
		}
	case btf.Signed, btf.Char:
		// BPF's char is signed.
		kind = signed
	case btf.Unsigned:
	default:
		return basicType{}, fail(c, fmt.Sprintf("has the encoding %d, which is unknown", byte(c.Encoding)))
	}
	t, ok := kind[c.Size]
	if !ok {
		return basicType{}, fail(c, fmt.Sprintf("an integer of %d bytes is not supported", c.Size))
	}
	return t, nil
}

// scalarType is a declared number: typedef __u32 my_id_t.
type scalarType struct {
	name  string
	c     string
	under basicType
	origin
}

func (t *scalarType) Size() uint64   { return t.under.Size() }
func (t *scalarType) align() uint64  { return t.under.align() }
func (t *scalarType) String() string { return t.name }

func (t *scalarType) appendDecl(b []byte) []byte {
	return fmt.Appendf(b, "\n// %s is the C type %s.\ntype %s %s\n", t.name, quote.Text(t.c), t.name, t.under)
}

// appendAsserts has nothing to add unless another package declares the type: the size is that
// of the Go type.
func (t *scalarType) appendAsserts(b []byte) []byte { return t.appendSize(b, t.name, t.under) }

// scalarKey identifies a typedef of a number.
type scalarKey struct {
	typedef string
	under   basicType
}

// text returns what decides the declaration, as declKey does for other types.
func (k scalarKey) text() string { return "number " + k.typedef + " " + k.under.name }

// scalar returns the type of that typedef, or the number itself without one.
func (d *Decls) scalar(typedef string, under basicType) Type {
	if typedef == "" || under == boolType || under.size > 8 {
		return under
	}
	key := scalarKey{typedef, under}
	if t, ok := d.scalars[key]; ok {
		return t
	}
	t := &scalarType{c: typedef, under: under}
	d.scalars[key] = t
	if name, ok := d.importedName(key.text()); ok {
		t.name, t.imported = name, true
		d.imported = append(d.imported, t)
		return t
	}
	t.id = "typedef " + typedef
	t.name = d.Prefix + d.nameOf("typedef", typedef, under.name)
	d.list = append(d.list, t)
	return t
}

// arrayType is an array.
type arrayType struct {
	elem Type
	n    uint32
}

func (t arrayType) Size() uint64  { return t.elem.Size() * uint64(t.n) }
func (t arrayType) align() uint64 { return t.elem.align() }
func (t arrayType) String() string {
	return "[" + strconv.FormatUint(uint64(t.n), 10) + "]" + t.elem.String()
}

func (d *Decls) convertArray(c *btf.Array, at place, depth int) (Type, error) {
	elem, err := d.element(c, at, depth)
	if err != nil {
		return nil, err
	}
	if c.Nelems > 0 && elem.Size() > maxSize/uint64(c.Nelems) {
		return nil, fail(c, "is larger than memory can be")
	}
	return arrayType{elem, c.Nelems}, nil
}

// element returns the type of an array's elements.
func (d *Decls) element(c *btf.Array, at place, depth int) (Type, error) {
	// char is a number on its own and text in an array.
	if i, ok := ctype.Underlying(c.Type).(*btf.Int); ok && i.Size == 1 && (i.Name == "char" || i.Encoding == btf.Char) {
		return byteType, nil
	}
	elem, err := d.convert(c.Type, at, depth+1)
	if err != nil {
		return nil, inside("[]", err)
	}
	return elem, nil
}

// fail returns the error for the C type t.
func fail(t btf.Type, why string) error {
	return &Error{C: ctype.Name(t), Why: why}
}

// inside puts a step before the path of an error from within a type.
func inside(step string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return &Error{Path: step + e.Path, C: e.C, Why: e.Why}
}
