package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

func TestRun(t *testing.T) {
	bpftest.NeedsBPF(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// This very process is the parent.
	want := regexp.MustCompile(fmt.Sprintf(`(?m)^child \(pid \d+\), started by .* \(pid %d\) `, os.Getpid()))
	var out bpftest.Buffer
	child := bpftest.Executable(t, "child")
	var children sync.WaitGroup
	defer children.Wait()
	children.Go(func() {
		for ctx.Err() == nil {
			bpftest.Run(t, child)
			time.Sleep(20 * time.Millisecond)
		}
	})
	go func() {
		out.WaitFor(ctx, want)
		cancel()
	}()
	err := run(ctx, &out, 10*time.Millisecond)
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	if !want.MatchString(out.String()) {
		t.Errorf("no exec of child with parent %d in\n%s", os.Getpid(), out.String())
	}
}
