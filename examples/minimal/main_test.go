package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/minimal/counters"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

func TestCounters(t *testing.T) {
	skel := bpftest.Load(t, counters.Open)
	if got := atomic.LoadUint64(&skel.Bss.Execs); got != 0 {
		t.Errorf("%d execs before Attach", got)
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}

	const n = 5
	child := bpftest.Executable(t, "child")
	for range n {
		bpftest.Run(t, child)
	}
	// Other processes of the machine are counted too.
	if got := atomic.LoadUint64(&skel.Bss.Execs); got < n {
		t.Errorf("%d execs after %d", got, n)
	}
	if got := atomic.LoadUint64(&skel.Bss.Forks); got < n {
		t.Errorf("%d forks after %d", got, n)
	}
	if atomic.LoadUint64(&skel.Bss.Switches) == 0 {
		t.Error("no task switch seen")
	}
	if skel.Bss.LastExec.Pid == 0 || skel.Bss.LastExec.Comm[0] == 0 {
		t.Errorf("last exec: %+v", skel.Bss.LastExec)
	}
}

func TestRun(t *testing.T) {
	bpftest.NeedsBPF(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bpftest.Buffer
	go func() {
		out.WaitFor(ctx, regexp.MustCompile(`(.*\n){4}`))
		cancel()
	}()
	if err := run(ctx, &out, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 3 {
		t.Fatalf("printed %d lines:\n%s", len(lines), out.String())
	}
	first, last := strings.Fields(lines[1])[0], strings.Fields(lines[len(lines)-1])[0]
	if first == last {
		t.Errorf("the counter of switches stands still at %s (pid %d):\n%s", first, os.Getpid(), out.String())
	}
}
