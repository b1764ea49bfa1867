// Package libdesc describes object files in the terms of package bpflib: what a
// library needs, and what an object has.
package libdesc

import (
	"encoding/binary"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/bpflib"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
)

// Library returns what the library, read with [bpfobj.ReadLibrary], needs of an
// object: all that a subskeleton shows. Variables without bytes are not shown.
func Library(lib *bpfobj.Object) *bpflib.Library {
	out := &bpflib.Library{Name: lib.Name, Order: lib.ByteOrder}
	variable := func(name, section string, size uint64, t btf.Type, weak bool) {
		if size > 0 {
			out.Vars = append(out.Vars, bpflib.Var{Name: name, Section: section, Size: uint32(size), Type: t, Weak: weak})
		}
	}
	for _, sec := range lib.Sections {
		for _, v := range sec.Exposed() {
			variable(v.Name, sec.Name, v.Size, v.Type, false)
		}
	}
	for _, v := range lib.Kconfig {
		// Weak is for the kernel, which may not have it. The object does.
		variable(v.Name, bpflib.Kconfig, v.Size, v.Type, false)
	}
	for _, v := range lib.Externs {
		variable(v.Name, bpflib.Extern, v.Size, v.Type, v.Weak)
	}
	for _, m := range lib.Maps {
		if !m.Hidden {
			out.Maps = append(out.Maps, bpflib.Map{Name: m.Name, MapDef: mapDef(&m), Weak: m.Extern && m.Weak})
		}
	}
	for _, m := range lib.StructOps {
		if !m.Hidden {
			out.StructOps = append(out.StructOps, bpflib.StructOps{Name: m.Name, Type: m.Type})
		}
	}
	for _, p := range lib.Programs {
		out.Progs = append(out.Progs, bpflib.Prog{Name: p.Name, Section: p.Section})
	}
	return out
}

// mapDef returns the definition of a map, empty when loaders refuse its declaration: then
// there are no types to compare.
func mapDef(m *bpfobj.Map) bpflib.MapDef {
	def, err := m.Def()
	if err != nil {
		return bpflib.MapDef{}
	}
	return convert(def)
}

func convert(def *bpfobj.MapDef) bpflib.MapDef {
	out := bpflib.MapDef{
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

// object is an object file as bpflib sees it.
type object struct {
	name  string
	order binary.ByteOrder
	vars  map[string]bpflib.ObjectVar
	maps  map[string]bpflib.MapDef
	ops   map[string]btf.Type
	progs map[string]bpflib.Prog
}

func (o *object) Name() string            { return o.name }
func (o *object) Order() binary.ByteOrder { return o.order }

func (o *object) Var(name string) (bpflib.ObjectVar, bool) {
	v, ok := o.vars[name]
	return v, ok
}

func (o *object) Map(name string) (bpflib.MapDef, bool) {
	m, ok := o.maps[name]
	return m, ok
}

func (o *object) StructOps(name string) (btf.Type, bool) {
	t, ok := o.ops[name]
	return t, ok
}

func (o *object) Prog(name string) (bpflib.Prog, bool) {
	p, ok := o.progs[name]
	return p, ok
}

// Object returns what the object, read with [bpfobj.Read], has.
func Object(obj *bpfobj.Object) bpflib.Object {
	o := &object{
		name:  obj.Name,
		order: obj.ByteOrder,
		vars:  make(map[string]bpflib.ObjectVar),
		maps:  make(map[string]bpflib.MapDef),
		ops:   make(map[string]btf.Type),
		progs: make(map[string]bpflib.Prog),
	}
	for _, sec := range obj.Sections {
		for _, v := range sec.Exposed() {
			o.vars[v.Name] = bpflib.ObjectVar{Section: sec.Name, Offset: v.Offset, Size: v.Size, Type: v.Type}
		}
	}
	for _, v := range obj.Kconfig {
		o.vars[v.Name] = bpflib.ObjectVar{Section: bpflib.Kconfig, Size: v.Size, Type: v.Type}
	}
	for _, m := range obj.Maps {
		o.maps[m.Name] = mapDef(&m)
	}
	for _, m := range obj.StructOps {
		o.ops[m.Name] = m.Type
	}
	for _, p := range obj.Programs {
		o.progs[p.Name] = bpflib.Prog{Name: p.Name, Section: p.Section}
	}
	return o
}
