// Package rawbtf is the contents of the sections .BTF and .BTF.ext as they are in
// the file: types are numbers, names are offsets of strings, and single fields can
// be read and changed.
//
// What asks what a type is uses cilium's package btf. This one is for what writes
// objects: [BTF] for those that change some fields of one object, and [Builder]
// and [Ext] for those that make the sections anew.
package rawbtf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
)

// BTF is the contents of section .BTF, of which single fields can be changed.
// Types keep their numbers and names their offsets, so that what refers to them
// (.BTF.ext, and CO-RE relocations in it) stays right; new names go to the end.
//
// Methods that take the number of a type want one that [BTF.At] knows, except for
// At and Kind.
type BTF struct {
	order binary.ByteOrder
	// header is struct btf_header, with what a newer version may have added.
	header  []byte
	types   []byte
	strings []byte
	// offsets are where each type is in types; type 0 is void, and nowhere.
	offsets []int
}

// Kind is the kind of a type, by the kernel's number.
type Kind uint32

// The kinds are those of the kernel's BTF_KIND_*.
const (
	Void      Kind = 0
	Int       Kind = 1
	Ptr       Kind = 2
	Array     Kind = 3
	Struct    Kind = 4
	Union     Kind = 5
	Enum      Kind = 6
	Fwd       Kind = 7
	Typedef   Kind = 8
	Volatile  Kind = 9
	Const     Kind = 10
	Restrict  Kind = 11
	Func      Kind = 12
	FuncProto Kind = 13
	Var       Kind = 14
	Datasec   Kind = 15
	Float     Kind = 16
	DeclTag   Kind = 17
	TypeTag   Kind = 18
	Enum64    Kind = 19
)

var kindNames = [...]string{"void", "integer", "pointer", "array", "struct", "union", "enum", "forward declaration",
	"typedef", "volatile", "const", "restrict", "function", "function type", "variable", "section", "float",
	"declaration tag", "type tag", "enum"}

// String is the kind as a C programmer calls it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Linkage says which files see a variable or a function, by the kernel's numbers.
type Linkage uint32

// The linkages are those of the kernel's BTF_VAR_* and BTF_FUNC_*.
const (
	Static Linkage = 0
	Global Linkage = 1
	Extern Linkage = 2
)

// MaxTypes bounds the BTF of an object for those who look at all of it: objects
// have some thousands of types. A kernel has 150,000, and is no object.
const MaxTypes = 100_000

// The sizes of BTF's structures: the header, what every type starts with, and the
// places of the fields in them.
const (
	btfHeaderSize = 24
	btfMagic      = 0xeb9f
	typeSize      = 12
	secinfoSize   = 12
)

// ErrDamaged is the error for contents that no compiler or linker writes.
var ErrDamaged = errors.New("is damaged: build the object again")

// Parse reads the contents of a section .BTF. It copies what it keeps, and does not
// panic, whatever data is.
func Parse(data []byte, order binary.ByteOrder) (*BTF, error) {
	// struct btf_header: magic, version, flags, hdr_len, type_off, type_len,
	// str_off, str_len. Offsets are from the end of the header.
	if len(data) < btfHeaderSize || order.Uint16(data) != btfMagic {
		return nil, ErrDamaged
	}
	length := uint64(order.Uint32(data[4:]))
	if length < btfHeaderSize || length > uint64(len(data)) {
		return nil, ErrDamaged
	}
	part := func(at int) []byte {
		off, n := uint64(order.Uint32(data[at:])), uint64(order.Uint32(data[at+4:]))
		if body := data[length:]; off <= uint64(len(body)) && n <= uint64(len(body))-off {
			return slices.Clone(body[off : off+n])
		}
		return nil
	}
	b := &BTF{
		order:   order,
		header:  slices.Clone(data[:length]),
		types:   part(8),
		strings: part(16),
		offsets: []int{-1},
	}
	if b.types == nil || len(b.strings) == 0 {
		return nil, ErrDamaged
	}
	for off := 0; off < len(b.types); {
		n := b.sizeAt(off)
		if n > len(b.types)-off {
			return nil, ErrDamaged
		}
		b.offsets = append(b.offsets, off)
		off += n
	}
	return b, nil
}

// sizeAt returns the number of bytes that the type at off takes.
func (b *BTF) sizeAt(off int) int {
	if len(b.types)-off < typeSize {
		return typeSize
	}
	info := b.order.Uint32(b.types[off+4:])
	vlen := int(info & 0xffff)
	switch Kind(info >> 24 & 0x1f) {
	case Int, Var, DeclTag:
		return typeSize + 4
	case Array:
		return typeSize + 12
	case Struct, Union, Datasec, Enum64:
		return typeSize + 12*vlen
	case Enum, FuncProto:
		return typeSize + 8*vlen
	}
	return typeSize
}

// Bytes returns the contents of the section.
func (b *BTF) Bytes() []byte {
	out := slices.Clone(b.header)
	types, strings := uint32(len(b.types)), uint32(len(b.strings))
	for i, n := range []uint32{0, types, types, strings} {
		b.order.PutUint32(out[8+4*i:], n)
	}
	return slices.Concat(out, b.types, b.strings)
}

