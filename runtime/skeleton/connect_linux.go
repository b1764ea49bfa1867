package skeleton

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// option is an option that not all kernels have.
type option struct {
	used        bool
	name, since string
}

// lacking names the options of a failed call that the kernel is too old for.
func lacking(err error, options ...option) error {
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.E2BIG) && !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, sys.ENOTSUPP) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	for _, o := range options {
		if o.used && sys.OlderThan(o.since) {
			return fmt.Errorf("option %s needs a kernel of version %s or later: %w: %w", o.name, o.since, ebpf.ErrNotSupported, err)
		}
	}
	return err
}

func iterator(prog *ebpf.Program, o IterOptions) (link.Link, error) {
	switch {
	case o.Map != nil:
		return link.AttachIter(link.IterOptions{Program: prog, Map: o.Map})
	case o.Cgroup != "":
		dir, err := os.Open(o.Cgroup)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		order := o.Order
		if order == 0 {
			order = CgroupSelf
		}
		// struct { order, cgroup_fd; __u64 cgroup_id; }
		l, err := iterLink(prog, []uint32{uint32(order), uint32(dir.Fd()), 0, 0})
		return l, lacking(err, option{true, "Cgroup", "6.1"})
	case o.TID != 0 || o.PID != 0:
		// struct { tid, pid, pid_fd; }
		l, err := iterLink(prog, []uint32{uint32(o.TID), uint32(o.PID), 0})
		return l, lacking(err, option{o.TID != 0, "TID", "6.1"}, option{o.PID != 0, "PID", "6.1"})
	}
	return link.AttachIter(link.IterOptions{Program: prog})
}

// open returns what a run of the iterator is read from, which does not need the link
// any more.
func (p *IterProgram) open() (io.ReadCloser, error) {
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	switch p.owner.state {
	case opened, prepared:
		return nil, ErrNotLoaded
	case closed:
		return nil, ErrClosed
	}
	iter, ok := (*p.link).(*link.Iter)
	if !ok {
		return nil, errors.New("is not attached: call Attach or AttachIter")
	}
	return iter.Open()
}

func xdp(prog *ebpf.Program, ifindex int, o XDPOptions) (link.Link, error) {
	if err := checkIfindex(ifindex); err != nil {
		return nil, err
	}
	if o.Replace != nil {
		return replace(prog, o.Replace, link.XDPType, func(info *link.Info) bool {
			return int64(info.XDP().Ifindex) == int64(ifindex)
		})
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: ifindex, Flags: link.XDPAttachFlags(o.Mode)})
	return l, explainInterface(err, ifindex)
}

// replace puts prog in the place of the program that a link of a kind has, and returns
// another descriptor of the link. fits reports whether it is where it should be.
func replace(prog *ebpf.Program, old link.Link, kind link.Type, fits func(*link.Info) bool) (link.Link, error) {
	const what = "option Replace"
	fd, ok := old.(interface{ FD() int })
	if !ok || fd.FD() < 0 {
		return nil, fmt.Errorf("%s: it is closed, or the kernel has no link for it", what)
	}
	own, err := sys.Dup(fd.FD())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	l, err := link.NewFromFD(own)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	info, err := l.Info()
	switch {
	case err != nil:
	case info.Type != kind:
		err = errors.New("it is a link of another kind")
	case !fits(info):
		err = errors.New("it is a link of another target")
	default:
		err = l.Update(prog)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", what, err), l.Close())
	}
	return l, nil
}

// order is a place among several programs on a hook.
type order struct {
	before, after *Anchor
	revision      uint64
	// flags are others of BPF_LINK_CREATE.
	flags uint32
}

// Flags of BPF_LINK_CREATE, BPF_F_* of linux/bpf.h.
const (
	flagBefore   = 1 << 3
	flagAfter    = 1 << 4
	flagID       = 1 << 5
	flagPreorder = 1 << 6
	flagLink     = 1 << 13
)

