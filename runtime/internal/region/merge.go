package region

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"

	"github.com/cilium/ebpf/btf"
)

// merge carries a write to the old pages, made while they were being replaced, over into *to,
// the word with the given index in the region's new pages. before is what the old word was when
// the new pages were filled, and now what it is at the end.
//
// A new word that was not written to becomes now. Otherwise the order of the two writes is
// lost, and the type of the word decides: an integer of 4 or 8 bytes gets both changes, as a
// counter must; anything else keeps the later value. A new word into which the value before was
// written again looks unwritten, and becomes now.
func (r *Region) merge(to *uint64, index int, before, now uint64) {
	for {
		current := atomic.LoadUint64(to)
		merged := now
		if current != before {
			merged = mergeWord(r.datasec(), uint32(index)*8, before, now, current)
		}
		if atomic.CompareAndSwapUint64(to, current, merged) {
			return
		}
	}
}

func (r *Region) datasec() *btf.Datasec {
	if r.Types == nil {
		return nil
	}
	return r.Types()
}

// mergeWord returns what the word at offset of the section becomes when one side has changed it
// from before to now, and the other, later, to current.
func mergeWord(section *btf.Datasec, offset uint32, before, now, current uint64) uint64 {
	var b, n, c [8]byte
	binary.NativeEndian.PutUint64(b[:], before)
	binary.NativeEndian.PutUint64(n[:], now)
	binary.NativeEndian.PutUint64(c[:], current)
	for at := uint32(0); at < 8; {
		s := scalarAt(section, offset+at)
		end := min(s.start+s.size-offset, 8)
		whole := s.start >= offset && s.start+s.size <= offset+8
		switch {
		case s.counts && whole && s.size == 8:
			return current + now - before
		case s.counts && whole && s.size == 4:
			order := binary.NativeEndian
			order.PutUint32(c[at:], order.Uint32(c[at:])+order.Uint32(n[at:])-order.Uint32(b[at:]))
		case bytes.Equal(c[at:end], b[at:end]):
			copy(c[at:end], n[at:end])
		}
		at = end
	}
	return binary.NativeEndian.Uint64(c[:])
}

// scalar is a piece of a section that is written as one.
type scalar struct {
	start, size uint32
	// counts is true when it is an integer that sync/atomic can add to.
	counts bool
}

// scalarAt returns the scalar that has the byte at offset, or that byte where no type
// says what there is.
func scalarAt(section *btf.Datasec, offset uint32) scalar {
	if section != nil {
		for _, v := range section.Vars {
			if variable, ok := v.Type.(*btf.Var); ok && v.Offset <= offset && offset-v.Offset < v.Size {
				return scalarIn(variable.Type, v.Offset, offset)
			}
		}
	}
	return scalar{start: offset, size: 1}
}

// scalarIn is scalarAt for what is of type t and begins at start.
func scalarIn(t btf.Type, start, offset uint32) scalar {
	size := func(t btf.Type) uint32 {
		n, err := btf.Sizeof(t)
		if err != nil {
			return 0
		}
		return uint32(n)
	}
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Int:
		counts := t.Encoding != btf.Bool && t.Encoding != btf.Char
		return scalar{start, t.Size, counts}
	case *btf.Enum, *btf.Float, *btf.Pointer, *btf.Union:
		if n := size(t); n > 0 {
			return scalar{start: start, size: n}
		}
	case *btf.Array:
		if n := size(t.Type); n > 0 {
			return scalarIn(t.Type, start+(offset-start)/n*n, offset)
		}
	case *btf.Struct:
		for _, m := range t.Members {
			at := start + m.Offset.Bytes()
			if m.BitfieldSize == 0 && at <= offset && offset-at < size(m.Type) {
				return scalarIn(m.Type, at, offset)
			}
		}
	}
	return scalar{start: offset, size: 1}
}
