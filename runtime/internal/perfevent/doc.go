// Package perfevent opens the perf events that programs of tracepoints, kprobes
// and uprobes are attached to.
//
// An event has a type and a config, which are numbers in files of the kernel: that of a
// tracepoint in tracefs; those of the PMUs for kprobes and uprobes in sysfs (Linux 4.17), which
// take an address, or a file and an offset, as well. Nothing is written to kprobe_events, the
// text interface of probes, whose names all processes share and which stay behind when a
// process dies: an event here is this process's own, and gone with its descriptor.
//
// Whoever puts a program on an event enables it. An event of all processes is opened on CPU 0
// for form's sake only: its program runs on all CPUs.
//
// Errors are the kernel's, as a [*os.SyscallError], and [ErrNoPMU] for a kernel that is built
// without such events. What they mean depends on what is probed: see package attach.
package perfevent