// attach attaches prog to a hook of a target, which is a descriptor or an index.
func (o order) attach(prog *ebpf.Program, target int, attach ebpf.AttachType) (link.Link, error) {
	attr := sys.LinkCreateAttr[sys.PlacedLink]{
		TargetFD:   uint32(target),
		AttachType: uint32(attach),
		Flags:      o.flags,
		Kind:       sys.PlacedLink{ExpectedRevision: o.revision},
	}
	anchor := o.before
	switch {
	case o.before != nil && o.after != nil:
		return nil, errors.New("options Before and After exclude each other")
	case o.before != nil:
		attr.Flags |= flagBefore
	case o.after != nil:
		attr.Flags |= flagAfter
		anchor = o.after
	}
	if anchor != nil {
		number, flags, err := anchor.encode()
		if err != nil {
			return nil, err
		}
		attr.Kind.Relative = number
		attr.Flags |= flags
	}
	l, err := createLink(prog, attr)
	runtime.KeepAlive(anchor)
	return l, err
}

// encode returns the number of the anchor as the kernel takes it, and the flags that say
// what it is.
func (a *Anchor) encode() (number, flags uint32, err error) {
	set := 0
	if a.Link != nil {
		set++
		fd, ok := a.Link.(interface{ FD() int })
		if !ok || fd.FD() < 0 {
			return 0, 0, errors.New("anchor: the link is closed, or the kernel has no link for it")
		}
		number, flags = uint32(fd.FD()), flagLink
	}
	if a.LinkID != 0 {
		set++
		number, flags = uint32(a.LinkID), flagLink|flagID
	}
	if a.Program != nil {
		set++
		if a.Program.FD() < 0 {
			return 0, 0, errors.New("anchor: the program is closed")
		}
		number = uint32(a.Program.FD())
	}
	if a.ProgramID != 0 {
		set++
		number, flags = uint32(a.ProgramID), flagID
	}
	if set > 1 {
		return 0, 0, errors.New("anchor: has more than one of Link, LinkID, Program and ProgramID")
	}
	return number, flags, nil
}

// replaceOn is replace for a link on an interface, which keeps its place.
func replaceOn(prog *ebpf.Program, place order, old link.Link, kind link.Type, fits func(*link.Info) bool) (link.Link, error) {
	if place != (order{}) {
		return nil, errors.New("option Replace keeps the place of the link: it excludes Before, After and ExpectedRevision")
	}
	return replace(prog, old, kind, fits)
}

// order is the place that the options ask for.
func (o NetkitOptions) order() order {
	return order{before: o.Before, after: o.After, revision: o.ExpectedRevision}
}

func netkit(p *BaseProgram, prog *ebpf.Program, ifindex int, end NetkitEnd, o NetkitOptions) (link.Link, error) {
	if err := checkIfindex(ifindex); err != nil {
		return nil, err
	}
	attach := p.def.AttachType
	switch end {
	case NetkitPrimary:
		attach = ebpf.AttachNetkitPrimary
	case NetkitPeer:
		attach = ebpf.AttachNetkitPeer
	}
	if attach != ebpf.AttachNetkitPrimary && attach != ebpf.AttachNetkitPeer {
		return nil, errors.New("SEC() names no end: give NetkitPrimary or NetkitPeer")
	}
	if o.Replace != nil {
		return replaceOn(prog, o.order(), o.Replace, link.NetkitType, func(info *link.Info) bool {
			netkit := info.Netkit()
			return int64(netkit.Ifindex) == int64(ifindex) && uint32(netkit.AttachType) == uint32(attach)
		})
	}
	l, err := o.order().attach(prog, ifindex, attach)
	if errors.Is(err, unix.EINVAL) && sys.OlderThan("6.7") {
		return nil, fmt.Errorf("netkit needs a kernel of version 6.7 or later: %w: %w", ebpf.ErrNotSupported, err)
	}
	return l, explainNetkit(explainOrder(err), ifindex)
}

// explainOrder says what the kernel's answer to a place among programs means.
func explainOrder(err error) error {
	switch {
	case errors.Is(err, unix.ESTALE):
		return fmt.Errorf("the programs of the hook have changed since ExpectedRevision: %w", err)
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("the program is attached there already: %w", err)
	}
	return err
}

