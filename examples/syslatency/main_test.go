package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/syslatency/latency"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
)

func TestRun(t *testing.T) {
	kerneltest.Tracefs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	go func() {
		// Half of the calls take at least a millisecond.
		for ctx.Err() == nil {
			syscall.Getppid()
			ts := syscall.NsecToTimespec(1_000_000)
			_ = syscall.Nanosleep(&ts, nil)
		}
	}()
	var out bytes.Buffer
	if err := run(ctx, &out, uint32(os.Getpid())); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "1.048576ms-2.097152ms") || !strings.Contains(out.String(), " on average") {
		t.Errorf("printed\n%s", out.String())
	}
}

func TestSum(t *testing.T) {
	a := latency.Histogram{Calls: 2, TotalNs: 30}
	a.Slots[3], a.Slots[4] = 1, 1
	b := latency.Histogram{Calls: 1, TotalNs: 9}
	b.Slots[3] = 1
	got := sum([]latency.Histogram{a, b})
	if got.Calls != 3 || got.TotalNs != 39 || got.Slots[3] != 2 || got.Slots[4] != 1 {
		t.Errorf("%+v", got)
	}
}

func TestDraw(t *testing.T) {
	var h latency.Histogram
	var out bytes.Buffer
	draw(&out, h)
	if out.String() != "no system call was seen\n" {
		t.Errorf("empty histogram: %q", out.String())
	}
	h.Calls, h.TotalNs = 101, 101*300
	h.Slots[8], h.Slots[10] = 100, 1
	out.Reset()
	draw(&out, h)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 || strings.Count(lines[1], "#") != barWidth || strings.Count(lines[2], "#") != 0 || strings.Count(lines[3], "#") != 1 {
		t.Errorf("printed\n%s", out.String())
	}
}
