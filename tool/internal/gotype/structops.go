package gotype

import (
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
)

// programType is what a function pointer of a struct_ops map is in Go: a program
// of the object. A pointer of Go takes 4 of the 8 bytes on some machines: it is at
// the end, after a gap.
var programType = basicType{"*skeleton.BaseProgram", 8, 8}

const programGap = "[8 - unsafe.Sizeof(uintptr(0))]byte"

// StructOps declares the struct of a struct_ops map, and returns its name. It is
// laid out as c is, but its own function pointers are programs: it is another type
// than the one that Convert returns for c. doc says what the type is, after
// "Name is ".
//
// The garbage collector follows the pointers to programs in it, so raw bytes may be copied
// only to what is between them.
//
// When there is an error, nothing was declared.
func (d *Decls) StructOps(c *btf.Struct, doc string) (string, error) {
	if c.Size > maxSize {
		return "", fail(c, "is larger than memory can be")
	}
	key := d.declKey("table", c.Name, place{}, c)
	if t, ok := d.layouts[key]; ok {
		return t.String(), nil
	}
	mark := d.mark()
	t := &structType{name: d.Prefix + d.nameOf("table", c.Name, d.define(c)), doc: doc}
	t.id = "table " + c.Name
	d.list = append(d.list, t)
	l := newLayout(d, t)
	l.programs = true
	err := l.flatten(c.Members, 0, 0)
	if err == nil {
		if errs := l.finish(uint64(c.Size), c, 0); len(errs) > 0 {
			err = errs[0]
		}
	}
	if err != nil {
		d.forget(mark)
		return "", err
	}
	d.keep(key, t)
	return t.name, nil
}

// isFuncPointer reports whether t is a pointer to a function.
func isFuncPointer(t btf.Type) bool {
	p, ok := ctype.Underlying(t).(*btf.Pointer)
	if !ok {
		return false
	}
	_, ok = ctype.Underlying(p.Target).(*btf.FuncProto)
	return ok
}
