// Package subskel is the subskeleton contract: it reports whether a BPF object has what a
// BPF library needs of it.
//
// A library is linked into objects that it does not know. Go code that was
// generated for the library works with the library's variables, maps and programs
// inside of any of them, so each must be there, and be of the type that the code
// was generated for. The build checks that (bpfgen check), and the generated code
// does when it opens the object: both call [Check], so both say the same.
//
// What a library needs is a [Library]. Generated code carries it in the form that
// [Library.Marshal] makes, which has no more of the library's types than the
// comparison looks at.
//
// # Rules
//
// Symbols are found by their names among those that have global linkage and are not
// hidden. A static variable that happens to have the name is another variable.
//
// Types are compared as linkers do when a declaration meets a definition: by
// structure, without typedefs and qualifiers. Names, kinds and sizes must be equal,
// members too with their names and offsets, up to the first pointer; what is behind
// a pointer must have the same kind and name. In addition to that, arrays must have
// the same length, as a variable of another length has another size, and an enum
// must have the constants that the library knows, with their values.
package subskel

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// The sections that a variable or map of a library can be in without being defined
// there.
const (
	// Kconfig is the section of variables that the loader fills in.
	Kconfig = ".kconfig"
	// Extern is where variables and maps are that the library declares and does not
	// define.
	Extern = "extern"

	// Arena is the section of variables in an arena.
	Arena = ".addr_space.1"
)

// Library is what a library needs of an object that it is linked into.
type Library struct {
	// Name is the library's file, for messages.
	Name string
	// Order is the byte order that the library was compiled for.
	Order binary.ByteOrder
	Vars  []Var
	Maps  []Map
	// StructOps are the struct_ops maps.
	StructOps []StructOps
	Progs     []Prog
}

// Var is a global variable that the library defines or declares.
type Var struct {
	Name string
	// Section is where the library has it.
	Section string
	// Size is in bytes.
	Size uint32
	Type btf.Type
	// Weak is true when the object need not have it.
	Weak bool
}

// Map is a map that the library defines or declares.
type Map struct {
	Name string
	MapDef
	// Weak is true when the object need not have it.
	Weak bool
}

// MapDef is what decides the types of a map's handle. A value that is zero or nil
// is not compared.
type MapDef struct {
	Type ebpf.MapType
	// KeySize and ValueSize are in bytes.
	KeySize, ValueSize uint32
	Key, Value         btf.Type
	// Inner is the definition of the maps that are a map's values.
	Inner *MapDef
}

// StructOps is a struct_ops map that the library defines.
type StructOps struct {
	Name string
	// Type is the struct that the map's table is.
	Type btf.Type
}

// Prog is a program that the library defines.
type Prog struct {
	Name string
	// Section is the argument of SEC().
	Section string
}

// ObjectVar is a variable of an object.
type ObjectVar struct {
	// Section is where it is, [Kconfig] when the loader fills it in.
	Section string
	// Offset and Size are in bytes.
	Offset, Size uint64
	Type         btf.Type
}

// Object is an object that a library may have been linked into. It has symbols of
// global linkage only, and no hidden ones.
type Object interface {
	// Name is the object's file, for messages.
	Name() string
	Order() binary.ByteOrder
	// Var returns the variable of that name, Map the map, StructOps the struct of the
	// struct_ops map, Prog the program.
	Var(name string) (ObjectVar, bool)
	Map(name string) (MapDef, bool)
	StructOps(name string) (btf.Type, bool)
	Prog(name string) (Prog, bool)
}

// Mismatch is a symbol that the object does not have as the library needs it.
type Mismatch struct {
	// Symbol is the name in C.
	Symbol string
	// Library and Object are what each of them has.
	Library, Object string
	// Remedy is what to do.
	Remedy string
	// File is the name of the library.
	File string
}

func (m *Mismatch) Error() string {
	return fmt.Sprintf("%s: library %s has %s, the object has %s: %s", m.Symbol, m.File, m.Library, m.Object, m.Remedy)
}

