package ring

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guard lends copies of records, each on pages of its own that cannot be used afterwards. The
// pages are used in turn, so that those of a record are not used for many records after it.
type guard struct {
	arena []byte
	// at is where the next record goes, and lent the pages of the record that is lent.
	at   int
	lent []byte
}

// arenaSize is the address space that a guard takes. Its memory is that of one record.
const arenaSize = 64 << 20

func newGuard() (*guard, error) {
	arena, err := unix.Mmap(-1, 0, arenaSize, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &guard{arena: arena}, nil
}

// lend returns a copy of a record.
func (g *guard) lend(p unsafe.Pointer, length uint32) (unsafe.Pointer, error) {
	page := os.Getpagesize()
	size := max(1, (int(length)+page-1)/page) * page
	if size > len(g.arena) {
		// There cannot be many records as large as this.
		own, err := unix.Mmap(-1, 0, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
		if err != nil {
			return nil, os.NewSyscallError("mmap", err)
		}
		if err := unix.Munmap(g.arena); err != nil {
			return nil, os.NewSyscallError("munmap", err)
		}
		g.arena, g.at = own, 0
	}
	if g.at+size > len(g.arena) {
		g.at = 0
	}
	pages := g.arena[g.at : g.at+size]
	if err := unix.Mprotect(pages, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return nil, os.NewSyscallError("mprotect", err)
	}
	g.at += size
	g.lent = pages
	copy(pages, unsafe.Slice((*byte)(p), length))
	return unsafe.Pointer(unsafe.SliceData(pages)), nil
}

// takeBack frees the pages of the record that was lent last.
func (g *guard) takeBack() {
	if g.lent == nil {
		return
	}
	// Neither fails for pages that are mapped.
	_ = unix.Madvise(g.lent, unix.MADV_DONTNEED)
	_ = unix.Mprotect(g.lent, unix.PROT_NONE)
	g.lent = nil
}

func (g *guard) free() error { return os.NewSyscallError("munmap", unix.Munmap(g.arena)) }
