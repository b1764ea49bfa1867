package vmlinuxh

import (
	"cmp"
	"math"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
)

// layout is how a struct or union is written so that clang puts each member where
// BTF has it. BTF does not know attributes: they follow from where the members
// are, and the header is right when clang, by its own rules, finds these places.
type layout struct {
	items []item
	// packed means that the alignment of the members' types does not count.
	packed bool
	// aligned is the argument of the attribute, 0 for none.
	aligned uint64
	// align is the alignment that the type has in the header. It can be less than
	// in the kernel, but what holds the type has padding where that matters.
	align uint64
	// opaque is set when C has no way to write the members. There are none then.
	opaque bool
}

// item is a member, or padding when member is nil.
type item struct {
	member *btf.Member
	// padding is a number of bits of an unnamed bit-field, or of bytes of an array
	// where that would be too long a list.
	bits, bytes uint64
}

// maxUnnamed is the number of bits for which padding is a list of bit-fields,
// which show up in no one's debug information.
const maxUnnamed = 16 * 64

// maxSize bounds sizes of types, so that computing with bits does not overflow.
const maxSize = math.MaxInt64 / 64

func alignUp(n, align uint64) uint64 { return (n + align - 1) / align * align }

// size is the size and alignment of a type in the header; not ok when nothing
// can have the type.
type size struct {
	bytes, align uint64
	ok           bool
}

func (g *generator) sizeof(t btf.Type) size {
	if g.tooDeep() {
		return size{}
	}
	defer g.leave()
	switch t := t.(type) {
	case *btf.Int:
		if _, ok := intName(t); !ok {
			return size{uint64(t.Size), 1, true}
		}
		return size{uint64(t.Size), uint64(t.Size), true}
	case *btf.Float:
		if _, ok := floatName(t); !ok {
			return size{uint64(t.Size), 1, true}
		}
		return size{uint64(t.Size), uint64(t.Size), true}
	case *btf.Enum:
		n := enumSize(t)
		return size{n, n, true}
	case *btf.Pointer:
		return size{g.ptrSize, g.ptrSize, true}
	case *btf.Array:
		s := g.sizeof(t.Type)
		if s.bytes != 0 && uint64(t.Nelems) > maxSize/s.bytes {
			return size{}
		}
		s.bytes *= uint64(t.Nelems)
		return s
	case *btf.Typedef:
		if isVaList(t) {
			// A pointer, for BPF.
			return size{8, 8, true}
		}
		return g.sizeof(t.Type)
	case *btf.Struct:
		return g.sizeofComposite(t, t.Size)
	case *btf.Union:
		return g.sizeofComposite(t, t.Size)
	}
	if inner, ok := ctype.Unqualify(t); ok {
		return g.sizeof(inner)
	}
	return size{}
}

func (g *generator) sizeofComposite(t btf.Type, bytes uint32) size {
	if l := g.layout(t); l != nil {
		return size{uint64(bytes), l.align, true}
	}
	return size{}
}

// layout returns the layout of a struct or union, nil while that is being found
// out: a type that contains itself.
func (g *generator) layout(t btf.Type) *layout {
	if l, ok := g.layouts[t]; ok {
		return l
	}
	g.layouts[t] = nil
	var l *layout
	switch t := t.(type) {
	case *btf.Struct:
		l = g.structLayout(t)
	case *btf.Union:
		l = g.unionLayout(t)
	}
	g.layouts[t] = l
	return l
}

// place is a member and the size of its type.
type place struct {
	*btf.Member
	size
}

// places returns the members that C can have, in the order of their offsets.
func (g *generator) places(members []btf.Member) []place {
	var places []place
	for i := range members {
		m := &members[i]
		// C has no unnamed members but structs and unions; compilers of other
		// languages do.
		if m.Name == "" && composite(m.Type) == nil {
			continue
		}
		if s := g.sizeof(m.Type); s.ok {
			places = append(places, place{m, s})
		}
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.Offset, b.Offset) })
	return places
}

func opaque(bytes uint32) *layout {
	return &layout{items: []item{{bytes: uint64(bytes)}}, align: 1, opaque: true}
}

func (g *generator) structLayout(t *btf.Struct) *layout {
	places := g.places(t.Members)
	for _, packed := range []bool{false, true} {
		if l := layOut(places, uint64(t.Size)*8, packed); l != nil {
			return l
		}
	}
	return opaque(t.Size)
}

