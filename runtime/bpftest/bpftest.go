// Package bpftest helps tests of programs that use BPF.
//
// Each function asks for one thing that a test needs and sets it up where that is possible.
// Where it is not, it skips the test: without the rights, on an older kernel, on a system that
// is not Linux. What it has set up is undone when the test ends. The reason of a skip begins
// with "needs", so that the skips of a machine that lacks something differ from others in
// what go test -v prints:
//
//	func TestCounters(t *testing.T) {
//		skel := bpftest.Load(t, counters.Open)
//		if err := skel.Attach(); err != nil {
//			t.Fatal(err)
//		}
//		bpftest.Run(t, bpftest.Executable(t, "child"))
//		if skel.Bss.Execs == 0 {
//			t.Error("the child was not counted")
//		}
//	}
//
// Package bpftest/fake is for tests that need neither a kernel nor rights: it keeps maps in
// memory behind the handles of package skeleton.
package bpftest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/rlimit"
)

// NeedsBPF skips t unless this process may create BPF maps, as root and processes with CAP_BPF
// may. On kernels before 5.11, which account maps to RLIMIT_MEMLOCK, it raises that limit, for
// good.
func NeedsBPF(t testing.TB) {
	t.Helper()
	// Where raising it is not allowed, creating the map fails with the reason.
	_ = rlimit.RemoveMemlock()
	switch err := createMap(); {
	case errors.Is(err, errNotLinux):
		t.Skipf("needs Linux: %v", err)
	case errors.Is(err, syscall.EPERM):
		t.Skipf("needs the right to use BPF (uid is %d, want 0): %v", os.Getuid(), err)
	case err != nil:
		t.Fatalf("create a BPF map: %v", err)
	}
}

// NeedsKernel skips t unless the kernel is at least Linux major.minor, which brought what t
// needs:
//
//	bpftest.NeedsKernel(t, 6, 6, "TCX")
func NeedsKernel(t testing.TB, major, minor uint32, what string) {
	t.Helper()
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Skipf("needs Linux: %v", err)
	}
	if version < major<<16|minor<<8 {
		t.Skipf("needs a kernel with %s (%d.%d)", what, major, minor)
	}
}

// SkipIfRefused skips t when err, with which loading or attaching a program of this kind has
// failed, shows that the kernel refuses the kind even to root, as hardened kernels do for
// fentry, fexit and lsm.
func SkipIfRefused(t testing.TB, kind string, err error) {
	t.Helper()
	if errors.Is(err, syscall.EPERM) && os.Getuid() == 0 {
		t.Skipf("needs a kernel that lets root attach %s: %v", kind, err)
	}
}

// Open is [NeedsBPF] for tests that open a skeleton: it returns what open does, the Open
// function of the skeleton's package. The skeleton is closed when t ends.
func Open[S interface{ Close() error }](t testing.TB, open func() (S, error)) S {
	t.Helper()
	NeedsBPF(t)
	skel, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := skel.Close(); err != nil {
			t.Error(err)
		}
	})
	return skel
}

// Load is [Open] for tests that load the skeleton as it is.
func Load[S interface {
	Load() error
	Close() error
}](t testing.TB, open func() (S, error)) S {
	t.Helper()
	skel := Open(t, open)
	if err := skel.Load(); err != nil {
		t.Fatalf("%+v", err)
	}
	return skel
}

// NeedsKprobes is [NeedsBPF] for tests that attach kprobes and kretprobes.
func NeedsKprobes(t testing.TB) {
	t.Helper()
	NeedsBPF(t)
	if _, err := os.Stat("/sys/bus/event_source/devices/kprobe"); err != nil {
		t.Skipf("needs a kernel with CONFIG_KPROBE_EVENTS: %v", err)
	}
}

// NeedsTracefs is [NeedsBPF] for tests that attach to tracepoints with package link of
// cilium/ebpf, which finds tracefs only where it is mounted: it mounts tracefs on
// /sys/kernel/tracing, for good. Skeletons need no mount.
func NeedsTracefs(t testing.TB) {
	t.Helper()
	NeedsBPF(t)
	needsMount(t, "tracefs", "/sys/kernel/tracing", 0x74726163)
}

// NeedsBPFFS is [NeedsBPF] for tests that pin: it mounts bpffs on /sys/fs/bpf, for good.
// [PinDir] is for tests that may choose where they pin.
func NeedsBPFFS(t testing.TB) {
	t.Helper()
	NeedsBPF(t)
	needsMount(t, "bpf", "/sys/fs/bpf", 0xcafe4a11)
}

// PinDir is [NeedsBPFFS] that returns a new directory for pins, which is removed when t ends,
// with all pins in it. It is what the field PinRoot of skeleton.LoadOptions takes.
func PinDir(t testing.TB) string {
	t.Helper()
	NeedsBPFFS(t)
	// The kernel allows no dots in names of a bpffs.
	dir, err := os.MkdirTemp("/sys/fs/bpf", "bpftest-")
	if err != nil {
		t.Skipf("needs the right to pin: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// needsMount mounts a file system that is mounted on most systems at boot, and leaves it
// mounted: other tests may be using it by the time t ends.
func needsMount(t testing.TB, fstype, dir string, magic uint32) {
	t.Helper()
	if mounted(dir, magic) {
		return
	}
	err := mount(fstype, dir)
	// EBUSY: another test was faster.
	if err != nil && !mounted(dir, magic) {
		t.Skipf("needs %s on %s, which is not mounted and cannot be: %v", fstype, dir, err)
	}
}

// NewCgroup is [NeedsBPF] that returns the directory of a new cgroup (version 2) without
// processes, which is removed when t ends.
func NewCgroup(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(CgroupRoot(t), "bpftest")
	if err != nil {
		t.Skipf("needs the right to make cgroups: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// CgroupRoot is [NeedsBPF] that returns where the hierarchy of cgroups (version 2) is mounted.
// Where it is not, CgroupRoot mounts it until t ends.
func CgroupRoot(t testing.TB) string {
	t.Helper()
	NeedsBPF(t)
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return filepath.Clean(f[1])
		}
	}
	dir := t.TempDir()
	if err := mount("cgroup2", dir); err != nil {
		t.Skipf("needs cgroup2, which is not mounted and cannot be: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
