// Package region has memory of the Go heap that becomes the memory of a BPF map and Go's again,
// while pointers into it stay valid: the memory of the structs that skeletons have for data
// sections.
//
// A [Region] is a page-aligned part of a [Memory], one allocation of the Go heap without
// pointers, which the collector neither moves nor looks into, and which lives as long as any
// pointer into it. [Region.MapOver] maps the map's memory somewhere else and moves that over
// the region's pages with mremap, which is atomic for concurrent readers: they see the old pages
// or the new ones, never a hole. [Region.Release] does the same with new memory that has the map's
// last values. When nothing refers to an allocation any more, a finalizer gives anonymous
// pages back to the heap in the place of the map's.
//
// Others may write through their pointers all the time. The caller takes a [Snapshot], makes
// the map of its contents, and gives it to MapOver. What was written since is found by looking
// at the old pages through a second mapping of them and comparing with the snapshot: before
// the new pages are there it is copied, and after that merged, an integer of 4 or 8 bytes by
// adding up both changes, as counters need, and anything else by keeping the later value.
//
// Only Linux maps the memory of BPF maps. Elsewhere a region is plain memory, and MapOver
// returns [ErrNotMappable].
package region

import (
	"errors"
	"math"
	"os"
	"unsafe"

	"github.com/cilium/ebpf/btf"
)

var (
	// ErrNotMappable is returned by [Region.MapOver] when user space may not see what the map
	// holds, such as a lock, and on systems other than Linux.
	ErrNotMappable = errors.New("the map holds what user space may not see")
	// ErrRefused is returned by [Region.MapOver] when the map is of another kind or access mode
	// than it is to be mapped with: another map was put in the place of the section's.
	ErrRefused = errors.New("the map cannot be mapped so")
)

// Memory is where regions are: page-aligned parts of one Go heap allocation. Go's collector
// does not move objects and does not look into allocations without pointers, so pages inside
// such an allocation can be replaced by pages of BPF maps and back while pointers to them
// exist. The allocation stays alive as long as any pointer into it, also one that the user
// took.
//
// Other goroutines may write through such pointers while the pages are replaced. What
// they have written to the old pages is put into the new ones (merge), for which the old
// pages must have a second address. The heap's own pages cannot have one, so sections
// that are writable have shared memory in their place from the beginning, before there are
// pointers to it.
type Memory struct {
	// buf is the whole allocation: one page more than needed, because the
	// start of a Go allocation need not be aligned to the machine's pages.
	buf []byte
	// off is where the first page starts in buf, and size how many bytes there are from
	// there on, in whole pages.
	off, size int
	// shared is how many bytes at the beginning are one mapping of shared memory. It is 0
	// once a part of it was replaced.
	shared int
	// file is the shared memory when it is a file, which shows which of its pages were written
	// to, and nil otherwise.
	file *os.File
	// guarded is true when buf's finalizer, which gives its pages back, is set.
	guarded bool
}

// newMemory returns memory of size bytes, in whole pages, all of it zero. It takes none of
// the machine's until it is written to.
func newMemory(size, pageSize int) *Memory {
	buf := make([]byte, size+pageSize)
	off := -int(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))) & (pageSize - 1)
	return &Memory{buf: buf, off: off, size: size}
}

// at returns the address of the byte with the offset. It is the same for the whole life of
// the memory.
func (m *Memory) at(offset int) unsafe.Pointer { return unsafe.Pointer(&m.buf[m.off+offset]) }

// Region is the part of a memory that one section's struct is in. Its methods are not for
// several goroutines at once; its bytes are.
type Region struct {
	memory *Memory
	// start is where it begins in the memory.
	start int
	// size is the size of the section, in bytes; pages is size rounded up.
	size, pages int
	// mapped is true when the pages are those of a BPF map, readOnly when these cannot be
	// written, and shared when they are shared memory.
	mapped, readOnly, shared bool
	// Types returns the types of the section's variables, nil if the object has none. It is
	// called when two sides have written to one word. It may be nil.
	Types func() *btf.Datasec
}

// Spec describes a region to be made.
type Spec struct {
	// Size is how many bytes it has.
	Size int
	// Contents are the values that it holds at first, nil for zeros.
	Contents []byte
	// Writable is true when others may write to it while its pages are replaced, which must
	// not be lost. Otherwise it is for a map that is mapped read-only.
	Writable bool
}

// New returns a region with memory of its own.
func New(s Spec) *Region { return newRegion(s, os.Getpagesize()) }

// newRegion is New, with memory that is aligned to pageSize.
func newRegion(s Spec, pageSize int) *Region {
	m := newMemory(wholePages(s.Size, pageSize), pageSize)
	r := &Region{memory: m, size: s.Size, pages: m.size}
	if s.Writable {
		r.shared = m.share(m.size, s.Size > blockSize && isZero(s.Contents))
	}
	r.set(s.Contents)
	return r
}

// set gives a region that is zero its initial values.
func (r *Region) set(contents []byte) {
	if !isZero(contents) {
		copy(r.Bytes(), contents)
	}
}

// WholePages returns how many bytes a region of size bytes has, in whole pages.
func WholePages(size int) int { return wholePages(size, os.Getpagesize()) }

func wholePages(n, pageSize int) int { return (n + pageSize - 1) / pageSize * pageSize }

// blockSize is how many bytes of a region are looked at together.
const blockSize = 256 << 10

// blocks returns in how many blocks a region of size bytes is.
func blocks(size int) int { return (size + blockSize - 1) / blockSize }

