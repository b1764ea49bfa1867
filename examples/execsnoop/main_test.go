package main

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

func TestRun(t *testing.T) {
	bpftest.NeedsBPF(t)
	child := bpftest.Executable(t, "child")
	// Printed when the program is attached.
	heading := regexp.MustCompile(`FILE\n`)
	seen := regexp.MustCompile(`(?m) child +` + regexp.QuoteMeta(child) + `$`)
	for _, tc := range []struct {
		uid  int64
		want bool
	}{
		{-1, true},
		{0, true},
		{54321, false},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var out bpftest.Buffer
		go func() {
			defer cancel()
			out.WaitFor(ctx, heading)
			bpftest.Run(t, child)
			if tc.want {
				out.WaitFor(ctx, seen)
			} else {
				time.Sleep(200 * time.Millisecond)
			}
		}()
		if err := run(ctx, &out, tc.uid); err != nil {
			t.Fatal(err)
		}
		if got := seen.MatchString(out.String()); got != tc.want {
			t.Errorf("uid %d: %s seen: %v, want %v:\n%s", tc.uid, child, got, tc.want, out.String())
		}
	}
}
