package skeleton

import (
	"errors"
	"io"
	"slices"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
)

// The Attach... methods of this file attach a program to a target and return the link. The
// first link of a program is put into its slot in the skeleton's Links; [BaseProgram.Links] has
// all. Detach and Close of the skeleton close them. A link may be closed by hand, which
// takes it off the list.
//
// Options may be nil. What the kernel is too old for is an error that names the option and
// the version that has it. The methods fail with [ErrNotLoaded] before Load, and with
// [ErrClosed] after Close. Attach leaves programs alone whose slots are in use.
//
// SetAttachOptions of a handle gives the options to Attach, which attaches the program to
// what its section names. It may be called in any state, counts from the next Attach on, and
// fails with [ErrClosed] after Close. nil takes them back.

// AttachMode is how the kernel connects a program to a probe or a perf event: libbpf's enum
// probe_attach_mode.
type AttachMode int

const (
	// AttachDefault is a link where the kernel has them (5.15), else AttachPerf.
	AttachDefault AttachMode = iota
	// AttachPerf makes the program part of the perf event. There is no link in the kernel: it
	// cannot be pinned and has no cookie. Closing the link that is returned disables the event.
	AttachPerf
	// AttachLink is a link, and an error where the kernel has none.
	AttachLink
)

// KprobeOptions are libbpf's struct bpf_kprobe_opts.
type KprobeOptions struct {
	// Cookie is what bpf_get_attach_cookie returns. It needs kernel 5.15.
	Cookie uint64
	// Return runs the program when the function returns, which SEC("kretprobe") always does.
	Return bool
	// Mode is how the program is attached.
	Mode AttachMode
}

// AttachKprobe attaches the program to a function of the kernel, or to an instruction in it:
// "symbol" or "symbol+offset", the offset in bytes. "0xffffffff81234560" is the address of an
// instruction, as /proc/kallsyms lists those of functions: it chooses one of several functions
// with the same name.
func (p *KprobeProgram) AttachKprobe(target string, o *KprobeOptions) (link.Link, error) {
	return p.attach(attach.By("kprobe-%s", target), func(prog *attach.Program) (link.Link, error) {
		return attach.Kprobe(prog, target, o.probe())
	})
}

// SetAttachOptions sets the options with which Attach attaches the program.
func (p *KprobeProgram) SetAttachOptions(o *KprobeOptions) error {
	return setAttachOptions(p.Handle(), o)
}

// KprobeMultiOptions are libbpf's struct bpf_kprobe_multi_opts.
type KprobeMultiOptions struct {
	// Cookie is what bpf_get_attach_cookie returns in all functions.
	Cookie uint64
	// Return runs the program when functions return, which SEC("kretprobe.multi") always does.
	Return bool
	// Symbols or Addresses are the functions in place of a pattern.
	Symbols   []string
	Addresses []uint64
	// Cookies are those of Symbols or Addresses, one each.
	Cookies []uint64
	// UniqueMatch makes it an error, [syscall.EINVAL], when the pattern matches more than one
	// function: a name may be that of several static ones.
	UniqueMatch bool
}

// AttachKprobeMulti attaches the program to every function of the kernel that can be
// traced and that the pattern matches: * stands for any text, ? for any
// character. It needs a kernel of version 5.18 or later with CONFIG_FPROBE.
func (p *KprobeMultiProgram) AttachKprobeMulti(pattern string, o *KprobeMultiOptions) (link.Link, error) {
	return p.attach(attach.By("kprobe_multi-%s", pattern), func(prog *attach.Program) (link.Link, error) {
		return attach.KprobeMulti(prog, pattern, attach.KprobeMultiOptions(valueOf(o)))
	})
}

// SetAttachOptions sets the options with which Attach attaches the program. The functions
// are those of the section.
func (p *KprobeMultiProgram) SetAttachOptions(o *KprobeMultiOptions) error {
	return setAttachOptions(p.Handle(), o)
}

// SyscallOptions are libbpf's struct bpf_ksyscall_opts.
type SyscallOptions struct {
	// Cookie is what bpf_get_attach_cookie returns. It needs kernel 5.15.
	Cookie uint64
	// Return runs the program when the call returns, which SEC("kretsyscall") always does.
	Return bool
}

