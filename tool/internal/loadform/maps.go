package loadform

import (
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// maps spells the declarations of maps as the reader takes them. libbpf looks through
// typedefs and qualifiers of a member, of what the values of a map of maps point to
// and of the pointers to them; it takes a size beside the type that has it. Types that
// others may use are not changed: a declaration that is spelt otherwise is a type of its
// own, at the end.
func (n *finisher) maps() {
	for id := range n.btf.Len() {
		section := n.btf.At(id)
		if section.Kind() != rawbtf.Datasec || section.Name() != ".maps" {
			continue
		}
		for i := range section.Vlen() {
			// Types may move when one is added.
			variable := n.btf.At(id).Secinfo(i).Type
			v := n.btf.At(variable)
			if v.Kind() != rawbtf.Var {
				continue
			}
			if decl, ok := v.Elem().Skip(); ok {
				if spelt := n.spellMap(decl, false); spelt != decl.ID {
					n.btf.At(variable).SetRef(spelt)
				}
			}
		}
	}
}

// spellMap returns the declaration of a map as the reader takes it: that of decl, or
// one that is added.
func (n *finisher) spellMap(decl rawbtf.Type, inner bool) uint32 {
	if decl.Kind() != rawbtf.Struct {
		return decl.ID
	}
	has := make(map[string]bool)
	for i := range decl.Vlen() {
		has[decl.Member(i).Name] = true
	}
	changed := false
	var members []rawbtf.RawMember
	for i := range decl.Vlen() {
		name, m := decl.Member(i).Name, decl.RawMember(i)
		// Not member.ID, which for the ID of no type is that of void.
		before := m.Type
		member := decl.In().At(before)
		switch name {
		case "key_size", "value_size":
			if has[strings.TrimSuffix(name, "_size")] {
				// The type says it.
				changed = true
				continue
			}
			m.Type = skip(member)
		case "key", "value":
		case "values":
			if !inner {
				m.Type = n.spellValues(member)
			}
		default:
			m.Type = skip(member)
		}
		changed = changed || m.Type != before
		members = append(members, m)
	}
	if !changed {
		return decl.ID
	}
	return n.btf.AddComposite(decl, members)
}

// skip returns the type ID behind names and qualifiers, where there is an end of them.
func skip(t rawbtf.Type) uint32 {
	if to, ok := t.Skip(); ok {
		return to.ID
	}
	return t.ID
}

// spellValues returns the type of the member values, an array of pointers to maps or
// programs.
func (n *finisher) spellValues(array rawbtf.Type) uint32 {
	if array.Kind() != rawbtf.Array {
		return array.ID
	}
	elem, _ := array.Array()
	p, ok := array.In().At(elem).Skip()
	if !ok || p.Kind() != rawbtf.Ptr {
		return array.ID
	}
	pointer := p.ID
	if target, ok := p.Elem().Skip(); ok {
		if to := n.spellMap(target, true); to != p.Ref() {
			pointer = n.btf.Add(0, rawbtf.Ptr, 0, to)
		}
	}
	if pointer == elem {
		return array.ID
	}
	id := n.btf.AddCopy(array)
	n.btf.At(id).SetElem(pointer)
	return id
}
