//go:build linux

package kerneltest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// WithModules runs the test t alone, in a process of its own where the kernel has these
// modules with BTF, and no others. It reports whether this is the new process, see [Again].
func WithModules(t *testing.T, modules map[string][]byte) bool {
	t.Helper()
	const dir = "/sys/kernel/btf"
	own, err := os.ReadFile(filepath.Join(dir, "vmlinux"))
	if err != nil {
		t.Skipf("needs a kernel with BTF: %v", err)
	}
	if !Again(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}) {
		return false
	}
	// What is mounted from here on is not for others to see.
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	fake := t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(fake, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("vmlinux", own)
	for name, data := range modules {
		write(name, data)
	}
	if err := unix.Mount(fake, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return true
}
