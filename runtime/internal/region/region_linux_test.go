package region

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// newArray returns an array of one value of size bytes, mappable if flags say so.
func newArray(t testing.TB, size int, flags uint32) *ebpf.Map {
	t.Helper()
	bpftest.NeedsBPF(t)
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1, Flags: flags})
	if errors.Is(err, unix.E2BIG) {
		t.Skipf("needs a kernel with map values of %d bytes (5.11): %v", size, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func put(t testing.TB, m *ebpf.Map, value []byte) {
	t.Helper()
	if err := m.Put(uint32(0), value); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, m *ebpf.Map) []byte {
	t.Helper()
	value, err := m.LookupBytes(uint32(0))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// words returns the bytes of numbers, as this machine has them.
func words(numbers ...uint64) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.NativeEndian.AppendUint64(b, n)
	}
	return b
}

func firstWord(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

func word(r *Region) *uint64 { return (*uint64)(r.Pointer()) }

func TestRegionLayout(t *testing.T) {
	for _, pageSize := range []int{4096, 16384, 65536} {
		for _, size := range []int{1, 8, 4095, 4096, 4097, 65536, 200_000} {
			contents := bytes.Repeat([]byte{0xa5}, size)
			r := newRegion(Spec{Size: size, Contents: contents, Writable: true}, pageSize)
			if p := uintptr(r.Pointer()); p%uintptr(pageSize) != 0 {
				t.Errorf("page size %d, %d bytes: address %#x is not aligned", pageSize, size, p)
			}
			if r.memory.off+r.pages > len(r.memory.buf) || r.pages < size || r.pages%pageSize != 0 {
				t.Errorf("page size %d, %d bytes: pages [%d, +%d) of a buffer of %d", pageSize, size, r.memory.off, r.pages, len(r.memory.buf))
			}
			if !bytes.Equal(r.Bytes(), contents) {
				t.Errorf("page size %d, %d bytes: contents differ", pageSize, size)
			}
		}
	}
}

func TestRegionIsTheMap(t *testing.T) {
	m := newArray(t, 16, unix.BPF_F_MMAPABLE)
	put(t, m, words(1, 2))
	r := New(Spec{Size: 16, Writable: true})
	p := word(r)
	if err := r.MapOver(m.FD(), false, r.Snapshot(), Alias{}); err != nil {
		t.Fatal(err)
	}
	if *p != 1 {
		t.Errorf("read %d through a pointer from before, want 1", *p)
	}
	*p = 7
	if got := get(t, m); firstWord(got) != 7 {
		t.Errorf("the map holds %v after a write of 7", got)
	}
	put(t, m, bytes.Repeat([]byte{9}, 16))
	if *p != 0x0909090909090909 {
		t.Errorf("read %#x after a write to the map", *p)
	}

	if err := r.Release(m.FD()); err != nil {
		t.Fatal(err)
	}
	if word(r) != p || *p != 0x0909090909090909 {
		t.Errorf("after release: %p holds %#x, want %p and the last value", word(r), *word(r), p)
	}
	*p = 1
	if got := get(t, m); got[0] != 9 {
		t.Errorf("the map still sees writes after release: %v", got)
	}
}

func TestRegionReadOnly(t *testing.T) {
	m := newArray(t, 8, unix.BPF_F_MMAPABLE|unix.BPF_F_RDONLY_PROG)
	put(t, m, words(3))
	if err := m.Freeze(); err != nil {
		t.Fatal(err)
	}
	r := New(Spec{Size: 8, Writable: true})
	if err := r.MapOver(m.FD(), false, r.Snapshot(), Alias{}); !errors.Is(err, ErrRefused) {
		t.Errorf("writable mapping of a frozen map: %v", err)
	}
	if err := r.MapOver(m.FD(), true, r.Snapshot(), Alias{}); err != nil {
		t.Fatal(err)
	}
	if got := *word(r); got != 3 {
		t.Errorf("read %d, want 3", got)
	}
	if err := r.Release(m.FD()); err != nil {
		t.Fatal(err)
	}
	*word(r) = 4 // private memory again: no fault
}

func TestRegionNotMappable(t *testing.T) {
	hash, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		bpftest.NeedsBPF(t)
		t.Fatal(err)
	}
	defer hash.Close()
	// For types that have no mapping, the kernel answers as for values that may not be seen.
	for m, want := range map[*ebpf.Map]error{newArray(t, 8, 0): ErrRefused, hash: ErrNotMappable} {
		r := New(Spec{Size: 8, Contents: words(5), Writable: true})
		if err := r.MapOver(m.FD(), false, r.Snapshot(), Alias{}); !errors.Is(err, want) {
			t.Errorf("%s: %v", m.Type(), err)
		}
		*word(r)++
		if got := *word(r); got != 6 {
			t.Errorf("%s: memory holds %d, want 6", m.Type(), got)
		}
		if err := r.Release(m.FD()); err != nil {
			t.Error(err)
		}
	}
	if err := New(Spec{Size: 8, Writable: true}).MapOver(-1, false, nil, Alias{}); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("bad file descriptor: %v", err)
	}
}

