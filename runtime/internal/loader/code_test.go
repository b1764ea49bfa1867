package loader

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/rules-bpf/rules_bpf/internal/image"
)

// marshal returns instructions as the kernel takes them.
func marshal(t testing.TB, insns asm.Instructions) []byte {
	t.Helper()
	var order binary.ByteOrder = binary.BigEndian
	if littleEndian {
		order = binary.LittleEndian
	}
	var b bytes.Buffer
	if err := insns.Marshal(&b, order); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// function is a function of a test's image.
type function struct {
	name  string
	insns asm.Instructions
	// calls are the names of functions that the instructions with these indices call, or
	// load the addresses of. Indices count 64-bit loads twice.
	calls map[uint32]string
	// callback is the name of its exception callback.
	callback string
}

// testImage returns an image of functions with a line for each instruction, whose
// programs are those that sections names.
func testImage(t testing.TB, functions []function, sections map[string]string) *image.Object {
	t.Helper()
	img := &image.Object{Name: "test", License: "GPL", Arena: image.Arena{Map: image.NoIndex}}
	index := func(name string) uint32 {
		i := slices.IndexFunc(functions, func(f function) bool { return f.name == name })
		if i < 0 {
			t.Fatalf("no function %s", name)
		}
		return uint32(i)
	}
	var relos []image.Relocation
	var funcs []image.FuncInfo
	var lines []image.LineInfo
	for i, f := range functions {
		first := uint32(len(img.Code) / insnSize)
		img.Code = append(img.Code, marshal(t, f.insns)...)
		count := uint32(len(img.Code)/insnSize) - first
		img.Functions = append(img.Functions, image.Function{Name: f.name, First: first, Count: count, ExceptionCallback: image.NoIndex})
		if f.callback != "" {
			img.Functions[i].ExceptionCallback = index(f.callback)
		}
		funcs = append(funcs, image.FuncInfo{Instruction: first, Type: uint32(100 + i)})
		for n := range count {
			lines = append(lines, image.LineInfo{Instruction: first + n, Column: uint32(i)<<10 | n})
			called, ok := f.calls[n]
			if !ok {
				continue
			}
			r := image.Relocation{Instruction: first + n, Kind: image.Call, Target: index(called)}
			if img.Code[insnSize*(first+n)] == opLoad64 {
				r.Kind = image.FuncAddress
			}
			relos = append(relos, r)
		}
		if section, ok := sections[f.name]; ok {
			img.Programs = append(img.Programs, image.Program{Name: f.name, Section: section, Function: uint32(i)})
		}
	}
	img.Relocations, img.FuncInfo, img.LineInfo = image.NewTable(relos), image.NewTable(funcs), image.NewTable(lines)
	return img
}

// call is a call of a function that the test's image names.
var call = asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoCall, Constant: -1}

func returns(v int32) asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, v), asm.Return()}
}

// linked returns the names of the functions of a program in the order of their code, and
// the linker that has it.
func linked(t *testing.T, o *Object, program string) ([]string, *linker) {
	t.Helper()
	l := &load{object: o, btf: 0}
	if err := l.selectPrograms(); err != nil {
		t.Fatal(err)
	}
	c, err := l.assemble()
	if err != nil {
		t.Fatal(err)
	}
	k := &linker{code: c}
	for _, p := range l.selected {
		k.link(p)
		if p.Name == program {
			break
		}
	}
	var names []string
	for _, f := range k.order {
		names = append(names, o.Image.Functions[f].Name)
	}
	return names, k
}

