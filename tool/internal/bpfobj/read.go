package bpfobj

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
)

// Read reads an object file. name is its base name, data its contents.
//
// Errors have the form "symbol: what, and what to do", without the file's name.
// An error can be a list, in the sense of errors.Join, of all that is wrong. The object
// then has what could be read, and is nil when the file is not a BPF object.
func Read(name string, data []byte) (*Object, error) {
	return read(name, data, false)
}

// ReadLibrary is Read for an object that is to be linked into others, and so may
// declare variables and maps that it does not define.
func ReadLibrary(name string, data []byte) (*Object, error) {
	return read(name, data, true)
}

// ReadLosses returns the warnings for an object that other loaders are to load, or that is
// linked into a final one: all losses, also those that are errors of Read, and the warnings
// about addresses. It returns nothing for an object that cannot be read.
func ReadLosses(name string, data []byte) (losses []*Loss, addresses []string) {
	obj, err := read(name, data, true)
	if obj == nil {
		return nil, nil
	}
	var walk func(err error)
	walk = func(err error) {
		switch err := err.(type) {
		case *Loss:
			losses = append(losses, err)
		case interface{ Unwrap() []error }:
			for _, err := range err.Unwrap() {
				walk(err)
			}
		}
	}
	walk(err)
	return append(losses, obj.Losses...), obj.AddressWarnings
}

func read(name string, data []byte, library bool) (obj *Object, err error) {
	// debug/elf and btf use indices of a damaged file unchecked: debug/elf has panicked on such
	// files before, and does not promise that it will not. The file is the user's, so it must
	// end in an error. Only here do those packages see its bytes.
	defer func() {
		if r := recover(); r != nil {
			obj, err = nil, fmt.Errorf("the file is damaged (%s): build it again", quote.Text(fmt.Sprint(r)))
		}
	}()

	r, err := newReader(name, data)
	if err != nil {
		return nil, err
	}
	r.library = library
	return r.obj, r.read()
}

// maxSection is the largest value that an array map can hold, which is what a
// data section becomes: with the map's header, it must fit an int in the kernel.
const maxSection = math.MaxInt32 - 4096

// reader holds what reading the parts of a file needs.
type reader struct {
	obj  *Object
	data []byte
	file *elf.File
	btf  *btf.Spec
	// library is true when extern maps and variables are wanted.
	library bool
	// symbols is the symbol table without its placeholder, which is symbol 0.
	symbols []elf.Symbol
	// bySection are the symbols of each section, in order of the symbol table.
	bySection [][]elf.Symbol
	// referenced says, per section, whether a relocation of a section that loaders
	// look at points into it.
	referenced []bool
	// programs are the names of the programs so far.
	programs map[string]bool
	// programAt has the programs by the locations of their first instructions.
	programAt map[location]Program
	// relocs are the relocations of data sections and of those of struct_ops maps.
	relocs map[int][]relocation
	// structOps are the sections of struct_ops maps.
	structOps []structOpsSection
}

func newReader(name string, data []byte) (*reader, error) {
	if len(data) == 0 {
		return nil, errors.New("the file is empty: build it again")
	}
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return nil, errors.New("not an ELF file: give an object file that clang made with -target bpf")
	}
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("the ELF file is damaged or cut short: %s: build it again", quote.Text(err.Error()))
	}
	switch {
	case file.Machine != elf.EM_BPF:
		return nil, fmt.Errorf("an ELF file for %s, not for BPF: compile with clang -target bpfel or -target bpfeb", machine(file.Machine))
	case file.Class != elf.ELFCLASS64:
		return nil, fmt.Errorf("a BPF file of class %s: only 64-bit ELF is defined for BPF: compile with clang -target bpfel or -target bpfeb", file.Class)
	case file.Type != elf.ET_REL:
		return nil, fmt.Errorf("an ELF file of type %s, not an object file: compile with clang -c, without linking", file.Type)
	}
	r := &reader{
		obj:       &Object{Name: name, ByteOrder: file.ByteOrder},
		data:      data,
		file:      file,
		programs:  make(map[string]bool),
		programAt: make(map[location]Program),
		relocs:    make(map[int][]relocation),
	}
	return r, r.checkSections()
}

// machine is m for people: debug/elf spells the common ones EM_X86_64.
func machine(m elf.Machine) string {
	return strings.TrimPrefix(m.String(), "EM_")
}

