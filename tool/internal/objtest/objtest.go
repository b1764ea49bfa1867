// Package objtest builds BPF object files for tests, in Go, so that tests need
// neither clang nor object files in the repository.
//
// A [File] says what is in the object the way C does: variables with a section
// and a type, programs with a section and what they refer to. Everything that a
// compiler adds (offsets, symbols, relocations, BTF) follows from it, and can be
// set wrong on purpose where a field says so.
package objtest

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// File is an object file to build.
type File struct {
	// Order is the byte order, little-endian when nil.
	Order binary.ByteOrder
	// Linked fills in the sizes and offsets of BTF's sections, as a linker does
	// and clang does not.
	Linked   bool
	License  string
	Vars     []Var
	Programs []Program
	Sections []Section

	// NoBTF leaves out section .BTF, NoSymbols the symbol table.
	NoBTF, NoSymbols bool
	// Header changes the ELF header before it is written.
	Header func(*elf.Header64)
	// SectionHeader changes the header of a section before it is written.
	SectionHeader func(name string, h *elf.Section64)
	// Types are added to the BTF.
	Types []btf.Type
}

// Var is a variable, or a map when its section is .maps. The sections .kconfig and
// .ksyms are in BTF only, as for clang. An extern variable may be in no section.
type Var struct {
	Section string
	Name    string
	Type    btf.Type
	// Value is what the section holds, zeros when nil.
	Value []byte
	// Refs are the places in the value that hold addresses.
	Refs []Ref
	// Align is the alignment of the variable, that of its type unless set.
	Align uint32
	// Static is the C storage class, Extern a declaration without a definition.
	Static, Extern bool
	// Weak and Visibility are attributes of the symbol.
	Weak       bool
	Visibility elf.SymVis

	// NoBTF and NoSymbol leave out one side; Kind is the symbol's type, an object
	// unless set.
	NoBTF, NoSymbol bool
	Kind            elf.SymType
	// SymbolOffset and SymbolSize are added to what the symbol should have,
	// BTFOffset and BTFSize to what BTF should have.
	SymbolOffset, SymbolSize int
	BTFOffset, BTFSize       int
}

// Ref is the address of something: the name of a function or a variable, or of a
// section, as clang refers to static functions.
type Ref struct {
	// Offset is in bytes, from the start of the variable.
	Offset uint64
	Name   string
}

// Program is a function. Those of section .text are no programs.
type Program struct {
	Name    string
	Section string
	Static  bool
	// Refs are the variables and maps that the function refers to. A name that is
	// none of these is that of a section, as clang refers to unnamed data.
	Refs []string
}

// Section is a section with contents given as they are.
type Section struct {
	Name  string
	Type  elf.SectionType
	Flags elf.SectionFlag
	Data  []byte
}

// section is a section on its way into the file.
type section struct {
	Section
	size       uint64 // of a section without contents
	link, info uint32
	entsize    uint64
	vars       []placed
	relocs     []reloc
}

type placed struct {
	Var
	offset, size uint64
}

type reloc struct {
	offset uint64
	ref    string
}

// builder is the state of building one file.
type builder struct {
	*File
	order    binary.ByteOrder
	sections []*section
	// virtual are the sections that are in BTF only.
	virtual []*section
	symbols []symbol
}

type symbol struct {
	elf.Sym64
	name string
}

// Build returns the object file. It panics when the description makes no sense:
// that is a mistake in a test.
func (f *File) Build() []byte {
	b := &builder{File: f, order: f.Order}
	if b.order == nil {
		b.order = binary.LittleEndian
	}
	b.add(Section{})
	b.add(Section{Name: ".text", Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR})
	for _, p := range f.Programs {
		b.addProgram(p)
	}
	for _, v := range f.Vars {
		b.addVar(v)
	}
	if f.License != "" {
		b.add(Section{Name: "license", Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_WRITE, Data: append([]byte(f.License), 0)})
	}
	for _, s := range f.Sections {
		b.add(s)
	}
	if !f.NoBTF {
		b.add(Section{Name: ".BTF", Type: elf.SHT_PROGBITS, Data: b.btf()})
	}
	if !f.NoSymbols {
		b.addSymbolTable()
	}
	return b.write()
}

