package rawbtf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

var orders = []binary.ByteOrder{binary.LittleEndian, binary.BigEndian}

// sample returns a builder of BTF that has a type of each kind.
func sample(order binary.ByteOrder) *Builder {
	b := NewBuilder(order, nil)
	number := b.AddInt("int", 4)
	pointer := b.Add(0, Ptr, 0, number)
	array := b.Add(0, Array, 0, 0, pointer, number, 3)
	s := b.Add(b.Intern("s"), Struct, Flagged|2, 32,
		b.Intern("bits"), number, 5<<24|2, b.Intern("list"), array, 64)
	b.Add(b.Intern("u"), Union, 1, 4, b.Intern("n"), number, 0)
	b.Add(b.Intern("e"), Enum, Flagged|1, 4, b.Intern("A"), 0xffffffff)
	b.Add(b.Intern("e64"), Enum64, 1, 8, b.Intern("B"), 1, 2)
	b.Add(b.Intern("f"), Fwd, Flagged, 0)
	named := b.Add(b.Intern("s_t"), Typedef, 0, s)
	qualified := b.Add(0, Const, 0, b.Add(0, Volatile, 0, b.Add(0, Restrict, 0, b.Add(b.Intern("user"), TypeTag, 0, named))))
	proto := b.Add(0, FuncProto, 2, number, b.Intern("p"), pointer, 0, qualified)
	fn := b.Add(b.Intern("fn"), Func, uint32(Global), proto)
	b.Add(b.Intern("tag"), DeclTag, 0, fn, 1)
	b.Add(b.Intern("double"), Float, 0, 8)
	v := b.AddVar("v", Static, s)
	w := b.AddVar("w", Extern, number)
	b.AddDatasec(".data", 36, []Secinfo{{v, 0, 32}, {w, 32, 4}})
	return b
}

