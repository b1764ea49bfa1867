package sys

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A thread for which the machine is a 32-bit one has the same kernel, and stays as it is.
func TestKernelMachine(t *testing.T) {
	want, err := KernelMachine()
	if err != nil || want == "" {
		t.Fatalf("%q, %v", want, err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, askPersonality, 0, 0)
	if errno != 0 {
		t.Skipf("needs personality: %v", errno)
	}
	defer unix.RawSyscall(unix.SYS_PERSONALITY, old, 0, 0)
	if _, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, old&^personalityMask|perLinux32, 0, 0); errno != 0 {
		t.Skipf("needs a kernel that runs 32-bit programs: %v", errno)
	}
	// s390x does not say so to its own programs.
	before, _, _ := unix.RawSyscall(unix.SYS_PERSONALITY, askPersonality, 0, 0)
	if got, err := KernelMachine(); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if now, _, _ := unix.RawSyscall(unix.SYS_PERSONALITY, askPersonality, 0, 0); now != before {
		t.Errorf("personality is %#x, and was %#x", now, before)
	}
}
