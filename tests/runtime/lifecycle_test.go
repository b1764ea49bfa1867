// Package runtime_test loads skeletons into the running kernel and takes them
// through their lives.
package runtime_test

import (
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/runtime/progs/lifecycle"
	"github.com/rules-bpf/rules_bpf/tests/runtime/progs/locked"
)

func open(t testing.TB) *lifecycle.Skeleton {
	t.Helper()
	skel, err := lifecycle.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := skel.Close(); err != nil {
			t.Error(err)
		}
	})
	skel.Rodata.Pid = uint32(os.Getpid())
	return skel
}

func mustLoad(t testing.TB, skel *lifecycle.Skeleton) {
	t.Helper()
	bpftest.NeedsBPF(t)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
}

func mustAttach(t testing.TB, skel *lifecycle.Skeleton) {
	t.Helper()
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
}

// fires reports whether the program on system calls runs.
func fires(calls *uint64) bool {
	before := atomic.LoadUint64(calls)
	for range 10 {
		syscall.Getppid()
	}
	return atomic.LoadUint64(calls) != before
}

func TestInitialValues(t *testing.T) {
	skel := open(t)
	for _, v := range []struct {
		name      string
		got, want uint64
	}{
		{"step", skel.Rodata.Step, 1},
		{"calls", skel.Bss.Calls, 0},
		{"last_syscall", uint64(skel.Data.LastSyscall), 4096},
		{"custom", skel.DataCustom.Custom, 7},
		{"custom_constant", uint64(skel.RodataCustom.Constant), 9},
	} {
		if v.got != v.want {
			t.Errorf("%s is %d, want %d", v.name, v.got, v.want)
		}
	}
	if skel.Maps.Seen.Map() != nil || skel.Progs.OnEnter.Program() != nil || skel.Links.OnEnter != nil {
		t.Error("something is in the kernel before Load")
	}
	if !skel.Progs.OnEnter.Autoload() || skel.Progs.OnExit.Autoload() {
		t.Error(`a program is loaded by default unless its section begins with "?"`)
	}
}

func TestLoadKeepsAddresses(t *testing.T) {
	skel := open(t)
	calls, custom, step := &skel.Bss.Calls, &skel.DataCustom.Custom, &skel.Rodata.Step
	*calls, *custom, *step = 1000, 100, 5
	skel.RodataCustom.Constant = 2
	mustLoad(t, skel)

	if &skel.Bss.Calls != calls || &skel.DataCustom.Custom != custom || &skel.Rodata.Step != step {
		t.Fatal("Load moved a section")
	}
	if atomic.LoadUint64(calls) != 1000 || *custom != 100 || *step != 5 {
		t.Errorf("after Load: %d, %d, %d", *calls, *custom, *step)
	}
	mustAttach(t, skel)
	if !fires(calls) {
		t.Fatal("the program does not fire")
	}
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	n := *calls - 1000
	if n == 0 || n%5 != 0 {
		t.Errorf("calls went up by %d, want a multiple of step", n)
	}
	if got := *custom - 100; got != n/5*2 {
		t.Errorf("custom went up by %d in %d calls of 2 each", got, n/5)
	}

	// The same memory through system calls.
	var bss []byte
	if err := skel.Maps.Bss.Map().Lookup(uint32(0), &bss); err != nil {
		t.Fatal(err)
	}
	*calls = 0
	atomic.StoreUint64(calls, 42)
	after, err := skel.Maps.Bss.Map().LookupBytes(uint32(0))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(bss, after) {
		t.Error("a write through the pointer does not reach the map")
	}
	var seen uint64
	if err := skel.Maps.Seen.Map().Lookup(uint32(0), &seen); err != nil || seen == 0 {
		t.Errorf("map seen holds %d: %v", seen, err)
	}
	if hidden, err := skel.Maps.DataHidden.Map().LookupBytes(uint32(0)); err != nil || binary.NativeEndian.Uint64(hidden) <= 5 {
		t.Errorf("section .data.hidden holds %v: %v", hidden, err)
	}
	if err := skel.Maps.Rodata.Map().Put(uint32(0), make([]byte, skel.Maps.Rodata.Map().ValueSize())); !errors.Is(err, os.ErrPermission) {
		t.Errorf("write to the frozen map of .rodata: %v", err)
	}
}

