package rawbtf

import "math/bits"

// Type is a type. The zero ID is void, which has no name, no size and no members.
type Type struct {
	in *Types
	ID uint32
	// raw starts with name_off, info and size or type.
	raw []byte
}

// Raw returns the type as it is in memory.
func (t Type) Raw() []byte { return t.raw }

// In returns what the IDs in the type are of.
func (t Type) In() *Types { return t.in }

func (t Type) word(i int) uint32 {
	if 4*i+4 > len(t.raw) {
		return 0
	}
	return t.in.u32(t.raw[4*i:])
}

func (t Type) info() uint32 { return t.word(1) }

// Kind returns the kind of the type.
func (t Type) Kind() Kind { return Kind(t.info() >> 24 & 0x1f) }

// Vlen returns how many members, values, parameters or variables the type has.
func (t Type) Vlen() int { return int(t.info() & 0xffff) }

// Flag returns the bit that no two kinds use for the same: a forward declaration is that
// of a union, members may be bit-fields, an enum is signed.
func (t Type) Flag() bool { return t.info()>>31 != 0 }

// Name returns the name of the type, empty for one that has none.
func (t Type) Name() string { return t.in.String(t.word(0)) }

// NameOffset returns the offset of the name in the strings, 0 for a type that has none.
func (t Type) NameOffset() uint32 { return t.word(0) }

// RawName is Name as it is in memory.
func (t Type) RawName() []byte { return t.in.bytes(t.word(0)) }

// Ref returns the ID of the type that the type refers to, of kinds that do.
func (t Type) Ref() uint32 { return t.word(2) }

// Elem returns the type that the type refers to.
func (t Type) Elem() Type { return t.in.At(t.Ref()) }

// ByteSize is the size that the type states, of kinds that do, in bytes.
func (t Type) ByteSize() uint32 { return t.word(2) }

// Member is a member of a struct or union.
type Member struct {
	// Name is empty for a struct or union whose members belong to the outer one.
	Name string
	Type uint32
	// Offset is that of the member and Bits its length, 0 when it is no bit-field. Both
	// are in bits.
	Offset, Bits uint32
}

// Member returns the member with the index, which is less than Vlen.
func (t Type) Member(i int) Member {
	m := Member{Name: t.in.String(t.word(3 + 3*i)), Type: t.word(4 + 3*i), Offset: t.word(5 + 3*i)}
	if t.Flag() {
		m.Bits, m.Offset = m.Offset>>24, m.Offset&0xffffff
	}
	return m
}

// RawMember is a member as it is in memory: the offset of its name, its type, and where it
// is, in bits, with the length of a bit-field.
type RawMember struct{ Name, Type, Offset uint32 }

// RawMember returns the member with the index, which is less than Vlen.
func (t Type) RawMember(i int) RawMember {
	return RawMember{t.word(3 + 3*i), t.word(4 + 3*i), t.word(5 + 3*i)}
}

// MemberName is the name of a member as it is in memory.
func (t Type) MemberName(i int) []byte { return t.in.bytes(t.word(3 + 3*i)) }

// Value returns the value with the index, which is less than Vlen, of an enum.
func (t Type) Value(i int) (name string, value uint64) {
	return string(t.ValueName(i)), t.Number(i)
}

// Number is the number of a value. That of a signed enum is sign extended.
func (t Type) Number(i int) uint64 {
	if t.Kind() == Enum64 {
		return uint64(t.word(5+3*i))<<32 | uint64(t.word(4+3*i))
	}
	value := uint64(t.word(4 + 2*i))
	if t.Flag() {
		value = uint64(int32(value))
	}
	return value
}

// ValueName is the name of a value as it is in memory.
func (t Type) ValueName(i int) []byte {
	if t.Kind() == Enum64 {
		return t.in.bytes(t.word(3 + 3*i))
	}
	return t.in.bytes(t.word(3 + 2*i))
}

