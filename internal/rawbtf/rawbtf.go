// Package rawbtf reads and writes BTF as it is in memory, without making a graph of it: a
// kernel's BTF has more than 100,000 types, of which a program needs a dozen.
//
// # Model
//
// BTF is a table of types and a table of strings. A type has an ID, which is its position in
// the table, counted from 1; ID 0 is void. It has a [Kind], an offset into the strings for
// its name, and a size or the ID of the type that it refers to. Some kinds have parts:
// members of structs and unions, values of enums, parameters of prototypes, and the secinfo
// entries of a DATASEC, which say where in a section the variables (VAR) are. Parts name
// types by their IDs and strings by their offsets. The BTF of a module goes on where its
// base, that of the kernel, ends: IDs and offsets below are those of the base.
//
// [Types] reads. [New] looks at the header only; [Types.At] walks over the types up to the
// one with the ID, once, and remembers where every 32nd of them is. [Parse] walks over all
// of them at once, for callers that look at most of them or need to know that they are whole.
// [Types.Named] finds types by their names in one pass.
//
// [Builder] writes: BTF from nothing, or changes to what there is. Types keep their IDs and
// strings their offsets, so that what refers to them stays right, and what is new goes to
// the end.
//
// [Ext] is section .BTF.ext: what is known of single instructions.
//
// BTF comes from the kernel, from files and from objects, and may be damaged. No method
// panics: a type that is cut short counts as missing. BTF may have the byte order of
// another machine.
//
// For types as a graph, with their layouts and names spelt in C, there is package btf of
// cilium/ebpf.
package rawbtf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unsafe"
)

var (
	// ErrNotBTF is the error for contents that do not begin as BTF does.
	ErrNotBTF = errors.New("is not BTF")
	// ErrDamaged is the error for contents that no compiler, linker or kernel writes.
	ErrDamaged = errors.New("is damaged")
)

// Kind is the kind of a type: BTF_KIND_* of linux/btf.h.
type Kind uint8

// The kinds of types.
const (
	Void Kind = iota
	Int
	Ptr
	Array
	Struct
	Union
	Enum
	Fwd
	Typedef
	Volatile
	Const
	Restrict
	Func
	FuncProto
	Var
	Datasec
	Float
	DeclTag
	TypeTag
	Enum64
	numKinds
)

var kindNames = [numKinds]string{"void", "integer", "pointer", "array", "struct", "union", "enum", "forward declaration",
	"typedef", "volatile", "const", "restrict", "function", "function type", "variable", "section", "float",
	"declaration tag", "type tag", "enum"}

// String is the kind as a C programmer calls it.
func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// IsEnum reports whether values of the kind are named: those of both widths.
func (k Kind) IsEnum() bool { return k == Enum || k == Enum64 }

// IsComposite reports whether the kind has members.
func (k Kind) IsComposite() bool { return k == Struct || k == Union }

// IsModifier reports whether a type of the kind is the one that it refers to, with a
// qualifier or a tag.
func (k Kind) IsModifier() bool { return k == Const || k == Volatile || k == Restrict || k == TypeTag }

// Linkage is the linkage of a variable or a function: BTF_VAR_* and BTF_FUNC_*.
type Linkage uint32

// The linkages. Static ones are those of one file.
const (
	Static Linkage = iota
	Global
	Extern
)

// HeaderSize is the size of BTF's header in bytes, without what newer compilers put there.
const HeaderSize = 24

// What BTF's structures take, in bytes.
const (
	magic    = 0xeb9f
	typeSize = 12
)

// What follows the 12 bytes that every type starts with is a fixed part, and a part for
// each of its members, values, parameters or variables. Both are here in words, two bits
// for each kind: numbers in registers take the search less time than a table.
const (
	fixed = 1<<(2*Int) | 3<<(2*Array) | 1<<(2*Var) | 1<<(2*DeclTag)
	each  = 3<<(2*Struct) | 3<<(2*Union) | 2<<(2*Enum) | 2<<(2*FuncProto) | 3<<(2*Datasec) | 3<<(2*Enum64)
)

