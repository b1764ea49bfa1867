//go:build !linux

package skeleton

import (
	"fmt"
	"io"
	"runtime"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
)

// attachers is empty: no other system runs these programs.
var attachers map[secdef.Auto]attacher

// What the methods of handles call on Linux. Nothing is ever loaded elsewhere, so that the
// methods fail before.

func elsewhere() (link.Link, error) {
	return nil, fmt.Errorf("attaching needs Linux, this is %s: %w", runtime.GOOS, ebpf.ErrNotSupported)
}

func kprobe(*BaseProgram, *ebpf.Program, string, KprobeOptions) (link.Link, error) {
	return elsewhere()
}

func kprobeMulti(*BaseProgram, *ebpf.Program, string, KprobeMultiOptions) (link.Link, error) {
	return elsewhere()
}

func syscallProbe(*BaseProgram, *ebpf.Program, string, SyscallOptions) (link.Link, error) {
	return elsewhere()
}

func uprobe(*BaseProgram, *ebpf.Program, string, string, UprobeOptions) (link.Link, error) {
	return elsewhere()
}

func uprobeMulti(*BaseProgram, *ebpf.Program, string, string, UprobeMultiOptions) (link.Link, error) {
	return elsewhere()
}

func (o *Object) usdt(*BaseProgram, *ebpf.Program, string, string, string, USDTOptions) (link.Link, error) {
	return elsewhere()
}

func tracepoint(*ebpf.Program, string, string, TracepointOptions) (link.Link, error) {
	return elsewhere()
}

func rawTracepoint(*ebpf.Program, string, RawTracepointOptions) (link.Link, error) {
	return elsewhere()
}

func tracing(*BaseProgram, *ebpf.Program, TracingOptions) (link.Link, error) { return elsewhere() }

func freplace(*BaseProgram, *ebpf.Program, *ebpf.Program, string) (link.Link, error) {
	return elsewhere()
}

func iterator(*ebpf.Program, IterOptions) (link.Link, error) { return elsewhere() }

func (p *IterProgram) open() (io.ReadCloser, error) {
	_, err := elsewhere()
	return nil, err
}

func xdp(*ebpf.Program, int, XDPOptions) (link.Link, error) { return elsewhere() }

func trafficControl(*BaseProgram, *ebpf.Program, int, TCDirection, TCOptions) (link.Link, error) {
	return elsewhere()
}

func netkit(*BaseProgram, *ebpf.Program, int, NetkitEnd, NetkitOptions) (link.Link, error) {
	return elsewhere()
}

func cgroup(*BaseProgram, *ebpf.Program, string, ebpf.AttachType, CgroupOptions) (link.Link, error) {
	return elsewhere()
}

func socketFilter(*ebpf.Program, syscall.Conn) (link.Link, error) { return elsewhere() }

func reuseport(*ebpf.Program, syscall.Conn) (link.Link, error) { return elsewhere() }

func netNS(*ebpf.Program, string) (link.Link, error) { return elsewhere() }

func sockMap(*ebpf.Program, *ebpf.Map, ebpf.AttachType) (link.Link, error) { return elsewhere() }

func perfEvent(*ebpf.Program, int, PerfEventOptions) (link.Link, error) { return elsewhere() }

func sampling(*ebpf.Program, uint64, SamplingOptions) (link.Link, error) { return elsewhere() }

func netfilter(*ebpf.Program, NetfilterFamily, NetfilterHook, NetfilterOptions) (link.Link, error) {
	return elsewhere()
}

func (p *BaseProgram) explainAttach(err error) error { return err }
