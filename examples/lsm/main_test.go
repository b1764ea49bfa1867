package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

const user = 12345

// openAs opens a file with the rights of root in the name of a user.
func openAs(t *testing.T, uid int, path string) error {
	t.Helper()
	return bpftest.OnThread(func() error {
		// The system call itself: package syscall changes all threads.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), ^uintptr(0), ^uintptr(0)); errno != 0 {
			return fmt.Errorf("setresuid: %w", errno)
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	})
}

func TestRun(t *testing.T) {
	bpftest.NeedsBPF(t)
	dir := t.TempDir()
	directory := filepath.Join(dir, "private")
	if err := os.MkdirAll(filepath.Join(directory, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	inside, outside := filepath.Join(directory, "a", "b", "inside"), filepath.Join(dir, "outside")
	for _, path := range []string{inside, outside} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bpftest.Buffer
	failed := make(chan error, 1)
	started, stop := context.WithCancel(ctx)
	go func() {
		defer stop()
		failed <- run(ctx, &out, directory, user, 10*time.Millisecond)
	}()
	// Printed once the policy is in force.
	out.WaitFor(started, regexp.MustCompile("cannot open"))

	select {
	case err := <-failed:
		bpftest.SkipIfRefused(t, "lsm", err)
		if errors.Is(err, ebpf.ErrNotSupported) {
			t.Skipf("needs the security module bpf: %v", err)
		}
		t.Fatal(err)
	default:
	}
	for _, tc := range []struct {
		uid  int
		path string
		want error
	}{
		{user, inside, unix.EACCES},
		{user, directory, unix.EACCES},
		{user, outside, nil},
		{user, dir, nil},
		{user + 1, inside, nil},
		{0, inside, nil},
	} {
		if err := openAs(t, tc.uid, tc.path); !errors.Is(err, tc.want) {
			t.Errorf("user %d opens %s: %v, want %v", tc.uid, tc.path, err, tc.want)
		}
	}
	out.WaitFor(ctx, regexp.MustCompile("denied 2 times, last to "))
	if ctx.Err() != nil {
		t.Errorf("printed\n%s", out.String())
	}
	cancel()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if err := openAs(t, user, inside); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

func TestNoDirectory(t *testing.T) {
	err := run(t.Context(), io.Discard, "/no/such/directory", user, time.Second)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/no/such/directory") {
		t.Errorf("got %v", err)
	}
}
