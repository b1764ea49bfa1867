package skeleton

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// The methods of this file attach one program to a target that its section does
// not name, and put the link into the program's slot, where Detach and Close
// find it. All fail with [ErrNotLoaded] before Load, with [ErrClosed] after
// Close, and with [ErrAttached] when the slot is in use. Attach leaves programs
// alone that were attached so.

// AttachKprobe attaches the program to a function of the kernel, or to a place
// in it: "symbol" or "symbol+offset", the offset in bytes.
func (p *KprobeProgram) AttachKprobe(target string) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) { return kprobe(prog, target, p.isReturn()) })
}

// AttachKprobes attaches the program to every function of the kernel that can be
// traced and that one of the patterns matches: * stands for any text, ? for any
// character. It needs a kernel of version 5.18 or later with CONFIG_FPROBE.
func (p *KprobeMultiProgram) AttachKprobes(patterns ...string) error {
	return p.attach(func(*ebpf.Program) (link.Link, error) { return kprobeMulti(p.Handle(), patterns...) })
}

// AttachSyscall attaches the program to a system call, by the name that it has
// in section 2 of the manual. Only calls of the kernel's own architecture count,
// not those of 32-bit programs on a 64-bit kernel.
func (p *SyscallProbeProgram) AttachSyscall(name string) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) { return syscallProbe(prog, name, p.isReturn()) })
}

// AttachUprobe attaches the program to a function of a program or a library, or
// to a place in it: "symbol", "symbol@version" or "symbol+offset". A path
// without a slash is searched for: see docs/attach.md. pid is the process to
// watch, 0 all.
func (p *UprobeProgram) AttachUprobe(path, target string, pid int) error {
	return p.attach(func(*ebpf.Program) (link.Link, error) { return uprobe(p.Handle(), path, target, pid) })
}

// AttachUprobes attaches the program to every function of a program or a library
// that the pattern matches: * stands for any text, ? for any character. A path
// without a slash is searched for, as with AttachUprobe. pid is the process to
// watch, 0 all. It needs a kernel of version 6.6 or later, 6.13 for sessions.
func (p *UprobeMultiProgram) AttachUprobes(path, pattern string, pid int) error {
	return p.attach(func(*ebpf.Program) (link.Link, error) { return uprobeMulti(p.Handle(), path, pattern, pid) })
}

// AttachUSDT attaches the program to every place of a static probe of a program
// or a library. A path without a slash is searched for, as with AttachUprobe.
// pid is the process to watch, 0 all. Before kernel 5.15 a probe in a library or
// in a position independent program needs a pid.
func (p *USDTProgram) AttachUSDT(path, provider, name string, pid int) error {
	return p.attach(func(*ebpf.Program) (link.Link, error) {
		return p.owner.usdt(p.Handle(), path, provider, name, pid)
	})
}

// AttachTracepoint attaches the program to an event, as under
// /sys/kernel/tracing/events/<category>/<name>.
func (p *TracepointProgram) AttachTracepoint(category, name string) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) { return tracepoint(prog, category, name) })
}

// AttachRawTracepoint attaches the program to a tracepoint of the kernel.
func (p *RawTracepointProgram) AttachRawTracepoint(name string) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) { return rawTracepoint(prog, name) })
}

// IterTarget says what an iterator visits. Which fields count depends on the
// kind of iterator, which is what SEC("iter/<kind>") says. The zero value is all
// that there is.
type IterTarget struct {
	// Map is the map of bpf_map_elem, bpf_sk_storage_map and sockmap.
	Map *ebpf.Map
	// Cgroup is the path of the folder of a cgroup, for cgroup and css, and Order
	// where the walk goes from there. Needs kernel 6.1.
	Cgroup string
	Order  CgroupOrder
	// TID and PID are a thread and a process for task, task_file and task_vma; one
	// of them is zero. Needs kernel 6.1.
	TID, PID int
}

// CgroupOrder is the order in which an iterator visits cgroups: enum
// bpf_cgroup_iter_order of linux/bpf.h.
type CgroupOrder uint32

const (
	// CgroupSelf visits the cgroup alone.
	CgroupSelf CgroupOrder = 1
	// CgroupDescendantsPre visits the cgroup and those below, parents first.
	CgroupDescendantsPre CgroupOrder = 2
	// CgroupDescendantsPost visits the cgroup and those below, children first.
	CgroupDescendantsPost CgroupOrder = 3
	// CgroupAncestorsUp visits the cgroup and those above it.
	CgroupAncestorsUp CgroupOrder = 4
)

