//go:build linux && (386 || arm || mips || mipsle)

package region

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmapCall is the call whose offset counts pages of 4096 bytes; on 386 the older one takes
// its arguments in memory.
func mmapCall(addr unsafe.Pointer, n, prot, flags, fd uintptr, offset int64) (uintptr, unix.Errno) {
	mem, _, errno := unix.RawSyscall6(unix.SYS_MMAP2, uintptr(addr), n, prot, flags, fd, uintptr(offset>>12))
	return mem, errno
}
