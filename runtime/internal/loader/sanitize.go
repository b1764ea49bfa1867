package loader

import (
	"encoding/binary"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/features"
)

// featureSet is a set of features, a bit each.
type featureSet uint32

func (s featureSet) has(f features.Feature) bool { return s>>f&1 != 0 }
func (s *featureSet) add(f features.Feature)     { *s |= 1 << f }

// sanitize returns a copy of BTF that the kernel has refused, without the kinds of types that
// the kernel does not know. When it has none of these, sanitize returns the refusal, the
// kernel's error.
func sanitize(raw []byte, refusal error, has func(features.Feature) (bool, error)) ([]byte, error) {
	types, err := rawbtf.New(raw, nil)
	if err != nil {
		return raw, err
	}
	used := featuresOf(types)
	var lacks featureSet
	for f := features.BTF; f <= features.QuestionMark; f++ {
		if f != features.BTF && !used.has(f) {
			continue
		}
		yes, err := has(f)
		if err != nil {
			return raw, err
		}
		if !yes {
			lacks.add(f)
		}
	}
	if lacks.has(features.BTF) || lacks == 0 && len(raw) >= 8 && binary.NativeEndian.Uint32(raw[4:]) == rawbtf.HeaderSize {
		return raw, refusal
	}
	return withoutFeatures(raw, lacks)
}

// featuresOf returns the features that the kernel must have for the types.
func featuresOf(types *rawbtf.Types) (used featureSet) {
	for id := uint32(1); id < types.Len(); id++ {
		switch t := types.At(id); t.Kind() {
		case rawbtf.Func:
			used.add(features.Func)
			if t.Linkage() != rawbtf.Static {
				used.add(features.GlobalFunc)
			}
		case rawbtf.FuncProto:
			used.add(features.Func)
		case rawbtf.Var:
			used.add(features.DataSec)
		case rawbtf.Datasec:
			used.add(features.DataSec)
			if t.Vlen() == 0 {
				used.add(features.EmptyDataSec)
			}
			if name := t.Name(); name != "" && name[0] == '?' {
				used.add(features.QuestionMark)
			}
		case rawbtf.Float:
			used.add(features.Float)
		case rawbtf.DeclTag:
			used.add(features.DeclTag)
		case rawbtf.TypeTag:
			used.add(features.TypeTag)
		case rawbtf.Enum:
			if t.Flag() {
				used.add(features.Enum64)
			}
		case rawbtf.Enum64:
			used.add(features.Enum64)
		}
	}
	return used
}

// withoutFeatures returns a copy of the BTF without what a kernel lacks, by the rules of
// libbpf: in the place of each type there is one of a kind that the kernel knows and that
// takes as many bytes, so that IDs and sizes of what refers to it stay right. Its header is
// the one that all kernels know.
func withoutFeatures(raw []byte, lacks featureSet) ([]byte, error) {
	types, err := rawbtf.New(raw, nil)
	if err != nil {
		return raw, err
	}
	s := sanitizer{btf: types.Edit(), lacks: lacks}
	s.last = s.btf.Len()
	for id := uint32(1); id < s.last; id++ {
		s.change(s.btf.At(id))
	}
	if s.placeholder {
		s.btf.Add(s.btf.Intern("enum64_placeholder"), rawbtf.Int, 0, 1, 8)
	}
	return s.btf.Bytes()
}

// sanitizer changes types in place.
type sanitizer struct {
	btf   *rawbtf.Builder
	lacks featureSet
	// last is the ID that the next type will have.
	last uint32
	// placeholder is true when a type of one byte is needed there.
	placeholder bool
}

// change turns t into a type that the kernel knows.
func (s *sanitizer) change(t rawbtf.Editable) {
	lacks := s.lacks.has
	n := uint32(t.Vlen())
	switch kind := t.Kind(); {
	case kind == rawbtf.Var && lacks(features.DataSec), kind == rawbtf.DeclTag && lacks(features.DeclTag):
		// Of one byte: more may be too much for the section.
		t.SetKind(rawbtf.Int, 0)
		t.SetSize(1)
		t.SetIntBits(8)
	case kind == rawbtf.Datasec && n == 0 && lacks(features.EmptyDataSec):
		// ".rodata" is not a name for a struct. The section's map goes without types.
		t.SetName(0)
		t.SetKind(rawbtf.Struct, 0)
	case kind == rawbtf.Datasec && lacks(features.DataSec):
		s.rename(t, strings.NewReplacer(".", "_", "?", "_").Replace(t.Name()))
		entries := make([]rawbtf.Secinfo, n)
		for i := range entries {
			entries[i] = t.Secinfo(i)
		}
		t.SetKind(rawbtf.Struct, n)
		for i, e := range entries {
			t.SetMember(i, rawbtf.RawMember{Name: s.btf.At(e.Type).NameOffset(), Type: e.Type, Offset: 8 * e.Offset})
		}
	case kind == rawbtf.Datasec && lacks(features.QuestionMark):
		if name, ok := strings.CutPrefix(t.Name(), "?"); ok {
			s.rename(t, "_"+name)
		}
	case kind == rawbtf.FuncProto && lacks(features.Func):
		// Parameters become values with their names.
		t.SetKind(rawbtf.Enum, n)
		t.SetSize(4)
	case kind == rawbtf.Func && lacks(features.Func):
		t.SetKind(rawbtf.Typedef, 0)
	case kind == rawbtf.Func && lacks(features.GlobalFunc):
		t.SetLinkage(rawbtf.Static)
	case kind == rawbtf.Float && lacks(features.Float):
		// "float" is not a name for a struct.
		t.SetName(0)
		t.SetKind(rawbtf.Struct, 0)
	case kind == rawbtf.TypeTag && lacks(features.TypeTag):
		t.SetName(0)
		t.SetKind(rawbtf.Const, 0)
	case kind == rawbtf.Enum && lacks(features.Enum64):
		// All values are unsigned.
		t.SetKind(rawbtf.Enum, n)
	case kind == rawbtf.Enum64 && lacks(features.Enum64):
		// Values become members of one byte with their names.
		t.SetKind(rawbtf.Union, n)
		for i := range t.Vlen() {
			t.SetMember(i, rawbtf.RawMember{Name: t.RawMember(i).Name, Type: s.last})
		}
		s.placeholder = s.placeholder || n > 0
	}
}

// rename gives a section another name.
func (s *sanitizer) rename(t rawbtf.Editable, name string) {
	if name != t.Name() {
		t.SetName(s.btf.Intern(name))
	}
}