// checkSections makes sure that the bytes of every section are in the file.
func (r *reader) checkSections() error {
	names := make(map[string]bool)
	total := uint64(0)
	for _, sec := range r.file.Sections {
		// Not a section: the other fields mean nothing.
		if sec.Type == elf.SHT_NULL {
			continue
		}
		if sec.Type != elf.SHT_NOBITS && (sec.Offset > uint64(len(r.data)) || sec.FileSize > uint64(len(r.data))-sec.Offset) {
			return fmt.Errorf("section %s: reaches beyond the end of the file: the file is cut short: build it again", quote.Name(sec.Name))
		}
		// Contents are kept for each section, so sections that overlap could take any amount of
		// memory.
		if sec.Type != elf.SHT_NOBITS {
			if total += sec.FileSize; total > uint64(len(r.data)) {
				return fmt.Errorf("section %s: has bytes of other sections: the file is damaged: build it again", quote.Name(sec.Name))
			}
		}
		if !isInput(sec) {
			continue
		}
		if sec.Flags&elf.SHF_COMPRESSED != 0 {
			return fmt.Errorf("section %s: is compressed, which BPF loaders do not read: compile without compression", quote.Name(sec.Name))
		}
		// Program sections can repeat in a file before it is linked, and loaders
		// take them. The others are looked up by name.
		if sec.Flags&elf.SHF_EXECINSTR == 0 {
			if names[sec.Name] {
				return fmt.Errorf("section %s: is in the file twice: link the object again", quote.Name(sec.Name))
			}
			names[sec.Name] = true
		}
	}
	return nil
}

// isInput reports whether the contents of the section matter here.
func isInput(sec *elf.Section) bool {
	_, data := KindOf(sec.Name)
	return data || secdef.IsStructOps(sec.Name) || sec.Name == ".BTF" || sec.Name == ".maps" || sec.Name == "license" ||
		sec.Type == elf.SHT_SYMTAB || sec.Flags&elf.SHF_EXECINSTR != 0
}

// contents returns the bytes of a section that checkSections has seen.
func (r *reader) contents(sec *elf.Section) []byte {
	return r.data[sec.Offset : sec.Offset+sec.FileSize]
}

func (r *reader) read() error {
	if err := r.readSymbols(); err != nil {
		return err
	}
	if err := r.readBTF(); err != nil {
		return err
	}
	if err := r.readReferences(); err != nil {
		return err
	}
	if sec := r.file.Section("license"); sec != nil && sec.Type == elf.SHT_PROGBITS {
		license, _, _ := bytes.Cut(r.contents(sec), []byte{0})
		r.obj.License = string(license)
	}
	var errs []error
	for i, sec := range r.file.Sections {
		var err error
		switch kind, data := KindOf(sec.Name); {
		case sec.Type != elf.SHT_PROGBITS && sec.Type != elf.SHT_NOBITS:
		case sec.Flags&elf.SHF_EXECINSTR != 0:
			err = r.readPrograms(i)
		case data:
			err = r.readData(i, kind)
		case sec.Name == ".maps":
			err = r.readMaps(i)
		case secdef.IsStructOps(sec.Name):
			err = r.readStructOps(i)
		case sec.Name == "maps" || strings.HasPrefix(sec.Name, "maps/"):
			err = r.legacyMaps(i)
		default:
			err = r.unreadSection(i)
		}
		errs = append(errs, err)
	}
	errs = append(errs, r.readKconfig(), r.readExterns(), r.findArena(), r.finishStructOps())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return r.checkStructOps()
}

func (r *reader) readSymbols() error {
	symbols, err := r.file.Symbols()
	if errors.Is(err, elf.ErrNoSymbols) || err == nil && len(symbols) == 0 {
		return errors.New("has no symbol table: use the object as clang wrote it, not stripped")
	}
	if err != nil {
		return fmt.Errorf("the symbol table is damaged: %s: build the file again", quote.Text(err.Error()))
	}
	r.symbols = symbols
	r.bySection = make([][]elf.Symbol, len(r.file.Sections))
	for _, sym := range symbols {
		if int(sym.Section) < len(r.bySection) {
			r.bySection[sym.Section] = append(r.bySection[sym.Section], sym)
		} else if sym.Section < elf.SHN_LORESERVE {
			return fmt.Errorf("symbol %s: is in section %d, which does not exist: the file is damaged: build it again", quote.Name(sym.Name), int(sym.Section))
		}
	}
	return nil
}

// readReferences finds out which data sections are used, the way loaders do: by
// the relocations of programs, maps and data. Relocations of debug information
// do not count.
func (r *reader) readReferences() error {
	r.referenced = make([]bool, len(r.file.Sections))
	for _, rel := range r.file.Sections {
		if rel.Type != elf.SHT_REL || int(rel.Info) >= len(r.file.Sections) {
			continue
		}
		target := r.file.Sections[rel.Info]
		_, data := KindOf(target.Name)
		structOps := secdef.IsStructOps(target.Name)
		if !data && target.Name != ".maps" && !structOps && target.Flags&elf.SHF_EXECINSTR == 0 {
			continue
		}
		// Elf64_Rel: offset and info, 8 bytes each.
		const size = 16
		table := r.contents(rel)
		for ; len(table) >= size; table = table[size:] {
			index := elf.R_SYM64(r.obj.ByteOrder.Uint64(table[8:]))
			if index == 0 || uint64(index) > uint64(len(r.symbols)) {
				return fmt.Errorf("section %s: refers to symbol %d, which does not exist: the file is damaged: build it again", quote.Name(rel.Name), index)
			}
			sym := r.symbols[index-1]
			if i := int(sym.Section); i < len(r.referenced) {
				r.referenced[i] = true
				if secdef.IsStructOps(r.file.Sections[i].Name) {
					return fmt.Errorf("section %s: refers to %s, a struct_ops map, which the kernel keeps from programs: keep what programs need in a global variable", quote.Name(target.Name), r.symbolName(sym))
				}
			}
			if structOps || data {
				r.relocs[int(rel.Info)] = append(r.relocs[int(rel.Info)], relocation{r.obj.ByteOrder.Uint64(table), sym})
			}
		}
	}
	return nil
}

