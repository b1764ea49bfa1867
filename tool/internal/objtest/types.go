package objtest

import "github.com/cilium/ebpf/btf"

// The integer types of C, as clang describes them for BPF.
var (
	Bool  = &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}
	Char  = &btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}
	S8    = &btf.Int{Name: "signed char", Size: 1, Encoding: btf.Signed}
	U8    = &btf.Int{Name: "unsigned char", Size: 1}
	S16   = &btf.Int{Name: "short", Size: 2, Encoding: btf.Signed}
	U16   = &btf.Int{Name: "unsigned short", Size: 2}
	S32   = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	U32   = &btf.Int{Name: "unsigned int", Size: 4}
	S64   = &btf.Int{Name: "long long", Size: 8, Encoding: btf.Signed}
	U64   = &btf.Int{Name: "unsigned long long", Size: 8}
	F32   = &btf.Float{Name: "float", Size: 4}
	F64   = &btf.Float{Name: "double", Size: 8}
	S128  = &btf.Int{Name: "__int128", Size: 16, Encoding: btf.Signed}
	index = &btf.Int{Name: "__ARRAY_SIZE_TYPE__", Size: 4}
)

// Array returns the type elem[n].
func Array(elem btf.Type, n uint32) *btf.Array {
	return &btf.Array{Index: index, Type: elem, Nelems: n}
}

// Ptr returns the type of a pointer to t.
func Ptr(t btf.Type) *btf.Pointer { return &btf.Pointer{Target: t} }

// Typedef returns the type that the name stands for.
func Typedef(name string, t btf.Type) *btf.Typedef { return &btf.Typedef{Name: name, Type: t} }

// Const and Volatile return t with the qualifier.
func Const(t btf.Type) btf.Type    { return &btf.Const{Type: t} }
func Volatile(t btf.Type) btf.Type { return &btf.Volatile{Type: t} }

// M returns a member, whose place Struct finds.
func M(name string, t btf.Type) btf.Member { return btf.Member{Name: name, Type: t} }

// Struct returns a struct with C's usual layout.
func Struct(name string, members ...btf.Member) *btf.Struct {
	s := &btf.Struct{Name: name, Members: members}
	align := uint32(1)
	for i := range members {
		a := alignof(members[i].Type)
		align = max(align, a)
		s.Size = (s.Size + a - 1) / a * a
		members[i].Offset = btf.Bits(s.Size * 8)
		s.Size += sizeof(members[i].Type)
	}
	s.Size = (s.Size + align - 1) / align * align
	return s
}

// Union returns a union with C's usual layout.
func Union(name string, members ...btf.Member) *btf.Union {
	u := &btf.Union{Name: name, Members: members}
	align := uint32(1)
	for _, m := range members {
		align = max(align, alignof(m.Type))
		u.Size = max(u.Size, sizeof(m.Type))
	}
	u.Size = (u.Size + align - 1) / align * align
	return u
}

// V returns a value of an enum.
func V(name string, value uint64) btf.EnumValue { return btf.EnumValue{Name: name, Value: value} }

// Enum returns an enum of 4 bytes.
func Enum(name string, values ...btf.EnumValue) *btf.Enum {
	return &btf.Enum{Name: name, Size: 4, Values: values}
}

// Map returns the type of a map's declaration with __uint(type, typ), max_entries
// and, unless nil, key and value.
func Map(typ, entries uint32, key, value btf.Type) *btf.Struct {
	number := func(n uint32) btf.Type { return Ptr(Array(S32, n)) }
	members := []btf.Member{M("type", number(typ)), M("max_entries", number(entries))}
	if key != nil {
		members = append(members, M("key", Ptr(key)))
	}
	if value != nil {
		members = append(members, M("value", Ptr(value)))
	}
	return Struct("", members...)
}

func sizeof(t btf.Type) uint32 {
	// A type that is wrong on purpose, for tests that want an error, has no size.
	n, err := btf.Sizeof(t)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// alignof returns the alignment that C gives the type.
func alignof(t btf.Type) uint32 {
	align := uint32(1)
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Int:
		align = min(t.Size, 8)
	case *btf.Float:
		align = t.Size
	case *btf.Enum:
		align = t.Size
	case *btf.Pointer:
		align = 8
	case *btf.Array:
		align = alignof(t.Type)
	case *btf.Struct:
		for _, m := range t.Members {
			align = max(align, alignof(m.Type))
		}
	case *btf.Union:
		for _, m := range t.Members {
			align = max(align, alignof(m.Type))
		}
	}
	return max(align, 1)
}
