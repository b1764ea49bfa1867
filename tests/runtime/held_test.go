package runtime_test

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"weak"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/runtime/progs/edges"
)

// openEdges opens the skeleton that the tests of the edges of a process use. It is not
// closed.
func openEdges(t testing.TB) *edges.Skeleton {
	t.Helper()
	bpftest.NeedsBPF(t)
	skel, err := edges.Open()
	if err != nil {
		t.Fatal(err)
	}
	skel.Rodata.Pid = uint32(os.Getpid())
	return skel
}

func loadEdges(t testing.TB) *edges.Skeleton {
	t.Helper()
	skel := openEdges(t)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	return skel
}

// collect runs the collector until done reports true, or for long enough that it would.
func collect(done func() bool) bool {
	for range 50 {
		runtime.GC()
		if done() {
			return true
		}
		time.Sleep(2 * time.Millisecond) // finalizers have a goroutine of their own
	}
	return false
}

// A function that returns a pointer into a section, and nothing else of its skeleton.
func TestCollectorDetachesNothing(t *testing.T) {
	var loaded weak.Pointer[skeleton.Object]
	start := func() *edges.Bss {
		skel := loadEdges(t)
		if err := skel.Attach(); err != nil {
			t.Fatal(err)
		}
		loaded = weak.Make(skel.Object)
		return skel.Bss
	}
	bss := start()
	if collect(func() bool { return loaded.Value() == nil }) {
		t.Fatal("the collector took a loaded skeleton")
	}
	if !fires(&bss.Calls) {
		t.Error("the program is detached")
	}
	if err := loaded.Value().Close(); err != nil {
		t.Fatal(err)
	}
	if fires(&bss.Calls) {
		t.Error("the program fires after Close")
	}
	if !collect(func() bool { return loaded.Value() == nil }) {
		t.Error("a closed skeleton stays in memory")
	}
}

// The same with nothing but a reader of a ring buffer.
func TestCollectorLeavesReader(t *testing.T) {
	start := func() *skeleton.RingReader[uint64] {
		skel := loadEdges(t)
		if err := skel.Attach(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { skel.Close() })
		reader, err := skeleton.NewRingReader[uint64](skel.Maps.Events)
		if err != nil {
			t.Fatal(err)
		}
		return reader
	}
	reader := start()
	defer reader.Close()
	collect(func() bool { return false })
	for range 5 {
		reader.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := reader.Read(); err != nil {
			t.Fatalf("the program is detached: %v", err)
		}
		syscall.Getppid()
	}
}

func TestCollectorTakesWhatIsNotLoaded(t *testing.T) {
	var opened, closed weak.Pointer[edges.Skeleton]
	func() {
		opened = weak.Make(openEdges(t))
		skel := openEdges(t)
		closed = weak.Make(skel)
		if err := skel.Close(); err != nil {
			t.Error(err)
		}
	}()
	if !collect(func() bool { return opened.Value() == nil && closed.Value() == nil }) {
		t.Error("a skeleton that is not loaded stays in memory")
	}
}

// Structs that take the place of those of the skeleton give it their values.
func TestReplacedSections(t *testing.T) {
	skel := openEdges(t)
	defer skel.Close()
	bss, calls := skel.Bss, &skel.Bss.Calls
	skel.Rodata = &edges.Rodata{Pid: uint32(os.Getpid()), Step: 55}
	skel.Bss = &edges.Bss{Calls: 1000, Added: 5}
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	if skel.Bss != bss {
		t.Error("the field does not point to the memory of the section")
	}
	if skel.Rodata.Step != 55 || skel.Bss.Added != 5 {
		t.Errorf("step is %d and added is %d, want 55 and 5", skel.Rodata.Step, skel.Bss.Added)
	}
	if !fires(calls) {
		t.Fatal("the program does not fire")
	}
	if n := atomic.LoadUint64(calls); n < 1055 || (n-1000)%55 != 0 {
		t.Errorf("calls is %d, want 1000 and a multiple of 55", n)
	}
}

func TestSectionSetToNil(t *testing.T) {
	skel := openEdges(t)
	defer skel.Close()
	rodata := skel.Rodata
	skel.Rodata = nil
	err := skel.Load()
	if err == nil || !strings.Contains(err.Error(), "section .rodata: its field was set to nil") {
		t.Errorf("want an error that names the section: %v", err)
	}
	skel.Rodata = rodata
	if err := skel.Load(); err != nil {
		t.Error(err)
	}
}

// A skeleton that Open has not made.
func TestZeroSkeleton(t *testing.T) {
	for name, skel := range map[string]*edges.Skeleton{
		"new(Skeleton)":   new(edges.Skeleton),
		"with new Object": {Object: new(skeleton.Object)},
	} {
		for method, err := range map[string]error{
			"Load":   skel.Load(),
			"Attach": skel.Attach(),
			"Detach": skel.Detach(),
			"Close":  skel.Close(),
		} {
			if !errors.Is(err, skeleton.ErrNotOpen) {
				t.Errorf("%s: %s: %v", name, method, err)
			}
		}
		if got := skel.Attachments(); got != nil {
			t.Errorf("%s: Attachments: %v", name, got)
		}
	}
}