// libbpf's documentation has these programs as its example.
func TestLinkOrder(t *testing.T) {
	two := asm.Instructions{call, call, asm.Return()}
	one := asm.Instructions{call, asm.Return()}
	functions := []function{
		{name: "subB", insns: returns(0)},
		{name: "subA", insns: one, calls: map[uint32]string{0: "subB"}},
		{name: "mainA", insns: two, calls: map[uint32]string{0: "subA", 1: "subB"}},
		{name: "mainB", insns: one, calls: map[uint32]string{0: "subC"}},
		{name: "subC", insns: one, calls: map[uint32]string{0: "subB"}},
		{name: "alone", insns: returns(1)},
		{name: "loop", insns: one, calls: map[uint32]string{0: "loop"}},
		{name: "throws", insns: returns(2), callback: "subA"},
		{name: "throwsB", insns: one, calls: map[uint32]string{0: "subC"}, callback: "subC"},
	}
	sections := map[string]string{"mainA": "socket", "mainB": "socket", "alone": "socket", "loop": "socket", "throws": "socket", "throwsB": "socket"}
	o := Open(testImage(t, functions, sections))
	for program, want := range map[string][]string{
		"mainA":   {"mainA", "subA", "subB"},
		"mainB":   {"mainB", "subC", "subB"},
		"alone":   {"alone"},
		"loop":    {"loop"},
		"throws":  {"throws", "subA", "subB"},
		"throwsB": {"throwsB", "subC", "subB"},
	} {
		if got, _ := linked(t, o, program); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", program, got, want)
		}
	}
}

// Calls, addresses, function and line info are as the order says.
func TestLink(t *testing.T) {
	address := asm.LoadImm(asm.R2, 0, asm.DWord)
	functions := []function{
		{name: "other", insns: returns(3)},
		{name: "leaf", insns: returns(0)},
		{name: "main", insns: asm.Instructions{address, call, asm.Return()}, calls: map[uint32]string{0: "leaf", 2: "sub"}},
		{name: "sub", insns: asm.Instructions{asm.Mov.Imm(asm.R0, 1), call, asm.Return()}, calls: map[uint32]string{1: "leaf"}},
	}
	o := Open(testImage(t, functions, map[string]string{"main": "socket"}))
	names, k := linked(t, o, "main")
	if want := []string{"main", "leaf", "sub"}; !slices.Equal(names, want) {
		t.Fatalf("%v, want %v", names, want)
	}
	// main is 4 instructions long, leaf 2.
	for at, want := range map[uint32]struct {
		src uint8
		imm int32
	}{0: {pseudoFunc, 4 - 0 - 1}, 2: {pseudoCall, 6 - 2 - 1}, 7: {pseudoCall, 4 - 7 - 1}} {
		if ins := insnAt(k.insns, at); ins.src() != want.src || ins.imm() != want.imm {
			t.Errorf("instruction %d: %d %d, want %v", at, ins.src(), ins.imm(), want)
		}
	}
	if want := []image.FuncInfo{{Instruction: 0, Type: 102}, {Instruction: 4, Type: 101}, {Instruction: 6, Type: 103}}; !slices.Equal(k.funcs, want) {
		t.Errorf("%v, want %v", k.funcs, want)
	}
	if len(k.lines) != 9 {
		t.Fatalf("%d lines", len(k.lines))
	}
	for i, line := range k.lines {
		function, start := uint32(2), 0
		switch {
		case i >= 6:
			function, start = 3, 6
		case i >= 4:
			function, start = 1, 4
		}
		if want := function<<10 | uint32(i-start); line.Instruction != uint32(i) || line.Column != want {
			t.Errorf("line %d: %+v, want column %d", i, line, want)
		}
	}
	// The image is as before.
	if ins := insnAt(o.Image.Code, o.Image.Functions[2].First); ins.src() != 0 || ins.imm() != 0 {
		t.Error("the image was written to")
	}
}

// A function without info leaves its program without, and no other.
func TestWithoutInfo(t *testing.T) {
	one := asm.Instructions{call, asm.Return()}
	img := testImage(t, []function{
		{name: "bare", insns: returns(0)},
		{name: "main", insns: one, calls: map[uint32]string{0: "bare"}},
		{name: "alone", insns: returns(0)},
	}, map[string]string{"main": "socket", "alone": "socket"})
	funcs, lines := slices.Collect(values(img.FuncInfo)), slices.Collect(values(img.LineInfo))
	img.FuncInfo, img.LineInfo = image.NewTable(funcs[1:]), image.NewTable(lines[1:])
	o := Open(img)
	if _, k := linked(t, o, "main"); !k.withoutFunc || !k.withoutLine {
		t.Error("main has info")
	}
	if _, k := linked(t, o, "alone"); k.withoutFunc || k.withoutLine {
		t.Error("alone has no info")
	}
}