// Readers never see anything but the value while the pages are swapped under
// them, and never fault.
func TestRegionReleaseIsAtomic(t *testing.T) {
	m := newArray(t, 8, unix.BPF_F_MMAPABLE)
	put(t, m, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	r := New(Spec{Size: 8, Contents: []byte{1, 2, 3, 4, 5, 6, 7, 8}, Writable: true})
	p := word(r)
	want := atomic.LoadUint64(p)

	var stop atomic.Bool
	var wg sync.WaitGroup
	var torn atomic.Uint64
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				for range 1000 {
					if got := atomic.LoadUint64(p); got != want {
						torn.Store(got)
					}
				}
				// With more readers than CPUs, the other side would wait in most of its
				// rounds until the scheduler interrupts them, after 10 ms each.
				runtime.Gosched()
			}
		})
	}
	// In a virtual machine whose CPUs wait for each other on a busy host, a round
	// may take 50 ms.
	enough := time.Now().Add(5 * time.Second)
	for i := range 2000 {
		if i >= 100 && time.Now().After(enough) {
			break
		}
		if err := r.MapOver(m.FD(), false, r.Snapshot(), Alias{}); err != nil {
			t.Fatal(err)
		}
		if err := r.Release(m.FD()); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	if got := torn.Load(); got != 0 {
		t.Errorf("a reader saw %#x, want %#x only", got, want)
	}
}

// What others write while the pages are replaced is not lost.
func TestRegionKeepsAdds(t *testing.T) {
	m := newArray(t, 24, unix.BPF_F_MMAPABLE)
	u64, u32 := &btf.Int{Size: 8}, &btf.Int{Size: 4}
	section := &btf.Datasec{Vars: []btf.VarSecinfo{
		{Type: &btf.Var{Type: u64}, Offset: 0, Size: 8},
		{Type: &btf.Var{Type: u32}, Offset: 8, Size: 4},
		{Type: &btf.Var{Type: u32}, Offset: 12, Size: 4},
		{Type: &btf.Var{Type: u64}, Offset: 16, Size: 8},
	}}
	enough := time.Now().Add(5 * time.Second)
	for round := range 500 {
		if round >= 20 && time.Now().After(enough) {
			break
		}
		r := New(Spec{Size: 24, Writable: true})
		r.Types = func() *btf.Datasec { return section }
		long, stored := word(r), (*uint64)(unsafe.Add(r.Pointer(), 16))
		short, other := (*uint32)(unsafe.Add(r.Pointer(), 8)), (*uint32)(unsafe.Add(r.Pointer(), 12))
		var stop atomic.Bool
		var wg sync.WaitGroup
		var added [3]uint64
		for i, write := range []func(){
			func() { atomic.AddUint64(long, 1) },
			func() { atomic.AddUint32(short, 3) },
			func() { atomic.AddUint32(other, ^uint32(0)) },
		} {
			wg.Go(func() {
				for !stop.Load() {
					for range 10 {
						write()
						added[i]++
					}
					runtime.Gosched()
				}
			})
		}
		// Once: of stores to both the old pages and the new, one is lost.
		value := uint64(round + 1)
		wg.Go(func() {
			time.Sleep(time.Duration(round%20) * 5 * time.Microsecond)
			atomic.StoreUint64(stored, value)
		})
		contents := r.Snapshot()
		initial := contents.Contents()
		if initial == nil {
			initial = make([]byte, 24)
		}
		put(t, m, initial)
		runtime.Gosched() // as in Load, where programs are verified meanwhile
		if err := r.MapOver(m.FD(), false, contents, Alias{}); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
		if err := r.Release(m.FD()); err != nil {
			t.Fatal(err)
		}
		stop.Store(true)
		wg.Wait()
		if *long != added[0] || *short != uint32(3*added[1]) || *other != -uint32(added[2]) || *stored != value {
			t.Fatalf("round %d: %d, %d, %d and %d, want %d, %d, %d and %d", round, *long, *short, *other, *stored,
				added[0], uint32(3*added[1]), -uint32(added[2]), value)
		}
	}
}

