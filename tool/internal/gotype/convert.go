package gotype

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
)

// maxDepth bounds how deep types are nested: more than any C program needs, and
// few enough that hostile BTF, which can make cycles that C cannot, ends soon.
const maxDepth = 64

// maxSize bounds the size of a type: what a data section can hold is less.
const maxSize = 1<<31 - 1

// place is where a type is used. A type without a name is named after it.
type place struct {
	goName string // the name that an anonymous type gets
	c      string // what the doc comment says it is
}

// convert returns the Go type for the C type t.
func (d *Decls) convert(t btf.Type, at place, depth int) (Type, error) {
	if depth > maxDepth {
		return nil, fail(t, "is nested too deep")
	}
	for range maxDepth {
		switch c := t.(type) {
		case *btf.Const:
			t = c.Type
		case *btf.Volatile:
			t = c.Type
		case *btf.Restrict:
			t = c.Type
		case *btf.TypeTag:
			t = c.Type
		case *btf.Typedef:
			// typedef struct { ... } name_t: the type's only name.
			at = place{gonames.Export(c.Name), "the C type " + Comment(c.Name)}
			t = c.Type
		case *btf.Int:
			return convertInt(c)
		case *btf.Float:
			return convertFloat(c)
		case *btf.Enum:
			return d.convertEnum(c, at)
		case *btf.Array:
			return d.convertArray(c, at, depth)
		case *btf.Struct:
			return d.convertStruct(c, at, depth)
		case *btf.Union:
			return nil, fail(t, "a union is not supported")
		case *btf.Pointer:
			return nil, fail(t, "a pointer is not supported")
		case *btf.Fwd:
			return nil, fail(t, "is declared and never defined")
		default:
			return nil, fail(t, "is not the type of a variable")
		}
	}
	return nil, fail(t, "is nested too deep")
}

// basicType is a predeclared Go type.
type basicType struct {
	name string
	size uint64
}

func (t basicType) Size() uint64   { return t.size }
func (t basicType) align() uint64  { return t.size }
func (t basicType) String() string { return t.name }

var (
	signed   = map[uint32]basicType{1: {"int8", 1}, 2: {"int16", 2}, 4: {"int32", 4}, 8: {"int64", 8}}
	unsigned = map[uint32]basicType{1: {"uint8", 1}, 2: {"uint16", 2}, 4: {"uint32", 4}, 8: {"uint64", 8}}
	floats   = map[uint32]basicType{4: {"float32", 4}, 8: {"float64", 8}}
	boolType = basicType{"bool", 1}
	byteType = basicType{"byte", 1}
)

func convertInt(c *btf.Int) (Type, error) {
	kind := unsigned
	switch c.Encoding {
	case btf.Bool:
		if uint64(c.Size) != boolType.size {
			return nil, fail(c, fmt.Sprintf("a bool of %d bytes is not supported", c.Size))
		}
		return boolType, nil
	case btf.Signed, btf.Char:
		// BPF's char is signed.
		kind = signed
	case btf.Unsigned:
	default:
		return nil, fail(c, fmt.Sprintf("has the encoding %d, which is unknown", byte(c.Encoding)))
	}
	t, ok := kind[c.Size]
	if !ok {
		return nil, fail(c, fmt.Sprintf("an integer of %d bytes is not supported", c.Size))
	}
	return t, nil
}

func convertFloat(c *btf.Float) (Type, error) {
	t, ok := floats[c.Size]
	if !ok {
		return nil, fail(c, fmt.Sprintf("a floating-point number of %d bytes is not supported", c.Size))
	}
	return t, nil
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
	if c.Nelems == 0 {
		return nil, fail(c, "an array without a length is not supported")
	}
	// char is a number on its own and text in an array.
	var elem Type = byteType
	if !isChar(c.Type) {
		var err error
		elem, err = d.convert(c.Type, at, depth+1)
		if err != nil {
			return nil, inside("[]", err)
		}
	}
	t := arrayType{elem, c.Nelems}
	if elem.Size() > maxSize/uint64(c.Nelems) {
		return nil, fail(c, "is larger than memory can be")
	}
	return t, nil
}

// isChar says whether t is C's plain char, under any name.
func isChar(t btf.Type) bool {
	for range maxDepth {
		switch c := t.(type) {
		case *btf.Const:
			t = c.Type
		case *btf.Volatile:
			t = c.Type
		case *btf.TypeTag:
			t = c.Type
		case *btf.Typedef:
			t = c.Type
		case *btf.Int:
			return c.Size == 1 && (c.Name == "char" || c.Encoding == btf.Char)
		default:
			return false
		}
	}
	return false
}

// fail returns the error for the C type t.
func fail(t btf.Type, why string) error {
	return &Error{C: cName(t), Why: why}
}

// inside puts a step before the path of an error from within a type.
func inside(step string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return &Error{Path: step + e.Path, C: e.C, Why: e.Why}
}
