package imagegen

import (
	"debug/elf"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/mapdecl"
)

// BPF_F_RDONLY_PROG: programs only read the map.
const readOnlyForPrograms = 1 << 7

// innerMap is the definition of the values of a map, by its index.
type innerMap struct {
	outer uint32
	def   image.Map
}

// declaredMap is a map that C declares, by its index.
type declaredMap struct {
	index uint32
	decl  *mapdecl.Map
}

// readMaps reads the maps that C declares.
func (b *builder) readMaps() error {
	sec := b.file.Section(".maps")
	if sec == nil || size(sec) == 0 {
		return nil
	}
	datasec := b.datasecs[".maps"]
	if datasec == 0 {
		return errors.New("section .maps: declares no map in BTF: compile with clang -g")
	}
	entries := b.btf.At(datasec)
	for i := range entries.Vlen() {
		info := entries.Secinfo(i)
		v := b.types.At(info.Type)
		name := v.Name()
		if name == "" {
			return errors.New("section .maps: has a map without a name: the file is damaged: build it again")
		}
		// In b.btf, one that is hidden has become static.
		switch v.Linkage() {
		case rawbtf.Global:
		case rawbtf.Extern:
			return fmt.Errorf("%s: is declared extern and defined nowhere: link the object with the file that defines the map", quote.Name(name))
		default:
			return fmt.Errorf("%s: is a map that is static: declare it in SEC(\".maps\") without the word static", quote.Name(name))
		}
		decl, err := mapdecl.Read(v.Elem())
		if err != nil {
			return fmt.Errorf("%s: %w", quote.Name(name), err)
		}
		m, inner := defineMap(name, image.DeclaredMap, decl)
		at := uint32(len(b.out.Maps))
		if inner != nil {
			b.inner = append(b.inner, innerMap{at, *inner})
		}
		b.declared[uint64(info.Offset)] = declaredMap{at, decl}
		b.out.Maps = append(b.out.Maps, m)
	}
	return nil
}

// defineMap returns the definition of a map, and of its inner maps if it has any.
func defineMap(name string, kind image.MapKind, d *mapdecl.Map) (m image.Map, inner *image.Map) {
	m = image.Map{
		Name: name, Kind: kind, Type: uint32(d.Type),
		KeySize: d.KeySize, ValueSize: d.ValueBytes(), MaxEntries: d.MaxEntries,
		Flags: d.Flags, NUMANode: d.NUMANode, Extra: d.Extra, Pinning: d.Pinning,
		KeyType: d.Key, ValueType: d.Value, Inner: image.NoIndex,
	}
	if d.Inner() != nil {
		in, _ := defineMap(name+".inner", image.InnerMap, d.Inner())
		inner = &in
	}
	return m, inner
}

// sectionMaps makes the maps of data sections.
func (b *builder) sectionMaps() error {
	for _, sec := range b.file.Sections {
		kind, ok := bpfobj.KindOf(sec.Name)
		if !ok || kind == bpfobj.Arena || !isContents(sec) || size(sec) == 0 {
			continue
		}
		if err := checkSize(sec); err != nil {
			return err
		}
		if _, ok := b.named(sec.Name); ok {
			return fmt.Errorf("section %s: is in the file twice: link the object again", quote.Name(sec.Name))
		}
		mapKind := map[bpfobj.Kind]image.MapKind{bpfobj.Data: image.DataMap, bpfobj.Rodata: image.RodataMap, bpfobj.Bss: image.BssMap}[kind]
		m := sectionMap(sec.Name, mapKind, uint32(size(sec)), b.datasecs[sec.Name])
		if sec.Type == elf.SHT_PROGBITS {
			m.Contents = sec.Data
		}
		m.Metadata = kind == bpfobj.Rodata && b.hasMetadata(m.ValueType)
		b.sections[sec] = uint32(len(b.out.Maps))
		b.out.Maps = append(b.out.Maps, m)
	}
	return nil
}

// named returns the index of a map.
func (b *builder) named(name string) (uint32, bool) {
	for i := range b.out.Maps {
		if b.out.Maps[i].Name == name {
			return uint32(i), true
		}
	}
	return 0, false
}

// sectionMap returns the definition of the map of a section.
func sectionMap(name string, kind image.MapKind, size, datasec uint32) image.Map {
	m := image.Map{
		Name: name, Kind: kind, Type: uint32(ebpf.Array),
		KeySize: 4, ValueSize: size, MaxEntries: 1,
		ValueType: datasec, Inner: image.NoIndex,
	}
	if kind == image.RodataMap || kind == image.KconfigMap {
		m.Flags = readOnlyForPrograms
	}
	return m
}

// hasMetadata reports whether a DATASEC has variables that tools read from programs.
func (b *builder) hasMetadata(datasec uint32) bool {
	if datasec == 0 {
		return false
	}
	entries := b.types.At(datasec)
	for i := range entries.Vlen() {
		if strings.HasPrefix(b.types.At(entries.Secinfo(i).Type).Name(), "bpf_metadata_") {
			return true
		}
	}
	return false
}