// A map that takes the place of the section's own keeps its contents, whatever is written
// to the section meanwhile.
func TestRegionOfAnotherMap(t *testing.T) {
	m := newArray(t, 8, unix.BPF_F_MMAPABLE)
	put(t, m, words(1))
	r := New(Spec{Size: 8, Contents: words(5), Writable: true})
	*word(r) = 6
	if err := r.MapOver(m.FD(), false, nil, Alias{}); err != nil {
		t.Fatal(err)
	}
	if got := *word(r); got != 1 {
		t.Errorf("the section is %d, want the 1 of the map", got)
	}
	if err := r.Release(m.FD()); err != nil {
		t.Fatal(err)
	}
}

// One second mapping serves all regions of a memory that share pages.
func TestAlias(t *testing.T) {
	m, regions := LayOut([]Spec{{Size: 8, Writable: true}, {Size: 8}, {Size: 8, Writable: true}, {Size: blockSize + 1, Writable: true}})
	if m.shared == 0 {
		t.Fatal("no memory is shared")
	}
	old := m.Alias()
	for i, shared := range []bool{true, false, true, false} {
		p := (*uint64)(old.of(&regions[i]))
		if (p != nil) != shared {
			t.Fatalf("region %d has another mapping: %v, want %v", i, p != nil, shared)
		}
		if p != nil {
			if atomic.AddUint64(word(&regions[i]), 3); atomic.LoadUint64(p) != 3 {
				t.Errorf("region %d: its mappings differ", i)
			}
		}
	}
	array := newArray(t, 8, unix.BPF_F_MMAPABLE)
	put(t, array, words(3))
	before := regions[2].Snapshot()
	atomic.AddUint64(word(&regions[2]), 1)
	if err := regions[2].MapOver(array.FD(), false, before, old); err != nil {
		t.Fatal(err)
	}
	old.Close()
	if got := get(t, array); firstWord(got) != 4 || !regions[2].Mapped() {
		t.Errorf("the map has %v, want the 4 that was written after the snapshot", got)
	}
	// It is not one mapping any more.
	none := m.Alias()
	if p := none.of(&regions[0]); p != nil {
		t.Error("there is an alias of what was replaced")
	}
	none.Close()
	(*Memory)(nil).Alias().Close()
	if err := regions[2].Release(array.FD()); err != nil {
		t.Error(err)
	}
}

// Pointers keep their memory when everything else is gone, under a collector
// that runs all the time and a heap that is in full use.
func TestRegionOutlivesItsOwner(t *testing.T) {
	const n = 64
	maps := make([]*ebpf.Map, n)
	pointers := make([]*uint64, n)
	for i := range maps {
		maps[i] = newArray(t, 5000, unix.BPF_F_MMAPABLE)
		value := make([]byte, 5000)
		copy(value, words(uint64(i)))
		put(t, maps[i], value)
		r := New(Spec{Size: 5000, Writable: true})
		if err := r.MapOver(maps[i].FD(), false, r.Snapshot(), Alias{}); err != nil {
			t.Fatal(err)
		}
		pointers[i] = word(r)
	}

	for range 50 {
		churn(2 << 20)
		runtime.GC()
		for i, p := range pointers {
			atomic.AddUint64(p, 256)
			if got := atomic.LoadUint64(p); byte(got) != byte(i) {
				t.Fatalf("pointer %d reads %#x", i, got)
			}
		}
	}
	for i, m := range maps {
		if got := get(t, m); firstWord(got) != uint64(50*256+i) {
			t.Errorf("map %d holds %v: some writes went elsewhere", i, got[:8])
		}
	}
	runtime.KeepAlive(pointers)
}

