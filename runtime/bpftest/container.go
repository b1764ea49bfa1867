package bpftest

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// A Delegation is what a bpffs delegates to those who make a BPF token from it: mount
// options and their values, such as "delegate_progs" and "xdp:tracing". See
// bpf_parse_param in the kernel's kernel/bpf/inode.c for the names. "any" stands for all of one
// kind.
type Delegation map[string]string

// DelegateAll returns the delegation of everything.
func DelegateAll() Delegation {
	return Delegation{"delegate_cmds": "any", "delegate_maps": "any", "delegate_progs": "any", "delegate_attachs": "any"}
}

// containerVariable is the environment variable with the name of the test to run in the container.
const containerVariable = "RULES_BPF_CONTAINER"

// InContainer is [NeedsBPF] for tests of a program that runs in a container: it runs the
// test t alone, in a new process, as the root of a user namespace of its own and with a mount
// namespace of its own. At /sys/fs/bpf is a bpffs that delegates d, as managers of services
// and containers set one up; an empty d delegates nothing. It reports whether this is the new
// process, in which t goes on; in the old one, t has the result and ends:
//
//	func TestInContainer(t *testing.T) {
//		if !bpftest.InContainer(t, bpftest.DelegateAll()) {
//			return
//		}
//		... // what the program does there
//	}
//
// The new process has no environment but PATH and TMPDIR, and shares the network namespace of
// the old one. t is skipped where it may not make user namespaces, and before Linux 6.9,
// which has BPF tokens. It must not be a subtest.
func InContainer(t *testing.T, d Delegation) bool {
	t.Helper()
	if os.Getenv(containerVariable) == t.Name() {
		if err := mountDelegated(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	NeedsBPF(t)
	NeedsKernel(t, 6, 9, "BPF tokens")
	if err := runInContainer(t, d); errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EPERM) {
		t.Skipf("needs the right to make user namespaces: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return false
}
