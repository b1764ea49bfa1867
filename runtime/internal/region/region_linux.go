package region

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// guard makes the heap get its pages back when nothing refers to the memory any more.
func (m *Memory) guard() {
	if m.guarded {
		return
	}
	// The pages go back before the allocator uses the memory for something else. So it is a
	// finalizer, not a cleanup, which runs after the object is free for reuse. The argument is
	// the start of the allocation, and the function must not hold on to it.
	off, size := m.off, m.size
	runtime.SetFinalizer(unsafe.SliceData(m.buf), func(base *byte) { restore(base, off, size) })
	m.guarded = true
}

// share replaces the first n bytes of new memory by shared memory, and reports whether it
// could. With tell it is that of a file, which shows what was written to. Where it cannot, as
// when the process has no mappings left, the memory can be used until Load, which then cannot
// see what others write while it replaces the pages.
func (m *Memory) share(n int, tell bool) bool {
	m.guard()
	if tell && m.shareFile() == nil || mmapAnonymousFixed(m.at(0), n, unix.MAP_SHARED) == nil {
		m.shared = n
		return true
	}
	// The kernel counts mappings before it removes the old pages, but opens the file behind
	// shared memory after that, and may fail to. Then there is a hole for these pages;
	// otherwise the old ones are still there, and are replaced.
	_ = mmapAnonymousFixed(m.at(0), n, unix.MAP_PRIVATE)
	return false
}

