package subskel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
)

// The form that generated code carries is BTF: a DATASEC per section of the
// library with a variable for each symbol. A map's variable has a struct as its type
// whose members are what [MapDef] has. All struct_ops maps are in one section, each
// with the struct of its table. Weak symbols are in sections of their own.
// Types have no typedefs and qualifiers, but for one const on a variable, and no
// members behind pointers. Programs are not in it: they have no types to compare.
const (
	mapsSection      = ".maps"
	structOpsSection = ".struct_ops"
	weakPrefix       = "weak "
)

// Marshal returns what the library needs, without its name and its programs, in the
// form that [Unmarshal] reads. It is the same for the same library.
func (l *Library) Marshal() ([]byte, error) {
	var sections []*btf.Datasec
	add := func(section string, weak bool, name string, size uint32, t btf.Type) {
		if weak {
			section = weakPrefix + section
		}
		// Sections are few.
		var ds *btf.Datasec
		for _, s := range sections {
			if s.Name == section {
				ds = s
			}
		}
		if ds == nil {
			ds = &btf.Datasec{Name: section}
			sections = append(sections, ds)
		}
		ds.Vars = append(ds.Vars, btf.VarSecinfo{
			Type: &btf.Var{Name: name, Type: t, Linkage: btf.GlobalVar},
			Size: size,
		})
	}
	p := &pruner{done: make(map[pair]btf.Type)}
	for _, v := range l.Vars {
		t := p.prune(v.Type, true)
		if isConst(v.Type) {
			t = &btf.Const{Type: t}
		}
		add(v.Section, v.Weak, v.Name, v.Size, t)
	}
	for _, m := range l.Maps {
		add(mapsSection, m.Weak, m.Name, 0, p.mapDef(&m.MapDef))
	}
	for _, m := range l.StructOps {
		add(structOpsSection, false, m.Name, 0, p.prune(m.Type, true))
	}
	types := make([]btf.Type, len(sections))
	for i, ds := range sections {
		types[i] = ds
	}
	if len(types) == 0 {
		// There is no BTF without a type.
		types = append(types, number)
	}
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		return nil, fmt.Errorf("describe the library's types: %w", err)
	}
	raw, err := builder.Marshal(nil, &btf.MarshalOptions{Order: l.Order})
	if err != nil {
		return nil, fmt.Errorf("describe the library's types: %w", err)
	}
	return raw, nil
}

var number = &btf.Int{Name: "n", Size: 4}

// pruner copies types without what [Check] does not look at.
type pruner struct {
	// done are the types that are copied, or being copied, with pair.b nil.
	done map[pair]btf.Type
}

func (p *pruner) mapDef(m *MapDef) btf.Type {
	t := new(btf.Struct)
	count := func(name string, n uint32) {
		if n != 0 {
			t.Members = append(t.Members, btf.Member{Name: name, Type: &btf.Array{Index: number, Type: number, Nelems: n}})
		}
	}
	count("kind", uint32(m.Type))
	count("key_size", m.KeySize)
	count("value_size", m.ValueSize)
	if m.Key != nil {
		t.Members = append(t.Members, btf.Member{Name: "key", Type: p.prune(m.Key, true)})
	}
	if m.Value != nil {
		t.Members = append(t.Members, btf.Member{Name: "value", Type: p.prune(m.Value, true)})
	}
	if m.Inner != nil {
		t.Members = append(t.Members, btf.Member{Name: "inner", Type: p.mapDef(m.Inner)})
	}
	return t
}

