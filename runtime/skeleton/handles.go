package skeleton

import "github.com/cilium/ebpf"

// program is embedded by the handles below: as a field it must not have the name
// of the method Program.
type program = Program

// KprobeProgram is a program on a function of the kernel: SEC("kprobe"),
// SEC("kretprobe").
type KprobeProgram struct{ *program }

// KprobeMultiProgram is a program on many functions of the kernel:
// SEC("kprobe.multi"), SEC("kretprobe.multi"), SEC("kprobe.session").
type KprobeMultiProgram struct{ *program }

// SyscallProbeProgram is a program on a system call: SEC("ksyscall"),
// SEC("kretsyscall").
type SyscallProbeProgram struct{ *program }

// UprobeProgram is a program on a function of user space: SEC("uprobe"),
// SEC("uretprobe") and their sleepable forms.
type UprobeProgram struct{ *program }

// UprobeMultiProgram is a program on many functions of user space:
// SEC("uprobe.multi"), SEC("uretprobe.multi"), SEC("uprobe.session") and their
// sleepable forms.
type UprobeMultiProgram struct{ *program }

// USDTProgram is a program on a static probe of user space: SEC("usdt"),
// SEC("usdt.s").
type USDTProgram struct{ *program }

// TracepointProgram is a program on an event of tracefs: SEC("tp"),
// SEC("tracepoint") and their sleepable forms.
type TracepointProgram struct{ *program }

// RawTracepointProgram is a program on a tracepoint of the kernel:
// SEC("raw_tp"), SEC("raw_tracepoint"), their writable and sleepable forms.
type RawTracepointProgram struct{ *program }

// TracingProgram is a program whose target the kernel is told when it loads the
// program: SEC("fentry"), SEC("fexit"), SEC("fmod_ret"), SEC("fsession"),
// SEC("tp_btf"), SEC("freplace"), SEC("lsm") and their sleepable forms.
type TracingProgram struct{ *program }

// IterProgram is a program that visits objects of the kernel: SEC("iter"),
// SEC("iter.s").
type IterProgram struct{ *program }

// XDPProgram is a program on the packets that an interface receives: SEC("xdp"),
// SEC("xdp.frags").
type XDPProgram struct{ *program }

// TCXProgram is a program of traffic control whose section says in which
// direction: SEC("tcx/ingress"), SEC("tc/egress") and so on.
type TCXProgram struct{ *program }

// TCProgram is a program of traffic control whose section does not say in which
// direction: SEC("tc"), SEC("classifier").
type TCProgram struct{ *program }

// NetkitProgram is a program on an interface of kind netkit:
// SEC("netkit/primary"), SEC("netkit/peer").
type NetkitProgram struct{ *program }

// CgroupProgram is a program on a cgroup: SEC("cgroup/connect4") and so on,
// SEC("cgroup_skb/ingress"), SEC("sockops"), SEC("lsm_cgroup/<hook>").
type CgroupProgram struct{ *program }

// CgroupSKBProgram is a program on the packets of a cgroup whose section does not
// say in which direction: SEC("cgroup/skb").
type CgroupSKBProgram struct{ *program }

// SocketProgram is a filter of what a socket receives: SEC("socket").
type SocketProgram struct{ *program }

// ReuseportProgram chooses among the sockets of a port: SEC("sk_reuseport"),
// SEC("sk_reuseport/migrate").
type ReuseportProgram struct{ *program }

// NetNSProgram is a program on a network namespace: SEC("sk_lookup"),
// SEC("flow_dissector").
type NetNSProgram struct{ *program }

// SockMapProgram is a program on the sockets of a map: SEC("sk_skb/..."),
// SEC("sk_msg").
type SockMapProgram struct{ *program }

// PerfEventProgram is a program on perf events: SEC("perf_event").
type PerfEventProgram struct{ *program }

// NetfilterProgram is a program on a hook of netfilter: SEC("netfilter").
type NetfilterProgram struct{ *program }

func (*KprobeProgram) wrap(p *Program) *KprobeProgram               { return &KprobeProgram{p} }
func (*KprobeMultiProgram) wrap(p *Program) *KprobeMultiProgram     { return &KprobeMultiProgram{p} }
func (*SyscallProbeProgram) wrap(p *Program) *SyscallProbeProgram   { return &SyscallProbeProgram{p} }
func (*UprobeProgram) wrap(p *Program) *UprobeProgram               { return &UprobeProgram{p} }
func (*UprobeMultiProgram) wrap(p *Program) *UprobeMultiProgram     { return &UprobeMultiProgram{p} }
func (*USDTProgram) wrap(p *Program) *USDTProgram                   { return &USDTProgram{p} }
func (*TracepointProgram) wrap(p *Program) *TracepointProgram       { return &TracepointProgram{p} }
func (*RawTracepointProgram) wrap(p *Program) *RawTracepointProgram { return &RawTracepointProgram{p} }
func (*TracingProgram) wrap(p *Program) *TracingProgram             { return &TracingProgram{p} }
func (*IterProgram) wrap(p *Program) *IterProgram                   { return &IterProgram{p} }
func (*XDPProgram) wrap(p *Program) *XDPProgram                     { return &XDPProgram{p} }
func (*TCXProgram) wrap(p *Program) *TCXProgram                     { return &TCXProgram{p} }
func (*TCProgram) wrap(p *Program) *TCProgram                       { return &TCProgram{p} }
func (*NetkitProgram) wrap(p *Program) *NetkitProgram               { return &NetkitProgram{p} }
func (*CgroupProgram) wrap(p *Program) *CgroupProgram               { return &CgroupProgram{p} }
func (*CgroupSKBProgram) wrap(p *Program) *CgroupSKBProgram         { return &CgroupSKBProgram{p} }
func (*SocketProgram) wrap(p *Program) *SocketProgram               { return &SocketProgram{p} }
func (*ReuseportProgram) wrap(p *Program) *ReuseportProgram         { return &ReuseportProgram{p} }
func (*NetNSProgram) wrap(p *Program) *NetNSProgram                 { return &NetNSProgram{p} }
func (*SockMapProgram) wrap(p *Program) *SockMapProgram             { return &SockMapProgram{p} }
func (*PerfEventProgram) wrap(p *Program) *PerfEventProgram         { return &PerfEventProgram{p} }
func (*NetfilterProgram) wrap(p *Program) *NetfilterProgram         { return &NetfilterProgram{p} }

// SetTarget sets what the program attaches to, in place of what SEC() says: the
// function of the loaded program prog, or, when prog is nil, the function, the
// tracepoint or the hook of the kernel. An empty function leaves that of SEC()
// as it is. SEC("freplace") and programs that trace another BPF program need it.
//
// Call it before Load; later calls do nothing. prog must stay open until Load
// returns. The program is then attached by Attach like all others.
func (p *TracingProgram) SetTarget(prog *ebpf.Program, function string) {
	p.spec.AttachTarget = prog
	if function != "" {
		p.spec.AttachTo = function
	}
}
