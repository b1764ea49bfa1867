package skeleton

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// newTestObject returns an object of these maps and programs.
func newTestObject(t testing.TB, specs []*ebpf.MapSpec, programs ...*ebpf.ProgramSpec) *Object {
	t.Helper()
	bpftest.NeedsBPF(t)
	return openTestObject(t, specs, programs...)
}

// openTestObject is newTestObject for a process that may not use BPF.
func openTestObject(t testing.TB, specs []*ebpf.MapSpec, programs ...*ebpf.ProgramSpec) *Object {
	t.Helper()
	img := newTestImage(t, specs, programs...)
	d := desc{Name: "test"}
	for _, ms := range specs {
		d.Maps = append(d.Maps, mapDesc{Name: ms.Name, Handle: new(UntypedMap)})
	}
	for _, ps := range programs {
		d.Progs = append(d.Progs, progDesc{Name: ps.Name, Handle: new(*BaseProgram), Link: new(link.Link)})
	}
	data, err := image.Encode(img, nativeOrder)
	if err != nil {
		t.Fatal(err)
	}
	d.Image = string(data)
	o, err := open(d)
	if err != nil {
		t.Fatal(err)
	}
	for i, ps := range programs {
		if ps.AttachTarget != nil {
			o.progs[i].def.AttachTarget = ps.AttachTarget
		}
	}
	return o
}

