package loadform_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// What libbpf looks through in a map's declaration, the reader does not have to.
func TestMapSpellings(t *testing.T) {
	number := func(n uint32) btf.Type { return Ptr(Array(S32, n)) }
	twice := func(t btf.Type) btf.Type { return Typedef("again_t", Const(Typedef("once_t", t))) }
	inner := func(wrap func(btf.Type) btf.Type) *btf.Struct {
		return Struct("inner", M("type", wrap(number(1))), M("max_entries", wrap(number(8))), M("key", Ptr(Typedef("pair_t", Array(U32, 2)))), M("value", Ptr(U64)))
	}
	same := func(t btf.Type) btf.Type { return t }
	outer := func(values btf.Type) btf.Type {
		return Struct("", M("type", number(13)), M("max_entries", number(4)), M("key", Ptr(U16)), M("value", Ptr(U32)), M("values", values))
	}
	shared := outer(Array(Ptr(twice(inner(same))), 0))
	file := &File{
		Linked:   true,
		Programs: []Program{{Name: "prog", Section: "xdp"}},
		Vars: []Var{
			{Section: ".maps", Name: "plain", Type: outer(Array(Ptr(inner(same)), 0))},
			{Section: ".maps", Name: "typedef", Type: outer(Array(Ptr(Typedef("inner_t", inner(same))), 0))},
			{Section: ".maps", Name: "typedef_of_typedef", Type: shared},
			{Section: ".maps", Name: "const", Type: outer(Array(Ptr(Const(inner(same))), 0))},
			{Section: ".maps", Name: "volatile", Type: outer(Array(Ptr(Volatile(Typedef("inner_t", inner(same)))), 0))},
			{Section: ".maps", Name: "pointer", Type: outer(Array(Typedef("inner_ptr", Ptr(inner(same))), 0))},
			{Section: ".maps", Name: "const_pointer", Type: outer(Array(Const(Typedef("inner_ptr", Ptr(Typedef("inner_t", inner(same))))), 0))},
			{Section: ".maps", Name: "numbers", Type: outer(Array(Ptr(inner(twice)), 0))},
			{Section: ".maps", Name: "itself", Type: twice(shared)},
			{Section: ".maps", Name: "sizes", Type: Struct("",
				M("type", twice(number(1))), M("max_entries", number(4)), M("key_size", number(8)), M("key", Ptr(U64)), M("value", Ptr(U32)), M("value_size", number(4)))},
		},
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			file.Order = order
			obj := must(t, file.Build())
			spec := load(t, obj)
			if len(spec.Maps) != len(file.Vars) {
				t.Errorf("%d maps, want %d", len(spec.Maps), len(file.Vars))
			}
			for name, m := range spec.Maps {
				if name == "sizes" {
					if m.Type != ebpf.Hash || m.KeySize != 8 || m.ValueSize != 4 || m.Key == nil || m.Value == nil {
						t.Errorf("sizes: %+v", m)
					}
					continue
				}
				in := m.InnerMap
				if m.Type != ebpf.HashOfMaps || m.KeySize != 2 || in == nil || in.Type != ebpf.Hash || in.KeySize != 8 || in.ValueSize != 8 || in.MaxEntries != 8 {
					t.Errorf("%s: %+v, inner map %+v", name, m, in)
				}
			}
			// Once more, nothing changes.
			if again := must(t, obj); string(again) != string(obj) {
				t.Error("another pass changes the object")
			}
		})
	}
}
