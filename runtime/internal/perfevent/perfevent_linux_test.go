package perfevent

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// What cannot be an event is refused before the kernel is asked.
func TestRefusedProbes(t *testing.T) {
	if _, err := pmuNumber("uprobe", "type", ""); errors.Is(err, ErrNoPMU) {
		t.Skip("needs a kernel with CONFIG_UPROBE_EVENTS")
	}
	if _, err := Uprobe("/proc/self/exe", 0, 1<<32, 0, false); !errors.Is(err, unix.ERANGE) || !strings.Contains(err.Error(), "semaphore is at offset 0x100000000") {
		t.Errorf("a semaphore far away: %v", err)
	}
	if _, err := Uprobe("a\x00b", 0, 0, 0, false); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), `"a\x00b": `) {
		t.Errorf("a path with a NUL: %v", err)
	}
}

// Kinds of events that the kernel does not have are told from files that cannot be read.
func TestPMUs(t *testing.T) {
	if _, err := pmuNumber("no_such_pmu", "type", ""); err != ErrNoPMU {
		t.Errorf("%v, want %v", err, ErrNoPMU)
	}
	if _, err := probe("no_such_pmu", "f", 0, 0, 0, false); err != ErrNoPMU {
		t.Errorf("%v, want %v", err, ErrNoPMU)
	}
	// The type of one that all kernels with perf events have.
	n, err := pmuNumber("software", "type", "")
	if errors.Is(err, ErrNoPMU) {
		t.Skip("needs a kernel with CONFIG_PERF_EVENTS, and sysfs")
	}
	if err != nil || n != unix.PERF_TYPE_SOFTWARE {
		t.Errorf("type of software events is %d, %v", n, err)
	}
	// The bit of a return probe, which is behind a prefix.
	bit, err := pmuNumber("uprobe", "format/retprobe", "config:")
	if !errors.Is(err, ErrNoPMU) && (err != nil || bit > 63) {
		t.Errorf("bit of return probes is %d, %v", bit, err)
	}
}

// Tracepoints have numbers, and the kernel opens events by these.
func TestTracepoints(t *testing.T) {
	bpftest.NeedsTracefs(t)
	id, err := TracepointID("sched", "sched_switch")
	if err != nil || id == 0 {
		t.Fatalf("number of a tracepoint is %d, %v", id, err)
	}
	event, err := Tracepoint("sched", "sched_switch")
	if err != nil {
		t.Fatal(err)
	}
	// It is the caller's, and no child's.
	flags, err := unix.FcntlInt(event.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags of the descriptor are %#x, %v", flags, err)
	}
	if err := event.Close(); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"no_such_tracepoint", ""} {
		if _, err := Tracepoint("sched", name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("tracepoint %q: %v, want %v", name, err, fs.ErrNotExist)
		}
	}
}

// A probe of an offset in a file is in one process, or in all.
func TestUprobes(t *testing.T) {
	if _, err := pmuNumber("uprobe", "type", ""); errors.Is(err, ErrNoPMU) {
		t.Skip("needs a kernel with CONFIG_UPROBE_EVENTS")
	}
	bpftest.NeedsBPF(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{0, os.Getpid()} {
		for _, ret := range []bool{false, true} {
			event, err := Uprobe(self, 0x1000, 0, pid, ret)
			if err != nil {
				t.Fatalf("pid %d, return %t: %v", pid, ret, err)
			}
			if err := event.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	var call *os.SyscallError
	if _, err := Uprobe(self, 0x1000, 0, 1<<30, false); !errors.Is(err, unix.ESRCH) || !errors.As(err, &call) {
		t.Errorf("no process: %v", err)
	}
	if _, err := Uprobe("/no/such/file", 0, 0, 0, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
