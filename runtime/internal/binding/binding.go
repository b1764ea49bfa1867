// Package binding is how the code that bpfgen generates reaches what package skeleton keeps
// to itself.
//
// Generated code makes the struct of a skeleton, with a handle in it for every map and
// program, and describes it: which handle is for which map, where a link or the address of
// a section belongs. The descriptions are the types of this package. Package skelimpl has
// them under the names that generated code uses, and gives them to package skeleton, which
// has set the two functions below. So people who read package skeleton see none of it, and
// what generated code compiles to is data and two calls, without a function for each type.
//
// The handles are types of package skeleton, which imports this one: pointers to them are type
// parameters here. The structs themselves are not: generic code is compiled again in each
// package that uses it, for struct types with all their methods, and once for all pointer
// types. For the same reason no type here has methods.
package binding

import (
	"unsafe"

	"github.com/cilium/ebpf/link"
)

// Object and Library are the functions of package skeleton that read a description. Their
// types are those of the functions Open and OpenLibrary of package skelimpl.
var Object, Library any

// Desc describes a skeleton. What it does not name is loaded all the same, as the object
// defines it. M, P and S point to the types of package skeleton for maps, programs and maps of
// struct_ops.
type Desc[M, P, S any] struct {
	// Name is the object's name, used in errors.
	Name string
	// Image is the object, as bpfgen writes it.
	Image string
	// Maps, Progs and Sections are in the order of the object; programs are attached in
	// this order.
	Maps     []Map[M]
	Progs    []Prog[P]
	Sections []Section
	// StructOps are attached in this order too, after the programs.
	StructOps []StructOps[S]
}

// LibraryDesc describes a subskeleton. V points to the type of package skeleton for variables.
type LibraryDesc[M, P, S, V any] struct {
	// Name is the library's name, used in errors.
	Name string
	// Library is what the library needs of an object, but for its programs.
	Library string
	Maps    []Map[M]
	// Sections are the data sections that the library has, including those with only static
	// variables.
	Sections  []LibrarySection[M]
	Progs     []LibraryProg[P]
	StructOps []LibraryStructOps[S]
	Vars      []Var[V]
}

// Map is a map of the object, or the map of a data section, which has the section's name.
type Map[M any] struct {
	Name   string
	Handle M
	Types  MapTypes
	Only   Only
}

// MapTypes are the Go types of a map's keys and values. It is zero for a handle
// without such types.
type MapTypes struct {
	// Key and Value are their sizes in bytes.
	Key, Value uint32
	// Padding is where the padding of a key is. The kernel compares all bytes of keys.
	Padding []Span
	// Inner is that of the inner maps, for a map of maps.
	Inner *MapTypes
}

// Span is the bytes from Start up to End.
type Span struct{ Start, End uint32 }

// Prog is a program of the object: a handle on it belongs in *Handle, and its link in *Link.
type Prog[P any] struct {
	Name   string
	Handle *P
	Link   *link.Link
	Only   Only
}

// LibraryProg is a program of a library: the object's handle on it belongs in *Handle, and
// the address of its slot in *Link.
type LibraryProg[P any] struct {
	// Section is the argument of SEC() in the library.
	Name, Section string
	Handle        *P
	Link          **link.Link
}

// LibrarySection is a data section of a library: the object's handle on the map that holds
// it belongs in *Handle.
type LibrarySection[M any] struct {
	Name   string
	Handle *M
}

// Field is a field of generated code that points to memory of the runtime's, Size bytes of
// it.
type Field struct {
	// Pointer is the address of the field, which is a *T.
	Pointer unsafe.Pointer
	Size    uintptr
}

// Section is a data section of the object.
type Section struct {
	Name string
	Field
	// Apart is true when the variables have a field each, as they are not the same in all
	// variants of the object. The Field of the section is not of a Go type then, and its Size
	// is 0.
	Apart bool
	Vars  []SectionVar
	Only  Only
}

// StructOps is a struct_ops map of the object.
type StructOps[S any] struct {
	// Name is the map's name: the name of its C variable.
	Name   string
	Handle S
	// Link is the slot that Attach fills.
	Link *link.Link
	// Field points to a new table.
	Field
	// Funcs are the function pointers of the table, those that C sets and the others.
	Funcs []StructOpsFunc
	Only  Only
}

// StructOpsFunc is a function pointer of a struct_ops map.
type StructOpsFunc struct {
	Name string
	// Offset is where the 8 bytes of the pointer are, from the start of the table.
	Offset uintptr
}

// LibraryStructOps is a struct_ops map of a library: the object's handle on it belongs in
// *Handle, the address of its slot in *Link, and that of its table in the field.
type LibraryStructOps[S any] struct {
	Name   string
	Handle *S
	Link   **link.Link
	Field
}

// Var is a variable of a library. The address of the object's variable belongs in the field,
// and in *Handle what reaches it where it has no address.
type Var[V any] struct {
	Name string
	Field
	Align  uintptr
	Handle V
}