// AttachIter makes an iterator that visits what target says. [IterProgram.Read]
// runs it.
func (p *IterProgram) AttachIter(target IterTarget) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) {
		switch {
		case target.Map != nil:
			return link.AttachIter(link.IterOptions{Program: prog, Map: target.Map})
		case target.Cgroup != "":
			dir, err := os.Open(target.Cgroup)
			if err != nil {
				return nil, err
			}
			defer dir.Close()
			order := target.Order
			if order == 0 {
				order = CgroupSelf
			}
			// struct { order, cgroup_fd; __u64 cgroup_id; }
			l, err := iterLink(prog, []uint32{uint32(order), uint32(dir.Fd()), 0, 0})
			return l, needsVersion(err, "iterators over a cgroup", "6.1")
		case target.TID != 0 || target.PID != 0:
			// struct { tid, pid, pid_fd; }
			l, err := iterLink(prog, []uint32{uint32(target.TID), uint32(target.PID), 0})
			return l, needsVersion(err, "iterators over one task", "6.1")
		}
		return link.AttachIter(link.IterOptions{Program: prog})
	})
}

// Read runs an attached iterator once and returns what the program wrote with
// bpf_seq_write and its kin.
func (p *IterProgram) Read() ([]byte, error) {
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	iter, ok := (*p.link).(*link.Iter)
	if !ok {
		return nil, p.fail(errors.New("is not attached: call Attach or AttachIter"))
	}
	r, err := iter.Open()
	if err != nil {
		return nil, p.fail(err)
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	return out, p.fail(err)
}

// needsVersion adds to an error that says that a request makes no sense to the
// kernel since when it does.
func needsVersion(err error, what, version string) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("%w: %s need a kernel of version %s or later", err, what, version)
	}
	return err
}

// AttachXDP attaches the program to a network interface, which is given by its
// index. Modes, if any, are combined. An interface takes one program. It needs a
// kernel of version 5.9 or later.
func (p *XDPProgram) AttachXDP(ifindex int, modes ...link.XDPAttachFlags) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) {
		opts := link.XDPOptions{Program: prog, Interface: ifindex}
		for _, m := range modes {
			opts.Flags |= m
		}
		return link.AttachXDP(opts)
	})
}

// AttachTCX attaches the program to the packets of a network interface that go
// in the direction that the section says. anchor is the place among the other
// programs of the interface, the end without one. It needs a kernel of version
// 6.6 or later; on older ones, attach with a netlink library.
func (p *TCXProgram) AttachTCX(ifindex int, anchor ...link.Anchor) error {
	return p.attachTCX(ifindex, p.spec.AttachType, anchor)
}

// AttachTCXIngress attaches the program to the packets that a network interface
// receives. See [TCXProgram.AttachTCX].
func (p *TCProgram) AttachTCXIngress(ifindex int, anchor ...link.Anchor) error {
	return p.attachTCX(ifindex, ebpf.AttachTCXIngress, anchor)
}

// AttachTCXEgress attaches the program to the packets that a network interface
// sends. See [TCXProgram.AttachTCX].
func (p *TCProgram) AttachTCXEgress(ifindex int, anchor ...link.Anchor) error {
	return p.attachTCX(ifindex, ebpf.AttachTCXEgress, anchor)
}

// oneAnchor returns the anchor that a call gives, nil if none.
func oneAnchor(anchors []link.Anchor) (link.Anchor, error) {
	switch len(anchors) {
	case 0:
		return nil, nil
	case 1:
		return anchors[0], nil
	}
	return nil, errors.New("more than one anchor: a program has one place")
}

func (p *Program) attachTCX(ifindex int, attach ebpf.AttachType, anchors []link.Anchor) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) {
		anchor, err := oneAnchor(anchors)
		if err != nil {
			return nil, err
		}
		l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: prog, Attach: attach, Anchor: anchor})
		if errors.Is(err, ebpf.ErrNotSupported) {
			return nil, fmt.Errorf("%w: attach to a clsact qdisc with a netlink library there", err)
		}
		return l, err
	})
}

