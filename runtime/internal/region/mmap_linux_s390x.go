package region

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmapCall is the one of the other architectures; this one's kernel takes the arguments in
// memory.
func mmapCall(addr unsafe.Pointer, n, prot, flags, fd uintptr, offset int64) (uintptr, unix.Errno) {
	args := [6]uintptr{uintptr(addr), n, prot, flags, fd, uintptr(offset)}
	mem, _, errno := unix.RawSyscall(unix.SYS_MMAP, uintptr(unsafe.Pointer(&args[0])), 0, 0)
	return mem, errno
}
