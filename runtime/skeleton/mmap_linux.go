//go:build !s390x

package skeleton

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmapAnonymousFixed replaces the n bytes at addr by new private memory.
//
// Not unix.MmapPtr: it makes a pointer of the address that the kernel returns,
// which checkptr rejects when that is in the Go heap.
func mmapAnonymousFixed(addr unsafe.Pointer, n int) error {
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED
	_, _, errno := unix.Syscall6(mmapTrap, uintptr(addr), uintptr(n), prot, flags, ^uintptr(0), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