// The name that a mapping has to have for the kernel to merge it with the heap's.
func TestAnonymousName(t *testing.T) {
	const maps = `00400000-004b0000 r-xp 00000000 fe:00 1234    /usr/bin/prog
40000000-40400000 rw-p 00000000 00:00 0   [anon: Go: heap]
40400000-44000000 ---p 00000000 00:00 0   [anon: Go: heap reservation]
70000000-70001000 rw-p 00000000 00:00 0 
70001000-70002000 rw-p 00000000 00:00 0   [heap]
`
	for addr, want := range map[uintptr]string{
		0x400000:   "",
		0x4b0000:   "",
		0x40000000: " Go: heap",
		0x403fffff: " Go: heap",
		0x40400000: " Go: heap reservation",
		0x70000000: "",
		0x70001000: "",
	} {
		if got := anonymousName(maps, addr); got != want {
			t.Errorf("%#x: %q, want %q", addr, got, want)
		}
	}
}

// When no pointer is left the heap gets its pages back: no mapping stays, and
// what the heap does with them no longer reaches the map.
func TestRegionIsGivenBack(t *testing.T) {
	m := newArray(t, 5000, unix.BPF_F_MMAPABLE)
	put(t, m, make([]byte, 5000))
	for range 3 { // let the runtime reach its steady state
		churn(8 << 20)
		runtime.GC()
	}
	before := kerneltest.MapCount(t)
	func() {
		for i := range 200 {
			r := New(Spec{Size: 5000, Writable: true})
			if err := r.MapOver(m.FD(), false, r.Snapshot(), Alias{}); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 { // half of them released, half just dropped
				if err := r.Release(m.FD()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}()
	deadline := time.Now().Add(20 * time.Second)
	for {
		runtime.GC()
		churn(8 << 20)
		after := kerneltest.MapCount(t)
		// The heap may have grown by an arena or two meanwhile.
		if after <= before+8 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d mappings, %d before", after, before)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := get(t, m); !bytes.Equal(got, make([]byte, 5000)) {
		t.Error("the heap wrote into the map")
	}
}

var sink [][]byte

// churn allocates about n bytes in pieces of many sizes and writes to all of them.
func churn(n int) {
	sink = nil
	for size := 16; n > 0; size = size%40_000 + 777 {
		b := make([]byte, size)
		for i := range b {
			b[i] = 0xff
		}
		sink = append(sink, b)
		n -= size
	}
	sink = nil
}

// Of a large section, the pages that nobody has written to take no memory, and what others
// write while its pages are replaced is not lost.
func TestLargeRegion(t *testing.T) {
	size := 16<<20 + 24
	if os.Getenv("IN_VM") != "" {
		// An emulated CPU takes minutes for all of it.
		size = 6<<20 + 24
	}
	m := newArray(t, size, unix.BPF_F_MMAPABLE)
	r := New(Spec{Size: size, Writable: true})
	at := func(offset int) *uint64 { return (*uint64)(unsafe.Add(r.Pointer(), offset)) }
	places := []int{0, blockSize - 8, 5 << 20, size - 8}
	if s := r.Snapshot(); s.Contents() != nil {
		t.Error("a region that is zero has contents")
	}
	*at(5 << 20) = 5
	before := r.Snapshot()
	used := 0
	for _, b := range before.blocks {
		if b != nil {
			used++
		}
	}
	if used != 1 {
		t.Errorf("%d blocks are in the snapshot, want the one that was written to", used)
	}
	put(t, m, before.Contents())
	// After the snapshot.
	for i, place := range places {
		*at(place) += uint64(i + 1)
	}
	if err := r.MapOver(m.FD(), false, before, Alias{}); err != nil {
		t.Fatal(err)
	}
	got := get(t, m)
	for i, place := range places {
		want := uint64(i + 1)
		if place == 5<<20 {
			want += 5
		}
		if inMap := firstWord(got[place:]); inMap != want || *at(place) != want {
			t.Errorf("at %d: %d in the map and %d in the section, want %d", place, inMap, *at(place), want)
		}
	}
	if r.memory.file != nil {
		t.Error("the file is open")
	}
	var stop atomic.Bool
	var writes [4]uint64
	var wg sync.WaitGroup
	for i, place := range places {
		p := at(place)
		wg.Go(func() {
			// Once at least: on a busy machine it may begin when all is over.
			for done := false; !done; {
				done = stop.Load()
				writes[i] = atomic.AddUint64(p, 1)
			}
		})
	}
	if err := r.Release(m.FD()); err != nil {
		t.Error(err)
	}
	stop.Store(true)
	wg.Wait()
	for i, place := range places {
		if got := *at(place); got != writes[i] {
			t.Errorf("at %d: %d, want %d", place, got, writes[i])
		}
	}
}
