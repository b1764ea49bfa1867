package loader

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// loadImage loads the programs of an image that needs nothing else.
func loadImage(t testing.TB, img *image.Object, opts Options, change func(*Object)) (*Object, error) {
	t.Helper()
	bpftest.NeedsBPF(t)
	// The types of the test's functions are made up.
	img.BTF, img.FuncInfo, img.LineInfo = nil, image.Table[image.FuncInfo]{}, image.Table[image.LineInfo]{}
	o := Open(img)
	if change != nil {
		change(o)
	}
	err := o.Load(opts)
	if err == nil {
		t.Cleanup(func() { o.Close() })
	}
	return o, err
}

// run returns what a program returns.
func run(t *testing.T, p *Program) uint32 {
	t.Helper()
	if p.Program == nil {
		t.Fatalf("%s is not loaded", p.Name)
	}
	got, err := p.Program.Run(&ebpf.RunOptions{Data: make([]byte, 14)})
	if err != nil {
		t.Fatalf("run %s: %v", p.Name, err)
	}
	return got
}

// A program is loaded with the functions that it calls.
func TestLoadPrograms(t *testing.T) {
	sum := asm.Instructions{
		call, asm.Mov.Reg(asm.R6, asm.R0),
		call, asm.Add.Reg(asm.R0, asm.R6),
		asm.Return(),
	}
	functions := []function{
		{name: "three", insns: returns(3)},
		{name: "four", insns: asm.Instructions{call, asm.Add.Imm(asm.R0, 1), asm.Return()}, calls: map[uint32]string{0: "three"}},
		{name: "seven", insns: sum, calls: map[uint32]string{0: "four", 2: "three"}},
		{name: "five", insns: returns(5)},
		{name: "off", insns: returns(6)},
	}
	o, err := loadImage(t, testImage(t, functions, map[string]string{"seven": "socket", "five": "socket", "off": "?socket"}), Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := run(t, o.Programs[0]), run(t, o.Programs[1]); a != 7 || b != 5 {
		t.Errorf("%d, %d", a, b)
	}
	if o.Programs[2].Program != nil {
		t.Error("a program without Autoload is loaded")
	}
	if log := o.Programs[0].Program.VerifierLog; log != "" {
		t.Errorf("log without being asked for: %q", log)
	}
	if err := o.Close(); err != nil || o.Programs[0].Program != nil {
		t.Errorf("after Close: %v, %v", o.Programs[0].Program, err)
	}
}

// manyPrograms returns an image of n programs, each with what it returns: its index.
func manyPrograms(t testing.TB, n int, insns func(i int) asm.Instructions) *image.Object {
	var functions []function
	sections := make(map[string]string)
	for i := range n {
		name := fmt.Sprintf("program_%d", i)
		functions = append(functions, function{name: name, insns: insns(i)})
		sections[name] = "socket"
	}
	return testImage(t, functions, sections)
}

func TestParallel(t *testing.T) {
	for _, parallel := range []int{0, 1, 3, 100} {
		img := manyPrograms(t, 40, func(i int) asm.Instructions { return returns(int32(i)) })
		o, err := loadImage(t, img, Options{Parallel: parallel}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range o.Programs {
			if got := run(t, p); got != uint32(i) {
				t.Errorf("%s returns %d", p.Name, got)
			}
		}
	}
}

// readsBeyond is refused by the verifier.
var readsBeyond = asm.Instructions{asm.LoadMem(asm.R0, asm.R1, 10000, asm.Word), asm.Return()}

// All programs that are refused are in the error, ten logs are in its text, and nothing
// stays.
func TestRefused(t *testing.T) {
	fds := kerneltest.FDs(t)
	img := manyPrograms(t, 30, func(i int) asm.Instructions {
		if i%2 == 0 {
			return readsBeyond
		}
		return returns(0)
	})
	o, err := loadImage(t, img, Options{}, nil)
	var all ProgramErrors
	if !errors.As(err, &all) || len(all) != 15 {
		t.Fatalf("%d errors: %v", len(all), err)
	}
	for i, e := range all {
		var v *ebpf.VerifierError
		if e.Program != o.Programs[2*i] || !errors.As(error(e), &v) || !errors.Is(e, unix.EACCES) || !strings.Contains(strings.Join(v.Log, "\n"), "invalid bpf_context access") {
			t.Errorf("error %d: %v", i, e)
		}
	}
	if n := strings.Count(err.Error(), "invalid bpf_context access"); n != 10 || !strings.HasSuffix(err.Error(), "5 more programs are rejected by the verifier (program_20, program_22, program_24, ...)") {
		t.Errorf("%d logs: %v", n, err)
	}
	for _, p := range o.Programs {
		if p.Program != nil {
			t.Errorf("%s is loaded", p.Name)
		}
	}
	if now := kerneltest.FDs(t); len(now) != len(fds) {
		t.Errorf("%v, and before %v", now, fds)
	}
}

// What the kernel says of many programs is said once.
func TestOneCause(t *testing.T) {
	bpftest.NeedsBPF(t)
	defer sys.SetFault(func(c sys.Cmd) error {
		if c == sys.ProgLoadCmd {
			return unix.ENOMEM
		}
		return nil
	})()
	img := manyPrograms(t, 200, func(int) asm.Instructions { return returns(0) })
	_, err := loadImage(t, img, Options{}, nil)
	var all ProgramErrors
	if !errors.As(err, &all) || len(all) != 200 || !errors.Is(err, unix.ENOMEM) {
		t.Fatalf("%d errors: %v", len(all), err)
	}
	want := "200 programs (program_0, program_1, program_2, ...): load program: the kernel refuses it for another reason than its instructions: cannot allocate memory"
	if err.Error() != want {
		t.Errorf("%v", err)
	}
}

// The verifier's log is there for any answer of the kernel, and on success when it is
// asked for.
func TestLog(t *testing.T) {
	// The verifier keeps each jump for later, and has room for 8192 of them.
	const n = 8200
	var jumps asm.Instructions
	for i := range n {
		jump := asm.JEq.Imm(asm.R0, int32(i+1), "")
		jump.Offset = int16(2*(n-i) - 1)
		jumps = append(jumps, asm.LoadMem(asm.R0, asm.R1, 0, asm.Word), jump)
	}
	jumps = append(jumps, returns(0)...)
	img := testImage(t, []function{{name: "jumps", insns: jumps}}, map[string]string{"jumps": "socket"})
	_, err := loadImage(t, img, Options{}, nil)
	var v *ebpf.VerifierError
	if !errors.As(err, &v) || !strings.Contains(strings.Join(v.Log, "\n"), "too complex") {
		t.Errorf("%v", err)
	}

	img = testImage(t, []function{{name: "fine", insns: returns(0)}}, map[string]string{"fine": "socket"})
	for _, change := range []func(*Object, *Options){
		func(_ *Object, opts *Options) { opts.LogLevel = uint32(ebpf.LogLevelInstruction) },
		func(o *Object, _ *Options) { o.Programs[0].LogLevel = uint32(ebpf.LogLevelInstruction) },
	} {
		var opts Options
		o, err := loadImage(t, img, opts, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.Close()
		change(o, &opts)
		if err := o.Load(opts); err != nil {
			t.Fatal(err)
		}
		if log := o.Programs[0].Program.VerifierLog; !strings.Contains(log, "0: (b7) r0 = 0") {
			t.Errorf("log %q", log)
		}
		o.Close()
	}
}

// Instructions that replace a program's are loaded as they are.
func TestInstructions(t *testing.T) {
	functions := []function{
		{name: "main", insns: asm.Instructions{call, asm.Return()}, calls: map[uint32]string{0: "sub"}},
		{name: "sub", insns: readsBeyond},
	}
	o, err := loadImage(t, testImage(t, functions, map[string]string{"main": "socket"}), Options{}, func(o *Object) {
		o.Programs[0].Instructions = marshal(t, returns(9))
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, o.Programs[0]); got != 9 {
		t.Errorf("returns %d", got)
	}
}

// What is poisoned is in nobody's way unless it is reached, and then said.
func TestPoison(t *testing.T) {
	for _, c := range []struct {
		name string
		kind image.RelocationKind
		ins  asm.Instruction
		at   uint32
		want string
	}{
		{"map", image.MapFD, asm.LoadImm(asm.R2, 0, asm.DWord), 2, "uses the map counts, which is not made"},
		{"value", image.MapValue, asm.LoadImm(asm.R2, 0, asm.DWord), 2, "uses the map counts, which is not made"},
		{"kfunc", image.ExternCall, asm.Instruction{OpCode: call.OpCode, Src: asm.PseudoKfuncCall, Constant: -1}, 2, "calls the weak kfunc bpf_none, which the kernel does not have"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, reached := range []bool{false, true} {
				first := asm.Mov.Imm(asm.R0, 1)
				if reached {
					// Not known to the verifier.
					first = asm.LoadMem(asm.R0, asm.R1, 0, asm.Word)
				}
				skip := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.JNE), Dst: asm.R0, Constant: 0, Offset: 1}
				if c.kind != image.ExternCall {
					skip.Offset = 2
				}
				insns := asm.Instructions{first, skip, c.ins, asm.Mov.Imm(asm.R0, 4), asm.Return()}
				img := testImage(t, []function{{name: "main", insns: insns}}, map[string]string{"main": "socket"})
				img.Maps = []image.Map{{Name: "other"}, {Name: "counts"}}
				img.Externs = []image.Extern{{Name: "bpf_none", Kind: image.Kfunc, Weak: true}}
				r := image.Relocation{Instruction: c.at, Kind: c.kind, Target: 1}
				if c.kind == image.ExternCall {
					r.Target = 0
				}
				img.Relocations = image.NewTable([]image.Relocation{r})
				bpftest.NeedsBPF(t)
				o := Open(img)
				o.Maps = []*Map{{Name: "other"}, {Name: "counts"}}
				l := &load{object: o, btf: -1, externs: make([]extern, 1)}
				err := l.selectPrograms()
				if err == nil {
					err = l.loadPrograms()
				}
				l.undo.Unwind()
				if !reached && err != nil || reached && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("reached %v: %v", reached, err)
				}
			}
		})
	}
}

