package attach

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/perfevent"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/refusal"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// eventLink is a link of a program on a perf event. It implements [link.PerfEvent].
type eventLink struct {
	link.Link
	event  *os.File
	closed atomic.Bool
}

func (l *eventLink) Close() error {
	err := l.Link.Close()
	if !l.closed.Swap(true) {
		err = errors.Join(err, l.event.Close())
	}
	return err
}

// PerfEvent returns another descriptor of the event, which the caller closes.
func (l *eventLink) PerfEvent() (*os.File, error) {
	fd, err := unix.FcntlInt(l.event.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("perf event: %w", err)
	}
	return os.NewFile(uintptr(fd), "perf event"), nil
}

// attachEvent attaches prog to a perf event and takes it over: the event is closed on error,
// and with the link. Before kernel 5.15, which brought links for it and cookies, a program
// cannot be taken off, and closing the link disables the event.
func attachEvent(prog *ebpf.Program, event *os.File, cookie uint64, mode Mode) (link.Link, error) {
	l, err := attachAsIs(prog, event, cookie, mode)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlSetInt(int(event.Fd()), unix.PERF_EVENT_IOC_ENABLE, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("enable perf event: %w", err), l.Close())
	}
	return l, nil
}

// attachAsIs is attachEvent that does not enable the event.
func attachAsIs(prog *ebpf.Program, event *os.File, cookie uint64, mode Mode) (link.Link, error) {
	l, err := eventLinkOf(prog, event, cookie, mode)
	if err != nil {
		return nil, errors.Join(err, event.Close())
	}
	return &eventLink{Link: l, event: event}, nil
}

func eventLinkOf(prog *ebpf.Program, event *os.File, cookie uint64, mode Mode) (link.Link, error) {
	fd := int(event.Fd())
	if mode != Perf {
		l, err := createLink(prog, sys.LinkCreateAttr[sys.Cookie]{TargetFD: uint32(fd), AttachType: uint32(ebpf.AttachPerfEvent), Kind: sys.Cookie(cookie)})
		runtime.KeepAlive(event)
		if !errors.Is(err, unix.EINVAL) || cookie != 0 || mode == Link {
			return l, lacking(err, option{cookie != 0, "Cookie", "5.15"}, option{mode == Link, "Mode AttachLink", "5.15"})
		}
	} else if cookie != 0 {
		return nil, errors.New("option Cookie needs a link, and option Mode AttachPerf excludes it")
	}
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, prog.FD()); err != nil {
		return nil, fmt.Errorf("attach to perf event: %w", err)
	}
	runtime.KeepAlive(prog)
	return &ownLink{what: "a program on a perf event", detach: func() error {
		return unix.IoctlSetInt(int(event.Fd()), unix.PERF_EVENT_IOC_DISABLE, 0)
	}}, nil
}

// adviseEvent adds what is missing to the kernel's answer to opening an event.
func adviseEvent(err error, needed privilege.Cap) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err
	}
	if level := paranoia(); level > 2 && privilege.Has(needed) && !privilege.Has(privilege.SysAdmin) {
		return refusal.Advise(err, fmt.Sprintf("this process lacks CAP_SYS_ADMIN, which kernels of some distributions require when kernel.perf_event_paranoid is %d: run it as root, or `sysctl kernel.perf_event_paranoid=2`", level))
	}
	return refusal.Advise(err, privilege.Explain(needed))
}

// openEvent adds what is missing to an error of opening an event, which needs a
// capability.
func openEvent(event *os.File, err error, what, option string, needed privilege.Cap) (*os.File, error) {
	var call *os.SyscallError
	switch {
	case errors.Is(err, perfevent.ErrNoPMU):
		return nil, fmt.Errorf("the kernel has no %s: it is built without %s: %w", what, option, ebpf.ErrNotSupported)
	case errors.As(err, &call):
		return event, adviseEvent(err, needed)
	}
	return event, err
}

// paranoiaSwitch is the sysctl for who may open perf events. 2, the highest level that mainline
// kernels know, keeps them from processes without CAP_PERFMON.
const paranoiaSwitch = "/proc/sys/kernel/perf_event_paranoid"

// paranoia returns what paranoiaSwitch is at, 0 where it cannot be read.
func paranoia() int {
	data, err := os.ReadFile(paranoiaSwitch)
	if err != nil {
		return 0
	}
	level, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return level
}

// PerfEvent connects p to an open perf event, which stays the caller's.
func PerfEvent(p *Program, fd int, cookie uint64, mode Mode, dontEnable bool) (link.Link, error) {
	// The caller may close the event, and the number may become another file's.
	own, err := sys.Dup(fd)
	if err != nil {
		return nil, fmt.Errorf("perf event: %w", err)
	}
	event := os.NewFile(uintptr(own), "perf event")
	if dontEnable {
		return attachAsIs(p.Program, event, cookie, mode)
	}
	return attachEvent(p.Program, event, cookie, mode)
}
