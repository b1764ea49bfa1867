package skeleton

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmapAnonymousFixed is the one of the other architectures; this one's kernel
// takes the arguments in memory.
func mmapAnonymousFixed(addr unsafe.Pointer, n int) error {
	args := [6]uintptr{
		uintptr(addr), uintptr(n),
		unix.PROT_READ | unix.PROT_WRITE,
		unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED,
		^uintptr(0), 0,
	}
	_, _, errno := unix.Syscall(unix.SYS_MMAP, uintptr(unsafe.Pointer(&args[0])), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
