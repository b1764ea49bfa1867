package skeleton

import (
	"encoding/binary"
	"errors"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
)

// numbers returns the bytes of numbers, as this machine has them.
func numbers(list ...uint32) []byte {
	var b []byte
	for _, n := range list {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return b
}

// openVariables opens an object whose .data has two numbers and a struct of 16 bytes that the
// kernel knows, and whose .rodata has one number. Its program returns the first number of .data.
func openVariables(t *testing.T, special string) *Object {
	t.Helper()
	img := sectionsImage()
	img.Maps[0].ValueSize, img.Maps[0].Contents = 24, numbers(5, 6)
	img.Maps = append(img.Maps, image.Map{Name: ".rodata", Kind: image.RodataMap, Type: uint32(ebpf.Array), KeySize: 4, ValueSize: 4, MaxEntries: 1, Inner: image.NoIndex, Contents: numbers(7)})
	number := &btf.Int{Name: "unsigned int", Size: 4}
	long := &btf.Int{Name: "unsigned long long", Size: 8}
	members := []btf.Member{{Name: "val", Type: number}}
	size := uint32(4)
	if special != "bpf_spin_lock" {
		members = []btf.Member{{Name: "__opaque", Type: &btf.Array{Index: number, Type: long, Nelems: 2}}}
		size = 16
	}
	variable := func(name string, typ btf.Type) *btf.Var {
		return &btf.Var{Name: name, Type: typ, Linkage: btf.GlobalVar}
	}
	sections := []*btf.Datasec{
		{Name: ".data", Size: 24, Vars: []btf.VarSecinfo{
			{Type: variable("first", number), Offset: 0, Size: 4},
			{Type: variable("second", number), Offset: 4, Size: 4},
			{Type: variable("special", &btf.Struct{Name: special, Size: size, Members: members}), Offset: 8, Size: size},
		}},
		{Name: ".rodata", Size: 4, Vars: []btf.VarSecinfo{{Type: variable("constant", number), Size: 4}}},
	}
	var types btf.Builder
	for i, m := range []uint32{0, 2} {
		id, err := types.Add(sections[i])
		if err != nil {
			t.Fatal(err)
		}
		img.Maps[m].ValueType = uint32(id)
		for _, v := range sections[i].Vars {
			id, err := types.Add(v.Type.(*btf.Var).Type)
			if err != nil {
				t.Fatal(err)
			}
			img.Variables = append(img.Variables, image.Variable{Name: v.Type.(*btf.Var).Name, Map: m, Type: uint32(id), Offset: v.Offset, Size: v.Size, Visible: true})
		}
	}
	var err error
	if img.BTF, err = types.Marshal(nil, nil); err != nil {
		t.Fatal(err)
	}
	o, err := openImage(img, describe(img))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	// Socket filters may not use locks.
	if err := o.FindProgram("sum").SetType(ebpf.XDP, ebpf.AttachXDP); err != nil {
		t.Fatal(err)
	}
	return o
}

// number returns a variable as a library has it.
func number(t *testing.T, o *Object, name string) Var[uint32] {
	t.Helper()
	v, ok := o.FindVariable(name)
	if !ok {
		t.Fatalf("has no variable %s", name)
	}
	typed, err := VarOf[uint32](v)
	if err != nil {
		t.Fatal(err)
	}
	return typed
}

// result is what the program of sectionsImage returns.
func result(t *testing.T, o *Object) uint32 {
	t.Helper()
	got, _, err := o.FindProgram("sum").Test(make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func wantValue(t *testing.T, v Var[uint32], want uint32) {
	t.Helper()
	if got, err := v.Get(); err != nil || got != want {
		t.Errorf("%s is %d, %v, want %d", v.Name(), got, err, want)
	}
}

// Variables have their values in all states, and where the kernel does not map the section
// because of a lock in it.
func TestVariables(t *testing.T) {
	bpftest.NeedsBPF(t)
	bpftest.NeedsKernel(t, 5, 5, "sections that can be mapped")
	for special, mapped := range map[string]bool{"nothing": true, "bpf_spin_lock": false} {
		t.Run(special, func(t *testing.T) {
			if !mapped {
				bpftest.NeedsKernel(t, 5, 15, "a look for locks in global variables")
			}
			o := openVariables(t, special)
			first, second, constant := number(t, o, "first"), number(t, o, "second"), number(t, o, "constant")
			wantValue(t, first, 5)
			for v, value := range map[Var[uint32]]uint32{first: 10, constant: 30} {
				if err := v.Set(value); err != nil {
					t.Fatal(err)
				}
			}
			if err := o.Load(); err != nil {
				t.Fatal(err)
			}
			if got := first.Bytes() != nil; got != mapped {
				t.Errorf("is mapped: %v", got)
			}
			wantValue(t, first, 10)
			wantValue(t, second, 6)
			wantValue(t, constant, 30)
			if err := first.Set(20); err != nil {
				t.Fatal(err)
			}
			if got := result(t, o); got != 20 {
				t.Errorf("the program returns %d, want 20", got)
			}
			wantValue(t, second, 6)
			kerneltest.WantError(t, constant.Set(1), "set variable constant: section .rodata is read-only after Load")
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			if mapped {
				wantValue(t, first, 20)
			} else if _, err := first.Get(); !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: %v", err)
			} else if err := first.Set(1); !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

// What the kernel would free is left alone.
func TestSetBesideTimer(t *testing.T) {
	bpftest.NeedsBPF(t)
	bpftest.NeedsKernel(t, 5, 15, "timers")
	o := openVariables(t, "bpf_timer")
	if err := o.FindProgram("sum").SetAutoload(false); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	first := number(t, o, "first")
	wantValue(t, first, 5)
	kerneltest.WantError(t, first.Set(1), "set variable first: section .data cannot be mapped, and holds a struct bpf_timer, which the kernel frees when the section is written to")
	wantValue(t, first, 5)
}

func TestFreedByWrite(t *testing.T) {
	number := &btf.Int{Name: "int", Size: 4}
	task := &btf.Struct{Name: "task_struct"}
	list := &btf.Struct{Name: "bpf_list_head"}
	for want, typ := range map[string]btf.Type{
		"":                       &btf.Struct{Name: "bpf_spin_lock", Members: []btf.Member{{Name: "val", Type: number}}},
		"a kptr":                 &btf.Pointer{Target: &btf.TypeTag{Type: task, Value: "kptr"}},
		"a struct bpf_list_head": &btf.Struct{Name: "outer", Members: []btf.Member{{Name: "n", Type: number}, {Name: "lists", Type: &btf.Array{Index: number, Type: &btf.Typedef{Name: "list", Type: list}, Nelems: 2}}}},
	} {
		if got := freedByWrite(&btf.Datasec{Vars: []btf.VarSecinfo{{Type: &btf.Var{Type: &btf.Volatile{Type: typ}}}}}); got != want {
			t.Errorf("%v: got %q, want %q", typ, got, want)
		}
	}
	if got := freedByWrite(nil); got != "" {
		t.Errorf("without types: %q", got)
	}
}

// What is not there, or has another size, is an error.
func TestVariableErrors(t *testing.T) {
	var none Var[uint32]
	_, err := none.Get()
	kerneltest.WantError(t, err, "get variable: the object does not have the variable")
	kerneltest.WantError(t, none.Set(1), "set variable: the object does not have the variable")
	kerneltest.WantError(t, none.Variable.Set(nil), "the object does not have the variable")
	if _, err := none.Type(); err == nil || none.Exists() || none.Global() || none.Name() != "" || none.Section().Name() != "" || none.Offset() != 0 || none.Size() != 0 || none.Bytes() != nil {
		t.Errorf("the zero value has something: %+v, %v", none, err)
	}
	o := openVariables(t, "nothing")
	v, _ := o.FindVariable("first")
	_, err = VarOf[uint64](v)
	kerneltest.WantError(t, err, "variable first: it has 4 bytes, and the value 8")
	kerneltest.WantError(t, v.Get(make([]byte, 3)), "get variable first: it has 4 bytes, and the value 3")
	_, err = VarOf[uint64](Variable{})
	kerneltest.WantError(t, err, "the object does not have the variable")
}

// A library has the object's own handles on data sections, and on variables.
func TestLibraryContents(t *testing.T) {
	o := openVariables(t, "nothing")
	v, _ := o.FindVariable("first")
	typ, err := v.Type()
	if err != nil {
		t.Fatal(err)
	}
	fieldOfNumber := func(p **uint32) binding.Field {
		return binding.Field{Pointer: unsafe.Pointer(p), Size: 4}
	}
	lib := subskel.Library{Order: nativeOrder, Vars: []subskel.Var{{Name: "first", Section: ".data", Size: 4, Type: typ}, {Name: "weak", Section: ".extern", Size: 4, Type: typ, Weak: true}}}
	text, err := lib.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var data, missing *UntypedMap
	var pointer *uint32
	var first, weak Variable
	d := libraryDesc{
		Name: "lib", Library: string(text),
		Sections: []binding.LibrarySection[*UntypedMap]{{Name: ".data", Handle: &data}, {Name: ".bss", Handle: &missing}},
		Vars: []binding.Var[*Variable]{
			{Name: "first", Field: fieldOfNumber(&pointer), Align: 4, Handle: &first},
			{Name: "weak", Field: fieldOfNumber(new(*uint32)), Align: 4, Handle: &weak},
		},
	}
	if err := openLibrary(o, d); err != nil {
		t.Fatal(err)
	}
	if data != o.FindMap(".data") || missing != nil || first != v || weak.Exists() || *pointer != 5 {
		t.Errorf("has %v, %v, %v, %v, %d", data, missing, first, weak, *pointer)
	}
}
