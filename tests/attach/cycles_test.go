package attach_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/tests/attach/progs/cycle"
)

var cycles = flag.Int("cycles", 50, "how many times TestCycles goes from Open to Close")

// kernelObjects are the ids of what a skeleton has in the kernel. The kernel gives an
// id again only after all others, so an id that is unknown is that of a thing that is
// gone, whatever other processes do.
type kernelObjects struct {
	progs map[ebpf.ProgramID]bool
	maps  map[ebpf.MapID]bool
	links map[link.ID]bool
	btfs  map[btf.ID]bool
}

func newKernelObjects() *kernelObjects {
	return &kernelObjects{make(map[ebpf.ProgramID]bool), make(map[ebpf.MapID]bool), make(map[link.ID]bool), make(map[btf.ID]bool)}
}

// add adds what the skeleton has.
func (k *kernelObjects) add(t *testing.T, skel *cycle.Skeleton) {
	t.Helper()
	addIDs(t, k.progs, skel)
	for _, p := range cyclePrograms(skel) {
		info, err := p.Program().Info()
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := info.BTFID(); ok {
			k.btfs[id] = true
		}
	}
	for _, m := range []*ebpf.Map{skel.Maps.Bss.Map(), skel.Maps.Rodata.Map()} {
		info, err := m.Info()
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := info.ID(); ok {
			k.maps[id] = true
		}
		if id, ok := info.BTFID(); ok {
			k.btfs[id] = true
		}
	}
	for _, l := range cycleLinks(skel) {
		info, err := l.Info()
		if err != nil {
			t.Fatal(err)
		}
		k.links[info.ID] = true
	}
}

// drop forgets what is gone, and returns how many of each there are still.
func (k *kernelObjects) drop(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("%d programs, %d maps, %d links, %d BTFs",
		drop(t, k.progs, ebpf.NewProgramFromID), drop(t, k.maps, ebpf.NewMapFromID),
		drop(t, k.links, link.NewFromID), drop(t, k.btfs, btf.NewHandleFromID))
}

func drop[ID comparable, T interface{ Close() error }](t *testing.T, ids map[ID]bool, open func(ID) (T, error)) int {
	t.Helper()
	for id := range ids {
		x, err := open(id)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			delete(ids, id)
		case err != nil:
			t.Fatal(err)
		default:
			x.Close()
		}
	}
	return len(ids)
}

// wantGone waits until the kernel has freed everything, which it does when all CPUs
// have passed a point where they cannot use it any more.
func (k *kernelObjects) wantGone(t *testing.T) {
	t.Helper()
	const none = "0 programs, 0 maps, 0 links, 0 BTFs"
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := k.drop(t)
		if left == none {
			return
		}
		if time.Now().After(end) {
			t.Errorf("in the kernel there are still %s", left)
			return
		}
	}
}

// collect frees all that nobody refers to. A section's memory is the heap's, which
// has it back when its finalizer has run: the pages are in mappings of their own
// until then.
func collect() {
	for range 2 {
		last := make(chan struct{})
		// Finalizers run in the order in which the collector finds the objects, in one
		// goroutine; that of a later collection comes after all of this one.
		runtime.GC()
		runtime.SetFinalizer(new([2]*byte), func(*[2]*byte) { close(last) })
		runtime.GC()
		<-last
	}
	debug.FreeOSMemory()
}

// usage is what this process has.
type usage struct {
	fds int
	// heapMappings are the mappings in the range of addresses of the heap in which
	// sections are, bpfMappings those of BPF maps, small those of up to 64 KiB that can
	// be read, as a section's would be, and mappings are all: the race detector makes
	// some for itself now and then, large ones, as C does for each thread.
	heapMappings, bpfMappings, small, mappings int
	goroutines                                 int
	// heap and resident are in bytes.
	heap, resident uint64
}

func (u usage) String() string {
	return fmt.Sprintf("%d file descriptors; %d mappings, %d of them in the heap, %d of BPF maps, %d small ones; %d goroutines; %d KiB of the heap in use, %d KiB resident",
		u.fds, u.mappings, u.heapMappings, u.bpfMappings, u.small, u.goroutines, u.heap>>10, u.resident>>10)
}

