package normalise

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// rawBTF is the contents of section .BTF, of which single fields can be changed.
// Types keep their numbers and names their offsets, so that what refers to them
// (.BTF.ext, and CO-RE relocations in it) stays right; new names go to the end.
type rawBTF struct {
	order binary.ByteOrder
	// header is struct btf_header, with what a newer version may have added.
	header  []byte
	types   []byte
	strings []byte
	// offsets are where each type is in types; type 0 is void, and nowhere.
	offsets []int
}

// The kinds and linkages of BTF that matter here, by the kernel's numbers.
const (
	kindInt      = 1
	kindArray    = 3
	kindStruct   = 4
	kindUnion    = 5
	kindEnum     = 6
	kindTypedef  = 8
	kindVolatile = 9
	kindConst    = 10
	kindRestrict = 11
	kindFunc     = 12
	kindFuncProt = 13
	kindVar      = 14
	kindDatasec  = 15
	kindFloat    = 16
	kindDeclTag  = 17
	kindTypeTag  = 18
	kindEnum64   = 19

	linkageStatic = 0
	linkageGlobal = 1
)

// The sizes of BTF's structures: the header, what every type starts with, and the
// places of the fields in them.
const (
	btfHeaderSize = 24
	btfMagic      = 0xeb9f
	typeSize      = 12
	secinfoSize   = 12
)

var errDamagedBTF = errors.New("is damaged: build the object again")

func parseBTF(data []byte, order binary.ByteOrder) (*rawBTF, error) {
	// struct btf_header: magic, version, flags, hdr_len, type_off, type_len,
	// str_off, str_len. Offsets are from the end of the header.
	if len(data) < btfHeaderSize || order.Uint16(data) != btfMagic {
		return nil, errDamagedBTF
	}
	length := uint64(order.Uint32(data[4:]))
	if length < btfHeaderSize || length > uint64(len(data)) {
		return nil, errDamagedBTF
	}
	part := func(at int) []byte {
		off, n := uint64(order.Uint32(data[at:])), uint64(order.Uint32(data[at+4:]))
		if body := data[length:]; off <= uint64(len(body)) && n <= uint64(len(body))-off {
			return slices.Clone(body[off : off+n])
		}
		return nil
	}
	b := &rawBTF{
		order:   order,
		header:  slices.Clone(data[:length]),
		types:   part(8),
		strings: part(16),
		offsets: []int{-1},
	}
	if b.types == nil || len(b.strings) == 0 {
		return nil, errDamagedBTF
	}
	for off := 0; off < len(b.types); {
		n := b.sizeAt(off)
		if n > len(b.types)-off {
			return nil, errDamagedBTF
		}
		b.offsets = append(b.offsets, off)
		off += n
	}
	return b, nil
}

// sizeAt returns the number of bytes that the type at off takes.
func (b *rawBTF) sizeAt(off int) int {
	if len(b.types)-off < typeSize {
		return typeSize
	}
	info := b.order.Uint32(b.types[off+4:])
	vlen := int(info & 0xffff)
	switch info >> 24 & 0x1f {
	case kindInt, kindVar, kindDeclTag:
		return typeSize + 4
	case kindArray:
		return typeSize + 12
	case kindStruct, kindUnion, kindDatasec, kindEnum64:
		return typeSize + 12*vlen
	case kindEnum, kindFuncProt:
		return typeSize + 8*vlen
	}
	return typeSize
}

// bytes returns the contents of the section.
func (b *rawBTF) bytes() []byte {
	out := slices.Clone(b.header)
	types, strings := uint32(len(b.types)), uint32(len(b.strings))
	for i, n := range []uint32{0, types, types, strings} {
		b.order.PutUint32(out[8+4*i:], n)
	}
	return slices.Concat(out, b.types, b.strings)
}

