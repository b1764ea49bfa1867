package secdef

import "github.com/cilium/ebpf"

// Attach types of linux/bpf.h that cilium/ebpf has no constant for.
const (
	attachTraceUprobeSession ebpf.AttachType = 57
	attachTraceFSession      ebpf.AttachType = 58
	attachTraceFEntryMulti   ebpf.AttachType = 59
	attachTraceFExitMulti    ebpf.AttachType = 60
	attachTraceFSessionMulti ebpf.AttachType = 61
)

// Flags of BPF_PROG_LOAD, of linux/bpf.h.
const (
	// sleepable is BPF_F_SLEEPABLE.
	sleepable = 1 << 4
	// xdpFrags is BPF_F_XDP_HAS_FRAGS.
	xdpFrags = 1 << 5
)

// Auto is the key by which the runtime finds what attaches programs automatically.
type Auto string

// The kinds of automatic attachment.
const (
	AutoKprobe        Auto = "kprobe"
	AutoKprobeMulti   Auto = "kprobe.multi"
	AutoSyscall       Auto = "ksyscall"
	AutoUprobe        Auto = "uprobe"
	AutoUprobeMulti   Auto = "uprobe.multi"
	AutoUSDT          Auto = "usdt"
	AutoTracepoint    Auto = "tracepoint"
	AutoRawTracepoint Auto = "raw_tracepoint"
	AutoTracing       Auto = "tracing"
	AutoFreplace      Auto = "freplace"
	AutoLSM           Auto = "lsm"
	AutoIter          Auto = "iter"
)

