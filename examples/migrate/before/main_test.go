package main

import (
	"context"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

func TestRun(t *testing.T) {
	bpftest.NeedsTracefs(t)
	child := bpftest.Executable(t, "migrated")
	// Printed when the program is attached.
	heading := regexp.MustCompile(`COMM\n`)
	seen := regexp.MustCompile(`(?m) migrated$`)
	for _, tc := range []struct {
		uid  int64
		want bool
	}{
		{-1, true},
		{int64(os.Getuid()), true},
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
			t.Errorf("uid %d: the program is seen: %v, want %v:\n%s", tc.uid, got, tc.want, out.String())
		}
		counted := regexp.MustCompile(`(?m)^user \d+: [1-9]`).MatchString(out.String())
		if counted != tc.want {
			t.Errorf("uid %d: programs are counted: %v, want %v:\n%s", tc.uid, counted, tc.want, out.String())
		}
	}
}
