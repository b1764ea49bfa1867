package skeleton

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
)

// newTestObject returns an object of these maps and programs.
func newTestObject(t *testing.T, specs []*ebpf.MapSpec, programs ...*ebpf.ProgramSpec) *Object {
	t.Helper()
	kerneltest.BPF(t)
	o := &Object{name: "test", spec: &ebpf.CollectionSpec{
		Maps:      make(map[string]*ebpf.MapSpec),
		Programs:  make(map[string]*ebpf.ProgramSpec),
		ByteOrder: binary.LittleEndian, // as all machines that run this test
	}}
	for _, ms := range specs {
		o.spec.Maps[ms.Name] = ms
	}
	for _, ps := range programs {
		addTestProgram(o, ProgField(ps.Name, new(*Program), new(link.Link)), ps)
	}
	return o
}

// addTestProgram adds a program, and fills the field that desc has for its handle.
func addTestProgram(o *Object, desc ProgDesc, ps *ebpf.ProgramSpec) {
	o.spec.Programs[ps.Name] = ps
	p := newProgram(o, desc, ps)
	desc.open(p)
	o.progs = append(o.progs, p)
}

// newTestProgram returns a program that does not attach by itself.
func newTestProgram(name string, insns ...asm.Instruction) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Name: name, Type: ebpf.XDP, SectionName: "xdp", License: "GPL", Instructions: insns}
}

// A failed Load takes back the pins that it has made, and no others.
func TestFailedLoadUnpins(t *testing.T) {
	kerneltest.BPFFS(t)
	dir, err := os.MkdirTemp("/sys/fs/bpf", "failed")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	spec := func(name string) *ebpf.MapSpec {
		return &ebpf.MapSpec{Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Pinning: ebpf.PinByName}
	}
	specs := []*ebpf.MapSpec{spec("before"), spec("new"), spec("reused")}
	if features.HaveMapType(ebpf.Arena) == nil {
		arena := spec("memory")
		arena.Type, arena.KeySize, arena.ValueSize, arena.Flags = ebpf.Arena, 0, 0, unix.BPF_F_MMAPABLE
		specs = append(specs, arena)
	}
	opts := ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: dir}}
	before, err := ebpf.NewMapWithOptions(specs[0], opts.Maps)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	other, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	opts.MapReplacements = map[string]*ebpf.Map{"reused": other}

	// R0 is not set.
	bad := newTestProgram("bad", asm.Return())
	o := newTestObject(t, specs, bad)
	if len(specs) > 3 {
		o.arena = &arena{ArenaDesc: ArenaDesc{Map: "memory"}, initial: []byte{1}}
	}
	pinned := func() []string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	var rejected *VerifierError
	if err := o.LoadWithOptions(opts); !errors.As(err, &rejected) {
		t.Errorf("want a VerifierError: %v", err)
	}
	if got := pinned(); !slices.Equal(got, []string{"before"}) {
		t.Errorf("after Load failed, there are pins %q, want the one of before", got)
	}

	bad.Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
	if err := o.LoadWithOptions(opts); err != nil {
		t.Fatal(err)
	}
	defer o.coll.Close()
	if got := pinned(); len(got) != len(specs)-1 {
		t.Errorf("after Load, there are pins %q, want all maps but the reused one", got)
	}
}

// A program array needs the programs that it holds.
func TestElementNotToBeLoaded(t *testing.T) {
	calls := &ebpf.MapSpec{Name: "calls", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 2, Contents: []ebpf.MapKV{{Key: uint32(1), Value: "called"}}}
	o := newTestObject(t, []*ebpf.MapSpec{calls}, newTestProgram("called", asm.Mov.Imm(asm.R0, 0), asm.Return()))
	o.progs[0].SetAutoload(false)
	const want = "load test: map calls: element 1 is program called, which is not to be loaded: call its SetAutoload(true), or take it out of Spec().Contents"
	if err := o.Load(); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}

	calls.Contents = nil
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	o.coll.Close()
}

// A kfunc is found without the flavour of its declaration, and is none when it has
// other parameters.
func TestFindKfunc(t *testing.T) {
	kerneltest.BPF(t)
	void := &btf.FuncProto{Return: new(btf.Void)}
	number := &btf.FuncProto{Return: new(btf.Void), Params: []btf.FuncParam{{Name: "n", Type: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}}}}
	cache := btf.NewCache()
	id, _, err := findKfunc(&btf.Func{Name: "bpf_rcu_read_lock", Type: void}, cache)
	if errors.Is(err, btf.ErrNotFound) {
		t.Skip("needs a kernel with bpf_rcu_read_lock (6.2)")
	}
	if err != nil {
		t.Fatal(err)
	}
	if flavour, _, err := findKfunc(&btf.Func{Name: "bpf_rcu_read_lock___new", Type: void}, cache); err != nil || flavour != id {
		t.Errorf("with a flavour it is %d (%v), want %d", flavour, err, id)
	}
	if _, _, err := findKfunc(&btf.Func{Name: "bpf_rcu_read_lock___new", Type: number}, cache); !errors.Is(err, errIncompatible) {
		t.Errorf("with another parameter: %v", err)
	}
}