// newTestImage returns the image of an object. Instructions refer to maps and functions by
// their names. A program is a function, and what follows in it with a type of its own another.
func newTestImage(t testing.TB, specs []*ebpf.MapSpec, programs ...*ebpf.ProgramSpec) *image.Object {
	t.Helper()
	img := &image.Object{Name: "test", License: "GPL", Arena: image.Arena{Map: image.NoIndex}}
	maps, functions := make(map[string]uint32), make(map[string]uint32)
	for i, ms := range specs {
		maps[ms.Name] = uint32(i)
		img.Maps = append(img.Maps, image.Map{
			Name: ms.Name, Type: uint32(ms.Type), KeySize: ms.KeySize, ValueSize: ms.ValueSize,
			MaxEntries: ms.MaxEntries, Flags: ms.Flags, Pinning: uint32(ms.Pinning), Inner: image.NoIndex,
		})
	}
	var types btf.Builder
	var funcs []image.FuncInfo
	var raw bytes.Buffer
	// The instructions that refer to something, and what they need for it.
	var code asm.Instructions
	var relocations []image.Relocation
	for _, ps := range programs {
		img.Programs = append(img.Programs, image.Program{Name: ps.Name, Section: ps.SectionName, Function: uint32(len(img.Functions))})
		start := uint32(raw.Len() / asm.InstructionSize)
		insns := slices.Clone(ps.Instructions)
		if err := insns.Marshal(&raw, nativeOrder); err != nil {
			t.Fatal(err)
		}
		for it := insns.Iterate(); it.Next(); {
			at := start + uint32(it.Offset)
			if typ := btf.FuncMetadata(it.Ins); it.Index == 0 || typ != nil {
				f := image.Function{Name: it.Ins.Symbol(), First: at, ExceptionCallback: image.NoIndex}
				if it.Index == 0 {
					f.Name = ps.Name
				}
				if typ != nil {
					id, err := types.Add(typ)
					if err != nil {
						t.Fatal(err)
					}
					f.Type = uint32(id)
					funcs = append(funcs, image.FuncInfo{Instruction: at, Type: uint32(id)})
				}
				functions[f.Name] = uint32(len(img.Functions))
				img.Functions = append(img.Functions, f)
			}
			if it.Ins.OpCode.IsDWordLoad() && it.Ins.Reference() != "" {
				code = append(code, *it.Ins)
				relocations = append(relocations, image.Relocation{Instruction: at})
			}
			f := &img.Functions[len(img.Functions)-1]
			f.Count = at + uint32(it.Ins.Size())/asm.InstructionSize - f.First
		}
	}
	for i, ins := range code {
		if target, ok := maps[ins.Reference()]; ok {
			relocations[i].Kind, relocations[i].Target = image.MapFD, target
		} else {
			relocations[i].Kind, relocations[i].Target = image.FuncAddress, functions[ins.Reference()]
		}
	}
	for i, ms := range specs {
		for _, kv := range ms.Contents {
			program := slices.IndexFunc(programs, func(ps *ebpf.ProgramSpec) bool { return ps.Name == kv.Value })
			img.Elements = append(img.Elements, image.Element{Map: uint32(i), Key: kv.Key.(uint32), IsProgram: true, Target: uint32(program)})
		}
	}
	img.Code = raw.Bytes()
	img.Relocations, img.FuncInfo = image.NewTable(relocations), image.NewTable(funcs)
	if !types.Empty() {
		var err error
		if img.BTF, err = types.Marshal(nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// newTestProgram returns a program that does not attach by itself.
func newTestProgram(name string, insns ...asm.Instruction) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Name: name, Type: ebpf.XDP, SectionName: "xdp", License: "GPL", Instructions: insns}
}

// Ring buffers and perf event arrays that are declared with the type of their records load, as
// with cilium/ebpf.
func TestDeclaredRecords(t *testing.T) {
	o := newTestObject(t, []*ebpf.MapSpec{
		{Name: "ring", Type: ebpf.RingBuf, ValueSize: 16, MaxEntries: 4096},
		{Name: "perf", Type: ebpf.PerfEventArray, KeySize: 4, ValueSize: 16},
		{Name: "plain", Type: ebpf.PerfEventArray},
	})
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

// A failed Load takes back the pins that it has made, and no others.
func TestFailedLoadUnpins(t *testing.T) {
	dir := bpftest.PinDir(t)
	spec := func(name string) *ebpf.MapSpec {
		return &ebpf.MapSpec{Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Pinning: ebpf.PinByName}
	}
	specs := []*ebpf.MapSpec{spec("before"), spec("new"), spec("reused")}
	if features.HaveMapType(ebpf.Arena) == nil {
		arena := spec("memory")
		arena.Type, arena.KeySize, arena.ValueSize, arena.Flags = ebpf.Arena, 0, 0, unix.BPF_F_MMAPABLE
		specs = append(specs, arena)
	}
	opts := LoadOptions{PinRoot: dir}
	before, err := ebpf.NewMapWithOptions(specs[0], ebpf.MapOptions{PinPath: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	other, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	opts.Maps = map[string]*ebpf.Map{"reused": other}

	// R0 is not set.
	bad := newTestProgram("bad", asm.Return())
	o := newTestObject(t, specs, bad)
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

	if err := o.progs[0].SetInstructions(trivial()); err != nil {
		t.Fatal(err)
	}
	if err := o.LoadWithOptions(opts); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if got := pinned(); len(got) != len(specs)-1 {
		t.Errorf("after Load, there are pins %q, want all maps but the reused one", got)
	}
}

// Of several that load at the same moment and pin the same map, one makes the pin, and
// all use its map.
func TestPinRace(t *testing.T) {
	dir := bpftest.PinDir(t)
	path := filepath.Join(dir, "seen")
	opts := LoadOptions{PinRoot: dir}
	for range 40 {
		objects := make([]*Object, 4)
		errs := make([]error, len(objects))
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range objects {
			objects[i] = newTestObject(t, []*ebpf.MapSpec{{Name: "seen", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Pinning: ebpf.PinByName}})
			wg.Go(func() {
				<-start
				errs[i] = objects[i].LoadWithOptions(opts)
			})
		}
		close(start)
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		pinned, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range objects {
			if err := o.maps[0].Map().Put(uint32(0), uint32(i+1)); err != nil {
				t.Error(err)
			}
			var got uint32
			if err := pinned.Lookup(uint32(0), &got); err != nil || got != uint32(i+1) {
				t.Errorf("object %d: the pinned map has %d, %v, and not what was put there", i, got, err)
			}
			if err := o.Close(); err != nil {
				t.Error(err)
			}
		}
		pinned.Close()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// A program array needs the programs that it holds.
func TestElementNotToBeLoaded(t *testing.T) {
	calls := &ebpf.MapSpec{Name: "calls", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 2, Contents: []ebpf.MapKV{{Key: uint32(1), Value: "called"}}}
	o := newTestObject(t, []*ebpf.MapSpec{calls}, newTestProgram("called", asm.Mov.Imm(asm.R0, 0), asm.Return()))
	o.progs[0].SetAutoload(false)
	const want = "load test: map calls: element 1 is program called, which is not to be loaded: call its SetAutoload(true), or take it out with SetContents"
	if err := o.Load(); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}

	array := ProgArray{UntypedMap{of: o.maps[0]}}
	if err := array.SetContents(nil); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}
