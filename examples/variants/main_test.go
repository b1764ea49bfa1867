package main

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/variants/execs"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// Both variants load where there are ring buffers.
func TestRun(t *testing.T) {
	child := bpftest.Executable(t, "child")
	heading := regexp.MustCompile(`CGROUP\n`)
	seen := regexp.MustCompile(`(?m)^ *\d+ +0 child +\d+$`)
	for _, v := range execs.Variants() {
		t.Run(v.String(), func(t *testing.T) {
			bpftest.NeedsBPF(t)
			if v == execs.Ringbuf {
				bpftest.NeedsKernel(t, 5, 8, "ring buffers")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var out bpftest.Buffer
			go func() {
				defer cancel()
				out.WaitFor(ctx, heading)
				bpftest.Run(t, child)
				out.WaitFor(ctx, seen)
			}()
			if err := run(ctx, &out, v); err != nil {
				t.Fatal(err)
			}
			if !seen.MatchString(out.String()) {
				t.Errorf("the child is not in\n%s", out.String())
			}
		})
	}
}

// The kernel chooses.
func TestLoadFirst(t *testing.T) {
	skel := bpftest.Open(t, func() (*execs.Skeleton, error) {
		return skeleton.LoadFirst(execs.Open, execs.Ringbuf, execs.Perf)
	})
	if (skel.Maps.EventsRingbuf == nil) == (skel.Maps.EventsPerf == nil) {
		t.Error("has both maps, or none")
	}
	if (skel.Maps.EventsRingbuf == nil) != (skel.Bss.Lost == nil) {
		t.Error("has the counter of another variant")
	}
}
