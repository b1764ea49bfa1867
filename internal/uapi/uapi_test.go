package uapi

import (
	"testing"

	"github.com/cilium/ebpf"
)

func TestProgramTypes(t *testing.T) {
	for ours, theirs := range map[ProgramType]ebpf.ProgramType{
		UnspecifiedProgram:    ebpf.UnspecifiedProgram,
		SocketFilter:          ebpf.SocketFilter,
		Kprobe:                ebpf.Kprobe,
		SchedCLS:              ebpf.SchedCLS,
		SchedACT:              ebpf.SchedACT,
		TracePoint:            ebpf.TracePoint,
		XDP:                   ebpf.XDP,
		PerfEvent:             ebpf.PerfEvent,
		CGroupSKB:             ebpf.CGroupSKB,
		CGroupSock:            ebpf.CGroupSock,
		LWTIn:                 ebpf.LWTIn,
		LWTOut:                ebpf.LWTOut,
		LWTXmit:               ebpf.LWTXmit,
		SockOps:               ebpf.SockOps,
		SkSKB:                 ebpf.SkSKB,
		CGroupDevice:          ebpf.CGroupDevice,
		SkMsg:                 ebpf.SkMsg,
		RawTracepoint:         ebpf.RawTracepoint,
		CGroupSockAddr:        ebpf.CGroupSockAddr,
		LWTSeg6Local:          ebpf.LWTSeg6Local,
		LircMode2:             ebpf.LircMode2,
		SkReuseport:           ebpf.SkReuseport,
		FlowDissector:         ebpf.FlowDissector,
		CGroupSysctl:          ebpf.CGroupSysctl,
		RawTracepointWritable: ebpf.RawTracepointWritable,
		CGroupSockopt:         ebpf.CGroupSockopt,
		Tracing:               ebpf.Tracing,
		StructOps:             ebpf.StructOps,
		Extension:             ebpf.Extension,
		LSM:                   ebpf.LSM,
		SkLookup:              ebpf.SkLookup,
		Syscall:               ebpf.Syscall,
		Netfilter:             ebpf.Netfilter,
	} {
		if ebpf.ProgramType(ours) != theirs {
			t.Errorf("%v is %d, want %d", theirs, ours, theirs)
		}
	}
}

// Of the attach types that cilium/ebpf has; the others are newer.
func TestAttachTypes(t *testing.T) {
	for ours, theirs := range map[AttachType]ebpf.AttachType{
		AttachCGroupInetIngress:          ebpf.AttachCGroupInetIngress,
		AttachCGroupInetEgress:           ebpf.AttachCGroupInetEgress,
		AttachCGroupInetSockCreate:       ebpf.AttachCGroupInetSockCreate,
		AttachCGroupSockOps:              ebpf.AttachCGroupSockOps,
		AttachSkSKBStreamParser:          ebpf.AttachSkSKBStreamParser,
		AttachSkSKBStreamVerdict:         ebpf.AttachSkSKBStreamVerdict,
		AttachCGroupDevice:               ebpf.AttachCGroupDevice,
		AttachSkMsgVerdict:               ebpf.AttachSkMsgVerdict,
		AttachCGroupInet4Bind:            ebpf.AttachCGroupInet4Bind,
		AttachCGroupInet6Bind:            ebpf.AttachCGroupInet6Bind,
		AttachCGroupInet4Connect:         ebpf.AttachCGroupInet4Connect,
		AttachCGroupInet6Connect:         ebpf.AttachCGroupInet6Connect,
		AttachCGroupInet4PostBind:        ebpf.AttachCGroupInet4PostBind,
		AttachCGroupInet6PostBind:        ebpf.AttachCGroupInet6PostBind,
		AttachCGroupUDP4Sendmsg:          ebpf.AttachCGroupUDP4Sendmsg,
		AttachCGroupUDP6Sendmsg:          ebpf.AttachCGroupUDP6Sendmsg,
		AttachLircMode2:                  ebpf.AttachLircMode2,
		AttachFlowDissector:              ebpf.AttachFlowDissector,
		AttachCGroupSysctl:               ebpf.AttachCGroupSysctl,
		AttachCGroupUDP4Recvmsg:          ebpf.AttachCGroupUDP4Recvmsg,
		AttachCGroupUDP6Recvmsg:          ebpf.AttachCGroupUDP6Recvmsg,
		AttachCGroupGetsockopt:           ebpf.AttachCGroupGetsockopt,
		AttachCGroupSetsockopt:           ebpf.AttachCGroupSetsockopt,
		AttachTraceRawTp:                 ebpf.AttachTraceRawTp,
		AttachTraceFEntry:                ebpf.AttachTraceFEntry,
		AttachTraceFExit:                 ebpf.AttachTraceFExit,
		AttachModifyReturn:               ebpf.AttachModifyReturn,
		AttachLSMMac:                     ebpf.AttachLSMMac,
		AttachTraceIter:                  ebpf.AttachTraceIter,
		AttachCgroupInet4GetPeername:     ebpf.AttachCgroupInet4GetPeername,
		AttachCgroupInet6GetPeername:     ebpf.AttachCgroupInet6GetPeername,
		AttachCgroupInet4GetSockname:     ebpf.AttachCgroupInet4GetSockname,
		AttachCgroupInet6GetSockname:     ebpf.AttachCgroupInet6GetSockname,
		AttachXDPDevMap:                  ebpf.AttachXDPDevMap,
		AttachCgroupInetSockRelease:      ebpf.AttachCgroupInetSockRelease,
		AttachXDPCPUMap:                  ebpf.AttachXDPCPUMap,
		AttachSkLookup:                   ebpf.AttachSkLookup,
		AttachXDP:                        ebpf.AttachXDP,
		AttachSkSKBVerdict:               ebpf.AttachSkSKBVerdict,
		AttachSkReuseportSelect:          ebpf.AttachSkReuseportSelect,
		AttachSkReuseportSelectOrMigrate: ebpf.AttachSkReuseportSelectOrMigrate,
		AttachTraceKprobeMulti:           ebpf.AttachTraceKprobeMulti,
		AttachLSMCgroup:                  ebpf.AttachLSMCgroup,
		AttachNetfilter:                  ebpf.AttachNetfilter,
		AttachTCXIngress:                 ebpf.AttachTCXIngress,
		AttachTCXEgress:                  ebpf.AttachTCXEgress,
		AttachTraceUprobeMulti:           ebpf.AttachTraceUprobeMulti,
		AttachCgroupUnixConnect:          ebpf.AttachCgroupUnixConnect,
		AttachCgroupUnixSendmsg:          ebpf.AttachCgroupUnixSendmsg,
		AttachCgroupUnixRecvmsg:          ebpf.AttachCgroupUnixRecvmsg,
		AttachCgroupUnixGetpeername:      ebpf.AttachCgroupUnixGetpeername,
		AttachCgroupUnixGetsockname:      ebpf.AttachCgroupUnixGetsockname,
		AttachNetkitPrimary:              ebpf.AttachNetkitPrimary,
		AttachNetkitPeer:                 ebpf.AttachNetkitPeer,
		AttachTraceKprobeSession:         ebpf.AttachTraceKprobeSession,
	} {
		if ebpf.AttachType(ours) != theirs {
			t.Errorf("%v is %d, want %d", theirs, ours, theirs)
		}
	}
}
