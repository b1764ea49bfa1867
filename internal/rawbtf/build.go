package rawbtf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"
)

// Flagged is the bit that [Type.Flag] returns, for the number of parts of a type that is
// added.
const Flagged uint32 = 1 << 31

// Builder makes BTF: anew, or by changes to what there is.
type Builder struct {
	// types are those that there are so far. Each has a mark.
	types Types
	// offsets are those of the strings that Intern has added.
	offsets map[string]uint32
}

// NewBuilder returns a builder of BTF without types. base is nil, or the kernel's for the
// BTF of a module, which has the base's byte order.
func NewBuilder(order binary.ByteOrder, base *Types) *Builder {
	b := &Builder{
		types:   Types{base: base, firstID: 1, swap: !isNative(order), lasting: base == nil, whole: true, strings: []byte{0}},
		offsets: map[string]uint32{"": 0},
	}
	b.types.follow(base)
	return b
}

// Edit returns a builder of what t has, of which it keeps nothing: t stays as it is. What t
// has at its end that is not a whole type is left out.
func (t *Types) Edit() *Builder {
	t.Len()
	b := NewBuilder(t.Order(), nil)
	b.types = Types{
		base: t.base, firstID: t.firstID, firstString: t.firstString, swap: t.swap, lasting: t.base == nil, whole: true,
		types: bytes.Clone(t.types[:t.end]), strings: bytes.Clone(t.strings),
		walked: t.walked, end: t.end, marks: make([]uint32, 0, t.walked),
	}
	for off := uint32(0); off < t.end; off += b.types.step(off) {
		b.types.marks = append(b.types.marks, off)
	}
	return b
}

// Types returns what there is, to read; it goes on with what is built. Only [Types.Named]
// and what uses it remember what was there when they were called first.
func (b *Builder) Types() *Types { return &b.types }

// Len returns the ID that the next type will have.
func (b *Builder) Len() uint32 { return b.types.Len() }

// At returns the type with the ID, that of void when there is none or it is the base's, which
// is not to be changed. It is to be used before the next type is added.
func (b *Builder) At(id uint32) Editable {
	if id < b.types.firstID {
		return Editable{Type{in: &b.types}}
	}
	return Editable{b.types.At(id)}
}

// Intern returns the offset of a string, which is added the first time.
func (b *Builder) Intern(s string) uint32 {
	off, ok := b.offsets[s]
	if !ok {
		off = b.types.firstString + uint32(len(b.types.strings))
		b.offsets[s] = off
		b.types.strings = append(append(b.types.strings, s...), 0)
	}
	return off
}

// Add adds a type and returns its ID: the offset of its name, its kind, how many parts it
// has or its linkage (with [Flagged], if so), its size or the type that it refers to, and
// the words that follow.
func (b *Builder) Add(name uint32, kind Kind, n, sizeOrType uint32, rest ...uint32) uint32 {
	start := len(b.types.types)
	b.types.types = append(b.types.types, make([]byte, typeSize+4*len(rest))...)
	t := Editable{Type{in: &b.types, raw: b.types.types[start:]}}
	t.put(0, name)
	t.put(1, uint32(kind)<<24|n)
	t.put(2, sizeOrType)
	for i, w := range rest {
		t.put(3+i, w)
	}
	return b.added()
}

// AddCopy adds a type as it is, of the same byte order, and returns its ID. IDs and offsets
// of strings in it must be those of this BTF.
func (b *Builder) AddCopy(t Type) uint32 {
	b.types.types = append(b.types.types, t.raw...)
	return b.added()
}

// added returns the ID of the type that was appended.
func (b *Builder) added() uint32 {
	t := &b.types
	t.marks = append(t.marks, t.end)
	t.end = uint32(len(t.types))
	t.walked++
	return t.firstID + t.walked - 1
}

// AddInt adds a signed integer of size bytes.
func (b *Builder) AddInt(name string, size uint32) uint32 {
	const signed = 1 << 24
	return b.Add(b.Intern(name), Int, 0, size, signed|8*size)
}

// AddVar adds a variable.
func (b *Builder) AddVar(name string, l Linkage, typ uint32) uint32 {
	return b.Add(b.Intern(name), Var, 0, typ, uint32(l))
}

// AddDatasec adds the DATASEC of a section of size bytes, with at most 65,535 entries.
func (b *Builder) AddDatasec(name string, size uint32, entries []Secinfo) uint32 {
	words := make([]uint32, 0, 3*len(entries))
	for _, e := range entries {
		words = append(words, e.Type, e.Offset, e.Size)
	}
	return b.Add(b.Intern(name), Datasec, uint32(len(entries)), size, words...)
}

// AddComposite adds a struct or union as t is, with other members.
func (b *Builder) AddComposite(t Type, members []RawMember) uint32 {
	words := make([]uint32, 0, 3*len(members))
	for _, m := range members {
		words = append(words, m.Name, m.Type, m.Offset)
	}
	return b.Add(t.NameOffset(), t.Kind(), t.info()&Flagged|uint32(len(members)), t.ByteSize(), words...)
}

