package skeleton

// The handles below are each for the forms of SEC() that docs/attach.md lists.

// KprobeProgram is a program on a function of the kernel: SEC("kprobe") and its like.
type KprobeProgram struct{ *BaseProgram }

// KprobeMultiProgram is a program on many functions of the kernel:
// SEC("kprobe.multi") and its like.
type KprobeMultiProgram struct{ *BaseProgram }

// SyscallProbeProgram is a program on a system call: SEC("ksyscall") and its like.
type SyscallProbeProgram struct{ *BaseProgram }

// UprobeProgram is a program on a function of user space: SEC("uprobe") and its like.
type UprobeProgram struct{ *BaseProgram }

// UprobeMultiProgram is a program on many functions of user space:
// SEC("uprobe.multi") and its like.
type UprobeMultiProgram struct{ *BaseProgram }

// USDTProgram is a program on a USDT, a static probe of user space: SEC("usdt").
type USDTProgram struct{ *BaseProgram }

// TracepointProgram is a program on an event of tracefs: SEC("tp") and its like.
type TracepointProgram struct{ *BaseProgram }

// RawTracepointProgram is a program on a tracepoint of the kernel: SEC("raw_tp") and its
// like.
type RawTracepointProgram struct{ *BaseProgram }

// TracingProgram is a program whose target is passed to the kernel at load:
// SEC("fentry"), SEC("tp_btf"), SEC("lsm") and their like.
type TracingProgram struct{ *BaseProgram }

// FreplaceProgram is a program in place of a function of another one: SEC("freplace").
type FreplaceProgram struct{ *BaseProgram }

// IterProgram is a program that visits objects of the kernel: SEC("iter").
type IterProgram struct{ *BaseProgram }

// XDPProgram is a program on the packets that an interface receives: SEC("xdp") and
// SEC("xdp.frags").
type XDPProgram struct{ *BaseProgram }

// TCProgram is a program of traffic control or on an interface of kind netkit: SEC("tc"),
// SEC("tcx/ingress"), SEC("netkit/primary") and their like. The kernel has one program type
// for them, so that each can be attached as all of them.
type TCProgram struct{ *BaseProgram }

// CgroupProgram is a program on a cgroup: SEC("cgroup/connect4") and its like.
type CgroupProgram struct{ *BaseProgram }

// CgroupSKBProgram is a program on the packets of a cgroup whose section does not
// say in which direction: SEC("cgroup/skb").
type CgroupSKBProgram struct{ *BaseProgram }

// SocketProgram is a filter of what a socket receives: SEC("socket").
type SocketProgram struct{ *BaseProgram }

// ReuseportProgram chooses among the sockets of a port: SEC("sk_reuseport").
type ReuseportProgram struct{ *BaseProgram }

// NetNSProgram is a program on a network namespace: SEC("sk_lookup") and its like.
type NetNSProgram struct{ *BaseProgram }

// SockMapProgram is a program on the sockets of a map: SEC("sk_skb/verdict") and its
// like.
type SockMapProgram struct{ *BaseProgram }

// PerfEventProgram is a program on perf events: SEC("perf_event").
type PerfEventProgram struct{ *BaseProgram }

// NetfilterProgram is a program on a hook of netfilter: SEC("netfilter").
type NetfilterProgram struct{ *BaseProgram }
