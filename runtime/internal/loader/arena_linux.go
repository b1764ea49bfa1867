package loader

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A leftover is memory that a released arena has left at the addresses of its variables, for
// those who have pointers to them. When the last pointer is gone is not known, so it stays
// until an arena that is declared for this address is mapped there.
type leftover struct {
	at   uintptr
	size int
	// values are its contents while an arena is mapped over it.
	values []byte
}

func (o leftover) end() uintptr { return o.at + uintptr(o.size) }

// leftovers are those of the process.
var leftovers struct {
	sync.Mutex
	all []leftover
}

// mapArena maps an arena at the address that its declaration asks for, or anywhere when that
// is 0.
func mapArena(fd int, address uintptr, size int) (*Arena, error) {
	const prot = unix.PROT_READ | unix.PROT_WRITE
	if address == 0 {
		mem, err := unix.MmapPtr(fd, 0, nil, uintptr(size), prot, unix.MAP_SHARED)
		if err != nil {
			return nil, fmt.Errorf("map it: %w", err)
		}
		return &Arena{Base: mem, Size: size}, nil
	}
	leftovers.Lock()
	defer leftovers.Unlock()
	at := unsafe.Add(nil, address)
	// Not MAP_FIXED: there may be memory of this process.
	mem, err := unix.MmapPtr(fd, 0, at, uintptr(size), prot, unix.MAP_SHARED|unix.MAP_FIXED_NOREPLACE)
	if err == nil {
		return &Arena{Base: mem, Size: size}, nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("map it at %#x: %w", address, err)
	}
	arena, err := mapOverLeftovers(fd, address, size)
	if err != nil {
		return nil, fmt.Errorf("map it at %#x, the address in map_extra: %w: other memory of this process is there, such as an arena that is still open: close that, or declare another address", address, err)
	}
	return arena, nil
}

// mapOverLeftovers maps an arena where there is nothing but what other arenas have left.
func mapOverLeftovers(fd int, address uintptr, size int) (*Arena, error) {
	end := address + uintptr(size)
	var old []leftover
	for _, o := range leftovers.all {
		if o.at >= address && o.end() <= end {
			old = append(old, o)
		}
	}
	if len(old) == 0 {
		return nil, unix.EEXIST
	}
	slices.SortFunc(old, func(a, b leftover) int { return int(a.at>>1) - int(b.at>>1) })
	// What is between them must be free, and stay so.
	reserved, err := reserve(gaps(old, address, end))
	if err != nil {
		return nil, err
	}
	for i := range old {
		old[i].values = readMemory(old[i].at, old[i].size)
	}
	mem, err := unix.MmapPtr(fd, 0, unsafe.Add(nil, address), uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
	if err != nil {
		// The kernel may have removed what was there.
		for _, o := range old {
			err = errors.Join(err, o.put())
		}
		return nil, errors.Join(err, unreserve(reserved))
	}
	forget(old)
	return &Arena{Base: mem, Size: size, replaced: old}, nil
}

// gaps returns what is between memory that is in order, from an address to another.
func gaps(used []leftover, from, to uintptr) (free []leftover) {
	for _, o := range used {
		if o.at > from {
			free = append(free, leftover{at: from, size: int(o.at - from)})
		}
		from = o.end()
	}
	if from < to {
		free = append(free, leftover{at: from, size: int(to - from)})
	}
	return free
}

// reserve keeps free memory from others. On error nothing is kept.
func reserve(free []leftover) ([]leftover, error) {
	for i, f := range free {
		_, err := unix.MmapPtr(-1, 0, unsafe.Add(nil, f.at), uintptr(f.size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED_NOREPLACE)
		if err != nil {
			return nil, errors.Join(err, unreserve(free[:i]))
		}
	}
	return free, nil
}

func unreserve(reserved []leftover) error {
	var errs []error
	for _, r := range reserved {
		errs = append(errs, unmap(r.at, r.end()))
	}
	return errors.Join(errs...)
}

// forget takes leftovers from those of the process.
func forget(old []leftover) {
	leftovers.all = slices.DeleteFunc(leftovers.all, func(o leftover) bool {
		return slices.ContainsFunc(old, func(r leftover) bool { return r.at == o.at })
	})
}

// put makes memory with the values in the place of what is there.
func (o leftover) put() error {
	mem, err := unix.MmapPtr(-1, 0, unsafe.Add(nil, o.at), uintptr(o.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	copy(unsafe.Slice((*byte)(mem), o.size), o.values)
	return nil
}

// readMemory copies memory that others may be writing to. The race detector must not take
// that for an access of the user's.
//
//go:norace
func readMemory(at uintptr, n int) []byte {
	values := make([]byte, n)
	from := unsafe.Add(nil, at)
	for i := 0; i < n; i += 8 {
		// Whole pages.
		*(*uint64)(unsafe.Pointer(&values[i])) = *(*uint64)(unsafe.Add(from, i))
	}
	return values
}

// discard unmaps the arena, to whose memory there are no pointers yet.
func (a *Arena) discard() error {
	leftovers.Lock()
	defer leftovers.Unlock()
	return a.leave(a.replaced)
}

// Release unmaps the arena, and leaves memory with the last values at the addresses of the
// variables. It stays until an arena that is declared for this address is mapped there.
func (a *Arena) Release() error {
	if a == nil || a.Base == nil {
		return nil
	}
	leftovers.Lock()
	defer leftovers.Unlock()
	data := leftover{at: uintptr(a.Variables()), size: a.Data}
	stays := a.replaced
	if a.Data > 0 {
		stays = slices.DeleteFunc(stays, func(o leftover) bool { return o.at < data.end() && data.at < o.end() })
		stays = append(stays, data)
	}
	for i, o := range stays {
		stays[i].values = readMemory(o.at, o.size)
	}
	return a.leave(stays)
}

// leave unmaps the arena, except for some of its memory, which gets private pages with its values.
func (a *Arena) leave(stays []leftover) error {
	base := uintptr(a.Base)
	end := base + uintptr(a.Size)
	a.Base = nil
	if len(stays) == 0 {
		return unmap(base, end)
	}
	slices.SortFunc(stays, func(a, b leftover) int { return int(a.at>>1) - int(b.at>>1) })
	// The kernel does not unmap a piece of the mapping, but lets the whole be replaced.
	_, err := unix.MmapPtr(-1, 0, unsafe.Add(nil, base), uintptr(a.Size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	for _, o := range stays {
		err = errors.Join(err, o.put())
		leftovers.all = append(leftovers.all, leftover{at: o.at, size: o.size})
	}
	return errors.Join(err, unreserve(gaps(stays, base, end)))
}

// unmap removes the mapping from an address to another.
func unmap(from, to uintptr) error {
	if err := unix.MunmapPtr(unsafe.Add(nil, from), to-from); err != nil {
		return fmt.Errorf("munmap: %w", err)
	}
	return nil
}
