package kernelfs_test

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
)

// mounts returns the process's mounts, a line each.
func mounts(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// In a mount namespace of its own the test finds tracefs at no place, then at each.
func TestTracefs(t *testing.T) {
	if !kerneltest.Again(t, &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}) {
		return
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil && !errors.Is(err, unix.EINVAL) {
		t.Fatal(err)
	}
	for _, line := range slices.Backward(mounts(t)) {
		if strings.Contains(line, " - tracefs ") || strings.Contains(line, " - debugfs ") {
			if err := unix.Unmount(strings.Fields(line)[4], unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := mounts(t)
	const file = "available_events"
	read := func() error {
		data, err := kernelfs.Tracefs.ReadFile(file)
		if err == nil && !strings.Contains(string(data), ":") {
			err = errors.New("is not what it should be")
		}
		return err
	}

	// Without the right to mount it, the error says what to mount, and is not remembered.
	err := kerneltest.AsUser(t, read)
	if err == nil || !strings.Contains(err.Error(), "`mount -t tracefs tracefs /sys/kernel/tracing`") || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("without the right to mount: %v", err)
	}
	if err := read(); err != nil {
		t.Fatalf("not mounted: %v", err)
	}
	fds := len(kerneltest.FDs(t))
	if err := read(); err != nil {
		t.Fatalf("not mounted, again: %v", err)
	}
	if after := len(kerneltest.FDs(t)); after != fds {
		t.Errorf("%d descriptors, then %d", fds, after)
	}
	if after := mounts(t); !slices.Equal(before, after) {
		t.Errorf("a mount is visible: %q, then %q", before, after)
	}
	if _, err := kernelfs.Tracefs.Open("no/such/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want %v", err, fs.ErrNotExist)
	}

	// A place that a container may have, which others may look into, and the usual one.
	for _, dir := range []string{"/sys/kernel/debug", "/sys/kernel/tracing"} {
		if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
			t.Fatal(err)
		}
		f, err := kernelfs.Tracefs.Open(file)
		if err != nil {
			t.Fatalf("mounted at %s: %v", dir, err)
		}
		if want := dir + "/" + file; f.Name() != want {
			t.Errorf("opened %s, want %s", f.Name(), want)
		}
		f.Close()
		err = kerneltest.AsUser(t, read)
		if err == nil || !strings.Contains(err.Error(), "may not read "+dir) || !strings.Contains(err.Error(), "`mount -o remount,gid=GROUP,mode=750 "+dir+"`") {
			t.Errorf("mounted at %s, without the right to read: %v", dir, err)
		}
		// Nothing keeps the administrator from unmounting it.
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	}
}

func TestIsBPFFS(t *testing.T) {
	dir := bpftest.PinDir(t)
	for path, want := range map[string]bool{dir: true, "/proc": false, t.TempDir(): false} {
		if is, err := kernelfs.IsBPFFS(path); is != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", path, is, err, want)
		}
	}
	if _, err := kernelfs.IsBPFFS(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want %v", err, fs.ErrNotExist)
	}
}

func TestSecurityfs(t *testing.T) {
	bpftest.NeedsBPF(t)
	data, err := kernelfs.Securityfs.ReadFile("lsm")
	if err != nil || !strings.Contains(string(data), "capability") {
		t.Errorf("%q, %v", data, err)
	}
}