// MismatchError is the error for an object that is not as a library needs it.
type MismatchError struct {
	// Library and Object are the names of the files.
	Library, Object string
	// Mismatches are all that were found, in the order of the library.
	Mismatches []*Mismatch
}

func (e *MismatchError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s does not have what library %s needs:", e.Object, e.Library)
	for _, m := range e.Mismatches {
		b.WriteString("\n\t")
		b.WriteString(m.Error())
	}
	return b.String()
}

// Unwrap returns the mismatches.
func (e *MismatchError) Unwrap() []error {
	errs := make([]error, len(e.Mismatches))
	for i, m := range e.Mismatches {
		errs[i] = m
	}
	return errs
}

// Check returns nil when obj has all that the library needs, else a
// [*MismatchError] with everything that is missing or different.
func Check(lib *Library, obj Object) error {
	c := &checker{lib: lib, obj: obj}
	if lib.Order != nil && obj.Order() != nil && !sameOrder(lib.Order, obj.Order()) {
		return fmt.Errorf("%s is %s, and library %s is %s: compile both for one target", obj.Name(), endian(obj.Order()), lib.Name, endian(lib.Order))
	}
	for i := range lib.Vars {
		c.variable(&lib.Vars[i])
	}
	for i := range lib.Maps {
		c.bpfMap(&lib.Maps[i])
	}
	for i := range lib.StructOps {
		c.structOps(&lib.StructOps[i])
	}
	for i := range lib.Progs {
		c.program(&lib.Progs[i])
	}
	if len(c.found) == 0 {
		return nil
	}
	return &MismatchError{Library: lib.Name, Object: obj.Name(), Mismatches: c.found}
}

// sameOrder compares by behaviour: the native order is a type of its own.
func sameOrder(a, b binary.ByteOrder) bool {
	probe := []byte{1, 0}
	return a.Uint16(probe) == b.Uint16(probe)
}

func endian(order binary.ByteOrder) string {
	if order.Uint16([]byte{1, 0}) == 1 {
		return "little-endian"
	}
	return "big-endian"
}

type checker struct {
	lib   *Library
	obj   Object
	found []*Mismatch
}

func (c *checker) add(symbol, library, object, remedy string) {
	c.found = append(c.found, &Mismatch{symbol, library, object, remedy, c.lib.Name})
}

// What to do. Sources differ when a type does: either one side was not built again,
// or two definitions of one name met.
const (
	remedyLink    = "link the library into the object"
	remedyRebuild = "build both from the same sources, or give one of the two another name"
)

func (c *checker) variable(v *Var) {
	have := describe(v.Size, v.Type, v.Section)
	o, ok := c.obj.Var(v.Name)
	if !ok {
		if v.Weak {
			return
		}
		remedy := remedyLink
		if v.Section == Extern {
			remedy = "define it in one of the object's files"
		}
		c.add(quote.Text(v.Name), have, "no variable of this name that is neither static nor hidden", remedy)
		return
	}
	has := describe(uint32(o.Size), o.Type, o.Section)
	switch align := alignment(v.Type); {
	case memoryOf(v.Section) != memoryOf(o.Section) && v.Section != Extern:
		c.add(quote.Text(v.Name), have, has, "give one of the two variables another name")
	case uint64(v.Size) != o.Size:
		c.add(quote.Text(v.Name), have, has, remedyRebuild)
	case !readOnly(v.Section) && readOnly(o.Section) && !isConst(v.Type):
		c.add(quote.Text(v.Name), have, has+", which is read-only", "declare it const in the library, or leave out const in the object")
	case o.Offset%align != 0:
		c.add(quote.Text(v.Name), have, fmt.Sprintf("it at offset %d of %s", o.Offset, quote.Text(o.Section)), fmt.Sprintf("define it there with an alignment of %d bytes", align))
	default:
		if why := differ(v.Type, o.Type); why != nil {
			c.add(quote.Text(v.Name), why.a+inSection(v.Section), why.b+inSection(o.Section), remedyRebuild)
		}
	}
}

