package skeleton

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// FromCollection returns an object over coll, which cilium/ebpf has loaded from spec, for
// subskeletons of the libraries that were linked into it:
//
//	obj, err := skeleton.FromCollection(coll, spec)
//	if err != nil { ... }
//	defer obj.Close()
//	lib, err := ratelimit.Open(obj)
//
// The object is loaded. It has the maps and programs of coll, and the variables of its data
// sections, which are the kernel's memory where their maps can be mapped, as with [Object.Load].
// The object holds references of its own: coll may be closed, and Close of the object, which
// must be called, leaves coll alone. Programs can be attached by their handles; Attach attaches
// them by their sections, including those that others have attached.
//
// Only the symbol table of the ELF file has which symbols are hidden; a spec and BTF do not.
// A hidden variable of the object is therefore taken for the library's if it has its name and
// type. Arenas and struct_ops maps are left out. The spec must have BTF, and be that of the
// collection.
func FromCollection(coll *ebpf.Collection, spec *ebpf.CollectionSpec) (*Object, error) {
	o, err := fromCollection(coll, spec)
	if err != nil {
		return nil, fmt.Errorf("object of a collection: %w", err)
	}
	return o, nil
}

func fromCollection(coll *ebpf.Collection, spec *ebpf.CollectionSpec) (*Object, error) {
	if coll == nil || spec == nil {
		return nil, errors.New("the collection or its spec is nil")
	}
	f := newForeign("collection")
	for _, name := range slices.Sorted(maps.Keys(coll.Maps)) {
		ms := spec.Maps[name]
		if ms == nil {
			return nil, fmt.Errorf("map %s is not in the spec: give that of the collection", name)
		}
		if err := f.addMap(name, coll.Maps[name], ms.Key, ms.Value, ms.InnerMap); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(coll.Programs)) {
		ps := spec.Programs[name]
		if ps == nil {
			return nil, fmt.Errorf("program %s is not in the spec: give that of the collection", name)
		}
		f.addProgram(name, coll.Programs[name], ps)
	}
	if err := f.addInner(); err != nil {
		return nil, err
	}
	if f.types.Empty() {
		return nil, errors.New("it has no BTF: compile it with -g")
	}
	return f.open()
}

// FromPins returns an object over the maps and programs that are pinned in a directory of a
// bpffs, as `bpftool prog loadall FILE DIR pinmaps DIR` leaves them, for subskeletons of the
// libraries that were linked into it. The doc comment of [FromCollection] holds for this
// one too: hidden symbols are unknown here as well.
//
// A map has the name of its pin, and a program that of its function. Types and variables are
// those of the BTF that the kernel has of the maps: a process without CAP_SYS_ADMIN may not ask
// for it, and finds maps without types and no variables, as it is with maps that were made without
// BTF. What has no types is not compared with those of a library. Sections of programs are not
// known, so that Attach leaves programs alone, and methods of handles need the direction or the
// end as an argument. Links and directories below are left alone. It is an error when no map
// and no program is pinned there.
func FromPins(dir string) (*Object, error) {
	o, err := fromPins(dir)
	if err != nil {
		return nil, fmt.Errorf("object of the pins in %s: %w", dir, err)
	}
	return o, nil
}

func fromPins(dir string) (*Object, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	f := newForeign(filepath.Base(dir))
	// What is added is cloned when the object is open.
	var opened []interface{ Close() error }
	defer func() {
		for _, c := range opened {
			c.Close()
		}
	}()
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		m, mapErr := ebpf.LoadPinnedMap(path, nil)
		if mapErr == nil {
			opened = append(opened, m)
			if err := f.addPinnedMap(e.Name(), m); err != nil {
				return nil, err
			}
			continue
		}
		p, progErr := ebpf.LoadPinnedProgram(path, nil)
		if progErr == nil {
			opened = append(opened, p)
			if err := f.addPinnedProgram(e.Name(), p); err != nil {
				return nil, err
			}
			continue
		}
		l, linkErr := link.LoadPinnedLink(path, nil)
		if linkErr != nil {
			return nil, fmt.Errorf("%s is not a map, program or link: %w", path, errors.Join(mapErr, progErr, linkErr))
		}
		opened = append(opened, l)
	}
	if len(f.maps)+len(f.programs) == 0 {
		return nil, errors.New("no map and no program is pinned there that a library could use")
	}
	return f.open()
}