// layOut does what clang does, in bits, and adds padding wherever clang would not
// come to the place of the member. It returns nil when padding is not enough.
func layOut(places []place, total uint64, packed bool) *layout {
	l := &layout{packed: packed, align: 1}
	var pos uint64
	// pad moves pos, where clang would go on, to a later bit.
	pad := func(to uint64) bool {
		if to < pos {
			return false
		}
		l.items = append(l.items, padding(pos, to)...)
		pos = to
		return true
	}
	for _, m := range places {
		offset, align := uint64(m.Offset), m.align*8
		if packed {
			align = 8
		}
		if m.BitfieldSize > 0 {
			unit, width := m.bytes*8, uint64(m.BitfieldSize)
			if !isScalar(m.Type) || width > unit || m.Name == "" {
				return nil
			}
			// A bit-field does not straddle the units of its type, unless it is packed.
			fits := func(at uint64) bool { return packed || at%align+width <= unit }
			natural := pos
			if !fits(natural) {
				natural = alignUp(natural, align)
			}
			if natural != offset && !pad(offset) || !fits(offset) {
				return nil
			}
			pos = offset + width
		} else {
			if offset%align != 0 || alignUp(pos, align) != offset && !pad(offset) {
				return nil
			}
			pos = offset + m.bytes*8
		}
		l.items = append(l.items, item{member: m.Member})
		l.align = max(l.align, align/8)
	}
	if total%(l.align*8) != 0 || pos > total {
		return nil
	}
	if alignUp(pos, l.align*8) != total {
		pad(total)
	}
	return l
}

// padding returns what fills a struct between two bits.
func padding(from, to uint64) []item {
	var items []item
	for from < to {
		if from%8 == 0 && to-from > maxUnnamed {
			bytes := (to - from) / 8
			items = append(items, item{bytes: bytes})
			from += bytes * 8
			continue
		}
		// As much as fits in the unit that begins here, or in what is left of a byte.
		bits := uint64(64)
		for bits > 8 && (from%bits != 0 || from+bits > to) {
			bits /= 2
		}
		bits = min(bits-from%bits, to-from)
		items = append(items, item{bits: bits})
		from += bits
	}
	return items
}

func (g *generator) unionLayout(t *btf.Union) *layout {
	places := g.places(t.Members)
	for _, packed := range []bool{false, true} {
		if l := layOutUnion(places, uint64(t.Size), packed); l != nil {
			return l
		}
	}
	return opaque(t.Size)
}

func layOutUnion(places []place, total uint64, packed bool) *layout {
	l := &layout{packed: packed, align: 1}
	var bytes uint64
	for _, m := range places {
		if m.BitfieldSize > 0 {
			if !isScalar(m.Type) || uint64(m.BitfieldSize) > m.bytes*8 || m.Name == "" {
				return nil
			}
			bytes = max(bytes, alignUp(uint64(m.BitfieldSize), 8)/8)
		} else {
			bytes = max(bytes, m.bytes)
		}
		if m.Offset != 0 {
			return nil
		}
		if !packed {
			l.align = max(l.align, m.align)
		}
		l.items = append(l.items, item{member: m.Member})
	}
	if total%l.align != 0 || bytes > total {
		return nil
	}
	if alignUp(bytes, l.align) == total {
		return l
	}
	// Of the alignments that make clang round up to the size, the smallest.
	for align := l.align * 2; align <= 4096; align *= 2 {
		if alignUp(bytes, align) == total {
			l.align, l.aligned = align, align
			return l
		}
	}
	l.items = append(l.items, item{bytes: total})
	return l
}

// composite returns the struct or union that a type is by other names, or nil.
func composite(t btf.Type) btf.Type {
	switch t := bare(t).(type) {
	case *btf.Struct, *btf.Union:
		return t
	}
	return nil
}

func isScalar(t btf.Type) bool {
	switch t := bare(t).(type) {
	case *btf.Int:
		_, ok := intName(t)
		return ok
	case *btf.Enum:
		return true
	}
	return false
}

// bare returns a type without typedefs and qualifiers; nil if there is no end to
// them.
func bare(t btf.Type) btf.Type {
	for range maxNesting {
		if td, ok := t.(*btf.Typedef); ok {
			t = td.Type
			continue
		}
		inner, ok := ctype.Unqualify(t)
		if !ok {
			return t
		}
		t = inner
	}
	return nil
}
