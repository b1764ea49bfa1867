package runtime_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/runtime/progs/edges"
)

// Counters that goroutines add to while the skeleton loads and closes lose nothing.
func TestAddsDuringLoadAndClose(t *testing.T) {
	end := time.Now().Add(3 * time.Second)
	for round := 0; round < 300 && (round < 10 || time.Now().Before(end)); round++ {
		skel := openEdges(t)
		added, added32, inData := &skel.Bss.Added, &skel.Data.Added32, &skel.Data.AddedData
		var stop atomic.Bool
		var wg sync.WaitGroup
		var n [3]uint64
		for i, add := range []func(){
			func() { atomic.AddUint64(added, 1) },
			func() { atomic.AddUint32(added32, 1) },
			func() { atomic.AddUint64(inData, 1) },
		} {
			wg.Go(func() {
				for !stop.Load() {
					for range 50 {
						add()
						n[i]++
					}
					runtime.Gosched()
				}
			})
		}
		if err := skel.Load(); err != nil {
			t.Fatal(err)
		}
		closeEdges(t, skel)
		stop.Store(true)
		wg.Wait()
		if *added != n[0] || *added32 != 7+uint32(n[1]) || *inData != 4096+n[2] {
			t.Fatalf("round %d: %d, %d and %d, want %d, %d and %d", round, *added, *added32, *inData, n[0], 7+uint32(n[1]), 4096+n[2])
		}
	}
}

// Writes while the skeleton loads and closes, atomic ones and others, are no races, and
// the last of them counts. Of an integer of 8 bytes that is written to in both places, before
// and after the pages are replaced, both changes count, as for a counter: it may be more than
// what was stored last, by what was stored meanwhile.
func TestWritesDuringLoadAndClose(t *testing.T) {
	for range 20 {
		skel := openEdges(t)
		stored, small := &skel.Data.Stored, &skel.Data.Small
		last, lastSmall := *stored, *small
		var wg sync.WaitGroup
		var stop atomic.Bool
		for _, write := range []func(i uint64){
			func(i uint64) {
				lastSmall = uint16(i)
				*small = lastSmall
			},
			func(i uint64) {
				last = i
				atomic.StoreUint64(stored, i)
			},
		} {
			wg.Go(func() {
				// A write of the initial value looks like no write: see region.merge.
				for i := uint64(3); !stop.Load(); i++ {
					write(i)
					time.Sleep(10 * time.Microsecond)
				}
			})
		}
		if err := skel.Load(); err != nil {
			t.Fatal(err)
		}
		closeEdges(t, skel)
		stop.Store(true)
		wg.Wait()
		if *stored < last || *stored > 2*last || *small != lastSmall {
			t.Errorf("stored and small are %d and %d, want the %d or a little more, and the %d, that were stored last", *stored, *small, last, lastSmall)
		}
	}
}

// After a Load that failed all sections can be changed, and Load tried again.
func TestSectionsAfterFailedLoad(t *testing.T) {
	skel := open(t)
	bpftest.NeedsBPF(t)
	skel.Progs.CannotLoad.SetAutoload(true)
	var verr *ebpf.VerifierError
	if err := skel.Load(); !errors.As(err, &verr) {
		t.Fatalf("want a verifier error: %v", err)
	}
	skel.Progs.CannotLoad.SetAutoload(false)
	skel.Rodata.Step, skel.RodataCustom.Constant, skel.DataCustom.Custom = 3, 4, 5
	mustLoad(t, skel)
	mustAttach(t, skel)
	if !fires(&skel.Bss.Calls) || skel.Bss.Calls%3 != 0 || skel.Rodata.Step != 3 {
		t.Errorf("calls is %d and step is %d, want a multiple of 3, and 3", skel.Bss.Calls, skel.Rodata.Step)
	}
}

// A process that has as many memory mappings as it may have: Load fails with an error
// that names the limit, and can be tried again; Close frees what is in the kernel.
func TestMappingLimit(t *testing.T) {
	if os.Getenv("MAPPING_LIMIT") != "" {
		loadAtMappingLimit(t)
		return
	}
	bpftest.NeedsBPF(t)
	limit := readInt(t, "/proc/sys/vm/max_map_count")
	if limit > 1<<17 {
		t.Skipf("needs a limit that a test can reach (vm.max_map_count is %d)", limit)
	}
	// In a process of its own: the Go runtime needs mappings too, for new threads.
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestMappingLimit$", "-test.v")
	cmd.Env = append(os.Environ(), "MAPPING_LIMIT=1", "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	t.Logf("%s", out)
}

// A process whose first Load fails for lack of file descriptors, and that loads again
// when there are some.
func TestDescriptorLimit(t *testing.T) {
	if spare := os.Getenv("DESCRIPTOR_LIMIT"); spare != "" {
		loadAtDescriptorLimit(t, spare)
		return
	}
	bpftest.NeedsBPF(t)
	for spare := range 8 {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestDescriptorLimit$", "-test.v")
		cmd.Env = append(os.Environ(), fmt.Sprint("DESCRIPTOR_LIMIT=", spare))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%d descriptors left: %v:\n%s", spare, err, out)
		}
	}
}

