package core

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// maxSteps is how many steps an access may have, in libbpf and here.
const maxSteps = 64

// access is the way from a type to a member of it.
type access struct {
	kind Kind
	root rawbtf.Type
	// steps lead from the root to the member. The first is an index of the root, as if it
	// were an array. Of an enum there is one, to the value. Of a type there is none.
	steps []step
	// around are the anonymous members on the way.
	around []step
	// bits is where the member starts, in bits from the root.
	bits uint64
}

// step goes to a named member or to an element. Anonymous members are no steps: other
// kernels may have other ones around what they hold.
type step struct {
	// in is the struct of the member, the enum of the value, or the type of the element.
	in rawbtf.Type
	// index is that of the member, the value or the element.
	index uint32
	// name is the member's or the value's, empty for an element and an anonymous member.
	name string
	// anonymous is true when it goes to an anonymous member.
	anonymous bool
}

func (s step) member() rawbtf.Member { return s.in.Member(int(s.index)) }

// parse follows the access of a relocation in the local type.
func parse(local *rawbtf.Types, relo Relocation) (*access, error) {
	a := &access{kind: relo.Kind, root: local.At(relo.Type)}
	if a.root.Kind() == rawbtf.Void {
		return nil, errMalformed
	}
	if relo.Kind.ofType() {
		if relo.Access != "0" {
			return nil, errMalformed
		}
		return a, nil
	}
	indices, err := parseIndices(relo.Access)
	if err != nil {
		return nil, err
	}
	typ, ok := a.root.Skip()
	if !ok {
		return nil, errMalformed
	}
	switch {
	case relo.Kind.ofEnum():
		if !typ.Kind().IsEnum() || len(indices) > 1 || int64(indices[0]) >= int64(typ.Vlen()) {
			return nil, errMalformed
		}
		name, _ := typ.Value(int(indices[0]))
		a.steps = []step{{in: typ, index: indices[0], name: name}}
		return a, nil
	case !relo.Kind.ofField():
		return nil, fmt.Errorf("is of kind %d, which is not known: compile with an older clang, or update this program", relo.Kind)
	}
	if !a.element(typ, indices[0]) {
		return nil, errMalformed
	}
	for _, index := range indices[1:] {
		if typ, ok = typ.Skip(); !ok {
			return nil, errMalformed
		}
		switch {
		case typ.Kind().IsComposite():
			if int64(index) >= int64(typ.Vlen()) {
				return nil, errMalformed
			}
			m := typ.Member(int(index))
			a.bits += uint64(m.Offset)
			if m.Name != "" {
				a.steps = append(a.steps, step{in: typ, index: index, name: m.Name})
			}
			typ = typ.In().At(m.Type)
		case typ.Kind() == rawbtf.Array:
			if typ, ok = a.elementOf(typ, index); !ok {
				return nil, errMalformed
			}
		default:
			return nil, errMalformed
		}
	}
	return a, nil
}

func parseIndices(s string) ([]uint32, error) {
	var indices []uint32
	for part := range strings.SplitSeq(s, ":") {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil || len(indices) == maxSteps {
			return nil, errMalformed
		}
		indices = append(indices, uint32(n))
	}
	return indices, nil
}

// element goes to element index of an array of typ.
func (a *access) element(typ rawbtf.Type, index uint32) bool {
	if len(a.steps) == maxSteps {
		return false
	}
	size := uint64(0)
	if index != 0 {
		var ok bool
		if size, ok = typ.SizeOf(); !ok {
			return false
		}
	}
	a.steps = append(a.steps, step{in: typ, index: index})
	a.bits += uint64(index) * size * 8
	return true
}

// elementOf goes to element index of an array, and returns it. It reports false when the
// array has no such element.
func (a *access) elementOf(array rawbtf.Type, index uint32) (rawbtf.Type, bool) {
	elem, n := array.Array()
	if index >= n && !a.flexible(n) {
		return rawbtf.Type{}, false
	}
	typ, ok := array.In().At(elem).Skip()
	return typ, ok && a.element(typ, index)
}

// flexible reports whether an array of n elements, to which the last step leads, has as
// many as there is memory: the last member of a struct.
func (a *access) flexible(n uint32) bool {
	last := a.last()
	return n == 0 && last.name != "" && int(last.index) == last.in.Vlen()-1
}

func (a *access) last() step { return a.steps[len(a.steps)-1] }

// match follows the access, by names, in a type of the kernel. It reports false when
// that does not lead to something of the same sort.
func (a *access) match(candidate rawbtf.Type) (*access, bool) {
	target := &access{kind: a.kind, root: candidate}
	switch {
	case a.kind == TypeMatches:
		return target, typesMatch(a.root, candidate)
	case a.kind.ofType():
		return target, Compatible(a.root, candidate)
	case a.kind.ofEnum():
		return target, target.value(candidate, a.steps[0].name)
	}
	typ := candidate
	for i, s := range a.steps {
		var ok bool
		if typ, ok = typ.Skip(); !ok {
			return nil, false
		}
		switch {
		case s.name != "":
			typ, ok = target.find(typ, s)
		case i == 0:
			ok = target.element(typ, s.index)
		case typ.Kind() == rawbtf.Array:
			typ, ok = target.elementOf(typ, s.index)
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
	}
	return target, true
}

// value goes to the value of an enum that has the name, whatever the flavours.
func (a *access) value(enum rawbtf.Type, name string) bool {
	enum, ok := enum.Skip()
	if !ok || !enum.Kind().IsEnum() {
		return false
	}
	name = rawbtf.EssentialName(name)
	for i := range enum.Vlen() {
		if string(rawbtf.EssentialName(enum.ValueName(i))) == name {
			have, _ := enum.Value(i)
			a.steps = append(a.steps, step{in: enum, index: uint32(i), name: have})
			return true
		}
	}
	return false
}

// find goes to the member of typ that has the name of the local one, which may be in an
// anonymous struct or union, and returns its type. A member of the name that is of another
// sort ends the search in its struct.
func (a *access) find(typ rawbtf.Type, local step) (rawbtf.Type, bool) {
	return a.search(typ, local, maxSteps)
}

func (a *access) search(typ rawbtf.Type, local step, depth int) (rawbtf.Type, bool) {
	typ, ok := typ.Skip()
	if !ok || !typ.Kind().IsComposite() || depth == 0 {
		return rawbtf.Type{}, false
	}
	for i := range typ.Vlen() {
		// Without a copy of each name: structs of the kernel have hundreds of members.
		switch string(typ.MemberName(i)) {
		case "":
			m := typ.Member(i)
			inner := *a
			inner.bits += uint64(m.Offset)
			if found, ok := inner.search(typ.In().At(m.Type), local, depth-1); ok {
				*a = inner
				a.around = append(a.around, step{in: typ, index: uint32(i), anonymous: true})
				return found, true
			}
		case local.name:
			m := typ.Member(i)
			found := typ.In().At(m.Type)
			if len(a.steps) == maxSteps || !fieldsCompatible(local.in.In().At(local.member().Type), found) {
				return rawbtf.Type{}, false
			}
			a.steps = append(a.steps, step{in: typ, index: uint32(i), name: m.Name})
			a.bits += uint64(m.Offset)
			return found, true
		}
	}
	return rawbtf.Type{}, false
}
