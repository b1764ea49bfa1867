package skeleton

import (
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
)

// errNotMappable is returned by region.mapOver when user space may not see what the map
// holds, such as a lock, and errRefused when the map is of another kind or access mode than
// sections have: another one that took its place.
var (
	errNotMappable = errors.New("the map holds what user space may not see")
	errRefused     = errors.New("the map cannot be mapped so")
)

// memory is where the structs of sections are: page-aligned parts of one Go heap
// allocation. Go's collector does not move objects and does not look into allocations
// without pointers, so pages inside such an allocation can be replaced by pages of BPF maps
// and back while pointers to them exist. The allocation stays alive as long as any pointer
// into it, also one that the user took.
//
// Other goroutines may write through such pointers while the pages are replaced. What
// they have written to the old pages is put into the new ones (merge), for which the old
// pages must have a second address. The heap's own pages cannot have one, so sections
// that are writable have shared memory in their place from the beginning, before there are
// pointers to it.
type memory struct {
	// buf is the whole allocation: one page more than needed, because the
	// start of a Go allocation need not be aligned to the machine's pages.
	buf []byte
	// off is where the first page starts in buf, and size how many bytes there are from
	// there on, in whole pages.
	off, size int
	// shared is how many bytes at the beginning are one mapping of shared memory. It is 0
	// once a part of it was replaced.
	shared int
	// file is the shared memory when it is to tell which of its pages were written to, and
	// nil otherwise.
	file *os.File
	// guarded says that buf's finalizer, which gives its pages back, is set.
	guarded bool
}

// newMemory returns memory of size bytes, in whole pages, all of it zero. It takes none of
// the machine's until it is written to.
func newMemory(size, pageSize int) *memory {
	buf := make([]byte, size+pageSize)
	off := -int(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))) & (pageSize - 1)
	return &memory{buf: buf, off: off, size: size}
}

// at returns the address of the byte with the offset. It is the same for the whole life of
// the memory.
func (m *memory) at(offset int) unsafe.Pointer { return unsafe.Pointer(&m.buf[m.off+offset]) }

// region is the part of a memory that one section's struct is in.
type region struct {
	*memory
	// start is where it begins in the memory.
	start int
	// size is the size of the section, in bytes; pages is size rounded up.
	size, pages int
	// mapped says that the pages are those of a BPF map, and readOnly that these cannot
	// be written; shared says that they are shared memory.
	mapped, readOnly, shared bool
	// typ returns which variables there are, nil if the object does not say. It is called
	// when two have written to one word.
	typ func() *btf.Datasec
}

// newRegion returns a region of size bytes that holds contents, or zeros when these are
// nil, with memory of its own that is aligned to pageSize. With share, others may write to
// it while its pages are replaced.
func newRegion(contents []byte, size, pageSize int, share bool) *region {
	m := newMemory(wholePages(size, pageSize), pageSize)
	r := &region{memory: m, size: size, pages: m.size}
	if share {
		r.shared = m.share(m.size, size > blockSize && isZero(contents))
	}
	r.set(contents)
	return r
}

// set gives a region that is zero its initial values.
func (r *region) set(contents []byte) {
	if !isZero(contents) {
		copy(r.bytes(), contents)
	}
}

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

// snapshot is what a region holds at one moment.
type snapshot struct {
	size int
	// blocks are the parts of it, nil for those that are zero. They are in all, which has
	// the whole, unless they were zero at first.
	blocks [][]byte
	all    []byte
}

// snapshot copies the region's memory, but for the parts that are zero.
func (r *region) snapshot() *snapshot {
	s := &snapshot{size: r.size, blocks: make([][]byte, blocks(r.size))}
	for i := range s.blocks {
		start, n := block(r.size, i)
		memory := unsafe.Slice((*byte)(unsafe.Add(r.pointer(), start)), n)
		if !r.holds(i) || isZero(memory) {
			continue
		}
		if s.all == nil {
			s.all = make([]byte, (r.size+7)&^7)
		}
		s.blocks[i] = s.all[start : start+n]
		copyShared(s.blocks[i], memory)
	}
	return s
}