// shareFile replaces all pages by those of a new file in memory. Its descriptor is open
// until the memory is that of a map, or nothing refers to it.
func (m *Memory) shareFile() error {
	fd, err := unix.MemfdCreate("bpf section", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "bpf section")
	err = file.Truncate(int64(m.size))
	if err == nil {
		var mem unsafe.Pointer
		if mem, err = mmap(nil, m.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, fd, 0); err == nil {
			err = moveMapping(mem, m.at(0), m.size)
		}
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	m.file = file
	return nil
}

// Alias is a second mapping of the shared pages of a memory. The zero value is none.
type Alias struct {
	memory *Memory
	base   unsafe.Pointer
	n      int
}

// Alias makes a second mapping, before any of the memory is replaced; close it after use. Where
// it cannot, regions that need one make their own, and return the error.
func (m *Memory) Alias() Alias {
	if m == nil || m.shared == 0 {
		return Alias{}
	}
	base, err := alias(m.at(0), m.shared)
	if err != nil {
		return Alias{}
	}
	return Alias{m, base, m.shared}
}

// of returns where the memory of a region is in the mapping, nil when it is not.
func (a Alias) of(r *Region) unsafe.Pointer {
	if a.base == nil || r.memory != a.memory || !r.shared {
		return nil
	}
	return unsafe.Add(a.base, r.start)
}

// Close removes the mapping.
func (a Alias) Close() {
	if a.base != nil {
		_ = munmap(a.base, a.n)
	}
}

// holds reports whether a block may have something else than zeros.
func (r *Region) holds(i int) bool {
	if r.memory.file == nil {
		return true
	}
	start, n := block(r.size, i)
	at, err := unix.Seek(int(r.memory.file.Fd()), int64(start), unix.SEEK_DATA)
	if err == unix.ENXIO {
		return false // nothing up to the end
	}
	return err != nil || at < int64(start+n)
}

// mmap makes a mapping of the region's size, anywhere.
func (r *Region) mmap(fd, prot, flags int) (unsafe.Pointer, error) {
	mem, err := mmap(nil, r.pages, prot, flags, fd, 0)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return mem, nil
}

// MapOver replaces the region's pages by the memory of the BPF map fd. contents are what the
// map was created with, from Snapshot; MapOver changes them. They are nil for a map that has
// other contents, which must not get what is written to the region meanwhile. old is a second
// mapping of the region's memory; MapOver makes one when it needs one that old does not have.
//
// The kernel refuses a writable mapping of a frozen map, and freezing fails
// while one exists: frozen maps must be mapped with readOnly, after the freeze.
// It returns ErrNotMappable and ErrRefused with the region unchanged.
func (r *Region) MapOver(fd int, readOnly bool, contents *Snapshot, old Alias) error {
	prot := unix.PROT_READ | unix.PROT_WRITE
	if readOnly {
		prot = unix.PROT_READ
	}
	// Not mmap with MAP_FIXED at once: when the map refuses, the kernel has
	// removed the pages that were there by then, and the Go heap has a hole.
	mem, err := r.mmap(fd, prot, unix.MAP_SHARED)
	switch {
	case err == nil:
	case errors.Is(err, sys.ENOTSUPP):
		// The kernel's ENOTSUPP, of array_map_mmap, for maps that hold a spin lock, a timer or
		// a kptr.
		return ErrNotMappable
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		// EPERM, EACCES: it is frozen, or of another access mode. The others: it was made
		// without BPF_F_MMAPABLE.
		return fmt.Errorf("%w: %w", ErrRefused, err)
	default:
		return explainNoMappings(err)
	}
	r.memory.guard()
	x := exchange{region: r, mem: mem, before: contents, old: -1}
	defer x.close()
	if r.shared && !readOnly && contents != nil {
		if x.from = old.of(r); x.from == nil {
			x.from, err = alias(r.Pointer(), r.pages)
			x.fromPages = r.pages
		}
		if err == nil && RaceDetector {
			x.to, err = r.mmap(fd, prot, unix.MAP_SHARED)
		}
		if err != nil {
			return explainNoMappings(errors.Join(err, munmap(mem, r.pages)))
		}
	}
	if err := x.swap(); err != nil {
		return explainNoMappings(err)
	}
	r.mapped, r.readOnly, r.shared = true, readOnly, false
	r.memory.shared = 0
	if r.memory.file != nil {
		_ = r.memory.file.Close()
		r.memory.file = nil
	}
	return nil
}

// Release replaces the pages of the map fd, which MapOver has put there, by memory of
// the region's own with the same contents.
//
// When the process has no mappings left for that, other goroutines may see zeros while
// the contents are copied, and lose what they write. When there is not even one, the
// pages stay those of the map, which then lives as long as the region, and that is an
// error.
func (r *Region) Release(fd int) error {
	if !r.mapped {
		return nil
	}
	contents := r.Snapshot()
	if err := r.releaseTo(fd, contents); err != nil {
		if bad := mmapAnonymousFixed(r.Pointer(), r.pages, unix.MAP_PRIVATE); bad != nil {
			return explainNoMappings(errors.Join(err, fmt.Errorf("mmap: %w", bad)))
		}
		contents.copyTo(r.Pointer())
	}
	r.mapped, r.readOnly = false, false
	return nil
}

func (r *Region) releaseTo(fd int, contents *Snapshot) error {
	kind := unix.MAP_PRIVATE
	if RaceDetector {
		kind = unix.MAP_SHARED // for a second mapping
	}
	mem, err := r.mmap(-1, unix.PROT_READ|unix.PROT_WRITE, kind|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	x := exchange{region: r, mem: mem, before: contents, old: fd}
	defer x.close()
	contents.copyTo(mem)
	if !r.readOnly {
		// A block at a time: the kernel makes all pages of a map that it maps present.
		x.fromPages = min(r.pages, blockSize)
		if x.from, err = mmapAt(nil, fd, 0, x.fromPages); err == nil && RaceDetector {
			x.to, err = alias(mem, r.pages)
		}
		if err != nil {
			return errors.Join(err, munmap(mem, r.pages))
		}
	}
	return x.swap()
}

// exchange puts other pages into the place of a region's.
type exchange struct {
	region *Region
	// mem is the mapping that is moved there. It holds before.
	mem    unsafe.Pointer
	before *Snapshot
	// from is a second mapping of the pages that were there, nil when what others write
	// from is a second mapping of the pages that were there, nil when what others write
	// meanwhile does not count. It has all of them or, when they are those of the map old,
	// which is not -1, one block. fromPages is how many bytes of it the exchange must unmap. to
	// is a second mapping of the new pages, for builds with the race detector: it is not in the
	// Go heap, so that what is done there is not taken for accesses of the user's. In other
	// builds, the pages are written where they are.
	from, to  unsafe.Pointer
	old       int
	fromPages int
}

// swap replaces the pages, and removes mem on error.
func (x *exchange) swap() error {
	r := x.region
	if x.from == nil {
		return moveMapping(x.mem, r.Pointer(), r.pages)
	}
	// First what was written since the snapshot. The new pages are not in use yet.
	err := x.eachChange(x.mem, func(to *uint64, _ int, before *uint64, now uint64) { *before, *to = now, now })
	if err != nil {
		return errors.Join(err, munmap(x.mem, r.pages))
	}
	if err := moveMapping(x.mem, r.Pointer(), r.pages); err != nil {
		return err
	}
	// Then what was written while the pages were replaced.
	to := r.Pointer()
	if x.to != nil {
		to = x.to
	}
	return x.eachChange(to, func(to *uint64, i int, before *uint64, now uint64) { r.merge(to, i, *before, now) })
}

// eachChange calls do for every word of the old pages that is not as before: with the word
// of the new pages, which are at memory, its index, what it was and what it is.
func (x *exchange) eachChange(memory unsafe.Pointer, do func(to *uint64, i int, before *uint64, now uint64)) error {
	r := x.region
	for b := range x.before.blocks {
		if x.before.blocks[b] == nil && !r.holds(b) {
			continue
		}
		start, n := block(r.size, b)
		from, err := x.window(start, n)
		if err != nil {
			return err
		}
		if x.before.blocks[b] == nil && isZero(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(from))), n)) {
			continue
		}
		before, to := x.before.words(b), wordsAt(unsafe.Add(memory, start), n)
		for i := range before {
			if now := atomic.LoadUint64(&from[i]); now != before[i] {
				do(&to[i], start/8+i, &before[i], now)
			}
		}
	}
	return nil
}

