package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// evaluate returns the result of a relocation whose access is local in the object and
// target in the kernel, nil when the kernel lacks it.
func evaluate(kind Kind, local, target *access) (Result, error) {
	switch {
	case kind.ofType():
		return evaluateType(kind, local, target)
	case kind.ofEnum():
		return evaluateEnum(kind, local, target), nil
	}
	if kind == FieldExists {
		return Result{Value: bit(target != nil), local: 1, check: true}, nil
	}
	have, err := local.field(kind)
	if err != nil {
		return Result{}, err
	}
	res := Result{Poison: target == nil, local: have.value, check: have.certain, localSize: have.size}
	if target == nil {
		return res, nil
	}
	want, err := target.field(kind)
	if err != nil {
		return Result{}, err
	}
	res.Value, res.size = want.value, want.size
	res.unsafe = res.size != res.localSize && !resizable(have.typ, want.typ)
	return res, nil
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// resizable reports whether a read of the width of one gives the value of the other: of
// pointers, and of unsigned integers, which are extended by zeros.
func resizable(local, target rawbtf.Type) bool {
	if local.Kind() == rawbtf.Ptr && target.Kind() == rawbtf.Ptr {
		return true
	}
	unsigned := func(t rawbtf.Type) bool { return t.Kind() == rawbtf.Int && !t.Signed() }
	return unsigned(local) && unsigned(target)
}

// field is what a relocation asks about the member at the end of an access.
type field struct {
	value uint64
	// certain is true when the compiler has computed the same value: it chooses how a
	// bit-field is read.
	certain bool
	// size is that of the member or of an element of it, for an instruction that reads
	// it, and typ its type. Bit-fields have none.
	size uint32
	typ  rawbtf.Type
}

func (a *access) field(kind Kind) (field, error) {
	last := a.last()
	if last.name == "" {
		return a.elementField(kind, last.in)
	}
	m := last.member()
	typ, ok := last.in.In().At(m.Type).Skip()
	if !ok {
		return field{}, errMalformed
	}
	start, size, bits := a.bits/8, uint64(0), uint64(m.Bits)
	if bits != 0 {
		if start, size, ok = a.span(typ, bits); !ok {
			return field{}, errors.New("the bit-field cannot be read by one instruction: read its bytes")
		}
	} else {
		if size, ok = typ.SizeOf(); !ok {
			return field{}, errMalformed
		}
		bits = size * 8
	}
	f := field{certain: m.Bits == 0}
	switch kind {
	case FieldByteOffset:
		f.value = start
		if m.Bits == 0 {
			f.typ = typ
			f.size, ok = elementSize(typ)
		}
	case FieldByteSize:
		f.value = size
	case FieldSigned:
		f.value, f.certain = bit(typ.Kind().IsEnum() && typ.Flag() || typ.Kind() == rawbtf.Int && typ.Signed()), true
	case FieldLeftShift:
		f.value = leftShift(last.in.In().Order(), a.bits-8*start, size, bits)
	case FieldRightShift:
		f.value, f.certain = 64-bits, true
	}
	if !ok {
		return field{}, errMalformed
	}
	return f, nil
}

// leftShift returns by how many bits to shift a word of size bytes, read into 64 bits, so
// that the bit-field at bit offset of it is in front.
func leftShift(order binary.ByteOrder, offset, size, bits uint64) uint64 {
	if order == binary.BigEndian {
		return (8-size)*8 + offset
	}
	return 64 - (offset + bits)
}

// elementField is field for an element of an array.
func (a *access) elementField(kind Kind, typ rawbtf.Type) (field, error) {
	f := field{certain: true}
	size, ok := typ.SizeOf()
	switch kind {
	case FieldByteOffset:
		f.value, f.typ = a.bits/8, typ
		f.size, ok = elementSize(typ)
	case FieldByteSize:
		f.value = size
	default:
		return field{}, errors.New("asks of an element of an array what only a member has: put the array into a struct")
	}
	if !ok {
		return field{}, errMalformed
	}
	return f, nil
}

// elementSize is the size of what an instruction reads: an element of an array.
func elementSize(typ rawbtf.Type) (uint32, bool) {
	for range maxDepth {
		var ok bool
		if typ, ok = typ.Skip(); !ok {
			return 0, false
		}
		if typ.Kind() != rawbtf.Array {
			size, ok := typ.SizeOf()
			return uint32(size), ok
		}
		typ = elem(typ)
	}
	return 0, false
}

// span returns where the smallest aligned word starts that holds a bit-field as a whole,
// and its size, in bytes. It has at least the size of the field's type.
func (a *access) span(typ rawbtf.Type, bits uint64) (start, size uint64, ok bool) {
	for size = uint64(typ.ByteSize()); size > 0 && size <= 8; size *= 2 {
		start = a.bits / 8 / size * size
		if a.bits+bits <= 8*(start+size) {
			return start, size, true
		}
	}
	return 0, 0, false
}

func evaluateType(kind Kind, local, target *access) (Result, error) {
	value := func(a *access) (uint64, bool) {
		switch {
		case a == nil:
			return 0, true
		case kind == TypeIDTarget:
			return uint64(a.root.ID), true
		case kind == TypeSize:
			return a.root.SizeOf()
		}
		return 1, true
	}
	// An ID in an instruction may be that of before the link.
	res := Result{check: kind != TypeIDTarget}
	var ok [2]bool
	res.local, ok[0] = value(local)
	res.Value, ok[1] = value(target)
	if !ok[0] || !ok[1] {
		return Result{}, errors.New("the type has no size: ask for that of one that has")
	}
	return res, nil
}

func evaluateEnum(kind Kind, local, target *access) Result {
	if kind == EnumValueExists {
		return Result{Value: bit(target != nil), local: 1, check: true}
	}
	res := Result{Poison: target == nil, local: local.enumValue(), check: true}
	if target != nil {
		res.Value = target.enumValue()
	}
	return res
}

func (a *access) enumValue() uint64 {
	s := a.steps[0]
	_, value := s.in.Value(int(s.index))
	return value
}

// Describe returns what the relocation asks for, in words: "field tgid of struct
// task_struct".
func (r *Relocator) Describe(relo Relocation) string {
	name := TypeName(r.local.At(relo.Type))
	a, err := parse(r.local, relo)
	switch {
	case err != nil || len(a.steps) == 0:
		return name
	case relo.Kind.ofEnum():
		return fmt.Sprintf("value %s of %s", a.steps[0].name, name)
	}
	return fmt.Sprintf("field %s of %s", a.path(), name)
}

// TypeName returns what C calls a type, as far as that is a word: "struct task_struct".
func TypeName(typ rawbtf.Type) string {
	switch typ.Kind() {
	case rawbtf.Void:
		return "void"
	case rawbtf.Ptr:
		return "a pointer"
	case rawbtf.Array:
		return "an array"
	case rawbtf.Fwd:
		if typ.Flag() {
			return "union " + typ.Name()
		}
		return "struct " + typ.Name()
	}
	name := typ.Name()
	if name == "" {
		name = "without a name"
	}
	if word, ok := words[typ.Kind()]; ok {
		name = word + " " + name
	}
	return name
}

// Subject returns the name of what the relocation is about, which its line of C has: that of
// a member, of a value of an enum, or of a type.
func (r *Relocator) Subject(relo Relocation) string {
	a, err := parse(r.local, relo)
	if err != nil {
		return ""
	}
	for i := len(a.steps) - 1; i >= 0; i-- {
		if name := a.steps[i].name; name != "" {
			return name
		}
	}
	return a.root.Name()
}

var words = map[rawbtf.Kind]string{
	rawbtf.Struct:  "struct",
	rawbtf.Union:   "union",
	rawbtf.Enum:    "enum",
	rawbtf.Enum64:  "enum",
	rawbtf.Typedef: "typedef",
}

// path returns the way to a member as C has it.
func (a *access) path() string {
	var b strings.Builder
	for i, s := range a.steps {
		switch {
		case s.name != "":
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.name)
		case i > 0 || s.index > 0:
			fmt.Fprintf(&b, "[%d]", s.index)
		}
	}
	return b.String()
}

