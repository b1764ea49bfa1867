package skeleton

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
)

// newArray returns an array of one value of size bytes, mappable if flags say so.
func newArray(t testing.TB, size int, flags uint32) *ebpf.Map {
	t.Helper()
	kerneltest.BPF(t)
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1, Flags: flags})
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

func word(r *region) *uint64 { return (*uint64)(r.pointer()) }

func TestRegionLayout(t *testing.T) {
	for _, pageSize := range []int{4096, 16384, 65536} {
		for _, size := range []int{1, 8, 4095, 4096, 4097, 65536, 200_000} {
			contents := bytes.Repeat([]byte{0xa5}, size)
			r := newRegion(contents, pageSize)
			if p := uintptr(r.pointer()); p%uintptr(pageSize) != 0 {
				t.Errorf("page size %d, %d bytes: address %#x is not aligned", pageSize, size, p)
			}
			if r.off+r.pages > len(r.buf) || r.pages < size || r.pages%pageSize != 0 {
				t.Errorf("page size %d, %d bytes: pages [%d, +%d) of a buffer of %d", pageSize, size, r.off, r.pages, len(r.buf))
			}
			if !bytes.Equal(r.bytes(), contents) {
				t.Errorf("page size %d, %d bytes: contents differ", pageSize, size)
			}
		}
	}
}

func TestRegionIsTheMap(t *testing.T) {
	m := newArray(t, 16, unix.BPF_F_MMAPABLE)
	put(t, m, []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0})
	r := newRegion(make([]byte, 16), os.Getpagesize())
	p := word(r)
	if err := r.mapOver(m.FD(), false); err != nil {
		t.Fatal(err)
	}
	if *p != 1 {
		t.Errorf("read %d through a pointer from before, want 1", *p)
	}
	*p = 7
	if got := get(t, m); got[0] != 7 {
		t.Errorf("the map holds %v after a write of 7", got)
	}
	put(t, m, bytes.Repeat([]byte{9}, 16))
	if *p != 0x0909090909090909 {
		t.Errorf("read %#x after a write to the map", *p)
	}

	if err := r.release(); err != nil {
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
	put(t, m, []byte{3, 0, 0, 0, 0, 0, 0, 0})
	if err := m.Freeze(); err != nil {
		t.Fatal(err)
	}
	r := newRegion(make([]byte, 8), os.Getpagesize())
	if err := r.mapOver(m.FD(), false); !errors.Is(err, errNotMappable) {
		t.Errorf("writable mapping of a frozen map: %v", err)
	}
	if err := r.mapOver(m.FD(), true); err != nil {
		t.Fatal(err)
	}
	if got := *word(r); got != 3 {
		t.Errorf("read %d, want 3", got)
	}
	if err := r.release(); err != nil {
		t.Fatal(err)
	}
	*word(r) = 4 // private memory again: no fault
}

func TestRegionNotMappable(t *testing.T) {
	hash, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		kerneltest.BPF(t)
		t.Fatal(err)
	}
	defer hash.Close()
	for _, m := range []*ebpf.Map{newArray(t, 8, 0), hash} {
		r := newRegion([]byte{5, 0, 0, 0, 0, 0, 0, 0}, os.Getpagesize())
		if err := r.mapOver(m.FD(), false); !errors.Is(err, errNotMappable) {
			t.Errorf("%s: %v", m.Type(), err)
		}
		*word(r)++
		if got := *word(r); got != 6 {
			t.Errorf("%s: memory holds %d, want 6", m.Type(), got)
		}
		if err := r.release(); err != nil {
			t.Error(err)
		}
	}
	if err := newRegion(make([]byte, 8), os.Getpagesize()).mapOver(-1, false); err == nil || errors.Is(err, errNotMappable) {
		t.Errorf("bad file descriptor: %v", err)
	}
}

// Readers never see anything but the value while the pages are swapped under
// them, and never fault.
func TestRegionReleaseIsAtomic(t *testing.T) {
	m := newArray(t, 8, unix.BPF_F_MMAPABLE)
	put(t, m, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	r := newRegion([]byte{1, 2, 3, 4, 5, 6, 7, 8}, os.Getpagesize())
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
		if err := r.mapOver(m.FD(), false); err != nil {
			t.Fatal(err)
		}
		if err := r.release(); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	if got := torn.Load(); got != 0 {
		t.Errorf("a reader saw %#x, want %#x only", got, want)
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
		value[0] = byte(i)
		put(t, maps[i], value)
		r := newRegion(make([]byte, 5000), os.Getpagesize())
		if err := r.mapOver(maps[i].FD(), false); err != nil {
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
		if got := get(t, m); got[0] != byte(i) || got[1] != 50 {
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
			r := newRegion(make([]byte, 5000), os.Getpagesize())
			if err := r.mapOver(m.FD(), false); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 { // half of them released, half just dropped
				if err := r.release(); err != nil {
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
