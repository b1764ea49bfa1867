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