// memoryOf returns what distinguishes kinds of memory: the section of variables that the loader
// fills in or that are in an arena, nothing for the others.
func memoryOf(section string) string {
	if section == Kconfig || section == Arena {
		return section
	}
	return ""
}

func describe(size uint32, t btf.Type, section string) string {
	bytes := "bytes"
	if size == 1 {
		bytes = "byte"
	}
	return fmt.Sprintf("%s of %d %s%s", typeName(t), size, bytes, inSection(section))
}

func inSection(section string) string {
	if section == Extern {
		return " as extern"
	}
	return " in " + quote.Text(section)
}

func readOnly(section string) bool {
	return section == Kconfig || section == ".rodata" || strings.HasPrefix(section, ".rodata.")
}

func (c *checker) bpfMap(m *Map) {
	o, ok := c.obj.Map(m.Name)
	if !ok {
		if !m.Weak {
			c.add(quote.Text(m.Name), m.describe(), "no map of this name", remedyLink)
		}
		return
	}
	if have, has := m.differ(&o); have != "" {
		c.add(quote.Text(m.Name), have, has, remedyRebuild)
	}
}

func (m *Map) describe() string {
	if m.Type == ebpf.UnspecifiedMap {
		return "a map"
	}
	return "a map of " + MapTypeName(m.Type)
}

// differ returns in what two definitions differ, with empty texts when they do not.
func (m *MapDef) differ(o *MapDef) (have, has string) {
	if m.Type != ebpf.UnspecifiedMap && o.Type != ebpf.UnspecifiedMap && m.Type != o.Type {
		return "a map of " + MapTypeName(m.Type), "one of " + MapTypeName(o.Type)
	}
	for _, part := range []struct {
		name         string
		size, osize  uint32
		typ, objType btf.Type
	}{
		{"keys", m.KeySize, o.KeySize, m.Key, o.Key},
		{"values", m.ValueSize, o.ValueSize, m.Value, o.Value},
	} {
		if part.size != 0 && part.osize != 0 && part.size != part.osize {
			return fmt.Sprintf("a map with %s of %d bytes", part.name, part.size), fmt.Sprintf("one with %s of %d bytes", part.name, part.osize)
		}
		if part.typ == nil || part.objType == nil {
			continue
		}
		if why := differ(part.typ, part.objType); why != nil {
			return "a map with " + part.name + " that are " + why.a, "one with " + part.name + " that are " + why.b
		}
	}
	if m.Inner != nil && o.Inner != nil {
		if have, has := m.Inner.differ(o.Inner); have != "" {
			return "as inner map " + have, "as inner map " + has
		}
	}
	return "", ""
}

func (c *checker) structOps(m *StructOps) {
	const what = "a struct_ops map of "
	o, ok := c.obj.StructOps(m.Name)
	if !ok {
		c.add(quote.Text(m.Name), what+typeName(m.Type), "no struct_ops map of this name", remedyLink)
		return
	}
	if why := differ(m.Type, o); why != nil {
		c.add(quote.Text(m.Name), what+why.a, "one of "+why.b, remedyRebuild)
	}
}

func (c *checker) program(p *Prog) {
	o, ok := c.obj.Prog(p.Name)
	switch {
	case !ok:
		c.add(quote.Text(p.Name), fmt.Sprintf("a program, SEC(%q)", p.Section), "no program of this name", remedyLink)
	case programType(o.Section) != programType(p.Section):
		c.add(quote.Text(p.Name), fmt.Sprintf("a program, SEC(%q)", p.Section), fmt.Sprintf("one with SEC(%q)", o.Section), "give one of the two programs another name")
	}
}

// programType returns the part of a section's name that says the type of the
// program. An object may define a library's weak program anew, for another target.
func programType(section string) string {
	typ, _, _ := strings.Cut(strings.TrimPrefix(section, "?"), "/")
	return typ
}
