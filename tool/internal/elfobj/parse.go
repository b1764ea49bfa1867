package elfobj

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

var errDamaged = errors.New("the ELF file is damaged or cut short: build it again")

// Parse reads a file. The contents of its sections are parts of data, unless
// they are not in the form of the ABI. It does not panic, whatever data is.
func Parse(data []byte) (*File, error) {
	p := &parser{data: data}
	if err := p.header(); err != nil {
		return nil, err
	}
	if err := p.sections(); err != nil {
		return nil, err
	}
	if err := p.symbols(); err != nil {
		return nil, err
	}
	if err := p.relocs(); err != nil {
		return nil, err
	}
	p.file.countFromSymbols()
	return p.file, nil
}

type parser struct {
	data    []byte
	file    *File
	headers []elf.Section64
	names   int // index of the section with the names of sections
	// byIndex and bySymbol are what the numbers in the file stand for; nil for
	// sections that File does not have, and for symbol 0.
	byIndex  []*Section
	bySymbol []*Symbol
}

func (p *parser) header() error {
	if len(p.data) < headerSize || !bytes.HasPrefix(p.data, []byte(elf.ELFMAG)) {
		return errors.New("not an ELF file: give an object file that clang made with -target bpf")
	}
	if elf.Class(p.data[elf.EI_CLASS]) != elf.ELFCLASS64 {
		return errors.New("not a 64-bit ELF file: compile with clang -target bpfel or -target bpfeb")
	}
	p.file = &File{Order: binary.LittleEndian}
	switch elf.Data(p.data[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
	case elf.ELFDATA2MSB:
		p.file.Order = binary.BigEndian
	default:
		return errDamaged
	}
	var h elf.Header64
	if _, err := binary.Decode(p.data, p.file.Order, &h); err != nil {
		return errDamaged
	}
	if elf.Machine(h.Machine) != elf.EM_BPF || elf.Type(h.Type) != elf.ET_REL {
		return errors.New("not an object file for BPF: compile with clang -target bpfel or -target bpfeb, and -c")
	}
	p.file.Flags = h.Flags
	table, ok := p.slice(h.Shoff, uint64(h.Shnum)*sectionSize)
	// Without a number of sections there are none, or more than BPF objects have.
	if !ok || h.Shentsize != sectionSize || h.Shnum == 0 || h.Shstrndx >= h.Shnum {
		return errDamaged
	}
	p.names = int(h.Shstrndx)
	p.headers = make([]elf.Section64, h.Shnum)
	for i := range p.headers {
		if _, err := binary.Decode(table[i*sectionSize:], p.file.Order, &p.headers[i]); err != nil {
			return errDamaged
		}
	}
	return nil
}

// slice returns n bytes of the file from offset off, if it has them.
func (p *parser) slice(off, n uint64) ([]byte, bool) {
	if off > uint64(len(p.data)) || n > uint64(len(p.data))-off {
		return nil, false
	}
	return p.data[off : off+n : off+n], true
}

// contents returns the contents of a section.
func (p *parser) contents(i uint32) ([]byte, error) {
	if uint64(i) >= uint64(len(p.headers)) {
		return nil, errDamaged
	}
	h := p.headers[i]
	if elf.SectionType(h.Type) == elf.SHT_NOBITS {
		return nil, nil
	}
	data, ok := p.slice(h.Off, h.Size)
	if !ok {
		return nil, errDamaged
	}
	return data, nil
}

// name returns the name at offset off of a string table.
func name(table []byte, off uint32) (string, error) {
	if uint64(off) >= uint64(len(table)) {
		// Names may be left out altogether.
		if off == 0 {
			return "", nil
		}
		return "", errDamaged
	}
	s, _, ok := bytes.Cut(table[off:], []byte{0})
	if !ok {
		return "", errDamaged
	}
	return string(s), nil
}

func (p *parser) sections() error {
	table, err := p.contents(uint32(p.names))
	if err != nil {
		return err
	}
	p.byIndex = make([]*Section, len(p.headers))
	total := uint64(0)
	for i, h := range p.headers {
		// Contents that sections share would be written once for each of them.
		if t := elf.SectionType(h.Type); t != elf.SHT_NULL && t != elf.SHT_NOBITS {
			if total += min(h.Size, uint64(len(p.data))); total > uint64(len(p.data)) {
				return errDamaged
			}
		}
		switch elf.SectionType(h.Type) {
		case elf.SHT_NULL, elf.SHT_SYMTAB, elf.SHT_STRTAB, elf.SHT_REL, elf.SHT_SYMTAB_SHNDX:
			continue
		}
		sec := &Section{
			Type:    elf.SectionType(h.Type),
			Flags:   elf.SectionFlag(h.Flags),
			Align:   h.Addralign,
			Entsize: h.Entsize,
		}
		if sec.Name, err = name(table, h.Name); err != nil {
			return err
		}
		if sec.Data, err = p.contents(uint32(i)); err != nil {
			return fmt.Errorf("section %s: %w", quote.Name(sec.Name), err)
		}
		if sec.Type == elf.SHT_NOBITS {
			sec.Size = h.Size
		}
		p.byIndex[i] = sec
		p.file.Sections = append(p.file.Sections, sec)
	}
	return nil
}

func (p *parser) symbols() error {
	p.bySymbol = make([]*Symbol, 1)
	found := false
	for i, h := range p.headers {
		if elf.SectionType(h.Type) != elf.SHT_SYMTAB {
			continue
		}
		if found {
			return errors.New("has two symbol tables: build the file again")
		}
		found = true
		table, err := p.contents(uint32(i))
		if err != nil {
			return err
		}
		strings, err := p.contents(h.Link)
		if err != nil || len(table)%symbolSize != 0 {
			return errDamaged
		}
		for n := symbolSize; n < len(table); n += symbolSize {
			sym, err := p.symbol(table[n:], strings)
			if err != nil {
				return err
			}
			p.bySymbol = append(p.bySymbol, sym)
		}
	}
	p.file.Symbols = append(p.file.Symbols, p.bySymbol[1:]...)
	return nil
}

func (p *parser) symbol(entry, strings []byte) (*Symbol, error) {
	var s elf.Sym64
	if _, err := binary.Decode(entry, p.file.Order, &s); err != nil {
		return nil, errDamaged
	}
	sym := &Symbol{
		Bind:  elf.ST_BIND(s.Info),
		Type:  elf.ST_TYPE(s.Info),
		Other: s.Other,
		Value: s.Value,
		Size:  s.Size,
	}
	var err error
	if sym.Name, err = name(strings, s.Name); err != nil {
		return nil, err
	}
	switch index := elf.SectionIndex(s.Shndx); {
	case index == elf.SHN_UNDEF || index == elf.SHN_ABS || index == elf.SHN_COMMON:
		sym.Index = index
	case int(index) >= len(p.byIndex):
		return nil, fmt.Errorf("symbol %s: is in section %d, which does not exist: the file is damaged: build it again", quote.Name(sym.Name), int(index))
	case p.byIndex[index] == nil:
		// The symbol is of a section that is made anew, to which nothing refers.
		sym.Index = elf.SHN_UNDEF
		sym.Type = elf.STT_NOTYPE
	default:
		sym.Section = p.byIndex[index]
	}
	return sym, nil
}

func (p *parser) relocs() error {
	for i, h := range p.headers {
		if elf.SectionType(h.Type) != elf.SHT_REL {
			continue
		}
		if uint64(h.Info) >= uint64(len(p.byIndex)) || p.byIndex[h.Info] == nil {
			return errDamaged
		}
		sec := p.byIndex[h.Info]
		table, err := p.contents(uint32(i))
		if err != nil {
			return err
		}
		if len(table)%relSize != 0 {
			return errDamaged
		}
		if isUnlinked(sec) {
			continue
		}
		sec.Relocs = slices.Grow(sec.Relocs, len(table)/relSize)
		for ; len(table) > 0; table = table[relSize:] {
			info := p.file.Order.Uint64(table[8:])
			n := elf.R_SYM64(info)
			if uint64(n) >= uint64(len(p.bySymbol)) {
				return fmt.Errorf("section %s: a relocation refers to symbol %d, which does not exist: the file is damaged: build it again", quote.Name(sec.Name), n)
			}
			sec.Relocs = append(sec.Relocs, Reloc{p.file.Order.Uint64(table), elf.R_TYPE64(info), p.bySymbol[n]})
		}
	}
	return nil
}

// isUnlinked reports whether the relocations of a section are of no use here: those of debug
// information, which are most of a file's, and those of BTF, which linkers rebuild.
func isUnlinked(sec *Section) bool {
	return sec.Flags&elf.SHF_ALLOC == 0 && (strings.HasPrefix(sec.Name, ".debug_") || sec.Name == ".BTF" || sec.Name == ".BTF.ext")
}