// contents returns all of it, nil when it is zero.
func (s *snapshot) contents() []byte {
	if s.all == nil {
		return nil
	}
	return s.all[:s.size]
}

// words returns the words of a block, making it when it was zero.
func (s *snapshot) words(i int) []uint64 {
	_, n := block(s.size, i)
	if s.blocks[i] == nil {
		s.blocks[i] = make([]byte, n)
	}
	return wordsAt(unsafe.Pointer(unsafe.SliceData(s.blocks[i])), n)
}

// copyTo writes it to memory that is zero.
func (s *snapshot) copyTo(memory unsafe.Pointer) {
	for i, from := range s.blocks {
		if from != nil {
			copyShared(unsafe.Slice((*byte)(unsafe.Add(memory, i*blockSize)), len(from)), from)
		}
	}
}

func wordsAt(p unsafe.Pointer, n int) []uint64 { return unsafe.Slice((*uint64)(p), n/8) }

// pointer returns the address of the section's first byte. It is the same for
// the whole life of the region.
func (r *region) pointer() unsafe.Pointer {
	return r.at(r.start)
}

// bytes returns the section's memory.
func (r *region) bytes() []byte {
	return unsafe.Slice((*byte)(r.pointer()), r.size)
}

// field is a field of generated code that points to memory which this package owns.
type field struct{ p *unsafe.Pointer }

func fieldOf(f binding.Field) field { return field{(*unsafe.Pointer)(f.Pointer)} }

func (f field) get() unsafe.Pointer  { return *f.p }
func (f field) set(p unsafe.Pointer) { *f.p = p }

// takeOver makes the field, which was set to at, point there again. When the user has
// set it to a value of his own since, that is copied first.
func (f field) takeOver(at unsafe.Pointer, copyValue func(dst, src unsafe.Pointer)) error {
	switch p := f.get(); p {
	case at:
	case nil:
		return errFieldIsNil
	default:
		copyValue(at, p)
		f.set(at)
	}
	return nil
}

// copySharedOf returns a function that copies size bytes as copyShared does.
func copySharedOf(size uintptr) func(dst, src unsafe.Pointer) {
	return func(dst, src unsafe.Pointer) {
		copyShared(unsafe.Slice((*byte)(dst), size), unsafe.Slice((*byte)(src), size))
	}
}

// errFieldIsNil is for a field that the user has set to nil before Load.
var errFieldIsNil = errors.New("its field was set to nil: leave the pointer there that Open has set, and change what it points to")

// section is a data section of an open object.
type section struct {
	name string
	// size is that of the struct in generated code, and field points to it.
	size  uintptr
	field field
	// m is the section's map, or the arena that has its variables.
	m      *loader.Map
	region *region
	// before are the values that Load gives to the kernel, while it runs.
	before *snapshot
	// base is where the section is: in the region, unless Load has moved it to an
	// arena.
	base unsafe.Pointer
	// vars are the variables that subskeletons point to, until Load.
	vars []boundVar
	// hidden says that the kernel cannot map the section.
	hidden bool
}

// boundVar is a variable in a section, and a subskeleton's pointer to it.
type boundVar struct {
	name         string
	offset, size uintptr
	field        field
}

// takeOver puts the values into the section that the user has given by replacing
// structs of the skeleton, or pointers of subskeletons, instead of changing what they
// point to.
func (s *section) takeOver() error {
	if err := s.field.takeOver(s.base, copySharedOf(s.size)); err != nil {
		return fmt.Errorf("section %s: %w", s.name, err)
	}
	for _, v := range s.vars {
		if err := v.field.takeOver(unsafe.Add(s.base, v.offset), copySharedOf(v.size)); err != nil {
			return fmt.Errorf("variable %s of a subskeleton: %w", v.name, err)
		}
	}
	return nil
}

