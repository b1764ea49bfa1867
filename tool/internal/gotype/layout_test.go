package gotype

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// packed returns a struct of members one after the other, aligned to nothing.
func packed(name string, members ...btf.Member) *btf.Struct {
	s := &btf.Struct{Name: name, Members: members}
	for i := range members {
		members[i].Offset = btf.Bits(s.Size * 8)
		size, err := btf.Sizeof(members[i].Type)
		if err != nil {
			panic(err)
		}
		s.Size += uint32(size)
	}
	return s
}

func bitsOf(name string, t btf.Type, offset, width uint32) btf.Member {
	return btf.Member{Name: name, Type: t, Offset: btf.Bits(offset), BitfieldSize: btf.Bits(width)}
}

// constructs are all that C does to a layout, with some of the Go code that each
// must become.
var constructs = []struct {
	name string
	typ  btf.Type
	want []string
}{
	{"union", Union("u", M("a", U8), M("b", U64), M("c", Array(U16, 5))), []string{
		"_ [0]uint64\n\tunion0 [16]byte",
		"func (s *U) AsB() *uint64 {\n\treturn (*uint64)(unsafe.Pointer(&s.union0[0]))",
		"func (s *U) AsC() *[5]uint16 {",
	}},
	{"union of bytes", Union("u", M("a", U8), M("b", Array(Char, 3))), []string{
		"_ structs.HostLayout\n\tunion0 [3]byte",
	}},
	{"packed union", &btf.Union{Name: "u", Size: 5, Members: []btf.Member{M("a", U32), M("b", Array(U8, 5))}}, []string{
		"func (s *U) A() (v uint32) {\n\t*(*[4]byte)(unsafe.Pointer(&v)) = [4]byte(s.union0[0:4])",
		"func (s *U) SetA(v uint32) {",
		"func (s *U) AsB() *[5]uint8 {",
	}},
	{"empty union", &btf.Union{Name: "u"}, []string{"type Bss struct {\n\t_ structs.HostLayout\n}"}},
	{"union without members", &btf.Union{Name: "u", Size: 4}, []string{"union0 [4]byte"}},
	{"bit-fields of a union", &btf.Union{Name: "u", Size: 4, Members: []btf.Member{bitsOf("a", U32, 0, 3), M("b", U32)}}, []string{
		"func (s *U) A() uint32 {\n\tu := uint64(s.union0[0]&0x7)\n\treturn uint32(u)",
		"func (s *U) AsB() *uint32 {",
	}},
	{"anonymous union", Struct("s", M("a", U32), M("", Union("", M("b", U32), M("c", U64))), M("d", U8)), []string{
		"A uint32 // a\n\t_ [4]byte\n\tunion0 [8]byte // an anonymous union\n\tD uint8 // d\n\t_ [7]byte",
		"func (s *S) AsC() *uint64 {\n\treturn (*uint64)(unsafe.Pointer(&s.union0[0]))",
	}},
	{"two anonymous unions", Struct("s", M("", Union("", M("a", U32))), M("", Union("", M("b", U32)))), []string{
		"union0 [4]byte // an anonymous union\n\tunion1 [4]byte // an anonymous union",
		"unsafe.Pointer(&s.union1[0])",
	}},
	{"anonymous struct", Struct("s", M("a", U8), M("", Struct("", M("b", U32), M("c", U8))), M("d", U8)), []string{
		"A uint8 // a\n\t_ [3]byte\n\tB uint32 // b\n\tC uint8 // c\n\t_ [3]byte\n\tD uint8 // d\n\t_ [3]byte\n",
	}},
	{"anonymous struct in an anonymous union", Struct("s", M("", Union("", M("a", U64), M("", Struct("", M("b", U32), M("c", U32)))))), []string{
		"func (s *S) AsC() *uint32 {\n\treturn (*uint32)(unsafe.Pointer(&s.union0[4]))",
	}},
	{"names that meet in a union", Struct("s", M("as_a", U32), M("", Union("", M("a", U32)))), []string{
		"AsA uint32", "func (s *S) AsC_a() *uint32 {",
	}},
	{"bit-fields", &btf.Struct{Name: "s", Size: 8, Members: []btf.Member{
		bitsOf("a", U32, 0, 3), bitsOf("b", S32, 3, 7), bitsOf("c", Bool, 10, 1), bitsOf("d", Enum("e", V("E", 1)), 11, 5), {Name: "x", Type: U8, Offset: 16}, bitsOf("f", U64, 24, 40),
	}}, nil},
	{"bit-field with a sign", &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{bitsOf("a", S32, 3, 7)}}, []string{
		"bits0 [2]byte // bit-fields\n\t_ [2]byte",
		"func (s *S) A() int32 {\n\tu := uint64(s.bits0[0]>>3&0x1f) | uint64(s.bits0[1]&0x3)<<5\n\treturn int32(int64(u<<57) >> 57)",
		"func (s *S) SetA(v int32) {\n\tu := uint64(v)\n\ts.bits0[0] = s.bits0[0]&^0xf8 | byte(u&0x1f)<<3\n\ts.bits0[1] = s.bits0[1]&^0x3 | byte(u>>5&0x3)\n",
	}},
	{"bit-field of a bool", &btf.Struct{Name: "s", Size: 1, Members: []btf.Member{bitsOf("a", Bool, 7, 1)}}, []string{
		"func (s *S) A() bool {\n\tu := uint64(s.bits0[0]>>7&0x1)\n\treturn u != 0",
		"var u uint64\n\tif v {\n\t\tu = 1\n\t}",
	}},
	{"bit-field of an enum", &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{bitsOf("a", Enum("e", V("ONE", 1)), 0, 2)}}, []string{"func (s *S) A() E {", "return E(u)"}},
	{"bit-field of a typedef", &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{bitsOf("a", Typedef("id_t", U32), 0, 2)}}, []string{"func (s *S) A() IdT {"}},
	{"bit-field of 64 bits", &btf.Struct{Name: "s", Size: 9, Members: []btf.Member{bitsOf("a", S64, 4, 64)}}, []string{
		"bits0 [9]byte", "uint64(s.bits0[0]>>4&0xf) | uint64(s.bits0[1])<<4 | ", "return int64(u)", "\ts.bits0[1] = byte(u>>4)\n",
	}},
	{"bit-fields of an __int128", &btf.Struct{Name: "s", Size: 32, Members: []btf.Member{
		bitsOf("a", S128, 0, 20), bitsOf("b", S128, 20, 64), bitsOf("c", Typedef("u", &btf.Int{Name: "unsigned __int128", Size: 16}), 84, 40), {Name: "d", Type: U32, Offset: 128},
	}}, []string{
		"bits0 [16]byte // bit-fields\n\tD uint32 // d",
		"func (s *S) A() int64 {\n\tu := uint64(s.bits0[0]) | uint64(s.bits0[1])<<8 | uint64(s.bits0[2]&0xf)<<16\n\treturn int64(int64(u<<44) >> 44)",
		"func (s *S) SetB(v int64) {", "func (s *S) C() uint64 {\n\tu := uint64(s.bits0[10]>>4&0xf) | ",
	}},
	{"gap between bit-fields", &btf.Struct{Name: "s", Size: 8, Members: []btf.Member{bitsOf("a", U32, 0, 3), bitsOf("", U32, 3, 3), bitsOf("b", U32, 40, 3)}}, []string{
		"bits0 [1]byte // bit-fields\n\t_ [4]byte\n\tbits1 [1]byte // bit-fields\n\t_ [2]byte",
	}},
	{"packed member", packed("s", M("a", U8), M("b", U32), M("c", U8)), []string{
		"A uint8 // a\n\trawB [4]byte // b, see method B\n\tC uint8 // c\n}",
		"func (s *S) B() (v uint32) {\n\t*(*[4]byte)(unsafe.Pointer(&v)) = [4]byte(s.rawB[0:4])\n\treturn v\n}",
		"func (s *S) SetB(v uint32) {\n\t*(*[4]byte)(s.rawB[0:4]) = *(*[4]byte)(unsafe.Pointer(&v))\n}",
	}},
	{"packed size", packed("s", M("a", U32), M("b", U8)), []string{"rawA [4]byte // a, see method A\n\tB uint8 // b\n}"}},
	{"packed array", Array(packed("s", M("a", U16), M("b", U32)), 3), []string{"A uint16 // a\n\trawB [4]byte"}},
	{"packed struct in a struct", Struct("t", M("a", U8), M("s", packed("s", M("a", U32), M("b", U8)))), []string{"S S // s"}},
	{"struct in a packed struct", packed("t", M("a", U8), M("s", Struct("s", M("a", U32)))), []string{"func (s *T) S() (v S) {"}},
	{"member aligned less than Go would", &btf.Struct{Name: "s", Size: 12, Members: []btf.Member{M("a", U32), {Name: "b", Type: U64, Offset: 32}}}, []string{"rawB [8]byte"}},
	{"setter that is a member", packed("s", M("a", U8), M("b", U32), M("set_b", U8)), []string{"SetB uint8", "func (s *S) SetC_b(v uint32) {"}},
	{"copy that is a member", packed("s", M("a", U8), M("b", U32), M("with_b", U8)), []string{"WithB uint8", "func (s S) WithC_b(v uint32) S {\n\ts.SetB(v)\n\treturn s\n}"}},
	{"over-aligned array", Array(&btf.Struct{Name: "s", Size: 64, Members: []btf.Member{M("a", U64)}}, 2), []string{"A uint64 // a\n\t_ [56]byte"}},
	{"__int128", Struct("s", M("a", U64), M("", Struct("", M("b", S128)))), nil},
	{"aligned __int128", &btf.Struct{Name: "s", Size: 32, Members: []btf.Member{M("a", U8), {Name: "b", Type: S128, Offset: 128}}}, []string{"A uint8 // a\n\t_ [15]byte\n\tB skeleton.Int128 // b"}},
	{"flexible array", Struct("s", M("n", U32), M("rest", Array(U32, 0))), []string{
		"N uint32 // n\n}",
		"func (s *S) Rest(n int) []uint32 {\n\treturn unsafe.Slice((*uint32)(unsafe.Add(unsafe.Pointer(s), 4)), n)\n}",
	}},
	{"flexible array that asks for alignment", &btf.Struct{Name: "s", Size: 8, Members: []btf.Member{M("n", U32), {Name: "rest", Type: Array(U64, 0), Offset: 64}}}, []string{
		"_ [0]uint64\n\tN uint32 // n\n\t_ [4]byte\n}",
	}},
	{"packed flexible array", &btf.Struct{Name: "s", Size: 1, Members: []btf.Member{M("n", U8), {Name: "rest", Type: Array(U32, 0), Offset: 8}}}, []string{
		"func (s *S) Rest(n int) [][4]byte {",
	}},
	{"flexible array of structs", Struct("s", M("n", U32), M("rest", Array(Struct("", M("a", U8)), 0))), []string{"func (s *S) Rest(n int) []SRest {"}},
	{"array without a length in the middle", Struct("s", M("n", U32), M("mark", Array(U32, 0)), M("m", U32)), []string{
		"N uint32 // n\n\tM uint32 // m\n}", "func (s *S) Mark(n int) []uint32 {",
	}},
	{"empty struct", &btf.Struct{Name: "s"}, []string{"type Bss struct {\n\t_ structs.HostLayout\n}"}},
	{"empty member", Struct("s", M("a", U32), M("e", Struct("e"))), []string{"A uint32 // a\n}"}},
	{"flexible array as the kernel spells it", Struct("s", M("a", U32), M("", Struct("", M("__empty", Struct("")), M("rest", Array(U32, 0))))), []string{"func (s *S) Rest(n int) []uint32 {"}},
	{"recursion", func() btf.Type {
		list := Struct("list", M("a", U32), M("next", Ptr(U8)))
		list.Members[1].Type = Ptr(list)
		return list
	}(), []string{"A uint32 // a\n\t_ [4]byte\n\tNext skeleton.Pointer // next, struct list *\n}"}},
	{"kernel's own", Struct("s", M("n", U32), M("lock", Struct("bpf_spin_lock", M("val", U32))), M("t", Struct("bpf_timer", M("__opaque", Array(U64, 2))))), []string{
		"Lock BpfSpinLock // lock\n\tT BpfTimer // t\n}",
		"// BpfTimer is struct bpf_timer, which is the kernel's: nothing in it is for user space.\ntype BpfTimer struct {\n\t_ structs.HostLayout\n\t_ [2]uint64\n}",
		"type BpfSpinLock struct {\n\t_ structs.HostLayout\n\t_ [1]uint32\n}",
	}},
	{"enum with two names for a value", Enum("e", V("A", 1), V("B", 1), V("C", 2)), []string{
		"func (e E) String() string {\n\tswitch e {\n\tcase A:\n\t\treturn \"A\"\n\tcase C:\n\t\treturn \"C\"\n\t}\n\treturn skelimpl.UnknownUint(\"E\", uint64(e))\n}",
	}},
}