// At returns the type's bytes, which start with name_off, info and size or type;
// nil for void and for a number that no type has.
func (b *BTF) At(id uint32) []byte {
	if id == 0 || uint64(id) >= uint64(len(b.offsets)) {
		return nil
	}
	off := b.offsets[id]
	return b.types[off : off+b.sizeAt(off)]
}

// Kind returns the type's kind, 0 for void and for a number that no type has.
func (b *BTF) Kind(id uint32) Kind {
	t := b.At(id)
	if t == nil {
		return 0
	}
	return Kind(b.order.Uint32(t[4:]) >> 24 & 0x1f)
}

// Len returns the number that is one more than that of the last type.
func (b *BTF) Len() uint32 { return uint32(len(b.offsets)) }

// Vlen returns how many members, values, parameters or variables the type has.
func (b *BTF) Vlen(id uint32) int { return int(b.order.Uint32(b.At(id)[4:]) & 0xffff) }

// Name returns the name of the type, "" for one that has none.
func (b *BTF) Name(id uint32) string {
	s, _ := b.String(b.order.Uint32(b.At(id)))
	return s
}

// String returns the string at an offset, and whether there is one.
func (b *BTF) String(off uint32) (string, bool) {
	if uint64(off) >= uint64(len(b.strings)) {
		return "", false
	}
	s, _, ok := bytes.Cut(b.strings[off:], []byte{0})
	return string(s), ok
}

// SetName renames the type: the old name may be that of other types too.
func (b *BTF) SetName(id uint32, name string) {
	b.order.PutUint32(b.At(id), uint32(len(b.strings)))
	b.strings = append(append(b.strings, name...), 0)
}

// Ref is the type that the type refers to, SetRef changes it.
func (b *BTF) Ref(id uint32) uint32 { return b.order.Uint32(b.At(id)[8:]) }
func (b *BTF) SetRef(id, to uint32) { b.order.PutUint32(b.At(id)[8:], to) }

// Size is the size of the type in bytes, of kinds that have it in place of a type
// that they refer to. SetSize changes it.
func (b *BTF) Size(id uint32) uint32   { return b.Ref(id) }
func (b *BTF) SetSize(id, size uint32) { b.SetRef(id, size) }

// Flag is the bit of a type's info that no kind uses for the same: a forward
// declaration is that of a union, members are bit-fields, an enum is signed.
func (b *BTF) Flag(id uint32) bool { return b.order.Uint32(b.At(id)[4:])>>31 != 0 }

// Linkage is the linkage of a variable or a function.
func (b *BTF) Linkage(id uint32) Linkage {
	if b.Kind(id) == Func {
		return Linkage(b.Vlen(id))
	}
	return Linkage(b.Word(id, 0))
}

// SetLinkage changes the linkage of a variable or a function.
func (b *BTF) SetLinkage(id uint32, l Linkage) {
	t := b.At(id)
	if b.Kind(id) == Func {
		b.order.PutUint32(t[4:], b.order.Uint32(t[4:])&^0xffff|uint32(l))
		return
	}
	b.order.PutUint32(t[typeSize:], uint32(l))
}

// Word returns the i-th word of what follows the three words that every type has.
func (b *BTF) Word(id uint32, i int) uint32 { return b.order.Uint32(b.At(id)[typeSize+4*i:]) }

// Datasecs returns the lists of variables of the sections called name.
func (b *BTF) Datasecs(name string) []uint32 {
	var ids []uint32
	for id := range uint32(len(b.offsets)) {
		if b.Kind(id) == Datasec && b.Name(id) == name {
			ids = append(ids, id)
		}
	}
	return ids
}

// Secinfo is an entry of a section's list of variables.
type Secinfo struct {
	// ID is the number of the variable, or of a function.
	ID uint32
	// Offset and Size are in bytes. Clang leaves the offsets of global variables
	// zero, and a linker fills them in.
	Offset, Size uint32
}

// Secinfo returns entry i of the section's list id.
func (b *BTF) Secinfo(id uint32, i int) Secinfo {
	e := b.At(id)[typeSize+secinfoSize*i:]
	return Secinfo{b.order.Uint32(e), b.order.Uint32(e[4:]), b.order.Uint32(e[8:])}
}

// SetOffset changes the offset of entry i of the section's list id.
func (b *BTF) SetOffset(id uint32, i int, offset uint32) {
	b.order.PutUint32(b.At(id)[typeSize+secinfoSize*i+4:], offset)
}

// maxSteps bounds how many types are followed: more than any C program needs, and
// an end to cycles, which C cannot make.
const maxSteps = 64

// SkipModifiers returns the type that is behind const and its like.
func (b *BTF) SkipModifiers(id uint32) uint32 {
	for range maxSteps {
		switch b.Kind(id) {
		case Const, Volatile, Restrict, TypeTag:
			id = b.Ref(id)
		default:
			return id
		}
	}
	return id
}

// Align returns the alignment of a variable of the type. What can be in .kconfig
// are integers, enums and arrays of these.
func (b *BTF) Align(id uint32) uint32 {
	const most = 8
	for range maxSteps {
		switch id = b.SkipModifiers(id); b.Kind(id) {
		case Typedef:
			id = b.Ref(id)
		case Array:
			id = b.order.Uint32(b.At(id)[typeSize:])
		case Int, Enum, Enum64, Float:
			if size := b.Ref(id); size == 1 || size == 2 || size == 4 {
				return size
			}
			return most
		default:
			return most
		}
	}
	return most
}
