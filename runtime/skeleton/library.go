package skeleton

import (
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
)

// Any is any generated skeleton, or the [Object] of one.
type Any interface{ object() *Object }

func (o *Object) object() *Object { return o }

// openLibrary fills the fields that desc names with the library's part of obj: see
// skelimpl.OpenLibrary.
func openLibrary(obj Any, desc libraryDesc) error {
	// A field for a skeleton that was not set is a nil pointer.
	if v := reflect.ValueOf(obj); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("open library %s: no skeleton given: open that of the object first", desc.Name)
	}
	o := obj.object()
	if !isOpen(o) {
		return fmt.Errorf("open library %s: %w", desc.Name, ErrNotOpen)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := (*object)(o).openLibrary(desc); err != nil {
		return fmt.Errorf("open library %s: %w", desc.Name, err)
	}
	return nil
}

func (o *object) openLibrary(desc libraryDesc) error {
	if o.state == closed {
		return ErrClosed
	}
	lib, err := subskel.Unmarshal([]byte(desc.Library))
	if err != nil {
		return err
	}
	lib.Name = desc.Name
	for _, p := range desc.Progs {
		lib.Progs = append(lib.Progs, subskel.Prog{Name: p.Name, Section: p.Section})
	}
	view := libraryView{o: o, sections: make(map[string]string)}
	for _, p := range lib.Progs {
		view.sections[p.Name] = p.Section
	}
	if view.types, err = o.types(); err != nil {
		return fmt.Errorf("types of the object: %w", err)
	}
	if err := o.indexVariables(view.types); err != nil {
		return err
	}
	if err := subskel.Check(lib, view); err != nil {
		return mismatches(err)
	}
	// After the check nothing below fails, unless generated code was changed by hand. A weak
	// symbol that is not there leaves its field nil.
	for _, v := range desc.Vars {
		if err := o.bindVariable(v); err != nil {
			return err
		}
	}
	for _, m := range desc.Maps {
		if err := o.bindMap(m); err != nil {
			return err
		}
	}
	for _, d := range desc.Sections {
		*d.Handle = o.sectionMap(d.Name)
	}
	for _, d := range desc.Progs {
		p := o.prog(d.Name)
		*d.Handle = p
		*d.Link = p.link
	}
	for _, d := range desc.StructOps {
		m := o.structOpsMap(d.Name)
		if m == nil || d.Size != m.size {
			return fmt.Errorf("struct_ops map %s: does not fit the generated code: generate it again", d.Name)
		}
		m.bind(fieldOf(d.Field), o.state < loaded)
		*d.Handle, *d.Link = m, m.slot
	}
	return nil
}

func (o *object) bindVariable(d binding.Var[*Variable]) error {
	v, ok := o.vars[d.Name]
	if !ok {
		return nil
	}
	s := o.section(v.Section)
	if s == nil {
		return nil
	}
	offset := uintptr(v.Offset)
	if uint64(d.Size) > v.Size || offset%d.Align != 0 || offset+d.Size > uintptr(s.region.Capacity()) {
		return doesNotFit(d.Name)
	}
	s.bind(boundVar{d.Name, offset, d.Size, fieldOf(d.Field)}, o.state == opened)
	*d.Handle, _ = DataSection{o, s}.global(d.Name)
	return nil
}

// sectionMap returns the handle on the map of a data section, nil when the object does not
// have the section.
func (o *object) sectionMap(name string) *UntypedMap {
	for _, m := range o.maps {
		if m.name == name && m.def.Kind.IsSection() {
			return m
		}
	}
	return nil
}

func (o *object) bindMap(d mapDesc) error {
	for _, m := range o.maps {
		if m.name != d.Name {
			continue
		}
		h := d.Handle
		h.init(m.name, d.Types)
		h.of, h.declared = m, m.declared
		if kernel := m.loaded.Load(); kernel != nil {
			return h.checkSizes(kernel.KeySize(), kernel.ValueSize())
		}
		m.shared = append(m.shared, h)
		return h.checkSizes(m.def.KeySize, m.def.ValueSize)
	}
	return nil
}

