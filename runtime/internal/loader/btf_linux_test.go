package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/features"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// allKinds returns BTF with a type of each kind that not all kernels know, and the IDs of
// some by their names.
func allKinds(t testing.TB) (raw []byte, ids map[string]uint32) {
	t.Helper()
	types, err := rawbtf.New(rawTypes(t, intType), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := types.Edit()
	const void, number = 0, 1
	ids = make(map[string]uint32)
	add := func(name string, kind rawbtf.Kind, n, size uint32, rest ...uint32) uint32 {
		id := b.Add(b.Intern(name), kind, n, size, rest...)
		ids[name] = id
		return id
	}
	float := add("float", rawbtf.Float, 0, 4)
	tag := add("user", rawbtf.TypeTag, 0, number)
	pointer := add("", rawbtf.Ptr, 0, tag)
	big := add("big", rawbtf.Enum64, 2, 8, b.Intern("BIG"), 0, 1, b.Intern("BIGGER"), 1, 1)
	signed := add("signed", rawbtf.Enum, rawbtf.Flagged|1, 4, b.Intern("MINUS"), ^uint32(0))
	s := add("s", rawbtf.Struct, 4, 32,
		b.Intern("f"), float, 0, b.Intern("p"), pointer, 64, b.Intern("e"), big, 128, b.Intern("m"), signed, 192)
	add("declared", rawbtf.DeclTag, 0, s, 1)
	proto := add("", rawbtf.FuncProto, 1, number, b.Intern("a"), number)
	add("global", rawbtf.Func, uint32(rawbtf.Global), proto)
	add("static", rawbtf.Func, uint32(rawbtf.Static), proto)
	v := add("variable", rawbtf.Var, 0, s, 1)
	w := add("small", rawbtf.Var, 0, number, 1)
	add(".data.x", rawbtf.Datasec, 2, 36, v, 0, 32, w, 32, 4)
	add(".rodata.texts", rawbtf.Datasec, 0, 8)
	add("?.struct_ops", rawbtf.Datasec, 1, 32, v, 0, 32)
	add("nothing", rawbtf.Typedef, 0, void)
	if raw, err = b.Bytes(); err != nil {
		t.Fatal(err)
	}
	return raw, ids
}

// giveTypes gives the kernel BTF, and fails the test when that refuses it.
func giveTypes(t *testing.T, raw []byte) {
	t.Helper()
	log := make([]byte, 1<<16)
	fd, err := (&load{}).giveBTF(raw, log)
	if err != nil {
		t.Fatalf("%v: %s", err, strings.Join(logLines(log), "\n"))
	}
	sys.Close(fd)
}

func TestFeaturesOf(t *testing.T) {
	raw, _ := allKinds(t)
	types, err := rawbtf.New(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := featureSet(0)
	for f := features.Func; f <= features.QuestionMark; f++ {
		want.add(f)
	}
	if got := featuresOf(types); got != want {
		t.Errorf("%b, want %b", got, want)
	}
	if types, err = rawbtf.New(rawTypes(t, intType), nil); err != nil {
		t.Fatal(err)
	}
	if got := featuresOf(types); got != 0 {
		t.Errorf("of an integer: %b", got)
	}
}

// What a kernel lacks is replaced by what it knows, IDs and sizes stay, and this kernel
// takes the result.
func TestWithoutFeatures(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 9, "all kinds of types")
	bpftest.NeedsBPF(t)
	raw, ids := allKinds(t)
	original := bytes.Clone(raw)
	giveTypes(t, raw)
	before, err := rawbtf.New(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	for set := range featureSet(1 << (features.QuestionMark + 1)) {
		if set.has(features.BTF) {
			continue
		}
		got, err := withoutFeatures(raw, set)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(raw, original) {
			t.Fatalf("without %b: the object's BTF has changed", set)
		}
		types, err := rawbtf.New(got, nil)
		if err != nil {
			t.Fatal(err)
		}
		// A kernel without functions has no global ones, and so on.
		if left := featuresOf(types) & set; left != 0 {
			t.Errorf("without %b: there is still %b", set, left)
		}
		if n := types.Len() - before.Len(); n > 1 || n == 1 && !set.has(features.Enum64) {
			t.Errorf("without %b: %d more types", set, n)
		}
		for _, name := range []string{"float", "big", "signed", "s"} {
			if a, b := sizeOf(types, ids[name]), sizeOf(before, ids[name]); a != b {
				t.Errorf("without %b: %s has %d bytes, had %d", set, name, a, b)
			}
		}
		giveTypes(t, got)
	}
}

func sizeOf(types *rawbtf.Types, id uint32) uint64 {
	n, _ := types.At(id).SizeOf()
	return n
}

// What takes the place of what is libbpf's choice.
func TestReplacements(t *testing.T) {
	raw, ids := allKinds(t)
	for f, want := range map[features.Feature]map[string]string{
		features.Float:        {"float": " Struct 0"},
		features.TypeTag:      {"user": " Const 0"},
		features.DeclTag:      {"declared": "declared Int 0"},
		features.GlobalFunc:   {"global": "global Func 0", "static": "static Func 0"},
		features.Func:         {"global": "global Typedef 0", "": " Enum 1"},
		features.DataSec:      {"variable": "variable Int 0", ".data.x": "_data_x Struct 2", "?.struct_ops": "__struct_ops Struct 1"},
		features.QuestionMark: {".data.x": ".data.x Datasec 2", "?.struct_ops": "_.struct_ops Datasec 1"},
		features.Enum64:       {"big": "big Union 2", "signed": "signed Enum 1"},
	} {
		var lacks featureSet
		lacks.add(f)
		got, err := withoutFeatures(raw, lacks)
		if err != nil {
			t.Fatal(err)
		}
		types, err := rawbtf.New(got, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range want {
			typ := types.At(ids[name])
			kind := map[rawbtf.Kind]string{
				rawbtf.Struct: "Struct", rawbtf.Const: "Const", rawbtf.Int: "Int", rawbtf.Func: "Func", rawbtf.Typedef: "Typedef",
				rawbtf.Enum: "Enum", rawbtf.Datasec: "Datasec", rawbtf.Union: "Union",
			}[typ.Kind()]
			if got := strings.Join([]string{typ.Name(), kind, string(rune('0' + typ.Vlen()))}, " "); got != want {
				t.Errorf("without %v: %s is %q, want %q", f, name, got, want)
			}
		}
	}
}

// A header with more in it than the kernel knows gives way to a plain one.
func TestLongHeader(t *testing.T) {
	bpftest.NeedsBPF(t)
	plain := rawTypes(t, intType)
	long := append(bytes.Clone(plain[:rawbtf.HeaderSize]), 1, 2, 3, 4, 5, 6, 7, 8)
	binary.NativeEndian.PutUint32(long[4:], rawbtf.HeaderSize+8)
	long = append(long, plain[rawbtf.HeaderSize:]...)
	img := mapsOf(typedArray("m"))
	img.BTF = long
	if got := infoOf(t, loadMaps(t, img, Options{}).Maps[0].Map); got.ValueTypeID != 1 {
		t.Errorf("%+v", got)
	}
}

// typedArray is an array of type 1.
func typedArray(name string) image.Map {
	m := array(name)
	m.KeyType, m.ValueType = 1, 1
	return m
}

// This kernel gets all kinds of types in the form that it knows.
func TestAllKinds(t *testing.T) {
	raw, _ := allKinds(t)
	img := mapsOf(typedArray("m"))
	img.BTF = raw
	if got := infoOf(t, loadMaps(t, img, Options{}).Maps[0].Map); got.ValueTypeID != 1 {
		t.Errorf("%+v", got)
	}
}

// badTypes is BTF that the kernel refuses for the name of a type.
func badTypes(t testing.TB) []byte { return rawTypes(t, intType, text("no name")) }

// Types that the kernel refuses are left out where nothing needs them.
func TestRefusedTypes(t *testing.T) {
	img := mapsOf(typedArray("m"))
	img.BTF = badTypes(t)
	o := loadMaps(t, img, Options{})
	if got := infoOf(t, o.Maps[0].Map); got.ValueTypeID != 0 || o.loaded.btf != -1 {
		t.Errorf("%+v", got)
	}
	storage := image.Map{Name: "tasks", Type: uint32(ebpf.SkStorage), KeySize: 4, ValueSize: 4, Flags: unix.BPF_F_NO_PREALLOC, KeyType: 1, ValueType: 1}
	img.Maps = mapsOf(storage).Maps
	o = Open(img)
	err := o.Load(Options{})
	var refused *BTFError
	if !errors.As(err, &refused) || !errors.Is(err, unix.EINVAL) || len(refused.Log) == 0 {
		t.Errorf("%v", err)
	}
	wantParts(t, err, "map tasks needs the types of the object: load the object's BTF: invalid argument", "Invalid name")
	img.BTF = nil
	o = Open(img)
	wantParts(t, o.Load(Options{}), "map tasks needs the types of the object: the object has none: compile it with -g")
	// A program that is refused may be so for the lack of types.
	bad := testImage(t, []function{{name: "p", insns: readsBeyond}}, map[string]string{"p": "socket"})
	bad.BTF, bad.FuncInfo, bad.LineInfo = badTypes(t), image.Table[image.FuncInfo]{}, image.Table[image.LineInfo]{}
	wantParts(t, Open(bad).Load(Options{}), "rejected by the verifier", "\nthis may be for lack of the object's BTF, which the kernel has refused: invalid argument\n", "Invalid name")
}

// So are types that the process may not load, and the kernel's answer is named: it has not
// looked at them.
func TestForbiddenTypes(t *testing.T) {
	bpftest.NeedsBPF(t)
	restore := sys.SetFault(func(c sys.Cmd) error {
		if c == sys.BTFLoadCmd {
			return unix.EPERM
		}
		return nil
	})
	defer restore()
	img := mapsOf(typedArray("m"))
	img.BTF = rawTypes(t, intType)
	if o := loadMaps(t, img, Options{}); o.loaded.btf != -1 {
		t.Error("there are types")
	}
	const why = "\nthis may be for lack of the object's BTF, which the kernel has refused: operation not permitted"
	bad := testImage(t, []function{{name: "p", insns: readsBeyond}}, map[string]string{"p": "socket"})
	bad.BTF, bad.FuncInfo, bad.LineInfo = img.BTF, image.Table[image.FuncInfo]{}, image.Table[image.LineInfo]{}
	err := Open(bad).Load(Options{})
	wantParts(t, err, "rejected by the verifier", why)
	var refused *BTFError
	if !errors.As(err, &refused) || !refused.LeftOut || refused.Err != unix.EPERM || refused.Log != nil {
		t.Errorf("%+v", refused)
	}
	// A map that the kernel does not take for another reason may be so for this one.
	img.Maps[0].MaxEntries = 0
	wantParts(t, Open(img).Load(Options{}), "map m: create it: invalid argument", why)
	// What cannot be for the lack of types does not speak of it.
	img.Maps[0].MaxEntries = 1
	stop := errors.New("stop")
	if err := Open(img).Load(Options{Done: func() error { return stop }}); !errors.Is(err, stop) || strings.Contains(err.Error(), "BTF") {
		t.Error(err)
	}
}

// tagged returns an image of a program that calls a function whose parameter is its context
// by a tag.
func tagged(t testing.TB) *image.Object {
	void := &btf.Pointer{Target: (*btf.Void)(nil)}
	param := []btf.FuncParam{{Name: "ctx", Type: void}}
	main := &btf.Func{Name: "main", Linkage: btf.GlobalFunc, Type: &btf.FuncProto{Return: intType, Params: param}}
	sub := &btf.Func{Name: "sub", Linkage: btf.GlobalFunc, Type: &btf.FuncProto{Return: intType, Params: param}, ParamTags: [][]string{{"arg:ctx"}}}
	const getSocketCookie = 46
	img := testImage(t, []function{
		{name: "main", insns: asm.Instructions{call, asm.Mov.Imm(asm.R0, 9), asm.Return()}, calls: map[uint32]string{0: "sub"}},
		{name: "sub", insns: asm.Instructions{asm.BuiltinFunc(getSocketCookie).Call(), asm.Return()}},
	}, map[string]string{"main": "socket"})
	b, err := btf.NewBuilder(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var ids [2]btf.TypeID
	for i, f := range []*btf.Func{main, sub} {
		if ids[i], err = b.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	if img.BTF, err = b.Marshal(nil, nil); err != nil {
		t.Fatal(err)
	}
	img.LineInfo = image.Table[image.LineInfo]{}
	img.FuncInfo = image.NewTable([]image.FuncInfo{{Instruction: 0, Type: uint32(ids[0])}, {Instruction: img.Functions[1].First, Type: uint32(ids[1])}})
	return img
}

// A parameter with the tag is the context on all kernels.
func TestArgCtx(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 6, "global functions")
	bpftest.NeedsBPF(t)
	o := Open(tagged(t))
	if err := o.Load(Options{}); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if got := run(t, o.Programs[0]); got != 9 {
		t.Errorf("%d", got)
	}
}

// Second types of functions are what the kernel takes.
func TestCloneContexts(t *testing.T) {
	bpftest.NeedsBPF(t)
	o := Open(tagged(t))
	l := &load{object: o, btf: -1}
	if err := l.selectPrograms(); err != nil {
		t.Fatal(err)
	}
	raw, err := l.cloneContexts(o.Image.BTF)
	if err != nil {
		t.Fatal(err)
	}
	types, err := rawbtf.New(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	funcs := []image.FuncInfo{image.At(o.Image.FuncInfo, 0), image.At(o.Image.FuncInfo, 1)}
	l.useContexts(o.Programs[0], funcs)
	if funcs[0].Type != image.At(o.Image.FuncInfo, 0).Type || funcs[1].Type == image.At(o.Image.FuncInfo, 1).Type {
		t.Errorf("%v", funcs)
	}
	fn := types.At(funcs[1].Type)
	param := types.At(fn.Elem().Param(0))
	if fn.Name() != "sub" || fn.Linkage() != rawbtf.Global || param.Kind() != rawbtf.Ptr || param.Elem().Name() != "__sk_buff" {
		t.Errorf("%s has a parameter of kind %d to %s", fn.Name(), param.Kind(), param.Elem().Name())
	}
	bpftest.NeedsKernel(t, 5, 16, "tags")
	giveTypes(t, raw)
}

func TestMustFix(t *testing.T) {
	pointer := func(target btf.Type) btf.Type { return &btf.Pointer{Target: target} }
	for _, c := range []struct {
		program ebpf.ProgramType
		typ     btf.Type
		want    bool
	}{
		{ebpf.XDP, pointer((*btf.Void)(nil)), true},
		{ebpf.XDP, pointer(&btf.Struct{Name: "xdp_md"}), false},
		{ebpf.XDP, pointer(&btf.Struct{Name: "other"}), false},
		{ebpf.XDP, intType, false},
		{ebpf.Kprobe, pointer(&btf.Struct{Name: "pt_regs"}), true},
		{ebpf.Kprobe, pointer(&btf.Const{Type: &btf.Typedef{Name: "bpf_user_pt_regs_t", Type: &btf.Struct{Name: "pt_regs"}}}), false},
		{ebpf.PerfEvent, pointer(&btf.Struct{Name: userRegs()}), true},
		{ebpf.RawTracepoint, pointer(longType), true},
		{ebpf.RawTracepoint, pointer(intType), false},
	} {
		types, err := rawbtf.New(rawTypes(t, &btf.Typedef{Name: "t", Type: c.typ}), nil)
		if err != nil {
			t.Fatal(err)
		}
		var typ rawbtf.Type
		for id := uint32(1); id < types.Len(); id++ {
			if types.At(id).Name() == "t" {
				typ = types.At(id)
			}
		}
		if got := mustFix(c.program, typ); got != c.want {
			t.Errorf("%v, %v: %t", c.program, c.typ, got)
		}
	}
}

// A lack of descriptors is an error, and not a reason to do without types.
func TestTypesWithoutDescriptors(t *testing.T) {
	bpftest.NeedsBPF(t)
	img := mapsOf(typedArray("m"))
	img.BTF = rawTypes(t, intType)
	restore := sys.SetFault(func(c sys.Cmd) error {
		if c == sys.BTFLoadCmd {
			return unix.EMFILE
		}
		return nil
	})
	err := Open(img).Load(Options{})
	restore()
	var refused *BTFError
	if !errors.As(err, &refused) || !errors.Is(err, unix.EMFILE) {
		t.Errorf("%v", err)
	}
}

func TestSpecialFields(t *testing.T) {
	kptr := &btf.Pointer{Target: &btf.TypeTag{Value: "kptr", Type: intType}}
	for name, c := range map[string]struct {
		typ  btf.Type
		want bool
	}{
		"int":     {intType, false},
		"lock":    {&btf.Struct{Name: "bpf_spin_lock", Size: 4}, true},
		"inside":  {&btf.Struct{Name: "a", Size: 16, Members: []btf.Member{{Name: "t", Type: &btf.Array{Type: &btf.Struct{Name: "bpf_timer", Size: 16}, Index: intType, Nelems: 1}}}}, true},
		"kptr":    {kptr, true},
		"pointer": {&btf.Pointer{Target: &btf.Struct{Name: "bpf_spin_lock", Size: 4}}, false},
		"user":    {&btf.Pointer{Target: &btf.TypeTag{Value: "user", Type: intType}}, false},
		"section": {&btf.Datasec{Name: ".data", Size: 8, Vars: []btf.VarSecinfo{{Type: &btf.Var{Name: "v", Type: kptr}, Size: 8}}}, true},
	} {
		types, err := rawbtf.New(rawTypes(t, c.typ), nil)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for id := uint32(1); id < types.Len(); id++ {
			found = found || types.At(id).Kind() == kindOf(c.typ) && hasSpecialField(types.At(id), maxTypeDepth)
		}
		if found != c.want {
			t.Errorf("%s: %t", name, found)
		}
	}
}

func kindOf(t btf.Type) rawbtf.Kind {
	switch t.(type) {
	case *btf.Struct:
		return rawbtf.Struct
	case *btf.Pointer:
		return rawbtf.Ptr
	case *btf.Datasec:
		return rawbtf.Datasec
	}
	return rawbtf.Int
}

// Damaged BTF does not break the loader.
func FuzzWithoutFeatures(f *testing.F) {
	raw, _ := allKinds(f)
	f.Add(raw, uint32(1<<11-2))
	f.Fuzz(func(t *testing.T, raw []byte, set uint32) {
		got, err := withoutFeatures(raw, featureSet(set))
		if err != nil {
			return
		}
		if _, err := rawbtf.New(got, nil); err != nil {
			t.Error(err)
		}
	})
}
