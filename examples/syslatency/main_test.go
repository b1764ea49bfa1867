package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/syslatency/latency"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

func TestRun(t *testing.T) {
	bpftest.NeedsBPF(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const sleeps, sleep = 50, 2 * time.Millisecond
	var out bpftest.Buffer
	go func() {
		defer cancel()
		out.WaitFor(ctx, regexp.MustCompile("measuring"))
		for range sleeps {
			ts := syscall.NsecToTimespec(int64(sleep))
			_ = syscall.Nanosleep(&ts, nil)
		}
	}()
	if err := run(ctx, &out, uint32(os.Getpid())); err != nil {
		t.Fatal(err)
	}
	// Slots that begin with half of the time that each call slept, or more: a busy
	// machine lets it sleep for longer.
	long := 0
	for _, row := range regexp.MustCompile(`(?m)^ *([\d.µmns]+)-\S+ +(\d+) `).FindAllStringSubmatch(out.String(), -1) {
		n, err := strconv.Atoi(row[2])
		if err != nil {
			t.Fatal(err)
		}
		if from, err := time.ParseDuration(row[1]); err != nil || from >= sleep/2 {
			long += n
		}
	}
	if long < sleeps || !strings.Contains(out.String(), " on average") {
		t.Errorf("%d calls of %v and more, want %d; printed\n%s", long, sleep/2, sleeps, out.String())
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