// Missing explains what the kernel has in place of what a poisoned instruction needs, and what
// to do.
func (r *Relocator) Missing(relo Relocation) string {
	name := r.name(relo)
	candidates := r.find(name, r.local.At(relo.Type))
	local, err := parse(r.local, relo)
	if err != nil {
		return err.Error()
	}
	if len(candidates) == 0 {
		return fmt.Sprintf("the kernel has no type %s of this kind: ask bpf_core_type_exists before", name)
	}
	typ := candidates[0]
	kernels := fmt.Sprintf("the kernel's %s, type %d,", typ.Name(), typ.ID)
	if relo.Kind.ofEnum() {
		return fmt.Sprintf("%s has no value %s: ask bpf_core_enum_value_exists before", kernels, local.steps[0].name)
	}
	if relo.Kind.ofType() {
		// Such an instruction takes a number, and is never poisoned.
		return fmt.Sprintf("%s is not like the program's: ask bpf_core_type_matches before", kernels)
	}
	if target, ok := local.match(typ); ok {
		if last := target.last(); last.name != "" && last.member().Bits != 0 {
			return kernels + " has it as a bit-field: declare it so, and use BPF_CORE_READ_BITFIELD"
		}
		return kernels + " has it with another size or sign, and the instruction would misread it: declare it as the kernel does, or use BPF_CORE_READ"
	}
	// As far as the way goes.
	part := *local
	for n := 2; n <= len(local.steps); n++ {
		part.steps = local.steps[:n]
		if _, ok := part.match(typ); !ok {
			break
		}
	}
	return fmt.Sprintf("%s has no field %s of such a type: ask bpf_core_field_exists before", kernels, part.path())
}