// Bytes returns the BTF, with a plain header.
func (b *Builder) Bytes() ([]byte, error) {
	types, strings := b.types.types, b.types.strings
	if uint64(len(types))+uint64(len(strings)) > math.MaxInt32 {
		return nil, errors.New("has more than 2 GB of types")
	}
	out := header(b.types.Order())
	for _, w := range []int{HeaderSize, 0, len(types), len(types), len(strings)} {
		out = append32(b.types.Order(), out, uint32(w))
	}
	return slices.Concat(out, types, strings), nil
}

// header is what both sections start with: magic, version and flags.
func header(order binary.ByteOrder) []byte {
	out := make([]byte, 4)
	order.PutUint16(out, magic)
	out[2] = 1
	return out
}

func append32(order binary.ByteOrder, b []byte, w uint32) []byte {
	var buf [4]byte
	order.PutUint32(buf[:], w)
	return append(b, buf[:]...)
}

// Editable is a type that may be changed: one of a [Builder], or a copy.
type Editable struct{ Type }

func (e Editable) put(i int, w uint32) {
	if 4*i+4 <= len(e.raw) {
		if e.in.swap {
			w = bits.ReverseBytes32(w)
		}
		binary.NativeEndian.PutUint32(e.raw[4*i:], w)
	}
}

// SetName changes the name to the string at an offset.
func (e Editable) SetName(off uint32) { e.put(0, off) }

// SetKind changes the kind, and how many parts the type has or its linkage. What follows in
// memory does not move: a type of the new kind must take as many bytes.
func (e Editable) SetKind(kind Kind, n uint32) { e.put(1, uint32(kind)<<24|n) }

// SetRef changes the type that the type refers to.
func (e Editable) SetRef(id uint32) { e.put(2, id) }

// SetSize changes the size, in bytes.
func (e Editable) SetSize(n uint32) { e.put(2, n) }

// SetLinkage changes the linkage of a variable or a function.
func (e Editable) SetLinkage(l Linkage) {
	if e.Kind() == Func {
		e.put(1, e.info()&^0xffff|uint32(l))
		return
	}
	e.put(3, uint32(l))
}

// SetSecinfo changes the entry with the index of a DATASEC.
func (e Editable) SetSecinfo(i int, s Secinfo) {
	e.put(3+3*i, s.Type)
	e.put(4+3*i, s.Offset)
	e.put(5+3*i, s.Size)
}

// SetMember changes the member with the index of a struct or union.
func (e Editable) SetMember(i int, m RawMember) {
	e.put(3+3*i, m.Name)
	e.put(4+3*i, m.Type)
	e.put(5+3*i, m.Offset)
}

// SetParam changes the parameter with the index of a prototype: the offset of its name, and
// its type.
func (e Editable) SetParam(i int, name, typ uint32) {
	e.put(3+2*i, name)
	e.put(4+2*i, typ)
}

// SetCount changes how many elements an array has.
func (e Editable) SetCount(n uint32) { e.put(5, n) }

// SetElem changes the type of an array's elements.
func (e Editable) SetElem(id uint32) { e.put(3, id) }

// SetIntBits makes an unsigned integer of a number of bits.
func (e Editable) SetIntBits(n uint32) { e.put(3, n) }

// Rewrite returns a copy of the type in which ref has replaced each type ID and name each
// offset of a string, in the order in which they stand there. It fails for a kind that is
// newer than this program.
func (t Type) Rewrite(ref, name func(uint32) uint32) (Editable, error) {
	var memory []byte
	return t.RewriteIn(&memory, ref, name)
}

// RewriteIn is Rewrite with the memory of the copy, which is appended to: that of many types
// is best got at once.
func (t Type) RewriteIn(memory *[]byte, ref, name func(uint32) uint32) (Editable, error) {
	start := len(*memory)
	*memory = append(*memory, t.raw...)
	e := Editable{Type{in: t.in, ID: t.ID, raw: (*memory)[start:len(*memory):len(*memory)]}}
	err := fields(t.info(),
		func(i int) { e.put(i, ref(e.word(i))) },
		func(i int) { e.put(i, name(e.word(i))) })
	return e, err
}

// fields calls ref with the index of each word of a type that is a type ID, and name with
// that of each that is the offset of a string. info is the second word of the type.
func fields(info uint32, ref, name func(i int)) error {
	const first = typeSize / 4
	vlen := int(info & 0xffff)
	name(0)
	switch Kind(info >> 24 & 0x1f) {
	case Int, Fwd, Float:
	case Ptr, Typedef, Volatile, Const, Restrict, Func, Var, DeclTag, TypeTag:
		ref(2)
	case Array:
		ref(first)
		ref(first + 1)
	case Struct, Union:
		for i := range vlen {
			name(first + 3*i)
			ref(first + 3*i + 1)
		}
	case Enum:
		for i := range vlen {
			name(first + 2*i)
		}
	case Enum64:
		for i := range vlen {
			name(first + 3*i)
		}
	case FuncProto:
		ref(2)
		for i := range vlen {
			name(first + 2*i)
			ref(first + 2*i + 1)
		}
	case Datasec:
		for i := range vlen {
			ref(first + 3*i)
		}
	default:
		return ErrNewer
	}
	return nil
}

// ErrNewer is the error for a type of a kind that this program does not know.
var ErrNewer = errors.New("has a type of a kind that is newer than this program: compile with an older clang, or without its option that makes them")
