package rawbtf

import (
	"encoding/binary"
)

// EssentialName returns the name without its flavour: "task_struct" of
// "task_struct___old". libbpf's rule: a flavour follows the last three underscores that
// have another character on both sides.
func EssentialName[T string | []byte](name T) T {
	for i := len(name) - 5; i >= 0; i-- {
		if name[i] != '_' && name[i+1] == '_' && name[i+2] == '_' && name[i+3] == '_' && name[i+4] != '_' {
			return name[:i+1]
		}
	}
	return name
}

// Names are names of types to look for, without flavours.
type Names struct {
	// first is of what the names begin with, and second of what more of them begins with:
	// most names of a kernel begin with something else.
	first, second filter
	wanted        map[string]struct{}
}

// NewNames returns the names.
func NewNames(names ...string) *Names {
	n := &Names{wanted: make(map[string]struct{}, len(names))}
	for _, name := range names {
		n.Add(name)
	}
	return n
}

// Add adds a name, which has no flavour. An empty one is ignored.
func (n *Names) Add(name string) {
	if name == "" {
		return
	}
	n.wanted[name] = struct{}{}
	n.first.add(uint32(beginning(name)))
	// With a flavour, the name goes on with underscores.
	n.first.add(uint32(beginning(name + "___")))
	n.second.add(fold(beginning(name)))
}

// Len returns how many names there are.
func (n *Names) Len() int { return len(n.wanted) }

// beginning returns the first eight bytes of a name, or what there is of it. The first four
// are the same for all flavours, but for those of three bytes or less, which go on with
// underscores.
func beginning(name string) uint64 {
	var b [8]byte
	copy(b[:], name)
	return binary.LittleEndian.Uint64(b[:])
}

// fold makes one number of the beginnings of all flavours of a name, by clearing these.
func fold(v uint64) uint32 {
	underscores := zeros(v ^ 0x5f5f5f5f5f5f5f5f)
	if three := underscores & (underscores >> 8) & (underscores >> 16); three != 0 {
		v &= three&-three>>7 - 1
	}
	// The first of three, which may go on.
	for i := 56; i >= 48 && v>>i == '_'; i -= 8 {
		v &= 1<<i - 1
	}
	return uint32(v>>32)*0x85ebca6b ^ uint32(v)
}

// filter is a set of numbers that has others too, by chance.
type filter [1 << filterBits / 64]uint64

const filterBits = 12

func hash(v uint32) uint32 { return v * 0x9e3779b1 >> (32 - filterBits) }

func (f *filter) add(v uint32) { f[hash(v)/64] |= 1 << (hash(v) % 64) }

func (f *filter) has(v uint32) bool { return f[hash(v)/64]>>(hash(v)%64)&1 != 0 }

// zeros has the upper bit of every byte of v that is zero.
func zeros(v uint64) uint64 {
	const low = 0x7f7f7f7f7f7f7f7f
	return ^(v&low + low | v | low)
}

// Named calls found with every type that has one of the names, whatever its flavour, in
// the order of the IDs for each name. Tags have no names. It does not look at the types
// of the base. Names that were looked for before cost nothing.
func (t *Types) Named(names *Names, found func(essential string, typ Type)) {
	if t.remembered == nil {
		t.remembered = make(map[string][]uint32)
	}
	fresh := NewNames()
	for name := range names.wanted {
		if _, ok := t.remembered[name]; !ok {
			t.remembered[name] = nil
			fresh.Add(name)
		}
	}
	if fresh.Len() > 0 {
		t.search(fresh)
	}
	for name := range names.wanted {
		for _, id := range t.remembered[name] {
			found(name, t.At(id))
		}
	}
}

// Find returns the first type of the kind that has exactly the name, flavour included. It
// reports false when there is none, and looks where Named does.
func (t *Types) Find(name string, kind Kind) (Type, bool) {
	essential := EssentialName(name)
	ids, ok := t.remembered[essential]
	if !ok {
		t.Named(NewNames(essential), func(string, Type) {})
		ids = t.remembered[essential]
	}
	for _, id := range ids {
		if typ := t.At(id); typ.Kind() == kind && string(t.bytes(typ.word(0))) == name {
			return typ, true
		}
	}
	return Type{in: t}, false
}

// Lacking returns those of the names, which Named was asked for before, that no type has.
func (t *Types) Lacking(names *Names) *Names {
	lacking := NewNames()
	for name := range names.wanted {
		if len(t.remembered[name]) == 0 {
			lacking.Add(name)
		}
	}
	return lacking
}

// search adds the IDs of types with the names to what is remembered, by a pass over all
// types. Where the next type is depends on this one, which takes the machine longer than
// the look at the name, as long as there is no branch in it that it cannot foresee.
func (t *Types) search(names *Names) {
	var off, n uint
	types, strs, filter := t.types, t.strings, &names.first
	first, last := uint64(t.firstString), uint64(max(len(strs)-8, 0))
	marks, walked := t.marks, uint(t.walked)
	for off+typeSize <= uint(len(types)) {
		at, info := t.u32(types[off:]), t.u32(types[off+4:])
		size := sizeOf(info)
		if size > uint(len(types))-off {
			break
		}
		if n >= walked {
			if n&markMask == 0 {
				marks = append(marks, uint32(off))
			}
		}
		// A module has names among the kernel's strings too, and those are few.
		start := uint64(at) - first
		if start >= last || filter.has(uint32(beforeZero(binary.LittleEndian.Uint64(strs[start:])))) {
			t.compare(names, at, uint32(n), Kind(info>>24&0x1f))
		}
		off += size
		n++
	}
	if n > walked {
		t.walked, t.end = uint32(n), uint32(off)
	}
	t.marks, t.whole = marks, true
}

// beforeZero clears what follows the first zero byte of a string.
func beforeZero(head uint64) uint64 {
	zero := zeros(head)
	return head & (zero&-zero>>7 - 1)
}

// compare adds type n, whose name is at an offset, to what is remembered when it has one
// of the names.
func (t *Types) compare(names *Names, at, n uint32, kind Kind) {
	if kind == DeclTag || kind == TypeTag {
		return
	}
	text := t.bytes(at)
	if len(text) >= 8 && !names.second.has(fold(binary.LittleEndian.Uint64(text))) {
		return
	}
	name := EssentialName(text)
	if _, ok := names.wanted[string(name)]; ok {
		t.remembered[string(name)] = append(t.remembered[string(name)], t.firstID+n)
	}
}
