// Package skeleton is what generated BPF skeletons run on.
//
// A skeleton is the Go package that bpfgen writes for one BPF object. It holds
// a handle for every map and program, a slot for every link and a struct for
// every data section, and it passes through four states:
//
//	Open    the object is read; nothing is in the kernel. Section structs
//	        hold the initial values of the object and may be changed, so may
//	        what maps and programs are made of, and what is left out.
//	Load    maps are created with the values that the section structs now
//	        hold, programs pass the verifier. The section structs stay at
//	        their addresses, and from now on are the kernel's memory.
//	        Prepare does this for maps and sections alone, and Load the rest.
//	Attach  every program whose SEC() names its target is attached, all or
//	        none. Detach undoes it; both may be called again.
//	Close   detaches and frees everything, from any state.
//
// A loaded skeleton is held by this package until Close, as what it does in the kernel
// must not end because nothing in Go refers to it any more. One that is only open is
// collected as any other value.
//
// # Programs that need a target
//
// Programs whose section cannot name what they attach to (an interface, a cgroup,
// a socket) have handles of a type of their own, with a method that takes it:
// [XDPProgram.AttachXDP], [CgroupProgram.AttachCgroup] and so on. It returns the link, and
// puts that into the program's slot. A program may be attached to several targets:
// [BaseProgram.Links] has all links. [Object.Attachments] lists what is attached and what is
// not, and which method to call; [Object.MissingTargets] lists the targets that the running
// kernel does not have. docs/attach.md has all forms of sections.
//
// Options are pointers to structs, nil for none. SetAttachOptions of a handle gives those of
// programs that Attach attaches.
//
// # Variants
//
// A package may have several objects that are compiled from the same sources, usually for
// kernels that differ. Its Open function takes the variant, which [ForKernel] chooses by the
// kernel's version and [LoadFirst] by what the kernel loads. What a variant does not have is a
// nil field: see docs/variants.md.
//
// # Memory of data sections
//
// A section struct lies in page-aligned memory of the Go heap. Load maps the
// memory of the section's BPF map over it (mmap, then mremap to the address), so every
// pointer taken before Load sees the kernel's writes after it, and a read or a
// write is one memory access, not a syscall. Because the garbage collector
// knows the memory, a pointer into it keeps it valid: it never faults, not
// after Close (it then points to a private copy of the last values) and not
// when the skeleton itself is gone. Fields that point to these structs are for the
// skeleton to set: Load takes the values of a struct that the user has put there, and
// points the field back.
//
// Load and Close replace the memory behind the pointers, and what other goroutines write
// meanwhile is not lost: neither a store nor an add of sync/atomic to an integer of 4 or
// 8 bytes. It is merged once the new memory is there, some microseconds later, and until
// then a reader may see the value from before. A variable to which goroutines write both
// before and after in these microseconds gets both changes if it is such an integer, as
// counters must, and the later value if it is anything else; so an integer that is
// stored to, not added to, every few microseconds may be a number that was never stored,
// until the next store.
//
// This does not hold for .rodata, whose values Load takes when it begins, for a section
// whose map was replaced by another one (Reuse) or cannot be mapped, and in a process
// that has almost as many memory mappings as it may have (vm.max_map_count). There, Load
// fails and names the limit, and changes nothing; Close copies the last values, during
// which readers may see zeros, or leaves the map's memory in its place, with an error.
//
// Variables in an arena are the exception. The kernel maps an arena as a whole, and
// gives programs the addresses of that mapping, so Load moves the variables there
// and points the field to them. Close leaves at their addresses a private copy of the
// last values, as for other sections; while it is made, readers may see zeros, and
// it stays until the process ends, or loads an arena that is declared for this address.
// The rest of the arena is gone after Close.
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
// # All maps, programs and variables
//
// What is to be done to many of them needs no names: [Object.AllMaps], [Object.AllPrograms],
// [Object.AllSections] and [Object.AllVariables] range over all that the object has, and
// [Object.FindMap] and its like look one up by its name in C.
//
//	for m := range skel.AllMaps() {
//		if err := m.SetPinning(ebpf.PinNone); err != nil { ... }
//	}
//
// # Objects without generated code
//
// [OpenObject] opens an image that is known only at run time, such as a plugin's, which bpfgen
// image, or package tool/elfimage, has made of an ELF file. The object has everything but Go
// types, and subskeletons work over it. [FromCollection] and [FromPins] do the same for what
// cilium/ebpf or another process has loaded.
//
// # Upgrades without a gap
//
// [Object.AdoptPinned] pins links and maps, for the next version of a program, which puts its
// own programs into the links. docs/daemons.md lists the links for which the kernel can do that.
//
// # Tests
//
// Package bpftest helps tests that load programs. Package bpftest/fake keeps maps in memory
// behind the handles, for tests that need no kernel.
//
// # Tables of struct_ops
//
// A struct_ops map is a struct of the skeleton too, in which pointers to functions are
// programs. It is plain memory: Load reads it, and later changes do nothing. See
// [StructOpsMap].
//
// # Other systems
//
// Programs are loaded on Linux. On other systems that Go compiles for, the package has the
// same exported names, so that a program which uses a skeleton can be written and checked
// there, and an agent for several systems needs no build constraints of its own: Load
// fails there with [ebpf.ErrNotSupported], and all that would need the kernel fails.
//
// # Rules followed
//
// Order of operations, optional programs ("?" in SEC), reuse of link slots and
// the meaning of a nil section struct follow libbpf's skeletons. Attach differs
// on purpose: where libbpf leaves the programs before a failed one attached,
// this package detaches them.
package skeleton