// block returns where a block begins, and how many bytes it has, in whole words.
func block(size, i int) (start, n int) {
	start = i * blockSize
	return start, min((size+7)&^7-start, blockSize)
}

// Snapshot is what a region holds at one moment.
type Snapshot struct {
	size int
	// blocks are the parts of it, nil for those that are zero. They are in all, which has
	// the whole, unless they were zero at first.
	blocks [][]byte
	all    []byte
}

// Snapshot copies the region's memory, but for the parts that are zero.
func (r *Region) Snapshot() *Snapshot {
	s := &Snapshot{size: r.size, blocks: make([][]byte, blocks(r.size))}
	for i := range s.blocks {
		start, n := block(r.size, i)
		memory := unsafe.Slice((*byte)(unsafe.Add(r.Pointer(), start)), n)
		if !r.holds(i) || isZero(memory) {
			continue
		}
		if s.all == nil {
			s.all = make([]byte, (r.size+7)&^7)
		}
		s.blocks[i] = s.all[start : start+n]
		CopyShared(s.blocks[i], memory)
	}
	return s
}

// Contents returns all of it, nil when it is zero. It is the snapshot's own.
func (s *Snapshot) Contents() []byte {
	if s.all == nil {
		return nil
	}
	return s.all[:s.size]
}

// words returns the words of a block, making it when it was zero.
func (s *Snapshot) words(i int) []uint64 {
	_, n := block(s.size, i)
	if s.blocks[i] == nil {
		s.blocks[i] = make([]byte, n)
	}
	return wordsAt(unsafe.Pointer(unsafe.SliceData(s.blocks[i])), n)
}

// copyTo writes it to memory that is zero.
func (s *Snapshot) copyTo(memory unsafe.Pointer) {
	for i, from := range s.blocks {
		if from != nil {
			CopyShared(unsafe.Slice((*byte)(unsafe.Add(memory, i*blockSize)), len(from)), from)
		}
	}
}

func wordsAt(p unsafe.Pointer, n int) []uint64 { return unsafe.Slice((*uint64)(p), n/8) }

// Pointer returns the address of the section's first byte. It is the same for
// the whole life of the region.
func (r *Region) Pointer() unsafe.Pointer {
	return r.memory.at(r.start)
}

// Bytes returns the section's memory.
func (r *Region) Bytes() []byte {
	return unsafe.Slice((*byte)(r.Pointer()), r.size)
}

// Size returns how many bytes the section has.
func (r *Region) Size() int { return r.size }

// Capacity returns how many bytes the region has, in whole pages.
func (r *Region) Capacity() int { return r.pages }

// Mapped reports whether the region is the memory of a map.
func (r *Region) Mapped() bool { return r.mapped }

// LayOut returns regions for the sections of one object, and the memory that has all but the
// large ones, which have memory of their own. Those that others may write to come first, as
// they share one mapping.
func LayOut(specs []Spec) (*Memory, []Region) {
	pageSize := os.Getpagesize()
	order := make([]int, 0, len(specs))
	size, shared := 0, 0
	for _, writable := range []bool{true, false} {
		for i, s := range specs {
			if s.Writable == writable && s.Size <= blockSize {
				order = append(order, i)
				size += wholePages(s.Size, pageSize)
			}
		}
		if writable {
			shared = size
		}
	}
	m := newMemory(size, pageSize)
	isShared := shared > 0 && m.share(shared, false)
	regions := make([]Region, len(specs))
	start := 0
	for _, i := range order {
		s := &specs[i]
		r := &regions[i]
		*r = Region{memory: m, start: start, size: s.Size, pages: wholePages(s.Size, pageSize), shared: isShared && start < shared}
		r.set(s.Contents)
		start += r.pages
	}
	for i := range regions {
		if regions[i].memory == nil {
			regions[i] = *newRegion(specs[i], pageSize)
		}
	}
	return m, regions
}

// Fits reports whether a section of size bytes is no larger than [MaxSize], which it calls
// only for large sections.
func Fits(size int) bool { return size <= blockSize || uint64(size) <= MaxSize() }

// MaxSize returns how many bytes a section may have: what the kernel takes as the value
// of an array, INT_MAX, and no more than half of the machine's memory, as the kernel and
// this process need it at once.
func MaxSize() uint64 {
	return min(math.MaxInt32, machineMemory()/2)
}

// CopyShared copies memory that others, the kernel among them, may be writing. It
// copies whole words where it can, as sync/atomic writes them.
//
// The race detector must not take the copy for accesses of the user's. So it is a loop: the
// builtin copy reports them, whoever calls it.
//
//go:norace
func CopyShared(dst, src []byte) {
	n := min(len(dst), len(src))
	to, from := unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src))
	i := 0
	if (uintptr(to)|uintptr(from))%8 == 0 {
		for ; i+8 <= n; i += 8 {
			*(*uint64)(unsafe.Add(to, i)) = *(*uint64)(unsafe.Add(from, i))
		}
	}
	for ; i < n; i++ {
		*(*byte)(unsafe.Add(to, i)) = *(*byte)(unsafe.Add(from, i))
	}
}

// isZero reports whether all bytes are 0. Others may be writing them.
//
//go:norace
func isZero(b []byte) bool {
	for uintptr(unsafe.Pointer(unsafe.SliceData(b)))%8 == 0 && len(b) >= 8 {
		if *(*uint64)(unsafe.Pointer(unsafe.SliceData(b))) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
