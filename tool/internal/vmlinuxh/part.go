package vmlinuxh

import (
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// decodePart returns the types of the IDs, in their order, with what a header of them needs:
// a struct that has a name and that only a pointer leads to has no members. Most types of a
// kernel lead to most of the others, and few are in a header.
func (t *Types) decodePart(ids []uint32) ([]btf.Type, error) {
	if t.base != nil {
		return t.decode(ids)
	}
	p := part{raw: t.raw, keep: make(map[uint32]bool)}
	for _, id := range ids {
		p.reach(id)
	}
	data, fresh, err := p.build()
	if err != nil {
		return nil, t.damaged(err)
	}
	least, err := Load(data, nil)
	if err != nil {
		return nil, err
	}
	least.hint = t.hint
	var wanted []uint32
	for _, id := range ids {
		wanted = append(wanted, fresh[id])
	}
	return least.decode(wanted)
}

// part is a part of the types.
type part struct {
	raw *rawbtf.Types
	// keep are the types of the part, and whether with members.
	keep map[uint32]bool
	todo []step
}

// step is a type to be kept, and whether a pointer leads to it.
type step struct {
	id            uint32
	behindPointer bool
}

// reach keeps a type and what it needs.
func (p *part) reach(id uint32) {
	p.todo = append(p.todo[:0], step{id, false})
	for len(p.todo) > 0 {
		s := p.todo[len(p.todo)-1]
		p.todo = p.todo[:len(p.todo)-1]
		p.visit(s)
	}
}

func (p *part) visit(s step) {
	typ := p.raw.At(s.id)
	kind := typ.Kind()
	if kind == rawbtf.Void {
		return
	}
	whole := true
	switch {
	case kind.IsComposite():
		// One without a name is written where it is used.
		whole = !s.behindPointer || typ.NameOffset() == 0
	case s.behindPointer:
		// Two ways lead to it, of which one may need more of what follows.
		whole = false
	}
	had, known := p.keep[s.id]
	if known && (had || !whole) {
		return
	}
	p.keep[s.id] = whole
	if kind.IsComposite() && !whole {
		return
	}
	behindPointer := s.behindPointer && !kind.IsComposite()
	_ = typ.Walk(func(ref uint32) {
		p.todo = append(p.todo, step{ref, behindPointer || kind == rawbtf.Ptr || kind == rawbtf.FuncProto})
	}, func(uint32) {})
}

// build returns the part as BTF, and the IDs in it by those in the whole.
func (p *part) build() ([]byte, map[uint32]uint32, error) {
	b := rawbtf.NewBuilder(p.raw.Order(), nil)
	var ids []uint32
	for id := range p.keep {
		ids = append(ids, id)
	}
	for id := p.raw.First(); id < p.raw.Len(); id++ {
		if typ := p.raw.At(id); typ.Kind() == rawbtf.DeclTag {
			// That of a member goes with the member.
			if whole, ok := p.keep[typ.Ref()]; ok && (whole || !p.raw.At(typ.Ref()).Kind().IsComposite() || typ.Component() < 0) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	fresh := make(map[uint32]uint32, len(ids))
	for i, id := range ids {
		fresh[id] = uint32(i) + 1
	}
	whole := true
	ref := func(id uint32) uint32 {
		whole = whole && id < p.raw.Len()
		return fresh[id]
	}
	name := func(off uint32) uint32 {
		whole = whole && p.raw.HasString(off)
		return b.Intern(p.raw.String(off))
	}
	var memory []byte
	for _, id := range ids {
		typ := p.raw.At(id)
		if typ.Kind().IsComposite() && !p.keep[id] {
			b.Add(name(typ.NameOffset()), typ.Kind(), 0, typ.ByteSize())
			continue
		}
		memory = memory[:0]
		copied, err := typ.RewriteIn(&memory, ref, name)
		if err != nil {
			return nil, nil, err
		}
		b.AddCopy(copied.Type)
	}
	if !whole {
		return nil, nil, rawbtf.ErrDamaged
	}
	data, err := b.Bytes()
	return data, fresh, err
}
