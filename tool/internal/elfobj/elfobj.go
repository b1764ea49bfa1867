// Package elfobj is a relocatable BPF ELF file in a form that can be changed: it
// is read, changed and written.
//
// In the file everything refers to everything by number: symbols to sections,
// relocations to symbols, names to string tables, and the symbol table counts its
// local symbols, which must come first. In this package they are pointers and
// strings, so that sections and symbols can be dropped, added, renamed, moved and
// taken from other files. [File.Bytes] makes the numbers, the symbol table, the
// string table and the relocation sections anew. It writes the same bytes for the
// same File.
package elfobj

import (
	"debug/elf"
	"encoding/binary"
)

// File is a relocatable ELF64 file for BPF.
type File struct {
	// Order is the byte order of the ELF structures and of the contents.
	Order binary.ByteOrder
	// Flags is the field of that name in the ELF header, in which newer compilers
	// keep the version of the instruction set.
	Flags uint32
	// Sections are in the order of the file. Symbol tables, string tables and
	// relocations are not among them.
	Sections []*Section
	// Symbols are in the order of the file, without symbol 0. They need not be
	// sorted; Bytes puts local symbols first.
	Symbols []*Symbol
}

// Section is a section that is neither a symbol table nor a string table nor
// relocations.
type Section struct {
	Name  string
	Type  elf.SectionType
	Flags elf.SectionFlag
	Align uint64
	// Entsize is the size of an entry, of sections that are tables.
	Entsize uint64
	// Data are the contents, nil for SHT_NOBITS, which has a size only.
	Data []byte
	// Size is the size of a section of type SHT_NOBITS.
	Size uint64
	// Relocs are the relocations of the contents, in the order of the file. Those of debug
	// information and of BTF are left out.
	Relocs []Reloc
}

// Symbol is an entry of the symbol table.
type Symbol struct {
	Name  string
	Bind  elf.SymBind
	Type  elf.SymType
	Other byte // the visibility
	// Section is where the symbol is defined. Without one, Index says what it is:
	// undefined (SHN_UNDEF), a constant (SHN_ABS) or a block without a section
	// (SHN_COMMON).
	Section     *Section
	Index       elf.SectionIndex
	Value, Size uint64
}

// Reloc is a relocation: bytes of a section's contents depend on a symbol.
type Reloc struct {
	Offset uint64
	Type   uint32
	// Symbol is nil for symbol 0.
	Symbol *Symbol
}

// Section returns the first section called name, nil if there is none.
func (f *File) Section(name string) *Section {
	for _, sec := range f.Sections {
		if sec.Name == name {
			return sec
		}
	}
	return nil
}

// The sizes of ELF64's structures.
const (
	headerSize  = 64
	sectionSize = 64
	symbolSize  = 24
	relSize     = 16
)