// A program that was rejected is a [VerifierError] with the log disabled too, and one
// that the kernel does not look at is none.
func TestOwnLoadWithoutLog(t *testing.T) {
	kerneltest.BPF(t)
	spec := newTestProgram("bad", asm.Return()) // R0 is not set
	var insns bytes.Buffer
	if err := spec.Instructions.Marshal(&insns, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	code := progCode{insns: insns.Bytes()}
	var rejected *ebpf.VerifierError
	if _, err := code.load(spec, ebpf.ProgramOptions{}); !errors.As(err, &rejected) || len(rejected.Log) == 0 {
		t.Errorf("want a VerifierError with a log: %v", err)
	}
	_, err := code.load(spec, ebpf.ProgramOptions{LogDisabled: true})
	if !errors.As(err, &rejected) || len(rejected.Log) != 0 || !strings.Contains(err.Error(), "LogDisabled") {
		t.Errorf("want a VerifierError that says why it has no log: %v", err)
	}
	spec.Flags = 1 << 31
	if _, err := code.load(spec, ebpf.ProgramOptions{}); err == nil || errors.As(err, &rejected) || !strings.Contains(err.Error(), "without a look") {
		t.Errorf("with flags that no kernel has: %v", err)
	}
}

// That the kernel does not take the types of a program is no complaint of the verifier
// of programs.
func TestRefusedTypes(t *testing.T) {
	// A name that is none in C.
	fn := &btf.Func{Name: "a b", Linkage: btf.GlobalFunc, Type: &btf.FuncProto{Return: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}}}
	first := btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 1), fn).WithSymbol("f")
	loaders := newTestProgram("f", first, asm.Return())
	own := newTestProgram("f", first, asm.Return())
	own.Type, own.AttachType, own.AttachTo, own.SectionName = ebpf.LSM, ebpf.AttachLSMCgroup, "socket_bind", "lsm_cgroup/socket_bind"
	for _, spec := range []*ebpf.ProgramSpec{loaders, own} {
		t.Run(spec.SectionName, func(t *testing.T) {
			err := newTestObject(t, nil, spec).Load()
			if spec == own && errors.Is(err, ebpf.ErrNotSupported) {
				t.Skipf("needs a kernel with hooks of cgroups (6.0): %v", err)
			}
			var theirs *ebpf.VerifierError
			if !errors.As(err, &theirs) {
				t.Fatalf("want an ebpf.VerifierError about BTF: %v", err)
			}
			var rejected *VerifierError
			if want := fmt.Sprintf("load test: program f, SEC(%q): load BTF: ", spec.SectionName); errors.As(err, &rejected) || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v does not begin with %q", err, want)
			}
		})
	}
}

// A symbol without an address does not keep those after it from having theirs.
func TestFindAddresses(t *testing.T) {
	list := func(lines ...string) iter.Seq2[kernelSymbol, error] {
		return func(yield func(kernelSymbol, error) bool) {
			for _, line := range lines {
				addr, name, _ := strings.Cut(line, " ")
				if !yield(kernelSymbol{addr: []byte(addr), name: []byte(name)}, nil) {
					return
				}
			}
		}
	}
	symbols := map[string]uint64{"zero": 0, "last": 0, "missing": 0}
	err := findAddresses(symbols, list("1 first", "0 zero", "ff last"))
	if want := map[string]uint64{"zero": 0, "last": 0xff, "missing": 0}; !maps.Equal(symbols, want) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("addresses %v (%v), want %v and that one is hidden", symbols, err, want)
	}
	err = findAddresses(map[string]uint64{"twice": 0}, list("1 twice", "2 twice"))
	if err == nil || !strings.HasPrefix(err.Error(), "ksym twice: ") || !strings.Contains(err.Error(), "SetAutoload(false)") {
		t.Errorf("of two symbols of one name: %v", err)
	}
}

// Types are decoded once, and again when the kernel has other modules.
func TestSharedBTF(t *testing.T) {
	dir := t.TempDir()
	add := func(name string) {
		t.Helper()
		// While there is the old file, the new one has another number.
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	shared := btfCache{dir: dir}
	last := shared.get()
	for _, step := range []struct {
		name string
		do   func()
		same bool
	}{
		{"nothing", func() {}, true},
		{"a module is loaded", func() { add("module") }, false},
		{"a module is loaded again", func() { add("module") }, false},
		{"nothing again", func() {}, true},
		{"a module is removed", func() { _ = os.Remove(filepath.Join(dir, "module")) }, false},
		{"there are no modules", func() { _ = os.Remove(dir) }, true},
	} {
		step.do()
		cache := shared.get()
		if (cache == last) != step.same {
			t.Errorf("%s: the cache is the same: %v, want %v", step.name, !step.same, step.same)
		}
		last = cache
	}
	runtime.KeepAlive(last)
}
