package skeleton

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapArena maps an arena of size bytes, at the address that its declaration asks
// for, or anywhere when that is 0.
func mapArena(fd int, address uintptr, size int) (unsafe.Pointer, error) {
	flags := unix.MAP_SHARED
	if address != 0 {
		// Not MAP_FIXED: there may be memory of this process.
		flags |= unix.MAP_FIXED_NOREPLACE
	}
	mem, err := unix.MmapPtr(fd, 0, unsafe.Add(nil, address), uintptr(size), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("mmap of the arena: %w", err)
	}
	return mem, nil
}

// discard takes the arena's memory away before anybody has pointers to it.
func (a *arena) discard() error {
	if a.base == nil {
		return nil
	}
	base := a.base
	a.base = nil
	if err := unmap(base, 0, a.size); err != nil {
		return fmt.Errorf("map %s: %w", a.Map, err)
	}
	return nil
}

// release takes the arena's memory away, and leaves at the addresses of the
// variables memory with their last values: for users that hold pointers to them.
// Nothing knows when the last one is gone, so this memory stays.
func (a *arena) release() error {
	if a.base == nil {
		return nil
	}
	values := make([]byte, a.data)
	copyShared(values, unsafe.Slice((*byte)(a.pointer()), a.data))
	// The kernel does not let a part of the mapping go, but replaces the whole.
	if err := mmapAnonymousFixed(a.base, a.size); err != nil {
		return fmt.Errorf("map %s: %w", a.Map, err)
	}
	copyShared(unsafe.Slice((*byte)(a.pointer()), a.data), values)
	base, end := a.base, a.offset+a.data
	a.base = nil
	if err := unmap(base, 0, a.offset); err != nil {
		return fmt.Errorf("map %s: %w", a.Map, err)
	}
	if err := unmap(base, end, a.size); err != nil {
		return fmt.Errorf("map %s: %w", a.Map, err)
	}
	return nil
}

// unmap removes the mapping of the bytes from start up to end.
func unmap(base unsafe.Pointer, start, end int) error {
	if start == end {
		return nil
	}
	if err := unix.MunmapPtr(unsafe.Add(base, start), uintptr(end-start)); err != nil {
		return fmt.Errorf("munmap: %w", err)
	}
	return nil
}
