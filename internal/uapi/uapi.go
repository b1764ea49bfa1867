// Package uapi has numbers of linux/bpf.h for packages that must build without
// cilium/ebpf: Gazelle reads the table of section forms, and runs in repositories whose
// cilium/ebpf has no BUILD file before it has run, that of cilium/ebpf first of all. It
// has those numbers alone that the table needs. Names are cilium/ebpf's.
package uapi

// ProgramType is an enum bpf_prog_type.
type ProgramType uint32

// The types of programs.
const (
	UnspecifiedProgram    ProgramType = 0
	SocketFilter          ProgramType = 1
	Kprobe                ProgramType = 2
	SchedCLS              ProgramType = 3
	SchedACT              ProgramType = 4
	TracePoint            ProgramType = 5
	XDP                   ProgramType = 6
	PerfEvent             ProgramType = 7
	CGroupSKB             ProgramType = 8
	CGroupSock            ProgramType = 9
	LWTIn                 ProgramType = 10
	LWTOut                ProgramType = 11
	LWTXmit               ProgramType = 12
	SockOps               ProgramType = 13
	SkSKB                 ProgramType = 14
	CGroupDevice          ProgramType = 15
	SkMsg                 ProgramType = 16
	RawTracepoint         ProgramType = 17
	CGroupSockAddr        ProgramType = 18
	LWTSeg6Local          ProgramType = 19
	LircMode2             ProgramType = 20
	SkReuseport           ProgramType = 21
	FlowDissector         ProgramType = 22
	CGroupSysctl          ProgramType = 23
	RawTracepointWritable ProgramType = 24
	CGroupSockopt         ProgramType = 25
	Tracing               ProgramType = 26
	StructOps             ProgramType = 27
	Extension             ProgramType = 28
	LSM                   ProgramType = 29
	SkLookup              ProgramType = 30
	Syscall               ProgramType = 31
	Netfilter             ProgramType = 32
)

// AttachType is an enum bpf_attach_type.
type AttachType uint32

// AttachNone is the attach type of programs whose type says all: zero is passed to the kernel,
// which does not read it.
const AttachNone AttachType = 0

// The attach types.
const (
	AttachCGroupInetIngress          AttachType = 0
	AttachCGroupInetEgress           AttachType = 1
	AttachCGroupInetSockCreate       AttachType = 2
	AttachCGroupSockOps              AttachType = 3
	AttachSkSKBStreamParser          AttachType = 4
	AttachSkSKBStreamVerdict         AttachType = 5
	AttachCGroupDevice               AttachType = 6
	AttachSkMsgVerdict               AttachType = 7
	AttachCGroupInet4Bind            AttachType = 8
	AttachCGroupInet6Bind            AttachType = 9
	AttachCGroupInet4Connect         AttachType = 10
	AttachCGroupInet6Connect         AttachType = 11
	AttachCGroupInet4PostBind        AttachType = 12
	AttachCGroupInet6PostBind        AttachType = 13
	AttachCGroupUDP4Sendmsg          AttachType = 14
	AttachCGroupUDP6Sendmsg          AttachType = 15
	AttachLircMode2                  AttachType = 16
	AttachFlowDissector              AttachType = 17
	AttachCGroupSysctl               AttachType = 18
	AttachCGroupUDP4Recvmsg          AttachType = 19
	AttachCGroupUDP6Recvmsg          AttachType = 20
	AttachCGroupGetsockopt           AttachType = 21
	AttachCGroupSetsockopt           AttachType = 22
	AttachTraceRawTp                 AttachType = 23
	AttachTraceFEntry                AttachType = 24
	AttachTraceFExit                 AttachType = 25
	AttachModifyReturn               AttachType = 26
	AttachLSMMac                     AttachType = 27
	AttachTraceIter                  AttachType = 28
	AttachCgroupInet4GetPeername     AttachType = 29
	AttachCgroupInet6GetPeername     AttachType = 30
	AttachCgroupInet4GetSockname     AttachType = 31
	AttachCgroupInet6GetSockname     AttachType = 32
	AttachXDPDevMap                  AttachType = 33
	AttachCgroupInetSockRelease      AttachType = 34
	AttachXDPCPUMap                  AttachType = 35
	AttachSkLookup                   AttachType = 36
	AttachXDP                        AttachType = 37
	AttachSkSKBVerdict               AttachType = 38
	AttachSkReuseportSelect          AttachType = 39
	AttachSkReuseportSelectOrMigrate AttachType = 40
	AttachTraceKprobeMulti           AttachType = 42
	AttachLSMCgroup                  AttachType = 43
	AttachNetfilter                  AttachType = 45
	AttachTCXIngress                 AttachType = 46
	AttachTCXEgress                  AttachType = 47
	AttachTraceUprobeMulti           AttachType = 48
	AttachCgroupUnixConnect          AttachType = 49
	AttachCgroupUnixSendmsg          AttachType = 50
	AttachCgroupUnixRecvmsg          AttachType = 51
	AttachCgroupUnixGetpeername      AttachType = 52
	AttachCgroupUnixGetsockname      AttachType = 53
	AttachNetkitPrimary              AttachType = 54
	AttachNetkitPeer                 AttachType = 55
	AttachTraceKprobeSession         AttachType = 56
	AttachTraceUprobeSession         AttachType = 57
	AttachTraceFSession              AttachType = 58
	AttachTraceFEntryMulti           AttachType = 59
	AttachTraceFExitMulti            AttachType = 60
	AttachTraceFSessionMulti         AttachType = 61
)
