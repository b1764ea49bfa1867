//go:build linux && !(386 || arm || mips || mipsle || s390x)

package region

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func mmapCall(addr unsafe.Pointer, n, prot, flags, fd uintptr, offset int64) (uintptr, unix.Errno) {
	mem, _, errno := unix.RawSyscall6(unix.SYS_MMAP, uintptr(addr), n, prot, flags, fd, uintptr(offset))
	return mem, errno
}
