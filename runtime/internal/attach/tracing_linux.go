package attach

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/perfevent"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Tracepoint connects p to an event of tracefs.
func Tracepoint(p *Program, category, name string, cookie uint64) (link.Link, error) {
	if category == "" || name == "" {
		return nil, fmt.Errorf("tracepoint %q is incomplete: write <category>/<name>, as under /sys/kernel/tracing/events", strings.Trim(category+"/"+name, "/"))
	}
	event, err := perfevent.Tracepoint(category, name)
	event, err = openEvent(event, err, "tracepoints for programs", "CONFIG_PERF_EVENTS", privilege.Perfmon)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noTracepoint(category, name)
	}
	if err != nil {
		return nil, fmt.Errorf("tracepoint %s/%s: %w", category, name, err)
	}
	l, err := attachEvent(p.Program, event, cookie, Default)
	return l, explainTracepoint(err, category, name)
}

// noTracepoint returns the error that the kernel has no such tracepoint.
func noTracepoint(category, name string) error {
	return fmt.Errorf("the kernel has no tracepoint %s/%s: see the directory events of tracefs: %w", category, name, fs.ErrNotExist)
}

// explainTracepoint explains what the kernel's answer to attaching to a tracepoint means.
func explainTracepoint(err error, category, name string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EACCES):
		// The verifier does not know the event: the kernel compares only here.
		return fmt.Errorf("the program reads beyond the fields of tracepoint %s/%s, which its file format in tracefs lists: %w", category, name, err)
	}
	return fmt.Errorf("tracepoint %s/%s: %w", category, name, err)
}

// RawTracepoint connects p to a tracepoint of the kernel.
func RawTracepoint(p *Program, name string, cookie uint64) (l link.Link, err error) {
	if cookie == 0 {
		l, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: name, Program: p.Program})
	} else {
		var fd int
		if fd, err = sys.RawTPOpen(p.Program.FD(), name, cookie); err == nil {
			l, err = link.NewFromFD(fd)
		}
		runtime.KeepAlive(p.Program)
		err = lacking(err, option{true, "Cookie", "6.10"})
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, noRawTracepoint(name, err)
	case errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("tracepoint %q has the program already, which kernels before 6.10 run once: %w", name, err)
	}
	return l, err
}

// noRawTracepoint returns the error that the kernel has no such tracepoint.
func noRawTracepoint(name string, err error) error {
	return fmt.Errorf("tracepoint %q: the kernel has no tracepoint of this name: %w", name, err)
}

// Tracing connects p to the target that it was loaded for.
func Tracing(p *Program, cookie uint64) (l link.Link, err error) {
	attach := p.AttachType
	switch {
	case attach == ebpf.AttachLSMMac:
		if err := inactiveLSM(); err != nil {
			return nil, err
		}
	case attach == ebpf.AttachTraceRawTp, attach == ebpf.AttachTraceFEntry, attach == ebpf.AttachTraceFExit, attach == ebpf.AttachModifyReturn:
	default:
		// AttachTracing takes no other types, but the older call that None stands for attaches
		// a program to whatever it was loaded for.
		attach = ebpf.AttachNone
	}
	switch {
	case cookie != 0:
		l, err = createLink(p.Program, sys.LinkCreateAttr[sys.TracingLink]{AttachType: uint32(p.AttachType), Kind: sys.TracingLink{Cookie: cookie}})
		err = lacking(err, option{attach == ebpf.AttachTraceRawTp, "Cookie for SEC(\"tp_btf\")", "6.10"}, option{true, "Cookie", "5.19"})
	case attach == ebpf.AttachLSMMac:
		l, err = link.AttachLSM(link.LSMOptions{Program: p.Program})
	default:
		l, err = link.AttachTracing(link.TracingOptions{Program: p.Program, AttachType: attach})
	}
	return l, p.explainTrampoline(err)
}

// Freplace puts p in the place of a function of another program. A nil target is the one that
// it was loaded for.
func Freplace(p *Program, target *ebpf.Program, function string) (link.Link, error) {
	switch {
	case target == nil && function != "":
		return nil, fmt.Errorf("target of function %q is nil: the target's skeleton is not loaded", function)
	case target != nil && function == "":
		return nil, errors.New("function is empty: name the one of the target that is to be replaced")
	}
	l, err := link.AttachFreplace(target, function, p.Program)
	return l, p.explainTrampoline(err)
}

// Iter makes an iterator that visits what the options say. The link is a [*link.Iter].
func Iter(p *Program, o IterOptions) (link.Link, error) {
	switch {
	case o.Map != nil:
		return link.AttachIter(link.IterOptions{Program: p.Program, Map: o.Map})
	case o.Cgroup != "":
		dir, err := os.Open(o.Cgroup)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		const self = 1 // BPF_CGROUP_ITER_SELF_ONLY
		// struct { order, cgroup_fd; __u64 cgroup_id; }
		l, err := iterLink(p.Program, []uint32{cmp.Or(o.Order, self), uint32(dir.Fd()), 0, 0})
		if errors.Is(err, unix.EBADF) {
			return nil, noCgroup(err, o.Cgroup)
		}
		return l, lacking(err, option{true, "Cgroup", "6.1"})
	case o.TID != 0 || o.PID != 0:
		// struct { tid, pid, pid_fd; }
		l, err := iterLink(p.Program, []uint32{uint32(o.TID), uint32(o.PID), 0})
		return l, lacking(err, option{o.TID != 0, "TID", "6.1"}, option{o.PID != 0, "PID", "6.1"})
	}
	return link.AttachIter(link.IterOptions{Program: p.Program})
}
