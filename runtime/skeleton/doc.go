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
// # Rules followed
//
// Order of operations, optional programs ("?" in SEC), reuse of link slots and
// the meaning of a nil section struct follow libbpf's skeletons. Attach differs
// on purpose: where libbpf leaves the programs before a failed one attached,
// this package detaches them.
package skeleton