// AttachNetkit attaches the program to an interface of kind netkit, to the end
// of the pair that the section says. ifindex is the primary one. anchor is as
// with [TCXProgram.AttachTCX]. It needs a kernel of version 6.7 or later.
func (p *NetkitProgram) AttachNetkit(ifindex int, anchor ...link.Anchor) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) {
		anchor, err := oneAnchor(anchor)
		if err != nil {
			return nil, err
		}
		return link.AttachNetkit(link.NetkitOptions{Interface: ifindex, Program: prog, Attach: p.spec.AttachType, Anchor: anchor})
	})
}

// AttachCgroup attaches the program to a cgroup, by the path of its folder in
// cgroup2; /proc/self/fd/<n> stands for an open one. Other programs may be
// attached there too. It needs a kernel of version 5.7 or later, 6.0 for
// SEC("lsm_cgroup").
func (p *CgroupProgram) AttachCgroup(path string) error {
	return p.attachCgroup(path, p.spec.AttachType)
}

// AttachCgroupIngress attaches the program to the packets that a cgroup
// receives. See [CgroupProgram.AttachCgroup].
func (p *CgroupSKBProgram) AttachCgroupIngress(path string) error {
	return p.attachCgroup(path, ebpf.AttachCGroupInetIngress)
}

// AttachCgroupEgress attaches the program to the packets that a cgroup sends.
// See [CgroupProgram.AttachCgroup].
func (p *CgroupSKBProgram) AttachCgroupEgress(path string) error {
	return p.attachCgroup(path, ebpf.AttachCGroupInetEgress)
}

func (p *Program) attachCgroup(path string, attach ebpf.AttachType) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) {
		l, err := link.AttachCgroup(link.CgroupOptions{Path: path, Attach: attach, Program: prog})
		if errors.Is(err, unix.EBADF) {
			return nil, fmt.Errorf("%s: is no folder of a cgroup2 file system: %w", path, err)
		}
		if attach == ebpf.AttachLSMCgroup {
			err = needsActiveLSM(err)
		}
		return l, err
	})
}

// AttachSocket filters what a socket receives. A socket has one filter, which
// ends with the socket. Closing the link takes it off, and the link keeps conn
// reachable until then.
func (p *SocketProgram) AttachSocket(conn syscall.Conn) error {
	return p.attachSocket(conn, unix.SO_ATTACH_BPF, unix.SO_DETACH_BPF)
}

// AttachReuseport makes the program choose among the sockets that share the port
// of a bound socket with SO_REUSEPORT. Closing the link takes it off, which
// needs a kernel of version 5.3 or later.
func (p *ReuseportProgram) AttachReuseport(conn syscall.Conn) error {
	return p.attachSocket(conn, unix.SO_ATTACH_REUSEPORT_EBPF, unix.SO_DETACH_REUSEPORT_BPF)
}

func (p *Program) attachSocket(conn syscall.Conn, attach, detach int) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) {
		if err := setSocket(conn, attach, prog.FD()); err != nil {
			return nil, err
		}
		return &ownLink{what: "a program on a socket", detach: func() error {
			err := setSocket(conn, detach, 0)
			// A closed socket has no program any more.
			if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}}, nil
	})
}

func setSocket(conn syscall.Conn, opt, value int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	open := false
	err = raw.Control(func(fd uintptr) {
		open = true
		failed = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, opt, value))
	})
	if err != nil && !open {
		// That of a file is neither os.ErrClosed nor net.ErrClosed.
		return fmt.Errorf("%w: %w", os.ErrClosed, err)
	}
	return errors.Join(err, failed)
}

// AttachNetNS attaches the program to a network namespace, by the path of its
// file: /proc/self/ns/net is the present one, /proc/self/fd/<n> an open one. A
// namespace takes one flow dissector. It needs a kernel of version 5.8 or later,
// 5.9 for SEC("sk_lookup").
func (p *NetNSProgram) AttachNetNS(path string) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) {
		ns, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer ns.Close()
		return link.AttachNetNs(int(ns.Fd()), prog)
	})
}

