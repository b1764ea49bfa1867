package loader

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

var (
	u8  = &btf.Int{Name: "unsigned char", Size: 1}
	u16 = &btf.Int{Name: "unsigned short", Size: 2}
	u32 = &btf.Int{Name: "unsigned int", Size: 4}
	u64 = &btf.Int{Name: "unsigned long long", Size: 8}
	f32 = &btf.Float{Name: "float", Size: 4}
	fn  = &btf.Pointer{Target: &btf.FuncProto{Return: u32}}
)

func arrayOf(n uint32, t btf.Type) btf.Type { return &btf.Array{Index: u32, Type: t, Nelems: n} }

// at returns a member at an offset in bytes.
func at(offset uint32, name string, t btf.Type) btf.Member {
	return btf.Member{Name: name, Type: t, Offset: btf.Bits(offset * 8)}
}

// bits returns a bit-field at an offset in bits.
func tableBits(offset, n btf.Bits, name string) btf.Member {
	return btf.Member{Name: name, Type: u32, Offset: offset, BitfieldSize: n}
}

// rawType returns the type as it is in raw BTF.
func rawType(t testing.TB, typ btf.Type) rawbtf.Type {
	t.Helper()
	var b btf.Builder
	id, err := b.Add(typ)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	types, err := rawbtf.New(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	return types.At(uint32(id))
}

func structOf(size uint32, members ...btf.Member) *btf.Struct {
	return &btf.Struct{Name: "ops", Size: size, Members: members}
}

func TestCopyMembers(t *testing.T) {
	pair := &btf.Struct{Name: "pair", Size: 2, Members: []btf.Member{at(0, "a", u8), at(1, "b", u8)}}
	swapped := &btf.Struct{Name: "pair", Size: 4, Members: []btf.Member{at(0, "new", u8), at(1, "b", u8), at(3, "a", u8)}}
	union := &btf.Union{Size: 2, Members: []btf.Member{at(0, "x", u16), at(0, "y", u8)}}
	mode := &btf.Enum{Name: "mode", Size: 1}
	alias := &btf.Typedef{Name: "alias", Type: &btf.Const{Type: &btf.Volatile{Type: u8}}}
	for _, tt := range []struct {
		name         string
		kernel, user *btf.Struct
		src, want    []byte
	}{
		{
			"other offsets",
			structOf(4, at(0, "b", u8), at(1, "other", u8), at(2, "a", u16)),
			structOf(4, at(0, "a", u16), at(2, "b", u8)),
			[]byte{1, 2, 3, 0}, []byte{3, 0, 1, 2},
		},
		{
			"zero without a place",
			structOf(1, at(0, "a", u8)),
			structOf(24, at(0, "a", u8), at(1, "gone", u8), at(2, "pair", pair), at(4, "words", arrayOf(2, u16)), at(8, "call", fn), tableBits(128, 3, "flag")),
			append([]byte{7}, make([]byte, 23)...), []byte{7},
		},
		{
			"zero of another size and kind",
			structOf(8, at(0, "a", u64)),
			structOf(4, at(0, "a", f32)),
			make([]byte, 4), make([]byte, 8),
		},
		{
			"typedefs and enums",
			structOf(2, at(0, "a", mode), at(1, "b", u8)),
			structOf(2, at(0, "b", mode), at(1, "a", alias)),
			[]byte{1, 2}, []byte{2, 1},
		},
		{
			"nested struct",
			structOf(5, at(1, "pair", swapped)),
			structOf(2, at(0, "pair", pair)),
			[]byte{1, 2}, []byte{0, 0, 2, 0, 1},
		},
		{
			"anonymous structs and unions",
			structOf(4, at(0, "", &btf.Struct{Size: 2, Members: []btf.Member{at(0, "a", u8), at(1, "b", u8)}}), at(2, "", union)),
			structOf(4, at(0, "", &btf.Union{Size: 2, Members: []btf.Member{at(0, "x", u16), at(0, "y", u8)}}), at(2, "b", u8),
				at(3, "", &btf.Struct{Size: 1, Members: []btf.Member{at(0, "a", u8)}})),
			[]byte{1, 2, 3, 4}, []byte{4, 3, 1, 2},
		},
		{
			"union",
			structOf(3, at(1, "u", union)),
			structOf(2, at(0, "u", union)),
			[]byte{1, 2}, []byte{0, 1, 2},
		},
		{
			"array and text",
			structOf(8, at(0, "name", arrayOf(4, u8)), at(4, "words", arrayOf(2, u16))),
			structOf(8, at(0, "words", arrayOf(2, u16)), at(4, "name", arrayOf(4, u8))),
			[]byte{1, 2, 3, 4, 'a', 'b', 0, 0}, []byte{'a', 'b', 0, 0, 1, 2, 3, 4},
		},
		{
			"array of structs",
			structOf(8, at(0, "pairs", arrayOf(2, swapped))),
			structOf(4, at(0, "pairs", arrayOf(2, pair))),
			[]byte{1, 2, 3, 4}, []byte{0, 2, 0, 1, 0, 4, 0, 3},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dst := make([]byte, tt.kernel.Size)
			if err := copyMembers(dst, tt.src, rawType(t, tt.kernel), rawType(t, tt.user)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dst, tt.want) {
				t.Errorf("got %v, want %v", dst, tt.want)
			}
		})
	}
}