// at returns the type's bytes, which start with name_off, info and size or type;
// nil for void and for a number that no type has.
func (b *rawBTF) at(id uint32) []byte {
	if id == 0 || uint64(id) >= uint64(len(b.offsets)) {
		return nil
	}
	off := b.offsets[id]
	return b.types[off : off+b.sizeAt(off)]
}

// kind returns the type's kind, 0 for void and for a number that no type has.
func (b *rawBTF) kind(id uint32) uint32 {
	t := b.at(id)
	if t == nil {
		return 0
	}
	return b.order.Uint32(t[4:]) >> 24 & 0x1f
}

func (b *rawBTF) vlen(id uint32) int { return int(b.order.Uint32(b.at(id)[4:]) & 0xffff) }

func (b *rawBTF) name(id uint32) string {
	off := uint64(b.order.Uint32(b.at(id)))
	if off >= uint64(len(b.strings)) {
		return ""
	}
	s, _, _ := bytes.Cut(b.strings[off:], []byte{0})
	return string(s)
}

// setName renames the type: the old name may be that of other types too.
func (b *rawBTF) setName(id uint32, name string) {
	b.order.PutUint32(b.at(id), uint32(len(b.strings)))
	b.strings = append(append(b.strings, name...), 0)
}

// ref is the type that the type refers to, setRef changes it.
func (b *rawBTF) ref(id uint32) uint32        { return b.order.Uint32(b.at(id)[8:]) }
func (b *rawBTF) setRef(id, to uint32)        { b.order.PutUint32(b.at(id)[8:], to) }
func (b *rawBTF) setSize(id, size uint32)     { b.order.PutUint32(b.at(id)[8:], size) }
func (b *rawBTF) setLinkage(id, value uint32) { b.order.PutUint32(b.at(id)[typeSize:], value) }

// setFuncLinkage sets the linkage of a function, which has the place that the
// number of members has in other kinds.
func (b *rawBTF) setFuncLinkage(id, value uint32) {
	info := b.order.Uint32(b.at(id)[4:])
	b.order.PutUint32(b.at(id)[4:], info&^0xffff|value)
}

// datasecs returns the lists of variables of the sections called name.
func (b *rawBTF) datasecs(name string) []uint32 {
	var ids []uint32
	for id := range uint32(len(b.offsets)) {
		if b.kind(id) == kindDatasec && b.name(id) == name {
			ids = append(ids, id)
		}
	}
	return ids
}

// secinfo is an entry of such a list.
type secinfo struct {
	id, offset, size uint32
}

func (b *rawBTF) secinfo(id uint32, i int) secinfo {
	e := b.at(id)[typeSize+secinfoSize*i:]
	return secinfo{b.order.Uint32(e), b.order.Uint32(e[4:]), b.order.Uint32(e[8:])}
}

func (b *rawBTF) setOffset(id uint32, i int, offset uint32) {
	b.order.PutUint32(b.at(id)[typeSize+secinfoSize*i+4:], offset)
}

// maxSteps bounds how many types are followed: more than any C program needs, and
// an end to cycles, which C cannot make.
const maxSteps = 64

// skipModifiers returns the type that is behind const and its like.
func (b *rawBTF) skipModifiers(id uint32) uint32 {
	for range maxSteps {
		switch b.kind(id) {
		case kindConst, kindVolatile, kindRestrict, kindTypeTag:
			id = b.ref(id)
		default:
			return id
		}
	}
	return id
}

// align returns the alignment of a variable of the type. What can be in .kconfig
// are integers, enums and arrays of these.
func (b *rawBTF) align(id uint32) uint32 {
	const most = 8
	for range maxSteps {
		switch id = b.skipModifiers(id); b.kind(id) {
		case kindTypedef:
			id = b.ref(id)
		case kindArray:
			id = b.order.Uint32(b.at(id)[typeSize:])
		case kindInt, kindEnum, kindEnum64, kindFloat:
			if size := b.ref(id); size == 1 || size == 2 || size == 4 {
				return size
			}
			return most
		default:
			return most
		}
	}
	return most
}