// sizeOf returns the number of bytes of a type whose second word is info.
func sizeOf(info uint32) uint {
	kind := info >> 23 & 0x3e
	return typeSize + 4*uint(uint64(fixed)>>kind&3+uint64(each)>>kind&3*uint64(info&0xffff))
}

// markShift is the distance of marks in BTF that is not parsed, as a power of two: every
// 32nd type has a mark.
const (
	markShift = 5
	markMask  = 1<<markShift - 1
)

// Types is BTF: that of an object, of the kernel, or of a module, whose IDs and strings
// go on where those of the kernel end. It refers to the memory given to [New], and may
// not be used by several goroutines at once.
type Types struct {
	base *Types
	// firstID and firstString are those of the first type and string here.
	firstID, firstString uint32
	types, strings       []byte
	// swap is true when the bytes are in the other order than this machine's.
	swap bool
	// lasting is true when the memory outlives all names.
	lasting bool

	// marks are the offsets of types that have been walked over: of each when shift is 0, and
	// of every 32nd when it is markShift.
	marks []uint32
	shift uint8
	// walked is how many types have been walked over, and end where the next one is.
	walked, end uint32
	// whole is true when there is nothing left to walk over.
	whole bool

	// remembered are the IDs of the types that Named has found, by essential names. A name
	// that no type has is here too.
	remembered map[string][]uint32
}

// New returns the types in data, which must stay as it is for as long as they are used.
// base is nil, or the kernel's for a module. Errors are, or wrap, [ErrNotBTF] and
// [ErrDamaged].
func New(data []byte, base *Types) (*Types, error) {
	// struct btf_header: magic, version, flags, hdr_len, type_off, type_len,
	// str_off, str_len. Offsets are from the end of the header.
	order, ok := OrderOf(data)
	if !ok {
		return nil, ErrNotBTF
	}
	t := &Types{base: base, firstID: 1, shift: markShift, swap: !isNative(order)}
	if len(data) < HeaderSize {
		return nil, ErrDamaged
	}
	if base != nil && base.swap != t.swap {
		return nil, fmt.Errorf("%w: it has another byte order than its base", ErrDamaged)
	}
	length := t.u32(data[4:])
	if length < HeaderSize || uint64(length) > uint64(len(data)) {
		return nil, ErrDamaged
	}
	part := func(at int) ([]byte, bool) {
		off, n := uint64(t.u32(data[at:])), uint64(t.u32(data[at+4:]))
		body := data[length:]
		if off > uint64(len(body)) || n > uint64(len(body))-off {
			return nil, false
		}
		return body[off : off+n : off+n], true
	}
	var okTypes, okStrings bool
	t.types, okTypes = part(8)
	t.strings, okStrings = part(16)
	if !okTypes || !okStrings {
		return nil, ErrDamaged
	}
	t.follow(base)
	return t, nil
}

// follow makes IDs and offsets of strings go on where those of the base end.
func (t *Types) follow(base *Types) {
	if base != nil {
		t.firstID = base.Len()
		t.firstString = base.firstString + uint32(len(base.strings))
	}
}

// Parse is [New] for callers that look at most types: it walks over all of them, fails when
// one is cut short, and remembers where each is.
func Parse(data []byte, base *Types) (*Types, error) {
	t, err := New(data, base)
	if err != nil {
		return nil, err
	}
	const usual = 24 // bytes of a type
	t.shift, t.marks = 0, make([]uint32, 0, len(t.types)/usual)
	t.walk(1<<32 - 1)
	// All strings of a module may be those of its base.
	if int(t.end) != len(t.types) || len(t.strings) == 0 && base == nil {
		return nil, ErrDamaged
	}
	return t, nil
}

