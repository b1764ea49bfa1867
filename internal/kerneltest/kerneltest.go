// Package kerneltest prepares tests that load BPF programs into the running
// kernel.
//
// Each function asks for one thing that a test needs, brings it about where
// that is possible, and skips the test where it is not. The reason of a skip
// begins with "needs", which is how a run of all tests tells the skips of a
// machine that lacks something from those that hide a failure.
package kerneltest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// BPF skips t unless this process may create BPF maps.
func BPF(t testing.TB) {
	t.Helper()
	// Kernels before 5.11 account maps to RLIMIT_MEMLOCK; where raising it is
	// not allowed, creating the map says so.
	_ = rlimit.RemoveMemlock()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if errors.Is(err, unix.EPERM) {
		t.Skipf("needs the right to use BPF (uid is %d, want 0): %v", os.Getuid(), err)
	}
	if err != nil {
		t.Fatalf("create a BPF map: %v", err)
	}
	m.Close()
}

// Open is BPF for tests that open a skeleton. It is closed when t ends.
func Open[S interface{ Close() error }](t testing.TB, open func() (S, error)) S {
	t.Helper()
	BPF(t)
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

// Load is Open for tests that load the skeleton as it is.
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

// Tracefs is BPF for tests that attach to tracepoints by package link, which finds
// tracefs only where it is mounted: it mounts it as well. The runtime needs no mount.
func Tracefs(t testing.TB) {
	t.Helper()
	BPF(t)
	mount(t, "tracefs", "/sys/kernel/tracing", unix.TRACEFS_MAGIC)
}

// BPFFS is BPF for tests that pin: it mounts bpffs as well.
func BPFFS(t testing.TB) {
	t.Helper()
	BPF(t)
	mount(t, "bpf", "/sys/fs/bpf", unix.BPF_FS_MAGIC)
}

// mount mounts a file system that is mounted on most systems at boot, and
// leaves it mounted: other tests may be using it by the time t ends.
func mount(t testing.TB, fstype, dir string, magic int64) {
	t.Helper()
	mounted := func() bool {
		var st unix.Statfs_t
		return unix.Statfs(dir, &st) == nil && int64(st.Type) == magic
	}
	if mounted() {
		return
	}
	err := unix.Mount(fstype, dir, fstype, 0, "")
	// EBUSY: another test was faster.
	if err != nil && !mounted() {
		t.Skipf("needs %s on %s, which is not mounted and cannot be: %v", fstype, dir, err)
	}
}

// Cgroup returns the folder of a new cgroup, which is removed when t ends.
func Cgroup(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(Cgroup2(t), "rules_bpf_test")
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

// Kprobes is BPF for tests that attach kprobes.
func Kprobes(t testing.TB) {
	t.Helper()
	BPF(t)
	if _, err := os.Stat("/sys/bus/event_source/devices/kprobe"); err != nil {
		t.Skipf("needs a kernel with CONFIG_KPROBE_EVENTS: %v", err)
	}
}

// Cgroup2 is BPF for tests that use cgroups. It returns where the hierarchy of cgroups
// (version 2) is mounted, after mounting it until t ends where it is mounted nowhere.
func Cgroup2(t testing.TB) string {
	t.Helper()
	BPF(t)
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	dir := t.TempDir()
	if err := unix.Mount("cgroup2", dir, "cgroup2", 0, ""); err != nil {
		t.Skipf("needs cgroup2, which is not mounted and cannot be: %v", err)
	}
	t.Cleanup(func() {
		// Detached, as what is attached to a cgroup may be closed later.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Release returns the release of the running kernel, as uname -r does.
func Release(t testing.TB) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Config says whether a setting of the kernel is on. It is taken to be on where
// the kernel's configuration cannot be read.
func Config(t testing.TB, name string) bool {
	t.Helper()
	text := config(t)
	return text == "" || strings.Contains(text, "\n"+name+"=y\n") || strings.Contains(text, "\n"+name+"=m\n")
}

func config(t testing.TB) string {
	if data, err := os.ReadFile("/boot/config-" + Release(t)); err == nil {
		return string(data)
	}
	f, err := os.Open("/proc/config.gz")
	if err != nil {
		return ""
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		return ""
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return ""
	}
	return string(data)
}

// Refused skips t when err says that the kernel refuses this kind of program
// as such, as hardened kernels do for fentry and fexit.
func Refused(t testing.TB, kind string, err error) {
	t.Helper()
	if errors.Is(err, unix.EPERM) && os.Getuid() == 0 {
		t.Skipf("needs a kernel that lets root attach %s: %v", kind, err)
	}
}

// Linux skips t unless the kernel is at least this version, which brought what t
// needs.
func Linux(t testing.TB, major, minor uint32, what string) {
	t.Helper()
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	if version < major<<16|minor<<8 {
		t.Skipf("needs a kernel with %s (%d.%d)", what, major, minor)
	}
}

// Program returns the path of a program with this name that ends at once when its
// argument is "-test.run=^$". It is this test: the machines that QEMU boots have no
// other program.
func Program(t testing.TB, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Run runs a program that Program has returned, with further arguments that it
// does not look at.
func Run(t testing.TB, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, append([]string{"-test.run=^$"}, args...)...)
	// Nothing of what Bazel has for this test.
	cmd.Env = []string{"PATH="}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", path, err, out)
	}
}

// An Output takes what is printed, while others wait for it.
type Output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns what has been printed.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// WaitFor waits until what has been printed matches, or ctx ends.
func (o *Output) WaitFor(ctx context.Context, re *regexp.Regexp) {
	for ctx.Err() == nil && !re.MatchString(o.String()) {
		time.Sleep(5 * time.Millisecond)
	}
}

// MapCount returns the number of memory mappings of this process.
func MapCount(t testing.TB) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range data {
		if b == '\n' {
			n++
		}
	}
	return n
}

// FDs returns the open file descriptors of this process and what they refer to.
func FDs(t testing.TB) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	fds := make(map[string]string, len(entries))
	for _, e := range entries {
		// The descriptor that read the folder is gone by now.
		if target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%s", e.Name())); err == nil {
			fds[e.Name()] = target
		}
	}
	return fds
}
