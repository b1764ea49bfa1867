package skeleton

import (
	"debug/elf"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usersym"
)

// loadTestObject is newTestObject, loaded until the test ends.
func loadTestObject(t *testing.T, specs []*ebpf.MapSpec, programs ...*ebpf.ProgramSpec) *Object {
	t.Helper()
	o := newTestObject(t, specs, programs...)
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	err := o.Load()
	bpftest.SkipIfRefused(t, programs[0].SectionName, err)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// maxInterfaces is how many interfaces the counters of newCounter are for.
const maxInterfaces = 64

// newCounter returns an XDP program that counts packets of interfaces, by their indexes, in
// the map "packets".
func newCounter(name string) *ebpf.ProgramSpec {
	load := asm.LoadMem(asm.R2, asm.R1, 12, asm.Word)                                                          // ingress_ifindex
	spec := newTestProgram(name, append(asm.Instructions{load}, kerneltest.Count("packets", asm.R2, 2)...)...) // XDP_PASS
	spec.Type, spec.SectionName = ebpf.XDP, "xdp"
	return spec
}

func packetsMap() []*ebpf.MapSpec {
	return []*ebpf.MapSpec{{Name: "packets", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: maxInterfaces}}
}

// pairs makes n pairs of veth interfaces in the test's namespace, and returns the indexes of
// the ends that receive what is sent from the others.
func pairs(t *testing.T, n int) (receivers, senders []int) {
	t.Helper()
	for i := range n {
		names := []string{fmt.Sprintf("rx%d", i), fmt.Sprintf("tx%d", i)}
		err := kerneltest.AddVeth(names[0], names[1], 0)
		if errors.Is(err, unix.EOPNOTSUPP) {
			t.Skipf("needs a kernel with veth: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		for j, name := range names {
			ifindex, err := kerneltest.SetUp(name)
			if err != nil {
				t.Fatal(err)
			}
			if j == 0 {
				receivers = append(receivers, ifindex)
			} else {
				senders = append(senders, ifindex)
			}
		}
	}
	return receivers, senders
}

// send sends a frame of a protocol that nobody has from each interface.
func send(t *testing.T, ifindexes []int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	frame := make([]byte, 60)
	copy(frame, "\xff\xff\xff\xff\xff\xff")
	frame[12], frame[13] = 0x88, 0xb5
	for _, i := range ifindexes {
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i}); err != nil {
			t.Fatal(err)
		}
	}
}

// wantPackets waits until the interfaces have had packets, or not. Others come by
// themselves, such as those that look for neighbors.
func wantPackets(t *testing.T, m *ebpf.Map, receivers, senders []int, want ...bool) {
	t.Helper()
	count := func() []uint64 {
		counts := make([]uint64, len(receivers))
		for i, ifindex := range receivers {
			if err := m.Lookup(uint32(ifindex), &counts[i]); err != nil {
				t.Fatal(err)
			}
		}
		return counts
	}
	before := count()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		send(t, senders)
		have := make([]bool, len(receivers))
		for i, n := range count() {
			have[i] = n != before[i]
		}
		if slices.Equal(have, want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("interfaces run the program: %v, want %v", have, want)
		}
	}
}

// One program is on three interfaces, two of which it leaves.
func TestThreeInterfaces(t *testing.T) {
	ns := bpftest.NewNetNS(t)
	ns.Enter(t)
	receivers, senders := pairs(t, 3)
	o := loadTestObject(t, packetsMap(), newCounter("count"))
	p, m := XDPProgram{o.progs[0]}, o.maps[0].Map()
	var links []link.Link
	for _, i := range receivers {
		l, err := p.AttachXDP(i, &XDPOptions{Mode: XDPGeneric})
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, l)
	}
	if *p.link != links[0] {
		t.Error("the first link is not in the slot")
	}
	if !slices.Equal(p.Links(), links) {
		t.Errorf("links are %v, want %v", p.Links(), links)
	}
	wantPackets(t, m, receivers, senders, true, true, true)

	for _, i := range []int{0, 2} {
		if err := links[i].Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(p.Links(), links[1:2]) {
		t.Errorf("links are %v, want %v", p.Links(), links[1:2])
	}
	wantReasons(t, o, map[string]string{"count": ""})
	wantPackets(t, m, receivers, senders, false, true, false)

	// The slot is free.
	l, err := p.AttachXDP(receivers[2], &XDPOptions{Mode: XDPGeneric})
	if err != nil {
		t.Fatal(err)
	}
	if *p.link != l || !slices.Equal(p.Links(), []link.Link{l, links[1]}) {
		t.Errorf("slot %v, links %v, want %v and %v", *p.link, p.Links(), l, links[1])
	}
	wantPackets(t, m, receivers, senders, false, true, true)

	if err := o.Detach(); err != nil {
		t.Fatal(err)
	}
	if len(p.Links()) != 0 || *p.link != nil {
		t.Errorf("links %v and slot %v after Detach", p.Links(), *p.link)
	}
	wantReasons(t, o, map[string]string{"count": detached})
	wantPackets(t, m, receivers, senders, false, false, false)
	// Again does nothing.
	if err := errors.Join(links[1].Close(), l.Close()); err != nil {
		t.Error(err)
	}
}