// AttachSockMap attaches the program to the sockets of a sockmap or a sockhash.
// Before kernel 6.10 there is no link for it: the program then stays attached
// for as long as the map lives when the process ends without closing the link.
func (p *SockMapProgram) AttachSockMap(m *ebpf.Map) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) {
		if m == nil {
			return nil, errors.New("map is nil: the map's skeleton is not loaded")
		}
		attach := p.spec.AttachType
		l, err := link.AttachRawLink(link.RawLinkOptions{Target: m.FD(), Program: prog, Attach: attach})
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, unix.EINVAL) {
			return nil, err
		}
		// The link closes both after the skeleton may have.
		prog, err = prog.Clone()
		if err != nil {
			return nil, err
		}
		m, err := m.Clone()
		if err != nil {
			prog.Close()
			return nil, err
		}
		if err := link.RawAttachProgram(link.RawAttachProgramOptions{Target: m.FD(), Program: prog, Attach: attach}); err != nil {
			prog.Close()
			m.Close()
			return nil, err
		}
		return &ownLink{what: "a program on a map of sockets", detach: func() error {
			err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: m.FD(), Program: prog, Attach: attach})
			return errors.Join(err, prog.Close(), m.Close())
		}}, nil
	})
}

// AttachPerfEvent attaches the program to an open perf event, which stays the
// caller's. Before kernel 5.15 a program cannot be taken off an event: closing the
// link disables the event instead.
func (p *PerfEventProgram) AttachPerfEvent(fd int) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) { return perfEvent(prog, fd, nil) })
}

// perfEvent attaches prog to a perf event. release is for when the link is
// closed.
func perfEvent(prog *ebpf.Program, fd int, release func() error) (link.Link, error) {
	if release == nil {
		release = func() error { return nil }
	}
	l, err := link.AttachRawLink(link.RawLinkOptions{Target: fd, Program: prog, Attach: ebpf.AttachPerfEvent})
	if err == nil {
		if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0); err != nil {
			return nil, errors.Join(fmt.Errorf("enable perf event: %w", err), l.Close())
		}
		return &closingLink{Link: l, after: release}, nil
	}
	if !errors.Is(err, unix.EINVAL) {
		return nil, err
	}
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, prog.FD()); err != nil {
		return nil, fmt.Errorf("perf event: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0); err != nil {
		return nil, fmt.Errorf("enable perf event: %w", err)
	}
	// The caller may close the event, and the number may become another file's.
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("perf event: %w", err), unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_DISABLE, 0))
	}
	return &ownLink{what: "a program on a perf event", detach: func() error {
		err := unix.IoctlSetInt(own, unix.PERF_EVENT_IOC_DISABLE, 0)
		return errors.Join(err, unix.Close(own), release())
	}}, nil
}

// Sampling says when a program on perf events runs.
type Sampling struct {
	// Frequency is how many times a second the program runs on each CPU, while
	// something runs on it; with a PID, for each thread, while it runs. The kernel's
	// limit is kernel.perf_event_max_sample_rate.
	Frequency uint64
	// PID is the process to sample, on any CPU; 0 all processes. All its threads are
	// sampled, those too that it starts later. So are processes that it starts later
	// on kernels before 5.13, which cannot tell them from threads.
	PID int
}

// AttachSampling runs the program at a frequency, by the clock of each CPU
// (PERF_COUNT_SW_CPU_CLOCK), on all that are online now. With a PID it runs by the
// clocks of the threads of that process, and the link has up to two file descriptors
// per thread that there is now. A thread may be missed when the process never stops
// starting threads meanwhile. It fails with [syscall.ESRCH] when there is no such process.
func (p *PerfEventProgram) AttachSampling(s Sampling) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) {
		switch {
		case s.Frequency == 0:
			return nil, errors.New("number of samples per second is 0: set Frequency")
		case s.PID != 0:
			return sampleProcess(prog, s.PID, s.Frequency)
		}
		cpus, err := onlineCPUs()
		if err != nil {
			return nil, err
		}
		var events []int
		for _, cpu := range cpus {
			event, err := openSampling(-1, cpu, s.Frequency, 0)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("open perf event on CPU %d: %w", cpu, err), closeFDs(events))
			}
			events = append(events, event)
		}
		links, err := sample(prog, events)
		if err != nil {
			return nil, err
		}
		return joinLinks("sampling", links), nil
	})
}

// sampleTries is how often sampleProcess begins again.
const sampleTries = 10

