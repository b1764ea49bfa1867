// Package subskeleton_test works with one library inside of different objects, in
// the running kernel.
package subskeleton_test

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/crowded"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/limiter"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/misfit"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/plain"
)

// packet is enough of one for an XDP program.
var packet = make([]byte, 64)

// final is a skeleton with the library in it.
type final interface {
	skeleton.Any
	Load() error
	Attach() error
	Detach() error
	Close() error
}

// object is an opened object, and what the tests need of it.
type object struct {
	final
	// filter is the program that calls the library with id, until extra is added
	// besides.
	filter    *skeleton.BaseProgram
	id, extra int32
	mode      int32
	watch     *link.Link
}

func openPlain(t testing.TB) object {
	t.Helper()
	skel, err := plain.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { skel.Close() })
	return object{skel, skel.Progs.PlainFilter.Handle(), 10, 0, 1, &skel.Links.LimiterWatch}
}

func openCrowded(t testing.TB) object {
	t.Helper()
	skel, err := crowded.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { skel.Close() })
	return object{skel, skel.Progs.CrowdedFilter.Handle(), 100, 1000, 2, &skel.Links.LimiterWatch}
}

// objects are those that have the library.
var objects = map[string]func(testing.TB) object{"plain": openPlain, "crowded": openCrowded}

