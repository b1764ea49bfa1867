package secdef

import "github.com/rules-bpf/rules_bpf/internal/uapi"

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
	// What the kernel calls from a trampoline, which its BPF JIT compiler makes.
	trampoline = &Way{Handle: "TracingProgram", Auto: AutoTracing, Config: "CONFIG_BPF_JIT", Calls: setTarget, BeforeLoad: true}
	freplace   = &Way{Handle: "FreplaceProgram", Auto: AutoFreplace, Config: "CONFIG_BPF_JIT", Calls: setTarget, BeforeLoad: true}
	lsm        = &Way{Handle: "TracingProgram", Auto: AutoLSM, Config: "CONFIG_BPF_LSM", Calls: setTarget, BeforeLoad: true}
	// The kernel refuses to attach some iterators without what they visit.
	iter         = &Way{Handle: "IterProgram", Auto: AutoIter, Needs: "one map or cgroup", Calls: []Call{{"AttachIter", `&IterOptions{...}`}}, Parameters: []string{"bpf_map_elem", "bpf_sk_storage_map", "sockmap", "cgroup"}}
	tracingMulti = &Way{Handle: "BaseProgram", Config: "CONFIG_BPF_JIT", Note: "neither this runtime nor cilium/ebpf v0.22 has a call that attaches it: create the link with bpf(BPF_LINK_CREATE) and put it into the slot with link.NewFromFD, or write kprobe.multi"}

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
	structOps = &Way{Handle: "BaseProgram", Config: "CONFIG_BPF_JIT", Note: "belongs to a struct_ops map, and is attached with it"}
)

var setTarget = []Call{{"SetTarget", `prog, function`}}

