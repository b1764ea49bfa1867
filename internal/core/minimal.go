package core

import (
	"fmt"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// onlyTypes are types without modules.
type onlyTypes struct{ types *rawbtf.Types }

func (o onlyTypes) Types() *rawbtf.Types     { return o.types }
func (o onlyTypes) Modules() []*rawbtf.Types { return nil }

// Only returns types as a kernel without modules.
func Only(types *rawbtf.Types) Kernel { return onlyTypes{types} }

// Same returns an error when a relocation has another result in one kernel than in another. The
// IDs of types, which are those of one kernel, do not count.
func Same(relo Relocation, one, other *Relocator) error {
	a, aErr := one.Resolve(relo)
	b, bErr := other.Resolve(relo)
	if relo.Kind == TypeIDTarget {
		a.Value, b.Value = bit(a.Value != 0), bit(b.Value != 0)
	}
	switch {
	case aErr != nil && bErr != nil:
		return nil
	case aErr != nil || bErr != nil || a != b:
		have, want := describe(a, aErr), describe(b, bErr)
		if have == want {
			// What is at one offset differs in how it is read.
			have, want = have+a.width(), want+b.width()
		}
		return fmt.Errorf("%s is %s in one, and %s in the other", one.Describe(relo), have, want)
	}
	return nil
}

func describe(r Result, err error) string {
	switch {
	case err != nil:
		return "an error (" + err.Error() + ")"
	case r.Poison:
		return "missing"
	}
	return fmt.Sprint(r.Value)
}

// width describes how an instruction may read the member.
func (r Result) width() string {
	text := fmt.Sprintf(" with %d bytes", r.size)
	if r.unsafe {
		text += fmt.Sprintf(", which cannot be read as %d,", r.localSize)
	}
	return text
}

// Object is what an object asks of a kernel.
type Object struct {
	// Types are the object's.
	Types *rawbtf.Types
	Relos []Relocation
}

// Minimal returns, as raw BTF, the least of a kernel's types with which all relocations of the
// objects have the results that they have with all of the types, except for type IDs. It is
// what bpftool gen min_core_btf makes. kernel has no base.
func Minimal(kernel *rawbtf.Types, objects []Object) ([]byte, error) {
	m := &minimal{kernel: kernel, keep: make(map[uint32]*kept)}
	var whole []*Relocator
	for _, o := range objects {
		r := New(o.Types, Only(kernel), o.Relos)
		whole = append(whole, r)
		for _, relo := range o.Relos {
			if err := m.add(r, relo); err != nil {
				return nil, fmt.Errorf("%s: %w", r.Describe(relo), err)
			}
		}
	}
	raw, err := m.build()
	if err != nil {
		return nil, err
	}
	// In a file that no kernel's build makes, types may mean something else without others.
	types, err := rawbtf.Parse(raw, nil)
	if err != nil {
		return nil, err
	}
	for i, o := range objects {
		part := New(o.Types, Only(types), o.Relos)
		for _, relo := range o.Relos {
			if err := Same(relo, whole[i], part); err != nil {
				return nil, fmt.Errorf("has types that cannot be reduced: %w: give the whole file to programs", err)
			}
		}
	}
	return raw, nil
}

// minimal collects what relocations look at.
type minimal struct {
	kernel *rawbtf.Types
	keep   map[uint32]*kept
}

// depth is how much of a type is compared.
type depth int

const (
	// outside is the type without what pointers lead to and without members: enough for the
	// size and the sort of a member.
	outside depth = iota
	// shape is with what pointers lead to, and without members: enough for Compatible.
	shape
	// wholeType is with members and values: enough for typesMatch. What is behind a pointer is
	// kept so too, but for structs.
	wholeType
)

// kept is what is kept of a type.
type kept struct {
	depth depth
	// behindPointer is true when every way to it of this depth is one through a pointer, on which
	// a struct that follows counts by its name alone.
	behindPointer bool
	// parts are the members or the values that are kept, of a struct or an enum.
	parts map[int]bool
}

func (m *minimal) add(r *Relocator, relo Relocation) error {
	local, err := parse(r.local, relo)
	if err != nil {
		return err
	}
	name := r.name(relo)
	if name == "" {
		return nil
	}
	for _, candidate := range r.find(name, r.local.At(relo.Type)) {
		target, ok := local.match(candidate)
		if !ok {
			continue
		}
		switch {
		case relo.Kind == TypeMatches:
			m.reach(candidate, wholeType, false, maxDepth)
		case relo.Kind.ofType():
			m.reach(candidate, shape, false, maxDepth)
		case relo.Kind.ofEnum():
			m.reach(candidate, outside, false, maxDepth)
			m.part(target.steps[0].in, int(target.steps[0].index))
		default:
			m.reach(candidate, outside, false, maxDepth)
			for _, s := range slices.Concat(target.around, target.steps) {
				m.reach(s.in, outside, false, maxDepth)
				if s.in.Kind().IsComposite() && (s.name != "" || s.anonymous) {
					m.part(s.in, int(s.index))
				}
			}
		}
	}
	return nil
}

// part keeps a member of a struct, with the outside of its type, or a value of an enum. With
// an array without elements the last member stays, too: if that is the array itself, it has
// as many as there is memory.
func (m *minimal) part(t rawbtf.Type, index int) {
	k := m.keep[t.ID]
	if k == nil {
		k = new(kept)
		m.keep[t.ID] = k
	}
	if k.parts == nil {
		k.parts = make(map[int]bool)
	}
	if !t.Kind().IsComposite() {
		k.parts[index] = true
		return
	}
	indices := []int{index}
	if typ, ok := t.In().At(t.Member(index).Type).Skip(); ok && typ.Kind() == rawbtf.Array {
		if _, n := typ.Array(); n == 0 {
			indices = append(indices, t.Vlen()-1)
		}
	}
	for _, i := range indices {
		if !k.parts[i] {
			k.parts[i] = true
			m.reach(t.In().At(t.Member(i).Type), outside, false, maxDepth)
		}
	}
}

// reach keeps a type to a depth.
func (m *minimal) reach(t rawbtf.Type, d depth, behindPointer bool, left int) {
	if t.Kind() == rawbtf.Void || left == 0 {
		return
	}
	if t.Kind().IsComposite() && behindPointer {
		// The name is all that counts.
		d = outside
	}
	k := m.keep[t.ID]
	if k != nil && (k.depth > d || k.depth == d && (behindPointer || !k.behindPointer)) {
		return
	}
	if k == nil {
		k = new(kept)
		m.keep[t.ID] = k
	}
	k.depth, k.behindPointer = d, behindPointer
	next := func(id uint32, behindPointer bool) { m.reach(t.In().At(id), d, behindPointer, left-1) }
	switch kind := t.Kind(); kind {
	case rawbtf.Ptr:
		if d > outside {
			next(t.Ref(), true)
		}
	case rawbtf.Array:
		for _, id := range t.References(nil) {
			next(id, behindPointer)
		}
	case rawbtf.FuncProto:
		if d > outside {
			next(t.Ref(), behindPointer)
			for i := range t.Vlen() {
				next(t.Param(i), behindPointer)
			}
		}
	case rawbtf.Typedef, rawbtf.Const, rawbtf.Volatile, rawbtf.Restrict, rawbtf.TypeTag, rawbtf.Func:
		next(t.Ref(), behindPointer)
	case rawbtf.Struct, rawbtf.Union:
		if d == wholeType {
			for i := range t.Vlen() {
				next(t.Member(i).Type, false)
			}
		}
	}
}

// build writes what is kept, in the order of the kernel's IDs.
func (m *minimal) build() ([]byte, error) {
	b := rawbtf.NewBuilder(m.kernel.Order(), nil)
	var ids []uint32
	for id := range m.keep {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	fresh := make(map[uint32]uint32, len(ids))
	for i, id := range ids {
		fresh[id] = uint32(i) + 1
	}
	// What is not kept is that of a pointer or of a prototype that nothing looks behind: void.
	ref := func(id uint32) uint32 { return fresh[id] }
	name := func(off uint32) uint32 { return b.Intern(m.kernel.String(off)) }
	for _, id := range ids {
		t, k := m.kernel.At(id), m.keep[id]
		isPart := func(i int) bool { return k.depth == wholeType || k.parts[i] }
		flagged := uint32(0)
		if t.Flag() {
			flagged = rawbtf.Flagged
		}
		switch kind := t.Kind(); {
		case kind.IsComposite():
			var words []uint32
			for i := range t.Vlen() {
				if isPart(i) {
					r := t.RawMember(i)
					words = append(words, name(r.Name), ref(r.Type), r.Offset)
				}
			}
			b.Add(name(t.NameOffset()), kind, flagged|uint32(len(words)/3), t.ByteSize(), words...)
		case kind.IsEnum():
			words, n := m.values(t, isPart, name)
			b.Add(name(t.NameOffset()), kind, flagged|n, t.ByteSize(), words...)
		case kind == rawbtf.FuncProto && k.depth == outside:
			b.Add(0, kind, 0, 0)
		default:
			copied, err := t.Rewrite(ref, name)
			if err != nil {
				return nil, err
			}
			b.AddCopy(copied.Type)
		}
	}
	return b.Bytes()
}

// values returns the words of the values of an enum that are kept, and how many these are.
func (m *minimal) values(t rawbtf.Type, isPart func(int) bool, name func(uint32) uint32) (words []uint32, n uint32) {
	raw, size := t.Raw(), 2
	if t.Kind() == rawbtf.Enum64 {
		size = 3
	}
	word := func(i int) uint32 { return m.kernel.Order().Uint32(raw[4*i:]) }
	const first = 3
	for i := range t.Vlen() {
		if !isPart(i) || 4*(first+size*(i+1)) > len(raw) {
			continue
		}
		at := first + size*i
		words = append(words, name(word(at)))
		for j := 1; j < size; j++ {
			words = append(words, word(at+j))
		}
		n++
	}
	return words, n
}