func (r *reader) readPrograms(index int) error {
	sec := r.file.Sections[index]
	// .text holds functions that programs call, never a program.
	if sec.Name == ".text" || sec.Size == 0 || sec.Type == elf.SHT_NOBITS {
		return nil
	}
	var functions []elf.Symbol
	var static []error
	for _, sym := range r.bySection[index] {
		if elf.ST_TYPE(sym.Info) != elf.STT_FUNC {
			continue
		}
		if elf.ST_BIND(sym.Info) == elf.STB_LOCAL {
			static = append(static, &Loss{sec.Name, fmt.Sprintf("%s: is a static function in SEC(%q), which loaders take for a program and do not load: remove the word static, or its SEC() if programs call it", quote.Name(sym.Name), sec.Name)})
			continue
		}
		functions = append(functions, sym)
	}
	slices.SortStableFunc(functions, func(a, b elf.Symbol) int { return cmp.Compare(a.Value, b.Value) })
	for _, sym := range functions {
		if sym.Name == "" {
			return fmt.Errorf("section %s: has a program without a name: the file is damaged: build it again", quote.Name(sec.Name))
		}
		if sym.Value > sec.Size || sym.Size > sec.Size-sym.Value {
			return fmt.Errorf("program %s: reaches beyond the end of section %s: the file is damaged: build it again", quote.Name(sym.Name), quote.Name(sec.Name))
		}
		if r.programs[sym.Name] {
			return fmt.Errorf("program %s: is defined twice: link the object again", quote.Name(sym.Name))
		}
		r.programs[sym.Name] = true
		program := Program{Name: sym.Name, Section: sec.Name}
		r.programAt[location{index, sym.Value}] = program
		r.obj.Programs = append(r.obj.Programs, program)
	}
	return errors.Join(static...)
}

func (r *reader) readMaps(index int) error {
	sec := r.file.Sections[index]
	vars, err := r.variables(index)
	if err != nil {
		return err
	}
	for _, v := range vars {
		r.obj.Maps = append(r.obj.Maps, Map{Name: v.Name, Hidden: v.Hidden, in: r.obj, typ: v.Type})
	}
	if len(vars) == 0 && sec.Size > 0 {
		return errors.New("section .maps: declares no map in BTF: compile with clang -g")
	}
	return nil
}

func (r *reader) readData(index int, kind Kind) error {
	sec := r.file.Sections[index]
	if sec.Size > maxSection {
		return fmt.Errorf("section %s: has %d bytes, and a data section can have %d: keep large data in a map", quote.Name(sec.Name), sec.Size, maxSection)
	}
	vars, err := r.variables(index)
	if err != nil {
		return err
	}
	r.noteAddresses(index, vars)
	r.obj.Sections = append(r.obj.Sections, Section{
		Name:      sec.Name,
		Kind:      kind,
		Size:      sec.Size,
		HasMap:    kind != Arena && (r.referenced[index] || r.hasSymbols(index)),
		Variables: vars,
	})
	return nil
}

// findArena finds the map that the variables of the arena are in. As for libbpf, C
// must declare it.
func (r *reader) findArena() error {
	// Another file may have the map that a library's variables are in.
	if r.library || !slices.ContainsFunc(r.obj.Sections, func(sec Section) bool { return sec.Kind == Arena }) {
		return nil
	}
	var arenas []string
	for _, m := range r.obj.Maps {
		if def, err := m.Def(); err == nil && def.Type == ebpf.Arena {
			arenas = append(arenas, m.Name)
		}
	}
	switch len(arenas) {
	case 0:
		return fmt.Errorf("section %s: has variables in an arena, and the object has none: declare a map of type BPF_MAP_TYPE_ARENA in SEC(\".maps\")", ArenaSection)
	case 1:
		r.obj.Arena = arenas[0]
		return nil
	}
	return fmt.Errorf("section %s: has variables in an arena, and the object has several, %s: keep one of them", ArenaSection, strings.Join(quoteAll(arenas), " and "))
}

// hasSymbols reports whether something in the section has a name.
func (r *reader) hasSymbols(index int) bool {
	return slices.ContainsFunc(r.bySection[index], isObject)
}

// isObject reports whether the symbol is that of a variable or map. Clang before
// version 8 left out their type.
func isObject(sym elf.Symbol) bool {
	typ := elf.ST_TYPE(sym.Info)
	return sym.Name != "" && (typ == elf.STT_OBJECT || typ == elf.STT_NOTYPE)
}