// Bit-fields are copied bit by bit, in the order that the machine has.
func TestCopyBits(t *testing.T) {
	user := structOf(4, tableBits(0, 3, "a"), tableBits(3, 7, "b"), tableBits(10, 2, "c"))
	kernel := structOf(4, tableBits(5, 7, "b"), tableBits(13, 3, "a"))
	rawKernel, rawUser := rawType(t, kernel), rawType(t, user)
	for a := range uint64(8) {
		for b := range uint64(128) {
			src, dst := make([]byte, 4), make([]byte, 4)
			put := func(at, n, v uint64) {
				for i := range n {
					setBit(src, at+i, v>>i&1 != 0)
				}
			}
			get := func(at, n uint64) (v uint64) {
				for i := range n {
					if hasBit(dst, at+i) {
						v |= 1 << i
					}
				}
				return v
			}
			put(0, 3, a)
			put(3, 7, b)
			if err := copyMembers(dst, src, rawKernel, rawUser); err != nil {
				t.Fatal(err)
			}
			if gotA, gotB := get(13, 3), get(5, 7); gotA != a || gotB != b {
				t.Fatalf("got %d and %d, want %d and %d", gotA, gotB, a, b)
			}
		}
	}
}

func TestCopyMembersErrors(t *testing.T) {
	endless := &btf.Struct{Name: "endless", Size: 1}
	endless.Members = []btf.Member{at(0, "", endless)}
	deep := &btf.Struct{Name: "deep", Size: 1}
	deep.Members = []btf.Member{at(0, "deep", deep)}
	ones := bytes.Repeat([]byte{1}, 16)
	for _, tt := range []struct {
		name         string
		kernel, user *btf.Struct
		want         string
	}{
		{"missing", structOf(1), structOf(1, at(0, "a", u8)), "member a is 1, and the kernel's struct ops has no such member: set it to zero, or load on a kernel that has it"},
		{"missing word", structOf(1), structOf(2, at(0, "a", u16)), "member a is 257"},
		{"missing array", structOf(1), structOf(16, at(0, "a", arrayOf(3, u8))), "member a is 01 01 01, and"},
		{"missing in a struct", structOf(4, at(0, "s", structOf(1))), structOf(4, at(0, "s", structOf(4, at(0, "a", u32)))), "member s: member a is 16843009"},
		{"missing bits", structOf(4), structOf(4, tableBits(0, 3, "a")), "member a is not zero"},
		{"size", structOf(8, at(0, "a", u64)), structOf(4, at(0, "a", u32)), "member a: is an integer of 4 bytes in the object and an integer of 8 bytes in the kernel: set it to zero, or declare it as the kernel does"},
		{"kind", structOf(4, at(0, "a", f32)), structOf(4, at(0, "a", u32)), "member a: is an integer of 4 bytes in the object and a float of 4 bytes in the kernel"},
		{"text", structOf(16, at(0, "a", arrayOf(16, u8))), structOf(8, at(0, "a", arrayOf(8, u8))), "an array of 8 elements in 8 bytes in the object and an array of 16 elements in 16 bytes in the kernel"},
		{"elements", structOf(4, at(0, "a", arrayOf(2, u16))), structOf(4, at(0, "a", arrayOf(4, u8))), "an array of 4 elements in 4 bytes in the object and an array of 2 elements"},
		{"width", structOf(4, tableBits(0, 4, "a")), structOf(4, tableBits(0, 3, "a")), "has 3 bits in the object and 4 in the kernel"},
		{"bits and bytes", structOf(4, at(0, "a", u8)), structOf(4, tableBits(0, 8, "a")), "has 8 bits in the object and 8 in the kernel"},
		{"no value", structOf(4, at(0, "a", &btf.Fwd{Name: "f"})), structOf(4, at(0, "a", u32)), "no size"},
		{"beyond the object", structOf(4, at(0, "a", u32)), structOf(4, at(14, "a", u32)), "ends beyond its struct"},
		{"beyond the kernel", structOf(4, at(2, "a", u32)), structOf(4, at(0, "a", u32)), "ends beyond the kernel's struct"},
		{"bits beyond the kernel", structOf(4, tableBits(30, 4, "a")), structOf(4, tableBits(0, 4, "a")), "ends beyond the kernel's struct"},
		{"endless", structOf(4), structOf(4, at(0, "", endless)), "nested too deep"},
		{"endless kernel", structOf(4, at(0, "", endless)), structOf(4, at(0, "a", u8)), "the kernel's struct ops: is nested too deep"},
		{"deep", deep, deep, "nested too deep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := ones
			if tt.user.Members != nil && tt.user.Members[0].BitfieldSize != 0 {
				// Which of a byte's bits come first depends on the machine.
				src = bytes.Repeat([]byte{0xff}, 16)
			}
			err := copyMembers(make([]byte, tt.kernel.Size), src, rawType(t, tt.kernel), rawType(t, tt.user))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFunctionMember(t *testing.T) {
	kernel := rawType(t, structOf(24, at(0, "number", u64), at(8, "call", fn), at(16, "data", &btf.Pointer{Target: u8})))
	if index, offset, err := functionMember(kernel, "call"); index != 1 || offset != 8 || err != nil {
		t.Errorf("got %d, %d, %v", index, offset, err)
	}
	for _, name := range []string{"number", "data", "missing"} {
		if _, _, err := functionMember(kernel, name); err == nil {
			t.Errorf("%s is a function", name)
		}
	}
	if name, err := functionAt(kernel, 8); name != "call" || err != nil {
		t.Errorf("got %q, %v", name, err)
	}
	for _, offset := range []uint32{0, 1, 9, 16, 24, 1 << 29, 1<<32 - 1} {
		if name, err := functionAt(kernel, offset); err == nil {
			t.Errorf("%s is a function at %d", name, offset)
		}
	}
}

// What the tables hold of programs is not their business.
func TestCopyNoFunctions(t *testing.T) {
	typ := rawType(t, structOf(24, at(0, "a", u64), at(8, "call", fn), at(16, "b", u64)))
	dst := make([]byte, 24)
	src := bytes.Repeat([]byte{1}, 24)
	if err := copyMembers(dst, src, typ, typ); err != nil {
		t.Fatal(err)
	}
	if want := append(append(bytes.Repeat([]byte{1}, 8), make([]byte, 8)...), src[16:]...); !bytes.Equal(dst, want) {
		t.Errorf("got %v, want %v", dst, want)
	}
}

// Layouts come from the object and from the kernel, and may be damaged.
func FuzzCopyMembers(f *testing.F) {
	for _, typ := range []btf.Type{
		structOf(24, at(0, "a", u64), at(8, "call", fn), at(16, "b", arrayOf(2, u32))),
		structOf(8, at(0, "", structOf(4, tableBits(0, 3, "x"), tableBits(3, 7, "y"))), at(4, "z", arrayOf(2, structOf(2, at(0, "w", u16))))),
	} {
		var b btf.Builder
		if _, err := b.Add(typ); err != nil {
			f.Fatal(err)
		}
		raw, err := b.Marshal(nil, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, raw, bytes.Repeat([]byte{3}, 24))
	}
	f.Fuzz(func(t *testing.T, kernel, user, src []byte) {
		k, err := rawbtf.New(kernel, nil)
		if err != nil {
			return
		}
		u, err := rawbtf.New(user, nil)
		if err != nil {
			return
		}
		dst := make([]byte, min(k.At(1).ByteSize(), 1<<16))
		_ = copyMembers(dst, src, k.At(1), u.At(1))
		_, _, _ = functionMember(k.At(1), "call")
		_, _ = functionAt(u.At(1), 8)
	})
}