// NewLasting is [New] for memory that is never given back and never written to, such as
// that of the program: names refer to it, and take no memory of their own.
func NewLasting(data []byte) (*Types, error) {
	t, err := New(data, nil)
	if err == nil {
		t.lasting = true
	}
	return t, err
}

// OrderOf returns the byte order of BTF, by its first bytes. It reports false for what is not BTF.
func OrderOf(data []byte) (binary.ByteOrder, bool) {
	switch {
	case len(data) < 2:
		return nil, false
	case binary.LittleEndian.Uint16(data) == magic:
		return binary.LittleEndian, true
	case binary.BigEndian.Uint16(data) == magic:
		return binary.BigEndian, true
	}
	return nil, false
}

var one = []byte{1, 0}

// isNative reports whether the byte order is this machine's.
func isNative(order binary.ByteOrder) bool {
	return order.Uint16(one) == binary.NativeEndian.Uint16(one)
}

// Order returns the byte order.
func (t *Types) Order() binary.ByteOrder {
	if isNative(binary.LittleEndian) != t.swap {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

func (t *Types) u32(b []byte) uint32 {
	v := binary.NativeEndian.Uint32(b)
	if t.swap {
		v = bits.ReverseBytes32(v)
	}
	return v
}

// step returns the number of bytes that the type at off takes, 0 when it is not there
// as a whole.
func (t *Types) step(off uint32) uint32 {
	if uint64(off)+typeSize > uint64(len(t.types)) {
		return 0
	}
	n := sizeOf(t.u32(t.types[off+4:]))
	if n > uint(len(t.types))-uint(off) {
		return 0
	}
	return uint32(n)
}

// walk goes over the types until n of them are known, or all.
func (t *Types) walk(n uint32) {
	for t.walked < n && !t.whole {
		size := t.step(t.end)
		if size == 0 {
			t.whole = true
			return
		}
		if t.walked&(1<<t.shift-1) == 0 {
			t.marks = append(t.marks, t.end)
		}
		t.walked++
		t.end += size
	}
}

// First returns the ID of the first type, 1 unless there is a base.
func (t *Types) First() uint32 { return t.firstID }

// Len returns the ID after that of the last type.
func (t *Types) Len() uint32 {
	t.walk(1<<32 - 1)
	return t.firstID + t.walked
}

// At returns the type with the ID, that of void when there is none.
func (t *Types) At(id uint32) Type {
	if id < t.firstID {
		if t.base == nil || id == 0 {
			return Type{in: t}
		}
		return t.base.At(id)
	}
	n := id - t.firstID
	if n >= t.walked {
		if n == 1<<32-1 {
			return Type{in: t}
		}
		t.walk(n + 1)
		if n >= t.walked {
			return Type{in: t}
		}
	}
	off := t.marks[n>>t.shift]
	for range n & (1<<t.shift - 1) {
		off += t.step(off)
	}
	return Type{in: t, ID: id, raw: t.types[off : off+t.step(off)]}
}

// String returns the string at an offset, empty when there is none.
func (t *Types) String(off uint32) string {
	s := t.bytes(off)
	if t.lasting {
		return unsafe.String(unsafe.SliceData(s), len(s))
	}
	return string(s)
}

// Sizes returns how many bytes types and strings have, those of the base not included.
func (t *Types) Sizes() (types, strings int) { return len(t.types), len(t.strings) }

// HasString reports whether there is a string at an offset.
func (t *Types) HasString(off uint32) bool { return t.bytes(off) != nil }

// bytes returns the string at an offset, nil when there is none.
func (t *Types) bytes(off uint32) []byte {
	if off < t.firstString {
		return t.base.bytes(off)
	}
	off -= t.firstString
	if uint64(off) >= uint64(len(t.strings)) {
		return nil
	}
	s := t.strings[off:]
	if end := bytes.IndexByte(s, 0); end >= 0 {
		return s[:end]
	}
	return nil
}
