// Package perfevent opens the perf events that programs of tracepoints, kprobes
// and uprobes are attached to.
//
// An event has a type and a config, which are numbers that the kernel tells in files: that of
// a tracepoint in tracefs, those of the PMUs for kprobes and uprobes, where the address or the
// file and the offset come besides, in sysfs (Linux 4.17). Nothing is written to the text
// interface of probes, kprobe_events, whose names are everybody's and stay behind when a
// process dies: such an event is this process's own, and gone with its descriptor.
//
// Whoever puts a program on an event enables it. One of all processes is on CPU 0 by its form,
// and its program runs on all of them.
//
// Errors are the kernel's, as a [*os.SyscallError], and [ErrNoPMU] for a kernel that is built
// without such events. What they mean depends on what is probed: see package attach.
package perfevent