// AttachSyscall attaches the program to a system call, by its name in section 2 of the manual.
// The program runs for calls in the kernel's own architecture, not for those of 32-bit programs
// on a 64-bit kernel.
func (p *SyscallProbeProgram) AttachSyscall(name string, o *SyscallOptions) (link.Link, error) {
	return p.attach(attach.By("ksyscall-%s", name), func(prog *attach.Program) (link.Link, error) {
		return attach.Syscall(prog, name, o.probe())
	})
}

// SetAttachOptions sets the options with which Attach attaches the program.
func (p *SyscallProbeProgram) SetAttachOptions(o *SyscallOptions) error {
	return setAttachOptions(p.Handle(), o)
}

// UprobeOptions are libbpf's struct bpf_uprobe_opts.
type UprobeOptions struct {
	// PID is the process to watch, 0 all.
	PID int
	// Cookie is what bpf_get_attach_cookie returns. It needs kernel 5.15.
	Cookie uint64
	// Return runs the program when the function returns, which SEC("uretprobe") always does.
	Return bool
	// RefCtrOffset is the offset in the file of a USDT's semaphore, a counter of 2 bytes that
	// the kernel raises while a program is attached; 0 is none. It needs kernel 4.20.
	RefCtrOffset uint64
	// Mode is how the program is attached.
	Mode AttachMode
}

// AttachUprobe attaches the program to a function of a program or a library, or
// to an instruction in it: "symbol", "symbol@version" or "symbol+offset", or the offset of an
// instruction in the file alone, "0x1234". A path without a slash is searched for: see
// docs/attach.md.
func (p *UprobeProgram) AttachUprobe(path, target string, o *UprobeOptions) (link.Link, error) {
	return p.attach(attach.By("uprobe-%s:%s", path, target), func(prog *attach.Program) (link.Link, error) {
		return attach.Uprobe(prog, path, target, o.probe())
	})
}

// SetAttachOptions sets the options with which Attach attaches the program.
func (p *UprobeProgram) SetAttachOptions(o *UprobeOptions) error {
	return setAttachOptions(p.Handle(), o)
}

// UprobeMultiOptions are libbpf's struct bpf_uprobe_multi_opts.
type UprobeMultiOptions struct {
	// PID is the process to watch, 0 all.
	PID int
	// Cookie is what bpf_get_attach_cookie returns in all functions.
	Cookie uint64
	// Return runs the program when functions return, which SEC("uretprobe.multi") always
	// does.
	Return bool
	// Symbols, in the form of targets of [UprobeProgram.AttachUprobe], or Offsets in the file
	// are the targets in place of a pattern.
	Symbols []string
	Offsets []uint64
	// RefCtrOffsets and Cookies are those of Symbols or Offsets, one each.
	RefCtrOffsets []uint64
	Cookies       []uint64
}

// AttachUprobeMulti attaches the program to every function of a program or a library
// that the pattern matches: * stands for any text, ? for any character. A path
// without a slash is searched for, as with [UprobeProgram.AttachUprobe]. It needs a kernel
// of version 6.6 or later, 6.13 for sessions.
func (p *UprobeMultiProgram) AttachUprobeMulti(path, pattern string, o *UprobeMultiOptions) (link.Link, error) {
	return p.attach(attach.By("uprobe_multi-%s:%s", path, pattern), func(prog *attach.Program) (link.Link, error) {
		return attach.UprobeMulti(prog, path, pattern, attach.UprobeMultiOptions(valueOf(o)))
	})
}

// SetAttachOptions sets the options with which Attach attaches the program. The functions
// are those of the section.
func (p *UprobeMultiProgram) SetAttachOptions(o *UprobeMultiOptions) error {
	return setAttachOptions(p.Handle(), o)
}

// USDTOptions are libbpf's struct bpf_usdt_opts.
type USDTOptions struct {
	// PID is the process to watch, 0 all. Before kernel 5.15 a USDT in a library or
	// in a position independent program needs one.
	PID int
	// Cookie is what bpf_usdt_cookie returns.
	Cookie uint64
}

