// Package privilege finds out which of the capabilities that BPF asks for this process has,
// and says of those that it lacks how to give it them.
package privilege

import "strconv"

// A Cap is the number of a capability of Linux.
type Cap int

// The capabilities that BPF asks for. CAP_SYS_ADMIN stands for each of the others,
// and before Linux 5.8, which brought CAP_BPF and CAP_PERFMON, for these two.
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
