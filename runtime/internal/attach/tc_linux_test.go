package attach

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
	"github.com/rules-bpf/rules_bpf/runtime/internal/tc"
)

// inNetNS moves the test to a new network namespace, in which interface 1 is the loopback
// interface.
func inNetNS(t *testing.T) {
	t.Helper()
	ns := bpftest.NewNetNS(t)
	ns.Enter(t)
}

// packets returns the map of newTC.
func packets() *ebpf.MapSpec {
	return &ebpf.MapSpec{Name: "packets", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 4}
}

// newTC returns a program that counts the packets of an index in the map "packets", and
// returns a code.
func newTC(name string, index, code int32) *ebpf.ProgramSpec {
	spec := kerneltest.Trivial(ebpf.SchedCLS, "tc")
	spec.Name, spec.Instructions = name, append(asm.Instructions{asm.Mov.Imm(asm.R2, index)}, kerneltest.Count("packets", asm.R2, code)...)
	return spec
}

// fire sends a UDP packet over the loopback interface, and reports whether it arrives.
func fire(t *testing.T) bool {
	t.Helper()
	to, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	// What egress drops is an error of the sender's.
	_, err = to.WriteTo([]byte("x"), to.LocalAddr())
	if err != nil && !errors.Is(err, unix.ENOBUFS) {
		t.Fatal(err)
	}
	// Packets of the loopback interface arrive before the call returns, but for those that
	// its thread handles.
	if err := to.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, _, err = to.ReadFrom(make([]byte, 1))
	return err == nil
}

// seen returns how many packets each of the programs has counted, and forgets them.
func seen(t *testing.T, o *testPrograms, n int) []uint64 {
	t.Helper()
	counts := make([]uint64, n)
	for i := range counts {
		if err := o.m.Lookup(uint32(i), &counts[i]); err != nil {
			t.Fatal(err)
		}
		if err := o.m.Put(uint32(i), uint64(0)); err != nil {
			t.Fatal(err)
		}
	}
	return counts
}

const ingress, egress = ebpf.AttachTCXIngress, ebpf.AttachTCXEgress

// tc attaches program i to an interface.
func (o *testPrograms) tc(i, ifindex int, direction ebpf.AttachType, opts TCOptions) (link.Link, error) {
	return o.add(TC(o.progs[i], ifindex, direction, opts))
}