func openLibrary(t testing.TB, obj skeleton.Any) *limiter.Subskeleton {
	t.Helper()
	lib, err := limiter.Open(obj)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

func (o object) run(t testing.TB) uint32 {
	t.Helper()
	result, _, err := o.filter.Test(packet)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func load(t testing.TB, o object) {
	t.Helper()
	bpftest.NeedsBPF(t)
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, name string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

// Before Load the pointers lead to the initial values of the object, wherever it
// has the library's variables.
func TestInitialValues(t *testing.T) {
	for name, open := range objects {
		t.Run(name, func(t *testing.T) {
			obj := open(t)
			lib := openLibrary(t, obj)
			equal(t, "limiter_default", *lib.Rodata.LimiterDefault, limiter.Limit{PerSecond: 2, Burst: 1})
			equal(t, "limiter_limit", *lib.Data.LimiterLimit, limiter.Limit{PerSecond: 3, Burst: 4})
			equal(t, "limiter_calls", *lib.Bss.LimiterCalls, 0)
			equal(t, "limiter_custom", *lib.DataLimiter.Custom, 5)
			equal(t, "limiter_hook", *lib.Bss.LimiterHook, 0)
			equal(t, "LINUX_KERNEL_VERSION", *lib.Kconfig.LinuxKernelVersion, 0)
			// The strong definition is what the object has.
			equal(t, "limiter_mode", *lib.Data.LimiterMode, obj.mode)
			// Not another file's static variable.
			equal(t, "private_shown", *lib.Data.PrivateShown, 7)
			equal(t, "app_id", *lib.Externs.AppId, obj.id)
			if obj.extra == 0 {
				equal(t, "app_extra", lib.Externs.AppExtra, nil)
			} else {
				equal(t, "app_extra", *lib.Externs.AppExtra, obj.extra)
			}
		})
	}
}

// The pointers stay the same when the memory becomes the kernel's: what was set
// before counts, and what programs write is seen.
func TestLoad(t *testing.T) {
	for name, open := range objects {
		t.Run(name, func(t *testing.T) {
			obj := open(t)
			lib := openLibrary(t, obj)
			before := *lib
			*lib.Data.LimiterLimit = limiter.Limit{PerSecond: 1}
			lib.Rodata.LimiterDefault.Burst = 0
			load(t, obj)
			equal(t, "lib", before.Bss, lib.Bss)
			equal(t, "lib", before.Data, lib.Data)
			equal(t, "lib", before.Rodata, lib.Rodata)

			crowd := obj.run(t) - 1
			equal(t, "result", obj.run(t), crowd)
			equal(t, "limiter_calls", atomic.LoadInt32(lib.Bss.LimiterCalls), 2)
			equal(t, "limiter_history", *lib.Bss.LimiterHistory, [8]uint64{uint64(obj.id), uint64(obj.id)})
			equal(t, "private_shown", *lib.Data.PrivateShown, 22+2*6)
			equal(t, "limiter_custom", *lib.DataLimiter.Custom, uint32(5+2*(obj.id+obj.extra)))
			if *lib.Kconfig.LinuxKernelVersion == 0 {
				t.Error("LINUX_KERNEL_VERSION is zero after Load")
			}
			usage, err := lib.Maps.LimiterUsage.Lookup(uint32(obj.id))
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "usage", usage, limiter.Usage{Allowed: 1, Refused: 1})

			// Written here, read there.
			*lib.Data.LimiterLimit = limiter.Limit{PerSecond: 2}
			equal(t, "result", obj.run(t), crowd+1)

			// On a loaded object it is the same.
			late := openLibrary(t, obj)
			equal(t, "late", late.Bss, lib.Bss)
			equal(t, "late", late.Data, lib.Data)
			equal(t, "late", late.Kconfig, lib.Kconfig)
			usage, err = late.Maps.LimiterUsage.Lookup(uint32(obj.id))
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "usage", usage, limiter.Usage{Allowed: 2, Refused: 1})
		})
	}
}

// A pointer that takes the place of one of the subskeleton's gives the variable its
// value, in the place of the value of a struct that takes the place of the skeleton's.
func TestReplacedPointers(t *testing.T) {
	bpftest.NeedsBPF(t)
	skel, err := plain.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	lib := openLibrary(t, skel)
	limit := lib.Data.LimiterLimit
	data := *skel.Data
	skel.Data = &data
	*lib.Data.LimiterMode = 100 // not in the new struct
	lib.Data.LimiterLimit = &limiter.Limit{PerSecond: 55}

	calls := lib.Bss.LimiterCalls
	lib.Bss.LimiterCalls = nil
	const want = "variable limiter_calls of a subskeleton: its field was set to nil"
	if err := skel.Load(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	lib.Bss.LimiterCalls = calls
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	equal(t, "lib", lib.Data.LimiterLimit, limit)
	equal(t, "limiter_limit", *limit, limiter.Limit{PerSecond: 55})
	equal(t, "limiter_mode", *lib.Data.LimiterMode, data.LimiterMode)
}

// One package works with two objects at a time, each with memory of its own.
func TestTwoObjects(t *testing.T) {
	bpftest.NeedsBPF(t)
	a, b := openPlain(t), openCrowded(t)
	libA, libB := openLibrary(t, a), openLibrary(t, b)
	load(t, a)
	load(t, b)
	a.run(t)
	b.run(t)
	b.run(t)
	equal(t, "plain's limiter_calls", *libA.Bss.LimiterCalls, 1)
	equal(t, "crowded's limiter_calls", *libB.Bss.LimiterCalls, 2)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b.run(t)
	equal(t, "crowded's limiter_calls", *libB.Bss.LimiterCalls, 3)
}

// A skeleton opens the subskeletons that it was generated with.
func TestField(t *testing.T) {
	skel, err := crowded.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	lib := skel.Subskeletons.Limiter
	*lib.Data.LimiterMode = 42
	equal(t, "LimiterMode", skel.Data.LimiterMode, 42)
	equal(t, "limiter_calls", unsafe.Pointer(lib.Bss.LimiterCalls), unsafe.Pointer(&skel.Bss.LimiterCalls))
}

// What is done to a map's handle before Load counts for all handles on it.
func TestMaps(t *testing.T) {
	bpftest.NeedsBPF(t)
	skel, err := plain.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	lib := openLibrary(t, skel)
	if _, err := lib.Maps.LimiterUsage.Lookup(1); !errors.Is(err, skeleton.ErrNotLoaded) {
		t.Errorf("lookup before Load: %v, want %v", err, skeleton.ErrNotLoaded)
	}
	if err := lib.Maps.LimiterUsage.SetMaxEntries(3); err != nil {
		t.Fatal(err)
	}
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	equal(t, "map", lib.Maps.LimiterUsage.Map(), skel.Maps.LimiterUsage.Map())
	equal(t, "max_entries", lib.Maps.LimiterUsage.Map().MaxEntries(), 3)
	equal(t, "name", lib.Maps.LimiterUsage.UntypedMap.Name(), "limiter_usage")
	if err := lib.Maps.AppCounts.Put(2, 7); err != nil {
		t.Fatal(err)
	}
	n, err := skel.Maps.AppCounts.Lookup(2)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "app_counts[2]", n, 7)
}

// The size of a map's values is checked for the subskeleton's handle too.
func TestMapSizes(t *testing.T) {
	bpftest.NeedsBPF(t)
	skel, err := plain.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	lib := openLibrary(t, skel)
	const want = "map limiter_usage: keys of 4 and values of 24 bytes do not fit the Go types"
	if err := lib.Maps.LimiterUsage.UntypedMap.SetValueSize(24); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("SetValueSize: %v", err)
	}
	// Load returns the error again, for callers that have ignored it.
	if err := skel.Load(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Load: %v", err)
	}
	if err := lib.Maps.LimiterUsage.UntypedMap.SetValueSize(lib.Maps.LimiterUsage.UntypedMap.ValueSize()); err != nil {
		t.Fatal(err)
	}
	if err := skel.Load(); err != nil {
		t.Error(err)
	}
}