func (b *builder) add(s Section) *section {
	sec := &section{Section: s}
	b.sections = append(b.sections, sec)
	return sec
}

// index returns the index of the section called name, -1 if there is none.
func (b *builder) index(name string) int {
	return slices.IndexFunc(b.sections, func(s *section) bool { return s.Name == name })
}

func (b *builder) get(s Section) (*section, int) {
	if i := b.index(s.Name); i >= 0 {
		return b.sections[i], i
	}
	return b.add(s), len(b.sections) - 1
}

const (
	loadImm64 = 0x18
	moveImm   = 0xb7
	exit      = 0x95
	insnSize  = 8
)

func (b *builder) addProgram(p Program) {
	sec, i := b.get(Section{Name: p.Section, Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR})
	start := len(sec.Data)
	for _, ref := range p.Refs {
		sec.relocs = append(sec.relocs, reloc{uint64(len(sec.Data)), ref})
		// The nibbles of the second byte, destination and source, are swapped in
		// big-endian code.
		reg := byte(0x01)
		if b.order == binary.BigEndian {
			reg = 0x10
		}
		sec.Data = append(sec.Data, loadImm64, reg, 0, 0, 0, 0, 0, 0)
		sec.Data = append(sec.Data, make([]byte, insnSize)...)
	}
	sec.Data = append(sec.Data, moveImm, 0, 0, 0, 0, 0, 0, 0)
	sec.Data = append(sec.Data, exit, 0, 0, 0, 0, 0, 0, 0)
	bind := elf.STB_GLOBAL
	if p.Static {
		bind = elf.STB_LOCAL
	}
	b.symbols = append(b.symbols, symbol{elf.Sym64{
		Info:  elf.ST_INFO(bind, elf.STT_FUNC),
		Shndx: uint16(i),
		Value: uint64(start),
		Size:  uint64(len(sec.Data) - start),
	}, p.Name})
}

func (b *builder) addVar(v Var) {
	typ := elf.SHT_PROGBITS
	if strings.HasPrefix(v.Section, ".bss") {
		typ = elf.SHT_NOBITS
	}
	sec, i := b.sectionOf(v, typ)
	size := uint64(sizeof(v.Type))
	align := uint64(v.Align)
	if align == 0 {
		align = uint64(alignof(v.Type))
	}
	offset := (sec.size + align - 1) / align * align
	if !v.Extern {
		if typ == elf.SHT_PROGBITS {
			value := make([]byte, offset+size-sec.size)
			copy(value[offset-sec.size:], v.Value)
			sec.Data = append(sec.Data, value...)
		}
		sec.size = offset + size
	}
	for _, ref := range v.Refs {
		sec.relocs = append(sec.relocs, reloc{offset + ref.Offset, ref.Name})
	}
	sec.vars = append(sec.vars, placed{v, offset, size})
	if v.NoSymbol {
		return
	}
	bind := elf.STB_GLOBAL
	switch {
	case v.Static:
		bind = elf.STB_LOCAL
	case v.Weak:
		bind = elf.STB_WEAK
	}
	sym := elf.Sym64{
		Info:  elf.ST_INFO(bind, cmp.Or(v.Kind, elf.STT_OBJECT)),
		Other: byte(v.Visibility),
		Shndx: uint16(i),
		Value: offset + uint64(v.SymbolOffset),
		Size:  size + uint64(v.SymbolSize),
	}
	if v.Extern {
		sym = elf.Sym64{Info: elf.ST_INFO(bind, elf.STT_NOTYPE), Other: byte(v.Visibility)}
	}
	b.symbols = append(b.symbols, symbol{sym, v.Name})
}