func TestConstructs(t *testing.T) {
	for _, tt := range constructs {
		t.Run(tt.name, func(t *testing.T) {
			for _, bigEndian := range []bool{false, true} {
				size, err := btf.Sizeof(tt.typ)
				if err != nil {
					t.Fatal(err)
				}
				d := settled(func(d *Decls) {
					d.BigEndian = bigEndian
					// The second one is where C has it in an array.
					if errs := d.Section("Bss", ".bss", "a section", uint64(16*size), []Variable{{Name: "v", Offset: 0, Size: uint64(size), Type: tt.typ}, {Name: "w", Offset: uint64(size), Size: uint64(size), Type: tt.typ}}); errs != nil {
						t.Fatal(errs)
					}
				}, "Bss")
				if err := compile(d); err != nil {
					t.Error(err)
				}
				got := string(d.Append(nil))
				if bigEndian {
					continue
				}
				for _, want := range tt.want {
					if !strings.Contains(got, want) {
						t.Errorf("got %s, want %s", got, want)
					}
				}
			}
		})
	}
}

// A variable with a flexible array is as long as its initial value.
func TestVariableWithFlexibleArray(t *testing.T) {
	d := NewDecls(gonames.NewScope("Bss"))
	s := Struct("s", M("n", U32), M("rest", Array(U32, 0)))
	if errs := d.Section("Bss", ".bss", "a section", 20, []Variable{{Name: "v", Offset: 0, Size: 16, Type: s}, {Name: "w", Offset: 16, Size: 4, Type: U32}}); errs != nil {
		t.Fatal(errs)
	}
	if err := compile(d); err != nil {
		t.Error(err)
	}
	if got, want := string(d.Append(nil)), "\tV S // v\n\t_ [12]byte\n\tW uint32 // w\n"; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A wrong size or offset must not compile, wherever the right one does.
func TestWrongLayout(t *testing.T) {
	for _, tt := range constructs {
		d := settled(func(d *Decls) {
			if _, err := d.Convert(tt.typ, "T", "a type"); err != nil {
				t.Fatal(err)
			}
		})
		for _, decl := range d.list {
			s, ok := decl.(*structType)
			if !ok {
				continue
			}
			s.size++
			if compile(d) == nil {
				t.Errorf("%s: %s of %d bytes compiles", tt.name, s.name, s.size)
			}
			s.size--
			for i := range s.fields {
				if s.fields[i].name == "" {
					continue
				}
				s.fields[i].offset++
				if compile(d) == nil {
					t.Errorf("%s: %s.%s at %d compiles", tt.name, s.name, s.fields[i].name, s.fields[i].offset)
				}
				s.fields[i].offset--
			}
		}
	}
}

// What does not convert leaves nothing behind.
func TestConvertError(t *testing.T) {
	d := NewDecls(gonames.NewScope())
	inner := Struct("inner", M("id", Typedef("id_t", U32)), M("mode", Enum("mode")))
	if _, err := d.Convert(Struct("s", M("a", inner), M("b", fwd)), "T", "a type"); err == nil {
		t.Fatal("no error")
	}
	if got := d.Append(nil); len(got) > 0 {
		t.Errorf("left: %s", got)
	}
	typ, err := d.Convert(inner, "T", "a type")
	if err != nil {
		t.Fatal(err)
	}
	if typ.Size() != 8 || len(d.list) != 3 {
		t.Errorf("got %s of %d bytes, with %d declarations", typ, typ.Size(), len(d.list))
	}
	if err := compile(d); err != nil {
		t.Error(err)
	}
}

// A member without bytes is left out, and so is its type.
func TestEmptyMember(t *testing.T) {
	d := NewDecls(gonames.NewScope())
	if _, err := d.Convert(Struct("s", M("a", U32), M("e", Struct("e", M("f", Struct("f"))))), "T", "a type"); err != nil {
		t.Fatal(err)
	}
	if len(d.list) != 1 || d.list[0].String() != "S" {
		t.Errorf("declares %v, want S", d.list)
	}
}

// Bit-fields are where the kernel looks for them, which loads the bytes from the
// one that a bit-field starts in as one number, in the machine's byte order.
func TestPieces(t *testing.T) {
	for range 10000 {
		m := method{start: rand.Uint64N(8), bits: 1 + rand.Uint64N(56), bigEndian: rand.IntN(2) == 1}
		var memory [8]byte
		binary.NativeEndian.PutUint64(memory[:], rand.Uint64())
		var want uint64
		if m.bigEndian {
			want = binary.BigEndian.Uint64(memory[:]) << m.start >> (64 - m.bits)
		} else {
			want = binary.LittleEndian.Uint64(memory[:]) >> m.start & (1<<m.bits - 1)
		}
		var got uint64
		touched := 0
		for _, p := range m.pieces() {
			got |= uint64(memory[p.index]) >> p.shift & p.mask << p.at
			if p.mask<<p.shift > 0xff {
				t.Errorf("%+v: %+v is more than a byte", m, p)
			}
			for mask := p.mask; mask > 0; mask >>= 1 {
				touched++
			}
		}
		if got != want || touched != int(m.bits) {
			t.Fatalf("%+v: got %#x of %d bits, want %#x", m, got, touched, want)
		}
	}
}
