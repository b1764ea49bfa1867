package sys

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// KernelRelease returns the release of the running kernel, as uname -r does.
func KernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// Values of include/uapi/linux/personality.h.
const (
	personalityMask = 0xff
	perLinux32      = 8
	askPersonality  = 0xffffffff
)

// KernelMachine returns the architecture of the running kernel, as uname -m shows it to
// programs of that architecture: x86_64 to a program for 386, too, and where setarch or a
// container's runtime have made it a 32-bit machine for the process.
func KernelMachine() (string, error) {
	// The personality is a thread's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if old, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, askPersonality, 0, 0); errno == 0 && old&personalityMask == perLinux32 {
		// A filter of system calls that forbids this leaves the name of the 32-bit machine.
		if _, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, old&^personalityMask, 0, 0); errno == 0 {
			defer unix.RawSyscall(unix.SYS_PERSONALITY, old, 0, 0)
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(u.Machine[:]), nil
}