// attachTC attaches program i to the loopback interface, which must work.
func attachTC(t *testing.T, o *testPrograms, i int, direction ebpf.AttachType, opts TCOptions) link.Link {
	t.Helper()
	l, err := o.tc(i, 1, direction, opts)
	if errors.Is(err, unix.ENOPROTOOPT) {
		t.Skipf("needs a kernel with clsact and filters of kind bpf: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// filters returns the names of the filters of the loopback interface.
func filters(t *testing.T, egress bool) []string {
	t.Helper()
	list, err := tc.List(1, egress)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		if e.Handle != 0 {
			names = append(names, e.Name)
		}
	}
	return names
}

func programID(t *testing.T, p *ebpf.Program) ebpf.ProgramID {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, ok := info.ID()
	if !ok {
		t.Fatal("programs have no IDs")
	}
	return id
}

// The table of AttachTC: what codes mean to TCX and to clsact.
func TestCodesOfTC(t *testing.T) {
	inNetNS(t)
	codes := []struct {
		code                 int32
		pass                 bool
		second               bool // runs in the mode of clsact
		tcxPass, tcxToClsact bool
	}{
		{-1, true, true, true, true},
		{0, true, false, true, false},   // TC_ACT_OK
		{1, true, true, true, true},     // TC_ACT_RECLASSIFY
		{2, false, false, false, false}, // TC_ACT_SHOT
		{3, true, true, true, true},     // TC_ACT_PIPE
		{4, false, false, true, true},   // TC_ACT_STOLEN
		{5, true, true, true, true},     // TC_ACT_QUEUED
		{6, true, true, true, true},     // TC_ACT_REPEAT
		{8, false, false, true, true},   // TC_ACT_TRAP
		{99, true, true, true, true},
	}
	for _, c := range codes {
		o := load(t, packets(), newTC("first", 0, c.code), newTC("second", 1, -1), newTC("third", 2, -1))
		attachTC(t, o, 0, ingress, TCOptions{Mode: TCClsact, Priority: 1})
		attachTC(t, o, 1, ingress, TCOptions{Mode: TCClsact, Priority: 2})
		if pass := fire(t); pass != c.pass {
			t.Errorf("clsact, code %d: passes: %t, want %t", c.code, pass, c.pass)
		}
		want := []uint64{1, 0}
		if c.second {
			want[1] = 1
		}
		if have := seen(t, o, 2); !slices.Equal(have, want) {
			t.Errorf("clsact, code %d: programs have seen %v, want %v", c.code, have, want)
		}
		o.detach(t)
		if sys.OlderThan("6.6") {
			continue
		}
		attachTC(t, o, 0, ingress, TCOptions{Mode: TCX})
		attachTC(t, o, 1, ingress, TCOptions{Mode: TCX})
		attachTC(t, o, 2, ingress, TCOptions{Mode: TCClsact})
		if pass := fire(t); pass != c.tcxPass {
			t.Errorf("TCX, code %d: passes: %t, want %t", c.code, pass, c.tcxPass)
		}
		want = []uint64{1, 0, 0}
		if c.code == -1 {
			want[1] = 1
		}
		if c.tcxToClsact {
			want[2] = 1
		}
		if have := seen(t, o, 3); !slices.Equal(have, want) {
			t.Errorf("TCX, code %d: programs have seen %v, want %v", c.code, have, want)
		}
		o.detach(t)
	}
}

// A program is attached by what the kernel has, in both directions.
func TestTCAuto(t *testing.T) {
	inNetNS(t)
	o := load(t, packets(), newTC("out", 0, -1), newTC("in", 1, -1))
	out := attachTC(t, o, 0, egress, TCOptions{})
	in := attachTC(t, o, 1, ingress, TCOptions{Position: Position{Before: &Anchor{}}, Priority: 7})
	for _, l := range []link.Link{out, in} {
		if byFilter := filterOf(l) != nil; byFilter != sys.OlderThan("6.6") {
			t.Errorf("attached by a filter: %t", byFilter)
		}
	}
	if !fire(t) {
		t.Error("the packet has not arrived")
	}
	if have := seen(t, o, 2); !slices.Equal(have, []uint64{1, 1}) {
		t.Errorf("programs have seen %v packets", have)
	}
	if !sys.OlderThan("6.6") {
		// The kernel's answer is the same for what it does not take.
		defer sys.SetFault(func(cmd sys.Cmd) error {
			if cmd == sys.LinkCreateCmd {
				return unix.EINVAL
			}
			return nil
		})()
		_, err := o.tc(0, 1, ingress, TCOptions{})
		if !errors.Is(err, unix.EINVAL) || len(filters(t, false)) > 0 {
			t.Errorf("%v, filters %v", err, filters(t, false))
		}
		return
	}
	for text, o2 := range map[string]TCOptions{
		"needs a kernel of version 6.6":            {Mode: TCX},
		"option ExpectedRevision needs TCX":        {Position: Position{ExpectedRevision: 1}},
		"give Priority for the position among the": {Position: Position{After: &Anchor{}}},
	} {
		_, err := o.tc(0, 1, ingress, o2)
		kerneltest.WantError(t, err, text)
		if !errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("%v, want %v", err, ebpf.ErrNotSupported)
		}
	}
}

// What stands for a link of clsact.
func TestClsact(t *testing.T) {
	inNetNS(t)
	o := load(t, packets(), newTC("first", 0, -1), newTC("second", 1, -1))
	q := o.progs[1].Program
	l := attachTC(t, o, 0, ingress, TCOptions{Mode: TCClsact})
	if have := filters(t, false); !slices.Equal(have, []string{"rules_bpf/test/first"}) {
		t.Errorf("filters are %q", have)
	}
	_, err := l.Info()
	for op, err := range map[string]error{"info of": err, "pin": l.Pin(filepath.Join(t.TempDir(), "l")), "unpin": l.Unpin()} {
		kerneltest.WantError(t, err, op+" a filter of clsact: the kernel has no link for it")
		if !errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("%v, want %v", err, ebpf.ErrNotSupported)
		}
	}
	if err := l.Update(q); err != nil {
		t.Fatal(err)
	}
	fire(t)
	if have := seen(t, o, 2); !slices.Equal(have, []uint64{0, 1}) {
		t.Errorf("after Update, programs have seen %v packets", have)
	}
	second, err := o.tc(0, 1, ingress, TCOptions{Position: Position{Replace: l}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	kerneltest.WantError(t, l.Update(q), "it is closed")
	fire(t)
	if have := seen(t, o, 2); !slices.Equal(have, []uint64{1, 0}) {
		t.Errorf("after Replace, programs have seen %v packets", have)
	}
	for text, opts := range map[string]TCOptions{
		"option Mode is 7":                            {Mode: 7},
		"options Before and After need TCX":           {Mode: TCClsact, Position: Position{Before: &Anchor{}}, Priority: 1},
		"option ExpectedRevision needs TCX":           {Mode: TCClsact, Position: Position{ExpectedRevision: 1}},
		"Priority and Handle are for clsact":          {Mode: TCX, Handle: 1},
		"it excludes Priority and Handle":             {Position: Position{Replace: second}, Priority: 1},
		"it excludes Before":                          {Position: Position{Replace: second, Before: &Anchor{}}},
		"it is a link of clsact, and option":          {Position: Position{Replace: second}, Mode: TCX},
		"option Replace: it is closed":                {Position: Position{Replace: l}},
		"of a process that is running: file exists: ": {Mode: TCClsact},
	} {
		_, err := o.tc(0, 1, ingress, opts)
		kerneltest.WantError(t, err, text)
	}
	_, err = o.tc(0, 1, egress, TCOptions{Position: Position{Replace: second}})
	kerneltest.WantError(t, err, "it is a link of another target")
	if _, err := o.tc(0, 1, ingress, TCOptions{Mode: TCClsact, Handle: 7}); err != nil {
		t.Fatal(err)
	}
	if have := filters(t, false); len(have) != 2 {
		t.Errorf("filters are %q, want two", have)
	}
	o.detach(t)
	if have := filters(t, false); len(have) > 0 {
		t.Errorf("after it is detached, filters are %q", have)
	}
	if kind, err := kerneltest.QdiscKind(1); err != nil || kind != "" {
		t.Errorf("after it is detached, there is a qdisc %q, %v", kind, err)
	}
}

// A filter that a process has left is replaced; one of somebody else is named.
func TestClsactLeft(t *testing.T) {
	inNetNS(t)
	o := load(t, packets(), newTC("first", 0, -1), newTC("second", 1, 2))
	attachTC(t, o, 0, ingress, TCOptions{Mode: TCClsact}).Close() // skips where it must
	leave := func(name string) {
		t.Helper()
		if err := kerneltest.AddQdisc(1, "clsact"); err != nil && !errors.Is(err, unix.EEXIST) {
			t.Fatal(err)
		}
		left := kerneltest.Filter{Kind: "bpf", Priority: tc.DefaultPriority, Handle: tc.DefaultHandle("rules_bpf/test/first"), Name: name}
		if err := kerneltest.ReplaceFilter(1, kerneltest.Ingress, left, o.progs[1].FD()); err != nil {
			t.Fatal(err)
		}
	}
	leave("a filter of others")
	_, err := o.tc(0, 1, ingress, TCOptions{Mode: TCClsact})
	kerneltest.WantError(t, err, `"a filter of others", program `+fmt.Sprint(programID(t, o.progs[1].Program)), "choose another Priority or Handle")
	if !errors.Is(err, unix.EEXIST) {
		t.Errorf("%v, want %v", err, unix.EEXIST)
	}
	leave("rules_bpf/test/first")
	if fire(t) {
		t.Error("the filter that was left is to drop packets")
	}
	l := attachTC(t, o, 0, ingress, TCOptions{Mode: TCClsact})
	if !fire(t) {
		t.Error("the filter that was left still drops packets")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if have := filters(t, false); len(have) > 0 {
		t.Errorf("filters are %q", have)
	}
}

// An interface that vanishes takes its filters along.
func TestClsactInterfaceGone(t *testing.T) {
	ns := bpftest.NewNetNS(t)
	a, _ := ns.NewVeth(t, "a", ns, "b")
	ns.Enter(t)
	o := load(t, packets(), newTC("first", 0, -1))
	_, err := o.tc(0, a.Index, ingress, TCOptions{Mode: TCClsact})
	if errors.Is(err, unix.ENOPROTOOPT) {
		t.Skipf("needs a kernel with clsact and filters of kind bpf: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := kerneltest.DeleteLink(a.Index); err != nil {
		t.Fatal(err)
	}
	o.detach(t)
	_, err = o.tc(0, a.Index, ingress, TCOptions{Mode: TCClsact})
	kerneltest.WantError(t, err, "there is no network interface with the index")
}

// A filter outlives neither the descriptors of the process nor anything else of it.
func TestClsactLeavesNothingOpen(t *testing.T) {
	inNetNS(t)
	o := load(t, packets(), newTC("first", 0, -1))
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	cycle := func() {
		if err := attachTC(t, o, 0, ingress, TCOptions{Mode: TCClsact}).Close(); err != nil {
			t.Fatal(err)
		}
		_, _ = o.tc(0, 99999, ingress, TCOptions{Mode: TCClsact})
	}
	cycle()
	before := open()
	for range 10 {
		cycle()
	}
	if after := open(); after != before {
		t.Errorf("%d descriptors are open, before %d", after, before)
	}
}
