package skeleton

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
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

// attachEvent attaches prog to a perf event, which it takes: it is closed on error,
// and with the link. Before kernel 5.15, which brought links for it and cookies, the
// event is off once the link is closed, as a program cannot be taken off.
func attachEvent(prog *ebpf.Program, event *os.File, cookie uint64, mode AttachMode) (link.Link, error) {
	l, err := eventLinkOf(prog, event, cookie, mode)
	if err != nil {
		return nil, errors.Join(err, event.Close())
	}
	if err := unix.IoctlSetInt(int(event.Fd()), unix.PERF_EVENT_IOC_ENABLE, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("enable perf event: %w", err), l.Close(), event.Close())
	}
	return &eventLink{Link: l, event: event}, nil
}

func eventLinkOf(prog *ebpf.Program, event *os.File, cookie uint64, mode AttachMode) (link.Link, error) {
	fd := int(event.Fd())
	if mode != AttachPerf {
		l, err := createLink(prog, sys.LinkCreateAttr[sys.Cookie]{TargetFD: uint32(fd), AttachType: uint32(ebpf.AttachPerfEvent), Kind: sys.Cookie(cookie)})
		runtime.KeepAlive(event)
		if !errors.Is(err, unix.EINVAL) || cookie != 0 || mode == AttachLink {
			return l, lacking(err, option{cookie != 0, "Cookie", "5.15"}, option{mode == AttachLink, "Mode AttachLink", "5.15"})
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

// explainTracepoint says what the kernel's answer to attaching to a tracepoint means.
func explainTracepoint(err error, category, name string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EACCES):
		// The verifier does not know the event: this is when the kernel compares.
		return fmt.Errorf("the program reads beyond the fields of tracepoint %s/%s, which its file format in tracefs lists: %w", category, name, err)
	}
	return fmt.Errorf("tracepoint %s/%s: %w", category, name, err)
}

// adviseEvent adds what is missing to the kernel's answer to opening an event.
func adviseEvent(err error, needed privilege.Cap) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err
	}
	if level := paranoia(); level > 2 && privilege.Has(needed) && !privilege.Has(privilege.SysAdmin) {
		return refusal.Advise(err, fmt.Sprintf("this process lacks CAP_SYS_ADMIN, which kernels of some distributions want to see when kernel.perf_event_paranoid is %d: run it as root, or `sysctl kernel.perf_event_paranoid=2`", level))
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

// paranoiaSwitch says who may open perf events. 2, the highest level that mainline
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

// kprobe attaches prog to symbol[+offset].
func kprobe(p *BaseProgram, prog *ebpf.Program, target string, o KprobeOptions) (link.Link, error) {
	o.Return = o.Return || p.is(secdef.Return)
	symbol, offset, err := splitOffset(target)
	if err != nil {
		return nil, err
	}
	if o.Return && offset != 0 {
		// libbpf refuses it as well: a return probe fires at no offset.
		return nil, fmt.Errorf("target %q: a kretprobe takes no offset", target)
	}
	l, err := kprobeAt(prog, symbol, offset, o)
	if !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	// Objects written for loaders that do so name system calls without what an
	// architecture puts before them.
	if prefix := kallsyms.SyscallWrappers[runtime.GOARCH]; prefix != "" && strings.HasPrefix(symbol, "sys_") {
		if l, otherErr := kprobeAt(prog, prefix+symbol, offset, o); !errors.Is(otherErr, fs.ErrNotExist) {
			return l, otherErr
		}
	}
	if others := variantsOf(symbol); len(others) > 0 {
		return nil, fmt.Errorf("%w: the compiler has made %s of it, which may be probed instead", err, strings.Join(others, ", "))
	}
	return nil, err
}

// kprobeAt attaches prog to an offset in a function. It fails with [fs.ErrNotExist]
// when, and only when, the kernel has no such function.
func kprobeAt(prog *ebpf.Program, symbol string, offset uint64, o KprobeOptions) (link.Link, error) {
	event, err := perfevent.Kprobe(symbol, offset, o.Return)
	event, err = openEvent(event, err, "kprobes", "CONFIG_KPROBE_EVENTS", privilege.Perfmon)
	if err != nil {
		return nil, explainKprobe(err, symbol, offset)
	}
	return attachEvent(prog, event, o.Cookie, o.Mode)
}

// explainKprobe says what the kernel's answer to a kprobe means. Kernels differ in it.
func explainKprobe(err error, symbol string, offset uint64) error {
	where := fmt.Sprintf("function %s", symbol)
	if offset != 0 {
		where = fmt.Sprintf("offset %#x of function %s", offset, symbol)
	}
	switch {
	case errors.Is(err, unix.EILSEQ):
		return fmt.Errorf("no instruction begins at %s: %w", where, err)
	case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %w", where, err)
	}
	found, symErr := countFunctions(symbol)
	switch {
	case symErr != nil:
		return fmt.Errorf("%s: %w (whether the kernel has it cannot be read: %w)", where, err, symErr)
	case found == 0:
		return fmt.Errorf("the kernel has no function %s: %w", symbol, fs.ErrNotExist)
	case found > 1:
		return fmt.Errorf("the kernel has %d functions %s, and cannot be told which: %w", found, symbol, err)
	case errors.Is(err, unix.ENOENT):
		// In a module that goes away.
		return fmt.Errorf("%s: %w", where, err)
	}
	if data, err := kernelfs.Debugfs.ReadFile("kprobes/blacklist"); err == nil && lastFieldIs(data, symbol) {
		return fmt.Errorf("the kernel has function %s and lets nobody probe it, as /sys/kernel/debug/kprobes/blacklist says: %w", symbol, unix.EINVAL)
	}
	if offset != 0 {
		return fmt.Errorf("the kernel refuses a probe at %s: no instruction begins there, or the function is shorter: %w", where, err)
	}
	if traceable, fileErr := isTraceable(symbol); fileErr == nil && !traceable {
		return fmt.Errorf("the kernel has function %s and refuses to probe it, as it is not to be traced (notrace): it is not in %s of tracefs: %w", symbol, traceableFile, err)
	}
	return fmt.Errorf("the kernel has function %s and refuses to probe it: %w", symbol, err)
}

// countFunctions returns how many functions of a name the kernel and its modules have.
func countFunctions(name string) (n int, err error) {
	for s, err := range kallsyms.All() {
		if err != nil {
			return 0, err
		}
		if string(s.Name) == name && s.IsFunction() {
			n++
		}
	}
	return n, nil
}

// variantsOf returns the functions that the compiler has made of one that it has
// changed: "name.isra.0", "name.constprop.0", "name.part.0".
func variantsOf(name string) (names []string) {
	for s, err := range kallsyms.All() {
		if err != nil {
			return nil
		}
		if rest, ok := strings.CutPrefix(string(s.Name), name); ok && strings.HasPrefix(rest, ".") && s.IsFunction() && !strings.HasPrefix(rest, ".cold") {
			names = append(names, string(s.Name))
		}
	}
	return names
}

// isTraceable reports whether a function is in tracefs' list.
func isTraceable(name string) (found bool, err error) {
	err = forEachLine(traceableFile, func(fields []string) error {
		found = found || len(fields) > 0 && fields[0] == name
		return nil
	})
	return found, err
}

// lastFieldIs reports whether a line of text ends in a word.
func lastFieldIs(text []byte, word string) bool {
	for line := range bytes.Lines(text) {
		if fields := bytes.Fields(line); len(fields) > 0 && string(fields[len(fields)-1]) == word {
			return true
		}
	}
	return false
}

// syscallProbe attaches prog to the function that serves the system call.
func syscallProbe(p *BaseProgram, prog *ebpf.Program, name string, o SyscallOptions) (link.Link, error) {
	opts := KprobeOptions{Cookie: o.Cookie, Return: o.Return || p.is(secdef.Return)}
	for _, symbol := range syscallFunctions(name) {
		l, err := kprobeAt(prog, symbol, 0, opts)
		if !errors.Is(err, fs.ErrNotExist) {
			return l, err
		}
	}
	return nil, noSyscall(name)
}

// noSyscall says that the kernel has no function of the system call.
func noSyscall(name string) error {
	return fmt.Errorf("system call %q: the kernel has none of the functions %s: %w", name, strings.Join(syscallFunctions(name), ", "), fs.ErrNotExist)
}

// uprobePlace is where a uprobe goes.
type uprobePlace struct {
	path string
	// offset and semaphore are offsets in the file; semaphore is 0 if there is none.
	offset, semaphore uint64
	// pid is the process, 0 for all.
	pid int
	// ret is for the return of the function at offset.
	ret bool
	// cookie needs kernel 5.15.
	cookie uint64
	mode   AttachMode
}

func uprobeAt(prog *ebpf.Program, at uprobePlace) (link.Link, error) {
	event, err := perfevent.Uprobe(at.path, at.offset, at.semaphore, at.pid, at.ret)
	event, err = openEvent(event, err, "uprobes", "CONFIG_UPROBE_EVENTS", privilege.SysAdmin)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("there is no process %d: %w", at.pid, err)
	case errors.Is(err, sys.ENOTSUPP):
		return nil, fmt.Errorf("%s: the instruction at offset %#x cannot be probed, it may be a breakpoint: %w", at.path, at.offset, err)
	case err != nil:
		return nil, fmt.Errorf("%s: offset %#x: %w", at.path, at.offset, err)
	}
	return attachEvent(prog, event, at.cookie, at.mode)
}
