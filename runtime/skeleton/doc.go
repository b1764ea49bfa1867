// Package skeleton is what generated BPF skeletons run on.
//
// A skeleton is the Go package that bpfgen writes for one BPF object. It holds
// a handle for every map and program, a slot for every link and a struct for
// every data section, and it passes through four states:
//
//	Open    the object is parsed; nothing is in the kernel. Section structs
//	        hold the initial values of the ELF and may be changed, handles
//	        give access to the specs, programs may be left out.
//	Load    maps are created with the values that the section structs now
//	        hold, programs pass the verifier. The section structs stay at
//	        their addresses, and from now on are the kernel's memory.
//	Attach  every program whose SEC() names its target is attached, all or
//	        none. Detach undoes it; both may be called again.
//	Close   detaches and frees everything, from any state.
//
// # Programs that need a target
//
// Programs whose section cannot name what they attach to (an interface, a cgroup,
// a socket) have handles of a type of their own, with a method that takes it:
// [XDPProgram.AttachXDP], [CgroupProgram.AttachCgroup] and so on. It puts the link
// into the program's slot. [Object.Attachments] lists what is attached and what is
// not, and which method to call. docs/attach.md has all forms of sections.
//
// # Memory of data sections
//
// A section struct lies in page-aligned memory of the Go heap. Load maps the
// memory of the section's BPF map over it (mmap, then mremap to the address), so every
// pointer taken before Load sees the kernel's writes after it, and a read or a
// write is one memory access, not a syscall. Because the garbage collector
// knows the memory, a pointer into it keeps it valid: it never faults, not
// after Close (it then points to a private copy of the last values) and not
// when the skeleton itself is gone.
//
// Variables in an arena are the exception. The kernel maps an arena as a whole, and
// gives programs the addresses of that mapping, so Load moves the variables there
// and points the field to them. Close leaves at their addresses a private copy of the
// last values, as for other sections; while it is made, readers may see zeros, and
// it stays until the process ends. The rest of the arena is gone after Close.
//
// The kernel and other CPUs write concurrently. Use the atomic functions of
// sync/atomic on fields that BPF programs update, as with any shared memory.
//
// # C types in generated code
//
// Every type of C has a Go type with the same layout, which the generated code
// asserts where it is compiled. Integers, floats, arrays, enums and structs are
// what one expects. The others:
//
//	pointer                 [Pointer], whatever it points to
//	__int128                [Int128], [Uint128]
//	long double, _Float16   an array of bytes
//	char[N]                 [N]byte; [String] ends it at the NUL
//	enum                    a type with its constants and a String method
//	typedef of a number     a type, except for plain ones such as __u32
//	union with member foo   a struct with a method AsFoo, the address of foo;
//	                        a write through it reaches the kernel
//	anonymous struct        its fields are fields of the struct around it
//	anonymous union         its AsFoo methods are methods of the struct around it
//	bit-field foo           methods Foo and SetFoo
//	member foo that is not  methods Foo and SetFoo, which copy it; for an array
//	aligned (packed)        or a struct, get it, change it, and set it
//	flexible array foo[]    a method Foo(n), which returns a slice of the n
//	                        elements that follow the struct in memory
//	struct bpf_spin_lock    a type of the same size without fields, as for all
//	                        that the kernel keeps to itself
//	member without bytes    left out
//
// SetFoo on a bit-field reads and writes back whole bytes, so another thread or
// a program must not write the bit-fields next to it at the same time.
//
// # Subskeletons
//
// A subskeleton is the Go package that bpfgen writes for one BPF library. It works
// inside of every object that the library is linked into: its Open function takes
// the object's skeleton, open or loaded, and finds the library's symbols in there.
// It owns nothing; the skeleton loads, attaches and closes.
//
//	lib, err := ratelimit.Open(skel)
//	*lib.Data.Limit = 100
//
// Variables are pointers into the skeleton's section structs, in a struct for each
// section that the library has them in. They are the same before Load and after it,
// and as valid as any pointer into these structs. Maps have handles of the library's
// types, programs those of the skeleton, and *lib.Links.X is the skeleton's slot: a
// link that is put there is closed by the skeleton's Detach and Close. The maps that
// the loader makes for data sections (.data, .rodata, .bss, .kconfig) are not among
// the library's: they are the object's, with the variables of all of its files. The
// skeleton has them.
//
// Variables in an arena, the library's and those that it declares extern, are the
// exception here too: Load moves them, and makes the fields of all subskeletons that
// are open point to where they are then. Take pointers to them after Load.
//
// A struct_ops map is in lib.StructOps as in the skeleton, and is the same memory: set
// programs and values there before Load. lib.Maps has the skeleton's handle on it, and
// lib.Links its slot. A table takes all programs of the object, those of other files
// too.
//
// What the library declares extern, and another file of the object defines, is there
// as well: variables in the struct Externs, maps with the others. A weak one that the
// object does not have is nil.
//
// A symbol that the object does not have, or has with another type, is part of one
// [*MismatchError] that lists all of them. A hidden symbol of the library is for its
// own files, and not in the subskeleton. Only symbols with global linkage count: a
// static variable with the name of one of the library's is another variable.
//
// A skeleton that is generated with subskeletons opens them itself, into its field
// Subskeletons. They are fields and not methods because the build has checked that
// the object has what they need, so that there is no error left to handle where they
// are used.
//
// # Tables of struct_ops
//
// A struct_ops map is a struct of the skeleton too, in which pointers to functions
// are programs. It is plain memory: Load reads it, and that is the end of it. See
// [StructOpsMap].
//
// # Rules followed
//
// Order of operations, optional programs ("?" in SEC), reuse of link slots and
// the meaning of a nil section struct follow libbpf's skeletons. Attach differs
// on purpose: where libbpf leaves the programs before a failed one attached,
// this package detaches them.
package skeleton