// A program whose target is one of the same object comes after it.
func TestTargetsFirst(t *testing.T) {
	img := manyPrograms(t, 4, func(int) asm.Instructions { return returns(0) })
	o := Open(img)
	p := o.Programs
	p[0].Target, p[2].Target = p[3], p[0]
	now, later, err := targetsFirst(p)
	if err != nil || !slices.Equal(now, []*Program{p[1], p[3]}) || !slices.Equal(later, []*Program{p[0], p[2]}) {
		t.Errorf("%v, %v, %v", now, later, err)
	}
	if _, _, err := targetsFirst(p[:1]); err == nil || !strings.Contains(err.Error(), "its target, program program_3, is not loaded: call its SetAutoload(true)") {
		t.Errorf("%v", err)
	}
	p[3].Target = p[0]
	if _, _, err := targetsFirst([]*Program{p[0], p[3]}); err == nil || !strings.Contains(err.Error(), "is loaded after it") {
		t.Errorf("%v", err)
	}
}

// A jump table leads to the instructions of its function, wherever that is in the program.
func TestJumpTable(t *testing.T) {
	bpftest.NeedsBPF(t)
	kerneltest.NeedsJIT(t)
	fd, err := sys.MapCreate(&sys.MapCreateAttr{Type: sys.InsnArray, KeySize: 4, ValueSize: uint32(unsafe.Sizeof(insnArrayValue{})), MaxEntries: 1})
	if err != nil {
		t.Skip("needs a kernel with instruction arrays (6.19): ", err)
	}
	sys.Close(fd)
	gotox := asm.Instruction{OpCode: 0x0d, Dst: asm.R2}
	sub := asm.Instructions{
		asm.And.Imm(asm.R1, 1),
		asm.LSh.Imm(asm.R1, 3),
		asm.LoadImm(asm.R2, 0, asm.DWord),
		asm.Add.Reg(asm.R2, asm.R1),
		asm.LoadMem(asm.R2, asm.R2, 0, asm.DWord),
		gotox,
		asm.Mov.Imm(asm.R0, 21), asm.Return(),
		asm.Mov.Imm(asm.R0, 42), asm.Return(),
	}
	main := asm.Instructions{asm.LoadMem(asm.R1, asm.R1, 0, asm.Word), call, asm.Return()}
	img := testImage(t, []function{{name: "sub", insns: sub}, {name: "main", insns: main, calls: map[uint32]string{1: "sub"}}}, map[string]string{"main": "socket"})
	relos := slices.Collect(values(img.Relocations))
	img.Relocations = image.NewTable(append([]image.Relocation{{Instruction: 2, Kind: image.JumpTable}}, relos...))
	img.JumpTables = []image.JumpTableContents{{Function: 0, Instructions: []uint32{7, 9}}}
	fds := kerneltest.FDs(t)
	o, err := loadImage(t, img, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// That of the program, and no other.
	if now := kerneltest.FDs(t); len(now) != len(fds)+1 {
		t.Errorf("%v, and before %v", now, fds)
	}
	for length, want := range map[int]uint32{14: 21, 15: 42} {
		got, err := o.Programs[0].Program.Run(&ebpf.RunOptions{Data: make([]byte, length)})
		if err != nil || got != want {
			t.Errorf("%d bytes: %d, %v, want %d", length, got, err, want)
		}
	}
}

func TestTooNew(t *testing.T) {
	p := &Program{Type: ebpf.Syscall}
	err := p.tooNew(5<<16 | 10<<8 | 99)
	if want := "programs of this section need a kernel of version 5.14 or later, and this one is 5.10: call SetAutoload(false) on this program"; !errors.Is(err, ebpf.ErrNotSupported) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v", err)
	}
	if err := p.tooNew(5<<16 | 14<<8); err != nil {
		t.Errorf("%v", err)
	}
	// Flags make the form, as far as the program has them still.
	p = &Program{Section: "xdp.frags", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, Flags: 1 << 5}
	if err := p.tooNew(5<<16 | 10<<8); err == nil || !strings.Contains(err.Error(), "of version 5.18 or later") {
		t.Errorf("%v", err)
	}
	p.Flags = 0
	if err := p.tooNew(5<<16 | 10<<8); err != nil {
		t.Errorf("%v", err)
	}
}

