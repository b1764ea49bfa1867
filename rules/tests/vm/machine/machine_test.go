package machine_test

import (
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"golang.org/x/sys/unix"
)

// TestMachine looks at the machine that tests find themselves in.
func TestMachine(t *testing.T) {
	if os.Getenv("IN_VM") == "" {
		t.Skip("needs a machine that QEMU boots")
	}
	if path, err := runfiles.Rlocation(os.Getenv("DATA")); err != nil {
		t.Error(err)
	} else if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), "module(") {
		t.Errorf("the data file: %q, %v", data, err)
	}
	for dir, magic := range map[string]int64{
		"/proc":               unix.PROC_SUPER_MAGIC,
		"/sys":                unix.SYSFS_MAGIC,
		"/sys/kernel/tracing": unix.TRACEFS_MAGIC,
		"/sys/kernel/debug":   unix.DEBUGFS_MAGIC,
		"/sys/fs/bpf":         unix.BPF_FS_MAGIC,
		"/sys/fs/cgroup":      unix.CGROUP2_SUPER_MAGIC,
	} {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil || int64(st.Type) != magic {
			t.Errorf("%s: has type %#x, want %#x: %v", dir, st.Type, magic, err)
		}
	}
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
	// The test is built for the cpu of its kernel.
	cpu := "amd64"
	for _, other := range []string{"arm64", "s390x"} {
		if strings.HasSuffix(os.Getenv("TEST_TARGET"), "_"+other) {
			cpu = other
		}
	}
	if runtime.GOARCH != cpu {
		t.Errorf("the test is built for %s, want %s", runtime.GOARCH, cpu)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil || limit.Cur != unix.RLIM_INFINITY {
		t.Errorf("RLIMIT_MEMLOCK is %d: %v", limit.Cur, err)
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	config, err := os.ReadFile("/boot/config-" + release)
	if err != nil || !strings.Contains(string(config), "CONFIG_BPF=y") {
		t.Errorf("the kernel's configuration: %v", err)
	}
	if !strings.Contains(string(config), "CONFIG_BPF_LSM=y") {
		// Debian's for s390x.
	} else if lsm, err := os.ReadFile("/sys/kernel/security/lsm"); err != nil || !strings.Contains(string(lsm), "bpf") {
		t.Errorf("the active security modules: %s, %v", lsm, err)
	}
	if modules, err := os.ReadFile("/proc/modules"); err != nil || !strings.Contains(string(modules), "nf_conntrack") {
		t.Errorf("the loaded modules: %s, %v", modules, err)
	}
	if cmdline, err := os.ReadFile("/proc/cmdline"); err != nil || !strings.HasSuffix(strings.TrimSpace(string(cmdline)), " bpf_test.example=1") {
		t.Errorf("the command line: %s, %v", cmdline, err)
	}
}