// forms is the table. No section is of two forms, so their order is that of
// docs/attach.md.
var forms = []Form{
	{"kprobe+", uapi.Kprobe, uapi.AttachNone, 0, 0, "4.1", kprobe},
	{"kretprobe+", uapi.Kprobe, uapi.AttachNone, 0, Return, "4.1", kprobe},
	{"kprobe.multi+", uapi.Kprobe, uapi.AttachTraceKprobeMulti, 0, 0, "5.18", kprobeMulti},
	{"kretprobe.multi+", uapi.Kprobe, uapi.AttachTraceKprobeMulti, 0, Return, "5.18", kprobeMulti},
	{"kprobe.session+", uapi.Kprobe, uapi.AttachTraceKprobeSession, 0, Session, "6.10", kprobeMulti},
	{"ksyscall+", uapi.Kprobe, uapi.AttachNone, 0, 0, "4.1", ksyscall},
	{"kretsyscall+", uapi.Kprobe, uapi.AttachNone, 0, Return, "4.1", ksyscall},

	{"uprobe+", uapi.Kprobe, uapi.AttachNone, 0, 0, "4.3", uprobe},
	{"uprobe.s+", uapi.Kprobe, uapi.AttachNone, sleepable, 0, "6.0", uprobe},
	{"uretprobe+", uapi.Kprobe, uapi.AttachNone, 0, Return, "4.3", uprobe},
	{"uretprobe.s+", uapi.Kprobe, uapi.AttachNone, sleepable, Return, "6.0", uprobe},
	{"uprobe.multi+", uapi.Kprobe, uapi.AttachTraceUprobeMulti, 0, 0, "6.6", uprobeMulti},
	{"uprobe.multi.s+", uapi.Kprobe, uapi.AttachTraceUprobeMulti, sleepable, 0, "6.6", uprobeMulti},
	{"uretprobe.multi+", uapi.Kprobe, uapi.AttachTraceUprobeMulti, 0, Return, "6.6", uprobeMulti},
	{"uretprobe.multi.s+", uapi.Kprobe, uapi.AttachTraceUprobeMulti, sleepable, Return, "6.6", uprobeMulti},
	{"uprobe.session+", uapi.Kprobe, uapi.AttachTraceUprobeSession, 0, Session, "6.13", uprobeMulti},
	{"uprobe.session.s+", uapi.Kprobe, uapi.AttachTraceUprobeSession, sleepable, Session, "6.13", uprobeMulti},
	{"usdt+", uapi.Kprobe, uapi.AttachNone, 0, 0, "4.20", usdt},
	{"usdt.s+", uapi.Kprobe, uapi.AttachNone, sleepable, 0, "6.0", usdt},

	{"tp+", uapi.TracePoint, uapi.AttachNone, 0, 0, "4.7", tracepoint},
	{"tp.s+", uapi.TracePoint, uapi.AttachNone, sleepable, 0, "7.2", tracepoint},
	{"tracepoint+", uapi.TracePoint, uapi.AttachNone, 0, 0, "4.7", tracepoint},
	{"tracepoint.s+", uapi.TracePoint, uapi.AttachNone, sleepable, 0, "7.2", tracepoint},
	{"raw_tp+", uapi.RawTracepoint, uapi.AttachNone, 0, 0, "4.17", rawTracepoint},
	{"raw_tp.s+", uapi.RawTracepoint, uapi.AttachNone, sleepable, 0, "7.2", rawTracepoint},
	{"raw_tp.w+", uapi.RawTracepointWritable, uapi.AttachNone, 0, 0, "5.2", rawTracepoint},
	{"raw_tracepoint+", uapi.RawTracepoint, uapi.AttachNone, 0, 0, "4.17", rawTracepoint},
	{"raw_tracepoint.s+", uapi.RawTracepoint, uapi.AttachNone, sleepable, 0, "7.2", rawTracepoint},
	{"raw_tracepoint.w+", uapi.RawTracepointWritable, uapi.AttachNone, 0, 0, "5.2", rawTracepoint},

	{"tp_btf+", uapi.Tracing, uapi.AttachTraceRawTp, 0, AttachBTF, "5.5", tracing},
	{"tp_btf.s+", uapi.Tracing, uapi.AttachTraceRawTp, sleepable, AttachBTF, "7.2", tracing},
	{"fentry+", uapi.Tracing, uapi.AttachTraceFEntry, 0, AttachBTF, "5.5", trampoline},
	{"fentry.s+", uapi.Tracing, uapi.AttachTraceFEntry, sleepable, AttachBTF, "5.10", trampoline},
	{"fexit+", uapi.Tracing, uapi.AttachTraceFExit, 0, AttachBTF, "5.5", trampoline},
	{"fexit.s+", uapi.Tracing, uapi.AttachTraceFExit, sleepable, AttachBTF, "5.10", trampoline},
	{"fmod_ret+", uapi.Tracing, uapi.AttachModifyReturn, 0, AttachBTF, "5.7", trampoline},
	{"fmod_ret.s+", uapi.Tracing, uapi.AttachModifyReturn, sleepable, AttachBTF, "5.10", trampoline},
	{"fsession+", uapi.Tracing, uapi.AttachTraceFSession, 0, AttachBTF, "7.0", trampoline},
	{"fsession.s+", uapi.Tracing, uapi.AttachTraceFSession, sleepable, AttachBTF, "7.0", trampoline},
	{"fentry.multi+", uapi.Tracing, uapi.AttachTraceFEntryMulti, 0, 0, "7.2", tracingMulti},
	{"fentry.multi.s+", uapi.Tracing, uapi.AttachTraceFEntryMulti, sleepable, 0, "7.2", tracingMulti},
	{"fexit.multi+", uapi.Tracing, uapi.AttachTraceFExitMulti, 0, 0, "7.2", tracingMulti},
	{"fexit.multi.s+", uapi.Tracing, uapi.AttachTraceFExitMulti, sleepable, 0, "7.2", tracingMulti},
	{"fsession.multi+", uapi.Tracing, uapi.AttachTraceFSessionMulti, 0, 0, "7.2", tracingMulti},
	{"fsession.multi.s+", uapi.Tracing, uapi.AttachTraceFSessionMulti, sleepable, 0, "7.2", tracingMulti},
	{"freplace+", uapi.Extension, uapi.AttachNone, 0, AttachBTF, "5.6", freplace},
	{"lsm+", uapi.LSM, uapi.AttachLSMMac, 0, AttachBTF, "5.7", lsm},
	{"lsm.s+", uapi.LSM, uapi.AttachLSMMac, sleepable, AttachBTF, "5.10", lsm},
	{"iter+", uapi.Tracing, uapi.AttachTraceIter, 0, AttachBTF, "5.8", iter},
	{"iter.s+", uapi.Tracing, uapi.AttachTraceIter, sleepable, AttachBTF, "5.10", iter},

	{"xdp", uapi.XDP, uapi.AttachXDP, 0, 0, "4.8", xdp},
	{"xdp.frags", uapi.XDP, uapi.AttachXDP, xdpFrags, 0, "5.18", xdp},
	{"xdp/devmap", uapi.XDP, uapi.AttachXDPDevMap, 0, 0, "5.8", devmap},
	{"xdp.frags/devmap", uapi.XDP, uapi.AttachXDPDevMap, xdpFrags, 0, "5.18", devmap},
	{"xdp/cpumap", uapi.XDP, uapi.AttachXDPCPUMap, 0, 0, "5.9", cpumap},
	{"xdp.frags/cpumap", uapi.XDP, uapi.AttachXDPCPUMap, xdpFrags, 0, "5.18", cpumap},
	{"tcx/ingress", uapi.SchedCLS, uapi.AttachTCXIngress, 0, 0, "4.1", tcx},
	{"tcx/egress", uapi.SchedCLS, uapi.AttachTCXEgress, 0, 0, "4.1", tcx},
	{"tc/ingress", uapi.SchedCLS, uapi.AttachTCXIngress, 0, 0, "4.1", tcx},
	{"tc/egress", uapi.SchedCLS, uapi.AttachTCXEgress, 0, 0, "4.1", tcx},
	{"tc", uapi.SchedCLS, uapi.AttachNone, 0, 0, "4.1", tc},
	{"classifier", uapi.SchedCLS, uapi.AttachNone, 0, 0, "4.1", tc},
	{"action", uapi.SchedACT, uapi.AttachNone, 0, 0, "4.1", action},
	{"netkit/primary", uapi.SchedCLS, uapi.AttachNetkitPrimary, 0, 0, "6.7", netkit},
	{"netkit/peer", uapi.SchedCLS, uapi.AttachNetkitPeer, 0, 0, "6.7", netkit},

	{"cgroup_skb/ingress", uapi.CGroupSKB, uapi.AttachCGroupInetIngress, 0, 0, "4.10", cgroup},
	{"cgroup_skb/egress", uapi.CGroupSKB, uapi.AttachCGroupInetEgress, 0, 0, "4.10", cgroup},
	{"cgroup/skb", uapi.CGroupSKB, uapi.AttachNone, 0, 0, "4.10", cgroupSKB},
	{"cgroup/sock", uapi.CGroupSock, uapi.AttachCGroupInetSockCreate, 0, 0, "4.10", cgroup},
	{"cgroup/sock_create", uapi.CGroupSock, uapi.AttachCGroupInetSockCreate, 0, 0, "4.10", cgroup},
	{"cgroup/sock_release", uapi.CGroupSock, uapi.AttachCgroupInetSockRelease, 0, 0, "5.9", cgroup},
	{"cgroup/post_bind4", uapi.CGroupSock, uapi.AttachCGroupInet4PostBind, 0, 0, "4.17", cgroup},
	{"cgroup/post_bind6", uapi.CGroupSock, uapi.AttachCGroupInet6PostBind, 0, 0, "4.17", cgroup},
	{"cgroup/bind4", uapi.CGroupSockAddr, uapi.AttachCGroupInet4Bind, 0, 0, "4.17", cgroup},
	{"cgroup/bind6", uapi.CGroupSockAddr, uapi.AttachCGroupInet6Bind, 0, 0, "4.17", cgroup},
	{"cgroup/connect4", uapi.CGroupSockAddr, uapi.AttachCGroupInet4Connect, 0, 0, "4.17", cgroup},
	{"cgroup/connect6", uapi.CGroupSockAddr, uapi.AttachCGroupInet6Connect, 0, 0, "4.17", cgroup},
	{"cgroup/connect_unix", uapi.CGroupSockAddr, uapi.AttachCgroupUnixConnect, 0, 0, "6.7", cgroup},
	{"cgroup/sendmsg4", uapi.CGroupSockAddr, uapi.AttachCGroupUDP4Sendmsg, 0, 0, "4.18", cgroup},
	{"cgroup/sendmsg6", uapi.CGroupSockAddr, uapi.AttachCGroupUDP6Sendmsg, 0, 0, "4.18", cgroup},
	{"cgroup/sendmsg_unix", uapi.CGroupSockAddr, uapi.AttachCgroupUnixSendmsg, 0, 0, "6.7", cgroup},
	{"cgroup/recvmsg4", uapi.CGroupSockAddr, uapi.AttachCGroupUDP4Recvmsg, 0, 0, "5.2", cgroup},
	{"cgroup/recvmsg6", uapi.CGroupSockAddr, uapi.AttachCGroupUDP6Recvmsg, 0, 0, "5.2", cgroup},
	{"cgroup/recvmsg_unix", uapi.CGroupSockAddr, uapi.AttachCgroupUnixRecvmsg, 0, 0, "6.7", cgroup},
	{"cgroup/getpeername4", uapi.CGroupSockAddr, uapi.AttachCgroupInet4GetPeername, 0, 0, "5.8", cgroup},
	{"cgroup/getpeername6", uapi.CGroupSockAddr, uapi.AttachCgroupInet6GetPeername, 0, 0, "5.8", cgroup},
	{"cgroup/getpeername_unix", uapi.CGroupSockAddr, uapi.AttachCgroupUnixGetpeername, 0, 0, "6.7", cgroup},
	{"cgroup/getsockname4", uapi.CGroupSockAddr, uapi.AttachCgroupInet4GetSockname, 0, 0, "5.8", cgroup},
	{"cgroup/getsockname6", uapi.CGroupSockAddr, uapi.AttachCgroupInet6GetSockname, 0, 0, "5.8", cgroup},
	{"cgroup/getsockname_unix", uapi.CGroupSockAddr, uapi.AttachCgroupUnixGetsockname, 0, 0, "6.7", cgroup},
	{"cgroup/sysctl", uapi.CGroupSysctl, uapi.AttachCGroupSysctl, 0, 0, "5.2", cgroup},
	{"cgroup/getsockopt", uapi.CGroupSockopt, uapi.AttachCGroupGetsockopt, 0, 0, "5.3", cgroup},
	{"cgroup/setsockopt", uapi.CGroupSockopt, uapi.AttachCGroupSetsockopt, 0, 0, "5.3", cgroup},
	{"cgroup/dev", uapi.CGroupDevice, uapi.AttachCGroupDevice, 0, 0, "4.15", cgroup},
	{"sockops", uapi.SockOps, uapi.AttachCGroupSockOps, 0, 0, "4.13", cgroup},
	{"lsm_cgroup+", uapi.LSM, uapi.AttachLSMCgroup, 0, AttachBTF, "6.0", lsmCgroup},

	{"socket", uapi.SocketFilter, uapi.AttachNone, 0, 0, "3.19", socket},
	{"sk_reuseport", uapi.SkReuseport, uapi.AttachSkReuseportSelect, 0, 0, "4.19", reuseport},
	{"sk_reuseport/migrate", uapi.SkReuseport, uapi.AttachSkReuseportSelectOrMigrate, 0, 0, "5.14", reuseport},
	{"sk_lookup", uapi.SkLookup, uapi.AttachSkLookup, 0, 0, "5.9", netns},
	{"flow_dissector", uapi.FlowDissector, uapi.AttachFlowDissector, 0, 0, "4.20", netns},
	{"sk_skb", uapi.SkSKB, uapi.AttachNone, 0, 0, "4.14", bareSKB},
	{"sk_skb/stream_parser", uapi.SkSKB, uapi.AttachSkSKBStreamParser, 0, 0, "4.14", sockMap},
	{"sk_skb/stream_verdict", uapi.SkSKB, uapi.AttachSkSKBStreamVerdict, 0, 0, "4.14", sockMap},
	{"sk_skb/verdict", uapi.SkSKB, uapi.AttachSkSKBVerdict, 0, 0, "5.13", sockMap},
	{"sk_msg", uapi.SkMsg, uapi.AttachSkMsgVerdict, 0, 0, "4.17", sockMap},
	{"perf_event", uapi.PerfEvent, uapi.AttachNone, 0, 0, "4.9", perfEvent},
	{"netfilter", uapi.Netfilter, uapi.AttachNetfilter, 0, 0, "6.4", netfilter},
	{"lirc_mode2", uapi.LircMode2, uapi.AttachLircMode2, 0, 0, "4.18", lirc},

	{"lwt_in", uapi.LWTIn, uapi.AttachNone, 0, 0, "4.10", lwt},
	{"lwt_out", uapi.LWTOut, uapi.AttachNone, 0, 0, "4.10", lwt},
	{"lwt_xmit", uapi.LWTXmit, uapi.AttachNone, 0, 0, "4.10", lwt},
	{"lwt_seg6local", uapi.LWTSeg6Local, uapi.AttachNone, 0, 0, "4.18", lwt},

	{"syscall", uapi.Syscall, uapi.AttachNone, sleepable, 0, "5.14", syscall},
	{"struct_ops+", uapi.StructOps, uapi.AttachNone, 0, 0, "5.6", structOps},
	{"struct_ops.s+", uapi.StructOps, uapi.AttachNone, sleepable, 0, "6.3", structOps},
}