func values[R image.Record](t image.Table[R]) func(func(R) bool) {
	return func(yield func(R) bool) {
		for _, r := range image.All(t) {
			if !yield(r) {
				return
			}
		}
	}
}

func TestOpenPrograms(t *testing.T) {
	sections := map[string]string{"a": "?fentry.s/do_unlinkat", "b": "xdp.frags", "c": "struct_ops/init", "d": "socket1", "e": "mine", "f": "lsm_cgroup/file_open"}
	var functions []function
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		functions = append(functions, function{name: name, insns: returns(0)})
	}
	o := Open(testImage(t, functions, sections))
	for i, want := range []Program{
		{Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFEntry, Flags: 1 << 4, AttachTo: "do_unlinkat"},
		{Type: ebpf.XDP, AttachType: ebpf.AttachXDP, Flags: 1 << 5, Autoload: true},
		{Type: ebpf.StructOps, Autoload: true},
		{Type: ebpf.SocketFilter, Autoload: true},
		{Autoload: true},
		{Type: ebpf.LSM, AttachType: ebpf.AttachLSMCgroup, AttachTo: "file_open", Autoload: true},
	} {
		p := o.Programs[i]
		if p.Type != want.Type || p.AttachType != want.AttachType || p.Flags != want.Flags || p.AttachTo != want.AttachTo || p.Autoload != want.Autoload {
			t.Errorf("%s: %+v", p.Section, p)
		}
	}
}