func (p *pruner) prune(t btf.Type, exact bool) btf.Type {
	t = ctype.Underlying(t)
	key := pair{a: t, exact: exact}
	if done, ok := p.done[key]; ok {
		return done
	}
	// Each is noted before what it refers to is looked at: a pointer can lead back.
	switch c := t.(type) {
	case *btf.Int, *btf.Float, *btf.Enum, *btf.Fwd, *btf.Void:
		return t
	case *btf.Pointer:
		out := new(btf.Pointer)
		p.done[key] = out
		out.Target = p.prune(c.Target, false)
		return out
	case *btf.Array:
		out := &btf.Array{Index: number, Nelems: c.Nelems}
		p.done[key] = out
		out.Type = p.prune(c.Type, exact)
		return out
	case *btf.FuncProto:
		out := new(btf.FuncProto)
		p.done[key] = out
		out.Return = p.prune(c.Return, false)
		for _, param := range c.Params {
			out.Params = append(out.Params, btf.FuncParam{Type: p.prune(param.Type, false)})
		}
		return out
	case *btf.Struct:
		if !exact && c.Name != "" {
			return p.forward(key, c.Name, btf.FwdStruct)
		}
		out := &btf.Struct{Name: c.Name, Size: c.Size}
		p.done[key] = out
		if exact {
			out.Members = p.members(c.Members)
		}
		return out
	case *btf.Union:
		if !exact && c.Name != "" {
			return p.forward(key, c.Name, btf.FwdUnion)
		}
		out := &btf.Union{Name: c.Name, Size: c.Size}
		p.done[key] = out
		if exact {
			out.Members = p.members(c.Members)
		}
		return out
	}
	// No type of data, which only damaged BTF has here.
	return (*btf.Void)(nil)
}

// forward returns what is left of a struct or union behind a pointer.
func (p *pruner) forward(key pair, name string, kind btf.FwdKind) btf.Type {
	out := &btf.Fwd{Name: name, Kind: kind}
	p.done[key] = out
	return out
}

func (p *pruner) members(members []btf.Member) []btf.Member {
	out := make([]btf.Member, len(members))
	for i, m := range members {
		out[i] = btf.Member{Name: m.Name, Offset: m.Offset, BitfieldSize: m.BitfieldSize, Type: p.prune(m.Type, true)}
	}
	return out
}

// Unmarshal reads what [Library.Marshal] returned.
func Unmarshal(data []byte) (*Library, error) {
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	lib := &Library{Order: byteOrder(data)}
	for t, err := range spec.All() {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errDamaged, err)
		}
		ds, ok := t.(*btf.Datasec)
		if !ok {
			continue
		}
		section, weak := strings.CutPrefix(ds.Name, weakPrefix)
		for _, info := range ds.Vars {
			v, ok := info.Type.(*btf.Var)
			if !ok {
				return nil, errDamaged
			}
			switch section {
			case mapsSection:
				def, err := readMapDef(v.Type, 0)
				if err != nil {
					return nil, err
				}
				lib.Maps = append(lib.Maps, Map{Name: v.Name, MapDef: *def, Weak: weak})
			case structOpsSection:
				lib.StructOps = append(lib.StructOps, StructOps{Name: v.Name, Type: v.Type})
			default:
				lib.Vars = append(lib.Vars, Var{Name: v.Name, Section: section, Size: info.Size, Type: v.Type, Weak: weak})
			}
		}
	}
	return lib, nil
}

var errDamaged = errors.New("the description of the library is damaged: generate the code again")

// byteOrder returns that of BTF, whose magic number comes first.
func byteOrder(data []byte) binary.ByteOrder {
	if len(data) > 0 && data[0] == 0x9f {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

// readMapDef reads a definition that depth others are around. Damaged BTF can have a
// map inside itself.
func readMapDef(t btf.Type, depth int) (*MapDef, error) {
	s, ok := t.(*btf.Struct)
	if !ok || depth > maxDepth {
		return nil, errDamaged
	}
	def := new(MapDef)
	for _, m := range s.Members {
		n := uint32(0)
		if array, ok := m.Type.(*btf.Array); ok {
			n = array.Nelems
		}
		switch m.Name {
		case "kind":
			def.Type = ebpf.MapType(n)
		case "key_size":
			def.KeySize = n
		case "value_size":
			def.ValueSize = n
		case "key":
			def.Key = m.Type
		case "value":
			def.Value = m.Type
		case "inner":
			if def.Inner != nil {
				return nil, errDamaged
			}
			inner, err := readMapDef(m.Type, depth+1)
			if err != nil {
				return nil, err
			}
			def.Inner = inner
		default:
			return nil, errDamaged
		}
	}
	return def, nil
}
