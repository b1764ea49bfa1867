package skelgen

import "strings"

// handles are the runtime's types for programs, by the section's name or what it
// begins with. An entry that ends in a slash is for sections that go on after it;
// any other one is for the section of this name, with or without a target behind
// a slash. The first that fits counts.
var handles = []struct{ section, handle string }{
	{"kprobe", "KprobeProgram"},
	{"kretprobe", "KprobeProgram"},
	{"kprobe.multi", "KprobeMultiProgram"},
	{"kretprobe.multi", "KprobeMultiProgram"},
	{"kprobe.session", "KprobeMultiProgram"},
	{"ksyscall", "SyscallProbeProgram"},
	{"kretsyscall", "SyscallProbeProgram"},
	{"uprobe", "UprobeProgram"},
	{"uprobe.s", "UprobeProgram"},
	{"uretprobe", "UprobeProgram"},
	{"uretprobe.s", "UprobeProgram"},
	{"uprobe.multi", "UprobeMultiProgram"},
	{"uprobe.multi.s", "UprobeMultiProgram"},
	{"uretprobe.multi", "UprobeMultiProgram"},
	{"uretprobe.multi.s", "UprobeMultiProgram"},
	{"uprobe.session", "UprobeMultiProgram"},
	{"uprobe.session.s", "UprobeMultiProgram"},
	{"usdt", "USDTProgram"},
	{"usdt.s", "USDTProgram"},
	{"tp", "TracepointProgram"},
	{"tp.s", "TracepointProgram"},
	{"tracepoint", "TracepointProgram"},
	{"tracepoint.s", "TracepointProgram"},
	{"raw_tp", "RawTracepointProgram"},
	{"raw_tp.s", "RawTracepointProgram"},
	{"raw_tp.w", "RawTracepointProgram"},
	{"raw_tracepoint", "RawTracepointProgram"},
	{"raw_tracepoint.s", "RawTracepointProgram"},
	{"raw_tracepoint.w", "RawTracepointProgram"},
	{"tp_btf", "TracingProgram"},
	{"tp_btf.s", "TracingProgram"},
	{"fentry", "TracingProgram"},
	{"fentry.s", "TracingProgram"},
	{"fexit", "TracingProgram"},
	{"fexit.s", "TracingProgram"},
	{"fmod_ret", "TracingProgram"},
	{"fmod_ret.s", "TracingProgram"},
	{"fsession", "TracingProgram"},
	{"fsession.s", "TracingProgram"},
	{"freplace", "TracingProgram"},
	{"lsm", "TracingProgram"},
	{"lsm.s", "TracingProgram"},
	{"iter", "IterProgram"},
	{"iter.s", "IterProgram"},
	// Programs of device and CPU maps are put into the map.
	{"xdp/devmap", "Program"},
	{"xdp/cpumap", "Program"},
	{"xdp.frags/devmap", "Program"},
	{"xdp.frags/cpumap", "Program"},
	{"xdp", "XDPProgram"},
	{"xdp.frags", "XDPProgram"},
	{"tc/ingress", "TCXProgram"},
	{"tc/egress", "TCXProgram"},
	{"tcx/ingress", "TCXProgram"},
	{"tcx/egress", "TCXProgram"},
	{"tc", "TCProgram"},
	{"classifier", "TCProgram"},
	{"netkit/primary", "NetkitProgram"},
	{"netkit/peer", "NetkitProgram"},
	{"cgroup/skb", "CgroupSKBProgram"},
	{"cgroup/", "CgroupProgram"},
	{"cgroup_skb/", "CgroupProgram"},
	{"sockops", "CgroupProgram"},
	{"lsm_cgroup", "CgroupProgram"},
	{"socket", "SocketProgram"},
	{"sk_reuseport", "ReuseportProgram"},
	{"sk_lookup", "NetNSProgram"},
	{"flow_dissector", "NetNSProgram"},
	{"sk_skb", "SockMapProgram"},
	{"sk_msg", "SockMapProgram"},
	{"perf_event", "PerfEventProgram"},
	{"netfilter", "NetfilterProgram"},
}

// programHandle returns the type of the handle for a program of the section,
// which has the methods that attach such a program.
func programHandle(section string) string {
	section = strings.TrimPrefix(section, "?")
	for _, h := range handles {
		rest, ok := strings.CutPrefix(section, h.section)
		if ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(h.section, "/")) {
			return h.handle
		}
	}
	return "Program"
}
