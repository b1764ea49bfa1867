package skeleton

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// Clones are loaded beside the program, with the same maps.
func TestClone(t *testing.T) {
	o := newPreparable(t)
	p := o.progs[0]
	if _, err := p.Clone(nil); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("before Prepare: %v", err)
	}
	if err := o.Prepare(); err != nil {
		t.Fatal(err)
	}
	clone, err := p.Clone(&CloneOptions{LogLevel: ebpf.LogLevelBranch})
	if err != nil {
		t.Fatal(err)
	}
	defer clone.Close()
	if clone.VerifierLog == "" || p.Program() != nil {
		t.Errorf("log %q, program %v", clone.VerifierLog, p.Program())
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if p.Program().VerifierLog != "" {
		t.Error("the program has the log level of the clone")
	}
	for _, prog := range []*ebpf.Program{clone, p.Program()} {
		if _, err := prog.Run(&ebpf.RunOptions{Data: make([]byte, 64)}); err != nil {
			t.Fatal(err)
		}
	}
	// Interface 1, the loopback interface, is what packets come from that are none.
	var sum uint64
	for i := range uint32(maxInterfaces) {
		var n uint64
		if err := o.maps[0].Map().Lookup(i, &n); err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	if sum != 2 {
		t.Errorf("counted %d runs, want 2", sum)
	}
	if _, err := p.Clone(nil); !errors.Is(err, ErrLoaded) {
		t.Errorf("after Load: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Clone(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := clone.Run(&ebpf.RunOptions{Data: make([]byte, 64)}); err != nil {
		t.Errorf("the clone after Close: %v", err)
	}
}

// A clone may have another target, and what is wrong with one is an error of its own.
func TestCloneWithTarget(t *testing.T) {
	o := newTestObject(t, nil, testSection("traced", ebpf.Tracing, "tp_btf/task_rename"), testSection("off", ebpf.XDP, "xdp"))
	defer o.Close()
	p, off := o.progs[0], o.progs[1]
	if err := off.SetAutoload(false); err != nil {
		t.Fatal(err)
	}
	if err := o.Prepare(); err != nil {
		t.Fatal(err)
	}
	clone, err := p.Clone(&CloneOptions{Function: "sched_process_exec"})
	bpftest.SkipIfRefused(t, "tp_btf", err)
	if err != nil {
		t.Fatal(err)
	}
	defer clone.Close()
	l, err := link.AttachTracing(link.TracingOptions{Program: clone, AttachType: ebpf.AttachTraceRawTp})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = p.Clone(&CloneOptions{Function: "no_such_tracepoint"})
	var missing *MissingTargetError
	if !errors.As(err, &missing) || missing.Target != "no_such_tracepoint" {
		t.Errorf("another tracepoint: %v", err)
	}
	_, err = p.Clone(&CloneOptions{Ifindex: -1})
	kerneltest.WantError(t, err, "program traced: -1 is not an index of a network device")
	_, err = off.Clone(nil)
	kerneltest.WantError(t, err, "program off: it is not to be loaded: call SetAutoload(true) before Prepare")
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if p.Target() != "task_rename" {
		t.Errorf("the program is for %s", p.Target())
	}
	if err := o.Attach(); err != nil {
		t.Fatal(err)
	}
	for l, want := range map[link.Link]string{l: "sched_process_exec", *p.link: "task_rename"} {
		info, err := l.Info()
		if err != nil {
			t.Fatal(err)
		}
		if has := info.RawTracepoint(); has == nil || has.Name != want {
			t.Errorf("the link is on %+v, want %s", has, want)
		}
	}
}

// A clone that the verifier rejects is told as a program is.
func TestRejectedClone(t *testing.T) {
	o := newTestObject(t, nil, newTestProgram("reads_beyond", readsBeyond()...))
	defer o.Close()
	if err := o.Prepare(); err != nil {
		t.Fatal(err)
	}
	_, err := o.progs[0].Clone(nil)
	var refused *VerifierError
	if !errors.As(err, &refused) || refused.Program != "reads_beyond" {
		t.Errorf("got %v", err)
	}
}
