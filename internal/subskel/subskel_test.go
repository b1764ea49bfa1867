package subskel

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

var (
	s32   = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	u32   = &btf.Int{Name: "unsigned int", Size: 4}
	u64   = &btf.Int{Name: "unsigned long long", Size: 8}
	char  = &btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}
	index = &btf.Int{Name: "__ARRAY_SIZE_TYPE__", Size: 4}
)

func array(t btf.Type, n uint32) *btf.Array { return &btf.Array{Index: index, Type: t, Nelems: n} }
func ptr(t btf.Type) *btf.Pointer           { return &btf.Pointer{Target: t} }

func fields(members ...btf.Member) []btf.Member { return members }

func at(name string, offset btf.Bits, t btf.Type) btf.Member {
	return btf.Member{Name: name, Type: t, Offset: offset * 8}
}

// object has what a test gives it.
type object struct {
	order binary.ByteOrder
	vars  map[string]ObjectVar
	maps  map[string]MapDef
	ops   map[string]btf.Type
	progs map[string]Prog
}

func (o *object) Name() string                           { return "final.bpf.o" }
func (o *object) Order() binary.ByteOrder                { return o.order }
func (o *object) Var(name string) (v ObjectVar, ok bool) { v, ok = o.vars[name]; return v, ok }
func (o *object) Map(name string) (m MapDef, ok bool)    { m, ok = o.maps[name]; return m, ok }
func (o *object) StructOps(name string) (t btf.Type, ok bool) {
	t, ok = o.ops[name]
	return t, ok
}
func (o *object) Prog(name string) (p Prog, ok bool) { p, ok = o.progs[name]; return p, ok }

// carry sends the library through the form that generated code has.
func carry(t *testing.T, lib *Library) *Library {
	t.Helper()
	if lib.Order == nil {
		lib.Order = binary.LittleEndian
	}
	raw, err := lib.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := lib.Marshal()
	if err != nil || !slices.Equal(raw, again) {
		t.Errorf("Marshal is not the same the second time, error %v", err)
	}
	out, err := Unmarshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	out.Name, out.Progs = lib.Name, lib.Progs
	return out
}

// check compares a library with an object, and wants one answer from the library
// itself and from what generated code carries of it.
func check(t *testing.T, lib *Library, obj Object) error {
	t.Helper()
	direct, carried := Check(lib, obj), Check(carry(t, lib), obj)
	if (direct == nil) != (carried == nil) {
		t.Errorf("the library itself: %v; as carried: %v", direct, carried)
	}
	return carried
}

