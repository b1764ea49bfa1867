package elfobj

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// Bytes returns the file. It fails when something in it refers to a section or a
// symbol that is not in it, and for sections of a type whose contents are numbers
// of sections or symbols, which it does not know how to write.
func (f *File) Bytes() ([]byte, error) {
	w := &writer{
		File:     f,
		sections: make(map[*Section]int),
		symbols:  make(map[*Symbol]uint32),
		names:    map[string]uint32{"": 0},
		strtab:   []byte{0},
	}
	for i, sec := range f.Sections {
		switch sec.Type {
		case elf.SHT_PROGBITS, elf.SHT_NOBITS, elf.SHT_NOTE:
		default:
			return nil, fmt.Errorf("section %s: is of type %s, which cannot be in an object for a loader", quote.Name(sec.Name), sec.Type)
		}
		w.sections[sec] = i + 1
	}
	if err := w.numberSymbols(); err != nil {
		return nil, err
	}
	return w.write()
}

type writer struct {
	*File
	sections map[*Section]int
	symbols  map[*Symbol]uint32
	sorted   []*Symbol
	locals   int
	// names are the offsets of the names in strtab, which holds those of symbols
	// and of sections.
	names  map[string]uint32
	strtab []byte
}

func (w *writer) name(s string) uint32 {
	off, ok := w.names[s]
	if !ok {
		off = uint32(len(w.strtab))
		w.names[s] = off
		w.strtab = append(append(w.strtab, s...), 0)
	}
	return off
}

// numberSymbols gives symbols their indices, local ones first, as ELF requires.
func (w *writer) numberSymbols() error {
	add := func(local bool) {
		for _, sym := range w.Symbols {
			if (sym.Bind == elf.STB_LOCAL) == local {
				w.sorted = append(w.sorted, sym)
				w.symbols[sym] = uint32(len(w.sorted))
			}
		}
	}
	add(true)
	w.locals = len(w.sorted)
	add(false)
	if len(w.symbols) != len(w.Symbols) || len(w.Symbols) > math.MaxInt32 {
		return fmt.Errorf("the symbol table has a symbol twice")
	}
	return nil
}

// outSection is a section with what its header says.
type outSection struct {
	header elf.Section64
	data   []byte
}

func (w *writer) write() ([]byte, error) {
	out := []outSection{{}}
	for _, sec := range w.Sections {
		size := uint64(len(sec.Data))
		if sec.Type == elf.SHT_NOBITS {
			size = sec.Size
		}
		out = append(out, outSection{elf.Section64{
			Name:      w.name(sec.Name),
			Type:      uint32(sec.Type),
			Flags:     uint64(sec.Flags),
			Size:      size,
			Addralign: sec.Align,
			Entsize:   sec.Entsize,
		}, sec.Data})
	}
	relocated := 0
	for _, sec := range w.Sections {
		if len(sec.Relocs) > 0 {
			relocated++
		}
	}
	symtab := uint32(len(out) + relocated)
	for i, sec := range w.Sections {
		if len(sec.Relocs) == 0 {
			continue
		}
		rel, err := w.relocs(sec)
		if err != nil {
			return nil, err
		}
		out = append(out, outSection{elf.Section64{
			Name:      w.name(".rel" + sec.Name),
			Type:      uint32(elf.SHT_REL),
			Flags:     uint64(elf.SHF_INFO_LINK),
			Size:      uint64(len(rel)),
			Link:      symtab,
			Info:      uint32(i + 1),
			Addralign: 8,
			Entsize:   relSize,
		}, rel})
	}
	symbols, err := w.symbolTable()
	if err != nil {
		return nil, err
	}
	out = append(out, outSection{elf.Section64{
		Name:      w.name(".symtab"),
		Type:      uint32(elf.SHT_SYMTAB),
		Size:      uint64(len(symbols)),
		Link:      symtab + 1,
		Info:      uint32(w.locals + 1),
		Addralign: 8,
		Entsize:   symbolSize,
	}, symbols})
	// The last name, so that all are there.
	strtab := elf.Section64{Name: w.name(".strtab"), Type: uint32(elf.SHT_STRTAB), Addralign: 1}
	strtab.Size = uint64(len(w.strtab))
	out = append(out, outSection{strtab, w.strtab})
	if len(out) >= int(elf.SHN_LORESERVE) || len(w.strtab) > math.MaxInt32 {
		return nil, fmt.Errorf("has %d sections and %d bytes of names, more than an ELF file can have without extensions that BPF loaders do not know", len(out), len(w.strtab))
	}
	return w.file(out)
}

func (w *writer) relocs(sec *Section) ([]byte, error) {
	b := make([]byte, 0, relSize*len(sec.Relocs))
	for _, r := range sec.Relocs {
		var n uint32
		if r.Symbol != nil {
			n = w.symbols[r.Symbol]
			if n == 0 {
				return nil, fmt.Errorf("section %s: a relocation refers to symbol %s, which is not in the file", quote.Name(sec.Name), quote.Name(r.Symbol.Name))
			}
		}
		var err error
		if b, err = binary.Append(b, w.Order, elf.Rel64{Off: r.Offset, Info: elf.R_INFO(n, r.Type)}); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (w *writer) symbolTable() ([]byte, error) {
	b := make([]byte, symbolSize, symbolSize*(1+len(w.sorted)))
	for _, sym := range w.sorted {
		index := int(sym.Index)
		if sym.Section != nil {
			index = w.sections[sym.Section]
			if index == 0 {
				return nil, fmt.Errorf("symbol %s: is in section %s, which is not in the file", quote.Name(sym.Name), quote.Name(sym.Section.Name))
			}
		}
		var err error
		b, err = binary.Append(b, w.Order, elf.Sym64{
			Name:  w.name(sym.Name),
			Info:  elf.ST_INFO(sym.Bind, sym.Type),
			Other: sym.Other,
			Shndx: uint16(index),
			Value: sym.Value,
			Size:  sym.Size,
		})
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// file puts the parts one after the other: header, contents, section headers.
func (w *writer) file(out []outSection) ([]byte, error) {
	b := make([]byte, headerSize)
	for i := range out[1:] {
		sec := &out[i+1]
		// No contents have to be aligned by more than a word. Alignments in a file
		// can be wrong in any way, and large ones would make it grow.
		for uint64(len(b))%8 != 0 {
			b = append(b, 0)
		}
		sec.header.Off = uint64(len(b))
		b = append(b, sec.data...)
	}
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	header := elf.Header64{
		Type:      uint16(elf.ET_REL),
		Machine:   uint16(elf.EM_BPF),
		Version:   uint32(elf.EV_CURRENT),
		Shoff:     uint64(len(b)),
		Flags:     w.Flags,
		Ehsize:    headerSize,
		Shentsize: sectionSize,
		Shnum:     uint16(len(out)),
		Shstrndx:  uint16(len(out) - 1),
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	if w.Order == binary.BigEndian {
		header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	var h bytes.Buffer
	if err := binary.Write(&h, w.Order, header); err != nil {
		return nil, err
	}
	copy(b, h.Bytes())
	for _, sec := range out {
		var err error
		if b, err = binary.Append(b, w.Order, sec.header); err != nil {
			return nil, err
		}
	}
	return b, nil
}
