// Package gotype makes Go types from BTF: declarations for C types. It knows nothing of ELF
// files or of what the declarations are for.
//
// The model has two halves. A [Type] is the type of a field: a predeclared Go type, an array
// of types, or the name of a declaration. A declaration is a struct, an enum or a number
// with a name; [Decls] collects those of one Go package, one for each C type. Declarations
// are in order of first use, depth first, and their names do not depend on the order: see
// package gonames. Where names collide, [gonames.Scope.Settle] has everything declared again.
//
// # Layout
//
// A Go struct must have each field exactly where C has it, on every GOARCH. The
// rules for that are few:
//
//   - Every gap is a field of bytes, at the end of the struct too. Nothing is left
//     to Go's own padding, which differs: uint64 is aligned to 8 bytes on amd64
//     and to 4 on 386.
//   - A member is a field where all of Go's alignments allow it: at a multiple of
//     the largest one, in a struct whose size is such a multiple too.
//   - Any other member is bytes with methods: packed ones and bit-fields are read
//     and written by value (X and SetX), the members of a union, which share
//     bytes, by address (AsX). WithX returns a copy of the struct with the member set,
//     so that a value can be made in one expression.
//   - structs.HostLayout is the first field, for the day on which Go reorders.
//   - The size of each struct and the offset of each field are asserted in the
//     generated code, so that a mistake here does not compile there.
//
// # C types
//
//   - Pointers of all kinds are the runtime's Pointer, which breaks recursion: what
//     only a pointer leads to is not declared.
//   - A struct or union is a Go struct of its name. Members of an anonymous one
//     are those of the struct around it, as in C.
//   - A flexible array is a method that returns a slice: Go has no such field.
//   - A typedef of a number is a type, unless its name is an integer's well-known
//     other name (__u32). An array of char is text, [N]byte.
//   - What the kernel keeps to itself (struct bpf_spin_lock) has no fields.
//   - A member without bytes is left out.
//
// A C type that has no Go form is an [Error]; there is no fallback and no guess.
package gotype

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
)

// Type is a Go type with the layout of a C type.
type Type interface {
	// Size is the size in bytes, the same in C and on every GOARCH.
	Size() uint64
	// align is the largest alignment that any GOARCH gives the type.
	align() uint64
	// String is the type as Go spells it.
	String() string
}

// decl is a type that the generated code declares.
type decl interface {
	Type
	appendDecl(b []byte) []byte
	appendAsserts(b []byte) []byte
	from() *origin
}

// Decls are the type declarations of one Go package.
type Decls struct {
	names *gonames.Scope
	// types has an entry per C struct, union and enum; it is nil while a struct is being
	// laid out.
	types   map[btf.Type]Type
	scalars map[scalarKey]Type
	// empty are the C types of members that have no bytes, and so no declaration that
	// would say that they were looked at.
	empty map[btf.Type]bool
	list  []decl
	// variant ends the names of types that differ between variants: see Variant. differing
	// are the names in C of those, and definitions what each name in C has stood for.
	variant     string
	differing   map[string]bool
	definitions map[string]map[string]bool
	// grown are the enums that have more constants in some variants: see Grow.
	grown map[string]*grownEnum
	// enums has what variants have of each enum, by what does not differ.
	enums map[string]*grownEnum
	// layouts has an entry per struct, union, enum and table of an object with variants, by
	// all that decides its declaration, and keys what that is of a C type.
	layouts map[string]Type
	keys    map[btf.Type]string
	// shared are the declarations of another package: see Import. imported are those that
	// are used, and alias is what the package is imported as.
	shared   map[string]string
	alias    string
	imported []decl
	// BigEndian is true when the object is for big-endian machines: bit-fields start
	// at the other end of a byte there.
	BigEndian bool
	// Prefix begins the names of all declarations and of their constants.
	Prefix string
}

// NewDecls returns an empty set of declarations, which take their names and
// those of their constants from names.
func NewDecls(names *gonames.Scope) *Decls {
	return &Decls{names: names, types: make(map[btf.Type]Type), scalars: make(map[scalarKey]Type), empty: make(map[btf.Type]bool)}
}

// Convert returns the Go type for the C type t, and declares what it needs. A type
// without a name is called hint, and its doc comment says that it is c: "the key
// of map counts".
//
// When there is an error, nothing was declared.
func (d *Decls) Convert(t btf.Type, hint, c string) (Type, error) {
	mark := d.mark()
	typ, err := d.convert(t, place{goName: hint, c: c}, 0)
	if err != nil {
		d.forget(mark)
		return nil, err
	}
	return typ, nil
}

// mark is a state of the declarations and their names that forget can restore.
type mark struct{ declared, imported, named int }

func (d *Decls) mark() mark { return mark{len(d.list), len(d.imported), d.names.Mark()} }

// forget drops the declarations since the mark.
func (d *Decls) forget(m mark) {
	dropped := make(map[Type]bool)
	for _, decl := range slices.Concat(d.list[m.declared:], d.imported[m.imported:]) {
		dropped[decl] = true
	}
	maps.DeleteFunc(d.types, func(_ btf.Type, t Type) bool { return dropped[t] })
	maps.DeleteFunc(d.scalars, func(_ scalarKey, t Type) bool { return dropped[t] })
	maps.DeleteFunc(d.layouts, func(_ string, t Type) bool { return dropped[t] })
	d.list, d.imported = d.list[:m.declared], d.imported[:m.imported]
	d.names.Forget(m.named)
}

// Declares reports whether the type is one of the declarations, and not one that Go
// has already.
func (d *Decls) Declares(t Type) bool {
	_, ok := t.(decl)
	return ok
}

// HasStructs reports whether the declarations import structs and unsafe.
func (d *Decls) HasStructs() bool {
	for _, decl := range d.list {
		if _, ok := decl.(*structType); ok {
			return true
		}
	}
	return false
}

// Append appends the declarations as Go source.
func (d *Decls) Append(b []byte) []byte {
	for _, decl := range d.list {
		b = decl.appendDecl(b)
	}
	return b
}

// AppendAsserts appends the assertions of all sizes and offsets, the lines of a
// var declaration.
func (d *Decls) AppendAsserts(b []byte) []byte {
	for _, decl := range slices.Concat(d.list, d.imported) {
		b = decl.appendAsserts(b)
	}
	return b
}

// Error is a C type that has no Go form.
type Error struct {
	// Path leads from the variable to the type: cfg.rules[].key
	Path string
	// C is the type as C spells it.
	C string
	// Why is what is wrong with it.
	Why string
}

func (e *Error) Error() string {
	return e.Path + ": " + e.C + ": " + e.Why
}