func TestTypes(t *testing.T) {
	small := &btf.Struct{Name: "small", Size: 4, Members: fields(at("a", 0, s32))}
	node := &btf.Struct{Name: "node", Size: 16}
	node.Members = fields(at("next", 0, ptr(node)), at("small", 8, small))
	otherNode := &btf.Struct{Name: "node", Size: 24}
	otherNode.Members = fields(at("next", 0, ptr(otherNode)), at("small", 8, small), at("more", 16, u64))
	anonymous := &btf.Struct{Size: 4, Members: fields(at("a", 0, s32))}
	mode := func(size uint32, values ...btf.EnumValue) *btf.Enum {
		return &btf.Enum{Name: "mode", Size: size, Values: values}
	}
	off, on := btf.EnumValue{Name: "OFF"}, btf.EnumValue{Name: "ON", Value: 1}
	function := func(ret btf.Type, params ...btf.Type) *btf.FuncProto {
		f := &btf.FuncProto{Return: ret}
		for _, p := range params {
			f.Params = append(f.Params, btf.FuncParam{Name: "p", Type: p})
		}
		return f
	}
	void := (*btf.Void)(nil)
	for _, tt := range []struct {
		name    string
		library btf.Type
		object  btf.Type
		want    string // empty when they are equal
	}{
		{"same", s32, s32, ""},
		{"sign", s32, u32, "has int in .data, the object has unsigned int in .data"},
		{"typedef", &btf.Typedef{Name: "u32", Type: u32}, &btf.Typedef{Name: "__u32", Type: &btf.Typedef{Name: "x", Type: u32}}, ""},
		{"qualifiers", &btf.Volatile{Type: s32}, s32, ""},
		{"array", array(s32, 4), array(s32, 4), ""},
		{"length", array(s32, 4), array(s32, 5), "has int[4] in .data, the object has int[5] in .data"},
		{"element", array(s32, 4), array(u32, 4), "has int[4] of int in .data, the object has unsigned int[4] of unsigned int in .data"},
		{"struct", node, &btf.Struct{Name: "node", Size: 16, Members: node.Members}, ""},
		{"tag", small, &btf.Struct{Name: "little", Size: 4, Members: small.Members}, "has struct small in .data, the object has struct little in .data"},
		{"union", small, &btf.Union{Name: "small", Size: 4, Members: small.Members}, "has struct small in .data, the object has union small in .data"},
		{"members", node, otherNode, "has struct node of 16 bytes in .data, the object has struct node of 24 bytes in .data"},
		{"number of members", node, &btf.Struct{Name: "node", Size: 16, Members: node.Members[:1]}, "has struct node with 2 members in .data"},
		{"name of a member", small, &btf.Struct{Name: "small", Size: 4, Members: fields(at("b", 0, s32))}, "has struct small with a at offset 0 in .data, the object has struct small with b at offset 0"},
		{"bit-field", small, &btf.Struct{Name: "small", Size: 4, Members: []btf.Member{{Name: "a", Type: s32, BitfieldSize: 3}}}, "the object has struct small with a at bit 0, 3 bits wide"},
		{"type of a member", small, &btf.Struct{Name: "small", Size: 4, Members: fields(at("a", 0, u32))}, "has struct small with a as int in .data, the object has struct small with a as unsigned int"},
		{"behind a pointer", ptr(node), ptr(otherNode), ""},
		{"name behind a pointer", ptr(node), ptr(small), "has struct node * in .data, the object has struct small * in .data"},
		{"forward", ptr(node), ptr(&btf.Fwd{Name: "node", Kind: btf.FwdStruct}), ""},
		{"forward of a union", ptr(node), ptr(&btf.Fwd{Name: "node", Kind: btf.FwdUnion}), "the object has union node *"},
		{"forward in the library", ptr(&btf.Fwd{Name: "node", Kind: btf.FwdStruct}), ptr(node), ""},
		{"anonymous behind a pointer", ptr(anonymous), ptr(&btf.Struct{Size: 8}), ""},
		{"kind behind a pointer", ptr(anonymous), ptr(&btf.Union{Size: 8}), "has struct {...} * in .data, the object has union {...} *"},
		{"pointer to void", ptr(void), ptr(void), ""},
		{"pointer to something", ptr(void), ptr(s32), "has void * in .data, the object has int *"},
		{"function pointer", ptr(function(s32, u32)), ptr(function(s32, u32)), ""},
		{"parameters", ptr(function(s32, u32)), ptr(function(s32, u32, u32)), "has int(unsigned int) * in .data, the object has int(unsigned int, unsigned int) *"},
		{"result", ptr(function(s32)), ptr(function(u32)), "has int() * in .data, the object has unsigned int() *"},
		{"enum", mode(4, off), mode(4, off), ""},
		{"more constants", mode(4, off), mode(4, on, off), ""},
		{"fewer constants", mode(4, off, on), mode(4, off), "has enum mode with ON in .data, the object has enum mode without it"},
		{"value of a constant", mode(4, on), mode(4, btf.EnumValue{Name: "ON", Value: 2}), "has enum mode with ON = 1 in .data, the object has enum mode with ON = 2"},
		{"size of an enum", mode(4, on), mode(1, on), "has enum mode in .data"},
		{"float", &btf.Float{Name: "float", Size: 4}, &btf.Float{Name: "float", Size: 4}, ""},
		{"float and int", &btf.Float{Name: "float", Size: 4}, s32, "has float in .data, the object has int"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lib := &Library{Name: "lib.o", Vars: []Var{{Name: "v", Section: ".data", Size: 16, Type: tt.library}}}
			obj := &object{vars: map[string]ObjectVar{"v": {Section: ".data", Size: 16, Type: tt.object}}}
			err := check(t, lib, obj)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), "v: library lib.o "+tt.want) && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			// As a value of a map.
			asMap := &Library{Name: "lib.o", Maps: []Map{{Name: "m", MapDef: MapDef{Type: 1, Value: tt.library}}}}
			inMap := &object{maps: map[string]MapDef{"m": {Type: 1, Value: tt.object}}}
			if err := check(t, asMap, inMap); (err == nil) != (tt.want == "") {
				t.Errorf("as a map's value: %v", err)
			}
		})
	}
}