// sectionOf returns the section of a variable, and its number in the file.
func (b *builder) sectionOf(v Var, typ elf.SectionType) (*section, int) {
	if v.Section != ".kconfig" && v.Section != ".ksyms" && v.Section != "" {
		return b.get(Section{Name: v.Section, Type: typ, Flags: elf.SHF_ALLOC | elf.SHF_WRITE})
	}
	for _, sec := range b.virtual {
		if sec.Name == v.Section {
			return sec, 0
		}
	}
	sec := &section{Section: Section{Name: v.Section}}
	b.virtual = append(b.virtual, sec)
	return sec, 0
}

func (b *builder) btf() []byte {
	types := slices.Clone(b.Types)
	for _, sec := range slices.Concat(b.sections, b.virtual) {
		ds := &btf.Datasec{Name: sec.Name}
		if b.Linked {
			ds.Size = uint32(sec.size)
		}
		for _, v := range sec.vars {
			if v.NoBTF {
				continue
			}
			linkage := btf.GlobalVar
			switch {
			case v.Static:
				linkage = btf.StaticVar
			case v.Extern:
				linkage = btf.ExternVar
			}
			variable := &btf.Var{Name: v.Name, Type: v.Type, Linkage: linkage}
			if v.Section == "" {
				types = append(types, variable)
				continue
			}
			info := btf.VarSecinfo{
				Type: variable,
				Size: uint32(int(v.size) + v.BTFSize),
			}
			if b.Linked {
				info.Offset = uint32(int(v.offset) + v.BTFOffset)
			}
			ds.Vars = append(ds.Vars, info)
		}
		if len(ds.Vars) > 0 {
			types = append(types, ds)
		}
	}
	if len(types) == 0 {
		types = append(types, U32)
	}
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		panic(err)
	}
	raw, err := builder.Marshal(nil, &btf.MarshalOptions{Order: b.order})
	if err != nil {
		panic(err)
	}
	return raw
}

// addSymbolTable adds the symbols, and the relocations that refer to them.
func (b *builder) addSymbolTable() {
	for i, sec := range b.sections {
		for _, r := range sec.relocs {
			if !slices.ContainsFunc(b.symbols, func(s symbol) bool { return s.name == r.ref }) {
				target := b.index(r.ref)
				if target < 0 {
					panic(fmt.Sprintf("section %s refers to %s, which does not exist", b.sections[i].Name, r.ref))
				}
				b.symbols = append(b.symbols, symbol{elf.Sym64{
					Info:  elf.ST_INFO(elf.STB_LOCAL, elf.STT_SECTION),
					Shndx: uint16(target),
				}, ""})
			}
		}
	}
	// ELF wants local symbols first.
	slices.SortStableFunc(b.symbols, func(x, y symbol) int {
		return cmp.Compare(min(elf.ST_BIND(x.Info), 1), min(elf.ST_BIND(y.Info), 1))
	})
	local := 1
	strtab := []byte{0}
	var table bytes.Buffer
	b.put(&table, elf.Sym64{})
	for _, s := range b.symbols {
		if elf.ST_BIND(s.Info) == elf.STB_LOCAL {
			local++
		}
		if s.name != "" {
			s.Name = uint32(len(strtab))
			strtab = append(append(strtab, s.name...), 0)
		}
		b.put(&table, s.Sym64)
	}
	symtab := b.add(Section{Name: ".symtab", Type: elf.SHT_SYMTAB, Data: table.Bytes()})
	symtabIndex := len(b.sections) - 1
	symtab.link = uint32(len(b.sections))
	symtab.info = uint32(local)
	symtab.entsize = elf.Sym64Size
	b.add(Section{Name: ".strtab", Type: elf.SHT_STRTAB, Data: strtab})
	for i, sec := range b.sections {
		if len(sec.relocs) == 0 {
			continue
		}
		var rels bytes.Buffer
		typ := uint32(1) // R_BPF_64_64
		if sec.Flags&elf.SHF_EXECINSTR == 0 {
			typ = 2 // R_BPF_64_ABS64
		}
		for _, r := range sec.relocs {
			b.put(&rels, elf.Rel64{Off: r.offset, Info: elf.R_INFO(b.symbolIndex(r.ref), typ)})
		}
		rel := b.add(Section{Name: ".rel" + sec.Name, Type: elf.SHT_REL, Data: rels.Bytes()})
		rel.link = uint32(symtabIndex)
		rel.info = uint32(i)
		rel.entsize = 16
	}
}