// Reuse through the subskeleton's handle is what Load does.
func TestReuse(t *testing.T) {
	bpftest.NeedsBPF(t)
	skel, err := plain.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	lib := openLibrary(t, skel)
	counts := &lib.Maps.AppCounts.UntypedMap
	other, err := ebpf.NewMap(&ebpf.MapSpec{
		Type: counts.Type(), KeySize: counts.KeySize(), ValueSize: counts.ValueSize(), MaxEntries: counts.MaxEntries(), Flags: counts.Flags(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := counts.Reuse(other); err != nil {
		t.Fatal(err)
	}
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	if err := lib.Maps.AppCounts.Put(0, 5); err != nil {
		t.Fatal(err)
	}
	var n uint64
	if err := other.Lookup(uint32(0), &n); err != nil {
		t.Fatal(err)
	}
	equal(t, "value in the map that was reused", n, 5)
}

// A slot of the library is one of the object: Attach fills it, Detach closes it.
func TestLinks(t *testing.T) {
	bpftest.NeedsBPF(t)
	for name, open := range objects {
		t.Run(name, func(t *testing.T) {
			obj := open(t)
			lib := openLibrary(t, obj)
			equal(t, "slot", lib.Links.LimiterWatch, obj.watch)
			load(t, obj)
			if err := obj.Attach(); err != nil {
				t.Fatal(err)
			}
			if *lib.Links.LimiterWatch == nil {
				t.Fatal("Attach has not filled the slot")
			}
			syscall.Getppid()
			n, err := lib.Maps.AppCounts.Lookup(1)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				t.Error("the library's program does not run")
			}
			if err := obj.Detach(); err != nil {
				t.Fatal(err)
			}
			if *lib.Links.LimiterWatch != nil {
				t.Error("Detach has left the slot")
			}
			// A link of one's own.
			l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_enter", Program: lib.Progs.LimiterWatch.Program()})
			if err != nil {
				t.Fatal(err)
			}
			*lib.Links.LimiterWatch = l
			if err := obj.Close(); err != nil {
				t.Fatal(err)
			}
			if *lib.Links.LimiterWatch != nil {
				t.Error("Close has left the slot")
			}
		})
	}
}

// A program that the library shall not load is not loaded.
func TestAutoload(t *testing.T) {
	obj := openPlain(t)
	lib := openLibrary(t, obj)
	lib.Progs.LimiterWatch.SetAutoload(false)
	load(t, obj)
	if lib.Progs.LimiterWatch.Program() != nil {
		t.Error("the program is loaded")
	}
}

// Pointers into a section that the kernel cannot map are nil, wherever they come
// from.
func TestUnmappable(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 15, "a look for locks in global variables")
	obj := openPlain(t)
	lib := openLibrary(t, obj)
	if lib.DataLocked.LimiterRounds == nil {
		t.Fatal("limiter_rounds is nil before Load")
	}
	equal(t, "limiter_rounds", *lib.DataLocked.LimiterRounds, 3)
	load(t, obj)
	equal(t, "limiter_rounds", lib.DataLocked.LimiterRounds, nil)
	equal(t, "limiter_lock", lib.DataLocked.LimiterLock, nil)
	late := openLibrary(t, obj)
	equal(t, "limiter_rounds of a later one", late.DataLocked.LimiterRounds, nil)
	// The handles reach it all the same.
	equal(t, "section of limiter_rounds", lib.Vars.LimiterRounds.Section().Name(), ".data.locked")
	for want := range int32(3) {
		obj.run(t)
		got, err := lib.Vars.LimiterRounds.Get()
		if err != nil || got != 3+want+1 {
			t.Fatalf("limiter_rounds is %d, %v, want %d", got, err, 3+want+1)
		}
	}
	if err := late.Vars.LimiterRounds.Set(20); err != nil {
		t.Fatal(err)
	}
	obj.run(t)
	if got, err := lib.Vars.LimiterRounds.Get(); err != nil || got != 21 {
		t.Errorf("limiter_rounds is %d, %v, want 21", got, err)
	}
	if lib.Bss.LimiterCalls == nil {
		t.Error("other sections are gone too")
	}
}

// The maps of data sections are those of the object, and handles on variables work where
// there is a pointer too.
func TestSections(t *testing.T) {
	for name, open := range objects {
		t.Run(name, func(t *testing.T) {
			obj := open(t)
			lib := openLibrary(t, obj)
			for section, m := range map[string]*skeleton.UntypedMap{".bss": lib.Maps.Bss, ".data": lib.Maps.Data, ".data.limiter": lib.Maps.DataLimiter, ".kconfig": lib.Maps.Kconfig} {
				if m == nil || m.Name() != section {
					t.Fatalf("map of %s is %v", section, m)
				}
			}
			equal(t, "app_extra", lib.Vars.AppExtra.Exists(), obj.extra != 0)
			if err := lib.Vars.LimiterLimit.Set(limiter.Limit{PerSecond: 1}); err != nil {
				t.Fatal(err)
			}
			equal(t, "limiter_limit", *lib.Data.LimiterLimit, limiter.Limit{PerSecond: 1})
			load(t, obj)
			if lib.Maps.Bss.Map() == nil {
				t.Error("the map of .bss is not in the kernel")
			}
			obj.run(t)
			if got, err := lib.Vars.LimiterCalls.Get(); err != nil || got != 1 {
				t.Errorf("limiter_calls is %d, %v, want 1", got, err)
			}
			if err := lib.Vars.LimiterDefault.Set(limiter.Limit{}); err == nil || !strings.Contains(err.Error(), "is read-only after Load") {
				t.Errorf("a constant after Load: %v", err)
			}
		})
	}
}

// A pointer stays valid when nothing else is left of the object.
func TestPointersOutliveTheObject(t *testing.T) {
	bpftest.NeedsBPF(t)
	var calls []*int32
	var versions []*int32
	for range 20 {
		obj := openCrowded(t)
		lib := openLibrary(t, obj)
		load(t, obj)
		obj.run(t)
		calls = append(calls, lib.Bss.LimiterCalls)
		versions = append(versions, lib.Kconfig.LinuxKernelVersion)
		if err := obj.Close(); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
	}
	garbage := make([][]byte, 0, 1000)
	for range cap(garbage) {
		garbage = append(garbage, make([]byte, 8192))
	}
	runtime.KeepAlive(garbage)
	for i := range calls {
		equal(t, "limiter_calls", *calls[i], 1)
		*calls[i]++
		if *versions[i] == 0 {
			t.Error("LINUX_KERNEL_VERSION is gone")
		}
	}
	// Without Close.
	var left []*uint32
	for range 20 {
		skel, err := plain.Open()
		if err != nil {
			t.Fatal(err)
		}
		lib := openLibrary(t, skel)
		if err := skel.Load(); err != nil {
			t.Fatal(err)
		}
		left = append(left, lib.DataLimiter.Custom)
	}
	for range 3 {
		runtime.GC()
	}
	for _, p := range left {
		equal(t, "limiter_custom", *p, 5)
		*p = 6
	}
}

// Readers and the steps of the object's life go on at the same time.
func TestConcurrently(t *testing.T) {
	bpftest.NeedsBPF(t)
	obj := openCrowded(t)
	lib := openLibrary(t, obj)
	calls := lib.Bss.LimiterCalls
	var wait sync.WaitGroup
	stop := make(chan struct{})
	wait.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				atomic.LoadInt32(calls)
			}
		}
	})
	for range 4 {
		wait.Go(func() {
			for range 20 {
				if _, err := limiter.Open(obj); err != nil && !errors.Is(err, skeleton.ErrClosed) {
					t.Error(err)
				}
			}
		})
	}
	load(t, obj)
	for range 100 {
		obj.run(t)
	}
	equal(t, "limiter_calls", atomic.LoadInt32(calls), 100)
	if err := obj.Close(); err != nil {
		t.Error(err)
	}
	close(stop)
	wait.Wait()
	equal(t, "limiter_calls", *calls, 100)
}