func TestVariables(t *testing.T) {
	packed := &btf.Struct{Name: "packed", Size: 5, Members: fields(at("c", 0, char), at("n", 1, s32))}
	for _, tt := range []struct {
		name    string
		library Var
		object  *ObjectVar
		want    string
	}{
		{"same", Var{Section: ".data", Size: 4, Type: s32}, &ObjectVar{".data", 8, 4, s32}, ""},
		{"other section", Var{Section: ".bss", Size: 4, Type: s32}, &ObjectVar{".data.x", 8, 4, s32}, ""},
		{"missing", Var{Section: ".bss", Size: 4, Type: s32}, nil, "has int of 4 bytes in .bss, the object has no variable of this name that is neither static nor hidden: link the library into the object"},
		{"weak and missing", Var{Section: Extern, Size: 4, Type: s32, Weak: true}, nil, ""},
		{"weak and of another type", Var{Section: Extern, Size: 4, Type: s32, Weak: true}, &ObjectVar{".data", 0, 4, u32}, "has int as extern, the object has unsigned int in .data"},
		{"extern", Var{Section: Extern, Size: 4, Type: s32}, nil, "has int of 4 bytes as extern, the object has no variable of this name that is neither static nor hidden: define it in one of the object's files"},
		{"size", Var{Section: ".bss", Size: 1, Type: char}, &ObjectVar{".bss", 0, 8, char}, "has char of 1 byte in .bss, the object has char of 8 bytes in .bss: build both"},
		{"kconfig", Var{Section: Kconfig, Size: 4, Type: s32}, &ObjectVar{Kconfig, 0, 4, s32}, ""},
		{"no kconfig", Var{Section: Kconfig, Size: 4, Type: s32}, &ObjectVar{".rodata", 0, 4, s32}, "in .kconfig, the object has int of 4 bytes in .rodata: give one"},
		{"arena", Var{Section: Arena, Size: 4, Type: s32}, &ObjectVar{Arena, 0, 4, s32}, ""},
		{"no arena", Var{Section: Arena, Size: 4, Type: s32}, &ObjectVar{".data", 0, 4, s32}, "in .addr_space.1, the object has int of 4 bytes in .data: give one"},
		{"read-only", Var{Section: ".data", Size: 4, Type: s32}, &ObjectVar{".rodata", 0, 4, s32}, "which is read-only: declare it const in the library"},
		{"extern read-only", Var{Section: Extern, Size: 4, Type: s32}, &ObjectVar{".rodata.x", 0, 4, s32}, "which is read-only: declare it const in the library"},
		{"extern const", Var{Section: Extern, Size: 8, Type: array(&btf.Typedef{Name: "t", Type: &btf.Const{Type: s32}}, 2)}, &ObjectVar{".rodata", 0, 8, array(s32, 2)}, ""},
		{"writable there", Var{Section: ".rodata", Size: 4, Type: s32}, &ObjectVar{".data", 0, 4, s32}, ""},
		{"alignment", Var{Section: ".data", Size: 8, Type: u64}, &ObjectVar{".data", 12, 8, u64}, "the object has it at offset 12 of .data: define it there with an alignment of 8 bytes"},
		{"packed", Var{Section: ".data", Size: 5, Type: packed}, &ObjectVar{".data", 3, 5, packed}, ""},
		{"no type", Var{Section: ".data", Size: 4, Type: s32}, &ObjectVar{".data", 4, 4, nil}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.library.Name = "v"
			obj := &object{vars: make(map[string]ObjectVar)}
			if tt.object != nil {
				obj.vars["v"] = *tt.object
			}
			err := check(t, &Library{Name: "lib.o", Vars: []Var{tt.library}}, obj)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestMapsAndPrograms(t *testing.T) {
	lib := &Library{
		Name: "lib.o",
		Maps: []Map{
			{Name: "equal", MapDef: MapDef{Type: 1, KeySize: 4, ValueSize: 8, Key: u32, Value: u64}},
			{Name: "kind", MapDef: MapDef{Type: 1, KeySize: 4}},
			{Name: "key", MapDef: MapDef{Type: 1, KeySize: 4}},
			{Name: "value", MapDef: MapDef{Type: 1, ValueSize: 4, Value: u32}},
			{Name: "inner", MapDef: MapDef{Type: 12, Inner: &MapDef{Type: 1, KeySize: 4}}},
			{Name: "missing", MapDef: MapDef{Type: 99}},
			{Name: "optional", MapDef: MapDef{Type: 1}, Weak: true},
			{Name: "unknown"},
		},
		Progs: []Prog{{"same", "xdp"}, {"optional_load", "?tc"}, {"target", "kprobe/a"}, {"type", "kprobe/a"}, {"gone", "xdp"}},
	}
	obj := &object{
		maps: map[string]MapDef{
			"equal":   {Type: 1, KeySize: 4, ValueSize: 8, Key: u32, Value: &btf.Typedef{Name: "u64", Type: u64}},
			"kind":    {Type: 9, KeySize: 4},
			"key":     {Type: 1, KeySize: 8},
			"value":   {Type: 1, ValueSize: 4, Value: s32},
			"inner":   {Type: 12, Inner: &MapDef{Type: 2, KeySize: 4}},
			"unknown": {Type: 3},
		},
		progs: map[string]Prog{"same": {"same", "xdp"}, "optional_load": {"optional_load", "tc"}, "target": {"target", "kprobe/b"}, "type": {"type", "kretprobe/a"}},
	}
	err := check(t, lib, obj)
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatal(err)
	}
	want := `final.bpf.o does not have what library lib.o needs:
	kind: library lib.o has a map of BPF_MAP_TYPE_HASH, the object has one of BPF_MAP_TYPE_LRU_HASH: build both from the same sources, or give one of the two another name
	key: library lib.o has a map with keys of 4 bytes, the object has one with keys of 8 bytes: build both from the same sources, or give one of the two another name
	value: library lib.o has a map with values that are unsigned int, the object has one with values that are int: build both from the same sources, or give one of the two another name
	inner: library lib.o has as inner map a map of BPF_MAP_TYPE_HASH, the object has as inner map one of BPF_MAP_TYPE_ARRAY: build both from the same sources, or give one of the two another name
	missing: library lib.o has a map of map type 99, the object has no map of this name: link the library into the object
	type: library lib.o has a program, SEC("kprobe/a"), the object has one with SEC("kretprobe/a"): give one of the two programs another name
	gone: library lib.o has a program, SEC("xdp"), the object has no program of this name: link the library into the object`
	if err.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", err, want)
	}
	if len(mismatch.Unwrap()) != 7 {
		t.Errorf("%d errors in the list", len(mismatch.Unwrap()))
	}
}

func TestStructOps(t *testing.T) {
	callback := func(param btf.Type) btf.Type {
		return ptr(&btf.FuncProto{Return: s32, Params: []btf.FuncParam{{Name: "p", Type: param}}})
	}
	table := func(members ...btf.Member) btf.Type {
		return &btf.Struct{Name: "ops", Size: 16, Members: members}
	}
	library := table(at("call", 0, callback(s32)), at("weight", 8, u32))
	lib := &Library{Name: "lib.o"}
	for _, name := range []string{"same", "name", "member", "function", "no_function", "size", "missing"} {
		lib.StructOps = append(lib.StructOps, StructOps{name, library})
	}
	obj := &object{ops: map[string]btf.Type{
		"same":        table(at("call", 0, &btf.Typedef{Name: "call", Type: callback(s32)}), at("weight", 8, u32)),
		"name":        &btf.Struct{Name: "other_ops", Size: 16},
		"member":      table(at("weight", 0, u32), at("call", 8, callback(s32))),
		"function":    table(at("call", 0, callback(u32)), at("weight", 8, u32)),
		"no_function": table(at("call", 0, u64), at("weight", 8, u32)),
		"size":        &btf.Struct{Name: "ops", Size: 24},
	}}
	// A map of another kind is another map.
	obj.maps = map[string]MapDef{"missing": {Type: 1}}
	err := check(t, lib, obj)
	const want = `final.bpf.o does not have what library lib.o needs:
	name: library lib.o has a struct_ops map of struct ops, the object has one of struct other_ops: build both from the same sources, or give one of the two another name
	member: library lib.o has a struct_ops map of struct ops with call at offset 0, the object has one of struct ops with weight at offset 0: build both from the same sources, or give one of the two another name
	function: library lib.o has a struct_ops map of struct ops with call as int(int) *, the object has one of struct ops with call as int(unsigned int) *: build both from the same sources, or give one of the two another name
	no_function: library lib.o has a struct_ops map of struct ops with call as int(int) *, the object has one of struct ops with call as unsigned long long: build both from the same sources, or give one of the two another name
	size: library lib.o has a struct_ops map of struct ops of 16 bytes, the object has one of struct ops of 24 bytes: build both from the same sources, or give one of the two another name
	missing: library lib.o has a struct_ops map of struct ops, the object has no struct_ops map of this name: link the library into the object`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestByteOrder(t *testing.T) {
	err := Check(carry(t, &Library{Name: "lib.o", Order: binary.BigEndian}), &object{order: binary.LittleEndian})
	if err == nil || err.Error() != "final.bpf.o is little-endian, and library lib.o is big-endian: compile both for one target" {
		t.Errorf("got %v", err)
	}
	if err := Check(carry(t, &Library{Name: "lib.o", Order: binary.LittleEndian}), &object{order: binary.LittleEndian}); err != nil {
		t.Error(err)
	}
}

// Types that a compiler does not make, and that end all the same.
func TestHostileTypes(t *testing.T) {
	loop := &btf.Typedef{Name: "loop"}
	loop.Type = loop
	self := &btf.Struct{Name: "self", Size: 8}
	self.Members = fields(at("a", 0, self), at("b", 0, self))
	pointer := new(btf.Pointer)
	pointer.Target = pointer
	list := &btf.Array{Index: index, Nelems: 2}
	list.Type = ptr(list)
	arrays := &btf.Array{Index: index, Nelems: 1}
	arrays.Type = arrays
	// Each has the one before it twice: 2^60 members.
	deep := btf.Type(s32)
	for range 60 {
		deep = &btf.Struct{Name: "deep", Size: 4, Members: fields(at("a", 0, deep), at("b", 0, deep))}
	}
	// Two cycles that meet again after 5003 * 5009 steps.
	cycle := func(n int) btf.Type {
		first := new(btf.Pointer)
		next := btf.Type(first)
		for range n - 1 {
			next = &btf.Pointer{Target: next}
		}
		first.Target = next
		return first
	}
	lib := &Library{Name: "lib.o", Vars: []Var{{Name: "v", Section: ".data", Size: 8, Type: cycle(5003)}}}
	if err := Check(lib, &object{vars: map[string]ObjectVar{"v": {Section: ".data", Size: 8, Type: cycle(5009)}}}); err == nil {
		t.Error("types of no end are equal")
	}
	for name, typ := range map[string]btf.Type{"struct": self, "pointer": pointer, "array": list, "arrays": arrays, "deep": deep, "typedef": loop, "function": &btf.Func{Name: "f", Type: &btf.FuncProto{Return: s32}}} {
		t.Run(name, func(t *testing.T) {
			lib := &Library{Name: "lib.o", Order: binary.LittleEndian, Vars: []Var{{Name: "v", Section: ".data", Size: 8, Type: typ}}}
			obj := &object{vars: map[string]ObjectVar{"v": {Section: ".data", Size: 8, Type: typ}}}
			_ = Check(lib, obj)
			if name == "struct" || name == "arrays" {
				return // BTF of it cannot be written.
			}
			_ = Check(carry(t, lib), obj)
		})
	}
}

func TestMapInsideItself(t *testing.T) {
	def := new(btf.Struct)
	def.Members = fields(at("inner", 0, def))
	if _, err := readMapDef(def, 0); !errors.Is(err, errDamaged) {
		t.Errorf("got %v", err)
	}
	// Each has the one before it twice: 2^60 maps.
	def = new(btf.Struct)
	for range 60 {
		def = &btf.Struct{Members: fields(at("inner", 0, def), at("inner", 0, def))}
	}
	if _, err := readMapDef(def, 0); !errors.Is(err, errDamaged) {
		t.Errorf("got %v", err)
	}
}

// A description that is not one is an error, and no panic.
func FuzzUnmarshal(f *testing.F) {
	lib := &Library{Order: binary.LittleEndian,
		Vars:      []Var{{Name: "v", Section: ".data", Size: 4, Type: s32}, {Name: "w", Section: Extern, Size: 4, Type: u32, Weak: true}},
		Maps:      []Map{{Name: "m", MapDef: MapDef{Type: 1, KeySize: 4, Key: u32, Inner: &MapDef{Type: 2}}}},
		StructOps: []StructOps{{Name: "s", Type: &btf.Struct{Name: "ops", Size: 8}}},
	}
	raw, err := lib.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		lib, err := Unmarshal(data)
		if err == nil {
			_ = Check(lib, &object{})
		}
	})
}
