package main

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
)

func TestRun(t *testing.T) {
	kerneltest.Tracefs(t)
	for _, tc := range []struct {
		uid  int64
		want bool
	}{
		{-1, true},
		{0, true},
		{54321, false},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			for ctx.Err() == nil {
				_ = exec.Command("/bin/true", "execsnoop").Run()
				time.Sleep(20 * time.Millisecond)
			}
		}()
		var out bytes.Buffer
		if err := run(ctx, &out, tc.uid); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		seen := false
		for _, line := range lines[1:] {
			f := strings.Fields(line)
			seen = seen || len(f) == 5 && f[3] == "true" && f[4] == "/bin/true"
		}
		if seen != tc.want {
			t.Errorf("uid %d: /bin/true seen: %v, want %v:\n%s", tc.uid, seen, tc.want, out.String())
		}
	}
}
