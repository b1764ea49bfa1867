package subskeleton_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/limiter"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/misfit"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/plain"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/steady"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/tuned"
	"github.com/rules-bpf/rules_bpf/tests/subskeleton/unfit"
)

func openTuned(t testing.TB) (*tuned.Skeleton, *steady.Subskeleton) {
	t.Helper()
	bpftest.NeedsBPF(t)
	kerneltest.NeedsJIT(t)
	skel, err := tuned.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { skel.Close() })
	return skel, skel.Subskeletons.Steady
}

// loadTuned skips the test on kernels without links of struct_ops maps.
func loadTuned(t testing.TB, skel *tuned.Skeleton) {
	t.Helper()
	err := skel.Load()
	kerneltest.StructOpsLinks(t, err)
	if err != nil {
		t.Fatal(err)
	}
}

// A table is the object's own memory, and so are its handle and its slot.
func TestStructOpsOfObject(t *testing.T) {
	skel, lib := openTuned(t)
	equal(t, "table", unsafe.Pointer(lib.StructOps.Steady), unsafe.Pointer(skel.StructOps.Steady))
	equal(t, "old table", unsafe.Pointer(lib.StructOps.SteadyOld), unsafe.Pointer(skel.StructOps.SteadyOld))
	equal(t, "handle", lib.Maps.Steady, skel.Maps.Steady)
	equal(t, "slot", lib.Links.Steady, &skel.Links.Steady)
	equal(t, "program", lib.Progs.SteadySpare, skel.Progs.SteadySpare)
	equal(t, "name", skeleton.String(lib.StructOps.Steady.Name[:]), "sub_steady")
	equal(t, "cong_avoid", lib.StructOps.Steady.CongAvoid, lib.Progs.SteadyCongAvoid)
	lib.StructOps.Steady.Init = nil
	lib.StructOps.Steady.Flags = 5
	equal(t, "init", skel.StructOps.Steady.Init, nil)
	equal(t, "flags", skel.StructOps.Steady.Flags, 5)
	late, err := steady.Open(skel)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "late", *late, *lib)
}

// The library's tables, linked into an object that has some in the same sections,
// are what the kernel takes.
func TestStructOps(t *testing.T) {
	skel, lib := openTuned(t)
	lib.Maps.SteadyOld.SetAutocreate(true)
	loadTuned(t, skel)
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"sub_own": true, "sub_steady": true, "sub_steady_old": true, "sub_own_old": false, "sub_internal": false} {
		equal(t, name, bpftest.HasCongestionControl(t, "available", name), want)
	}
	if *lib.Links.Steady == nil || *lib.Links.SteadyOld == nil {
		t.Fatal("Attach has not filled the slots")
	}
	bpftest.TransferTCP(t, "sub_steady")
	if atomic.LoadUint64(lib.Bss.SteadyInits) == 0 || atomic.LoadUint64(lib.Bss.SteadyAcks) == 0 {
		t.Errorf("the kernel has called init %d times, cong_avoid %d times", *lib.Bss.SteadyInits, *lib.Bss.SteadyAcks)
	}
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	equal(t, "slot after Detach", *lib.Links.Steady, nil)
	equal(t, "sub_steady", bpftest.HasCongestionControl(t, "available", "sub_steady"), false)
	// Through the library's handle.
	l, err := lib.Maps.Steady.Attach()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "slot", *lib.Links.Steady, l)
	equal(t, "sub_steady", bpftest.HasCongestionControl(t, "available", "sub_steady"), true)
	equal(t, "sub_own", bpftest.HasCongestionControl(t, "available", "sub_own"), false)
	if err := skel.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, "sub_steady", bpftest.HasCongestionControl(t, "available", "sub_steady"), false)
}

// What is set in the tables before Load is what Load makes the maps of.
func TestStructOpsChanged(t *testing.T) {
	skel, lib := openTuned(t)
	table := lib.StructOps.Steady
	table.Init = nil
	table.CongAvoid = lib.Progs.SteadySpare
	if err := skeleton.SetString(table.Name[:], "sub_changed"); err != nil {
		t.Fatal(err)
	}
	loadTuned(t, skel)
	if lib.Progs.SteadyInit.Program() != nil || lib.Progs.SteadyCongAvoid.Program() != nil {
		t.Error("a program is loaded that no table has any more")
	}
	if lib.Progs.SteadySpare.Program() == nil {
		t.Error("the new program is not loaded")
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	equal(t, "sub_changed", bpftest.HasCongestionControl(t, "available", "sub_changed"), true)
	equal(t, "sub_steady", bpftest.HasCongestionControl(t, "available", "sub_steady"), false)
	bpftest.TransferTCP(t, "sub_changed")
	equal(t, "steady_inits", atomic.LoadUint64(lib.Bss.SteadyInits), 0)
	equal(t, "steady_acks", atomic.LoadUint64(lib.Bss.SteadyAcks), 0)
	if atomic.LoadUint64(lib.Bss.SteadySpareAcks) == 0 {
		t.Error("the kernel has not called the new program")
	}
}

// A program of another skeleton is none for the table, although the library is the
// same.
func TestStructOpsOfAnotherSkeleton(t *testing.T) {
	skel, lib := openTuned(t)
	_, other := openTuned(t)
	lib.StructOps.Steady.CongAvoid = other.Progs.SteadySpare
	if err := skel.Load(); err == nil || !strings.Contains(err.Error(), "program steady_spare of another skeleton") {
		t.Errorf("got %v", err)
	}
}

// Tables that are missing or of another type are in the list, with all else.
func TestStructOpsMismatches(t *testing.T) {
	skel, err := misfit.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	lib, err := steady.Open(skel)
	var mismatch *skeleton.MismatchError
	if lib != nil || !errors.As(err, &mismatch) {
		t.Fatalf("got %v and %v, want a MismatchError", lib, err)
	}
	for _, want := range []string{
		"steady: library LIBRARY has a struct_ops map of struct tcp_congestion_ops of 56 bytes, the object has one of struct tcp_congestion_ops of 24 bytes: build both from the same sources, or give one of the two another name",
		"steady_old: library LIBRARY has a struct_ops map of struct tcp_congestion_ops, the object has no struct_ops map of this name: link the library into the object",
		"steady_window: library LIBRARY has unsigned int of 4 bytes in .data, the object has no variable of this name that is neither static nor hidden: link the library into the object",
		`steady_spare: library LIBRARY has a program, SEC("struct_ops"), the object has no program of this name: link the library into the object`,
	} {
		if want = strings.Replace(want, "LIBRARY", mismatch.Library, 1); !strings.Contains(err.Error(), "\n\t"+want) {
			t.Errorf("does not say %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "steady_internal") {
		t.Errorf("%v: a hidden table is the library's own", err)
	}
	// An object without any.
	other, err := plain.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := steady.Open(other); err == nil || !strings.Contains(err.Error(), "the object has no struct_ops map of this name") {
		t.Errorf("got %v", err)
	}
}

// A skeleton that was generated with a subskeleton that does not fit, which the build
// is to prevent, does not open.
func TestUnfit(t *testing.T) {
	skel, err := unfit.Open()
	if skel != nil {
		t.Error("there is a skeleton")
	}
	var mismatch *skeleton.MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatalf("got %v, want a MismatchError", err)
	}
	equal(t, "number of mismatches", len(mismatch.Mismatches), len(misfits))
	object, openErr := misfit.Open()
	if openErr != nil {
		t.Fatal(openErr)
	}
	defer object.Close()
	// It says what Open of the library says.
	_, want := limiter.Open(object)
	equal(t, "error", err.Error(), want.Error())
}
