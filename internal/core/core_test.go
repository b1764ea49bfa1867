package core

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// raw returns the types as BTF. The first has ID 1, and what it refers to follows.
func raw(tb testing.TB, types ...btf.Type) *rawbtf.Types {
	tb.Helper()
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		tb.Fatal(err)
	}
	data, err := b.Marshal(nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	t, err := rawbtf.New(data, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

type fakeKernel struct {
	types   *rawbtf.Types
	modules []*rawbtf.Types
	asked   int
}

func (k *fakeKernel) Types() *rawbtf.Types { return k.types }

func (k *fakeKernel) Modules() []*rawbtf.Types {
	k.asked++
	return k.modules
}

var (
	i32  = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	u32  = &btf.Int{Name: "unsigned int", Size: 4}
	u64  = &btf.Int{Name: "unsigned long", Size: 8}
	char = &btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}
)

// structOf makes a struct of members that follow each other.
func structOf(name string, members ...btf.Member) *btf.Struct {
	s := &btf.Struct{Name: name}
	for _, m := range members {
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			panic(err)
		}
		m.Offset = btf.Bits(s.Size * 8)
		s.Size += uint32(size)
		s.Members = append(s.Members, m)
	}
	return s
}

func TestResolve(t *testing.T) {
	local := structOf("s___mine", btf.Member{Name: "a", Type: i32}, btf.Member{Name: "b", Type: u64})
	moved := structOf("s", btf.Member{Name: "first", Type: u64}, btf.Member{Name: "b", Type: u64}, btf.Member{Name: "a", Type: i32})
	inner := &btf.Union{Size: 8, Members: []btf.Member{{Name: "a", Type: i32}, {Name: "c", Type: u64}}}
	nested := structOf("s", btf.Member{Name: "first", Type: u64}, btf.Member{Type: inner}, btf.Member{Name: "b", Type: u64})
	array := structOf("s___mine", btf.Member{Name: "n", Type: u32}, btf.Member{Name: "v", Type: &btf.Array{Index: u32, Type: structOf("e", btf.Member{Name: "x", Type: u32}), Nelems: 0}})
	kernelArray := structOf("s", btf.Member{Name: "n", Type: u64}, btf.Member{Name: "v", Type: &btf.Array{Index: u32, Type: structOf("e", btf.Member{Name: "y", Type: u64}, btf.Member{Name: "x", Type: u32}), Nelems: 0}})
	enum := &btf.Enum{Name: "e___mine", Size: 4, Values: []btf.EnumValue{{Name: "A___mine", Value: 1}, {Name: "GONE", Value: 2}}}
	kernelEnum := &btf.Enum{Name: "e", Size: 8, Values: []btf.EnumValue{{Name: "A", Value: 1 << 40}}}
	fwd := &btf.Fwd{Name: "s", Kind: btf.FwdStruct}

	for name, c := range map[string]struct {
		local   btf.Type
		kernel  []btf.Type
		module  []btf.Type
		relo    Relocation
		value   uint64
		poison  bool
		problem string
	}{
		"moved":                      {local: local, kernel: []btf.Type{moved}, relo: Relocation{FieldByteOffset, 1, "0:0"}, value: 16},
		"in an anonymous union":      {local: local, kernel: []btf.Type{nested}, relo: Relocation{FieldByteOffset, 1, "0:0"}, value: 8},
		"second element":             {local: local, kernel: []btf.Type{moved}, relo: Relocation{FieldByteOffset, 1, "1:0"}, value: 36},
		"in an element":              {local: array, kernel: []btf.Type{kernelArray}, relo: Relocation{FieldByteOffset, 1, "0:1:2:0"}, value: 8 + 2*12 + 8},
		"size":                       {local: local, kernel: []btf.Type{moved}, relo: Relocation{TypeSize, 1, "0"}, value: 20},
		"no such type":               {local: local, kernel: []btf.Type{u64}, relo: Relocation{FieldByteOffset, 1, "0:0"}, poison: true},
		"a declaration only":         {local: local, kernel: []btf.Type{fwd}, relo: Relocation{FieldByteOffset, 1, "0:0"}, poison: true},
		"size of no such type":       {local: local, kernel: []btf.Type{u64}, relo: Relocation{TypeSize, 1, "0"}},
		"ID of no such type":         {local: local, kernel: []btf.Type{u64}, relo: Relocation{TypeIDTarget, 1, "0"}},
		"no such field exists":       {local: local, kernel: []btf.Type{structOf("s", btf.Member{Name: "b", Type: u64})}, relo: Relocation{FieldExists, 1, "0:0"}},
		"local ID":                   {local: local, kernel: []btf.Type{u64}, relo: Relocation{TypeIDLocal, 1, "0"}, value: 1},
		"value of a wider enum":      {local: enum, kernel: []btf.Type{kernelEnum}, relo: Relocation{EnumValue, 1, "0"}, value: 1 << 40},
		"no such value":              {local: enum, kernel: []btf.Type{kernelEnum}, relo: Relocation{EnumValue, 1, "1"}, poison: true},
		"no such value exists":       {local: enum, kernel: []btf.Type{kernelEnum}, relo: Relocation{EnumValueExists, 1, "1"}},
		"candidates that agree":      {local: local, kernel: []btf.Type{moved, structOf("s___2", moved.Members[0], moved.Members[1], moved.Members[2], btf.Member{Name: "z", Type: u64})}, relo: Relocation{FieldByteOffset, 1, "0:0"}, value: 16},
		"one candidate has it":       {local: local, kernel: []btf.Type{structOf("s", btf.Member{Name: "z", Type: u64}), structOf("s___2", moved.Members...)}, relo: Relocation{FieldByteOffset, 1, "0:0"}, value: 16},
		"candidates that disagree":   {local: local, kernel: []btf.Type{moved, structOf("s___2", btf.Member{Name: "a", Type: i32})}, relo: Relocation{FieldByteOffset, 1, "0:0"}, problem: "do not agree: s is 16 in type"},
		"in a module":                {local: local, kernel: []btf.Type{u64}, module: []btf.Type{moved}, relo: Relocation{FieldByteOffset, 1, "0:0"}, value: 16},
		"vmlinux before modules":     {local: local, kernel: []btf.Type{structOf("s", btf.Member{Name: "z", Type: u64})}, module: []btf.Type{moved}, relo: Relocation{FieldByteOffset, 1, "0:0"}, poison: true},
		"another sort":               {local: local, kernel: []btf.Type{structOf("s", btf.Member{Name: "a", Type: &btf.Pointer{Target: i32}})}, relo: Relocation{FieldExists, 1, "0:0"}},
		"without a name":             {local: structOf("", btf.Member{Name: "a", Type: i32}), kernel: []btf.Type{moved}, relo: Relocation{FieldByteOffset, 1, "0:0"}, problem: "has no name"},
		"no such local type":         {local: local, kernel: []btf.Type{moved}, relo: Relocation{FieldByteOffset, 99, "0:0"}, problem: "is damaged"},
		"index behind the last":      {local: local, kernel: []btf.Type{moved}, relo: Relocation{FieldByteOffset, 1, "0:2"}, problem: "is damaged"},
		"not an access":              {local: local, kernel: []btf.Type{moved}, relo: Relocation{FieldByteOffset, 1, "0:x"}, problem: "is damaged"},
		"access into an integer":     {local: local, kernel: []btf.Type{moved}, relo: Relocation{FieldByteOffset, 1, "0:0:0"}, problem: "is damaged"},
		"kind of a later compiler":   {local: local, kernel: []btf.Type{moved}, relo: Relocation{99, 1, "0:0"}, problem: "kind 99"},
		"bit-field of an array elem": {local: array, kernel: []btf.Type{kernelArray}, relo: Relocation{FieldSigned, 1, "0:1:2"}, problem: "element of an array"},
	} {
		t.Run(name, func(t *testing.T) {
			kernel := &fakeKernel{types: raw(t, c.kernel...)}
			if c.module != nil {
				kernel.modules = append(kernel.modules, raw(t, c.module...))
			}
			r := New(raw(t, c.local), kernel, []Relocation{c.relo})
			res, err := r.Resolve(c.relo)
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Fatalf("got %+v, %v, want %q", res, err, c.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Poison != c.poison || res.Value != c.value {
				t.Errorf("got %d, poison %v, want %d, %v", res.Value, res.Poison, c.value, c.poison)
			}
			if c.poison && r.Missing(c.relo) == "" {
				t.Error("nothing is said to be missing")
			}
			if kernel.asked > 1 {
				t.Errorf("modules were asked for %d times", kernel.asked)
			}
		})
	}
}

// What the kernel has as a bit-field is not read as if it were none.
func TestMissingBitfield(t *testing.T) {
	local := structOf("s", btf.Member{Name: "a", Type: u32})
	kernel := structOf("s", btf.Member{Name: "a", Type: u32, BitfieldSize: 3})
	relo := Relocation{FieldByteOffset, 1, "0:0"}
	r := New(raw(t, local), &fakeKernel{types: raw(t, kernel)}, []Relocation{relo})
	res, err := r.Resolve(relo)
	if err != nil {
		t.Fatal(err)
	}
	if poison, err := res.Patch(&Instruction{Code: classLDX | sizeBits[4]}); !poison || err != nil {
		t.Errorf("poison %v, %v", poison, err)
	}
	if got := r.Missing(relo); !strings.Contains(got, "BPF_CORE_READ_BITFIELD") {
		t.Errorf("%q does not say how to read it", got)
	}
}

// Bit-fields are read by the smallest aligned word of at least their type's size that
// holds them.
func TestBitfield(t *testing.T) {
	bits := func(offset, size int) btf.Type {
		return &btf.Struct{Name: "s", Size: 16, Members: []btf.Member{{Name: "f", Type: u32, Offset: btf.Bits(offset), BitfieldSize: btf.Bits(size)}}}
	}
	for _, c := range []struct {
		offset, size    int
		start, bytes    uint64
		left, right     uint64
		leftOfBigEndian uint64
	}{
		{0, 3, 0, 4, 61, 61, 32},
		{37, 5, 4, 4, 54, 59, 37},
		{30, 4, 0, 8, 30, 60, 30},
		{64, 32, 8, 4, 32, 32, 32},
	} {
		local := raw(t, bits(c.offset, c.size))
		r := New(local, &fakeKernel{types: local}, nil)
		r.local.Named(rawbtf.NewNames("s"), r.add)
		if local.Order() == binary.BigEndian {
			c.left = c.leftOfBigEndian
		}
		for kind, want := range map[Kind]uint64{FieldByteOffset: c.start, FieldByteSize: c.bytes, FieldLeftShift: c.left, FieldRightShift: c.right, FieldSigned: 0} {
			res, err := r.Resolve(Relocation{kind, 1, "0:0"})
			if err != nil || res.Value != want {
				t.Errorf("bits %d+%d: kind %d is %d, %v, want %d", c.offset, c.size, kind, res.Value, err, want)
			}
		}
	}
}

func TestPatch(t *testing.T) {
	const (
		mov   = 0xb7 // r0 = imm
		movR  = 0xbf
		ldw   = 0x61 // r0 = *(u32 *)(r1 + off)
		ldb   = 0x71
		ldx   = 0x79
		stw   = 0x62
		ld64  = 0x18
		call  = 0x85
		large = 1 << 40
	)
	for name, c := range map[string]struct {
		res     Result
		ins     Instruction
		want    Instruction
		poison  bool
		problem string
	}{
		"immediate":            {Result{Value: 7, local: 3, check: true}, Instruction{Code: mov, Imm: 3}, Instruction{Code: mov, Imm: 7}, false, ""},
		"large value":          {Result{Value: large, local: 3, check: true}, Instruction{Code: ld64, Imm: 3}, Instruction{Code: ld64, Imm: large}, false, ""},
		"offset":               {Result{Value: 8, local: 4, check: true}, Instruction{Code: stw, Offset: 4}, Instruction{Code: stw, Offset: 8}, false, ""},
		"narrowed":             {Result{Value: 8, local: 4, check: true, size: 1, localSize: 8}, Instruction{Code: ldx, Offset: 4}, Instruction{Code: ldb, Offset: 8}, false, ""},
		"widened":              {Result{Value: 8, local: 4, check: true, size: 8, localSize: 4}, Instruction{Code: ldw, Offset: 4}, Instruction{Code: ldx, Offset: 8}, false, ""},
		"missing":              {Result{Poison: true}, Instruction{Code: ldw}, Instruction{Code: ldw}, true, ""},
		"misread":              {Result{Value: 8, size: 1, localSize: 4, unsafe: true}, Instruction{Code: ldw}, Instruction{Code: ldw}, true, ""},
		"its offset is moved":  {Result{Value: 8, size: 1, localSize: 4, unsafe: true}, Instruction{Code: mov}, Instruction{Code: mov, Imm: 8}, false, ""},
		"another value":        {Result{Value: 8, local: 4, check: true}, Instruction{Code: mov, Imm: 5}, Instruction{}, false, "the instruction has 5, and the type says 4"},
		"too far":              {Result{Value: 40000}, Instruction{Code: ldw}, Instruction{}, false, "offset 40000 in the kernel"},
		"odd size":             {Result{Value: 8, size: 3, localSize: 4}, Instruction{Code: ldw}, Instruction{}, false, "takes 3 bytes"},
		"register":             {Result{}, Instruction{Code: movR}, Instruction{}, false, "is damaged"},
		"call":                 {Result{}, Instruction{Code: call}, Instruction{}, false, "is damaged"},
		"address of a map":     {Result{}, Instruction{Code: ld64, Src: 1}, Instruction{}, false, "is damaged"},
		"size of another load": {Result{Value: 8, size: 1, localSize: 4}, Instruction{Code: ldx}, Instruction{}, false, "is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.ins
			poison, err := c.res.Patch(&got)
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("got %v, want %q", err, c.problem)
				}
				return
			}
			if err != nil || poison != c.poison || got != c.want {
				t.Errorf("got %+v, poison %v, %v, want %+v, %v", got, poison, err, c.want, c.poison)
			}
		})
	}
}