func cgroup(p *BaseProgram, prog *ebpf.Program, path string, attach ebpf.AttachType, o CgroupOptions) (link.Link, error) {
	if attach == ebpf.AttachLSMCgroup {
		if err := inactiveLSM(); err != nil {
			return nil, err
		}
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := cgroupLink(prog, dir, attach, o)
	switch {
	case errors.Is(err, unix.EBADF):
		return nil, fmt.Errorf("%s: is no directory of a cgroup2 file system: %w", path, err)
	case errors.Is(err, unix.EPERM) && o.Mode != CgroupMulti:
		return nil, fmt.Errorf("%s: it, or one above it, has programs of another mode than option Mode says, or the right to attach is missing: %w", path, err)
	}
	err = lacking(explainOrder(err), option{o.Before != nil, "Before", "6.17"}, option{o.After != nil, "After", "6.17"}, option{o.Preorder, "Preorder", "6.17"})
	if attach == ebpf.AttachLSMCgroup {
		err = p.explainTrampoline(err)
	}
	return l, err
}

// cgroupLink attaches prog to an open cgroup.
func cgroupLink(prog *ebpf.Program, dir *os.File, attach ebpf.AttachType, o CgroupOptions) (link.Link, error) {
	placed := o.Before != nil || o.After != nil || o.ExpectedRevision != 0 || o.Preorder
	if o.Replace != nil {
		if placed || o.Mode != CgroupMulti {
			return nil, errors.New("option Replace keeps the place of the link: it goes with no other option")
		}
		id, err := cgroupID(dir)
		if err != nil {
			return nil, err
		}
		return replace(prog, o.Replace, link.CgroupType, func(info *link.Info) bool {
			cgroup := info.Cgroup()
			return cgroup.CgroupId == id && uint32(cgroup.AttachType) == uint32(attach)
		})
	}
	if o.Mode != CgroupMulti {
		if placed {
			return nil, errors.New("only programs of mode CgroupMulti have a place: Before, After, Preorder and ExpectedRevision are for them")
		}
		return cgroupWithoutLink(prog, dir, attach, o.Mode)
	}
	if o.ExpectedRevision != 0 {
		// Kernels without it would not look.
		now, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: attach})
		if err != nil {
			return nil, err
		}
		if now.Revision == 0 {
			return nil, fmt.Errorf("option ExpectedRevision needs a kernel of version 6.17 or later: %w", ebpf.ErrNotSupported)
		}
	}
	place := order{before: o.Before, after: o.After, revision: o.ExpectedRevision}
	if o.Preorder {
		place.flags = flagPreorder
	}
	return place.attach(prog, int(dir.Fd()), attach)
}

// cgroupID returns the number by which the kernel knows a cgroup: that of its directory.
func cgroupID(dir *os.File) (uint64, error) {
	handle, _, err := unix.NameToHandleAt(int(dir.Fd()), "", unix.AT_EMPTY_PATH)
	if err != nil {
		return 0, fmt.Errorf("number of the cgroup: %w", err)
	}
	if handle.Size() != 8 {
		return 0, fmt.Errorf("%s: is no directory of a cgroup2 file system: %w", dir.Name(), unix.EBADF)
	}
	return binary.NativeEndian.Uint64(handle.Bytes()), nil
}

// cgroupWithoutLink attaches prog to a cgroup that takes one program, for which the kernel
// has no link.
func cgroupWithoutLink(prog *ebpf.Program, dir *os.File, attach ebpf.AttachType, mode CgroupMode) (link.Link, error) {
	var flags uint32
	if mode == CgroupOverride {
		flags = 1 // BPF_F_ALLOW_OVERRIDE
	}
	own, err := sys.Dup(int(dir.Fd()))
	if err != nil {
		return nil, err
	}
	// The link may be closed after the skeleton.
	prog, err = prog.Clone()
	if err != nil {
		return nil, errors.Join(err, sys.Close(own))
	}
	if err := link.RawAttachProgram(link.RawAttachProgramOptions{Target: own, Program: prog, Attach: attach, Flags: flags}); err != nil {
		return nil, errors.Join(err, prog.Close(), sys.Close(own))
	}
	return &ownLink{what: "a program of a cgroup that takes one", detach: func() error {
		err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: own, Program: prog, Attach: attach})
		return errors.Join(err, prog.Close(), sys.Close(own))
	}}, nil
}

