package bpfobj

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/mapdecl"
)

// Map is a map declared in C.
type Map struct {
	Name string
	// Hidden is true when the map is for the object's own files only.
	Hidden bool
	// Extern is true when a library declares the map and does not define it, and Weak
	// when no file needs to.
	Extern, Weak bool

	in *Object
	// typ is the type of the variable that declares the map.
	typ btf.Type
}

// MapDef is what a map's declaration says, as far as it decides the map's types.
type MapDef struct {
	Type ebpf.MapType
	// Key and Value are nil when the declaration does not have them.
	Key, Value btf.Type
	// KeySize and ValueSize are in bytes, of the types where there are some.
	KeySize, ValueSize uint32
	// Pinning is how the loader pins the map: 0 for not at all, 1 by its name. Other numbers
	// are for a project's own loader.
	Pinning uint32
	// Inner is the declaration of the maps that are a map's values.
	Inner *MapDef
}

// Def returns what the map's declaration says. It fails for a declaration that loaders
// refuse, and says what to do about it.
func (m *Map) Def() (*MapDef, error) {
	def, err := m.in.mapDef(m.typ)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quote.Name(m.Name), err)
	}
	return def, nil
}

// mapDef reads a declaration.
func (o *Object) mapDef(t btf.Type) (*MapDef, error) {
	id, err := o.btf.TypeID(t)
	if err != nil {
		return nil, fmt.Errorf("BTF is damaged: %s: build the object again", quote.Text(err.Error()))
	}
	decl, err := mapdecl.Read(o.types.At(uint32(id)))
	if err != nil {
		return nil, err
	}
	return o.convertMap(decl)
}

// convertMap returns a declaration with types in place of their IDs.
func (o *Object) convertMap(decl *mapdecl.Map) (*MapDef, error) {
	def := &MapDef{Type: decl.Type, KeySize: decl.KeySize, ValueSize: decl.ValueSize, Pinning: decl.Pinning}
	for _, t := range []struct {
		id  uint32
		typ *btf.Type
	}{{decl.Key, &def.Key}, {decl.Value, &def.Value}} {
		if t.id == 0 {
			continue
		}
		var err error
		if *t.typ, err = o.btf.TypeByID(btf.TypeID(t.id)); err != nil {
			return nil, fmt.Errorf("BTF is damaged: %s: build the object again", quote.Text(err.Error()))
		}
	}
	if inner := decl.Inner(); inner != nil {
		var err error
		if def.Inner, err = o.convertMap(inner); err != nil {
			return nil, err
		}
	}
	return def, nil
}
