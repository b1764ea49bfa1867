// Package image is the form in which generated code carries a BPF object: what a loader
// needs of the linked ELF file, worked out at build time. bpfgen makes it, the runtime
// reads it, and the two agree on this package.
//
// # Model
//
// An [Object] has the code of all functions in one piece, [Object.Code], and tables that
// refer to it by the index of an instruction (8 bytes each). Types are those of
// [Object.BTF], by their IDs, and texts of BTF by their offsets in its strings. Whatever
// the linker or libbpf's open phase does to an object, and that does not depend on the
// kernel, is done: symbols are resolved to functions, maps and externs; the layout of .kconfig
// is made; DATASECs have sizes and offsets, and that of .ksyms is in the form that kernels
// take. So [Object.BTF] is what BPF_BTF_LOAD gets on a kernel that knows all kinds of types.
//
// All numbers are in the byte order of the object, which must be that of the machine.
package image

// NoIndex stands for no function, map or type where an index is optional.
const NoIndex = ^uint32(0)

// Object is a linked BPF object. What it refers to is memory of the image, and must not
// be written to.
type Object struct {
	// Name is the object's: the file's base name without ".bpf.o" or ".o". libbpf names
	// the maps of data sections after its first eight bytes.
	Name string
	// License is that of the programs.
	License string
	// KernelVersion is what section version says, 0 without one.
	KernelVersion uint32
	// BTF is the raw BTF for the kernel, empty when the object has none.
	BTF []byte
	// Code has the instructions of all functions, one after the other.
	Code []byte
	// Functions are in the order of their code, those that are programs among them.
	Functions []Function
	// Programs are in the order of the object.
	Programs []Program
	// Maps are in the order in which libbpf makes them: the declared ones, those of data
	// sections. Inner definitions come last, and are not created by themselves.
	Maps []Map
	// Externs are the functions and variables of the kernel that code refers to.
	Externs []Extern
	// Kconfig are the variables of the map of section .kconfig.
	Kconfig []KconfigVar
	// Elements are those of maps that the object initialises with maps and programs.
	Elements []Element
	// StructOps are the struct_ops maps.
	StructOps []StructOps
	// Variables are all global variables, static ones too, in the order of maps and
	// offsets.
	Variables []Variable
	// Arena describes the contents of the arena.
	Arena Arena
	// Relocations are in the order of the instructions that they change.
	Relocations Table[Relocation]
	// CORE are the CO-RE relocations, in the order of their instructions.
	CORE Table[CORE]
	// FuncInfo and LineInfo are the records of .BTF.ext, in the order of their
	// instructions, whose indices count from the start of Code.
	FuncInfo Table[FuncInfo]
	LineInfo Table[LineInfo]
	// JumpTables are the tables of section .jumptables.
	JumpTables []JumpTableContents
	// ELF is the object file, empty unless the user has asked for it.
	ELF string
}

// Function is a function with code of its own.
type Function struct {
	Name string
	// First is the index of its first instruction, and Count how many it has.
	First, Count uint32
	// Type is the ID of its FUNC in BTF, 0 without one.
	Type uint32
	// ExceptionCallback is the function that the function names as its exception
	// callback, or NoIndex.
	ExceptionCallback uint32
	// Global is true when other functions see it as one that is verified on its own.
	Global bool
}

// Program is a function that can be loaded by itself.
type Program struct {
	// Name is the function's.
	Name string
	// Section is the argument of SEC(), "?" included.
	Section string
	// Function is the index of its function.
	Function uint32
}

// MapKind is what a map holds.
type MapKind uint32

const (
	// DeclaredMap is a map of section .maps.
	DeclaredMap MapKind = iota
	// DataMap, RodataMap and BssMap are those of sections with variables.
	DataMap
	RodataMap
	BssMap
	// KconfigMap is that of section .kconfig, whose variables the loader sets.
	KconfigMap
	// InnerMap is the definition of a map's values.
	InnerMap
)

// IsSection reports whether a map is that of a section with variables.
func (k MapKind) IsSection() bool { return k != DeclaredMap && k != InnerMap }

// Map is the definition of a map.
type Map struct {
	// Name is that in C, or the section's.
	Name string
	Kind MapKind
	// Type is the kernel's number, enum bpf_map_type.
	Type uint32
	// KeySize and ValueSize are in bytes. ValueSize of a section is that of its
	// contents, not rounded.
	KeySize, ValueSize, MaxEntries uint32
	// Flags are BPF_F_* of map creation, as declared: BPF_F_RDONLY_PROG of .rodata
	// and .kconfig is among them, BPF_F_MMAPABLE of sections is not.
	Flags uint32
	// NUMANode is that of BPF_F_NUMA_NODE.
	NUMANode uint32
	// Extra is map_extra.
	Extra uint64
	// Pinning is 1 for a map that is pinned by its name (LIBBPF_PIN_BY_NAME), and 0 for
	// one that is not. Other numbers are those of loaders of a project's own.
	Pinning uint32
	// KeyType and ValueType are IDs in BTF, 0 for none. That of a section is its
	// DATASEC.
	KeyType, ValueType uint32
	// Inner is the index of the definition of the map's values, or NoIndex.
	Inner uint32
	// Contents are the initial values of a section, nil when all are zero.
	Contents []byte
	// Metadata is true when the section has variables bpf_metadata_*, for which the map is
	// bound to every program.
	Metadata bool
}

// ExternKind is what an extern is.
type ExternKind uint32

