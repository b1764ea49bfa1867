// Package ctype says what the generator of Go code and the runtime both have to
// say of C types, as BTF describes them: how they are spelled in messages, and
// what they are without their other names.
package ctype

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// maxDepth bounds how many names and qualifiers a type has: more than any C
// program needs, and an end to cycles, which hostile BTF can have.
const maxDepth = 64

// Unqualify returns the type that a qualifier or a tag stands before, and false for
// one that is neither.
func Unqualify(t btf.Type) (btf.Type, bool) {
	switch t := t.(type) {
	case *btf.Const:
		return t.Type, true
	case *btf.Volatile:
		return t.Type, true
	case *btf.Restrict:
		return t.Type, true
	case *btf.TypeTag:
		return t.Type, true
	}
	return nil, false
}

// Underlying returns t without qualifiers, tags and typedefs, nil when there is
// no end of them.
func Underlying(t btf.Type) btf.Type {
	for range maxDepth {
		if inner, ok := Unqualify(t); ok {
			t = inner
			continue
		}
		typedef, ok := t.(*btf.Typedef)
		if !ok {
			return t
		}
		t = typedef.Type
	}
	return nil
}

// Name spells a C type for a message. It is no C declaration: arrays and function
// pointers are written from left to right.
func Name(t btf.Type) string {
	steps := maxNameSteps
	return name(t, 8, &steps)
}

// maxNameSteps bounds how many types a name is made of. A message needs no more,
// and functions whose parameters are functions can ask for any number.
const maxNameSteps = 64

func name(t btf.Type, depth int, steps *int) string {
	*steps--
	if depth == 0 || *steps < 0 {
		return "..."
	}
	depth--
	switch c := t.(type) {
	case *btf.Void:
		return "void"
	case *btf.Const:
		return "const " + name(c.Type, depth, steps)
	case *btf.Volatile:
		return "volatile " + name(c.Type, depth, steps)
	case *btf.Restrict:
		return name(c.Type, depth, steps)
	case *btf.TypeTag:
		return name(c.Type, depth, steps)
	case *btf.Pointer:
		return name(c.Target, depth, steps) + " *"
	case *btf.Array:
		return fmt.Sprintf("%s[%d]", name(c.Type, depth, steps), c.Nelems)
	case *btf.Struct:
		return tagged("struct", c.Name)
	case *btf.Union:
		return tagged("union", c.Name)
	case *btf.Enum:
		return tagged("enum", c.Name)
	case *btf.Fwd:
		return tagged(c.Kind.String(), c.Name)
	case *btf.FuncProto:
		var params []string
		for _, p := range c.Params {
			params = append(params, name(p.Type, depth, steps))
			if *steps < 0 {
				break
			}
		}
		return name(c.Return, depth, steps) + "(" + strings.Join(params, ", ") + ")"
	}
	if name := t.TypeName(); name != "" {
		return Printable(name)
	}
	return fmt.Sprintf("%T", t)
}

func tagged(keyword, tag string) string {
	if tag == "" {
		return keyword + " {...}"
	}
	return keyword + " " + Printable(tag)
}

// Printable returns a name of C fit for a comment in Go source, and for a message
// of one line. A name that a compiler allows stays as it is.
func Printable(c string) string {
	for _, r := range c {
		if !strconv.IsPrint(r) || r == '\ufffd' {
			return strconv.QuoteToASCII(c)
		}
	}
	return c
}