// sampleProcess attaches prog to an event for each thread of a process. Threads that
// these start have the events of those that start them.
func sampleProcess(prog *ebpf.Program, pid int, frequency uint64) (link.Link, error) {
	for try := 1; ; try++ {
		threads := make(map[int]bool)
		events, err := openThreads(pid, frequency, threads)
		if err != nil {
			return nil, err
		}
		links, err := sample(prog, events)
		if err != nil {
			return nil, err
		}
		// A thread that is new now has the event of the one that started it, and has it
		// without the program if that came later to the event. Nothing tells which. An
		// event of its own could make the program run twice for each sample, so all
		// begins again.
		again, err := newThreads(pid, threads)
		if len(again) == 0 || err != nil || try == sampleTries {
			// err is that the process has ended: its events are as good as before.
			return joinLinks("sampling", links), nil
		}
		if err := closeAll(links); err != nil {
			return nil, err
		}
	}
}

// openThreads opens an event for each thread of a process, until there is no new one,
// and adds the threads to a set. Those that end before are left out.
func openThreads(pid int, frequency uint64, threads map[int]bool) (events []int, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeFDs(events))
		}
	}()
	for {
		found, err := newThreads(pid, threads)
		// A process that ends now is no error once there is an event.
		if err != nil && len(events) == 0 {
			return nil, err
		}
		if len(found) == 0 {
			break
		}
		for _, tid := range found {
			threads[tid] = true
			event, err := openThread(tid, frequency)
			if errors.Is(err, unix.ESRCH) {
				continue
			}
			if err != nil {
				return events, fmt.Errorf("open perf event of thread %d of process %d: %w", tid, pid, err)
			}
			events = append(events, event)
		}
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("process %d has ended: %w", pid, unix.ESRCH)
	}
	return events, nil
}

// newThreads returns the threads of a process that are not in the set.
func newThreads(pid int, known map[int]bool) ([]int, error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no process %d, or no proc file system at /proc: %w", pid, unix.ESRCH)
	}
	if err != nil {
		return nil, err
	}
	var threads []int
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		if !known[tid] {
			threads = append(threads, tid)
		}
	}
	return threads, nil
}

// openThread opens an event that the threads which this one starts have too.
func openThread(tid int, frequency uint64) (int, error) {
	// attr.inherit_thread, since Linux 5.13: not the processes that it starts.
	const threadsOnly = unix.CBitFieldMaskBit35
	event, err := openSampling(tid, -1, frequency, unix.PerfBitInherit|threadsOnly)
	if errors.Is(err, unix.EINVAL) {
		return openSampling(tid, -1, frequency, unix.PerfBitInherit)
	}
	return event, err
}

// openSampling opens an event that is off.
func openSampling(tid, cpu int, frequency, bits uint64) (int, error) {
	return unix.PerfEventOpen(&unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_SOFTWARE,
		Size:   unix.PERF_ATTR_SIZE_VER1,
		Config: unix.PERF_COUNT_SW_CPU_CLOCK,
		Sample: frequency,
		Bits:   unix.PerfBitFreq | unix.PerfBitDisabled | bits,
	}, tid, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
}

// sample attaches prog to events, which it takes, and turns them on.
func sample(prog *ebpf.Program, events []int) ([]link.Link, error) {
	var links []link.Link
	for i, fd := range events {
		l, err := perfEvent(prog, fd, func() error { return unix.Close(fd) })
		if err != nil {
			return nil, errors.Join(err, closeAll(links), closeFDs(events[i:]))
		}
		links = append(links, l)
	}
	return links, nil
}

func closeFDs(fds []int) error {
	var errs []error
	for _, fd := range fds {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// onlineCPUs parses /sys/devices/system/cpu/online, such as "0-3,5".
func onlineCPUs() ([]int, error) {
	const path = "/sys/devices/system/cpu/online"
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var cpus []int
	for part := range strings.SplitSeq(strings.TrimSpace(string(data)), ",") {
		first, last, ok := strings.Cut(part, "-")
		if !ok {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for cpu := from; cpu <= to; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// AttachNetfilter attaches the program to a hook of netfilter in the present
// network namespace. Programs of lower priority run first. flags are those of
// struct bpf_link_create.netfilter: 1 asks for IP packets to be defragmented
// first. It needs a kernel of version 6.4 or later.
func (p *NetfilterProgram) AttachNetfilter(family link.NetfilterProtocolFamily, hook link.NetfilterInetHook, priority int32, flags link.NetfilterAttachFlags) error {
	return p.attach(func(prog *ebpf.Program) (link.Link, error) {
		return link.AttachNetfilter(link.NetfilterOptions{
			Program:        prog,
			ProtocolFamily: family,
			Hook:           hook,
			Priority:       priority,
			NetfilterFlags: flags,
		})
	})
}
