package skeleton

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
)

// array is the definition of a map for tests.
func array(name string) *ebpf.MapSpec {
	return &ebpf.MapSpec{Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 3}
}

// What is set before Load is what the kernel gets.
func TestMapSettings(t *testing.T) {
	o := newTestObject(t, []*ebpf.MapSpec{array("m"), array("left_out")})
	defer o.Close()
	m := o.maps[0]
	if m.Type() != ebpf.Array || m.KeySize() != 4 || m.ValueSize() != 8 || m.MaxEntries() != 3 || m.Flags() != 0 || m.Extra() != 0 || m.NUMANode() != 0 || m.Ifindex() != 0 || m.Pinning() != ebpf.PinNone || m.PinPath() != "" || !m.Autocreate() {
		t.Errorf("the definition is not that of the object: %+v", m.def)
	}
	for name, err := range map[string]error{
		"SetType":       m.SetType(ebpf.Hash),
		"SetKeySize":    m.SetKeySize(16),
		"SetValueSize":  m.SetValueSize(32),
		"SetMaxEntries": m.SetMaxEntries(7),
		"SetFlags":      m.SetFlags(unix.BPF_F_NO_PREALLOC),
		"SetNUMANode":   m.SetNUMANode(0),
		"SetIfindex":    m.SetIfindex(0),
		"SetAutocreate": o.maps[1].SetAutocreate(false),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	info, err := m.Map().Info()
	if err != nil {
		t.Fatal(err)
	}
	if info.Type != ebpf.Hash || info.KeySize != 16 || info.ValueSize != 32 || info.MaxEntries != 7 || info.Flags != unix.BPF_F_NO_PREALLOC|flagNUMANode {
		t.Errorf("the map in the kernel is %+v", info)
	}
	if o.maps[1].Map() != nil {
		t.Error("a map was made that is not to be")
	}
	if _, err := o.maps[1].begin(); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("a map that was not made: %v", err)
	}
	if err := m.SetMaxEntries(8); !errors.Is(err, ErrLoaded) || !strings.Contains(err.Error(), "set max entries of map m") {
		t.Errorf("after Load: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Reuse(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Errors say what was done, and that Load comes first.
func TestWordsOfErrors(t *testing.T) {
	calls := &ebpf.MapSpec{Name: "calls", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	o := newTestObject(t, []*ebpf.MapSpec{calls}, kerneltest.Trivial(ebpf.XDP, "xdp"))
	defer o.Close()
	if _, err := (&IterProgram{o.progs[0]}).Read(); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("an iterator before Load: %v", err)
	}
	err := (&ProgArray{UntypedMap{of: o.maps[0]}}).SetContents(map[uint32]*BaseProgram{1: o.progs[0]})
	kerneltest.WantError(t, err, "set contents of map calls: element 1: the array has 1")
}

// A setting that cannot be made is an error then, and of Load when nobody has looked at it.
func TestRefusedSettings(t *testing.T) {
	ring := &ebpf.MapSpec{Name: "ring", Type: ebpf.RingBuf, MaxEntries: 4096}
	sockets := &ebpf.MapSpec{Name: "sockets", Type: ebpf.SkStorage, KeySize: 4, ValueSize: 4, Flags: unix.BPF_F_NO_PREALLOC}
	o := newTestObject(t, []*ebpf.MapSpec{array("m"), ring, sockets}, kerneltest.Trivial(ebpf.XDP, "xdp"))
	defer o.Close()
	m, p := o.maps[0], o.progs[0]
	for want, refused := range map[string]func() error{
		"set max entries of map m: 0 is not a number of entries":                func() error { return m.SetMaxEntries(0) },
		"set type of map m: the type is unspecified":                            func() error { return m.SetType(ebpf.UnspecifiedMap) },
		"set inner map of map m: maps of type Array have no inner maps":         func() error { return m.SetInner(nil) },
		"set pinning of map m: ":                                                func() error { return m.SetPinning(7) },
		"set max entries of map ring: 2147483649 bytes are more than":           func() error { return o.maps[1].SetMaxEntries(1<<31 + 1) },
		"set max entries of map sockets: maps of type SkStorage have no limi":   func() error { return o.maps[2].SetMaxEntries(5) },
		"set target of program p: programs of type XDP have no target at load":  func() error { return p.SetTarget(nil, "vfs_read") },
		"set instructions of program p: a program has one instruction at least": func() error { return p.SetInstructions(asm.Instructions{}) },
		"set ifindex of program p: -1 is not an index of a network device":      func() error { return p.SetIfindex(-1) },
		"set ifindex of map m: -2 is not an index of a network device":          func() error { return m.SetIfindex(-2) },
		"set log level of program p: the kernel has no log level 8":             func() error { return p.SetLogLevel(8) },
		"set log size of program p: the kernel takes no buffer of 2147483648":   func() error { return p.SetLogSize(1 << 31) },
	} {
		if err := refused(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v does not begin with %q", err, want)
		}
		if err := o.Load(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load: %v has no %q", err, want)
		}
	}
	for _, err := range []error{
		m.SetMaxEntries(1), m.SetType(ebpf.Hash), m.SetPinning(ebpf.PinNone), o.maps[1].SetMaxEntries(5000),
		o.maps[2].SetMaxEntries(0), p.SetInstructions(nil), p.SetIfindex(0), m.SetIfindex(0), p.SetLogLevel(0), p.SetLogSize(0),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	// These have no setting that could be made.
	o.refused = nil
	// The kernel wants types for such a map.
	if err := o.maps[2].SetAutocreate(false); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err != nil {
		t.Error(err)
	}
}

// What is set of a program is what the handle tells, and what the kernel gets.
func TestProgramSettings(t *testing.T) {
	o := newTestObject(t, nil, kerneltest.Trivial(ebpf.CGroupSockAddr, "cgroup/connect4"))
	defer o.Close()
	p := o.progs[0]
	if p.Type() != ebpf.CGroupSockAddr || p.AttachType() != ebpf.AttachCGroupInet4Connect || p.Flags() != 0 || p.Ifindex() != 0 || p.LogLevel() != 0 || p.LogSize() != 0 || !p.Autoload() || !p.Autoattach() {
		t.Errorf("the definition is not that of the section: %+v", p.def)
	}
	for name, err := range map[string]error{
		"SetAttachType": p.SetAttachType(ebpf.AttachCGroupInet6Connect),
		"SetFlags":      p.SetFlags(unix.BPF_F_ANY_ALIGNMENT),
		"SetLogLevel":   p.SetLogLevel(ebpf.LogLevelInstruction),
		"SetLogSize":    p.SetLogSize(1 << 20),
		"SetAutoattach": p.SetAutoattach(false),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p.AttachType() != ebpf.AttachCGroupInet6Connect || p.Flags() != unix.BPF_F_ANY_ALIGNMENT || p.LogLevel() != ebpf.LogLevelInstruction || p.LogSize() != 1<<20 || p.Autoattach() {
		t.Errorf("what was set is not told: %+v", p.def)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if p.Program().VerifierLog == "" {
		t.Error("no log of the verifier, which was asked for")
	}
	for name, err := range map[string]error{
		"SetAutoload": p.SetAutoload(false), "SetAttachType": p.SetAttachType(0), "SetFlags": p.SetFlags(0),
		"SetLogLevel": p.SetLogLevel(0), "SetLogSize": p.SetLogSize(0), "SetIfindex": p.SetIfindex(0),
		"SetType": p.SetType(ebpf.XDP, 0), "SetTarget": p.SetTarget(nil, "f"), "SetInstructions": p.SetInstructions(nil),
	} {
		if !errors.Is(err, ErrLoaded) || !strings.Contains(err.Error(), "of program p") {
			t.Errorf("%s after Load: %v", name, err)
		}
	}
	if !p.Autoload() {
		t.Error("a program that was loaded is said not to be")
	}
	// It counts when Attach is called.
	if err := p.SetAutoattach(true); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	kerneltest.WantError(t, p.SetAutoattach(true), "set autoattach of program p: "+ErrClosed.Error())
}

// A map for a device is one of that device: the loopback device runs no programs.
func TestMapOfDevice(t *testing.T) {
	o := newTestObject(t, []*ebpf.MapSpec{array("m")})
	defer o.Close()
	m := o.maps[0]
	if err := m.SetIfindex(1); err != nil || m.Ifindex() != 1 {
		t.Fatalf("ifindex %d, %v", m.Ifindex(), err)
	}
	if err := o.Load(); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("a map for the loopback device: %v", err)
	}
	if err := m.SetIfindex(0); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err != nil {
		t.Error(err)
	}
}

// A program is loaded with the instructions that it is given.
func TestSetInstructions(t *testing.T) {
	o := newTestObject(t, nil, kerneltest.Trivial(ebpf.SocketFilter, "socket"))
	defer o.Close()
	p := o.progs[0]
	insns, err := p.Instructions()
	if err != nil || len(insns) != 2 {
		t.Fatalf("instructions %v, %v", insns, err)
	}
	insns[0].Constant = 42
	if err := p.SetInstructions(insns); err != nil {
		t.Fatal(err)
	}
	if again, err := p.Instructions(); err != nil || len(again) != 2 || again[0].Constant != 42 {
		t.Errorf("instructions %v, %v", again, err)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if result, _, err := p.Test(make([]byte, 64)); err != nil || result != 42 {
		t.Errorf("the program returns %d, %v", result, err)
	}
}

// A conversion of a pointer into an arena is not lost in silence where package asm does not
// write it.
func TestSetInstructionsWithCast(t *testing.T) {
	o := newTestObject(t, nil, kerneltest.Trivial(ebpf.XDP, "xdp"))
	p := o.progs[0]
	cast := asm.Mov.Reg(asm.R1, asm.R2)
	cast.Offset = addrSpaceCast
	err := p.SetInstructions(append(asm.Instructions{cast}, trivial()...))
	if err == nil && nativeOrder.Uint16(p.def.Instructions[2:]) != addrSpaceCast {
		t.Error("the conversion is lost")
	}
	if err != nil && !strings.Contains(err.Error(), "instruction 0 converts a pointer into an arena") {
		t.Error(err)
	}
}

// A program that is for another one of the same skeleton is loaded after it, and can take the
// place of functions of others then.
func TestTargetOfSameSkeleton(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 6, "functions with linkage")
	fn := func(name string) *btf.Func {
		context := btf.FuncParam{Name: "ctx", Type: &btf.Pointer{Target: &btf.Struct{Name: "xdp_md"}}}
		number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
		return &btf.Func{Name: name, Type: &btf.FuncProto{Return: number, Params: []btf.FuncParam{context}}, Linkage: btf.GlobalFunc}
	}
	program := func(name string, typ ebpf.ProgramType, section string) *ebpf.ProgramSpec {
		spec := kerneltest.Trivial(typ, section)
		spec.Name = name
		if typ == ebpf.Extension {
			spec.Instructions[0].Constant = 2
		}
		spec.Instructions[0] = btf.WithFuncMetadata(spec.Instructions[0], fn(name))
		return spec
	}
	o := newTestObject(t, nil, program("patch", ebpf.Extension, "freplace"), program("base", ebpf.XDP, "xdp"), program("more", ebpf.XDP, "xdp"))
	defer o.Close()
	patch, base, more := o.progs[0], o.progs[1], o.progs[2]
	other := newTestObject(t, nil, program("base", ebpf.XDP, "xdp"))
	for want, target := range map[string]*BaseProgram{"the target is nil": nil, "is of another skeleton": other.progs[0], "the program itself": patch} {
		if err := patch.SetTargetProgram(target, "base"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if err := patch.SetTargetProgram(base, "nowhere"); err != nil {
		t.Fatal(err)
	}
	kerneltest.WantError(t, o.Load(), `program patch, SEC("freplace"): the target program has no function "nowhere"`)
	if err := patch.SetTargetProgram(base, "base"); err != nil {
		t.Fatal(err)
	}
	kerneltest.NeedsJIT(t)
	err := o.Load()
	if errors.Is(err, unix.EPERM) {
		t.Skipf("needs a kernel that lets root attach freplace: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	results := func(wantBase, wantMore uint32) {
		t.Helper()
		for p, want := range map[*BaseProgram]uint32{base: wantBase, more: wantMore} {
			if have, _, err := p.Test(make([]byte, 64)); err != nil || have != want {
				t.Errorf("program %s returns %d, %v, want %d", p.Name(), have, err, want)
			}
		}
	}
	results(0, 0)
	if err := o.Attach(); err != nil {
		t.Fatal(err)
	}
	results(2, 0)
	l, err := (&FreplaceProgram{patch}).AttachFreplace(more.Program(), "more")
	if err != nil {
		t.Fatal(err)
	}
	results(2, 2)
	if n := len(patch.Links()); n != 2 {
		t.Errorf("%d links, want 2", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	results(2, 0)
}

// Of several programs that fail, all are in the error, and a cause that they have in common
// is said once.
func TestSeveralProgramsFail(t *testing.T) {
	bad := func(name string) *ebpf.ProgramSpec { return newTestProgram(name, asm.Return()) } // R0 is not set
	programs := []*ebpf.ProgramSpec{bad("a"), bad("b"), newTestProgram("good", trivial()...)}
	o := newTestObject(t, nil, programs...)
	defer o.Close()
	err := o.Load()
	kerneltest.WantError(t, err, `program a, SEC("xdp"): rejected by the verifier`, `program b, SEC("xdp"): rejected by the verifier`, "!good")
	var rejected *VerifierError
	if !errors.As(err, &rejected) || rejected.Program != "a" {
		t.Errorf("%v is no VerifierError of program a", err)
	}
	var theirs *ebpf.VerifierError
	if !errors.As(err, &theirs) || len(theirs.Log) == 0 {
		t.Errorf("%v is no ebpf.VerifierError with a log", err)
	}

	var untyped []*ebpf.ProgramSpec
	for _, name := range []string{"a", "b", "c"} {
		untyped = append(untyped, testSection(name, ebpf.UnspecifiedProgram, "mine"))
	}
	err = newTestObject(t, nil, untyped...).Load()
	const cause = "the section gives the program no type"
	if err == nil || strings.Count(err.Error(), cause) != 1 || !strings.Contains(err.Error(), "3 programs (a, b, c): "+cause) {
		t.Errorf("%v does not say once of three programs: %s", err, cause)
	}
}

// sectionsImage is an object whose program returns the sum of a variable in .data and of two
// that the kernel's configuration gives.
func sectionsImage() *image.Object {
	load := func(dst asm.Register) asm.Instruction { return asm.LoadImm(dst, 0, asm.DWord) }
	var raw bytes.Buffer
	insns := asm.Instructions{
		load(asm.R1), asm.LoadMem(asm.R0, asm.R1, 0, asm.Word),
		load(asm.R1), asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), asm.Add.Reg(asm.R0, asm.R2),
		load(asm.R1), asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), asm.Add.Reg(asm.R0, asm.R2),
		asm.Return(),
	}
	if err := insns.Marshal(&raw, nativeOrder); err != nil {
		panic(err)
	}
	section := func(name string, kind image.MapKind, size, flags uint32, contents []byte) image.Map {
		return image.Map{Name: name, Kind: kind, Type: uint32(ebpf.Array), KeySize: 4, ValueSize: size, MaxEntries: 1, Flags: flags, Inner: image.NoIndex, Contents: contents}
	}
	return &image.Object{
		Name: "sections", License: "GPL", Arena: image.Arena{Map: image.NoIndex},
		Code:      raw.Bytes(),
		Functions: []image.Function{{Name: "sum", Count: uint32(raw.Len() / asm.InstructionSize), ExceptionCallback: image.NoIndex}},
		Programs:  []image.Program{{Name: "sum", Section: "socket"}},
		Maps: []image.Map{
			section(".data", image.DataMap, 4, 0, numbers(5)),
			section(".kconfig", image.KconfigMap, 8, unix.BPF_F_RDONLY_PROG, nil),
		},
		Kconfig: []image.KconfigVar{
			{Name: "CONFIG_NO_KERNEL_HAS_THIS", Offset: 0, Size: 4, Kind: image.KconfigInt, Weak: true},
			{Name: "CONFIG_NOR_THAT", Offset: 4, Size: 4, Kind: image.KconfigInt, Weak: true},
		},
		Relocations: image.NewTable([]image.Relocation{
			{Instruction: 0, Kind: image.MapValue, Target: 0},
			{Instruction: 3, Kind: image.MapValue, Target: 1},
			{Instruction: 7, Kind: image.MapValue, Target: 1, Addend: 4},
		}),
	}
}

// What the generated code does not name is loaded as the object defines it, and a value that
// the kernel lacks is zero, whatever was written to it.
func TestSections(t *testing.T) {
	bpftest.NeedsBPF(t)
	bpftest.NeedsKernel(t, 5, 5, "sections that can be mapped")
	type settings struct{ None, Nor uint32 }
	for name, tc := range map[string]struct {
		named bool
		opts  LoadOptions
		want  uint32
	}{
		"nothing is named":        {want: 5},
		"values are given":        {opts: LoadOptions{Kconfig: "CONFIG_NOR_THAT=0x20\n"}, want: 0x25},
		"sections are named":      {named: true, want: 7},
		"sections and all values": {named: true, opts: LoadOptions{Kconfig: "CONFIG_NO_KERNEL_HAS_THIS=1\nCONFIG_NOR_THAT=0x20\n"}, want: 0x28},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := image.Encode(sectionsImage(), nativeOrder)
			if err != nil {
				t.Fatal(err)
			}
			var values *settings
			var number *struct{ Number uint32 }
			var prog SocketProgram
			d := desc{Name: "sections", Image: string(data), Progs: []progDesc{{Name: "sum", Handle: &prog.BaseProgram, Link: new(link.Link)}}}
			if tc.named {
				d.Sections = []binding.Section{
					{Name: ".data", Field: binding.Field{Pointer: unsafe.Pointer(&number), Size: unsafe.Sizeof(*number)}},
					{Name: ".kconfig", Field: binding.Field{Pointer: unsafe.Pointer(&values), Size: unsafe.Sizeof(*values)}},
				}
			}
			o, err := open(d)
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			if tc.named {
				number.Number += 2
				*values = settings{100, 200}
			}
			if err := o.LoadWithOptions(tc.opts); err != nil {
				t.Fatal(err)
			}
			if got, _, err := prog.Test(make([]byte, 64)); err != nil || got != tc.want {
				t.Errorf("the program returns %d, %v, want %d", got, err, tc.want)
			}
			if tc.named && values.None+values.Nor != tc.want-7 {
				t.Errorf("settings are %+v", *values)
			}
		})
	}
}