// foreign is an object that others have loaded, while an [Object] is made of it.
type foreign struct {
	img   image.Object
	types btf.Builder
	// maps and programs are those of img, nil for definitions of inner maps.
	maps     []*ebpf.Map
	programs []*ebpf.Program
	// specs are those of the programs, nil where there is none.
	specs []*ebpf.ProgramSpec
	// inner are definitions of inner maps, by the index of the outer map.
	inner map[int]*ebpf.MapSpec
	// pinned is the BTF of pinned maps, by its ID.
	pinned map[uint32]*btf.Spec
}

func newForeign(name string) *foreign {
	f := &foreign{inner: make(map[int]*ebpf.MapSpec), pinned: make(map[uint32]*btf.Spec)}
	f.img.Name, f.img.Arena.Map = name, image.NoIndex
	return f
}

// typeID adds a type, and returns its ID, 0 for none.
func (f *foreign) typeID(t btf.Type) (uint32, error) {
	if t == nil {
		return 0, nil
	}
	if _, ok := t.(*btf.Void); ok {
		return 0, nil
	}
	id, err := f.types.Add(t)
	return uint32(id), err
}

// addMap adds a map. That of a data section has a DATASEC as its value.
func (f *foreign) addMap(name string, m *ebpf.Map, key, value btf.Type, inner *ebpf.MapSpec) error {
	if typ := m.Type(); typ == ebpf.StructOpsMap || typ == ebpf.Arena {
		return nil
	}
	if slices.ContainsFunc(f.img.Maps, func(m image.Map) bool { return m.Name == name }) {
		return fmt.Errorf("there are two maps %s: take the pins of one object", name)
	}
	section, isSection := value.(*btf.Datasec)
	def := image.Map{
		Name: name, Type: uint32(m.Type()), KeySize: m.KeySize(), ValueSize: m.ValueSize(),
		MaxEntries: m.MaxEntries(), Flags: m.Flags(), Inner: image.NoIndex,
	}
	info, err := m.Info()
	if err != nil {
		return fmt.Errorf("map %s: %w", name, err)
	}
	def.Extra, _ = info.MapExtra()
	if def.KeyType, err = f.typeID(key); err == nil {
		def.ValueType, err = f.typeID(value)
	}
	if err != nil {
		return fmt.Errorf("types of map %s: %w", name, err)
	}
	if isSection {
		def.Kind, def.Flags = sectionKind(name), def.Flags&^sys.Mmapable
		for _, v := range section.Vars {
			if err := f.addVariable(v); err != nil {
				return fmt.Errorf("section %s: %w", name, err)
			}
		}
	}
	if inner != nil {
		f.inner[len(f.maps)] = inner
	}
	f.img.Maps, f.maps = append(f.img.Maps, def), append(f.maps, m)
	return nil
}

// sectionKind returns what a data section is, by its name.
func sectionKind(name string) image.MapKind {
	switch {
	case strings.HasPrefix(name, ".rodata"):
		return image.RodataMap
	case strings.HasPrefix(name, ".bss"):
		return image.BssMap
	case name == ".kconfig":
		return image.KconfigMap
	}
	return image.DataMap
}

// addVariable adds a variable of the map that is added next.
func (f *foreign) addVariable(v btf.VarSecinfo) error {
	typ, ok := v.Type.(*btf.Var)
	if !ok {
		return nil
	}
	id, err := f.typeID(typ.Type)
	if err != nil {
		return fmt.Errorf("variable %s: %w", typ.Name, err)
	}
	f.img.Variables = append(f.img.Variables, image.Variable{
		Name: typ.Name, Map: uint32(len(f.maps)), Offset: v.Offset, Size: v.Size, Type: id, Visible: typ.Linkage != btf.StaticVar,
	})
	return nil
}

func (f *foreign) addProgram(name string, p *ebpf.Program, spec *ebpf.ProgramSpec) {
	section := ""
	if spec != nil {
		section = spec.SectionName
	}
	f.img.Programs = append(f.img.Programs, image.Program{Name: name, Section: section, Function: uint32(len(f.img.Functions))})
	f.img.Functions = append(f.img.Functions, image.Function{Name: name, ExceptionCallback: image.NoIndex})
	f.programs, f.specs = append(f.programs, p), append(f.specs, spec)
}

