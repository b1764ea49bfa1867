// Package privilege finds out which of the capabilities that BPF needs this process has, and
// says how to give it those that it lacks.
//
// Capabilities are the thread's, and count for BPF in the initial user namespace alone: those
// that a container gives in another one do nothing without a token. CAP_SYS_ADMIN stands for
// all, and on kernels that do not know one of them it is what the kernel requires. For a
// process that has what is needed and is refused all the same, the answer is what else on this
// machine refuses it: a filter of system calls, lockdown, a security module.
//
// All of it is looked up when it is asked for, after a call has failed.
package privilege

import "strconv"

// A Cap is the number of a capability of Linux.
type Cap int

// The capabilities that BPF needs. CAP_SYS_ADMIN stands for each of the others, and before
// Linux 5.8, which brought CAP_BPF and CAP_PERFMON, for these two.
const (
	NetAdmin Cap = 12
	SysAdmin Cap = 21
	Perfmon  Cap = 38
	BPF      Cap = 39
)

func (c Cap) String() string {
	switch c {
	case NetAdmin:
		return "CAP_NET_ADMIN"
	case SysAdmin:
		return "CAP_SYS_ADMIN"
	case Perfmon:
		return "CAP_PERFMON"
	case BPF:
		return "CAP_BPF"
	}
	return "capability " + strconv.Itoa(int(c))
}