func TestTypesMatch(t *testing.T) {
	pointer := func(to btf.Type) btf.Type { return &btf.Pointer{Target: to} }
	a := structOf("a", btf.Member{Name: "x", Type: i32})
	other := structOf("other", btf.Member{Name: "x", Type: i32})
	holder := func(m btf.Type) btf.Type { return structOf("s", btf.Member{Name: "m", Type: m}) }
	for name, c := range map[string]struct {
		local, target     btf.Type
		match, compatible bool
	}{
		"same":                    {holder(i32), holder(i32), true, true},
		"more in the kernel":      {holder(i32), structOf("s", btf.Member{Name: "z", Type: u64}, btf.Member{Name: "m", Type: i32}), true, true},
		"less in the kernel":      {structOf("s", btf.Member{Name: "z", Type: u64}, btf.Member{Name: "m", Type: i32}), holder(i32), false, true},
		"another sign":            {holder(i32), holder(u32), false, true},
		"another width":           {holder(u32), holder(u64), false, true},
		"pointer to a struct":     {holder(pointer(a)), holder(pointer(structOf("a", btf.Member{Name: "y", Type: i32}))), true, true},
		"pointer to another":      {holder(pointer(a)), holder(pointer(other)), false, true},
		"pointer to declared":     {holder(pointer(a)), holder(pointer(&btf.Fwd{Name: "a", Kind: btf.FwdStruct})), true, true},
		"pointer to a union":      {holder(pointer(a)), holder(pointer(&btf.Fwd{Name: "a", Kind: btf.FwdUnion})), false, true},
		"array of another length": {holder(&btf.Array{Index: u32, Type: char, Nelems: 4}), holder(&btf.Array{Index: u32, Type: char, Nelems: 5}), false, true},
		"struct and union":        {holder(i32), &btf.Union{Name: "s", Size: 4}, false, false},
		"function":                {&btf.Typedef{Name: "f", Type: pointer(&btf.FuncProto{Return: i32, Params: []btf.FuncParam{{Type: u32}}})}, &btf.Typedef{Name: "f", Type: pointer(&btf.FuncProto{Return: i32, Params: []btf.FuncParam{{Type: u64}}})}, false, true},
		"function of more":        {&btf.Typedef{Name: "f", Type: pointer(&btf.FuncProto{Return: i32})}, &btf.Typedef{Name: "f", Type: pointer(&btf.FuncProto{Return: i32, Params: []btf.FuncParam{{Type: u64}}})}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			local, target := raw(t, c.local).At(1), raw(t, c.target).At(1)
			if got := typesMatch(local, target); got != c.match {
				t.Errorf("match is %v, want %v", got, c.match)
			}
			if got := Compatible(local, target); got != c.compatible {
				t.Errorf("compatible is %v, want %v", got, c.compatible)
			}
		})
	}
}

