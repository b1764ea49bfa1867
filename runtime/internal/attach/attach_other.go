//go:build !linux

package attach

import (
	"fmt"
	"runtime"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

func elsewhere() (link.Link, error) {
	return nil, fmt.Errorf("attaching needs Linux, this is %s: %w", runtime.GOOS, ebpf.ErrNotSupported)
}

// IsMissing returns false: nothing is looked for.
func IsMissing(error) bool { return false }

// Find finds nothing missing.
func Find(targets []Target) []error { return make([]error, len(targets)) }

// Explain returns the error.
func Explain(err error, _ ebpf.ProgramType) error { return err }

// Connect returns the connection that connect makes.
func Connect(list *Links, p *Program, _ Hook, connect func(*Program) (link.Link, error)) (link.Link, error) {
	l, err := connect(p)
	if err != nil {
		return nil, err
	}
	return list.Watch(l), nil
}

// ConnectTable returns the connection that connect makes.
func ConnectTable(list *Links, _ StructOps, connect func() (link.Link, error)) (link.Link, error) {
	l, err := connect()
	if err != nil {
		return nil, err
	}
	return list.Watch(l), nil
}

// Nothing is pinned.

func errNoPins() error {
	return fmt.Errorf("pinning needs Linux, this is %s: %w", runtime.GOOS, ebpf.ErrNotSupported)
}

func makePinDirectory(string) (string, error) { return "", errNoPins() }

func otherNetNS() (func(string) (bool, error), error) { return nil, errNoPins() }

func removePins(string, func(string) (bool, error), func(string) bool) ([]string, error) {
	return nil, errNoPins()
}

// RemovePinned fails.
func RemovePinned(string) error { return errNoPins() }

func unpin(link.Link, string) error { return errNoPins() }

// OnXDP and the other hooks have no names.
func OnXDP(int) Hook { return Hook{} }

func OnTC(int, ebpf.AttachType, TCOptions) Hook { return Hook{} }

func OnNetkit(int, ebpf.AttachType) Hook { return Hook{} }

func OnCgroup(string, ebpf.AttachType) Hook { return Hook{} }

func OnNetNS(string, ebpf.AttachType) Hook { return Hook{} }

func OnSockMap(*ebpf.Map, ebpf.AttachType) Hook { return Hook{} }

// All others fail.

func Kprobe(*Program, string, ProbeOptions) (link.Link, error) { return elsewhere() }

func KprobeMulti(*Program, string, KprobeMultiOptions) (link.Link, error) { return elsewhere() }

func Syscall(*Program, string, ProbeOptions) (link.Link, error) { return elsewhere() }

func Uprobe(*Program, string, string, UprobeOptions) (link.Link, error) { return elsewhere() }

func UprobeMulti(*Program, string, string, UprobeMultiOptions) (link.Link, error) {
	return elsewhere()
}

func USDT(*Program, string, string, string, int, uint64, *USDTs) (link.Link, []error, error) {
	l, err := elsewhere()
	return l, nil, err
}

func Tracepoint(*Program, string, string, uint64) (link.Link, error) { return elsewhere() }

func RawTracepoint(*Program, string, uint64) (link.Link, error) { return elsewhere() }

func Tracing(*Program, uint64) (link.Link, error) { return elsewhere() }

func Freplace(*Program, *ebpf.Program, string) (link.Link, error) { return elsewhere() }

func Iter(*Program, IterOptions) (link.Link, error) { return elsewhere() }

func XDP(*Program, int, uint32, link.Link) (link.Link, error) { return elsewhere() }

func TC(*Program, int, ebpf.AttachType, TCOptions) (link.Link, error) { return elsewhere() }

func Netkit(*Program, int, ebpf.AttachType, Position) (link.Link, error) { return elsewhere() }

func Cgroup(*Program, string, ebpf.AttachType, CgroupOptions) (link.Link, error) { return elsewhere() }

func Socket(*Program, syscall.Conn) (link.Link, error) { return elsewhere() }

func Reuseport(*Program, syscall.Conn) (link.Link, error) { return elsewhere() }

func NetNS(*Program, string) (link.Link, error) { return elsewhere() }

func SockMap(*Program, *ebpf.Map) (link.Link, error) { return elsewhere() }

func PerfEvent(*Program, int, uint64, Mode, bool) (link.Link, error) { return elsewhere() }

func Sampling(*Program, uint64, int, uint64) (link.Link, error) { return elsewhere() }

func Netfilter(*Program, NetfilterOptions) (link.Link, error) { return elsewhere() }