// Links are closed while others are made. It is for the race detector.
func TestCloseWhileAttaching(t *testing.T) {
	o := loadTestObject(t, nil, kerneltest.Trivial(ebpf.RawTracepoint, "raw_tp"))
	p := RawTracepointProgram{o.progs[0]}
	done := make(chan error)
	// Kernels before 6.10 take a program once for each tracepoint.
	names := []string{"task_rename", "task_newtask", "sched_switch", "sched_wakeup"}
	for _, name := range names {
		go func() {
			for range 20 {
				l, err := p.AttachRawTracepoint(name, nil)
				if err != nil {
					done <- err
					return
				}
				p.Links()
				if err := l.Close(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range names {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if links := p.Links(); len(links) != 0 {
		t.Errorf("links %v are left", links)
	}
}

// An XDP program takes the place of another.
func TestReplaceXDP(t *testing.T) {
	ns := bpftest.NewNetNS(t)
	ns.Enter(t)
	receivers, senders := pairs(t, 2)
	o := loadTestObject(t, packetsMap(), newTestProgramOf(ebpf.XDP, "xdp", "old", 2), newCounter("new"))
	old, p, m := XDPProgram{o.progs[0]}, XDPProgram{o.progs[1]}, o.maps[0].Map()
	first, err := old.AttachXDP(receivers[0], &XDPOptions{Mode: XDPGeneric})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.AttachXDP(receivers[0], &XDPOptions{Mode: XDPGeneric}); !errors.Is(err, unix.EBUSY) {
		t.Errorf("second program: %v, want %v", err, unix.EBUSY)
	}
	_, err = p.AttachXDP(receivers[1], &XDPOptions{Replace: first})
	kerneltest.WantError(t, err, "option Replace: it is a link of another target")
	second, err := p.AttachXDP(receivers[0], &XDPOptions{Replace: first})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	wantPackets(t, m, receivers, senders, true, false)
	_, err = p.AttachXDP(receivers[0], &XDPOptions{Replace: first})
	kerneltest.WantError(t, err, "option Replace: it is closed")
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	wantPackets(t, m, receivers, senders, false, false)
}

// newTestProgramOf returns a program that returns a number.
func newTestProgramOf(typ ebpf.ProgramType, section, name string, result int32) *ebpf.ProgramSpec {
	spec := newTestProgram(name, asm.Mov.Imm(asm.R0, result), asm.Return())
	spec.Type, spec.SectionName = typ, section
	return spec
}

// wantOrder compares the programs on a hook, in their order.
func wantOrder(t *testing.T, target int, attach ebpf.AttachType, want ...*BaseProgram) (revision uint64) {
	t.Helper()
	result, err := link.QueryPrograms(link.QueryOptions{Target: target, Attach: attach})
	if err != nil {
		t.Fatal(err)
	}
	var have, names []string
	for _, a := range result.Programs {
		have = append(have, fmt.Sprint(a.ID))
	}
	for _, p := range want {
		names = append(names, fmt.Sprint(programID(t, p)))
	}
	if !slices.Equal(have, names) {
		t.Errorf("programs are %v, want %v", have, names)
	}
	return result.Revision
}

func programID(t *testing.T, p *BaseProgram) ebpf.ProgramID {
	t.Helper()
	info, err := p.Program().Info()
	if err != nil {
		t.Fatal(err)
	}
	id, ok := info.ID()
	if !ok {
		t.Fatal("programs have no IDs")
	}
	return id
}

// A filter of clsact is a link like others to the handle and to the skeleton.
func TestFilterIsALink(t *testing.T) {
	bpftest.NewNetNS(t).Enter(t)
	o := loadTestObject(t, nil, kerneltest.Trivial(ebpf.SchedCLS, "tc"))
	p := TCProgram{o.progs[0]}
	l, err := p.AttachTC(1, TCIngress, &TCOptions{Mode: TCClsact})
	if errors.Is(err, unix.ENOPROTOOPT) {
		t.Skipf("needs a kernel with clsact and filters of kind bpf: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if a := o.Attachments()[0]; a.State != Attached || *p.Slot() != l {
		t.Errorf("%v, slot %v", a, *p.Slot())
	}
	second, err := p.AttachTC(1, TCIngress, &TCOptions{Replace: l})
	if err != nil {
		t.Fatal(err)
	}
	if have := p.Links(); !slices.Equal(have, []link.Link{l, second}) {
		t.Errorf("links are %v", have)
	}
	_, err = p.AttachTC(1, TCIngress, &TCOptions{Mode: TCClsact})
	kerneltest.WantError(t, err, `attach program p, SEC("tc"): `, "of a process that is running: file exists: ")
	if err := o.Detach(); err != nil {
		t.Fatal(err)
	}
	if a := o.Attachments()[0]; a.State != NotAttached || !attach.IsClosed(second) {
		t.Errorf("after Detach: %v", a)
	}
}

// Programs of traffic control run in an order that each is given its place in.
func TestOrderOfTC(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 6, "TCX")
	ns := bpftest.NewNetNS(t)
	ns.Enter(t)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	o := loadTestObject(t, nil,
		newTestProgramOf(ebpf.SchedCLS, "tc", "p0", -1), newTestProgramOf(ebpf.SchedCLS, "tcx/ingress", "p1", -1),
		newTestProgramOf(ebpf.SchedCLS, "classifier", "p2", -1), newTestProgramOf(ebpf.SchedCLS, "tc", "p3", -1))
	p := o.progs
	attach := func(i int, o *TCOptions) (link.Link, error) {
		return (&TCProgram{p[i]}).AttachTC(lo.Index, TCIngress, o)
	}
	must := func(l link.Link, err error) link.Link {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	must(attach(0, nil))
	// The section says in which direction.
	l1 := must((&TCProgram{p[1]}).AttachTC(lo.Index, TCBySection, &TCOptions{Before: &Anchor{}}))
	l2 := must(attach(2, &TCOptions{After: &Anchor{Link: l1}}))
	revision := wantOrder(t, lo.Index, ebpf.AttachTCXIngress, p[1], p[2], p[0])

	for text, o := range map[string]*TCOptions{
		"exclude each other":               {Before: &Anchor{}, After: &Anchor{}},
		"more than one of Link":            {Before: &Anchor{Link: l1, ProgramID: 1}},
		"have changed since":               {ExpectedRevision: revision + 1},
		"it excludes Before":               {Replace: l1, After: &Anchor{}},
		"it is a link of another target":   {Replace: must((&TCProgram{p[3]}).AttachTC(lo.Index, TCEgress, nil))},
		"attach program p3, SEC(\"tc\"): ": {Before: &Anchor{LinkID: 1 << 30}},
	} {
		_, err := attach(3, o)
		kerneltest.WantError(t, err, text)
	}
	_, err = (&TCProgram{p[0]}).AttachTC(lo.Index, TCBySection, nil)
	kerneltest.WantError(t, err, "SEC() names no direction: give TCIngress or TCEgress")
	_, err = attach(0, nil)
	kerneltest.WantError(t, err, "the program is attached there already")
	if _, err := attach(3, &TCOptions{ExpectedRevision: revision + 1}); !errors.Is(err, unix.ESTALE) {
		t.Errorf("%v, want %v", err, unix.ESTALE)
	}

	l3 := must(attach(3, &TCOptions{Replace: l2}))
	if err := l2.Close(); err != nil {
		t.Fatal(err)
	}
	revision = wantOrder(t, lo.Index, ebpf.AttachTCXIngress, p[1], p[3], p[0])
	must(attach(2, &TCOptions{Before: &Anchor{LinkID: linkID(t, l3)}, ExpectedRevision: revision}))
	wantOrder(t, lo.Index, ebpf.AttachTCXIngress, p[1], p[2], p[3], p[0])
	if n := len(p[3].Links()); n != 2 {
		t.Errorf("program p3 has %d links, want 2", n)
	}
	if err := o.Detach(); err != nil {
		t.Fatal(err)
	}
	wantOrder(t, lo.Index, ebpf.AttachTCXIngress)
	wantOrder(t, lo.Index, ebpf.AttachTCXEgress)
}

func linkID(t *testing.T, l link.Link) link.ID {
	t.Helper()
	info, err := l.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info.ID
}

// A program of traffic control is attached to an interface of kind netkit.
func TestTCOnNetkit(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 7, "netkit")
	ns := bpftest.NewNetNS(t)
	ns.Enter(t)
	if err := kerneltest.AddNetkit("primary", "peer"); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("needs a kernel with netkit: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	primary, err := net.InterfaceByName("primary")
	if err != nil {
		t.Fatal(err)
	}
	o := loadTestObject(t, nil, newTestProgramOf(ebpf.SchedCLS, "tc", "p0", -1), newTestProgramOf(ebpf.SchedCLS, "netkit/peer", "p1", -1))
	index := primary.Index
	p0, p1 := TCProgram{o.progs[0]}, TCProgram{o.progs[1]}
	_, err = p0.AttachNetkit(index, NetkitBySection, nil)
	kerneltest.WantError(t, err, "SEC() names no end")
	if _, err := p0.AttachNetkit(index, NetkitPeer, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := p1.AttachNetkit(index, NetkitBySection, &NetkitOptions{Before: &Anchor{ProgramID: programID(t, o.progs[0])}}); err != nil {
		t.Logf("by the ID of a program: %v", err)
		if _, err := p1.AttachNetkit(index, NetkitBySection, &NetkitOptions{Before: &Anchor{}}); err != nil {
			t.Fatal(err)
		}
	}
	wantOrder(t, index, ebpf.AttachNetkitPeer, o.progs[1], o.progs[0])
	// And by TCX on the same interface.
	if _, err := p1.AttachTC(index, TCEgress, nil); err != nil {
		t.Fatal(err)
	}
}

// Programs of cgroups run in an order, and a cgroup is in one of three modes.
func TestCgroupOptions(t *testing.T) {
	var dirs []string
	for range 2 {
		dirs = append(dirs, bpftest.NewCgroup(t))
	}
	var specs []*ebpf.ProgramSpec
	for i := range 4 {
		specs = append(specs, newTestProgramOf(ebpf.CGroupSKB, "cgroup/skb", fmt.Sprintf("p%d", i), 1))
	}
	o := loadTestObject(t, nil, specs...)
	p := o.progs
	attach := func(i int, path string, o *CgroupOptions) (link.Link, error) {
		return (&CgroupSKBProgram{p[i]}).AttachCgroupEgress(path, o)
	}
	var open []*os.File
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		open = append(open, f)
	}
	fd := func(i int) int { return int(open[i].Fd()) }
	const egress = ebpf.AttachCGroupInetEgress

	// One program is in two cgroups.
	l0, err := attach(0, dirs[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := attach(0, dirs[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	l1, err := attach(1, dirs[0], &CgroupOptions{Replace: l0})
	if err != nil {
		t.Fatal(err)
	}
	_, err = attach(1, dirs[0], &CgroupOptions{Replace: other})
	kerneltest.WantError(t, err, "it is a link of another target")
	wantOrder(t, fd(0), egress, p[1])
	wantOrder(t, fd(1), egress, p[0])
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}

	// The modes that have no link.
	for _, mode := range []CgroupMode{CgroupOverride, CgroupExclusive} {
		l, err := attach(2, dirs[1], &CgroupOptions{Mode: mode})
		if err != nil {
			t.Fatalf("mode %d: %v", mode, err)
		}
		wantOrder(t, fd(1), egress, p[2])
		_, err = attach(3, dirs[1], nil)
		kerneltest.WantError(t, err, "")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		wantOrder(t, fd(1), egress)
	}
	_, err = attach(2, dirs[0], &CgroupOptions{Mode: CgroupExclusive})
	kerneltest.WantError(t, err, "programs of another mode")
	_, err = attach(2, dirs[1], &CgroupOptions{Mode: CgroupExclusive, Preorder: true})
	kerneltest.WantError(t, err, "mode CgroupMulti")

	placed := map[string]*CgroupOptions{
		"Before":           {Before: &Anchor{}},
		"After":            {After: &Anchor{Link: l1}},
		"Preorder":         {Preorder: true},
		"ExpectedRevision": {ExpectedRevision: 1 << 40},
	}
	// Kernels of distributions may have it from later ones.
	if result, err := link.QueryPrograms(link.QueryOptions{Target: fd(0), Attach: egress}); err != nil {
		t.Fatal(err)
	} else if result.Revision == 0 {
		for name, opts := range placed {
			_, err := attach(2, dirs[0], opts)
			kerneltest.WantError(t, err, "option "+name+" needs a kernel of version 6.17 or later")
			if !errors.Is(err, ebpf.ErrNotSupported) {
				t.Errorf("%v is not %v", err, ebpf.ErrNotSupported)
			}
		}
		return
	}
	if _, err := attach(2, dirs[0], placed["Before"]); err != nil {
		t.Fatal(err)
	}
	if _, err := attach(3, dirs[0], &CgroupOptions{Before: &Anchor{Link: l1}}); err != nil {
		t.Fatal(err)
	}
	revision := wantOrder(t, fd(0), egress, p[2], p[3], p[1])
	if _, err := attach(0, dirs[0], placed["ExpectedRevision"]); !errors.Is(err, unix.ESTALE) {
		t.Errorf("%v, want %v", err, unix.ESTALE)
	}
	if l, err := attach(0, dirs[0], &CgroupOptions{Preorder: true, ExpectedRevision: revision}); err != nil {
		t.Error(err)
	} else if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// newCookieReader returns a program that puts its cookie into the first element of the map
// "cookies".
func newCookieReader(typ ebpf.ProgramType, section string) *ebpf.ProgramSpec {
	spec := newTestProgram("cookie",
		asm.FnGetAttachCookie.Call(),
		asm.StoreMem(asm.RFP, -8, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, 0).WithReference("cookies"),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -16),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -8),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	)
	spec.Type, spec.SectionName = typ, section
	return spec
}

// Programs are told their cookies, attached by hand and by Attach.
func TestCookies(t *testing.T) {
	bpftest.NeedsBPF(t)
	bpftest.NeedsTracefs(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const byHand, byAttach = 0x1122334455667788, 0x99aabbccddeeff00
	offset := probedOffset(t, self)
	target := fmt.Sprintf("%#x", offset)
	call := func() { probedFunction(1) }
	for _, tc := range []struct {
		typ        ebpf.ProgramType
		attachType ebpf.AttachType
		section    string
		version    string
		attach     func(*BaseProgram, uint64) (link.Link, error)
		set        func(*BaseProgram, uint64) error
		fire       func()
	}{
		{typ: ebpf.TracePoint, section: "tp/sched/sched_switch", version: "5.15",
			attach: func(p *BaseProgram, c uint64) (link.Link, error) {
				return (&TracepointProgram{p}).AttachTracepoint("sched", "sched_switch", &TracepointOptions{Cookie: c})
			},
			set: func(p *BaseProgram, c uint64) error {
				return (&TracepointProgram{p}).SetAttachOptions(&TracepointOptions{Cookie: c})
			}},
		{typ: ebpf.RawTracepoint, section: "raw_tp/sched_switch", version: "6.10",
			attach: func(p *BaseProgram, c uint64) (link.Link, error) {
				return (&RawTracepointProgram{p}).AttachRawTracepoint("sched_switch", &RawTracepointOptions{Cookie: c})
			},
			set: func(p *BaseProgram, c uint64) error {
				return (&RawTracepointProgram{p}).SetAttachOptions(&RawTracepointOptions{Cookie: c})
			}},
		{typ: ebpf.Tracing, attachType: ebpf.AttachTraceRawTp, section: "tp_btf/sched_switch", version: "6.10",
			attach: func(p *BaseProgram, c uint64) (link.Link, error) {
				return (&TracingProgram{p}).AttachTracing(&TracingOptions{Cookie: c})
			},
			set: func(p *BaseProgram, c uint64) error {
				return (&TracingProgram{p}).SetAttachOptions(&TracingOptions{Cookie: c})
			}},
		{typ: ebpf.Tracing, attachType: ebpf.AttachTraceFEntry, section: "fentry/do_nanosleep", version: "5.19",
			attach: func(p *BaseProgram, c uint64) (link.Link, error) {
				return (&TracingProgram{p}).AttachTracing(&TracingOptions{Cookie: c})
			},
			set: func(p *BaseProgram, c uint64) error {
				return (&TracingProgram{p}).SetAttachOptions(&TracingOptions{Cookie: c})
			},
			fire: func() { _ = unix.Nanosleep(&unix.Timespec{Nsec: 1}, nil) }},
		{typ: ebpf.PerfEvent, section: "perf_event", version: "5.15",
			attach: func(p *BaseProgram, c uint64) (link.Link, error) {
				return (&PerfEventProgram{p}).AttachSampling(500, &SamplingOptions{Cookie: c})
			}},
		{typ: ebpf.Kprobe, section: "uprobe/" + self + ":" + target, version: "5.15",
			attach: func(p *BaseProgram, c uint64) (link.Link, error) {
				return (&UprobeProgram{p}).AttachUprobe(self, target, &UprobeOptions{Cookie: c, PID: os.Getpid(), Mode: AttachLink})
			},
			set: func(p *BaseProgram, c uint64) error {
				return (&UprobeProgram{p}).SetAttachOptions(&UprobeOptions{Cookie: c, Return: false})
			},
			fire: call},
		{typ: ebpf.Kprobe, attachType: ebpf.AttachTraceUprobeMulti, section: "uprobe.multi", version: "6.6",
			attach: func(p *BaseProgram, c uint64) (link.Link, error) {
				return (&UprobeMultiProgram{p}).AttachUprobeMulti(self, "", &UprobeMultiOptions{Offsets: []uint64{offset}, Cookies: []uint64{c}, PID: os.Getpid()})
			},
			fire: call},
		{typ: ebpf.Kprobe, section: "kprobe/do_nanosleep", version: "5.15",
			attach: func(p *BaseProgram, c uint64) (link.Link, error) {
				return (&KprobeProgram{p}).AttachKprobe("do_nanosleep", &KprobeOptions{Cookie: c, Return: true})
			},
			set: func(p *BaseProgram, c uint64) error {
				return (&KprobeProgram{p}).SetAttachOptions(&KprobeOptions{Cookie: c})
			},
			fire: func() { _ = unix.Nanosleep(&unix.Timespec{Nsec: 1}, nil) }},
	} {
		t.Run(strings.ReplaceAll(tc.section[:strings.IndexByte(tc.section+"/", '/')], ".", "_"), func(t *testing.T) {
			if tc.typ == ebpf.Kprobe && strings.HasPrefix(tc.section, "kprobe") {
				bpftest.NeedsKprobes(t)
			}
			if tc.attachType == ebpf.AttachTraceFEntry {
				kerneltest.NeedsJIT(t)
			}
			spec := newCookieReader(tc.typ, tc.section)
			spec.AttachType = tc.attachType
			if sys.OlderThan(tc.version) {
				t.Skipf("needs a kernel with cookies for %s (%s)", tc.section, tc.version)
			}
			o := loadTestObject(t, []*ebpf.MapSpec{{Name: "cookies", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}}, spec)
			p, m := o.progs[0], o.maps[0].Map()
			want := func(want uint64) {
				t.Helper()
				var have uint64
				for end := time.Now().Add(5 * time.Second); have != want && time.Now().Before(end); {
					if tc.fire != nil {
						tc.fire()
					} else {
						for i, start := 0, time.Now(); time.Since(start) < 10*time.Millisecond; i++ {
							spun.Store(int64(i))
						}
						time.Sleep(time.Millisecond)
					}
					if err := m.Lookup(uint32(0), &have); err != nil {
						t.Fatal(err)
					}
				}
				if have != want {
					t.Errorf("cookie is %#x, want %#x", have, want)
				}
			}
			if _, err := tc.attach(p, byHand); err != nil {
				t.Fatal(err)
			}
			want(byHand)
			if err := o.Detach(); err != nil {
				t.Fatal(err)
			}
			if tc.set == nil {
				return
			}
			if err := tc.set(p, byAttach); err != nil {
				t.Fatal(err)
			}
			if err := o.Attach(); err != nil {
				t.Fatal(err)
			}
			want(byAttach)
		})
	}
}

var spun atomic.Int64

//go:noinline
func probedFunction(n int64) { spun.Add(n) }

// probedOffset returns where probedFunction is in the file of this program: go test leaves
// its symbols out.
func probedOffset(t *testing.T, path string) uint64 {
	t.Helper()
	f, err := usersym.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Type != elf.ET_EXEC {
		t.Fatalf("%s is of type %v", path, f.Type)
	}
	offset, _, ok := f.FileOffset(uint64(reflect.ValueOf(probedFunction).Pointer()))
	if !ok {
		t.Fatalf("%s does not have the function", path)
	}
	return offset
}

// Options that say nothing, or too much, are refused.
func TestWrongOptions(t *testing.T) {
	multi := kerneltest.Trivial(ebpf.Kprobe, "kprobe")
	o := loadTestObject(t, nil, multi)
	p := o.progs[0]
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kprobes := KprobeMultiProgram{p}
	for text, o := range map[string]*KprobeMultiOptions{
		"no function is named: give the pattern or option Symbols or option Addresses": nil,
		"option Symbols and option Addresses exclude each other":                       {Symbols: []string{"a"}, Addresses: []uint64{1}},
		"option Cookies has 2 values, and there are 1 functions":                       {Symbols: []string{"a"}, Cookies: []uint64{1, 2}},
		"options Cookie and Cookies exclude each other":                                {Symbols: []string{"a"}, Cookies: []uint64{1}, Cookie: 1},
		"option UniqueMatch is for a pattern":                                          {Symbols: []string{"a"}, UniqueMatch: true},
	} {
		_, err := kprobes.AttachKprobeMulti("", o)
		kerneltest.WantError(t, err, text)
	}
	uprobes := UprobeMultiProgram{p}
	for text, o := range map[string]*UprobeMultiOptions{
		"the pattern and option Offsets exclude each other": {Offsets: []uint64{1}},
		"option RefCtrOffsets: which functions a pattern":   {RefCtrOffsets: []uint64{1}},
		"option Cookies: which functions a pattern matches": {Cookies: []uint64{1}},
		"the pattern and option Symbols exclude each other": {Symbols: []string{"a"}},
	} {
		_, err := uprobes.AttachUprobeMulti(self, "*probedFunction", o)
		kerneltest.WantError(t, err, text)
	}
	uprobe := UprobeProgram{p}
	_, err = uprobe.AttachUprobe(self, "0xffffffffff", nil)
	kerneltest.WantError(t, err, "has no code at offset 0xffffffffff")
	_, err = uprobe.AttachUprobe(self, fmt.Sprintf("%#x", probedOffset(t, self)), &UprobeOptions{Cookie: 1, Mode: AttachPerf})
	kerneltest.WantError(t, err, "Mode AttachPerf excludes it")
	freplace := FreplaceProgram{p}
	_, err = freplace.AttachFreplace(nil, "f")
	kerneltest.WantError(t, err, `target of function "f" is nil`)
	_, err = freplace.AttachFreplace(p.Program(), "")
	kerneltest.WantError(t, err, "function is empty")
	_, err = (&SocketProgram{p}).AttachSocket(nil)
	kerneltest.WantError(t, err, "the socket is nil")
	_, err = (&ReuseportProgram{p}).AttachReuseport(nil)
	kerneltest.WantError(t, err, "the socket is nil")
	_, err = uprobe.AttachUprobe("", "f", nil)
	kerneltest.WantError(t, err, "the path is empty")
	// The kernel's numbers have 32 bits: this must not be interface 1.
	for _, wide := range []int64{-1, 1<<32 + 1} {
		ifindex := int(wide)
		if int64(ifindex) != wide {
			continue
		}
		_, err = (&XDPProgram{p}).AttachXDP(ifindex, nil)
		kerneltest.WantError(t, err, "is not an index of a network device")
		_, err = (&TCProgram{p}).AttachTC(ifindex, TCIngress, nil)
		kerneltest.WantError(t, err, "is not an index of a network device")
		_, err = (&TCProgram{p}).AttachNetkit(ifindex, NetkitPeer, nil)
		kerneltest.WantError(t, err, "is not an index of a network device")
	}
}

// A uprobe without a link of the kernel, which is part of its event.
func TestAttachModes(t *testing.T) {
	spec := newCounterOfCalls()
	o := loadTestObject(t, []*ebpf.MapSpec{{Name: "calls", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}}, spec)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, m := UprobeProgram{o.progs[0]}, o.maps[0].Map()
	for _, mode := range []AttachMode{AttachDefault, AttachPerf, AttachLink} {
		if mode == AttachLink && sys.OlderThan("5.15") {
			continue
		}
		l, err := p.AttachUprobe(self, fmt.Sprintf("%#x", probedOffset(t, self)), &UprobeOptions{Mode: mode})
		if err != nil {
			t.Fatalf("mode %d: %v", mode, err)
		}
		inEvent := mode == AttachPerf || sys.OlderThan("5.15")
		if _, err := l.Info(); inEvent != errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("mode %d: Info: %v", mode, err)
		}
		if _, ok := l.(interface{ PerfEvent() (*os.File, error) }); !ok {
			t.Errorf("mode %d: %T has no perf event", mode, l)
		}
		var before, after uint64
		if err := m.Lookup(uint32(0), &before); err != nil {
			t.Fatal(err)
		}
		probedFunction(1)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		probedFunction(1)
		if err := m.Lookup(uint32(0), &after); err != nil {
			t.Fatal(err)
		}
		if after != before+1 {
			t.Errorf("mode %d: ran %d times, want once", mode, after-before)
		}
	}
}

// newCounterOfCalls returns a program that counts in the first element of the map "calls".
func newCounterOfCalls() *ebpf.ProgramSpec {
	first := asm.Mov.Imm(asm.R1, 0)
	spec := newTestProgram("calls", append(asm.Instructions{first}, kerneltest.Count("calls", asm.R1, 0)...)...)
	spec.Type, spec.SectionName = ebpf.Kprobe, "uprobe"
	return spec
}

// Options of another kind than the section's are not left out silently.
func TestAttachOptionsOfAnotherKind(t *testing.T) {
	o := loadTestObject(t, nil, kerneltest.Trivial(ebpf.Kprobe, "kprobe/do_unlinkat"))
	if err := (&UprobeProgram{o.progs[0]}).SetAttachOptions(&UprobeOptions{Cookie: 1}); err != nil {
		t.Fatal(err)
	}
	kerneltest.WantError(t, o.Attach(), "SetAttachOptions was given *skeleton.UprobeOptions, and its section takes *skeleton.KprobeOptions")
}

// Options for Attach are copied, may be taken back, and are refused after Close.
func TestSetAttachOptions(t *testing.T) {
	o := newTestObject(t, nil, kerneltest.Trivial(ebpf.RawTracepoint, "raw_tp/task_rename"))
	p := RawTracepointProgram{o.progs[0]}
	opts := &RawTracepointOptions{Cookie: 1}
	if err := p.SetAttachOptions(opts); err != nil {
		t.Fatal(err)
	}
	opts.Cookie = 2
	if got, err := optionsOf[RawTracepointOptions](o.progs[0]); err != nil || got.Cookie != 1 {
		t.Errorf("options are %v, %v, want cookie 1", got, err)
	}
	if err := p.SetAttachOptions(nil); err != nil {
		t.Fatal(err)
	}
	if got, err := optionsOf[RawTracepointOptions](o.progs[0]); err != nil || got != nil {
		t.Errorf("options are %v, %v, want none", got, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.SetAttachOptions(opts); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want %v", err, ErrClosed)
	}
}
