// Package core_test compares what CO-RE relocations come to with libbpf.
package core_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/bpftool"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/core/progs/poison"
	"github.com/rules-bpf/rules_bpf/tests/core/progs/relos"
)

// values loads the object, with the options, and returns what it has recorded.
func values(t *testing.T, opts skeleton.LoadOptions) []int64 {
	t.Helper()
	skel, err := relos.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	if err := skel.LoadWithOptions(opts); err != nil {
		t.Fatalf("%+v", err)
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	_ = unix.Getppid()
	if skel.Bss.Count == 0 {
		t.Fatal("the program did not run")
	}
	return skel.Bss.Values[:skel.Bss.Count]
}

// All kinds of relocations come to what libbpf makes of them.
func TestLikeLibbpf(t *testing.T) {
	bpftest.NeedsBPFFS(t)
	got := values(t, skeleton.LoadOptions{})

	command, version := bpftool.Command(t)
	object, err := runfiles.Rlocation("_main/tests/core/progs/relos/relos.bpf.o")
	if err != nil {
		t.Fatal(err)
	}
	dir := "/sys/fs/bpf/rules_bpf_core_test"
	if out, err := command("prog", "loadall", object, dir).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", version, err, out)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	prog, err := ebpf.LoadPinnedProgram(filepath.Join(dir, "record"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_enter", Program: prog})
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Getppid()
	l.Close()
	want := recorded(t, prog)
	if len(got) != len(want) {
		t.Fatalf("%d values, libbpf has %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("value %d is %d, libbpf's is %d", i, got[i], want[i])
		}
	}
}

// recorded reads the values from the program's .bss.
func recorded(t *testing.T, prog *ebpf.Program) []int64 {
	t.Helper()
	info, err := prog.Info()
	if err != nil {
		t.Fatal(err)
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		minfo, err := m.Info()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(minfo.Name, ".bss") {
			continue
		}
		data, err := m.LookupBytes(uint32(0))
		if err != nil {
			t.Fatal(err)
		}
		// The struct may be longer than the section, up to its alignment.
		var bss relos.Bss
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&bss)), unsafe.Sizeof(bss)), data)
		return bss.Values[:bss.Count]
	}
	t.Fatal("the program has no .bss")
	return nil
}

// What holds on all kernels.
func TestValues(t *testing.T) {
	bpftest.NeedsBPF(t)
	got := values(t, skeleton.LoadOptions{})
	for i, want := range map[int]int64{
		0: 1, 1: 0, 2: 0, 4: 0, 7: 0, 8: 1,
		11: 0, 14: 1, 15: 0, 16: 1, 17: 0, 19: 1,
		20: 1, 21: 0, 22: 1, 23: 0, 25: -1,
		26: 1, 27: 0, 28: 0, 29: 0, 30: 1, 31: 1, 32: 1, 33: 0, 37: 16, 38: 16, 39: 4, 40: 1,
		48: 1, 49: 0, 52: 32, 53: 1, 54: 0,
		55: 1, 56: 1,
	} {
		if got[i] != want {
			t.Errorf("value %d is %d, want %d", i, got[i], want)
		}
	}
}

// Types of the user's own stand for the kernel's, and only for CO-RE.
func TestKernelTypes(t *testing.T) {
	bpftest.NeedsBPF(t)
	kernel, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Fatal(err)
	}
	want := values(t, skeleton.LoadOptions{})
	got := values(t, skeleton.LoadOptions{KernelTypes: kernel})
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("value %d is %d by the given types, want %d", i, got[i], want[i])
		}
	}
}

func open(t *testing.T, load func(*poison.Progs) *skeleton.BaseProgram) (*poison.Skeleton, error) {
	t.Helper()
	skel, err := poison.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { skel.Close() })
	load(&skel.Progs).SetAutoload(true)
	return skel, skel.Load()
}

// A subprogram that starts with poison is loaded where nothing reaches it.
func TestGuarded(t *testing.T) {
	bpftest.NeedsBPF(t)
	skel, err := open(t, func(p *poison.Progs) *skeleton.BaseProgram { return p.Guarded.Handle() })
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	_ = unix.Getppid()
	if skel.Bss.Hits == 0 || skel.Bss.Offset != 0 {
		t.Errorf("%d hits, offset %d", skel.Bss.Hits, skel.Bss.Offset)
	}
}

// What a program needs and the kernel lacks is named, with the line that needs it.
func TestMissing(t *testing.T) {
	bpftest.NeedsBPF(t)
	for name, c := range map[string]struct {
		load func(*poison.Progs) *skeleton.BaseProgram
		want []string
	}{
		"field": {func(p *poison.Progs) *skeleton.BaseProgram { return p.Unguarded.Handle() },
			[]string{"program unguarded", "field field_of_later of struct task_struct___later", "the kernel's task_struct", "no field field_of_later", "bpf_core_field_exists", "poison.bpf.c:"}},
		"value": {func(p *poison.Progs) *skeleton.BaseProgram { return p.UnguardedValue.Handle() },
			[]string{"program unguarded_value", "value PIDTYPE_LATER of enum pid_type___later", "the kernel's pid_type", "no value PIDTYPE_LATER", "bpf_core_enum_value_exists"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, c.load)
			var verr *skeleton.VerifierError
			if !errors.As(err, &verr) {
				t.Fatalf("got %v, want a VerifierError", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

// An unsigned field that is narrower in the kernel is read as what it is.
func TestNarrowed(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 11, "bpf_get_current_task_btf")
	skel, err := open(t, func(p *poison.Progs) *skeleton.BaseProgram { return p.Narrowed.Handle() })
	if err != nil {
		t.Fatalf("%+v", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	_ = unix.Getppid()
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	if skel.Bss.Hits == 0 || skel.Bss.Wide != skel.Bss.Same || skel.Bss.Wide == 0 {
		t.Errorf("%d hits, flags are %#x read as a long and %#x", skel.Bss.Hits, skel.Bss.Wide, skel.Bss.Same)
	}
	_, err = open(t, func(p *poison.Progs) *skeleton.BaseProgram { return p.Misread.Handle() })
	if err == nil || !strings.Contains(err.Error(), "another size or sign") {
		t.Errorf("a signed field of another size: got %v", err)
	}
}
