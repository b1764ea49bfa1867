package region

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below are too short to involve Go's scheduler, like those that the Go runtime
// makes itself: see package sys.

// mmap makes a mapping of n bytes of a file, at addr unless that is nil.
func mmap(addr unsafe.Pointer, n, prot, flags, fd int, offset int64) (unsafe.Pointer, error) {
	mem, errno := mmapCall(addr, uintptr(n), uintptr(prot), uintptr(flags), uintptr(fd), offset)
	if errno != 0 {
		return nil, errno
	}
	return pointerTo(mem), nil
}

// mmapAnonymousFixed replaces the n bytes at addr by new memory, MAP_PRIVATE or
// MAP_SHARED.
//
// Not mmap: it makes a pointer of the address that the kernel returns, which checkptr
// rejects when that is in the Go heap.
func mmapAnonymousFixed(addr unsafe.Pointer, n, kind int) error {
	flags := uintptr(kind | unix.MAP_ANONYMOUS | unix.MAP_FIXED)
	_, errno := mmapCall(addr, uintptr(n), unix.PROT_READ|unix.PROT_WRITE, flags, ^uintptr(0), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// munmap removes the n bytes of mappings at addr.
func munmap(addr unsafe.Pointer, n int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_MUNMAP, uintptr(addr), uintptr(n), 0); errno != 0 {
		return errno
	}
	return nil
}

// pointerTo returns a pointer to memory that is not the Go heap's.
func pointerTo(mem uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&mem)) }