const (
	// KsymAddress is a variable without a type, of which the address is asked:
	// "extern const void x __ksym".
	KsymAddress ExternKind = iota
	// KsymVariable is one with a type, which is found in the kernel's BTF.
	KsymVariable
	// Kfunc is a function.
	Kfunc
)

// Extern is a function or a variable of the kernel.
type Extern struct {
	// Name is that in C, with a flavour.
	Name string
	Kind ExternKind
	// Type is the ID of the variable's type, or of the function's FUNC_PROTO, as the
	// object declares it.
	Type uint32
	// Weak is true when the kernel need not have it.
	Weak bool
}

// KconfigKind is the C type of a __kconfig variable, as far as it decides how the
// kernel's configuration is read.
type KconfigKind uint32

const (
	// KconfigInt is an integer of 1, 2, 4 or 8 bytes.
	KconfigInt KconfigKind = iota + 1
	// KconfigBool is bool: y is true, n is false.
	KconfigBool
	// KconfigTristate is enum libbpf_tristate: n, y and m are 0, 1 and 2.
	KconfigTristate
	// KconfigChar is char: the letter y, n or m itself, or a small number.
	KconfigChar
	// KconfigString is an array of char: a text, cut to the array's length and
	// always ended by a zero.
	KconfigString
)

// KconfigVar is a variable whose value is a Kconfig option.
type KconfigVar struct {
	// Name is that of the Kconfig option, CONFIG_HZ, or one of LINUX_KERNEL_VERSION and the like.
	Name string
	// Offset and Size are where it lies in the map of .kconfig, in bytes.
	Offset, Size uint32
	Kind         KconfigKind
	// Signed is for KconfigInt.
	Signed bool
	// Weak is true when an option that the kernel lacks is zero, and not an error.
	Weak bool
}

// Element is an element of a map that is a map or a program.
type Element struct {
	// Map is the index of the map, Key that of the element.
	Map, Key uint32
	// IsProgram is true when Target is an index of Programs, and not of Maps.
	IsProgram bool
	Target    uint32
}

// StructOps is a struct_ops map.
type StructOps struct {
	// Name is that of the variable, Section the argument of SEC().
	Name, Section string
	// Type is the ID of the table's struct.
	Type uint32
	// Contents are the table, with zeros for functions.
	Contents []byte
	// Funcs are the members that hold programs.
	Funcs []OpsFunc
}

// OpsFunc is a member of a table that holds a program.
type OpsFunc struct {
	// Offset is that of the member in the table, in bytes.
	Offset uint32
	// Program is the index of the program.
	Program uint32
}

// Variable is a variable of a section.
type Variable struct {
	Name string
	// Map is the index of its section's map, or NoIndex for one in the arena.
	Map uint32
	// Offset and Size are in bytes.
	Offset, Size uint32
	// Type is the ID of its type, that of the VAR's type.
	Type uint32
	// Visible is true when it has global linkage and is not hidden: libraries may find it.
	Visible bool
}

// Arena is what the object has in its arena.
type Arena struct {
	// Map is the index of the map, or NoIndex when no variable lies in an arena.
	Map uint32
	// Contents are the initial values of the variables in section .addr_space.1, all of
	// it. nil with a Size means zeros.
	Contents []byte
	// Size is that of the section.
	Size uint32
	// DataSection is the ID of its DATASEC, 0 without one.
	DataSection uint32
}

// RelocationKind is what an instruction is to refer to.
type RelocationKind uint32

const (
	// MapFD is a 64-bit load of a map: Target is an index of Maps.
	MapFD RelocationKind = iota
	// MapValue is a 64-bit load of an address in a map's value: Target is an index of
	// Maps, Addend the offset in the value.
	MapValue
	// ArenaValue is a 64-bit load of an address in the arena, Addend its offset in the
	// section of the arena's variables.
	ArenaValue
	// Call is a call of a function: Target is an index of Functions.
	Call
	// FuncAddress is a 64-bit load of a function's address, for callbacks.
	FuncAddress
	// ExternCall is a call of a kfunc: Target is an index of Externs.
	ExternCall
	// ExternAddress is a 64-bit load of the address of an extern.
	ExternAddress
	// JumpTable is a 64-bit load of the address of a jump table: Target is an index of
	// JumpTables.
	JumpTable
)

// Relocation is an instruction that refers to something.
type Relocation struct {
	// Instruction is the index of the instruction in Code.
	Instruction uint32
	Kind        RelocationKind
	// Target and Addend are as the kind says.
	Target, Addend uint32
}

// CORE is a CO-RE relocation.
type CORE struct {
	Instruction uint32
	// Type is the ID of the local type, and Access the offset in BTF's strings of the
	// way to a member: "0:1:2".
	Type, Access uint32
	// Kind is a number of enum bpf_core_relo_kind.
	Kind uint32
}

// FuncInfo is the type of the function that starts at an instruction: struct
// bpf_func_info.
type FuncInfo struct {
	Instruction uint32
	// Type is the ID of the FUNC.
	Type uint32
}

// LineInfo is the line that an instruction starts: struct bpf_line_info.
type LineInfo struct {
	Instruction uint32
	// File and Line are offsets in BTF's strings.
	File, Line uint32
	// Column has the line's number in the upper 22 bits, and the column's below.
	Column uint32
}

// JumpTableContents is a table of instructions in one function, to which it jumps.
type JumpTableContents struct {
	// Function is the index of the function.
	Function uint32
	// Instructions are the indices of the instructions, from the function's first one.
	Instructions []uint32
}