// window returns the n bytes of the old pages from start on.
func (x *exchange) window(start, n int) ([]uint64, error) {
	if x.old < 0 {
		return wordsAt(unsafe.Add(x.from, start), n), nil
	}
	if blocks(x.region.size) > 1 {
		// The last block may be shorter.
		if _, err := mmapAt(x.from, x.old, start, min(x.region.pages-start, blockSize)); err != nil {
			return nil, err
		}
	}
	return wordsAt(x.from, n), nil
}

// mmapAt maps n bytes of a map for reading, from offset on: in the place of the mapping at
// addr, unless that is nil.
func mmapAt(addr unsafe.Pointer, fd, offset, n int) (unsafe.Pointer, error) {
	flags := unix.MAP_SHARED
	if addr != nil {
		flags |= unix.MAP_FIXED
	}
	mem, err := mmap(addr, n, unix.PROT_READ, flags, fd, int64(offset))
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return mem, nil
}

func (x *exchange) close() {
	if x.from != nil && x.fromPages > 0 {
		_ = munmap(x.from, x.fromPages)
	}
	if x.to != nil {
		_ = munmap(x.to, x.region.pages)
	}
}

// alias makes a second mapping of the n bytes of shared memory at p.
func alias(p unsafe.Pointer, n int) (unsafe.Pointer, error) {
	// An old size of 0 asks mremap for a second mapping.
	mem, _, errno := unix.RawSyscall6(unix.SYS_MREMAP, uintptr(p), 0, uintptr(n), unix.MREMAP_MAYMOVE, 0, 0)
	if errno != 0 {
		return nil, fmt.Errorf("mremap: %w", errno)
	}
	return pointerTo(mem), nil
}

// moveMapping moves the mapping of n bytes at from over the n bytes at to, or
// removes it on error. It is one step for concurrent readers: they see the old
// pages or the new ones, never none.
func moveMapping(from, to unsafe.Pointer, n int) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_MREMAP, uintptr(from), uintptr(n), uintptr(n), unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, uintptr(to), 0)
	if errno != 0 {
		return errors.Join(fmt.Errorf("mremap: %w", errno), munmap(from, n))
	}
	return nil
}

// explainNoMappings adds to an error of the kernel's memory management that the process
// has as many mappings as it may have, if that is so.
func explainNoMappings(err error) error {
	if !errors.Is(err, unix.ENOMEM) {
		return err
	}
	have, most := countMappings()
	// The kernel keeps a few back: mremap fails when there are 5 left.
	if most == 0 || have+10 < most {
		return err
	}
	return fmt.Errorf("%w: the process has %d memory mappings, and vm.max_map_count allows %d: raise it (sysctl -w vm.max_map_count=%d), or have fewer skeletons loaded", err, have, most, 2*most)
}

// countMappings returns how many mappings the process has and may have, 0 when it cannot
// be known. It needs little memory: the Go runtime has no mappings left either.
func countMappings() (have, most int) {
	var buf [4096]byte
	read := func(path string, use func([]byte)) bool {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		defer unix.Close(fd)
		for {
			n, err := unix.Read(fd, buf[:])
			if n <= 0 {
				return err == nil
			}
			use(buf[:n])
		}
	}
	limit := read("/proc/sys/vm/max_map_count", func(text []byte) {
		for _, c := range bytes.TrimSpace(text) {
			most = 10*most + int(c-'0')
		}
	})
	maps := read("/proc/self/maps", func(text []byte) { have += bytes.Count(text, []byte("\n")) })
	if !limit || !maps {
		return 0, 0
	}
	return have, most
}

// machineMemory returns how many bytes of memory the machine has.
func machineMemory() uint64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return math.MaxUint64
	}
	return uint64(info.Totalram) * uint64(info.Unit)
}

// unrestored keeps allocations alive whose pages could not be given back.
var unrestored struct {
	sync.Mutex
	bases []*byte
}

// heapName is the name of the heap's mappings, "" when they have none. Where the kernel has
// names for anonymous memory (CONFIG_ANON_VMA_NAME), Go gives them one since version 1.25.
var heapName = sync.OnceValue(func() string {
	// Kernels without names refuse every call, and the others take that of no
	// memory.
	if unix.Prctl(unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, 0, 0, 0) != nil {
		return ""
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return ""
	}
	// What was read is in the heap.
	return anonymousName(string(maps), uintptr(unsafe.Pointer(unsafe.SliceData(maps))))
})

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
	if err := mmapAnonymousFixed(start, pages, unix.MAP_PRIVATE); err != nil {
		// The heap must not reuse pages of a BPF map. Keeping the allocation
		// costs its memory; anything else would corrupt the heap.
		unrestored.Lock()
		unrestored.bases = append(unrestored.bases, base)
		unrestored.Unlock()
		return
	}
	if name := heapName(); name != "" {
		if c, err := unix.BytePtrFromString(name); err == nil {
			// Without the name there is one mapping more, and no other effect.
			_ = unix.Prctl(unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, uintptr(start), uintptr(pages), uintptr(unsafe.Pointer(c)))
			runtime.KeepAlive(c)
		}
	}
}