// heapArena is the size of the parts in which Go reserves addresses for the heap.
const heapArena = 64 << 20

// used returns what this process has after all is freed that can be.
func used(t *testing.T) usage {
	t.Helper()
	collect()
	u := usage{fds: len(kerneltest.FDs(t)), goroutines: runtime.NumGoroutine()}
	arena := uintptr(unsafe.Pointer(unsafe.SliceData(make([]byte, 8192)))) / heapArena * heapArena
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var from, to uintptr
		var prot string
		if _, err := fmt.Sscanf(string(line), "%x-%x %s", &from, &to, &prot); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		u.mappings++
		if to-from <= 64<<10 && prot[0] == 'r' {
			u.small++
		}
		if to > arena && from < arena+heapArena {
			u.heapMappings++
		}
		if bytes.Contains(line, []byte("bpf-map")) {
			u.bpfMappings++
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kb uint64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			u.resident = kb << 10
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.heap = m.HeapAlloc
	return u
}

// Nothing is left of a skeleton after Close, while goroutines read its sections.
func TestCycles(t *testing.T) {
	bpftest.NeedsBPF(t)
	// The current section for the readers, whatever state its skeleton is in.
	var current atomic.Pointer[cycle.Bss]
	done := make(chan struct{})
	var readers sync.WaitGroup
	var sum atomic.Uint64
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				for range 1000 {
					if bss := current.Load(); bss != nil {
						sum.Add(atomic.LoadUint64(&bss.Hits))
					}
				}
				// Leaves the CPUs of a slow machine to the test.
				time.Sleep(500 * time.Microsecond)
			}
		})
	}
	objects := newKernelObjects()
	one := func() {
		skel, err := cycle.Open()
		if err != nil {
			t.Fatal(err)
		}
		current.Store(skel.Bss)
		if err := skel.Load(); err != nil {
			t.Fatal(err)
		}
		if err := skel.Attach(); err != nil {
			t.Fatal(err)
		}
		objects.add(t, skel)
		before := atomic.LoadUint64(&skel.Bss.Hits)
		rename(t, nil)
		if atomic.LoadUint64(&skel.Bss.Hits) == before {
			t.Fatal("does not fire")
		}
		if err := skel.Detach(); err != nil {
			t.Fatal(err)
		}
		if err := skel.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// rest returns what the process has when the kernel has nothing of the skeletons.
	rest := func(cycle int) usage {
		current.Store(nil)
		objects.wantGone(t)
		u := used(t)
		t.Logf("after %d cycles: %v", cycle, u)
		return u
	}
	run := func(n int) {
		for i := range n {
			one()
			if i%10 == 9 {
				objects.drop(t)
			}
		}
	}
	// What is made once and kept: caches, the scheduler's threads, the heap's size.
	most := kerneltest.Rounds(*cycles)
	warm := most/10 + 20
	run(warm)
	before := rest(warm)
	run(most)
	after := rest(warm + most)
	close(done)
	readers.Wait()

	if after.fds != before.fds {
		t.Errorf("%d file descriptors before, %d after: %v", before.fds, after.fds, kerneltest.FDs(t))
	}
	if after.bpfMappings != 0 {
		t.Errorf("%d mappings of BPF maps are left", after.bpfMappings)
	}
	if after.heapMappings != before.heapMappings {
		t.Errorf("the heap was in %d mappings before, and is in %d after", before.heapMappings, after.heapMappings)
	}
	if after.small > before.small {
		t.Errorf("%d small mappings before, %d after", before.small, after.small)
	}
	if after.goroutines != before.goroutines {
		t.Errorf("%d goroutines before, %d after", before.goroutines, after.goroutines)
	}
	// Others than skeletons use memory too: how much does not depend on the cycles.
	if after.heap > before.heap+256<<10 {
		t.Errorf("%d bytes of the heap in use before, %d after", before.heap, after.heap)
	}
	if after.resident > before.resident+16<<20 {
		t.Errorf("%d bytes of memory before, %d after", before.resident, after.resident)
	}
}