// show points the fields of the skeleton and of the subskeletons at the memory.
func (s *section) show() {
	s.hidden = false
	s.field.set(s.base)
	for _, v := range s.vars {
		v.field.set(unsafe.Add(s.base, v.offset))
	}
}

// hide makes them nil.
func (s *section) hide() {
	s.hidden = true
	s.field.set(nil)
	for _, v := range s.vars {
		v.field.set(nil)
	}
}

// bind points v's field at its variable, and keeps it right if it may change.
func (s *section) bind(v boundVar, mayChange bool) {
	if mayChange {
		s.vars = append(s.vars, v)
	}
	if !s.hidden {
		v.field.set(unsafe.Add(s.base, v.offset))
	}
}

// layOut gives the sections of an object their memory, sets them to their initial values,
// and points their fields at them. Those that others may write to come first, as they share
// one mapping; large ones have memory of their own.
func layOut(sections []section, contents [][]byte, sizes []int) *memory {
	pageSize := os.Getpagesize()
	order := make([]int, 0, len(sections))
	size, shared := 0, 0
	for _, readOnly := range []bool{false, true} {
		for i := range sections {
			if sections[i].readOnly() == readOnly && sizes[i] <= blockSize {
				order = append(order, i)
				size += wholePages(sizes[i], pageSize)
			}
		}
		if !readOnly {
			shared = size
		}
	}
	m := newMemory(size, pageSize)
	isShared := shared > 0 && m.share(shared, false)
	regions := make([]region, len(sections))
	start := 0
	for _, i := range order {
		pages := wholePages(sizes[i], pageSize)
		regions[i] = region{memory: m, start: start, size: sizes[i], pages: pages, shared: isShared && start < shared}
		regions[i].set(contents[i])
		sections[i].region = &regions[i]
		start += pages
	}
	for i := range sections {
		s := &sections[i]
		if s.region == nil {
			s.region = newRegion(contents[i], sizes[i], pageSize, !s.readOnly())
		}
		s.base = s.region.pointer()
		s.show()
	}
	return m
}

// checkSize compares the size of a section with that of the struct in generated code.
func (s *section) checkSize(size int) error {
	if size > blockSize && uint64(size) > mostZeroed() {
		return fmt.Errorf("section %s: has %d bytes, and this machine has memory for sections of %d: make the variables smaller, or use a map", s.name, size, mostZeroed())
	}
	// The struct may be longer by the padding that its alignment asks for.
	if s.size < uintptr(size) || s.size > uintptr(wholePages(size, os.Getpagesize())) {
		return fmt.Errorf("section %s: has %d bytes in the object and %d in the generated code: generate it again", s.name, size, s.size)
	}
	return nil
}

// mostZeroed returns how many bytes a section may have: what the kernel takes as the value
// of an array, INT_MAX, and no more than half of the machine's memory, as the kernel and
// this process need it at once.
func mostZeroed() uint64 {
	return min(math.MaxInt32, machineMemory()/2)
}

// readOnly reports whether the kernel's map of the section is frozen.
func (s *section) readOnly() bool {
	return s.m.Kind == image.RodataMap || s.m.Kind == image.KconfigMap
}

// mapOver makes the section the memory of its map, or takes the struct away where that
// cannot be mapped. old is a second mapping of its memory, nil when there is none.
func (s *section) mapOver(old unsafe.Pointer) error {
	if !s.m.Mappable {
		s.hide()
		return nil
	}
	contents := s.before
	if s.m.Taken {
		// What was written to the section is not for it.
		contents = nil
	}
	err := s.region.mapOver(s.m.Map.FD(), s.readOnly(), contents, old)
	if errors.Is(err, errNotMappable) || s.m.Taken && errors.Is(err, errRefused) {
		s.hide()
		return nil
	}
	return err
}

// copyShared copies memory that others, the kernel among them, may be writing. It
// copies whole words where it can, as sync/atomic writes them.
//
// The race detector must not take the copy for accesses of the user's. That is why it
// is a loop: what stands behind the builtin copy reports them, whoever calls it.
//
//go:norace
func copyShared(dst, src []byte) {
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