// Secinfo is an entry of a DATASEC: struct btf_var_secinfo.
type Secinfo struct {
	// Type is the ID of a VAR, or of a FUNC in section .ksyms.
	Type uint32
	// Offset is that in the section, and Size that of the variable, in bytes. Clang leaves
	// the offsets of global variables zero, and a linker fills them in.
	Offset, Size uint32
}

// Secinfo returns the entry with the index, which is less than Vlen, of a DATASEC.
func (t Type) Secinfo(i int) Secinfo {
	return Secinfo{t.word(3 + 3*i), t.word(4 + 3*i), t.word(5 + 3*i)}
}

// Component returns what a declaration's tag is of: the index of a member or a parameter, or
// -1 for the declaration itself.
func (t Type) Component() int32 { return int32(t.word(3)) }

// Param returns the type of the parameter with the index, which is less than Vlen.
func (t Type) Param(i int) uint32 { return t.word(4 + 2*i) }

// ParamNameOffset returns the offset of the parameter's name, 0 when it has none.
func (t Type) ParamNameOffset(i int) uint32 { return t.word(3 + 2*i) }

// Array returns the type of an array's elements, and how many it has.
func (t Type) Array() (elem, n uint32) { return t.word(3), t.word(5) }

// Signed reports whether an integer is signed.
func (t Type) Signed() bool { return t.word(3)>>24&1 != 0 }

// Bool reports whether an integer is a _Bool.
func (t Type) Bool() bool { return t.word(3)>>26&1 != 0 }

// Linkage returns the linkage of a variable or a function.
func (t Type) Linkage() Linkage {
	if t.Kind() == Func {
		return Linkage(t.Vlen())
	}
	return Linkage(t.word(3))
}

// IntBits returns how many bits of an integer are its value.
func (t Type) IntBits() uint32 { return t.word(3) & 0xff }

// BitOffset returns where an integer's value starts in it, in bits: older compilers made
// bit-fields of such types.
func (t Type) BitOffset() uint32 { return t.word(3) >> 16 & 0xff }

// Walk calls ref with each type ID in the type, and name with each offset of a string, in the
// order in which they stand there. It fails for a kind that is newer than this program.
func (t Type) Walk(ref, name func(uint32)) error {
	return fields(t.info(), func(i int) { ref(t.word(i)) }, func(i int) { name(t.word(i)) })
}

// References appends the IDs of the types that the type refers to, in the order in which
// they stand in it. Of a kind that is newer than this program it knows none.
func (t Type) References(ids []uint32) []uint32 {
	_ = t.Walk(func(id uint32) { ids = append(ids, id) }, func(uint32) {})
	return ids
}

// Skip returns the type behind const, volatile, restrict, type tags and typedefs. It
// reports false when there is no end to these.
func (t Type) Skip() (Type, bool) {
	for range maxDepth {
		if k := t.Kind(); !k.IsModifier() && k != Typedef {
			return t, true
		}
		t = t.Elem()
	}
	return Type{in: t.in}, false
}

// maxDepth bounds how many types are followed: more than any C program has, and an end
// to cycles, which C cannot make.
const maxDepth = 64

// SizeOf returns the size of the type in bytes. It reports false for one that has none.
func (t Type) SizeOf() (uint64, bool) {
	n := uint64(1)
	for range maxDepth {
		switch t.Kind() {
		case Int, Struct, Union, Enum, Enum64, Float, Datasec:
			return mul(n, uint64(t.ByteSize()))
		case Ptr:
			return mul(n, 8)
		case Array:
			elem, count := t.Array()
			var ok bool
			if n, ok = mul(n, uint64(count)); !ok {
				return 0, false
			}
			t = t.in.At(elem)
		case Const, Volatile, Restrict, TypeTag, Typedef, Var, DeclTag:
			t = t.Elem()
		default:
			return 0, false
		}
	}
	return 0, false
}

func mul(a, b uint64) (uint64, bool) {
	hi, lo := bits.Mul64(a, b)
	return lo, hi == 0 && lo < 1<<32
}