func FuzzResolve(f *testing.F) {
	local := structOf("s", btf.Member{Name: "a", Type: i32}, btf.Member{Name: "v", Type: &btf.Array{Index: u32, Type: char, Nelems: 4}})
	b, err := btf.NewBuilder([]btf.Type{local}, nil)
	if err != nil {
		f.Fatal(err)
	}
	data, err := b.Marshal(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	for kind := range uint32(14) {
		for _, access := range []string{"0", "0:1:2"} {
			f.Add(data, data, kind, uint32(1), access)
		}
	}
	f.Fuzz(func(t *testing.T, local, kernel []byte, kind, id uint32, access string) {
		types, err := rawbtf.New(local, nil)
		if err != nil {
			return
		}
		kernelTypes, err := rawbtf.New(kernel, nil)
		if err != nil {
			return
		}
		relo := Relocation{Kind(kind % 14), id, access}
		r := New(types, &fakeKernel{types: kernelTypes, modules: []*rawbtf.Types{kernelTypes}}, []Relocation{relo})
		res, err := r.Resolve(relo)
		if err != nil {
			return
		}
		r.Describe(relo)
		r.Missing(relo)
		for _, code := range []uint8{0x61, 0x62, 0x18, 0xb7} {
			_, _ = res.Patch(&Instruction{Code: code})
		}
	})
}