// addPinnedMap adds a map with the types that the kernel knows.
func (f *foreign) addPinnedMap(name string, m *ebpf.Map) error {
	var info sys.MapInfo
	if err := sys.GetInfoByFD(m.FD(), &info); err != nil {
		return fmt.Errorf("map %s: %w", name, err)
	}
	var key, value btf.Type
	if info.BTFID != 0 && info.Type != sys.StructOps {
		types, err := f.pinnedTypes(info.BTFID)
		if err != nil {
			return fmt.Errorf("types of map %s: %w", name, err)
		}
		if types != nil {
			if key, err = typeOf(types, info.KeyTypeID); err == nil {
				value, err = typeOf(types, info.ValueTypeID)
			}
			if err != nil {
				return fmt.Errorf("types of map %s: %w", name, err)
			}
		}
	}
	if section, ok := value.(*btf.Datasec); ok {
		name = section.Name
	}
	return f.addMap(name, m, key, value, nil)
}

// pinnedTypes returns the BTF with an ID, nil when this process may not see it.
func (f *foreign) pinnedTypes(id uint32) (*btf.Spec, error) {
	if types, ok := f.pinned[id]; ok {
		return types, nil
	}
	handle, err := btf.NewHandleFromID(btf.ID(id))
	if errors.Is(err, os.ErrPermission) {
		f.pinned[id] = nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	types, err := handle.Spec(nil)
	if err != nil {
		return nil, err
	}
	f.pinned[id] = types
	return types, nil
}

// addPinnedProgram adds a program by the name of its function. The kernel keeps only the
// beginning of a long name; where the pin's name begins with that, the pin has the whole name.
func (f *foreign) addPinnedProgram(pin string, p *ebpf.Program) error {
	info, err := p.Info()
	if err != nil {
		return fmt.Errorf("program %s: %w", pin, err)
	}
	name := info.Name
	if strings.HasPrefix(pin, name) {
		name = pin
	}
	if slices.ContainsFunc(f.img.Programs, func(p image.Program) bool { return p.Name == name }) {
		return fmt.Errorf("there are two programs %s: take the pins of one object", name)
	}
	f.addProgram(name, p, nil)
	return nil
}

// addInner adds the definitions of inner maps, which come last.
func (f *foreign) addInner() error {
	for _, outer := range slices.Sorted(maps.Keys(f.inner)) {
		ms := f.inner[outer]
		def := image.Map{
			Name: f.img.Maps[outer].Name + ".inner", Kind: image.InnerMap, Type: uint32(ms.Type), KeySize: ms.KeySize, ValueSize: ms.ValueSize,
			MaxEntries: ms.MaxEntries, Flags: ms.Flags, Inner: image.NoIndex,
		}
		var err error
		if def.KeyType, err = f.typeID(ms.Key); err == nil {
			def.ValueType, err = f.typeID(ms.Value)
		}
		if err != nil {
			return fmt.Errorf("types of map %s: %w", def.Name, err)
		}
		f.img.Maps[outer].Inner = uint32(len(f.img.Maps))
		f.img.Maps, f.maps = append(f.img.Maps, def), append(f.maps, nil)
	}
	return nil
}

// open returns the object.
func (f *foreign) open() (*Object, error) {
	slices.SortStableFunc(f.img.Variables, func(a, b image.Variable) int {
		return cmp.Or(cmp.Compare(a.Map, b.Map), cmp.Compare(a.Offset, b.Offset))
	})
	var err error
	if f.img.BTF, err = f.types.Marshal(nil, nil); err != nil {
		return nil, fmt.Errorf("types: %w", err)
	}
	o, err := openImage(&f.img, describe(&f.img))
	if err != nil {
		return nil, err
	}
	for i, def := range o.loader.Programs {
		typ := f.programs[i].Type()
		o.progs[i].retyped = def.Type != typ
		def.Type = typ
		if spec := f.specs[i]; spec != nil {
			def.AttachType, def.AttachTo = spec.AttachType, spec.AttachTo
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.loader.Take(f.maps, f.programs, (*object)(o).mapSections); err != nil {
		return nil, err
	}
	(*object)(o).commitMaps()
	(*object)(o).commitPrograms()
	return o, nil
}
