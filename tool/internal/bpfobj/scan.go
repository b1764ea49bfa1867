package bpfobj

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxDepth bounds how deep the btf package may call itself, for the reason that
// maxTypes has. A kernel has more types than maxTypes, but they do not form one
// chain.
const maxDepth = 100_000

// Kinds of types, as BTF numbers them.
const (
	KindInt = iota + 1
	KindPointer
	KindArray
	KindStruct
	KindUnion
	KindEnum
	KindFwd
	KindTypedef
	KindVolatile
	KindConst
	KindRestrict
	KindFunc
	KindFuncProto
	KindVar
	KindDatasec
	KindFloat
	KindDeclTag
	KindTypeTag
	KindEnum64
)

// RawBTF is what can be told of BTF without decoding it.
type RawBTF struct {
	Order binary.ByteOrder
	// First is the ID of the first type. It is not 1 when other BTF comes before.
	First int

	base    *RawBTF
	types   [][]byte
	visited []bool
}

// ScanBTF finds the types of raw BTF, of a kernel or, with the kernel's as base,
// of a module. Whoever decodes types after CheckDepth has the stack for it.
func ScanBTF(raw []byte, base *RawBTF) (*RawBTF, error) {
	const headerLen = 24
	damaged := errors.New("is damaged")
	r := &RawBTF{First: 1, base: base}
	switch {
	case len(raw) < headerLen:
		return nil, errors.New("is not BTF")
	case raw[0] == 0x9f && raw[1] == 0xeb:
		r.Order = binary.LittleEndian
	case raw[0] == 0xeb && raw[1] == 0x9f:
		r.Order = binary.BigEndian
	default:
		return nil, errors.New("is not BTF")
	}
	if base != nil {
		if base.Order != r.Order {
			return nil, errors.New("has another byte order than its base")
		}
		r.First = base.First + len(base.types)
	}
	start := uint64(r.Order.Uint32(raw[4:])) + uint64(r.Order.Uint32(raw[8:]))
	end := start + uint64(r.Order.Uint32(raw[12:]))
	if end > uint64(len(raw)) {
		return nil, damaged
	}
	for types := raw[start:end]; len(types) > 0; {
		size := typeSize(types, r.Order)
		if size > len(types) {
			return nil, damaged
		}
		r.types = append(r.types, types[:size])
		types = types[size:]
	}
	r.visited = make([]bool, len(r.types))
	return r, nil
}

// End is the ID after that of the last type.
func (r *RawBTF) End() int { return r.First + len(r.types) }

// Kind returns the kind of a type.
func (r *RawBTF) Kind(id int) int {
	return int(r.Order.Uint32(r.types[id-r.First][4:]) >> 24 & 0x1f)
}

// References returns the IDs of the types that a type refers to, in the order in
// which the btf package decodes them.
func (r *RawBTF) References(id int) []int {
	t := r.types[id-r.First]
	word := func(offset int) int { return int(r.Order.Uint32(t[offset:])) }
	const header = 12
	own := word(8)
	switch r.Kind(id) {
	case KindInt, KindEnum, KindFwd, KindFloat, KindEnum64:
		return nil
	case KindArray:
		return []int{word(header + 4), word(header)}
	case KindStruct, KindUnion:
		var ids []int
		for o := header; o < len(t); o += 12 {
			ids = append(ids, word(o+4))
		}
		return ids
	case KindFuncProto:
		var ids []int
		for o := header; o < len(t); o += 8 {
			ids = append(ids, word(o+4))
		}
		return append(ids, own)
	case KindDatasec:
		var ids []int
		for o := header; o < len(t); o += 12 {
			ids = append(ids, word(o))
		}
		return ids
	}
	return []int{own}
}

// owner returns the BTF that has the type, nil when none has.
func (r *RawBTF) owner(id int) *RawBTF {
	for ; r != nil; r = r.base {
		if id >= r.First && id < r.End() {
			return r
		}
	}
	return nil
}

// CheckDepth tells whether there is stack enough to decode the types in the
// order given. It goes where the btf package will go, with a stack of its own.
func (r *RawBTF) CheckDepth(ids []int) error {
	var todo [][]int
	for _, id := range ids {
		todo = append(todo, []int{id})
		for len(todo) > 0 {
			top := &todo[len(todo)-1]
			if len(*top) == 0 {
				todo = todo[:len(todo)-1]
				continue
			}
			next := (*top)[0]
			*top = (*top)[1:]
			owner := r.owner(next)
			if owner == nil || owner.visited[next-owner.First] {
				continue
			}
			owner.visited[next-owner.First] = true
			if len(todo) == maxDepth {
				return fmt.Errorf("has types that refer to each other in a chain of more than %d, which no compiler makes", maxDepth)
			}
			todo = append(todo, owner.References(next))
		}
	}
	return nil
}

// HasName tells whether a type has a name.
func (r *RawBTF) HasName(id int) bool {
	return r.Order.Uint32(r.types[id-r.First]) != 0
}