// A program that replaces a function of another one of the same object is loaded after it.
func TestReplaceInObject(t *testing.T) {
	bpftest.NeedsBPF(t)
	functions := []function{
		{name: "replacement", insns: returns(2)},
		{name: "main", insns: asm.Instructions{call, asm.Return()}, calls: map[uint32]string{0: "sub"}},
		{name: "sub", insns: returns(1)},
	}
	img := testImage(t, functions, map[string]string{"replacement": "freplace", "main": "tc"})
	b, err := btf.NewBuilder(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	skb := &btf.Pointer{Target: &btf.Struct{Name: "__sk_buff"}}
	var funcs []image.FuncInfo
	for i, f := range functions {
		proto := &btf.FuncProto{Return: intType, Params: []btf.FuncParam{{Name: "skb", Type: skb}}}
		id, err := b.Add(&btf.Func{Name: f.name, Type: proto, Linkage: btf.GlobalFunc})
		if err != nil {
			t.Fatal(err)
		}
		img.Functions[i].Type = uint32(id)
		funcs = append(funcs, image.FuncInfo{Instruction: img.Functions[i].First, Type: uint32(id)})
	}
	if img.BTF, err = b.Marshal(nil, nil); err != nil {
		t.Fatal(err)
	}
	img.FuncInfo, img.LineInfo = image.NewTable(funcs), image.Table[image.LineInfo]{}

	o := Open(img)
	replacement, target := o.Programs[0], o.Programs[1]
	replacement.Target, replacement.AttachTo = target, "none"
	if err := o.Load(Options{}); err == nil || !strings.Contains(err.Error(), `the target program has no function "none"`) {
		t.Errorf("%v", err)
	}
	kerneltest.NeedsJIT(t)
	replacement.AttachTo = "sub"
	err = o.Load(Options{})
	bpftest.SkipIfRefused(t, "freplace", err)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if got := run(t, target); got != 1 {
		t.Errorf("returns %d before it is replaced", got)
	}
	l, err := link.AttachFreplace(nil, "", replacement.Program)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := run(t, target); got != 2 {
		t.Errorf("returns %d when it is replaced", got)
	}
}

// A field that the kernel lacks is in nobody's way unless it is read, and then the error
// names it, the line of C and the kernel's type.
func TestMissingField(t *testing.T) {
	bpftest.NeedsBPF(t)
	read := asm.LoadMem(asm.R0, asm.R1, 12, asm.Word)
	img := coreImage(t, asm.Instructions{read, asm.Return()}, core.FieldByteOffset, "0:2")
	o := Open(img)
	err := o.Load(Options{KernelTypes: kernelTypes(t)})
	var e *ProgramError
	if !errors.As(err, &e) {
		t.Fatalf("%v", err)
	}
	if want := "needs field gone of struct s___mine, and the kernel's s, type 2, has no field gone of such a type: ask bpf_core_field_exists before"; e.Hint != want {
		t.Errorf("hint %q", e.Hint)
	}
	if e.Source != "file.bpf.c:7: return s->gone;" {
		t.Errorf("source %q", e.Source)
	}
	for _, part := range []string{"rejected by the verifier: invalid argument: needs field", "\n\tat file.bpf.c:7", "invalid func unknown#195896080"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v", err)
		}
	}
}

