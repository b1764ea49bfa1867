// Package subskelobj describes object files in the terms of package subskel: what a
// library needs, and what an object has.
package subskelobj

import (
	"encoding/binary"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
)

// Library returns what the library, read with [bpfobj.ReadLibrary], needs of an
// object: all that a subskeleton shows. Variables without bytes are not shown.
func Library(lib *bpfobj.Object) *subskel.Library {
	out := &subskel.Library{Name: lib.Name, Order: lib.ByteOrder}
	variable := func(name, section string, size uint64, t btf.Type, weak bool) {
		if size > 0 {
			out.Vars = append(out.Vars, subskel.Var{Name: name, Section: section, Size: uint32(size), Type: t, Weak: weak})
		}
	}
	for _, sec := range lib.Sections {
		for _, v := range sec.Exposed() {
			variable(v.Name, sec.Name, v.Size, v.Type, false)
		}
	}
	for _, v := range lib.Kconfig {
		// Weak is for the kernel, which may not have it. The object does.
		variable(v.Name, subskel.Kconfig, v.Size, v.Type, false)
	}
	for _, v := range lib.Externs {
		variable(v.Name, subskel.Extern, v.Size, v.Type, v.Weak)
	}
	for _, m := range lib.Maps {
		if !m.Hidden {
			out.Maps = append(out.Maps, subskel.Map{Name: m.Name, MapDef: mapDef(&m), Weak: m.Extern && m.Weak})
		}
	}
	for _, m := range lib.StructOps {
		if !m.Hidden {
			out.StructOps = append(out.StructOps, subskel.StructOps{Name: m.Name, Type: m.Type})
		}
	}
	for _, p := range lib.Programs {
		out.Progs = append(out.Progs, subskel.Prog{Name: p.Name, Section: p.Section})
	}
	return out
}

// mapDef returns the definition of a map, empty when loaders refuse its declaration: then
// there are no types to compare.
func mapDef(m *bpfobj.Map) subskel.MapDef {
	def, err := m.Def()
	if err != nil {
		return subskel.MapDef{}
	}
	return convert(def)
}

func convert(def *bpfobj.MapDef) subskel.MapDef {
	out := subskel.MapDef{
		Type:      def.Type,
		KeySize:   def.KeySize,
		ValueSize: def.ValueSize,
		Key:       def.Key,
		Value:     def.Value,
	}
	if def.Inner != nil {
		inner := convert(def.Inner)
		out.Inner = &inner
	}
	return out
}

// object is an object file as subskel sees it.
type object struct {
	name  string
	order binary.ByteOrder
	vars  map[string]subskel.ObjectVar
	maps  map[string]subskel.MapDef
	ops   map[string]btf.Type
	progs map[string]subskel.Prog
}

func (o *object) Name() string            { return o.name }
func (o *object) Order() binary.ByteOrder { return o.order }

func (o *object) Var(name string) (subskel.ObjectVar, bool) {
	v, ok := o.vars[name]
	return v, ok
}

func (o *object) Map(name string) (subskel.MapDef, bool) {
	m, ok := o.maps[name]
	return m, ok
}

func (o *object) StructOps(name string) (btf.Type, bool) {
	t, ok := o.ops[name]
	return t, ok
}

func (o *object) Prog(name string) (subskel.Prog, bool) {
	p, ok := o.progs[name]
	return p, ok
}

// Object returns what the object, read with [bpfobj.Read], has.
func Object(obj *bpfobj.Object) subskel.Object {
	o := &object{
		name:  obj.Name,
		order: obj.ByteOrder,
		vars:  make(map[string]subskel.ObjectVar),
		maps:  make(map[string]subskel.MapDef),
		ops:   make(map[string]btf.Type),
		progs: make(map[string]subskel.Prog),
	}
	for _, sec := range obj.Sections {
		for _, v := range sec.Exposed() {
			o.vars[v.Name] = subskel.ObjectVar{Section: sec.Name, Offset: v.Offset, Size: v.Size, Type: v.Type}
		}
	}
	for _, v := range obj.Kconfig {
		o.vars[v.Name] = subskel.ObjectVar{Section: subskel.Kconfig, Size: v.Size, Type: v.Type}
	}
	for _, m := range obj.Maps {
		o.maps[m.Name] = mapDef(&m)
	}
	for _, m := range obj.StructOps {
		o.ops[m.Name] = m.Type
	}
	for _, p := range obj.Programs {
		o.progs[p.Name] = subskel.Prog{Name: p.Name, Section: p.Section}
	}
	return o
}