// innerMaps adds the definitions of inner maps.
func (b *builder) innerMaps() error {
	for _, in := range b.inner {
		b.out.Maps[in.outer].Inner = uint32(len(b.out.Maps))
		b.out.Maps = append(b.out.Maps, in.def)
	}
	return nil
}

// arena finds the map that has the variables of the arena.
func (b *builder) arena() error {
	sec := b.file.Section(bpfobj.ArenaSection)
	if sec == nil || !isContents(sec) || size(sec) == 0 {
		return nil
	}
	if err := checkSize(sec); err != nil {
		return err
	}
	a := image.Arena{Map: image.NoIndex, Size: uint32(size(sec)), DataSection: b.datasecs[bpfobj.ArenaSection]}
	if sec.Type == elf.SHT_PROGBITS {
		a.Contents = sec.Data
	}
	for i, m := range b.out.Maps {
		if m.Kind != image.DeclaredMap || m.Type != uint32(ebpf.Arena) {
			continue
		}
		if a.Map != image.NoIndex {
			return fmt.Errorf("section %s: has variables in an arena, and the object has several, %s and %s: keep one of them", bpfobj.ArenaSection, quote.Name(b.out.Maps[a.Map].Name), quote.Name(m.Name))
		}
		a.Map = uint32(i)
	}
	if a.Map == image.NoIndex {
		return fmt.Errorf("section %s: has variables in an arena, and the object has none: declare a map of type BPF_MAP_TYPE_ARENA in SEC(\".maps\")", bpfobj.ArenaSection)
	}
	b.out.Arena = a
	return nil
}

// elements reads the initial values of maps: addresses of maps and programs in section
// .maps.
func (b *builder) elements() error {
	sec := b.file.Section(".maps")
	if sec == nil {
		return nil
	}
	for _, r := range sec.Relocs {
		a, err := elfobj.ReadAddend(sec, r, b.order)
		if err != nil {
			return fmt.Errorf("section .maps: %w", err)
		}
		if err := b.element(r, a.Target(r.Symbol)); err != nil {
			return err
		}
	}
	return nil
}

// element reads the value of a map that a relocation is for.
func (b *builder) element(r elfobj.Reloc, target int64) error {
	datasec := b.datasecs[".maps"]
	damaged := errors.New("section .maps: has an address where no map has values: the file is damaged: build it again")
	if datasec == 0 {
		return damaged
	}
	entries := b.btf.At(datasec)
	for i := range entries.Vlen() {
		info := entries.Secinfo(i)
		if r.Offset < uint64(info.Offset) || r.Offset+8 > uint64(info.Offset)+uint64(info.Size) {
			continue
		}
		m, ok := b.declared[uint64(info.Offset)]
		if !ok || m.decl.Values == nil {
			return damaged
		}
		from := uint64(info.Offset) + uint64(m.decl.Values.Offset)
		if r.Offset < from || (r.Offset-from)%8 != 0 {
			return damaged
		}
		return b.addElement(image.Element{Map: m.index, Key: uint32((r.Offset - from) / 8)}, r.Symbol, target)
	}
	return damaged
}

// addElement adds a value of a map.
func (b *builder) addElement(e image.Element, sym *elfobj.Symbol, target int64) error {
	m := &b.out.Maps[e.Map]
	if ebpf.MapType(m.Type) == ebpf.ProgramArray {
		function, ok := b.functionThat(sym.Section, target)
		if e.Target, e.IsProgram = b.programs[function], true; !ok || !b.isProgram(function) {
			return fmt.Errorf("%s: value %d is %s, which is not a program: give it a function with SEC() that is not static", quote.Name(m.Name), e.Key, symbolName(sym))
		}
	} else {
		if ebpf.MapType(m.Type) == ebpf.HashOfMaps && m.KeySize != 4 {
			return fmt.Errorf("%s: has values in C, whose keys are their indices, and keys of %d bytes: declare keys of 4 bytes, or put the values in at run time", quote.Name(m.Name), m.KeySize)
		}
		declared, ok := b.declared[uint64(target)]
		e.Target = declared.index
		if !ok || sym.Section == nil || sym.Section.Name != ".maps" {
			return fmt.Errorf("%s: value %d is %s, which is not a map: give it one of SEC(\".maps\")", quote.Name(m.Name), e.Key, symbolName(sym))
		}
	}
	b.out.Elements = append(b.out.Elements, e)
	return nil
}

func (b *builder) isProgram(function uint32) bool {
	_, ok := b.programs[function]
	return ok
}

// symbolName names a symbol in an error.
func symbolName(sym *elfobj.Symbol) string {
	if sym.Name == "" && sym.Section != nil {
		return "something in section " + quote.Name(sym.Section.Name)
	}
	return quote.Name(sym.Name)
}