// The ways to attach.
var (
	kprobe      = &Way{Handle: "KprobeProgram", Auto: AutoKprobe, Config: "CONFIG_KPROBES", Calls: []Call{{"AttachKprobe", `"sym+off", nil`}}}
	kprobeMulti = &Way{Handle: "KprobeMultiProgram", Auto: AutoKprobeMulti, Config: "CONFIG_FPROBE", Calls: []Call{{"AttachKprobeMulti", `"tcp_*", nil`}}}
	ksyscall    = &Way{Handle: "SyscallProbeProgram", Auto: AutoSyscall, Config: "CONFIG_KPROBES", Calls: []Call{{"AttachSyscall", `"openat", nil`}}}
	uprobe      = &Way{Handle: "UprobeProgram", Auto: AutoUprobe, Calls: []Call{{"AttachUprobe", `path, "sym+off", nil`}}}
	uprobeMulti = &Way{Handle: "UprobeMultiProgram", Auto: AutoUprobeMulti, Calls: []Call{{"AttachUprobeMulti", `path, "glob*", nil`}}}
	usdt        = &Way{Handle: "USDTProgram", Auto: AutoUSDT, Calls: []Call{{"AttachUSDT", `path, provider, name, nil`}}}

	tracepoint    = &Way{Handle: "TracepointProgram", Auto: AutoTracepoint, Calls: []Call{{"AttachTracepoint", `category, name, nil`}}}
	rawTracepoint = &Way{Handle: "RawTracepointProgram", Auto: AutoRawTracepoint, Calls: []Call{{"AttachRawTracepoint", `name, nil`}}}
	tracing       = &Way{Handle: "TracingProgram", Auto: AutoTracing, Calls: setTarget, BeforeLoad: true}
	freplace      = &Way{Handle: "FreplaceProgram", Auto: AutoFreplace, Calls: setTarget, BeforeLoad: true}
	lsm           = &Way{Handle: "TracingProgram", Auto: AutoLSM, Config: "CONFIG_BPF_LSM", Calls: setTarget, BeforeLoad: true}
	// The kernel refuses to attach some iterators without what they visit.
	iter         = &Way{Handle: "IterProgram", Auto: AutoIter, Needs: "one map or cgroup", Calls: []Call{{"AttachIter", `&IterOptions{...}`}}, Parameters: []string{"bpf_map_elem", "bpf_sk_storage_map", "sockmap", "cgroup"}}
	tracingMulti = &Way{Handle: "BaseProgram", Note: "neither this runtime nor cilium/ebpf v0.22 has a call that attaches it: create the link with bpf(BPF_LINK_CREATE) and put it into the slot with link.NewFromFD, or write kprobe.multi"}

	xdp    = &Way{Handle: "XDPProgram", Needs: "a network interface", Calls: []Call{{"AttachXDP", `ifindex, nil`}}, CallsSince: "5.9"}
	devmap = &Way{Handle: "BaseProgram", Note: "runs for a device map: put its file descriptor into an element of the map"}
	cpumap = &Way{Handle: "BaseProgram", Note: "runs for a CPU map: put its file descriptor into an element of the map"}
	tcx    = &Way{Handle: "TCProgram", Needs: "a network interface", Calls: []Call{{"AttachTC", `ifindex, TCBySection, nil`}}, CallsSince: "4.5"}
	tc     = &Way{Handle: "TCProgram", Needs: "a network interface", Calls: []Call{{"AttachTC", `ifindex, TCIngress, nil`}}, CallsSince: "4.5"}
	action = &Way{Handle: "BaseProgram", Note: "is an action of a traffic control filter: attach it with a netlink library"}
	netkit = &Way{Handle: "TCProgram", Needs: "a network interface of kind netkit", Calls: []Call{{"AttachNetkit", `ifindex, NetkitBySection, nil`}}}
	lwt    = &Way{Handle: "BaseProgram", Note: "belongs to a route: name the program when adding the route with a netlink library"}

	cgroup    = &Way{Handle: "CgroupProgram", Needs: "a cgroup", Calls: []Call{{"AttachCgroup", `"/sys/fs/cgroup/...", nil`}}, CallsSince: "5.7"}
	lsmCgroup = &Way{Handle: "CgroupProgram", Config: "CONFIG_BPF_LSM", Needs: cgroup.Needs, Calls: cgroup.Calls}
	cgroupSKB = &Way{Handle: "CgroupSKBProgram", Needs: "a cgroup", Calls: []Call{{"AttachCgroupIngress", `path, nil`}, {"AttachCgroupEgress", `path, nil`}}, CallsSince: "5.7"}

	socket    = &Way{Handle: "SocketProgram", Needs: "a socket", Calls: []Call{{"AttachSocket", `conn`}}}
	reuseport = &Way{Handle: "ReuseportProgram", Needs: "a socket", Calls: []Call{{"AttachReuseport", `conn`}}}
	netns     = &Way{Handle: "NetNSProgram", Needs: "a network namespace", Calls: []Call{{"AttachNetNS", `"/proc/self/ns/net"`}}, CallsSince: "5.8"}
	sockMap   = &Way{Handle: "SockMapProgram", Needs: "a map of sockets", Calls: []Call{{"AttachSockMap", `skel.Maps.Sockets.Map()`}}}
	bareSKB   = &Way{Handle: "BaseProgram", Note: "SEC() does not say when it runs: write sk_skb/stream_verdict, sk_skb/verdict or sk_skb/stream_parser, or attach it with link.RawAttachProgram"}
	perfEvent = &Way{Handle: "PerfEventProgram", Needs: "a perf event", Calls: []Call{{"AttachPerfEvent", `fd, nil`}, {"AttachSampling", `99, nil`}}}
	netfilter = &Way{Handle: "NetfilterProgram", Needs: "a netfilter hook", Calls: []Call{{"AttachNetfilter", `NetfilterIPv4, NetfilterLocalIn, nil`}}}
	lirc      = &Way{Handle: "BaseProgram", Config: "CONFIG_BPF_LIRC_MODE2", Note: "needs an infrared receiver: attach it with link.RawAttachProgram to an open /dev/lircN"}

	syscall   = &Way{Handle: "BaseProgram", Note: "is called, not attached: call Run"}
	structOps = &Way{Handle: "BaseProgram", Note: "belongs to a struct_ops map, which is what attaches"}
)

var setTarget = []Call{{"SetTarget", `prog, function`}}