func mustBytes(t testing.TB, b *Builder) []byte {
	t.Helper()
	raw, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// text describes all types, with their names.
func text(types *Types) string {
	var b strings.Builder
	for id := types.First(); id < types.Len(); id++ {
		t := types.At(id)
		fmt.Fprintf(&b, "%d %v %q %d %v:", id, t.Kind(), t.Name(), t.Vlen(), t.Flag())
		switch t.Kind() {
		case Struct, Union:
			for i := range t.Vlen() {
				fmt.Fprintf(&b, " %+v", t.Member(i))
			}
		case Enum, Enum64:
			for i := range t.Vlen() {
				name, value := t.Value(i)
				fmt.Fprintf(&b, " %s=%d", name, int64(value))
			}
		case FuncProto:
			for i := range t.Vlen() {
				fmt.Fprintf(&b, " %q %d", types.String(t.ParamNameOffset(i)), t.Param(i))
			}
			fmt.Fprintf(&b, " -> %d", t.Ref())
		case Datasec:
			for i := range t.Vlen() {
				fmt.Fprintf(&b, " %+v", t.Secinfo(i))
			}
		case Array:
			elem, n := t.Array()
			fmt.Fprintf(&b, " %d of %d", n, elem)
		case Var, Func:
			fmt.Fprintf(&b, " %d %d", t.Linkage(), t.Ref())
		case DeclTag:
			fmt.Fprintf(&b, " %d %d", t.Ref(), t.Component())
		default:
			fmt.Fprintf(&b, " %d", t.Ref())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

const sampleText = `1 integer "int" 0 false: 4
2 pointer "" 0 false: 1
3 array "" 0 false: 3 of 2
4 struct "s" 2 true: {Name:bits Type:1 Offset:2 Bits:5} {Name:list Type:3 Offset:64 Bits:0}
5 union "u" 1 false: {Name:n Type:1 Offset:0 Bits:0}
6 enum "e" 1 true: A=-1
7 enum "e64" 1 false: B=8589934593
8 forward declaration "f" 0 true: 0
9 typedef "s_t" 0 false: 4
10 type tag "user" 0 false: 9
11 restrict "" 0 false: 10
12 volatile "" 0 false: 11
13 const "" 0 false: 12
14 function type "" 2 false: "p" 2 "" 13 -> 1
15 function "fn" 1 false: 1 14
16 declaration tag "tag" 0 false: 15 1
17 float "double" 0 false: 8
18 variable "v" 0 false: 0 4
19 variable "w" 0 false: 2 1
20 section ".data" 2 false: {Type:18 Offset:0 Size:32} {Type:19 Offset:32 Size:4}
`

// What is built is read the same, in both byte orders, and by cilium/ebpf.
func TestBuilder(t *testing.T) {
	for _, order := range orders {
		b := sample(order)
		if got := text(b.Types()); got != sampleText {
			t.Errorf("%v: the builder has\n%s", order, got)
		}
		raw := mustBytes(t, b)
		for _, read := range []func([]byte, *Types) (*Types, error){New, Parse} {
			types, err := read(raw, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(types); got != sampleText || types.Order() != order {
				t.Errorf("%v: BTF has the order %v and\n%s", order, types.Order(), got)
			}
			if again := mustBytes(t, types.Edit()); !bytes.Equal(again, raw) {
				t.Errorf("%v: BTF is not the same when nothing is changed", order)
			}
		}
		spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		var ds *btf.Datasec
		if err := spec.TypeByName(".data", &ds); err != nil || len(ds.Vars) != 2 || ds.Vars[1].Type.TypeName() != "w" {
			t.Errorf("%v: cilium/ebpf reads %+v, %v", order, ds, err)
		}
	}
}

// Changes are those that were asked for, and none of what was edited.
func TestEdit(t *testing.T) {
	for _, order := range orders {
		raw := mustBytes(t, sample(order))
		types, err := New(raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		original := bytes.Clone(raw)
		b := types.Edit()
		elem := b.AddInt("new", 8)
		b.At(3).SetElem(elem)
		b.At(4).SetMember(0, RawMember{b.Intern("all"), elem, 64})
		b.At(4).SetName(b.Intern("renamed"))
		b.At(5).SetSize(8)
		b.At(9).SetRef(2)
		b.At(14).SetParam(1, b.Intern("q"), 1)
		b.At(15).SetLinkage(Static)
		b.At(17).SetKind(Const, 0)
		b.At(18).SetLinkage(Global)
		b.At(19).SetKind(Int, 0)
		b.At(19).SetSize(1)
		b.At(19).SetIntBits(8)
		b.At(20).SetSecinfo(1, Secinfo{18, 40, 2})
		composite := b.AddComposite(b.At(4).Type, []RawMember{b.At(4).RawMember(1)})
		copied := b.AddCopy(b.At(15).Type)
		b.At(copied).SetRef(0)
		want := strings.NewReplacer(
			"3 of 2", "3 of 21",
			`4 struct "s" 2 true: {Name:bits Type:1 Offset:2 Bits:5}`, `4 struct "renamed" 2 true: {Name:all Type:21 Offset:64 Bits:0}`,
			"9 typedef \"s_t\" 0 false: 4", "9 typedef \"s_t\" 0 false: 2",
			`"p" 2 "" 13 -> 1`, `"p" 2 "q" 1 -> 1`,
			`15 function "fn" 1 false: 1 14`, `15 function "fn" 0 false: 0 14`,
			`17 float`, `17 const`,
			`18 variable "v" 0 false: 0 4`, `18 variable "v" 0 false: 1 4`,
			`19 variable "w" 0 false: 2 1`, `19 integer "w" 0 false: 1`,
			"{Type:19 Offset:32 Size:4}", "{Type:18 Offset:40 Size:2}",
		).Replace(sampleText) + fmt.Sprintf(`21 integer "new" 0 false: 8
%d struct "renamed" 1 true: {Name:list Type:3 Offset:64 Bits:0}
%d function "fn" 0 false: 0 0
`, composite, copied)
		types2, err := Parse(mustBytes(t, b), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(types2); got != want {
			t.Errorf("%v: got\n%swant\n%s", order, got, want)
		}
		if n := types2.At(5).ByteSize(); n != 8 {
			t.Errorf("the union has %d bytes", n)
		}
		if n := types2.At(19).IntBits(); n != 8 {
			t.Errorf("the integer has %d bits", n)
		}
		if !bytes.Equal(raw, original) {
			t.Error("what was edited has changed")
		}
		// Void is nothing that could be changed.
		b.At(0).SetName(1)
		b.At(1 << 20).SetLinkage(Global)
	}
}

// The BTF of a module goes on where that of the kernel ends.
func TestSplit(t *testing.T) {
	for _, order := range orders {
		kernel, err := Parse(mustBytes(t, sample(order)), nil)
		if err != nil {
			t.Fatal(err)
		}
		b := NewBuilder(order, kernel)
		id := b.Add(b.Intern("of_module"), Typedef, 0, 4)
		b.Add(0, Ptr, 0, id)
		if id != kernel.Len() {
			t.Errorf("the first type is %d, want %d", id, kernel.Len())
		}
		raw := mustBytes(t, b)
		module, err := Parse(raw, kernel)
		if err != nil {
			t.Fatal(err)
		}
		if got := module.At(id + 1).Elem(); got.Name() != "of_module" || got.Elem().Name() != "s" || module.First() != id {
			t.Errorf("%q is a name of %q", got.Name(), got.Elem().Name())
		}
		if again := mustBytes(t, module.Edit()); !bytes.Equal(again, raw) {
			t.Error("BTF of a module is not the same when nothing is changed")
		}
		// The kernel's types are not the module's to change.
		b.At(4).SetName(0)
		if kernel.At(4).Name() != "s" {
			t.Error("a type of the kernel has changed")
		}
	}
	little, err := Parse(mustBytes(t, sample(binary.LittleEndian)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(mustBytes(t, sample(binary.BigEndian)), little); !errors.Is(err, ErrDamaged) {
		t.Errorf("another byte order than the base: %v", err)
	}
}

// What a type refers to, and the same with other IDs and strings.
func TestRewrite(t *testing.T) {
	for _, order := range orders {
		types := sample(order).Types()
		for id := uint32(1); id < types.Len(); id++ {
			typ := types.At(id)
			var refs, names []uint32
			if err := typ.Walk(func(id uint32) { refs = append(refs, id) }, func(off uint32) { names = append(names, off) }); err != nil {
				t.Fatal(err)
			}
			if got := typ.References(nil); !slices.Equal(got, refs) {
				t.Errorf("type %d: refers to %v and to %v", id, got, refs)
			}
			for _, off := range names {
				if !types.HasString(off) {
					t.Errorf("type %d: there is no string at %d", id, off)
				}
			}
			moved, err := typ.Rewrite(func(id uint32) uint32 { return id + 1000 }, func(off uint32) uint32 { return off + 2000 })
			if err != nil {
				t.Fatal(err)
			}
			var gotRefs, gotNames []uint32
			_ = moved.Walk(func(id uint32) { gotRefs = append(gotRefs, id-1000) }, func(off uint32) { gotNames = append(gotNames, off-2000) })
			if !slices.Equal(gotRefs, refs) || !slices.Equal(gotNames, names) {
				t.Errorf("type %d: %v %v, want %v %v", id, gotRefs, gotNames, refs, names)
			}
			if len(moved.Raw()) != len(typ.Raw()) || moved.Kind() != typ.Kind() || moved.Vlen() != typ.Vlen() {
				t.Errorf("type %d is another one", id)
			}
		}
		if text(types) != sampleText {
			t.Error("the types themselves have changed")
		}
	}
	b := NewBuilder(binary.LittleEndian, nil)
	newer := b.Add(0, numKinds, 0, 0)
	if _, err := b.At(newer).Rewrite(nil, func(off uint32) uint32 { return off }); !errors.Is(err, ErrNewer) {
		t.Errorf("a kind that nobody knows: %v", err)
	}
}

// What is not BTF, or cut short, is told apart.
func TestErrors(t *testing.T) {
	raw := mustBytes(t, sample(binary.LittleEndian))
	head := func(change func(b []byte)) []byte {
		b := bytes.Clone(raw)
		change(b)
		return b
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":              {nil, ErrNotBTF},
		"text":                 {[]byte("what is this, which is no BTF"), ErrNotBTF},
		"magic alone":          {raw[:2], ErrDamaged},
		"header cut":           {raw[:HeaderSize-1], ErrDamaged},
		"types cut":            {raw[:HeaderSize+10], ErrDamaged},
		"length of the header": {head(func(b []byte) { b[4] = 23 }), ErrDamaged},
		"types beyond the end": {head(func(b []byte) { b[11] = 1 }), ErrDamaged},
		"strings beyond":       {head(func(b []byte) { b[23] = 0xff }), ErrDamaged},
		"part of a type":       {head(func(b []byte) { b[12]-- }), ErrDamaged},
		"no strings":           {head(func(b []byte) { binary.LittleEndian.PutUint32(b[20:], 0) }), ErrDamaged},
	} {
		if _, err := Parse(c.data, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := New(head(func(b []byte) { b[12]-- }), nil); err != nil {
		t.Errorf("New has looked at the types: %v", err)
	}
}

func TestKindNames(t *testing.T) {
	for k := range numKinds + 1 {
		if k.String() == "" {
			t.Errorf("kind %d has no name", uint8(k))
		}
	}
	if got := numKinds.String(); got != "kind 20" {
		t.Errorf("a kind that nobody knows is %q", got)
	}
}

// FuzzEdit: what is built from damaged BTF is read, with the types that were whole.
func FuzzEdit(f *testing.F) {
	for _, order := range orders {
		f.Add(mustBytes(f, sample(order)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		types, err := New(data, nil)
		if err != nil {
			return
		}
		b := types.Edit()
		for id := range min(b.Len(), 100) {
			e := b.At(id)
			e.SetName(b.Intern("x"))
			e.SetKind(e.Kind(), uint32(e.Vlen()))
			e.SetRef(e.Ref())
			e.SetLinkage(e.Linkage())
			for i := range min(e.Vlen(), 20) {
				e.SetSecinfo(i, e.Secinfo(i))
				e.SetMember(i, e.RawMember(i))
				e.SetParam(i, e.ParamNameOffset(i), e.Param(i))
			}
			if moved, err := e.Rewrite(func(id uint32) uint32 { return id }, func(off uint32) uint32 { return off }); err == nil {
				b.AddCopy(moved.Type)
			}
		}
		n := b.Len()
		raw, err := b.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := New(raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		if again.Len() != n {
			t.Errorf("%d types are read, %d were built", again.Len(), n)
		}
	})
}

func FuzzExt(f *testing.F) {
	ext := &Ext{
		Funcs: []ExtSection[FuncInfo]{{1, []FuncInfo{{0, 15}}}},
		Lines: []ExtSection[LineInfo]{{1, []LineInfo{{0, 1, 2, 3<<10 | 4}}}},
		Relos: []ExtSection[CoreRelo]{{1, []CoreRelo{{8, 4, 5, 0}}}},
	}
	for _, order := range orders {
		raw, err := ext.Bytes(order)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, order == binary.BigEndian)
	}
	f.Fuzz(func(t *testing.T, data []byte, big bool) {
		order := orders[0]
		if big {
			order = orders[1]
		}
		ext, err := ParseExt(data, order)
		if err != nil {
			return
		}
		raw, err := ext.Bytes(order)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseExt(raw, order)
		if err != nil {
			t.Fatal(err)
		}
		once, _ := again.Bytes(order)
		if !bytes.Equal(once, raw) {
			t.Error("what was written is written otherwise when it is read")
		}
	})
}
