package rawbtf

import (
	"encoding/binary"
	"errors"
	"math"
)

// Fields calls ref with the place of each field of type t that is the number of a
// type, and name with that of each that is the offset of a string. It fails for a
// kind that it does not know.
func Fields(t []byte, order binary.ByteOrder, ref, name func(at int)) error {
	info := order.Uint32(t[4:])
	vlen := int(info & 0xffff)
	name(0)
	switch Kind(info >> 24 & 0x1f) {
	case Int, Fwd, Float:
	case Ptr, Typedef, Volatile, Const, Restrict, Func, Var, DeclTag, TypeTag:
		ref(8)
	case Array:
		ref(typeSize)
		ref(typeSize + 4)
	case Struct, Union:
		for i := range vlen {
			name(typeSize + 12*i)
			ref(typeSize + 12*i + 4)
		}
	case Enum:
		for i := range vlen {
			name(typeSize + 8*i)
		}
	case Enum64:
		for i := range vlen {
			name(typeSize + 12*i)
		}
	case FuncProto:
		ref(8)
		for i := range vlen {
			name(typeSize + 8*i)
			ref(typeSize + 8*i + 4)
		}
	case Datasec:
		for i := range vlen {
			ref(typeSize + secinfoSize*i)
		}
	default:
		return errors.New("has a type of a kind that is newer than this program: compile with an older clang, or without its option that makes them")
	}
	return nil
}

// Builder makes the contents of section .BTF. Types are added as they are to be:
// with the byte order, the numbers of types and the offsets of strings of the
// result.
type Builder struct {
	order   binary.ByteOrder
	types   []byte
	n       uint32
	strings []byte
	offsets map[string]uint32
}

// NewBuilder returns a Builder without types.
func NewBuilder(order binary.ByteOrder) *Builder {
	return &Builder{order: order, strings: []byte{0}, offsets: map[string]uint32{"": 0}}
}

// Intern returns the offset of a string, which is added when it is new.
func (b *Builder) Intern(s string) uint32 {
	off, ok := b.offsets[s]
	if !ok {
		off = uint32(len(b.strings))
		b.offsets[s] = off
		b.strings = append(append(b.strings, s...), 0)
	}
	return off
}

// Add adds a type and returns its number.
func (b *Builder) Add(t []byte) uint32 {
	b.types = append(b.types, t...)
	b.n++
	return b.n
}

// AddDatasec adds the list of a section's variables.
func (b *Builder) AddDatasec(name string, size uint32, vars []Secinfo) uint32 {
	const most = 0xffff
	words := []uint32{b.Intern(name), uint32(Datasec)<<24 | uint32(len(vars)&most), size}
	for _, v := range vars {
		words = append(words, v.ID, v.Offset, v.Size)
	}
	for _, w := range words {
		b.types = append32(b.order, b.types, w)
	}
	b.n++
	return b.n
}

// Bytes returns the contents of the section.
func (b *Builder) Bytes() ([]byte, error) {
	if uint64(len(b.types))+uint64(len(b.strings)) > math.MaxInt32 {
		return nil, errors.New("has more than 2 GB of types")
	}
	out := header(b.order)
	types, strings := uint32(len(b.types)), uint32(len(b.strings))
	for _, w := range []uint32{btfHeaderSize, 0, types, types, strings} {
		out = append32(b.order, out, w)
	}
	return append(append(out, b.types...), b.strings...), nil
}

// header is what both sections start with: magic, version and flags.
func header(order binary.ByteOrder) []byte {
	out := make([]byte, 4)
	order.PutUint16(out, btfMagic)
	out[2] = 1
	return out
}

func append32(order binary.ByteOrder, b []byte, w uint32) []byte {
	var buf [4]byte
	order.PutUint32(buf[:], w)
	return append(b, buf[:]...)
}
