package skeleton

import (
	"maps"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// testSection returns a program that returns 0.
func testSection(name string, typ ebpf.ProgramType, section string) *ebpf.ProgramSpec {
	ps := newTestProgram(name, asm.Mov.Imm(asm.R0, 0), asm.Return())
	ps.Type, ps.SectionName = typ, section
	return ps
}

// wantReasons compares why the programs are not attached, "" for those that are.
func wantReasons(t *testing.T, o *Object, want map[string]string) {
	t.Helper()
	got := make(map[string]string)
	for _, a := range o.Attachments() {
		got[a.Name] = a.Reason
	}
	if !maps.Equal(got, want) {
		t.Errorf("reasons are %q, want %q", got, want)
	}
}

// A failing Attach is the reason of the programs that it was to attach, and of no others.
func TestReasonsOfFailedAttach(t *testing.T) {
	o := newTestObject(t, nil,
		testSection("by_hand_first", ebpf.SocketFilter, "socket"),
		testSection("rolled_back", ebpf.RawTracepoint, "raw_tp/task_rename"),
		testSection("attached_before", ebpf.RawTracepoint, "raw_tp/task_rename"),
		testSection("culprit", ebpf.RawTracepoint, "raw_tp/no_such_tracepoint"),
		testSection("by_hand", ebpf.SocketFilter, "socket"),
		testSection("bare", ebpf.RawTracepoint, "raw_tp"),
		testSection("off", ebpf.RawTracepoint, "raw_tp/task_rename"),
		testSection("not_reached", ebpf.RawTracepoint, "raw_tp/task_rename"),
	)
	defer o.Close()
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	program := func(name string) *BaseProgram {
		for _, p := range o.progs {
			if p.name == name {
				return p
			}
		}
		t.Fatalf("there is no program %s", name)
		return nil
	}
	program("off").SetAutoattach(false)
	before := RawTracepointProgram{program("attached_before")}
	if _, err := before.AttachRawTracepoint("task_newtask", nil); err != nil {
		t.Fatal(err)
	}
	if err := o.Attach(); err == nil {
		t.Fatal("Attach to a tracepoint that does not exist succeeds")
	}
	want := map[string]string{
		"by_hand_first":   "needs a socket: call AttachSocket",
		"rolled_back":     attachFailed,
		"attached_before": "",
		"culprit":         attachFailed,
		"by_hand":         "needs a socket: call AttachSocket",
		"bare":            "SEC() names no target: call AttachRawTracepoint",
		"off":             autoattachOff,
		"not_reached":     attachFailed,
	}
	wantReasons(t, o, want)
	if err := o.Detach(); err != nil {
		t.Fatal(err)
	}
	want["attached_before"] = detached
	wantReasons(t, o, want)

	program("culprit").SetAutoattach(false)
	if err := o.Attach(); err != nil {
		t.Fatal(err)
	}
	want["culprit"] = autoattachOff
	attached := []string{"rolled_back", "attached_before", "not_reached"}
	for _, name := range attached {
		want[name] = ""
	}
	wantReasons(t, o, want)
	if err := o.Detach(); err != nil {
		t.Fatal(err)
	}
	for _, name := range attached {
		want[name] = detached
	}
	wantReasons(t, o, want)
}

// Before Attach, what it will leave alone has the reason that it will have then.
func TestReasonsBeforeAttach(t *testing.T) {
	o := newTestObject(t, nil,
		testSection("auto", ebpf.RawTracepoint, "raw_tp/task_rename"),
		testSection("off", ebpf.RawTracepoint, "raw_tp/task_rename"),
		testSection("bare", ebpf.RawTracepoint, "raw_tp"),
		testSection("interface", ebpf.XDP, "xdp"),
		testSection("one_way", ebpf.SchedCLS, "tc/ingress"),
		testSection("both_ways", ebpf.SchedCLS, "tc/mine"),
		testSection("own", ebpf.UnspecifiedProgram, "my_section"),
	)
	defer o.Close()
	if err := o.progs[6].SetType(ebpf.SocketFilter, ebpf.AttachNone); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	o.progs[1].SetAutoattach(false)
	want := map[string]string{
		"auto":      notCalled,
		"off":       autoattachOff,
		"bare":      "SEC() names no target: call AttachRawTracepoint",
		"interface": "needs a network interface: call AttachXDP",
		"one_way":   "needs a network interface: call AttachTC",
		"both_ways": "needs a network interface: call AttachTC",
		"own":       "SEC() does not say how it is attached: attach it with a function of package link, and put the link into the slot",
	}
	wantReasons(t, o, want)
	if err := o.Attach(); err != nil {
		t.Fatal(err)
	}
	want["auto"] = ""
	wantReasons(t, o, want)
}

// What was attached by hand and is not any more was detached.
func TestReasonAfterAttachByHand(t *testing.T) {
	o := newTestObject(t, nil, testSection("bare", ebpf.RawTracepoint, "raw_tp"))
	defer o.Close()
	p := RawTracepointProgram{o.progs[0]}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	wantReasons(t, o, map[string]string{"bare": "SEC() names no target: call AttachRawTracepoint"})
	if _, err := p.AttachRawTracepoint("task_rename", nil); err != nil {
		t.Fatal(err)
	}
	wantReasons(t, o, map[string]string{"bare": ""})
	if err := o.Detach(); err != nil {
		t.Fatal(err)
	}
	wantReasons(t, o, map[string]string{"bare": detached})
}

// A program that no struct_ops map has is not in the kernel.
func TestUnusedStructOpsProgram(t *testing.T) {
	o := newTestObject(t, nil, testSection("unused", ebpf.StructOps, "struct_ops/init"))
	defer o.Close()
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if a := o.Attachments()[0]; a.State != NotLoaded || a.Reason != structOpsUnused {
		t.Errorf("%v, want it not loaded: %s", a, structOpsUnused)
	}
}
