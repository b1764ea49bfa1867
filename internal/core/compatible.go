package core

import (
	"bytes"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// maxDepth bounds how deep types are compared, as in libbpf.
const maxDepth = 32

// fieldsCompatible reports whether a program that knows a member as one of type local can
// use one of the kernel's type target: it can be of another size or signedness, and of a
// struct the program need not know anything.
func fieldsCompatible(local, target rawbtf.Type) bool {
	for range maxDepth {
		var ok [2]bool
		local, ok[0] = local.Skip()
		target, ok[1] = target.Skip()
		if !ok[0] || !ok[1] {
			return false
		}
		if local.Kind().IsComposite() && target.Kind().IsComposite() {
			return true
		}
		if !sameKind(local.Kind(), target.Kind()) {
			return false
		}
		switch local.Kind() {
		case rawbtf.Ptr, rawbtf.Float:
			return true
		case rawbtf.Fwd, rawbtf.Enum, rawbtf.Enum64:
			a, b := rawbtf.EssentialName(local.RawName()), rawbtf.EssentialName(target.RawName())
			return len(a) == 0 || len(b) == 0 || bytes.Equal(a, b)
		case rawbtf.Int:
			return local.BitOffset() == 0 && target.BitOffset() == 0
		case rawbtf.Array:
			local, target = elem(local), elem(target)
		default:
			return false
		}
	}
	return false
}

func elem(array rawbtf.Type) rawbtf.Type {
	id, _ := array.Array()
	return array.In().At(id)
}

// Compatible reports whether the kernel's type is what a program means by the local one:
// both are of one kind, and so are what pointers point to, elements, parameters and
// results. Names and sizes do not count (bpf_core_types_are_compat of libbpf).
func Compatible(local, target rawbtf.Type) bool {
	return sameKind(local.Kind(), target.Kind()) && compatible(local, target, maxDepth)
}

func compatible(local, target rawbtf.Type, depth int) bool {
	for ; depth > 0; depth-- {
		var ok [2]bool
		local, ok[0] = local.Skip()
		target, ok[1] = target.Skip()
		if !ok[0] || !ok[1] || !sameKind(local.Kind(), target.Kind()) {
			return false
		}
		switch local.Kind() {
		case rawbtf.Void, rawbtf.Struct, rawbtf.Union, rawbtf.Enum, rawbtf.Enum64, rawbtf.Fwd:
			return true
		case rawbtf.Int:
			return local.BitOffset() == 0 && target.BitOffset() == 0
		case rawbtf.Ptr:
			local, target = local.Elem(), target.Elem()
		case rawbtf.Array:
			local, target = elem(local), elem(target)
		case rawbtf.FuncProto:
			if local.Vlen() != target.Vlen() {
				return false
			}
			for i := range local.Vlen() {
				if !compatible(local.In().At(local.Param(i)), target.In().At(target.Param(i)), depth-1) {
					return false
				}
			}
			local, target = local.Elem(), target.Elem()
		default:
			return false
		}
	}
	return false
}

// typesMatch reports whether the kernel's type has all that the local one of the same
// name has (bpf_core_type_matches): members by name and with types that match, values by
// name, parameters in their order.
func typesMatch(local, target rawbtf.Type) bool { return match(local, target, false, maxDepth) }

// match is typesMatch, for what may be behind a pointer: there a struct need only have the
// name.
func match(local, target rawbtf.Type, behindPointer bool, depth int) bool {
	for ; depth > 0; depth-- {
		var ok [2]bool
		local, ok[0] = local.Skip()
		target, ok[1] = target.Skip()
		if !ok[0] || !ok[1] || !bytes.Equal(rawbtf.EssentialName(local.RawName()), rawbtf.EssentialName(target.RawName())) {
			return false
		}
		kind, same := local.Kind(), local.Kind() == target.Kind()
		switch {
		case kind == rawbtf.Fwd:
			return same && local.Flag() == target.Flag() || behindPointer && target.Kind() == declared(local)
		case kind.IsEnum():
			return target.Kind().IsEnum() && enumsMatch(local, target)
		case kind.IsComposite() && behindPointer:
			return same || target.Kind() == rawbtf.Fwd && declared(target) == kind
		case !same:
			return false
		case kind == rawbtf.Void:
			return true
		case kind.IsComposite():
			return membersMatch(local, target, depth-1)
		case kind == rawbtf.Int:
			return local.ByteSize() == target.ByteSize() && local.Signed() == target.Signed()
		case kind == rawbtf.Ptr:
			behindPointer = true
			local, target = local.Elem(), target.Elem()
		case kind == rawbtf.Array:
			_, n := local.Array()
			if _, m := target.Array(); n != m {
				return false
			}
			local, target = elem(local), elem(target)
		case kind == rawbtf.FuncProto:
			if local.Vlen() != target.Vlen() {
				return false
			}
			for i := range local.Vlen() {
				if !match(local.In().At(local.Param(i)), target.In().At(target.Param(i)), behindPointer, depth-1) {
					return false
				}
			}
			local, target = local.Elem(), target.Elem()
		default:
			return false
		}
	}
	return false
}

// declared returns what a forward declaration declares.
func declared(fwd rawbtf.Type) rawbtf.Kind {
	if fwd.Flag() {
		return rawbtf.Union
	}
	return rawbtf.Struct
}

func enumsMatch(local, target rawbtf.Type) bool {
	if local.ByteSize() != target.ByteSize() || local.Vlen() > target.Vlen() {
		return false
	}
	names := make(map[string]bool, target.Vlen())
	for i := range target.Vlen() {
		names[string(rawbtf.EssentialName(target.ValueName(i)))] = true
	}
	for i := range local.Vlen() {
		if !names[string(rawbtf.EssentialName(local.ValueName(i)))] {
			return false
		}
	}
	return true
}

func membersMatch(local, target rawbtf.Type, depth int) bool {
	if local.Vlen() > target.Vlen() {
		return false
	}
	for i := range local.Vlen() {
		if !memberMatches(local, local.Member(i), target, depth) {
			return false
		}
	}
	return true
}

func memberMatches(local rawbtf.Type, want rawbtf.Member, target rawbtf.Type, depth int) bool {
	name := rawbtf.EssentialName(want.Name)
	for i := range target.Vlen() {
		if string(rawbtf.EssentialName(target.MemberName(i))) == name && match(local.In().At(want.Type), target.In().At(target.Member(i).Type), false, depth) {
			return true
		}
	}
	return false
}
