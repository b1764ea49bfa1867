package normalise_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/normalise/progs/arena"
	"github.com/rules-bpf/rules_bpf/tests/normalise/progs/ksyms"
	"github.com/rules-bpf/rules_bpf/tests/normalise/progs/likelibbpf"
)

// call runs a program of type syscall.
func call(t *testing.T, p *skeleton.BaseProgram) {
	t.Helper()
	if _, err := p.Run(&ebpf.RunOptions{}); err != nil {
		t.Fatal(err)
	}
}

// needsArena skips t on a kernel without arenas, when that says what it lacks.
func needsArena(t *testing.T, skel *arena.Skeleton) {
	t.Helper()
	bpftest.NeedsBPF(t)
	if err := features.HaveMapType(ebpf.Arena); errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("needs a kernel with arenas (6.9): %v", err)
	}
	if !kerneltest.Config(t, "CONFIG_BPF_JIT") {
		kerneltest.WantError(t, skel.Load(), "map memory: create it: operation not supported: the kernel has no BPF JIT compiler (CONFIG_BPF_JIT), which arenas need")
	}
	kerneltest.NeedsJIT(t)
}

func TestArena(t *testing.T) {
	skel, err := arena.Open()
	if err != nil {
		t.Fatal(err)
	}
	needsArena(t, skel)
	before := skel.Arena
	if before.Counter != 5 || before.Pair != (arena.Pair{First: 1, Second: 2}) || before.Zero != 0 {
		t.Errorf("before Load the variables are %+v", *before)
	}
	before.Counter = 6
	skel.Progs.Count.SetAutoload(false)
	load(t, skel, nil)
	vars := skel.Arena
	if vars.Counter != 6 || vars.Pair.Second != 2 {
		t.Errorf("after Load the variables are %+v", *vars)
	}
	call(t, skel.Progs.Addresses.Handle())
	if got, want := skel.Bss.AddressOfCounter, uint64(uintptr(unsafe.Pointer(&vars.Counter))); got != want {
		t.Errorf("the program has counter at %#x, user space at %#x", got, want)
	}
	if got, want := skel.Bss.AddressOfZero, uint64(uintptr(unsafe.Pointer(&vars.Zero))); got != want {
		t.Errorf("the program has zero at %#x, user space at %#x", got, want)
	}
	vars.Counter = 7
	for range 2 {
		if err := skel.Close(); err != nil {
			t.Fatal(err)
		}
		if vars.Counter != 7 {
			t.Errorf("after Close counter is %d, want 7", vars.Counter)
		}
	}
}

// A program goes to the memory of an arena.
func TestArenaAccess(t *testing.T) {
	skel, err := arena.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	needsArena(t, skel)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	call(t, skel.Progs.Count.Handle())
	if skel.Arena.Counter != 12 || skel.Arena.Pair.Second != 12 || skel.Arena.Zero != 1 {
		t.Errorf("the variables are %+v", *skel.Arena)
	}
}

// needsVariables skips t when the kernel's BTF has functions only.
func needsVariables(t *testing.T) {
	t.Helper()
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	var v *btf.Var
	if err := kernel.TypeByName("bpf_prog_active", &v); errors.Is(err, btf.ErrNotFound) {
		t.Skipf("needs a kernel with variables in its BTF: %v", err)
	}
}

func TestTypedKsymMissing(t *testing.T) {
	needsVariables(t)
	skel, err := ksyms.Open()
	if err != nil {
		t.Fatal(err)
	}
	skel.Progs.ReadActive.SetAutoload(false)
	load(t, skel, nil)
	call(t, skel.Progs.LookForMissing.Handle())
	if skel.Data.Missing != 1 {
		t.Errorf("missing is %d, want 1: a variable that no kernel has is there", skel.Data.Missing)
	}
}

func TestTypedKsym(t *testing.T) {
	symbols, err := os.ReadFile("/proc/kallsyms")
	if err != nil || !strings.Contains(string(symbols), " bpf_prog_active\n") {
		t.Skipf("needs a kernel that knows the addresses of its variables (CONFIG_KALLSYMS_ALL): %v", err)
	}
	needsVariables(t)
	skel, err := ksyms.Open()
	load(t, skel, err)
	call(t, skel.Progs.ReadActive.Handle())
	// The kernel's count of tracing programs that run on the CPU.
	if skel.Data.Active != 0 && skel.Data.Active != 1 {
		t.Errorf("bpf_prog_active is %d on CPU 0", skel.Data.Active)
	}
}

func TestLikeLibbpf(t *testing.T) {
	bpftest.NeedsBPFFS(t)
	bpftest.NeedsKernel(t, 5, 14, "programs that run as system calls")
	pin := filepath.Join("/sys/fs/bpf", "rules_bpf_test_pinned")
	skel, err := likelibbpf.Open()
	t.Cleanup(func() {
		if err := os.Remove(pin); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	load(t, skel, err)
	call(t, skel.Progs.Run.Handle())
	if got := skel.Bss.Result; got != 42 {
		t.Errorf("the hidden function returned %d, want 42", got)
	}
	if got, want := skel.Maps.OddRing.Map().MaxEntries(), uint32(os.Getpagesize()); got != want {
		t.Errorf("the ring has %d bytes, want %d", got, want)
	}
	if _, err := os.Stat(pin); err != nil {
		t.Errorf("the map is not pinned: %v", err)
	}
}
