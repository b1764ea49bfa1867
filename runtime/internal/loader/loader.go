// Package loader loads a BPF object into the kernel: its BTF, its maps and its programs.
//
// # Model
//
// [Open] makes an [Object] of an image, the form that bpfgen gives an object at build
// time. Until [Object.Load] it is nothing but the definitions of what is to be made, and
// the owner may change them. Load makes everything, or leaves nothing behind. Its steps
// are those of the method load, in this order:
//
//  1. Which programs are loaded is decided, and with that which functions are needed:
//     nothing is looked for that only the others need.
//  2. The names of all that these need of the kernel's types are collected, and looked for
//     in one pass over the kernel's BTF: attach targets, kfuncs, typed variables, struct_ops
//     types, and the types of CO-RE relocations.
//  3. The types of the object are loaded, once, without what the kernel does not know. All
//     maps and programs refer to this one BTF.
//  4. What only the kernel knows is bound: struct_ops tables get the kernel's layout,
//     programs their attach targets, and externs what the kernel has of them.
//  5. Maps are made, filled, and frozen where programs and user space only read.
//  6. Relocations are applied to the code, with all that is known by now, those of CO-RE
//     last. The code of each program is put together, with the functions that it calls, and
//     loaded, several programs at once.
//  7. What refers to programs follows: elements of program arrays, struct_ops maps.
//  8. Maps are pinned, which is what others can see, and the owner is asked
//     ([Options.Done]).
//
// The model is libbpf's; a comment has the reason where the two differ.
//
// An Object may not be used by several goroutines at once.
package loader

import (
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/token"
)

// Object is what is to be loaded.
type Object struct {
	Image *image.Object
	// Maps are those of the image with the same indices, the definitions of inner maps
	// too.
	Maps []*Map
	// Programs are those of the image with the same indices.
	Programs []*Program
	// StructOps are those of the image with the same indices.
	StructOps []*StructOps

	// Token is that which the last Load has used or looked for. Its descriptor is closed with
	// what Load has made.
	Token token.Token

	// types is the image's BTF, nil until something asks for it.
	types *rawbtf.Types
	// loaded is what the last Load has made, nil when there is nothing in the kernel.
	loaded *load
}

// Map is a map to be made. The fields up to Reuse may be changed before Load.
type Map struct {
	// Name is that in C, or the section's.
	Name string
	Kind image.MapKind
	Type ebpf.MapType
	// KeySize and ValueSize are in bytes.
	KeySize, ValueSize, MaxEntries uint32
	// Flags are BPF_F_* of map creation. BPF_F_MMAPABLE of sections is added by Load.
	Flags uint32
	// Mmap is true when Load is to make the map of a section so that it can be mapped. As for
	// libbpf, Open sets it for sections with variables that their file does not keep to itself.
	Mmap     bool
	NUMANode uint32
	// Extra is map_extra.
	Extra uint64
	// Ifindex is the network device that the map is for, 0 for none.
	Ifindex uint32
	// KeyType and ValueType are IDs in the object's BTF, 0 for none.
	KeyType, ValueType uint32
	// Inner is the definition of the map's values, nil for a map whose values are no maps.
	Inner *Map
	// InnerMap stands in for Inner when it is not nil.
	InnerMap *ebpf.Map
	// PinByName is true when the map is pinned in the directory of the options, by its name.
	// PinPath, when it is not empty, is the path instead.
	PinByName bool
	PinPath   string
	// SameTypes is true when a pinned map is taken only when the types of its keys and values are
	// those of the definition, as far as this process may ask the kernel for them. For libbpf
	// their sizes are enough.
	SameTypes bool
	// Autocreate is true when Load makes the map. Programs that use one that is not made
	// load only when that code is never reached.
	Autocreate bool
	// Contents are the initial value of a section, or of the variables in an arena, nil when
	// all is zero. Load reads them while it runs.
	Contents []byte
	// Elements are initial values that are maps or programs.
	Elements []Element
	// Reuse is taken in place of a new map.
	Reuse *ebpf.Map
	// Exclusive is the program of the object that alone may use the map, nil for a map that all
	// may use. Maps are made before programs are loaded, so the kernel knows it by its code.
	Exclusive *Program

	// Map is the map in the kernel: set by Load, closed by Close.
	Map *ebpf.Map
	// Mappable is true when the map in the kernel is made to be mapped (BPF_F_MMAPABLE). Where it
	// has a lock, a timer, a kptr or the like, the kernel still answers ENOTSUPP (524) to
	// mmap: such values are not for user space.
	Mappable bool
	// Taken is true when the map existed in the kernel before: that of Reuse or of the options,
	// or one that was pinned. It keeps its contents. Set by Load.
	Taken bool
	// Arena is where an arena is mapped, nil for other maps: set by Load. The mapping stays
	// when Close closes the map, since there may be pointers to it, until the owner calls
	// [Arena.Release]. That of a Load that fails is gone.
	Arena *Arena

	// arenaData is how many bytes the variables in an arena have.
	arenaData int
}

