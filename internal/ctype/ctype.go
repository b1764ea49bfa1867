// Package ctype has what the generator of Go code and the runtime both need of C types, as BTF
// describes them: how they are spelled in messages, and what they are without their other
// names.
package ctype

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
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

// Name spells a C type for a message. It is not a C declaration: arrays and function
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
		return quote.Text(name)
	}
	return fmt.Sprintf("%T", t)
}

func tagged(keyword, tag string) string {
	if tag == "" {
		return keyword + " {...}"
	}
	return keyword + " " + quote.Text(tag)
}

// Declare spells a C type as C does, with the names of what is declared: "int (*)(int)" is a
// pointer to a function without a name, "int (*cb)(int)" one called cb. Tags and restrict are
// left out, and what is too long ends in "...".
func Declare(t btf.Type, name string) string {
	steps := maxNameSteps
	return declare(t, name, maxDepth, &steps)
}

func declare(t btf.Type, declarator string, depth int, steps *int) string {
	*steps--
	if depth == 0 || *steps < 0 {
		return "..."
	}
	depth--
	switch c := t.(type) {
	case *btf.Restrict:
		return declare(c.Type, declarator, depth, steps)
	case *btf.TypeTag:
		return declare(c.Type, declarator, depth, steps)
	case *btf.Const:
		return qualify("const", c.Type, declarator, depth, steps)
	case *btf.Volatile:
		return qualify("volatile", c.Type, declarator, depth, steps)
	case *btf.Pointer:
		declarator = "*" + declarator
		switch target(c.Target).(type) {
		case *btf.Array, *btf.FuncProto:
			declarator = "(" + declarator + ")"
		}
		return declare(c.Target, declarator, depth, steps)
	case *btf.Array:
		return declare(c.Type, fmt.Sprintf("%s[%d]", declarator, c.Nelems), depth, steps)
	case *btf.FuncProto:
		params := make([]string, 0, len(c.Params))
		for _, p := range c.Params {
			if _, ok := p.Type.(*btf.Void); ok {
				params = append(params, "...") // which is what BTF has for it
				continue
			}
			params = append(params, declare(p.Type, "", depth, steps))
			if *steps < 0 {
				break
			}
		}
		if len(c.Params) == 0 {
			params = append(params, "void")
		}
		return declare(c.Return, declarator+"("+strings.Join(params, ", ")+")", depth, steps)
	}
	base := Name(t)
	if declarator == "" {
		return base
	}
	return base + " " + declarator
}

// qualify is declare for a type with a qualifier, which stands after the star of a pointer
// and before all else.
func qualify(qualifier string, t btf.Type, declarator string, depth int, steps *int) string {
	if _, ok := target(t).(*btf.Pointer); ok {
		if declarator != "" && !strings.HasPrefix(declarator, "[") {
			qualifier += " "
		}
		return declare(t, qualifier+declarator, depth, steps)
	}
	return qualifier + " " + declare(t, declarator, depth, steps)
}

// target returns t without qualifiers and tags, but with its typedefs.
func target(t btf.Type) btf.Type {
	for range maxDepth {
		inner, ok := Unqualify(t)
		if !ok {
			break
		}
		t = inner
	}
	return t
}
