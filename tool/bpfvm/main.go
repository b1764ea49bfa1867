//go:build linux

// Bpfvm is the executable of a bpf_test: it runs a Go test, in a kernel that
// QEMU boots or in the kernel of this machine, as the file beside it says whose
// name is its own with ".json" at the end.
//
// In a kernel of its own, the test finds what Bazel gives to tests at the same
// paths as on the host: runfiles, environment, temporary folder. What it writes
// for Bazel (reports, outputs, coverage) comes back to the host. The exit status
// is the test's.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A config says what to run. The files in it are paths among the runfiles.
type config struct {
	// Test is the test's executable.
	Test string `json:"test"`
	// Kernel is nil for the kernel of this machine, and the rest is empty then.
	Kernel *kernel `json:"kernel"`
	// KernelArgs come last on the kernel's command line.
	KernelArgs []string `json:"kernel_args"`
	// Modules is an archive with kernel modules, or empty.
	Modules string `json:"modules"`
	// Guest is the first program that the kernel runs.
	Guest string `json:"guest"`
	// Files lists the test's own runfiles, one per line.
	Files string `json:"files"`
	// QEMU describes QEMU, see qemu.
	QEMU string `json:"qemu"`
}

type kernel struct {
	// Name is what people call the kernel, as "6.1".
	Name string `json:"name"`
	// Image is what a boot loader loads; Config may be empty.
	Image  string `json:"image"`
	Config string `json:"config"`
	// Problem says why the kernel is not there, and what to do.
	Problem string `json:"problem"`
}

// exitFailed is the exit status when the test has none.
const exitFailed = 1

// errSkip is an error for which a test is skipped, and does not fail.
type errSkip struct{ reason string }

func (e errSkip) Error() string { return e.reason }

// QEMU ends when the thread does that started it, so that must not be one that
// the Go runtime drops.
func init() { runtime.LockOSThread() }

func main() {
	started := time.Now()
	status, err := run(started)
	var skip errSkip
	if errors.As(err, &skip) {
		err = reportSkip(skip.reason)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bpfvm:", err)
		status = exitFailed
	}
	os.Exit(status)
}

func run(started time.Time) (int, error) {
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		return 0, err
	}
	data, err := os.ReadFile(self + ".json")
	if err != nil {
		return 0, fmt.Errorf("is the executable of a bpf_test, and nothing to run by hand: %w", err)
	}
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return 0, fmt.Errorf("%s.json: %w", self, err)
	}
	files, err := runfiles.New()
	if err != nil {
		return 0, err
	}
	if c.Kernel == nil {
		return 0, runNative(&c, files)
	}
	return runInVM(&c, files, started)
}

// runNative becomes the test.
func runNative(c *config, files *runfiles.Runfiles) error {
	if err := mayUseBPF(); err != nil {
		return err
	}
	test, err := files.Rlocation(c.Test)
	if err != nil {
		return err
	}
	if test, err = filepath.Abs(test); err != nil {
		return err
	}
	if err := unix.Exec(test, append([]string{test}, os.Args[1:]...), os.Environ()); err != nil {
		return fmt.Errorf("%s: %w", test, err)
	}
	return nil
}

// mayUseBPF returns an errSkip unless this process may create BPF maps.
func mayUseBPF() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if errors.Is(err, unix.EPERM) {
		return errSkip{fmt.Sprintf("needs the right to use BPF (uid is %d, want 0): %v", os.Getuid(), err)}
	}
	if errors.Is(err, unix.ENOSYS) {
		return errSkip{fmt.Sprintf("needs a kernel with BPF: %v", err)}
	}
	if err != nil {
		return fmt.Errorf("create a BPF map: %w", err)
	}
	return m.Close()
}