// AttachUSDT attaches the program to every location of a USDT of a program
// or a library. A path without a slash is searched for, as with
// [UprobeProgram.AttachUprobe].
//
// An argument that lies where a program cannot read it does not keep the others from being
// read: for it alone bpf_usdt_arg returns -EINVAL, and [USDTProgram.UnreadableArgs] says why.
func (p *USDTProgram) AttachUSDT(path, provider, name string, o *USDTOptions) (link.Link, error) {
	return p.attach(attach.By("usdt-%s:%s:%s", path, provider, name), func(prog *attach.Program) (link.Link, error) {
		return p.usdt(prog, path, provider, name, valueOf(o))
	})
}

// UnreadableArgs returns, for all USDTs that the program has been attached to, why
// bpf_usdt_arg fails for arguments: a location of a USDT may have one where no program can
// read it, such as in a vector register. It is nil when there is none.
func (p *USDTProgram) UnreadableArgs() []error {
	base := p.Handle()
	base.owner.mu.Lock()
	defer base.owner.mu.Unlock()
	return slices.Clone(base.unreadable)
}

// SetAttachOptions sets the options with which Attach attaches the program.
func (p *USDTProgram) SetAttachOptions(o *USDTOptions) error { return setAttachOptions(p.Handle(), o) }

// TracepointOptions are libbpf's struct bpf_tracepoint_opts.
type TracepointOptions struct {
	// Cookie is what bpf_get_attach_cookie returns. It needs kernel 5.15.
	Cookie uint64
}

// AttachTracepoint attaches the program to an event, as under
// /sys/kernel/tracing/events/<category>/<name>.
func (p *TracepointProgram) AttachTracepoint(category, name string, o *TracepointOptions) (link.Link, error) {
	return p.attach(attach.By("tp-%s/%s", category, name), func(prog *attach.Program) (link.Link, error) {
		return attach.Tracepoint(prog, category, name, valueOf(o).Cookie)
	})
}

// SetAttachOptions sets the options with which Attach attaches the program.
func (p *TracepointProgram) SetAttachOptions(o *TracepointOptions) error {
	return setAttachOptions(p.Handle(), o)
}

// RawTracepointOptions are libbpf's struct bpf_raw_tracepoint_opts.
type RawTracepointOptions struct {
	// Cookie is what bpf_get_attach_cookie returns. It needs kernel 6.10.
	Cookie uint64
}

// AttachRawTracepoint attaches the program to a tracepoint of the kernel. Before kernel 6.10
// a tracepoint takes a program once.
func (p *RawTracepointProgram) AttachRawTracepoint(name string, o *RawTracepointOptions) (link.Link, error) {
	return p.attach(attach.By("raw_tp-%s", name), func(prog *attach.Program) (link.Link, error) {
		return attach.RawTracepoint(prog, name, valueOf(o).Cookie)
	})
}

// SetAttachOptions sets the options with which Attach attaches the program.
func (p *RawTracepointProgram) SetAttachOptions(o *RawTracepointOptions) error {
	return setAttachOptions(p.Handle(), o)
}

// TracingOptions are libbpf's struct bpf_trace_opts.
type TracingOptions struct {
	// Cookie is what bpf_get_attach_cookie returns. It needs kernel 5.19, for SEC("tp_btf")
	// 6.10.
	Cookie uint64
}

// AttachTracing attaches the program to the target that the kernel was given at load, as
// Attach does: see [BaseProgram.SetTarget]. The kernel runs a program once on a function, so
// that a second link is an error unless it is of SEC("tp_btf").
func (p *TracingProgram) AttachTracing(o *TracingOptions) (link.Link, error) {
	return p.attach(attach.By("auto"), func(prog *attach.Program) (link.Link, error) {
		return attach.Tracing(prog, valueOf(o).Cookie)
	})
}

// SetAttachOptions sets the options with which Attach attaches the program.
func (p *TracingProgram) SetAttachOptions(o *TracingOptions) error {
	return setAttachOptions(p.Handle(), o)
}