func (o *object) prog(name string) *BaseProgram {
	for _, p := range o.progs {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (o *object) structOpsMap(name string) *StructOpsMap {
	for _, m := range o.structOps {
		if m.name == name {
			return m
		}
	}
	return nil
}

func (o *object) section(name string) *section {
	for i := range o.sections {
		if o.sections[i].name == name {
			return &o.sections[i]
		}
	}
	return nil
}

// indexVariables collects the variables that libraries may find.
func (o *object) indexVariables(types *btf.Spec) error {
	if o.vars != nil {
		return nil
	}
	img := o.loader.Image
	o.vars = make(map[string]subskel.ObjectVar)
	for i := range img.Variables {
		v := &img.Variables[i]
		if !v.Visible {
			continue
		}
		out := subskel.ObjectVar{Section: subskel.Arena, Offset: uint64(v.Offset), Size: uint64(v.Size)}
		if v.Map != image.NoIndex {
			out.Section = img.Maps[v.Map].Name
		}
		var err error
		if out.Type, err = typeOf(types, v.Type); err != nil {
			return fmt.Errorf("variable %s: %w", v.Name, err)
		}
		o.vars[v.Name] = out
	}
	return nil
}

// typeOf returns the type with an ID, nil for 0.
func typeOf(types *btf.Spec, id uint32) (btf.Type, error) {
	if id == 0 {
		return nil, nil
	}
	return types.TypeByID(btf.TypeID(id))
}

// libraryView is an object as package subskel sees it.
type libraryView struct {
	o     *object
	types *btf.Spec
	// sections are the sections of the library's programs, by the names of these.
	sections map[string]string
}

func (v libraryView) Name() string { return v.o.name }

// Order is the machine's: an image of the other byte order is not opened.
func (v libraryView) Order() binary.ByteOrder { return binary.NativeEndian }

func (v libraryView) Var(name string) (subskel.ObjectVar, bool) {
	out, ok := v.o.vars[name]
	if !ok || v.o.section(out.Section) == nil {
		return subskel.ObjectVar{}, false
	}
	return out, true
}

func (v libraryView) Map(name string) (subskel.MapDef, bool) {
	for _, m := range v.o.maps {
		if m.name == name {
			return v.mapDef(m.decl), true
		}
	}
	return subskel.MapDef{}, false
}

// mapDef returns the definition of a map as the object has it. What has no type that can
// be read is not compared.
func (v libraryView) mapDef(m *image.Map) subskel.MapDef {
	def := subskel.MapDef{Type: ebpf.MapType(m.Type), KeySize: m.KeySize, ValueSize: m.ValueSize}
	def.Key, _ = typeOf(v.types, m.KeyType)
	def.Value, _ = typeOf(v.types, m.ValueType)
	if m.Inner != image.NoIndex {
		inner := v.mapDef(&v.o.loader.Image.Maps[m.Inner])
		def.Inner = &inner
		// The values that the kernel stores are IDs of maps.
		def.ValueSize, def.Value = 0, nil
	}
	return def
}

func (v libraryView) StructOps(name string) (btf.Type, bool) {
	for i := range v.o.loader.Image.StructOps {
		if s := &v.o.loader.Image.StructOps[i]; s.Name == name {
			typ, err := typeOf(v.types, s.Type)
			return typ, err == nil
		}
	}
	return nil, false
}

func (v libraryView) Prog(name string) (subskel.Prog, bool) {
	p := v.o.prog(name)
	if p == nil {
		return subskel.Prog{}, false
	}
	section := p.section
	if form, _, ok := secdef.Find(v.sections[name]); ok && section == "" && ebpf.ProgramType(form.Type) == p.def.Type {
		// The section of a pinned program is not known, only its type.
		section = v.sections[name]
	}
	return subskel.Prog{Name: name, Section: section}, true
}
