package skeleton

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// enotsupp is the kernel's internal ENOTSUPP, which array_map_mmap lets escape
// for maps that hold a spin lock, a timer or a kptr.
const enotsupp = unix.Errno(524)

// mapOver replaces the region's pages by the memory of the BPF map fd, whose
// contents are the region's.
//
// The kernel refuses a writable mapping of a frozen map, and freezing fails
// while one exists: frozen maps must be mapped with readOnly, after the freeze.
// It returns errNotMappable when the map has no mappable memory, with the
// region unchanged.
func (r *region) mapOver(fd int, readOnly bool) error {
	if !r.guarded {
		// The pages must be given back before the allocator uses the memory for
		// something else. A finalizer, not a cleanup: a cleanup runs after the
		// object is free for reuse. The argument is the start of the allocation,
		// and the function must not hold on to it.
		off, pages := r.off, r.pages
		nameOfHeap(r.pointer())
		runtime.SetFinalizer(unsafe.SliceData(r.buf), func(base *byte) { restore(base, off, pages) })
		r.guarded = true
	}
	prot := unix.PROT_READ | unix.PROT_WRITE
	if readOnly {
		prot = unix.PROT_READ
	}
	// Not mmap with MAP_FIXED at once: when the map refuses, the kernel has
	// removed the pages that were there by then, and the Go heap has a hole.
	mem, err := unix.MmapPtr(fd, 0, nil, uintptr(r.pages), prot, unix.MAP_SHARED)
	switch {
	case err == nil:
	case errors.Is(err, enotsupp), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		// EINVAL: the map was made without BPF_F_MMAPABLE, as on kernels before
		// 5.5. ENODEV: no map of this type has mappable memory. EPERM, EACCES: a
		// map that took the section's place is frozen or of another access mode.
		return errNotMappable
	default:
		return fmt.Errorf("mmap: %w", err)
	}
	if err := moveMapping(mem, r.pointer(), r.pages); err != nil {
		return err
	}
	r.mapped = true
	return nil
}

// release replaces the map's pages by private memory with the same contents.
func (r *region) release() error {
	if !r.mapped {
		return nil
	}
	mem, err := unix.MmapPtr(-1, 0, nil, uintptr(r.pages), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	copyShared(unsafe.Slice((*byte)(mem), r.size), r.bytes())
	if err := moveMapping(mem, r.pointer(), r.pages); err != nil {
		return err
	}
	r.mapped = false
	return nil
}

// moveMapping moves the mapping of n bytes at from over the n bytes at to, or
// removes it on error. It is one step for concurrent readers: they see the old
// pages or the new ones, never none.
func moveMapping(from, to unsafe.Pointer, n int) error {
	// Not unix.MremapPtr: it makes a pointer of the address that the kernel
	// returns, which checkptr rejects when that is in the Go heap.
	_, _, errno := unix.Syscall6(unix.SYS_MREMAP, uintptr(from), uintptr(n), uintptr(n), unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, uintptr(to), 0)
	if errno != 0 {
		return errors.Join(fmt.Errorf("mremap: %w", errno), unix.MunmapPtr(from, uintptr(n)))
	}
	return nil
}

// copyShared copies memory that others, the kernel among them, may be writing.
// The race detector must not take the copy for an access of the user's.
//
//go:norace
func copyShared(dst, src []byte) { copy(dst, src) }

// unrestored keeps allocations alive whose pages could not be given back.
var unrestored struct {
	sync.Mutex
	bases []*byte
}

// heapName is the name of the heap's mappings, "" when they have none.
var heapName struct {
	sync.Once
	name string
}

// nameOfHeap looks up what name the mappings of the Go heap have, in one of which p
// is. Where the kernel has names for anonymous memory (CONFIG_ANON_VMA_NAME), Go
// gives them one since version 1.25.
func nameOfHeap(p unsafe.Pointer) string {
	heapName.Do(func() {
		// Kernels without names refuse every call, and the others take that of no
		// memory.
		if unix.Prctl(unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, 0, 0, 0) != nil {
			return
		}
		if maps, err := os.ReadFile("/proc/self/maps"); err == nil {
			heapName.name = anonymousName(string(maps), uintptr(p))
		}
	})
	return heapName.name
}

// anonymousName returns the name of the anonymous mapping that has the address, "" if
// it has none. maps is /proc/<pid>/maps.
func anonymousName(maps string, addr uintptr) string {
	for line := range strings.Lines(maps) {
		var from, to uintptr
		if n, err := fmt.Sscanf(line, "%x-%x ", &from, &to); n != 2 || err != nil || addr < from || addr >= to {
			continue
		}
		_, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "[anon:")
		return strings.TrimSuffix(name, "]")
	}
	return ""
}

// restore gives the pages of an allocation that nothing refers to any more back
// to the Go heap, as the heap made them: anonymous, private, writable, of the
// heap's name. The kernel merges such a mapping with its neighbours, so nothing of
// the region remains. (It does not merge one that mremap moved there.)
func restore(base *byte, off, pages int) {
	start := unsafe.Add(unsafe.Pointer(base), off)
	if err := mmapAnonymousFixed(start, pages); err != nil {
		// The heap must not reuse pages of a BPF map. Keeping the allocation
		// costs its memory; anything else would corrupt the heap.
		unrestored.Lock()
		unrestored.bases = append(unrestored.bases, base)
		unrestored.Unlock()
		return
	}
	if name := nameOfHeap(start); name != "" {
		if c, err := unix.BytePtrFromString(name); err == nil {
			// Without it there is one mapping more, and nothing else.
			_ = unix.Prctl(unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, uintptr(start), uintptr(pages), uintptr(unsafe.Pointer(c)))
			runtime.KeepAlive(c)
		}
	}
}