// AttachFreplace puts the program in the place of a function of another loaded program, in
// addition to the one that it was loaded for: both functions must have the same type. A nil
// target and an empty function stand for the one that it was loaded for. Others need a kernel
// of version 5.10 or later.
func (p *FreplaceProgram) AttachFreplace(target *ebpf.Program, function string) (link.Link, error) {
	return p.attach(attach.By("freplace-%s", function), func(prog *attach.Program) (link.Link, error) {
		return attach.Freplace(prog, target, function)
	})
}

// IterOptions are what an iterator visits: union bpf_iter_link_info. Which fields count depends
// on the kind of iterator, the <kind> of SEC("iter/<kind>"). The zero value visits
// everything.
type IterOptions struct {
	// Map is the map of bpf_map_elem, bpf_sk_storage_map and sockmap.
	Map *ebpf.Map
	// Cgroup is the path of the directory of a cgroup, for cgroup and css, and Order
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

// AttachIter makes an iterator that visits what is in the options. [IterProgram.Read]
// runs the one in the program's slot. Others are run by their method Open, as of
// [link.Iter].
func (p *IterProgram) AttachIter(o *IterOptions) (link.Link, error) {
	return p.attach(attach.Hook{}, func(prog *attach.Program) (link.Link, error) {
		return attach.Iter(prog, o.iter())
	})
}

// SetAttachOptions sets the options with which Attach attaches the program. With options,
// Attach also attaches iterators that need no options.
func (p *IterProgram) SetAttachOptions(o *IterOptions) error { return setAttachOptions(p.Handle(), o) }

// Read runs an attached iterator once and returns what the program wrote with
// bpf_seq_write and its kin. Close does not wait for it.
func (p *IterProgram) Read() ([]byte, error) {
	r, err := p.open()
	if err != nil {
		return nil, p.fail(err)
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	return out, p.fail(err)
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
	iter, ok := (*p.link).(interface{ Open() (io.ReadCloser, error) })
	if !ok {
		return nil, errors.New("is not attached: call Attach or AttachIter")
	}
	return iter.Open()
}

// XDPMode is where an XDP program runs: XDP_FLAGS_*_MODE of linux/if_link.h.
type XDPMode uint32

const (
	// XDPAuto is the driver where it can, else the network stack.
	XDPAuto XDPMode = 0
	// XDPGeneric is the network stack (SKB).
	XDPGeneric XDPMode = 1 << 1
	// XDPDriver is the driver of the interface.
	XDPDriver XDPMode = 1 << 2
	// XDPOffload is the hardware. The program must be loaded for it, with SetIfindex.
	XDPOffload XDPMode = 1 << 3
)

// XDPOptions are how an XDP program is attached.
type XDPOptions struct {
	Mode XDPMode
	// Replace is a link of another XDP program on the interface. This program takes the place
	// of that one in it, and no packet passes that neither sees. The link in the kernel then
	// belongs to both: it ends when both are closed. Mode is that of the link.
	Replace link.Link
}

// AttachXDP attaches the program to a network interface, which is given by its
// index. An interface takes one program for each mode. It needs a kernel of version 5.9 or
// later.
func (p *XDPProgram) AttachXDP(ifindex int, o *XDPOptions) (link.Link, error) {
	return p.attach(attach.OnXDP(ifindex).Replacing(valueOf(o).Replace), func(prog *attach.Program) (link.Link, error) {
		return attach.XDP(prog, ifindex, uint32(valueOf(o).Mode), valueOf(o).Replace)
	})
}

// Anchor names a program among those on a hook, by one of its fields. The zero value stands for
// all programs: Before an empty Anchor is before all others.
type Anchor struct {
	// Link is the link of the program. It must be of this hook.
	Link   link.Link
	LinkID link.ID
	// Program and ProgramID are for programs that are attached without a link. On a cgroup the
	// kernel does not find a program with a link by these.
	Program   *ebpf.Program
	ProgramID ebpf.ProgramID
}

// TCDirection is the direction of the packets that a program gets.
type TCDirection int

const (
	// TCBySection is the direction that the section names, as SEC("tcx/ingress") does.
	TCBySection TCDirection = iota
	// TCIngress are the packets that an interface receives.
	TCIngress
	// TCEgress are the packets that an interface sends.
	TCEgress
)

// TCMode is how programs of traffic control are attached.
type TCMode int

const (
	// TCAuto is TCX where the kernel has it (6.6), else a filter of a clsact qdisc.
	TCAuto TCMode = iota
	// TCX is the kernel's links for traffic control.
	TCX
	// TCClsact is a filter of kind bpf with direct-action, on a qdisc of kind clsact.
	TCClsact
)

// TCOptions are how a program of traffic control is attached: libbpf's struct bpf_tcx_opts,
// and struct bpf_tc_opts for clsact.
type TCOptions struct {
	// Mode chooses between TCX and clsact.
	Mode TCMode
	// Before or After is the position among the other programs, at the end without one. They
	// are for TCX: where TCAuto chooses clsact they are an error without a Priority.
	Before, After *Anchor
	// Replace is as in [XDPOptions]. Position and mode are those of the link.
	Replace link.Link
	// ExpectedRevision is the number of changes to the hook's programs, as
	// [link.QueryPrograms] returns it: when it is another one by now, nothing is attached and
	// the error is [syscall.ESTALE]. It is for TCX: where TCAuto chooses clsact it is an error.
	ExpectedRevision uint64
	// Priority is the position among the filters of clsact: lower ones run first, and of one
	// priority the filter that was added last. Zero is 49152. TCX has none.
	Priority uint16
	// Handle distinguishes filters of one priority. Zero is a number made of the names of the
	// object and the program. TCX has none.
	Handle uint32
}

// AttachTC attaches the program to the packets of a network interface that go in one
// direction: through TCX where the kernel has it, which came with 6.6, and through a filter of
// a clsact qdisc otherwise, as Mode says.
//
// The two differ. TCX comes first: its programs run before all filters of clsact. What a
// program returns means (TC_ACT_*, TCX_* of linux/bpf.h and linux/pkt_cls.h):
//
//	returned                    TCX                        clsact
//	TC_ACT_UNSPEC (-1)          the next program, then     the next filter; the packet
//	TCX_NEXT                    the filters of clsact      passes after the last one
//	TC_ACT_OK (0)               the packet passes; no      the same
//	TCX_PASS                    other program sees it
//	TC_ACT_SHOT (2)             the packet is dropped      the same
//	TCX_DROP
//	TC_ACT_REDIRECT (7)         it goes where              the same
//	TCX_REDIRECT                bpf_redirect said
//	TC_ACT_STOLEN (4)           not dropped: as another    the packet is gone, and does
//	TC_ACT_TRAP (8)             code, below                not count as dropped
//	TC_ACT_RECLASSIFY (1)       no other program of TCX    as TC_ACT_UNSPEC
//	TC_ACT_PIPE (3), others     sees it, the filters of
//	                            clsact do
//
// A program that is to run by both returns -1, 0, 2 or 7.
//
// For clsact the kernel has no link. What is returned in its place implements Close, and
// Update, during which no packet passes without a program; Info and Pin fail with
// [ebpf.ErrNotSupported]. It keeps the network namespace of the interface until it is closed. A
// filter left by a process that has crashed is replaced when the same program is attached with
// the same priority and handle. A filter of a process that is running, or of other software, is
// an error that names it, [syscall.EEXIST]: choose another Priority or Handle. The qdisc is
// removed with the last filter if this process has made it.
func (p *TCProgram) AttachTC(ifindex int, direction TCDirection, o *TCOptions) (link.Link, error) {
	return p.attach(attach.OnTC(ifindex, direction.attachType(p.def.AttachType), o.options()), func(prog *attach.Program) (link.Link, error) {
		return attach.TC(prog, ifindex, direction.attachType(p.def.AttachType), o.options())
	})
}

// NetkitEnd is an end of a pair of interfaces of kind netkit.
type NetkitEnd int

const (
	// NetkitBySection is the end that the section names, as SEC("netkit/peer") does.
	NetkitBySection NetkitEnd = iota
	// NetkitPrimary are the packets that the primary interface sends.
	NetkitPrimary
	// NetkitPeer are the packets that its peer sends.
	NetkitPeer
)

// NetkitOptions are libbpf's struct bpf_netkit_opts.
type NetkitOptions struct {
	// The fields are as in [TCOptions].
	Before, After    *Anchor
	Replace          link.Link
	ExpectedRevision uint64
}

// AttachNetkit attaches the program to an end of a pair of interfaces of kind netkit.
// ifindex is the primary one, for both ends. It needs a kernel of version 6.7 or later.
func (p *TCProgram) AttachNetkit(ifindex int, end NetkitEnd, o *NetkitOptions) (link.Link, error) {
	return p.attach(attach.OnNetkit(ifindex, end.attachType(p.def.AttachType)).Replacing(valueOf(o).Replace), func(prog *attach.Program) (link.Link, error) {
		return attach.Netkit(prog, ifindex, end.attachType(p.def.AttachType), o.position())
	})
}

// CgroupMode is which other programs a cgroup takes: flags of BPF_PROG_ATTACH.
type CgroupMode uint32

const (
	// CgroupMulti lets others be attached to the cgroup and to those below (BPF_F_ALLOW_MULTI).
	CgroupMulti CgroupMode = iota
	// CgroupOverride is for one program in the cgroup. Cgroups below run theirs in place of
	// it (BPF_F_ALLOW_OVERRIDE).
	CgroupOverride
	// CgroupExclusive is for one program in the cgroup, and none in those below.
	CgroupExclusive
)

// CgroupOptions are libbpf's struct bpf_cgroup_opts and the flags of BPF_PROG_ATTACH.
type CgroupOptions struct {
	// Mode is which other programs there may be. All but CgroupMulti have no link in the
	// kernel: when the process ends without closing the link that is returned, the program
	// stays attached for as long as the cgroup is there.
	Mode CgroupMode
	// Before or After is the position among the other programs of the cgroup, at the end
	// without one. They need kernel 6.17.
	Before, After *Anchor
	// Preorder makes the program run before those of cgroups below, where otherwise these
	// come first. It needs kernel 6.17.
	Preorder bool
	// Replace is as in [XDPOptions]. The position is that of the link.
	Replace link.Link
	// ExpectedRevision is as in [TCOptions]. It needs kernel 6.17.
	ExpectedRevision uint64
}

// AttachCgroup attaches the program to a cgroup, by the path of its directory in
// cgroup2; /proc/self/fd/<n> stands for an open one. It needs a kernel of version 5.7 or
// later, 6.0 for SEC("lsm_cgroup").
func (p *CgroupProgram) AttachCgroup(path string, o *CgroupOptions) (link.Link, error) {
	return p.attachCgroup(path, p.def.AttachType, o)
}

// AttachCgroupIngress attaches the program to the packets that a cgroup
// receives. See [CgroupProgram.AttachCgroup].
func (p *CgroupSKBProgram) AttachCgroupIngress(path string, o *CgroupOptions) (link.Link, error) {
	return p.attachCgroup(path, ebpf.AttachCGroupInetIngress, o)
}

// AttachCgroupEgress attaches the program to the packets that a cgroup sends.
// See [CgroupProgram.AttachCgroup].
func (p *CgroupSKBProgram) AttachCgroupEgress(path string, o *CgroupOptions) (link.Link, error) {
	return p.attachCgroup(path, ebpf.AttachCGroupInetEgress, o)
}

func (p *BaseProgram) attachCgroup(path string, hook ebpf.AttachType, o *CgroupOptions) (link.Link, error) {
	return p.attach(attach.OnCgroup(path, hook).Replacing(valueOf(o).Replace), func(prog *attach.Program) (link.Link, error) {
		return attach.Cgroup(prog, path, hook, o.options())
	})
}

// AttachSocket filters what a socket receives. A socket has one filter, which
// ends with the socket. Closing the link takes it off, and the link keeps conn
// reachable until then.
func (p *SocketProgram) AttachSocket(conn syscall.Conn) (link.Link, error) {
	return p.attach(attach.By("socket"), func(prog *attach.Program) (link.Link, error) {
		return attach.Socket(prog, conn)
	})
}

// AttachReuseport makes the program choose among the sockets that share the port
// of a bound socket with SO_REUSEPORT. Closing the link takes it off, which
// needs a kernel of version 5.3 or later.
func (p *ReuseportProgram) AttachReuseport(conn syscall.Conn) (link.Link, error) {
	return p.attach(attach.By("reuseport"), func(prog *attach.Program) (link.Link, error) {
		return attach.Reuseport(prog, conn)
	})
}

// AttachNetNS attaches the program to a network namespace, by the path of its
// file: /proc/self/ns/net is the present one, /proc/self/fd/<n> an open one. A
// namespace takes one flow dissector. It needs a kernel of version 5.8 or later,
// 5.9 for SEC("sk_lookup").
func (p *NetNSProgram) AttachNetNS(path string) (link.Link, error) {
	return p.attach(attach.OnNetNS(path, p.def.AttachType), func(prog *attach.Program) (link.Link, error) {
		return attach.NetNS(prog, path)
	})
}

// AttachSockMap attaches the program to the sockets of a sockmap or a sockhash.
// Before kernel 6.10 there is no link for it: the program then stays attached
// for as long as the map lives when the process ends without closing the link.
func (p *SockMapProgram) AttachSockMap(m *ebpf.Map) (link.Link, error) {
	return p.attach(attach.OnSockMap(m, p.def.AttachType), func(prog *attach.Program) (link.Link, error) {
		return attach.SockMap(prog, m)
	})
}

// PerfEventOptions are libbpf's struct bpf_perf_event_opts.
type PerfEventOptions struct {
	// Cookie is what bpf_get_attach_cookie returns. It needs kernel 5.15.
	Cookie uint64
	// Mode is how the program is attached. AttachPerf is libbpf's force_ioctl_attach.
	Mode AttachMode
	// DontEnable leaves an event that is off as it is, for the caller to turn on
	// (PERF_EVENT_IOC_ENABLE), such as several at once.
	DontEnable bool
}

// AttachPerfEvent attaches the program to an open perf event, which stays the
// caller's. Before kernel 5.15 a program cannot be taken off an event: closing the
// link disables the event instead.
func (p *PerfEventProgram) AttachPerfEvent(fd int, o *PerfEventOptions) (link.Link, error) {
	return p.attach(attach.By("perf_event"), func(prog *attach.Program) (link.Link, error) {
		return attach.PerfEvent(prog, fd, valueOf(o).Cookie, attach.Mode(valueOf(o).Mode), valueOf(o).DontEnable)
	})
}

// SamplingOptions are what is sampled.
type SamplingOptions struct {
	// PID is the process to sample, on any CPU; 0 all processes. All its threads are
	// sampled, those too that it starts later. So are processes that it starts later
	// on kernels before 5.13, which do not distinguish them from threads.
	PID int
	// Cookie is what bpf_get_attach_cookie returns. It needs kernel 5.15.
	Cookie uint64
}

// AttachSampling runs the program frequency times a second on each CPU that is online now,
// while something runs on it, by the clock of the CPU (PERF_COUNT_SW_CPU_CLOCK). The
// kernel's limit is kernel.perf_event_max_sample_rate. With a PID it runs by the clocks of
// the threads of that process, while they run, and the link has up to two file descriptors
// per thread that there is now. A thread may be missed when the process never stops
// starting threads meanwhile. It fails with [syscall.ESRCH] when there is no such process.
func (p *PerfEventProgram) AttachSampling(frequency uint64, o *SamplingOptions) (link.Link, error) {
	return p.attach(attach.By("sampling"), func(prog *attach.Program) (link.Link, error) {
		return attach.Sampling(prog, frequency, valueOf(o).PID, valueOf(o).Cookie)
	})
}

// NetfilterFamily is the family of packets: NFPROTO_* of linux/netfilter.h.
type NetfilterFamily uint32

// The families that programs can be attached to.
const (
	NetfilterIPv4 NetfilterFamily = 2
	NetfilterIPv6 NetfilterFamily = 10
)

// NetfilterHook is a point on the way of a packet: NF_INET_* of linux/netfilter.h.
type NetfilterHook uint32

// The hooks of netfilter.
const (
	NetfilterPreRouting NetfilterHook = iota
	NetfilterLocalIn
	NetfilterForward
	NetfilterLocalOut
	NetfilterPostRouting
)

// NetfilterOptions are libbpf's struct bpf_netfilter_opts.
type NetfilterOptions struct {
	// Priority orders the functions of the hook, lower ones first. No two may have the same.
	Priority int32
	// Defrag makes the program see datagrams, not their fragments
	// (BPF_F_NETFILTER_IP_DEFRAG). It needs kernel 6.6.
	Defrag bool
}

// AttachNetfilter attaches the program to a hook of netfilter in the network namespace of the
// calling thread. It needs a kernel of version 6.4 or later.
func (p *NetfilterProgram) AttachNetfilter(family NetfilterFamily, hook NetfilterHook, o *NetfilterOptions) (link.Link, error) {
	return p.attach(attach.By("netfilter-%d-%d", family, hook), func(prog *attach.Program) (link.Link, error) {
		return attach.Netfilter(prog, attach.NetfilterOptions{
			Family: uint32(family), Hook: uint32(hook), Priority: valueOf(o).Priority, Defrag: valueOf(o).Defrag,
		})
	})
}

// valueOf returns the options that a method was given, which may be nil.
func valueOf[O any](o *O) O {
	if o == nil {
		return *new(O)
	}
	return *o
}

// The options in the form that package attach takes.

func (o *KprobeOptions) probe() attach.ProbeOptions {
	v := valueOf(o)
	return attach.ProbeOptions{Cookie: v.Cookie, Return: v.Return, Mode: attach.Mode(v.Mode)}
}

func (o *SyscallOptions) probe() attach.ProbeOptions {
	v := valueOf(o)
	return attach.ProbeOptions{Cookie: v.Cookie, Return: v.Return}
}

func (o *UprobeOptions) probe() attach.UprobeOptions {
	v := valueOf(o)
	return attach.UprobeOptions{
		ProbeOptions: attach.ProbeOptions{Cookie: v.Cookie, Return: v.Return, Mode: attach.Mode(v.Mode)},
		PID:          v.PID,
		RefCtrOffset: v.RefCtrOffset,
	}
}

func (o *IterOptions) iter() attach.IterOptions {
	v := valueOf(o)
	return attach.IterOptions{Map: v.Map, Cgroup: v.Cgroup, Order: uint32(v.Order), TID: v.TID, PID: v.PID}
}

func (o *TCOptions) options() attach.TCOptions {
	v := valueOf(o)
	return attach.TCOptions{
		Position: positionOf(v.Before, v.After, v.Replace, v.ExpectedRevision),
		Mode:     attach.TCMode(v.Mode),
		Priority: v.Priority,
		Handle:   v.Handle,
	}
}

// attachType returns that of TCX, which stands for clsact too.
func (d TCDirection) attachType(bySection ebpf.AttachType) ebpf.AttachType {
	switch d {
	case TCIngress:
		return ebpf.AttachTCXIngress
	case TCEgress:
		return ebpf.AttachTCXEgress
	}
	return bySection
}

func (o *NetkitOptions) position() attach.Position {
	v := valueOf(o)
	return positionOf(v.Before, v.After, v.Replace, v.ExpectedRevision)
}

func (e NetkitEnd) attachType(bySection ebpf.AttachType) ebpf.AttachType {
	switch e {
	case NetkitPrimary:
		return ebpf.AttachNetkitPrimary
	case NetkitPeer:
		return ebpf.AttachNetkitPeer
	}
	return bySection
}

func (o *CgroupOptions) options() attach.CgroupOptions {
	v := valueOf(o)
	return attach.CgroupOptions{
		Position: positionOf(v.Before, v.After, v.Replace, v.ExpectedRevision),
		Mode:     attach.CgroupMode(v.Mode),
		Preorder: v.Preorder,
	}
}

func positionOf(before, after *Anchor, replace link.Link, revision uint64) attach.Position {
	return attach.Position{Before: (*attach.Anchor)(before), After: (*attach.Anchor)(after), Replace: replace, ExpectedRevision: revision}
}

// setAttachOptions sets the options that Attach is to use for a program, to a copy.
func setAttachOptions[O any](p *BaseProgram, o *O) error {
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	if p.owner.state == closed {
		return p.fail(ErrClosed)
	}
	if o == nil {
		p.options = nil
		return nil
	}
	own := *o
	p.options = &own
	return nil
}