// forms is the table. No section is of two forms, so their order is that of
// docs/attach.md.
var forms = []Form{
	{"kprobe+", ebpf.Kprobe, ebpf.AttachNone, 0, 0, "4.1", kprobe},
	{"kretprobe+", ebpf.Kprobe, ebpf.AttachNone, 0, Return, "4.1", kprobe},
	{"kprobe.multi+", ebpf.Kprobe, ebpf.AttachTraceKprobeMulti, 0, 0, "5.18", kprobeMulti},
	{"kretprobe.multi+", ebpf.Kprobe, ebpf.AttachTraceKprobeMulti, 0, Return, "5.18", kprobeMulti},
	{"kprobe.session+", ebpf.Kprobe, ebpf.AttachTraceKprobeSession, 0, Session, "6.10", kprobeMulti},
	{"ksyscall+", ebpf.Kprobe, ebpf.AttachNone, 0, 0, "4.1", ksyscall},
	{"kretsyscall+", ebpf.Kprobe, ebpf.AttachNone, 0, Return, "4.1", ksyscall},

	{"uprobe+", ebpf.Kprobe, ebpf.AttachNone, 0, 0, "4.3", uprobe},
	{"uprobe.s+", ebpf.Kprobe, ebpf.AttachNone, sleepable, 0, "6.0", uprobe},
	{"uretprobe+", ebpf.Kprobe, ebpf.AttachNone, 0, Return, "4.3", uprobe},
	{"uretprobe.s+", ebpf.Kprobe, ebpf.AttachNone, sleepable, Return, "6.0", uprobe},
	{"uprobe.multi+", ebpf.Kprobe, ebpf.AttachTraceUprobeMulti, 0, 0, "6.6", uprobeMulti},
	{"uprobe.multi.s+", ebpf.Kprobe, ebpf.AttachTraceUprobeMulti, sleepable, 0, "6.6", uprobeMulti},
	{"uretprobe.multi+", ebpf.Kprobe, ebpf.AttachTraceUprobeMulti, 0, Return, "6.6", uprobeMulti},
	{"uretprobe.multi.s+", ebpf.Kprobe, ebpf.AttachTraceUprobeMulti, sleepable, Return, "6.6", uprobeMulti},
	{"uprobe.session+", ebpf.Kprobe, attachTraceUprobeSession, 0, Session, "6.13", uprobeMulti},
	{"uprobe.session.s+", ebpf.Kprobe, attachTraceUprobeSession, sleepable, Session, "6.13", uprobeMulti},
	{"usdt+", ebpf.Kprobe, ebpf.AttachNone, 0, 0, "4.20", usdt},
	{"usdt.s+", ebpf.Kprobe, ebpf.AttachNone, sleepable, 0, "6.0", usdt},

	{"tp+", ebpf.TracePoint, ebpf.AttachNone, 0, 0, "4.7", tracepoint},
	{"tp.s+", ebpf.TracePoint, ebpf.AttachNone, sleepable, 0, "7.2", tracepoint},
	{"tracepoint+", ebpf.TracePoint, ebpf.AttachNone, 0, 0, "4.7", tracepoint},
	{"tracepoint.s+", ebpf.TracePoint, ebpf.AttachNone, sleepable, 0, "7.2", tracepoint},
	{"raw_tp+", ebpf.RawTracepoint, ebpf.AttachNone, 0, 0, "4.17", rawTracepoint},
	{"raw_tp.s+", ebpf.RawTracepoint, ebpf.AttachNone, sleepable, 0, "7.2", rawTracepoint},
	{"raw_tp.w+", ebpf.RawTracepointWritable, ebpf.AttachNone, 0, 0, "5.2", rawTracepoint},
	{"raw_tracepoint+", ebpf.RawTracepoint, ebpf.AttachNone, 0, 0, "4.17", rawTracepoint},
	{"raw_tracepoint.s+", ebpf.RawTracepoint, ebpf.AttachNone, sleepable, 0, "7.2", rawTracepoint},
	{"raw_tracepoint.w+", ebpf.RawTracepointWritable, ebpf.AttachNone, 0, 0, "5.2", rawTracepoint},

	{"tp_btf+", ebpf.Tracing, ebpf.AttachTraceRawTp, 0, AttachBTF, "5.5", tracing},
	{"tp_btf.s+", ebpf.Tracing, ebpf.AttachTraceRawTp, sleepable, AttachBTF, "7.2", tracing},
	{"fentry+", ebpf.Tracing, ebpf.AttachTraceFEntry, 0, AttachBTF, "5.5", tracing},
	{"fentry.s+", ebpf.Tracing, ebpf.AttachTraceFEntry, sleepable, AttachBTF, "5.10", tracing},
	{"fexit+", ebpf.Tracing, ebpf.AttachTraceFExit, 0, AttachBTF, "5.5", tracing},
	{"fexit.s+", ebpf.Tracing, ebpf.AttachTraceFExit, sleepable, AttachBTF, "5.10", tracing},
	{"fmod_ret+", ebpf.Tracing, ebpf.AttachModifyReturn, 0, AttachBTF, "5.7", tracing},
	{"fmod_ret.s+", ebpf.Tracing, ebpf.AttachModifyReturn, sleepable, AttachBTF, "5.10", tracing},
	{"fsession+", ebpf.Tracing, attachTraceFSession, 0, AttachBTF, "7.0", tracing},
	{"fsession.s+", ebpf.Tracing, attachTraceFSession, sleepable, AttachBTF, "7.0", tracing},
	{"fentry.multi+", ebpf.Tracing, attachTraceFEntryMulti, 0, 0, "7.2", tracingMulti},
	{"fentry.multi.s+", ebpf.Tracing, attachTraceFEntryMulti, sleepable, 0, "7.2", tracingMulti},
	{"fexit.multi+", ebpf.Tracing, attachTraceFExitMulti, 0, 0, "7.2", tracingMulti},
	{"fexit.multi.s+", ebpf.Tracing, attachTraceFExitMulti, sleepable, 0, "7.2", tracingMulti},
	{"fsession.multi+", ebpf.Tracing, attachTraceFSessionMulti, 0, 0, "7.2", tracingMulti},
	{"fsession.multi.s+", ebpf.Tracing, attachTraceFSessionMulti, sleepable, 0, "7.2", tracingMulti},
	{"freplace+", ebpf.Extension, ebpf.AttachNone, 0, AttachBTF, "5.6", freplace},
	{"lsm+", ebpf.LSM, ebpf.AttachLSMMac, 0, AttachBTF, "5.7", lsm},
	{"lsm.s+", ebpf.LSM, ebpf.AttachLSMMac, sleepable, AttachBTF, "5.10", lsm},
	{"iter+", ebpf.Tracing, ebpf.AttachTraceIter, 0, AttachBTF, "5.8", iter},
	{"iter.s+", ebpf.Tracing, ebpf.AttachTraceIter, sleepable, AttachBTF, "5.10", iter},

	{"xdp", ebpf.XDP, ebpf.AttachXDP, 0, 0, "4.8", xdp},
	{"xdp.frags", ebpf.XDP, ebpf.AttachXDP, xdpFrags, 0, "5.18", xdp},
	{"xdp/devmap", ebpf.XDP, ebpf.AttachXDPDevMap, 0, 0, "5.8", devmap},
	{"xdp.frags/devmap", ebpf.XDP, ebpf.AttachXDPDevMap, xdpFrags, 0, "5.18", devmap},
	{"xdp/cpumap", ebpf.XDP, ebpf.AttachXDPCPUMap, 0, 0, "5.9", cpumap},
	{"xdp.frags/cpumap", ebpf.XDP, ebpf.AttachXDPCPUMap, xdpFrags, 0, "5.18", cpumap},
	{"tcx/ingress", ebpf.SchedCLS, ebpf.AttachTCXIngress, 0, 0, "4.1", tcx},
	{"tcx/egress", ebpf.SchedCLS, ebpf.AttachTCXEgress, 0, 0, "4.1", tcx},
	{"tc/ingress", ebpf.SchedCLS, ebpf.AttachTCXIngress, 0, 0, "4.1", tcx},
	{"tc/egress", ebpf.SchedCLS, ebpf.AttachTCXEgress, 0, 0, "4.1", tcx},
	{"tc", ebpf.SchedCLS, ebpf.AttachNone, 0, 0, "4.1", tc},
	{"classifier", ebpf.SchedCLS, ebpf.AttachNone, 0, 0, "4.1", tc},
	{"action", ebpf.SchedACT, ebpf.AttachNone, 0, 0, "4.1", action},
	{"netkit/primary", ebpf.SchedCLS, ebpf.AttachNetkitPrimary, 0, 0, "6.7", netkit},
	{"netkit/peer", ebpf.SchedCLS, ebpf.AttachNetkitPeer, 0, 0, "6.7", netkit},

	{"cgroup_skb/ingress", ebpf.CGroupSKB, ebpf.AttachCGroupInetIngress, 0, 0, "4.10", cgroup},
	{"cgroup_skb/egress", ebpf.CGroupSKB, ebpf.AttachCGroupInetEgress, 0, 0, "4.10", cgroup},
	{"cgroup/skb", ebpf.CGroupSKB, ebpf.AttachNone, 0, 0, "4.10", cgroupSKB},
	{"cgroup/sock", ebpf.CGroupSock, ebpf.AttachCGroupInetSockCreate, 0, 0, "4.10", cgroup},
	{"cgroup/sock_create", ebpf.CGroupSock, ebpf.AttachCGroupInetSockCreate, 0, 0, "4.10", cgroup},
	{"cgroup/sock_release", ebpf.CGroupSock, ebpf.AttachCgroupInetSockRelease, 0, 0, "5.9", cgroup},
	{"cgroup/post_bind4", ebpf.CGroupSock, ebpf.AttachCGroupInet4PostBind, 0, 0, "4.17", cgroup},
	{"cgroup/post_bind6", ebpf.CGroupSock, ebpf.AttachCGroupInet6PostBind, 0, 0, "4.17", cgroup},
	{"cgroup/bind4", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Bind, 0, 0, "4.17", cgroup},
	{"cgroup/bind6", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet6Bind, 0, 0, "4.17", cgroup},
	{"cgroup/connect4", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect, 0, 0, "4.17", cgroup},
	{"cgroup/connect6", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet6Connect, 0, 0, "4.17", cgroup},
	{"cgroup/connect_unix", ebpf.CGroupSockAddr, ebpf.AttachCgroupUnixConnect, 0, 0, "6.7", cgroup},
	{"cgroup/sendmsg4", ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP4Sendmsg, 0, 0, "4.18", cgroup},
	{"cgroup/sendmsg6", ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP6Sendmsg, 0, 0, "4.18", cgroup},
	{"cgroup/sendmsg_unix", ebpf.CGroupSockAddr, ebpf.AttachCgroupUnixSendmsg, 0, 0, "6.7", cgroup},
	{"cgroup/recvmsg4", ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP4Recvmsg, 0, 0, "5.2", cgroup},
	{"cgroup/recvmsg6", ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP6Recvmsg, 0, 0, "5.2", cgroup},
	{"cgroup/recvmsg_unix", ebpf.CGroupSockAddr, ebpf.AttachCgroupUnixRecvmsg, 0, 0, "6.7", cgroup},
	{"cgroup/getpeername4", ebpf.CGroupSockAddr, ebpf.AttachCgroupInet4GetPeername, 0, 0, "5.8", cgroup},
	{"cgroup/getpeername6", ebpf.CGroupSockAddr, ebpf.AttachCgroupInet6GetPeername, 0, 0, "5.8", cgroup},
	{"cgroup/getpeername_unix", ebpf.CGroupSockAddr, ebpf.AttachCgroupUnixGetpeername, 0, 0, "6.7", cgroup},
	{"cgroup/getsockname4", ebpf.CGroupSockAddr, ebpf.AttachCgroupInet4GetSockname, 0, 0, "5.8", cgroup},
	{"cgroup/getsockname6", ebpf.CGroupSockAddr, ebpf.AttachCgroupInet6GetSockname, 0, 0, "5.8", cgroup},
	{"cgroup/getsockname_unix", ebpf.CGroupSockAddr, ebpf.AttachCgroupUnixGetsockname, 0, 0, "6.7", cgroup},
	{"cgroup/sysctl", ebpf.CGroupSysctl, ebpf.AttachCGroupSysctl, 0, 0, "5.2", cgroup},
	{"cgroup/getsockopt", ebpf.CGroupSockopt, ebpf.AttachCGroupGetsockopt, 0, 0, "5.3", cgroup},
	{"cgroup/setsockopt", ebpf.CGroupSockopt, ebpf.AttachCGroupSetsockopt, 0, 0, "5.3", cgroup},
	{"cgroup/dev", ebpf.CGroupDevice, ebpf.AttachCGroupDevice, 0, 0, "4.15", cgroup},
	{"sockops", ebpf.SockOps, ebpf.AttachCGroupSockOps, 0, 0, "4.13", cgroup},
	{"lsm_cgroup+", ebpf.LSM, ebpf.AttachLSMCgroup, 0, AttachBTF, "6.0", lsmCgroup},

	{"socket", ebpf.SocketFilter, ebpf.AttachNone, 0, 0, "3.19", socket},
	{"sk_reuseport", ebpf.SkReuseport, ebpf.AttachSkReuseportSelect, 0, 0, "4.19", reuseport},
	{"sk_reuseport/migrate", ebpf.SkReuseport, ebpf.AttachSkReuseportSelectOrMigrate, 0, 0, "5.14", reuseport},
	{"sk_lookup", ebpf.SkLookup, ebpf.AttachSkLookup, 0, 0, "5.9", netns},
	{"flow_dissector", ebpf.FlowDissector, ebpf.AttachFlowDissector, 0, 0, "4.20", netns},
	{"sk_skb", ebpf.SkSKB, ebpf.AttachNone, 0, 0, "4.14", bareSKB},
	{"sk_skb/stream_parser", ebpf.SkSKB, ebpf.AttachSkSKBStreamParser, 0, 0, "4.14", sockMap},
	{"sk_skb/stream_verdict", ebpf.SkSKB, ebpf.AttachSkSKBStreamVerdict, 0, 0, "4.14", sockMap},
	{"sk_skb/verdict", ebpf.SkSKB, ebpf.AttachSkSKBVerdict, 0, 0, "5.13", sockMap},
	{"sk_msg", ebpf.SkMsg, ebpf.AttachSkMsgVerdict, 0, 0, "4.17", sockMap},
	{"perf_event", ebpf.PerfEvent, ebpf.AttachNone, 0, 0, "4.9", perfEvent},
	{"netfilter", ebpf.Netfilter, ebpf.AttachNetfilter, 0, 0, "6.4", netfilter},
	{"lirc_mode2", ebpf.LircMode2, ebpf.AttachLircMode2, 0, 0, "4.18", lirc},

	{"lwt_in", ebpf.LWTIn, ebpf.AttachNone, 0, 0, "4.10", lwt},
	{"lwt_out", ebpf.LWTOut, ebpf.AttachNone, 0, 0, "4.10", lwt},
	{"lwt_xmit", ebpf.LWTXmit, ebpf.AttachNone, 0, 0, "4.10", lwt},
	{"lwt_seg6local", ebpf.LWTSeg6Local, ebpf.AttachNone, 0, 0, "4.18", lwt},

	{"syscall", ebpf.Syscall, ebpf.AttachNone, sleepable, 0, "5.14", syscall},
	{"struct_ops+", ebpf.StructOps, ebpf.AttachNone, 0, 0, "5.6", structOps},
	{"struct_ops.s+", ebpf.StructOps, ebpf.AttachNone, sleepable, 0, "6.3", structOps},
}