func socketFilter(prog *ebpf.Program, conn syscall.Conn) (link.Link, error) {
	return onSocket(prog, conn, unix.SO_ATTACH_BPF, unix.SO_DETACH_BPF)
}

func reuseport(prog *ebpf.Program, conn syscall.Conn) (link.Link, error) {
	return onSocket(prog, conn, unix.SO_ATTACH_REUSEPORT_EBPF, unix.SO_DETACH_REUSEPORT_BPF)
}

func onSocket(prog *ebpf.Program, conn syscall.Conn, attach, detach int) (link.Link, error) {
	if err := setSocket(conn, attach, prog.FD()); err != nil {
		return nil, err
	}
	return &ownLink{what: "a program on a socket", detach: func() error {
		err := setSocket(conn, detach, 0)
		// A closed socket has no program any more.
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		return err
	}}, nil
}

func setSocket(conn syscall.Conn, opt, value int) error {
	if conn == nil {
		return errors.New("the socket is nil: give an open one, such as a *net.UDPConn")
	}
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
		// Control fails before it has a descriptor when the socket is closed. The error of a
		// file then is not os.ErrClosed, nor is that of package net, which is not imported
		// here: with it, programs take longer to start, and link libc where there is cgo.
		return fmt.Errorf("%w: %w", os.ErrClosed, err)
	}
	return errors.Join(err, failed)
}

func netNS(prog *ebpf.Program, path string) (link.Link, error) {
	ns, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	l, err := link.AttachNetNs(int(ns.Fd()), prog)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func sockMap(prog *ebpf.Program, m *ebpf.Map, attach ebpf.AttachType) (link.Link, error) {
	if m == nil {
		return nil, errors.New("map is nil: the map's skeleton is not loaded")
	}
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
	m, err = m.Clone()
	if err != nil {
		return nil, errors.Join(err, prog.Close())
	}
	if err := link.RawAttachProgram(link.RawAttachProgramOptions{Target: m.FD(), Program: prog, Attach: attach}); err != nil {
		return nil, errors.Join(err, prog.Close(), m.Close())
	}
	return &ownLink{what: "a program on a map of sockets", detach: func() error {
		err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: m.FD(), Program: prog, Attach: attach})
		return errors.Join(err, prog.Close(), m.Close())
	}}, nil
}

func perfEvent(prog *ebpf.Program, fd int, o PerfEventOptions) (link.Link, error) {
	// The caller may close the event, and the number may become another file's.
	own, err := sys.Dup(fd)
	if err != nil {
		return nil, fmt.Errorf("perf event: %w", err)
	}
	return attachEvent(prog, os.NewFile(uintptr(own), "perf event"), o.Cookie, o.Mode)
}

func netfilter(prog *ebpf.Program, family NetfilterFamily, hook NetfilterHook, o NetfilterOptions) (link.Link, error) {
	opts := link.NetfilterOptions{
		Program:        prog,
		ProtocolFamily: link.NetfilterProtocolFamily(family),
		Hook:           link.NetfilterInetHook(hook),
		Priority:       o.Priority,
	}
	if o.Defrag {
		opts.NetfilterFlags = 1 // BPF_F_NETFILTER_IP_DEFRAG
	}
	l, err := link.AttachNetfilter(opts)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("the hook has a program of priority %d: %w", o.Priority, err)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return nil, fmt.Errorf("family %d has no programs: give NetfilterIPv4 or NetfilterIPv6: %w", family, err)
	}
	return l, lacking(err, option{o.Defrag, "Defrag", "6.6"})
}
