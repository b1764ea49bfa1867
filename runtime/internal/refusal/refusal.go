// Package refusal explains why the kernel refuses to load or to attach something, and what to do
// about it.
//
// # Model
//
// The kernel answers with a number. What it means depends on what was asked for and on who
// asks: EPERM is a capability that is missing ([ProgramCaps], [MapCaps]), a token that does not
// delegate enough, a security module, or, before Linux 5.11, a limit on locked memory. So an
// explanation is found out after the call has failed, and never before: nothing of it is in
// the way of what works, and nothing is refused that the kernel would not refuse.
//
// Explanations are text that [Advise] adds to an error. The kernel's answer stays in the
// chain of errors, and an error gets one explanation: the first, which comes from the code
// nearest to the failed call.
//
// Only Linux refuses anything: elsewhere there is nothing to explain, and the answers are
// empty.
package refusal

import (
	"errors"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
)

// advised is an error with what it means here and what to do about it.
type advised struct {
	err    error
	advice string
}

func (e *advised) Error() string { return e.err.Error() + ": " + e.advice }
func (e *advised) Unwrap() error { return e.err }

// Advise adds advice to an error, unless it is empty or the error has some.
func Advise(err error, advice string) error {
	var has *advised
	if err == nil || advice == "" || errors.As(err, &has) {
		return err
	}
	return &advised{err, advice}
}

// ProgramCaps returns the capabilities that the kernel requires to load a program, as
// is_net_admin_prog_type and is_perfmon_prog_type of kernel/bpf/syscall.c have them.
func ProgramCaps(typ ebpf.ProgramType) []privilege.Cap {
	switch typ {
	case ebpf.SocketFilter, ebpf.CGroupSKB, ebpf.SkReuseport, ebpf.Syscall:
		return []privilege.Cap{privilege.BPF}
	case ebpf.Kprobe, ebpf.TracePoint, ebpf.PerfEvent, ebpf.RawTracepoint, ebpf.RawTracepointWritable,
		ebpf.Tracing, ebpf.LSM, ebpf.StructOps:
		return []privilege.Cap{privilege.BPF, privilege.Perfmon}
	case ebpf.Extension:
		return []privilege.Cap{privilege.BPF, privilege.NetAdmin, privilege.Perfmon}
	}
	return []privilege.Cap{privilege.BPF, privilege.NetAdmin}
}

// MapCaps returns the capabilities that the kernel requires to create a map.
func MapCaps(typ ebpf.MapType) []privilege.Cap {
	switch typ {
	case ebpf.SockMap, ebpf.SockHash, ebpf.DevMap, ebpf.DevMapHash, ebpf.XSKMap:
		return []privilege.Cap{privilege.BPF, privilege.NetAdmin}
	case ebpf.StructOpsMap:
		return []privilege.Cap{privilege.BPF, privilege.Perfmon}
	}
	return []privilege.Cap{privilege.BPF}
}

// Union returns the capabilities of several lists, each once. CAP_BPF, which has the highest
// number, comes first, as in the lists above.
func Union(lists ...[]privilege.Cap) []privilege.Cap {
	all := slices.Concat(lists...)
	slices.Sort(all)
	all = slices.Compact(all)
	slices.Reverse(all)
	return all
}
