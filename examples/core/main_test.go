package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
)

func TestRun(t *testing.T) {
	kerneltest.BPF(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			_ = exec.Command("/bin/true").Run()
			time.Sleep(20 * time.Millisecond)
		}
	}()
	var out bytes.Buffer
	if err := run(ctx, &out, 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	// This very process is the parent.
	want := fmt.Sprintf("(pid %d) ", os.Getpid())
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "true (pid ") && strings.Contains(line, want) {
			return
		}
	}
	t.Errorf("no exec of true with parent %d in\n%s", os.Getpid(), out.String())
}