// Arena is the memory of an arena. The kernel maps an arena as a whole, and gives programs
// the addresses of its first mapping.
type Arena struct {
	// Base is where it begins, and Size how many bytes are mapped.
	Base unsafe.Pointer
	Size int
	// Offset is where the variables begin, and Data how many bytes they have, in whole
	// pages.
	Offset, Data int

	// replaced are what other arenas had left here.
	replaced []leftover
}

// Element is an initial value of a map: a map or a program, the other is nil.
type Element struct {
	Key     uint32
	Map     *Map
	Program *Program
}

// Program is a program to be loaded. The fields up to Autoload may be changed before
// Load.
type Program struct {
	Name string
	// Section is the argument of SEC().
	Section    string
	Type       ebpf.ProgramType
	AttachType ebpf.AttachType
	// Flags are BPF_F_* of program load.
	Flags uint32
	// AttachTo is the function, the tracepoint or the hook of the kernel that the program
	// is loaded for, or that of AttachTarget. Types that name none at load have it too.
	AttachTo string
	// AttachTarget is the program whose function the program traces or replaces.
	AttachTarget *ebpf.Program
	// Target is the target in the same object, which is loaded before.
	Target        *Program
	Ifindex       uint32
	KernelVersion uint32
	// LogLevel and LogSize are those of the options, unless they are not 0.
	LogLevel, LogSize uint32
	// Instructions replace the program's code and all that it refers to: raw, as the
	// kernel takes them (libbpf's bpf_program__set_insns). nil leaves the code as it is.
	Instructions []byte
	Autoload     bool

	// Program is the program in the kernel, nil when it was not loaded: set by Load,
	// closed by Close.
	Program *ebpf.Program

	object *Object
	// index is that in the object.
	index int
	// function is the index of its function in the image.
	function uint32
}

// StructOps is a struct_ops map to be made.
type StructOps struct {
	Name string
	// Section is the argument of SEC().
	Section string
	// Table is the value with the object's layout of the struct. Functions are Programs.
	Table []byte
	// Programs are those of the members that hold functions, by the offset of the member
	// in Table. A nil program, or none, leaves the member NULL.
	Programs map[uint32]*Program
	// Autocreate is true when Load makes the map and loads the programs in it. That of a
	// program alone does not count.
	Autocreate bool

	// Map is the map in the kernel: set by Load, closed by Close. One of SEC(".struct_ops.link")
	// has its value, for which the kernel has checked it. The others get theirs when they are
	// registered, which putting Value at key 0 does.
	Map *ebpf.Map
	// Value is the table with the kernel's layout, and the descriptors of the programs: set by
	// Load.
	Value []byte

	desc *image.StructOps
	made opsMade
}

// Options are the options of a load.
type Options struct {
	// KernelTypes is raw BTF in whose types CO-RE relocations look in place of the running
	// kernel's (libbpf's btf_custom_path). All else needs the running kernel's.
	KernelTypes []byte
	// KernelArchive has the types of several kernels, as package btfarchive makes them, and
	// stands in for the types of a running kernel that has none. KernelName is what the names
	// of those that count begin with, empty for all.
	KernelArchive []byte
	KernelName    string
	// PinRoot is where maps are pinned by name, /sys/fs/bpf when empty.
	PinRoot string
	// TokenPath is that of the bpffs from which the BPF token is made that all is loaded with.
	// When it is empty, [token.Open] says which it is, if any.
	TokenPath string
	// LogLevel is that of the verifier's log, a mask of ebpf.LogLevel*. When it is 0, only a
	// program that is refused is verified again with a log.
	LogLevel uint32
	// LogSize is how large the log's buffer is at first, in bytes. 0 is the default.
	LogSize uint32
	// Parallel is how many programs are loaded at once: 0 is GOMAXPROCS, 1 is one after the
	// other. An unprivileged process loads one at a time, as the kernel does.
	Parallel int
	// Maps are taken in place of new ones, by name.
	Maps map[string]*ebpf.Map
	// Done is called when everything is there. Load fails with its error, and takes back
	// what it has made, pins too.
	Done func() error
}