func loadAtDescriptorLimit(t *testing.T, text string) {
	var spare int
	if _, err := fmt.Sscan(text, &spare); err != nil {
		t.Fatal(err)
	}
	skel, err := edges.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer closeEdges(t, skel)
	bss, data, rodata := skel.Bss, skel.Data, skel.Rodata
	limit := syscall.Rlimit{Cur: 100, Max: 4096}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var fds []int
	for {
		fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		fds = append(fds, fd)
	}
	for _, fd := range fds[:spare] {
		syscall.Close(fd)
	}
	err = skel.Load()
	for _, fd := range fds[spare:] {
		syscall.Close(fd)
	}
	if err != nil {
		if !errors.Is(err, syscall.EMFILE) {
			t.Errorf("Load: %v", err)
		}
		if err := skel.Load(); err != nil {
			t.Fatalf("Load again: %v", err)
		}
	} else if spare == 0 {
		t.Error("Load succeeds without a descriptor")
	}
	if skel.Bss != bss || skel.Data != data || skel.Rodata != rodata {
		t.Error("a section is not mapped")
	}
}

func readInt(t testing.TB, path string) (n int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func loadAtMappingLimit(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs mappings")
	}
	// What the process does once is done before: probes, the kernel's BTF, threads, and a
	// heap that does not have to grow.
	closeEdges(t, loadEdges(t))
	startThreads(16)
	heap := make([]byte, 16<<20)
	clear(heap)
	runtime.KeepAlive(heap)
	runtime.GC()
	debug.SetGCPercent(-1)

	fill := make(mappings, 0, 1<<17)
	fill.leave(t, 100)
	failed, kept := 0, 0
	for spare := 1; spare < 24; spare++ {
		skel := openEdges(t)
		skel.Bss.Added, skel.Rodata.Step = 5, 1
		fill.leave(t, spare)
		err := skel.Load()
		fill.leave(t, 100)
		if err != nil {
			failed++
			if !strings.Contains(err.Error(), "vm.max_map_count") {
				t.Errorf("%d mappings left: Load: %v", spare, err)
			}
			skel.Rodata.Step, skel.Bss.Added = 2, 6
			if err := skel.Load(); err != nil {
				t.Fatalf("%d mappings left: Load again: %v", spare, err)
			}
		}
		if want := 5 + uint64(skel.Rodata.Step) - 1; skel.Bss.Added != want {
			t.Errorf("%d mappings left: added is %d, want %d", spare, skel.Bss.Added, want)
		}
		if err := skel.Attach(); err != nil {
			t.Fatal(err)
		}
		fill.leave(t, spare)
		err = skel.Close()
		fill.leave(t, 100)
		if err != nil {
			kept++
			if !strings.Contains(err.Error(), "vm.max_map_count") {
				t.Errorf("%d mappings left: Close: %v", spare, err)
			}
		}
		calls := skel.Bss.Calls
		syscall.Getppid()
		if calls == 0 || skel.Bss.Calls != calls || skel.Bss.Added < 5 || skel.Rodata.Step == 0 {
			t.Errorf("%d mappings left: after Close calls was %d and is %d", spare, calls, skel.Bss.Calls)
		}
		if err := skel.Maps.Seen.Put(1, 1); !errors.Is(err, skeleton.ErrClosed) {
			t.Errorf("%d mappings left: Put after Close: %v", spare, err)
		}
	}
	t.Logf("Load failed %d times, Close could not put other memory in the place of maps %d times", failed, kept)
	if failed == 0 {
		t.Error("the limit was not reached")
	}
}

// startThreads has the scheduler start so many threads, which it keeps for later: one that it
// cannot start ends the process. It wants one when a system call takes long, as on a machine
// that is emulated.
func startThreads(n int) {
	var all, ended sync.WaitGroup
	all.Add(n)
	for range n {
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
		})
	}
	ended.Wait()
}

// mappings take up what the process may have.
type mappings [][]byte

// leave makes or removes mappings until as many as spare are left.
func (m *mappings) leave(t *testing.T, spare int) {
	t.Helper()
	for {
		// Neighbours that differ are not merged.
		prot := syscall.PROT_READ * (len(*m) % 2)
		mem, err := syscall.Mmap(-1, 0, os.Getpagesize(), prot, syscall.MAP_PRIVATE|syscall.MAP_ANON)
		if err != nil {
			break
		}
		*m = append(*m, mem)
	}
	for range spare {
		last := len(*m) - 1
		if err := syscall.Munmap((*m)[last]); err != nil {
			t.Fatal(err)
		}
		*m = (*m)[:last]
	}
}
