package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/examples/funclatency/latency"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// measure measures a function while this process reads a file all the time.
func measure(t *testing.T, function string, pid uint32) (string, error) {
	t.Helper()
	bpftest.NeedsBPF(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if _, err := os.ReadFile("/proc/self/stat"); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	var out bytes.Buffer
	err := run(ctx, &out, function, pid, time.Second)
	cancel()
	<-done
	bpftest.SkipIfRefused(t, "fentry", err)
	return out.String(), err
}

func TestRun(t *testing.T) {
	out, err := measure(t, "vfs_read", uint32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	// The process, its number, some calls, and times that are not zero.
	want := fmt.Sprintf(`(?m)\A.*LONGEST\n\S+ +%d +[1-9]\d* +[1-9]\S*s +[1-9]\S*s\n\z`, os.Getpid())
	if !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("printed\n%s", out)
	}
}

func TestOtherProcess(t *testing.T) {
	// No process has this number.
	out, err := measure(t, "vfs_read", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if out != "no call of vfs_read was seen\n" {
		t.Errorf("printed\n%s", out)
	}
}

func TestNoSuchFunction(t *testing.T) {
	_, err := measure(t, "no_such_function", 0)
	if !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, fs.ErrNotExist) || !regexp.MustCompile("no_such_function").MatchString(err.Error()) {
		t.Errorf("got %v", err)
	}
}

func TestSum(t *testing.T) {
	got := sum([]latency.Process{
		{Calls: 1, TotalNs: 5, MaxNs: 5},
		{Comm: [16]byte{'g', 'o'}, Calls: 2, TotalNs: 30, MaxNs: 20},
	})
	if want := (latency.Process{Comm: [16]byte{'g', 'o'}, Calls: 3, TotalNs: 35, MaxNs: 20}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestShow(t *testing.T) {
	var out bytes.Buffer
	show(&out, "f", []process{
		{7, latency.Process{Comm: [16]byte{'a'}, Calls: 2, TotalNs: 3000, MaxNs: 2000}},
		{8, latency.Process{Comm: [16]byte{'b'}, Calls: 1, TotalNs: 9000, MaxNs: 9000}},
	})
	want := `PROCESS                 PID      CALLS      AVERAGE      LONGEST
b                         8          1          9µs          9µs
a                         7          2        1.5µs          2µs
`
	if out.String() != want {
		t.Errorf("printed\n%s", out.String())
	}
}