// The number of a helper that stands for a relocation may be in the program itself, whose
// relocations need nothing of the kernel.
func TestOwnPoison(t *testing.T) {
	bpftest.NeedsBPF(t)
	own := asm.Instruction{OpCode: call.OpCode, Constant: poisonCORE}
	img := coreImage(t, asm.Instructions{asm.Mov.Imm(asm.R0, 2), own, asm.Return()}, core.TypeIDLocal, "0")
	err := Open(img).Load(Options{})
	if err == nil || !strings.Contains(err.Error(), "invalid func unknown#195896080") {
		t.Errorf("%v", err)
	}
}

// Compilers give an instruction that a relocation is of no line of its own: the line
// that names the field counts.
func TestLineOfRelocation(t *testing.T) {
	for _, c := range []struct {
		name, before, after, want string
	}{
		{"named by the next line", "t = current();", "return s->gone;", "file.bpf.c:8: return s->gone;"},
		{"named by its own", "x = s->gone;", "return x;", "file.bpf.c:7: x = s->gone;"},
		{"named by both", "x = s->gone;", "y = s->gone;", "file.bpf.c:7: x = s->gone;"},
		{"named by neither", "x = READ;", "return x;", "file.bpf.c:7: x = READ;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := coreImage(t, asm.Instructions{asm.Mov.Imm(asm.R0, 12), asm.Return()}, core.FieldByteOffset, "0:2")
			relo := image.At(img.CORE, 0)
			local := &btf.Struct{Name: "s___mine", Size: 16, Members: []btf.Member{{Name: "a", Type: longType}, {Name: "b", Type: intType, Offset: 64}, {Name: "gone", Type: intType, Offset: 96}}}
			img.BTF = rawTypes(t, intType, local, text("0:2"), text("file.bpf.c"), text(c.before), text(c.after))
			relo.Access, relo.Instruction = offsetOf(t, img.BTF, "0:2"), 1
			img.Code = marshal(t, asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Mov.Imm(asm.R0, 12), asm.Return()})
			img.Functions[0].Count = 3
			img.CORE = image.NewTable([]image.CORE{relo})
			file := offsetOf(t, img.BTF, "file.bpf.c")
			img.LineInfo = image.NewTable([]image.LineInfo{
				{File: file, Line: offsetOf(t, img.BTF, c.before), Column: 7 << 10},
				{Instruction: 2, File: file, Line: offsetOf(t, img.BTF, c.after), Column: 8 << 10},
			})
			err := Open(img).Load(Options{KernelTypes: kernelTypes(t)})
			var e *ProgramError
			if !errors.As(err, &e) || e.Source != c.want {
				t.Errorf("%v", err)
			}
		})
	}
}