// Programs of struct_ops load exactly when a table that is made has them.
func TestSelectPrograms(t *testing.T) {
	sections := map[string]string{"init": "struct_ops", "exit": "?struct_ops", "unused": "struct_ops", "off": "struct_ops", "plain": "socket", "optional": "?socket"}
	var functions []function
	for _, name := range []string{"init", "exit", "unused", "off", "plain", "optional"} {
		functions = append(functions, function{name: name, insns: returns(0)})
	}
	o := Open(testImage(t, functions, sections))
	o.StructOps = []*StructOps{
		{Autocreate: true, Programs: map[uint32]*Program{0: o.Programs[0], 8: o.Programs[1], 16: nil}},
		{Programs: map[uint32]*Program{0: o.Programs[3]}},
	}
	l := &load{object: o}
	if err := l.selectPrograms(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range l.selected {
		got = append(got, p.Name)
	}
	if want := []string{"init", "exit", "plain"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if want := []bool{true, true, false, false, true, false}; !slices.Equal(l.functions, want) {
		t.Errorf("functions %v, want %v", l.functions, want)
	}
}

// Helpers are replaced by older ones that a kernel has, and nothing that looks like one is.
func TestOldHelpers(t *testing.T) {
	helper := func(n int64) asm.Instruction { return asm.Instruction{OpCode: call.OpCode, Constant: n} }
	insns := asm.Instructions{
		helper(113), helper(115), helper(112), helper(114), helper(1),
		asm.LoadImm(asm.R0, 113, asm.DWord), asm.Mov.Imm(asm.R0, 113),
		{OpCode: call.OpCode, Src: asm.PseudoCall, Constant: 113}, asm.Return(),
	}
	code := marshal(t, insns)
	replaceHelpers(code)
	var got []int32
	for i := range uint32(len(code) / insnSize) {
		got = append(got, insnAt(code, i).imm())
	}
	if want := []int32{4, 45, 4, 45, 1, 113, 0, 113, 113, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What the kernel has for externs is in the instructions that refer to them.
func TestRelocateExterns(t *testing.T) {
	kfunc := asm.Instruction{OpCode: call.OpCode, Src: asm.PseudoKfuncCall, Constant: -1}
	address := asm.LoadImm(asm.R1, 7, asm.DWord)
	// Of the index n, the extern is n; loads of addresses come after all calls.
	insns := asm.Instructions{kfunc, kfunc, kfunc, kfunc, kfunc, address, address, address, address, asm.Return()}
	img := testImage(t, []function{{name: "main", insns: insns}}, map[string]string{"main": "socket"})
	img.Externs = []image.Extern{
		{Kind: image.Kfunc}, {Kind: image.Kfunc}, {Kind: image.Kfunc}, {Kind: image.Kfunc}, {Kind: image.Kfunc, Weak: true},
		{Kind: image.KsymAddress}, {Kind: image.KsymVariable}, {Kind: image.Kfunc}, {Kind: image.KsymVariable, Weak: true},
	}
	var relos []image.Relocation
	for i := range uint32(9) {
		r := image.Relocation{Instruction: i, Kind: image.ExternCall, Target: i}
		if i >= 5 {
			r.Instruction, r.Kind = 5+2*(i-5), image.ExternAddress
		}
		relos = append(relos, r)
	}
	img.Relocations = image.NewTable(relos)
	l := &load{object: Open(img), btf: -1, externs: []extern{
		{found: true, id: 10}, {found: true, id: 11, module: 30}, {found: true, id: 12, module: 40}, {found: true, id: 13, module: 30}, {},
		{found: true, address: 0xffffffff81234567}, {found: true, id: 14}, {found: true, id: 15, module: 40}, {},
	}}
	if err := l.selectPrograms(); err != nil {
		t.Fatal(err)
	}
	c, err := l.assemble()
	if err != nil {
		t.Fatal(err)
	}
	if want := []int32{0, 30, 40}; !slices.Equal(c.modules, want) {
		t.Errorf("modules %v, want %v", c.modules, want)
	}
	for at, want := range map[uint32]struct {
		src uint8
		off int16
		imm int32
	}{
		0: {pseudoKfunc, 0, 10}, 1: {pseudoKfunc, 1, 11}, 2: {pseudoKfunc, 2, 12}, 3: {pseudoKfunc, 1, 13},
		4: {0, 0, poisonKfunc + 4},
		7: {pseudoBTFID, 0, 14}, 9: {pseudoBTFID, 0, 15},
	} {
		if ins := insnAt(c.insns, at); ins.src() != want.src || ins.off() != want.off || ins.imm() != want.imm {
			t.Errorf("instruction %d: %x, want %v", at, []byte(ins), want)
		}
	}
	for at, want := range map[uint32]uint64{5: 0xffffffff81234567, 7: 14, 9: 40<<32 | 15, 11: 0} {
		if got := insnAt(c.insns, at).imm64(); got != want {
			t.Errorf("instruction %d loads %#x, want %#x", at, got, want)
		}
	}
}

// What is missing is said before anything is loaded, of all programs at once.
func TestCheck(t *testing.T) {
	sections := map[string]string{"a": "xpd", "b": "freplace", "c": "fentry", "d": "socket", "e": "freplace/f"}
	var functions []function
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		functions = append(functions, function{name: name, insns: returns(0)})
	}
	o := Open(testImage(t, functions, sections))
	o.Programs[4].Target = Open(testImage(t, functions, sections)).Programs[3]
	err := (&load{object: o}).selectPrograms()
	want := `program a, SEC("xpd"): the section gives the program no type (did you mean SEC("xdp")?): call SetType before Load, or SetAutoload(false)
program b, SEC("freplace"): replaces a function of another program: call SetTarget before Load, or SetAutoload(false)
program c, SEC("fentry"): SEC() names no target: call SetTarget before Load, or SetAutoload(false)
program e, SEC("freplace/f"): its target is of another object: call SetTarget with the *ebpf.Program that is loaded`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
