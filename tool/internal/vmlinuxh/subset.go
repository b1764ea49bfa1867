package vmlinuxh

import (
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// Subset returns raw BTF with the types of the names, and what they need to be
// complete. A header of it has the definitions that the header of the names has.
func (t *Types) Subset(names []string) ([]byte, error) {
	g, err := t.generate(names)
	if err != nil {
		return nil, err
	}
	c := copier{g: g, copies: make(map[btf.Type]btf.Type), forward: make(map[btf.Fwd]*btf.Fwd)}
	var roots []btf.Type
	for _, typ := range g.written {
		roots = append(roots, c.copy(typ))
	}
	builder, err := btf.NewBuilder(roots, nil)
	if err != nil {
		return nil, fmt.Errorf("types cannot be written as BTF: %s", quote.Text(err.Error()))
	}
	raw, err := builder.Marshal(nil, &btf.MarshalOptions{Order: t.raw.Order()})
	if err != nil {
		return nil, fmt.Errorf("types cannot be written as BTF: %s", quote.Text(err.Error()))
	}
	return raw, nil
}

// copier copies types, with declarations in the place of structs and unions that
// are not in the header.
type copier struct {
	g       *generator
	copies  map[btf.Type]btf.Type
	forward map[btf.Fwd]*btf.Fwd
}

func (c *copier) copy(t btf.Type) btf.Type {
	if copied, ok := c.copies[t]; ok {
		return copied
	}
	// A copy is known before what it refers to, which may be it.
	switch t := t.(type) {
	case *btf.Pointer:
		u := &btf.Pointer{}
		c.copies[t] = u
		u.Target = c.copy(t.Target)
	case *btf.Array:
		u := &btf.Array{Nelems: t.Nelems}
		c.copies[t] = u
		u.Index, u.Type = c.copy(t.Index), c.copy(t.Type)
	case *btf.Const:
		u := &btf.Const{}
		c.copies[t] = u
		u.Type = c.copy(t.Type)
	case *btf.Volatile:
		u := &btf.Volatile{}
		c.copies[t] = u
		u.Type = c.copy(t.Type)
	case *btf.Restrict:
		u := &btf.Restrict{}
		c.copies[t] = u
		u.Type = c.copy(t.Type)
	case *btf.TypeTag:
		u := &btf.TypeTag{Value: t.Value}
		c.copies[t] = u
		u.Type = c.copy(t.Type)
	case *btf.Typedef:
		u := &btf.Typedef{Name: t.Name, Tags: t.Tags}
		c.copies[t] = u
		u.Type = c.copy(t.Type)
	case *btf.FuncProto:
		u := &btf.FuncProto{}
		c.copies[t] = u
		u.Return = c.copy(t.Return)
		for _, p := range t.Params {
			u.Params = append(u.Params, btf.FuncParam{Name: p.Name, Type: c.copy(p.Type)})
		}
	case *btf.Func:
		u := &btf.Func{Name: t.Name, Linkage: t.Linkage, Tags: t.Tags}
		c.copies[t] = u
		// The names of parameters are kept, too.
		u.Type = c.copy(t.Type)
	case *btf.Struct:
		if c.isDeclared(t) {
			return c.declaration(t)
		}
		u := &btf.Struct{Name: t.Name, Size: t.Size, Tags: t.Tags}
		c.copies[t] = u
		u.Members = c.members(t.Members)
	case *btf.Union:
		if c.isDeclared(t) {
			return c.declaration(t)
		}
		u := &btf.Union{Name: t.Name, Size: t.Size, Tags: t.Tags}
		c.copies[t] = u
		u.Members = c.members(t.Members)
	case *btf.Fwd:
		return c.declaration(t)
	default:
		return t
	}
	return c.copies[t]
}

func (c *copier) isDeclared(t btf.Type) bool {
	return t.TypeName() != "" && c.g.states[t] != done
}

func (c *copier) declaration(t btf.Type) btf.Type {
	fwd := btf.Fwd{Name: t.TypeName()}
	if keyword(t) == "union" {
		fwd.Kind = btf.FwdUnion
	}
	if c.forward[fwd] == nil {
		c.forward[fwd] = &fwd
	}
	return c.forward[fwd]
}

func (c *copier) members(members []btf.Member) []btf.Member {
	var copied []btf.Member
	for _, m := range members {
		m.Type = c.copy(m.Type)
		copied = append(copied, m)
	}
	return copied
}