// Where a field is in the running kernel.
func TestRunningKernel(t *testing.T) {
	bpftest.NeedsBPF(t)
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Skip("needs a kernel with BTF: ", err)
	}
	var task *btf.Struct
	if err := spec.TypeByName("task_struct", &task); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(task.Members, func(m btf.Member) bool { return m.Name == "tgid" })
	want := uint32(task.Members[i].Offset / 8)

	img := testImage(t, []function{{name: "main", insns: returns(4)}}, map[string]string{"main": "socket"})
	local := &btf.Struct{Name: "task_struct___mine", Size: 8, Members: []btf.Member{{Name: "pid", Type: intType}, {Name: "tgid", Type: intType, Offset: 32}}}
	img.BTF = rawTypes(t, intType, local, text("0:1"))
	img.CORE = image.NewTable([]image.CORE{{Type: 2, Access: offsetOf(t, img.BTF, "0:1")}})
	img.FuncInfo, img.LineInfo = image.Table[image.FuncInfo]{}, image.Table[image.LineInfo]{}
	o := Open(img)
	for range 2 {
		if err := o.Load(Options{}); err != nil {
			t.Fatal(err)
		}
		if got := run(t, o.Programs[0]); got != want {
			t.Errorf("offset of tgid %d, want %d", got, want)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A program that the profiler's signal has interrupted is loaded.
func TestInterrupted(t *testing.T) {
	bpftest.NeedsBPF(t)
	calls := 0
	defer sys.SetFault(func(c sys.Cmd) error {
		if calls++; c == sys.ProgLoadCmd && calls < 4 {
			return unix.EAGAIN
		}
		return nil
	})()
	img := testImage(t, []function{{name: "main", insns: returns(0)}}, map[string]string{"main": "socket"})
	if _, err := loadImage(t, img, Options{}, nil); err != nil || calls < 4 {
		t.Errorf("%d calls: %v", calls, err)
	}
}

// The map of variables that describe the object is one of the maps of each program, where
// bpftool looks for it, and other maps that a program does not use are not.
func TestMetadata(t *testing.T) {
	img := manyPrograms(t, 2, func(int) asm.Instructions { return returns(0) })
	img.Maps = mapsOf(
		section(".rodata", image.RodataMap, []byte("version 1\x00"), 10),
		section(".rodata.other", image.RodataMap, []byte{1, 2, 3, 4}, 4),
	).Maps
	img.Maps[0].Metadata = true
	o, err := loadImage(t, img, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := ebpf.MapID(infoOf(t, o.Maps[0].Map).ID)
	for _, p := range o.Programs {
		info, err := p.Program.Info()
		if err != nil {
			t.Fatal(err)
		}
		if ids, ok := info.MapIDs(); !ok || !slices.Equal(ids, []ebpf.MapID{want}) {
			t.Errorf("%s has maps %v, want %d", p.Name, ids, want)
		}
	}
}

// A process without capabilities loads one program at a time.
func TestMayParallel(t *testing.T) {
	bpftest.NeedsBPF(t)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	runtime.LockOSThread()
	if err := unix.Capget(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
	if !mayParallel() {
		t.Error("with all capabilities")
	}
	without := caps
	without[0].Effective, without[1].Effective = 0, 0
	if err := unix.Capset(&header, &without[0]); err != nil {
		t.Fatal(err)
	}
	if mayParallel() {
		t.Error("without capabilities")
	}
	if n := (&load{opts: Options{Parallel: 4}}).parallel(8, false); n != 1 {
		t.Errorf("%d at once", n)
	}
	if err := unix.Capset(&header, &caps[0]); err != nil {
		// The thread ends with the goroutine.
		t.Fatal(err)
	}
	runtime.UnlockOSThread()
}