func TestPointersOutliveSkeleton(t *testing.T) {
	skel := open(t)
	calls, constant := &skel.Bss.Calls, &skel.Rodata.Step
	mustLoad(t, skel)
	mustAttach(t, skel)
	if !fires(calls) {
		t.Fatal("the program does not fire")
	}
	if err := skel.Close(); err != nil {
		t.Fatal(err)
	}
	last := atomic.LoadUint64(calls)
	if last == 0 {
		t.Error("Close lost the last value")
	}
	skel = nil
	for range 20 {
		runtime.GC()
		_ = make([]byte, 1<<20)
	}
	if fires(calls) || *calls != last || *constant != 1 {
		t.Errorf("after Close and GC: calls %d, want %d; step %d", *calls, last, *constant)
	}
	*constant = 2 // was read-only while loaded
}

// The collector runs all the time and nothing but pointers into the sections
// is left of each skeleton, while the kernel writes to them.
func TestGCStress(t *testing.T) {
	bpftest.NeedsBPF(t)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			runtime.GC()
		}
	})
	wg.Go(func() {
		var keep [64][]byte
		for i := 0; !stop.Load(); i++ {
			b := make([]byte, 4096*(i%20+1))
			for j := range b {
				b[j] = 0xee
			}
			keep[i%len(keep)] = b
		}
	})
	for range kerneltest.Rounds(20) {
		skel := open(t)
		calls := &skel.Bss.Calls
		mustLoad(t, skel)
		mustAttach(t, skel)
		for range 20 {
			if !fires(calls) {
				t.Error("the program does not fire")
			}
		}
		if n := atomic.LoadUint64(calls); n > 1<<32 {
			t.Fatalf("calls holds %#x: the heap has written to it", n)
		}
		if i := skel.Data.LastSyscall; i > 4096 {
			t.Fatalf("last_syscall is %#x", i)
		}
		if err := skel.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

func TestStates(t *testing.T) {
	skel := open(t)
	if err := skel.Attach(); !errors.Is(err, skeleton.ErrNotLoaded) {
		t.Errorf("Attach before Load: %v", err)
	}
	if err := skel.Detach(); err != nil {
		t.Errorf("Detach before Load: %v", err)
	}
	mustLoad(t, skel)
	if err := skel.Load(); !errors.Is(err, skeleton.ErrLoaded) {
		t.Errorf("second Load: %v", err)
	}
	for range 3 {
		mustAttach(t, skel)
		mustAttach(t, skel) // all slots are taken: nothing to do
		if !fires(&skel.Bss.Calls) {
			t.Error("does not fire after Attach")
		}
		if err := skel.Detach(); err != nil {
			t.Fatal(err)
		}
		if skel.Links.OnEnter != nil || fires(&skel.Bss.Calls) {
			t.Error("fires after Detach")
		}
	}
	mustAttach(t, skel)
	for range 3 {
		if err := skel.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := skel.Load(); !errors.Is(err, skeleton.ErrClosed) {
		t.Errorf("Load after Close: %v", err)
	}
	if err := skel.Attach(); !errors.Is(err, skeleton.ErrClosed) {
		t.Errorf("Attach after Close: %v", err)
	}
	if err := skel.Detach(); err != nil {
		t.Errorf("Detach after Close: %v", err)
	}

	unloaded := open(t)
	if err := unloaded.Close(); err != nil {
		t.Errorf("Close before Load: %v", err)
	}
	if unloaded.Data.LastSyscall != 4096 {
		t.Error("Close before Load lost the values")
	}
}

func TestAutoload(t *testing.T) {
	skel := open(t)
	skel.Progs.OnExit.SetAutoload(true)
	skel.Progs.OnEnter.SetAutoload(false)
	mustLoad(t, skel)
	mustAttach(t, skel)
	if skel.Progs.OnEnter.Program() != nil || skel.Links.OnEnter != nil {
		t.Error("on_enter is in the kernel")
	}
	if fires(&skel.Bss.Calls) || !fires(&skel.Bss.Exits) {
		t.Error("the wrong program fires")
	}
	if skel.Progs.NoTarget.Program() == nil || skel.Links.NoTarget != nil {
		t.Error("a program without target must be loaded and not attached")
	}

	skel = open(t)
	skel.Progs.OnEnter.SetAutoattach(false)
	mustLoad(t, skel)
	mustAttach(t, skel)
	if skel.Progs.OnEnter.Program() == nil || skel.Links.OnEnter != nil || fires(&skel.Bss.Calls) {
		t.Error("on_enter must be loaded and not attached")
	}
}

func TestUserLink(t *testing.T) {
	skel := open(t)
	mustLoad(t, skel)
	own := &countingLink{}
	skel.Links.NoTarget = own
	skel.Links.OnEnter = own
	mustAttach(t, skel)
	if skel.Links.OnEnter != own || fires(&skel.Bss.Calls) {
		t.Error("Attach replaced the user's link")
	}
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	if own.closed != 2 || skel.Links.OnEnter != nil || skel.Links.NoTarget != nil {
		t.Errorf("Detach closed %d of the user's 2 links", own.closed)
	}
}

func TestAttachRollsBack(t *testing.T) {
	skel := open(t)
	skel.Progs.OnExit.SetAutoload(true)
	skel.Progs.CannotAttach.SetAutoload(true)
	mustLoad(t, skel)
	own := &countingLink{}
	skel.Links.NoTarget = own
	err := skel.Attach()
	if err == nil || !strings.Contains(err.Error(), "cannot_attach") || !strings.Contains(err.Error(), "nosuch") {
		t.Fatalf("error must name the program and its section: %v", err)
	}
	if skel.Links.OnEnter != nil || skel.Links.OnExit != nil || skel.Links.CannotAttach != nil {
		t.Errorf("links remain: %+v", skel.Links)
	}
	if fires(&skel.Bss.Calls) || fires(&skel.Bss.Exits) {
		t.Error("a program fires after Attach failed")
	}
	if skel.Links.NoTarget != own || own.closed != 0 {
		t.Error("the user's link is gone")
	}
	skel.Progs.CannotAttach.SetAutoattach(false)
	mustAttach(t, skel)
	if !fires(&skel.Bss.Calls) {
		t.Error("does not fire after the second Attach")
	}
}

func TestLoadFails(t *testing.T) {
	skel := open(t)
	calls := &skel.Bss.Calls
	*calls = 3
	skel.Progs.CannotLoad.SetAutoload(true)
	bpftest.NeedsBPF(t)
	err := skel.Load()
	var verr *ebpf.VerifierError
	if !errors.As(err, &verr) || !strings.Contains(err.Error(), "cannot_load") {
		t.Fatalf("want a verifier error that names the program: %v", err)
	}
	if skel.Bss == nil || *calls != 3 || skel.Maps.Seen.Map() != nil {
		t.Error("a failed Load left something behind")
	}
	skel.Progs.CannotLoad.SetAutoload(false)
	mustLoad(t, skel)
	mustAttach(t, skel)
	if !fires(calls) {
		t.Error("does not fire after the second Load")
	}
}

// A section that the kernel does not map loads all the same, with its values.
func TestUnmappableSection(t *testing.T) {
	skel, err := locked.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	before := skel.DataLocked
	before.Guarded = 77
	bpftest.NeedsBPF(t)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	if skel.DataLocked != nil {
		if v, err := features.LinuxVersionCode(); err != nil || v < 5<<16|15<<8 {
			t.Skip("needs a kernel that looks for locks in global variables (5.15): this one maps the section")
		}
		t.Error("the section's field must become nil")
	}
	variable, _ := skel.FindVariable("guarded")
	if guarded, err := skeleton.VarOf[uint64](variable); err != nil {
		t.Error(err)
	} else if got, err := guarded.Get(); err != nil || got != 77 {
		t.Errorf("guarded is %d, %v, want 77", got, err)
	}
	if before.Guarded != 77 {
		t.Error("an old pointer must stay readable")
	}
	if _, _, err := skel.Progs.CopyGuarded.Program().Test(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	if got := atomic.LoadUint64(&skel.Bss.Copy); got != 77 {
		t.Errorf("the program read %d, want 77", got)
	}
}

// Nothing stays behind, and readers are never disturbed.
func TestNothingLeaks(t *testing.T) {
	bpftest.NeedsBPF(t)
	cycle := func() {
		skel := open(t)
		mustLoad(t, skel)
		mustAttach(t, skel)
		var wg sync.WaitGroup
		calls, step := &skel.Bss.Calls, &skel.Rodata.Step
		for range 2 {
			wg.Go(func() {
				for range 100 {
					if atomic.LoadUint64(calls) > 1<<32 || atomic.LoadUint64(step) != 1 {
						t.Error("a reader saw garbage")
					}
				}
			})
		}
		if err := skel.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
	for range 5 {
		cycle()
	}
	runtime.GC()
	fds := kerneltest.FDs(t)
	for range kerneltest.Rounds(100) {
		cycle()
	}
	if after := kerneltest.FDs(t); !maps.Equal(fds, after) {
		t.Errorf("file descriptors\n%v\nbecame\n%v", fds, after)
	}
}