func TestClosed(t *testing.T) {
	obj := openPlain(t)
	lib := openLibrary(t, obj)
	if err := obj.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := lib.Maps.LimiterUsage.Lookup(1); !errors.Is(err, skeleton.ErrClosed) {
		t.Errorf("Lookup: got %v, want %v", err, skeleton.ErrClosed)
	}
	if _, err := limiter.Open(obj); !errors.Is(err, skeleton.ErrClosed) {
		t.Errorf("got %v, want %v", err, skeleton.ErrClosed)
	}
}

func TestNoObject(t *testing.T) {
	for _, tc := range []struct {
		want string
		obj  skeleton.Any
	}{
		{"no skeleton given", nil},
		{"no skeleton given", (*plain.Skeleton)(nil)},
		{"skeleton is not open", new(plain.Skeleton)},
	} {
		if _, err := limiter.Open(tc.obj); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want %q", err, tc.want)
		}
	}
}

// misfits are what the object misfit.bpf.o does not have as the library needs it;
// LIBRARY stands for the library's file.
var misfits = []string{
	"limiter_default: library LIBRARY has struct limit with per_second at offset 0 in .rodata, the object has struct limit with burst at offset 0 in .bss: build both from the same sources, or give one of the two another name",
	"limiter_limit: library LIBRARY has struct limit with per_second at offset 0 in .data, the object has struct limit with burst at offset 0 in .data: build both from the same sources, or give one of the two another name",
	"limiter_mode: library LIBRARY has int of 4 bytes in .data, the object has const volatile int of 4 bytes in .rodata, which is read-only: declare it const in the library, or leave out const in the object",
	"private_shown: library LIBRARY has int of 4 bytes in .data, the object has no variable of this name that is neither static nor hidden: link the library into the object",
	"limiter_custom: library LIBRARY has unsigned int of 4 bytes in .data.limiter, the object has no variable of this name that is neither static nor hidden: link the library into the object",
	"limiter_lock: library LIBRARY has struct bpf_spin_lock of 4 bytes in .data.locked, the object has no variable of this name that is neither static nor hidden: link the library into the object",
	"limiter_rounds: library LIBRARY has int of 4 bytes in .data.locked, the object has no variable of this name that is neither static nor hidden: link the library into the object",
	"limiter_calls: library LIBRARY has int of 4 bytes in .bss, the object has long long of 8 bytes in .bss: build both from the same sources, or give one of the two another name",
	"limiter_history: library LIBRARY has unsigned long long[8] in .bss, the object has unsigned int[16] in .bss: build both from the same sources, or give one of the two another name",
	"limiter_hook: library LIBRARY has int(int) * in .bss, the object has int(long) * in .bss: build both from the same sources, or give one of the two another name",
	"limiter_cookie: library LIBRARY has void * of 8 bytes in .bss, the object has no variable of this name that is neither static nor hidden: link the library into the object",
	"LINUX_KERNEL_VERSION: library LIBRARY has int of 4 bytes in .kconfig, the object has int of 4 bytes in .bss: give one of the two variables another name",
	"app_id: library LIBRARY has int of 4 bytes as extern, the object has no variable of this name that is neither static nor hidden: define it in one of the object's files",
	"limiter_usage: library LIBRARY has a map with values that are struct usage with refused as unsigned long long, the object has one with values that are struct usage with refused as long long: build both from the same sources, or give one of the two another name",
	"app_counts: library LIBRARY has a map of BPF_MAP_TYPE_ARRAY, the object has one of BPF_MAP_TYPE_QUEUE: build both from the same sources, or give one of the two another name",
	`limiter_watch: library LIBRARY has a program, SEC("raw_tp/sys_enter"), the object has one with SEC("socket"): give one of the two programs another name`,
}

// Everything that is wrong is in one error.
func TestMismatches(t *testing.T) {
	skel, err := misfit.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	lib, err := limiter.Open(skel)
	if lib != nil {
		t.Error("there is a subskeleton")
	}
	var mismatch *skeleton.MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatalf("got %v, want a MismatchError", err)
	}
	if !strings.Contains(mismatch.Object, "misfit") || !strings.Contains(mismatch.Library, "limiter") {
		t.Errorf("the files are called %q and %q", mismatch.Object, mismatch.Library)
	}
	found := make(map[string]bool)
	for _, m := range mismatch.Mismatches {
		found[m.Error()] = true
	}
	for _, want := range misfits {
		want = strings.Replace(want, "LIBRARY", mismatch.Library, 1)
		if !found[want] {
			t.Errorf("does not say %q", want)
		}
		delete(found, want)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the message", want)
		}
	}
	for more := range found {
		t.Errorf("says %q", more)
	}
}
