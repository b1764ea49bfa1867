package mapdecl_test

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/mapdecl"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// raw returns the type as it is in BTF.
func raw(t testing.TB, order binary.ByteOrder, typ btf.Type) rawbtf.Type {
	t.Helper()
	b, err := btf.NewBuilder([]btf.Type{Typedef("it", typ)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := b.Marshal(nil, &btf.MarshalOptions{Order: order})
	if err != nil {
		t.Fatal(err)
	}
	types, err := rawbtf.Parse(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	it, ok := types.Find("it", rawbtf.Typedef)
	if !ok {
		t.Fatal("no typedef")
	}
	return it.Elem()
}

func number(n uint32) btf.Type { return Ptr(Array(S32, n)) }

func long(n uint64) btf.Type {
	return &btf.Enum{Name: "", Size: 8, Values: []btf.EnumValue{V("unused", n)}}
}

// decl returns a declaration of a type of maps, with members beside that.
func decl(typ uint32, members ...btf.Member) *btf.Struct {
	return Struct("", append([]btf.Member{M("type", number(typ))}, members...)...)
}

func values(elem btf.Type) btf.Member { return M("values", Array(Ptr(elem), 0)) }

var (
	inner    = decl(2, M("key", Ptr(U32)), M("value", Ptr(U64)), M("max_entries", number(8)))
	function = &btf.FuncProto{Return: S32}
)

func TestRead(t *testing.T) {
	readInner := &mapdecl.Map{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 8}
	for name, c := range map[string]struct {
		typ  btf.Type
		want mapdecl.Map
		// valueBytes is the size of the values.
		valueBytes uint32
	}{
		"all numbers": {
			decl(1, M("key_size", number(8)), M("value_size", number(16)), M("max_entries", number(7)), M("map_flags", number(1)),
				M("numa_node", number(2)), M("pinning", number(1)), M("map_extra", number(3))),
			mapdecl.Map{Type: ebpf.Hash, KeySize: 8, ValueSize: 16, MaxEntries: 7, Flags: 1, NUMANode: 2, Pinning: 1, Extra: 3}, 16,
		},
		"64 bits":         {decl(33, M("map_extra", long(1<<44))), mapdecl.Map{Type: ebpf.Arena, Extra: 1 << 44}, 0},
		"types":           {decl(1, M("key", Ptr(U16)), M("value", Ptr(Array(U32, 3)))), mapdecl.Map{Type: ebpf.Hash, KeySize: 2, ValueSize: 12}, 12},
		"type and size":   {decl(1, M("key", Ptr(U16)), M("key_size", number(2))), mapdecl.Map{Type: ebpf.Hash, KeySize: 2}, 0},
		"names of a type": {Typedef("map_t", Const(Volatile(decl(2)))), mapdecl.Map{Type: ebpf.Array}, 0},
		"names of a number": {
			decl(2, M("max_entries", Typedef("n_t", Const(number(9))))), mapdecl.Map{Type: ebpf.Array, MaxEntries: 9}, 0,
		},
		"a type that is newer": {decl(1000), mapdecl.Map{Type: 1000}, 0},
		"map of maps": {
			decl(12, values(inner)), mapdecl.Map{Type: ebpf.ArrayOfMaps, Values: &mapdecl.Values{Offset: 8, Inner: readInner}}, 4,
		},
		"map of maps with a size, and names": {
			decl(13, M("value_size", number(4)), values(Typedef("inner_t", inner))),
			mapdecl.Map{Type: ebpf.HashOfMaps, ValueSize: 4, Values: &mapdecl.Values{Offset: 16, Inner: readInner}}, 4,
		},
		"map of maps without values": {decl(13), mapdecl.Map{Type: ebpf.HashOfMaps}, 0},
		"programs":                   {decl(3, values(function)), mapdecl.Map{Type: ebpf.ProgramArray, Values: &mapdecl.Values{Offset: 8}}, 4},
	} {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			typ := raw(t, order, c.typ)
			got, err := mapdecl.Read(typ)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if n := got.ValueBytes(); n != c.valueBytes {
				t.Errorf("%s: values have %d bytes, want %d", name, n, c.valueBytes)
			}
			if strings.HasSuffix(name, "types") && (typ.In().At(got.Key).Name() != "unsigned short" || typ.In().At(got.Value).Kind() != rawbtf.Array) {
				t.Errorf("%s: keys are of type %d, values of %d", name, got.Key, got.Value)
			}
			for m := got; m != nil; m = m.Inner() {
				m.Key, m.Value = 0, 0
			}
			if !reflect.DeepEqual(*got, c.want) {
				t.Errorf("%s: %+v, want %+v", name, *got, c.want)
			}
		}
	}
}

// What libbpf refuses is refused, and errors name the member and say what to do.
func TestReadErrors(t *testing.T) {
	for name, c := range map[string]struct {
		typ  btf.Type
		want string
	}{
		"no struct":             {U32, `is not a struct of __uint, __type and __array members, as maps in SEC(".maps") are: declare it so`},
		"union":                 {Union("", M("type", number(1))), "is not a struct"},
		"no type":               {Struct("", M("max_entries", number(1))), "the declaration does not say the type: add __uint(type, BPF_MAP_TYPE_...)"},
		"an int":                {decl(1, M("max_entries", S32)), "member max_entries of the declaration is not a number: declare it with __uint"},
		"names within a number": {decl(1, M("max_entries", Ptr(Typedef("array_t", Array(S32, 3))))), "is not a number"},
		"an enum of two":        {decl(1, M("map_extra", Enum("", V("A", 1), V("B", 2)))), "member map_extra of the declaration is not a number"},
		"a key that is a value": {decl(1, M("key", U32)), "member key of the declaration is not a type: declare it with __type"},
		"names of a pointer":    {decl(1, M("value", Typedef("p_t", Ptr(U32)))), "member value of the declaration is not a type"},
		"incomplete":            {decl(1, M("value", Ptr(&btf.Fwd{Name: "later"}))), "member value of the declaration is of a type without a size: declare one that is complete"},
		"two sizes":             {decl(1, M("key", Ptr(U32)), M("key_size", number(8))), "member key_size of the declaration says 8 bytes, and another member 4: leave one out"},
		"misspelt":              {decl(1, M("max_entires", number(8))), "member max_entires of the declaration is not one that loaders know: correct the name, or leave it out"},
		"values first":          {decl(12, values(inner), M("key", Ptr(U32))), "member values of the declaration is not the last one: move it to the end"},
		"values of a hash":      {decl(1, values(inner)), "member values of the declaration is for maps of maps and program arrays: leave it out, or declare the type before it"},
		"values before the type": {
			Struct("", M("values", Array(Ptr(inner), 0))), "declare the type before it",
		},
		"values of 8 bytes":    {decl(12, M("value_size", number(8)), values(inner)), "member values of the declaration has values of 4 bytes, and the declaration says 8: leave that out"},
		"values of a length":   {decl(12, M("values", Array(Ptr(inner), 3))), "member values of the declaration is not an array of pointers without a length: declare it with __array"},
		"values that are maps": {decl(12, M("values", Array(inner, 0))), "is not an array of pointers without a length"},
		"programs in maps":     {decl(3, values(inner)), "is not an array of pointers to functions: declare it as __array(values, int (void *))"},
		"functions in maps":    {decl(12, values(function)), "member values of the declaration is not a struct"},
		"three levels":         {decl(12, values(decl(13, values(inner)))), "member values of the declaration declares maps whose values are maps of maps, which the kernel does not have: leave out the inner values"},
		"pinned inner map":     {decl(12, values(decl(1, M("pinning", number(1))))), "member values of the declaration member pinning of the declaration is of an inner map, which cannot be pinned: leave it out"},
	} {
		if _, err := mapdecl.Read(raw(t, binary.LittleEndian, c.typ)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// FuzzRead: no panic and no endless loop, whatever the types are.
func FuzzRead(f *testing.F) {
	for _, typ := range []btf.Type{decl(1, M("key", Ptr(U32)), M("map_extra", long(1))), decl(12, values(inner)), decl(3, values(function))} {
		data, err := raw(f, binary.LittleEndian, typ).In().Edit().Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		types, err := rawbtf.New(data, nil)
		if err != nil {
			return
		}
		for id := range min(types.Len(), 100) {
			m, err := mapdecl.Read(types.At(id))
			if (m == nil) == (err == nil) {
				t.Errorf("type %d: %v and the error %v", id, m, err)
			}
		}
	})
}
