//go:build linux

package kerneltest

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// nobody is a user without rights.
const nobody = 65534

// AsUser runs f as a user who is not root and has these capabilities only, on a thread
// of its own, and returns what f does. It needs root.
func AsUser(t testing.TB, f func() error, capabilities ...uint) error {
	t.Helper()
	return bpftest.OnThread(func() error {
		// The system calls themselves: package syscall changes all threads.
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			return os.NewSyscallError("prctl", err)
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, nobody, nobody, nobody); errno != 0 {
			return os.NewSyscallError("setresgid", errno)
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			return os.NewSyscallError("setresuid", errno)
		}
		if err := keepOnly(capabilities); err != nil {
			return err
		}
		return f()
	})
}

// AsRoot is AsUser for a user who is root, as in a container.
func AsRoot(t testing.TB, f func() error, capabilities ...uint) error {
	t.Helper()
	return bpftest.OnThread(func() error {
		if err := keepOnly(capabilities); err != nil {
			return err
		}
		return f()
	})
}

// keepOnly takes all other capabilities from the calling thread.
func keepOnly(capabilities []uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for _, c := range capabilities {
		data[c/32].Effective |= 1 << (c % 32)
		data[c/32].Permitted |= 1 << (c % 32)
	}
	return os.NewSyscallError("capset", unix.Capset(&header, &data[0]))
}

// againVariable has the name of the test that Again runs.
const againVariable = "RULES_BPF_AGAIN"

// again returns the command that runs the test t alone.
func again(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	// An empty environment, without Bazel's variables for this test.
	cmd.Env = []string{againVariable + "=" + t.Name(), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}
	return cmd
}

// Again is NeedsBPF for tests that change all of their process: it runs the test t alone, in
// a new process with these attributes. It reports whether this is the new process, in
// which t goes on; in the old one, t has the result and ends.
func Again(t *testing.T, attr *syscall.SysProcAttr) bool {
	t.Helper()
	if os.Getenv(againVariable) == t.Name() {
		return true
	}
	bpftest.NeedsBPF(t)
	cmd := again(t)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	t.Logf("in a process of its own:\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
	return false
}

// WithoutBTF is Again for tests of kernels without BTF: the new process has variables of its
// own and a mount namespace in which /sys/kernel/btf is empty. The test is skipped where that
// is not allowed, and where it is skipped there.
func WithoutBTF(t *testing.T, env ...string) bool {
	t.Helper()
	if os.Getenv(againVariable) == t.Name() {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("none", "/sys/kernel/btf", "tmpfs", 0, ""); err != nil {
			t.Skipf("needs to mount over /sys/kernel/btf: %v", err)
		}
		return true
	}
	bpftest.NeedsBPF(t)
	cmd := again(t)
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skipf("needs CAP_SYS_ADMIN: %v", err)
	case err != nil:
		t.Fatalf("%v: %s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
	return false
}