// symbolIndex returns the index of the symbol that stands for ref.
func (b *builder) symbolIndex(ref string) uint32 {
	target := b.index(ref)
	for i, s := range b.symbols {
		if s.name == ref || s.name == "" && target >= 0 && int(s.Shndx) == target {
			return uint32(i + 1)
		}
	}
	panic("no symbol for " + ref)
}

func (b *builder) put(buf *bytes.Buffer, v any) {
	if err := binary.Write(buf, b.order, v); err != nil {
		panic(err)
	}
}

func (b *builder) write() []byte {
	names := []byte{0}
	b.add(Section{Name: ".shstrtab", Type: elf.SHT_STRTAB})
	offsets := make([]uint32, len(b.sections))
	for i, sec := range b.sections[1:] {
		offsets[i+1] = uint32(len(names))
		names = append(append(names, sec.Name...), 0)
	}
	b.sections[len(b.sections)-1].Data = names

	const headerSize, sectionSize = 64, 64
	var body, headers bytes.Buffer
	for i, sec := range b.sections {
		for (headerSize+body.Len())%8 != 0 {
			body.WriteByte(0)
		}
		h := elf.Section64{
			Name:      offsets[i],
			Type:      uint32(sec.Type),
			Flags:     uint64(sec.Flags),
			Off:       uint64(headerSize + body.Len()),
			Size:      uint64(len(sec.Data)),
			Link:      sec.link,
			Info:      sec.info,
			Addralign: 8,
			Entsize:   sec.entsize,
		}
		if sec.Type == elf.SHT_NULL {
			h = elf.Section64{}
		}
		if sec.Type == elf.SHT_NOBITS {
			h.Size = sec.size
		}
		if b.SectionHeader != nil {
			b.SectionHeader(sec.Name, &h)
		}
		b.put(&headers, h)
		body.Write(sec.Data)
	}
	for (headerSize+body.Len())%8 != 0 {
		body.WriteByte(0)
	}
	header := elf.Header64{
		Type:      uint16(elf.ET_REL),
		Machine:   uint16(elf.EM_BPF),
		Version:   uint32(elf.EV_CURRENT),
		Shoff:     uint64(headerSize + body.Len()),
		Ehsize:    headerSize,
		Shentsize: sectionSize,
		Shnum:     uint16(len(b.sections)),
		Shstrndx:  uint16(len(b.sections) - 1),
	}
	data := elf.ELFDATA2LSB
	if b.order == binary.BigEndian {
		data = elf.ELFDATA2MSB
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	header.Ident[elf.EI_DATA] = byte(data)
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	if b.Header != nil {
		b.Header(&header)
	}
	var file bytes.Buffer
	b.put(&file, header)
	file.Write(body.Bytes())
	file.Write(headers.Bytes())
	return file.Bytes()
}

// Overlap makes each section of a little-endian object all of the file.
func Overlap(b []byte) []byte {
	order := binary.LittleEndian
	table := b[order.Uint64(b[40:]):]
	for i := range int(order.Uint16(b[60:])) {
		if h := table[64*i:]; order.Uint32(h[4:]) == uint32(elf.SHT_PROGBITS) {
			order.PutUint64(h[24:], 0)
			order.PutUint64(h[32:], uint64(len(b)))
		}
	}
	return b
}
