package subskel

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// typeName spells a type; what BTF does not have is nil.
func typeName(t btf.Type) string {
	if t == nil {
		return "a variable without a type"
	}
	return ctype.Name(t)
}

// difference is where two types are not the same: what each of them has there.
type difference struct{ a, b string }

// within puts the way to a difference in front of it.
func (d *difference) within(a, b btf.Type, step string) *difference {
	if d == nil {
		return nil
	}
	return &difference{typeName(a) + step + d.a, typeName(b) + step + d.b}
}

// differ returns the first difference between the library's type and the object's,
// nil when there is none.
func differ(library, object btf.Type) *difference {
	if library == nil || object == nil {
		return nil
	}
	c := &comparer{same: make(map[pair]bool)}
	return c.types(library, object, true)
}

// Compare reports whether two types are the same, and says what each of them has where they
// first differ. A type that is not known, which is nil, is the same as any.
func Compare(a, b btf.Type) (ofA, ofB string, same bool) {
	if d := differ(a, b); d != nil {
		return d.a, d.b, false
	}
	return "", "", true
}

type pair struct {
	a, b btf.Type
	// exact is false behind a pointer, where names are all that counts.
	exact bool
}

type comparer struct {
	// same are the pairs that are equal, or that are being compared.
	same map[pair]bool
	// depth is how deep types calls itself.
	depth int
}

// maxPairs bounds how many pairs are compared, with maxDepth, because a damaged file
// can have cycles of types that meet again only after as many steps as two cycles'
// lengths multiplied. C programs do not come near.
const maxPairs = 1 << 17

func (c *comparer) types(libType, objType btf.Type, exact bool) *difference {
	a, b := ctype.Underlying(libType), ctype.Underlying(objType)
	p := pair{a, b, exact}
	if c.same[p] {
		return nil
	}
	c.same[p] = true
	unequal := &difference{typeName(libType), typeName(objType)}
	if c.depth == maxDepth || len(c.same) > maxPairs {
		return unequal
	}
	c.depth++
	defer func() { c.depth-- }()
	if !exact && isForward(a, b) {
		return nil
	}
	switch a := a.(type) {
	case *btf.Void:
		if _, ok := b.(*btf.Void); ok {
			return nil
		}
	case *btf.Int:
		if b, ok := b.(*btf.Int); ok && a.Name == b.Name && a.Size == b.Size && a.Encoding == b.Encoding {
			return nil
		}
	case *btf.Float:
		if b, ok := b.(*btf.Float); ok && a.Name == b.Name && a.Size == b.Size {
			return nil
		}
	case *btf.Enum:
		if b, ok := b.(*btf.Enum); ok && a.Name == b.Name && a.Size == b.Size && a.Signed == b.Signed {
			return constants(a, b)
		}
	case *btf.Fwd:
		if b, ok := b.(*btf.Fwd); ok && a.Name == b.Name && a.Kind == b.Kind {
			return nil
		}
	case *btf.Pointer:
		if b, ok := b.(*btf.Pointer); ok {
			if c.types(a.Target, b.Target, false) == nil {
				return nil
			}
		}
	case *btf.Array:
		if b, ok := b.(*btf.Array); ok && a.Nelems == b.Nelems {
			return c.types(a.Type, b.Type, exact).within(libType, objType, " of ")
		}
	case *btf.FuncProto:
		if b, ok := b.(*btf.FuncProto); ok && c.functions(a, b) {
			return nil
		}
	case *btf.Struct:
		if b, ok := b.(*btf.Struct); ok && a.Name == b.Name {
			if !exact {
				return nil
			}
			return c.composites(a, b, a.Size, b.Size, a.Members, b.Members)
		}
	case *btf.Union:
		if b, ok := b.(*btf.Union); ok && a.Name == b.Name {
			if !exact {
				return nil
			}
			return c.composites(a, b, a.Size, b.Size, a.Members, b.Members)
		}
	}
	return unequal
}

// isForward reports whether one of the types is a forward declaration of the other.
func isForward(a, b btf.Type) bool {
	if _, ok := a.(*btf.Fwd); !ok {
		a, b = b, a
	}
	f, ok := a.(*btf.Fwd)
	if !ok || b == nil || f.Name != b.TypeName() {
		return false
	}
	switch b.(type) {
	case *btf.Struct:
		return f.Kind == btf.FwdStruct
	case *btf.Union:
		return f.Kind == btf.FwdUnion
	}
	return false
}

// constants makes sure that the object's enum has the constants of the library's.
func constants(a, b *btf.Enum) *difference {
	for _, v := range a.Values {
		i := slices.IndexFunc(b.Values, func(o btf.EnumValue) bool { return o.Name == v.Name })
		if i < 0 {
			return &difference{
				fmt.Sprintf("%s with %s", typeName(a), quote.Text(v.Name)),
				fmt.Sprintf("%s without it", typeName(b)),
			}
		}
		if b.Values[i].Value != v.Value {
			return &difference{
				fmt.Sprintf("%s with %s = %d", typeName(a), quote.Text(v.Name), int64(v.Value)),
				fmt.Sprintf("%s with %s = %d", typeName(b), quote.Text(v.Name), int64(b.Values[i].Value)),
			}
		}
	}
	return nil
}

func (c *comparer) functions(a, b *btf.FuncProto) bool {
	if len(a.Params) != len(b.Params) || c.types(a.Return, b.Return, false) != nil {
		return false
	}
	for i := range a.Params {
		if c.types(a.Params[i].Type, b.Params[i].Type, false) != nil {
			return false
		}
	}
	return true
}

