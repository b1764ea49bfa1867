package gotype

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// cName spells a C type for an error message. It is no C declaration: arrays and
// function pointers are written from left to right.
func cName(t btf.Type) string {
	return cNameDepth(t, 8)
}

func cNameDepth(t btf.Type, depth int) string {
	if depth == 0 {
		return "..."
	}
	depth--
	switch c := t.(type) {
	case *btf.Void:
		return "void"
	case *btf.Const:
		return "const " + cNameDepth(c.Type, depth)
	case *btf.Volatile:
		return "volatile " + cNameDepth(c.Type, depth)
	case *btf.Restrict:
		return cNameDepth(c.Type, depth)
	case *btf.TypeTag:
		return cNameDepth(c.Type, depth)
	case *btf.Pointer:
		return cNameDepth(c.Target, depth) + " *"
	case *btf.Array:
		return fmt.Sprintf("%s[%d]", cNameDepth(c.Type, depth), c.Nelems)
	case *btf.Struct:
		return tagged("struct", c.Name)
	case *btf.Union:
		return tagged("union", c.Name)
	case *btf.Enum:
		return tagged("enum", c.Name)
	case *btf.Fwd:
		return tagged(c.Kind.String(), c.Name)
	case *btf.FuncProto:
		return "function"
	}
	if name := t.TypeName(); name != "" {
		return Comment(name)
	}
	return fmt.Sprintf("%T", t)
}

func tagged(keyword, tag string) string {
	if tag == "" {
		return keyword + " {...}"
	}
	return keyword + " " + Comment(tag)
}
