package subskeleton_test

import (
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/pool"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/pooled"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/spaced"
)

// arenaObject is an opened object that has the library with arena variables.
type arenaObject struct {
	final
	lib *pool.Subskeleton
	// take is the program that calls the library.
	take *skeleton.BaseProgram
	slot uint64
	// own returns where the object's skeleton has pool_taken and app_slot.
	own func() (taken, slot *uint64)
}

// arenaObjects have the arena in the object itself, and in another library.
var arenaObjects = map[string]func(testing.TB) arenaObject{
	"own arena": func(t testing.TB) arenaObject {
		skel, err := pooled.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { skel.Close() })
		own := func() (taken, slot *uint64) { return &skel.Arena.PoolTaken, &skel.Arena.AppSlot }
		return arenaObject{skel, skel.Subskeletons.Pool, skel.Progs.PooledTake.Handle(), 10, own}
	},
	"arena of a library": func(t testing.TB) arenaObject {
		skel, err := spaced.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { skel.Close() })
		own := func() (taken, slot *uint64) { return &skel.Arena.PoolTaken, &skel.Arena.AppSlot }
		return arenaObject{skel, skel.Subskeletons.Pool, skel.Progs.SpacedTake.Handle(), 20, own}
	},
}

func needArena(t testing.TB) {
	t.Helper()
	bpftest.NeedsBPF(t)
	kerneltest.NeedsJIT(t)
	if err := features.HaveMapType(ebpf.Arena); errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("needs a kernel with arenas (6.9): %v", err)
	}
}

func TestArena(t *testing.T) {
	for name, open := range arenaObjects {
		t.Run(name, func(t *testing.T) {
			obj := open(t)
			lib := obj.lib
			equal(t, "pool_taken", *lib.Arena.PoolTaken, 5)
			equal(t, "pool_first", *lib.Arena.PoolFirst, pool.PoolEntry{Id: 1, Value: 2})
			equal(t, "pool_list", *lib.Arena.PoolList, [4]uint32{})
			equal(t, "app_slot", *lib.Externs.AppSlot, obj.slot)
			needArena(t)
			before := lib.Arena
			*before.PoolTaken = 6
			obj.take.SetAutoload(false)
			load(t, object{final: obj.final})

			// Load moves the variables, and the pointers of all subskeletons with them.
			if lib.Arena.PoolTaken == before.PoolTaken || lib.Arena.PoolList == before.PoolList {
				t.Error("the pointers are the same as before Load")
			}
			late := openPool(t, obj)
			equal(t, "late", late.Arena, lib.Arena)
			equal(t, "late", late.Externs, lib.Externs)
			taken, slot := obj.own()
			equal(t, "address of pool_taken", lib.Arena.PoolTaken, taken)
			equal(t, "address of app_slot", lib.Externs.AppSlot, slot)
			equal(t, "pool_taken", *lib.Arena.PoolTaken, 6)
			equal(t, "pool_first", *lib.Arena.PoolFirst, pool.PoolEntry{Id: 1, Value: 2})
			equal(t, "app_slot", *lib.Externs.AppSlot, obj.slot)

			// Programs have the same addresses.
			p := lib.Progs.PoolAddresses.Program()
			if _, err := p.Run(&ebpf.RunOptions{}); err != nil {
				t.Fatal(err)
			}
			equal(t, "pool_taken's address", *lib.Bss.PoolTakenAt, uint64(uintptr(unsafe.Pointer(lib.Arena.PoolTaken))))
			equal(t, "pool_list's address", *lib.Bss.PoolListAt, uint64(uintptr(unsafe.Pointer(lib.Arena.PoolList))))
			equal(t, "app_slot's address", *lib.Bss.AppSlotAt, uint64(uintptr(unsafe.Pointer(lib.Externs.AppSlot))))

			// The last values stay.
			*lib.Arena.PoolTaken = 7
			if err := obj.Close(); err != nil {
				t.Fatal(err)
			}
			equal(t, "pool_taken after Close", *lib.Arena.PoolTaken, 7)
		})
	}
}

func openPool(t testing.TB, obj skeleton.Any) *pool.Subskeleton {
	t.Helper()
	lib, err := pool.Open(obj)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// Programs that go to the memory see the values.
func TestArenaAccess(t *testing.T) {
	for name, open := range arenaObjects {
		t.Run(name, func(t *testing.T) {
			needArena(t)
			obj := open(t)
			lib := obj.lib
			*lib.Arena.PoolTaken = 6
			if err := obj.Load(); err != nil {
				t.Fatal(err)
			}
			if _, err := obj.take.Program().Run(&ebpf.RunOptions{}); err != nil {
				t.Fatal(err)
			}
			equal(t, "pool_calls", *lib.Bss.PoolCalls, 1)
			equal(t, "pool_taken", *lib.Arena.PoolTaken, 6+7)
			equal(t, "pool_first", *lib.Arena.PoolFirst, pool.PoolEntry{Id: 1, Value: 6 + 7})
			equal(t, "pool_list", *lib.Arena.PoolList, [4]uint32{3: 4})
			equal(t, "app_slot", *lib.Externs.AppSlot, obj.slot+1)
		})
	}
}

// A variable that the object does not have in an arena is another variable.
func TestArenaMismatches(t *testing.T) {
	obj := openPlain(t)
	_, err := pool.Open(obj)
	var mismatch *skeleton.MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatalf("got %v, want a MismatchError", err)
	}
	want := "pool_taken: library " + mismatch.Library + " has unsigned long long of 8 bytes in .addr_space.1, the object has no variable of this name that is neither static nor hidden: link the library into the object"
	if !strings.Contains(err.Error(), want) {
		t.Errorf("does not say %q:\n%v", want, err)
	}
}