func (c *comparer) composites(a, b btf.Type, aSize, bSize uint32, aMembers, bMembers []btf.Member) *difference {
	switch {
	case aSize != bSize:
		return &difference{fmt.Sprintf("%s of %d bytes", typeName(a), aSize), fmt.Sprintf("%s of %d bytes", typeName(b), bSize)}
	case len(aMembers) != len(bMembers):
		return &difference{fmt.Sprintf("%s with %d members", typeName(a), len(aMembers)), fmt.Sprintf("%s with %d members", typeName(b), len(bMembers))}
	}
	for i, m := range aMembers {
		o := bMembers[i]
		if m.Name != o.Name || m.Offset != o.Offset || m.BitfieldSize != o.BitfieldSize {
			return &difference{memberOf(a, m), memberOf(b, o)}
		}
		if d := c.types(m.Type, o.Type, true); d != nil {
			return d.within(a, b, fmt.Sprintf(" with %s as ", memberName(m)))
		}
	}
	return nil
}

func memberName(m btf.Member) string {
	if m.Name == "" {
		return "a member without a name"
	}
	return quote.Text(m.Name)
}

func memberOf(t btf.Type, m btf.Member) string {
	if m.BitfieldSize > 0 || m.Offset%8 != 0 {
		return fmt.Sprintf("%s with %s at bit %d, %d bits wide", typeName(t), memberName(m), m.Offset, m.BitfieldSize)
	}
	return fmt.Sprintf("%s with %s at offset %d", typeName(t), memberName(m), m.Offset/8)
}

// isConst reports whether C code cannot write a variable of the type.
func isConst(t btf.Type) bool {
	for range maxDepth {
		switch c := t.(type) {
		case *btf.Const:
			return true
		case *btf.Typedef:
			t = c.Type
		case *btf.Array:
			t = c.Type
		default:
			inner, ok := ctype.Unqualify(t)
			if !ok {
				return false
			}
			t = inner
		}
	}
	return false
}

const (
	// maxDepth bounds how deep types are nested, see package ctype.
	maxDepth = 64
	// maxAlign is the largest alignment that a Go type can have.
	maxAlign = 8
)

// alignment returns the alignment that a Go type with the layout of t can have. A
// struct whose members are not aligned, a packed one, has none in Go either.
func alignment(t btf.Type) uint64 {
	return aligner{}.of(t)
}

// aligner has the alignments of the structs, unions and arrays so far.
type aligner map[btf.Type]uint64

func (l aligner) of(t btf.Type) uint64 {
	switch c := ctype.Underlying(t).(type) {
	case *btf.Int:
		return powerOfTwo(c.Size)
	case *btf.Enum:
		return powerOfTwo(c.Size)
	case *btf.Float:
		// Others than these two are bytes in Go.
		if c.Size == 4 || c.Size == 8 {
			return uint64(c.Size)
		}
	case *btf.Pointer:
		return maxAlign
	case *btf.Array:
		return l.once(c, func() uint64 { return l.of(c.Type) })
	case *btf.Struct:
		return l.once(c, func() uint64 { return l.members(c.Size, c.Members) })
	case *btf.Union:
		return l.once(c, func() uint64 { return l.members(c.Size, c.Members) })
	}
	return 1
}

// once returns the alignment of t, which compute is called for the first time.
func (l aligner) once(t btf.Type, compute func() uint64) uint64 {
	if align, ok := l[t]; ok {
		return align
	}
	// Should the type contain itself, which C cannot say.
	l[t] = 1
	l[t] = compute()
	return l[t]
}

func (l aligner) members(size uint32, members []btf.Member) uint64 {
	align := uint64(1)
	for _, m := range members {
		if m.BitfieldSize > 0 {
			continue
		}
		if a := l.of(m.Type); uint64(m.Offset)%(8*a) == 0 && uint64(size)%a == 0 {
			align = max(align, a)
		}
	}
	return align
}

func powerOfTwo(size uint32) uint64 {
	if size == 0 {
		return 1
	}
	return min(uint64(size&-size), maxAlign)
}

// mapTypes are the kernel's names of map types, without BPF_MAP_TYPE_, by number.
var mapTypes = []string{
	"UNSPEC", "HASH", "ARRAY", "PROG_ARRAY", "PERF_EVENT_ARRAY", "PERCPU_HASH", "PERCPU_ARRAY", "STACK_TRACE",
	"CGROUP_ARRAY", "LRU_HASH", "LRU_PERCPU_HASH", "LPM_TRIE", "ARRAY_OF_MAPS", "HASH_OF_MAPS", "DEVMAP", "SOCKMAP",
	"CPUMAP", "XSKMAP", "SOCKHASH", "CGROUP_STORAGE", "REUSEPORT_SOCKARRAY", "PERCPU_CGROUP_STORAGE", "QUEUE", "STACK",
	"SK_STORAGE", "DEVMAP_HASH", "STRUCT_OPS", "RINGBUF", "INODE_STORAGE", "TASK_STORAGE", "BLOOM_FILTER", "USER_RINGBUF",
	"CGRP_STORAGE", "ARENA",
}

// MapTypeName returns the name of a map type as C spells it, or its number for one
// that is newer than this code.
func MapTypeName(t ebpf.MapType) string {
	if int64(t) < int64(len(mapTypes)) && t != ebpf.UnspecifiedMap {
		return "BPF_MAP_TYPE_" + mapTypes[t]
	}
	return fmt.Sprintf("map type %d", uint32(t))
}
