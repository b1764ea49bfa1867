// Package normalise brings a BPF object into the form that the loader of
// generated code takes, which is the ELF reader of cilium/ebpf v0.22.
//
// That reader knows fewer forms than libbpf, whose authors' clang and headers
// make the objects. What it rejects can be said in a form that it takes, without
// a change to what the programs do. [Bytes] is a function from one object to
// another: it looks at nothing else, and it returns the same for the same. An
// object that went through it once stays as it is. It does not check the object;
// package bpfobj does.
//
// A skeleton carries the result. The object file itself (the output group
// bpf_object) stays what the compiler or the linker wrote: libbpf and other
// loaders take it, and .kconfig, for one, is something that they know by its name.
//
// # Rules
//
// What no loader reads is dropped: sections that are not a part of the program
// (debug information, the compiler's notes, relocations of BTF) and the symbols of
// these, and labels inside of functions. An object compiled with -g, which BTF
// needs, is mostly DWARF, and the skeleton carries the object into every binary.
//
// A section .bss.x becomes .data.bss.x. The reader knows .bss by its full name
// only, and takes any section that starts with .data. The section keeps its type
// SHT_NOBITS, so that it still has no bytes in the file, and its list of variables
// in BTF (DATASEC) gets the new name, by which it is looked up.
//
// A weak map becomes a global one. The reader wants maps to be global. Weak is for
// linkers, so that several files can define one map; a final object has one.
//
// The variables of .kconfig become those of a read-only data section,
// .rodata.kconfig. For libbpf they are undefined symbols for which it makes a map;
// the reader does the same, but takes no weak ones, fills them in from what it
// thinks is the configuration and does not give out the values. As a data section
// they are laid out here (as BTF does not say where they are), and the runtime
// fills them in as it fills any section. The relocations of code stay: they refer
// to the symbols, which are defined now.
//
// A hidden function becomes a static one in BTF. The verifier checks a global
// function by itself, with any arguments, and takes it from BTF which ones those
// are. libbpf makes hidden ones static, which are checked where they are called;
// the reader does not know of visibility.
//
// A variable of type const void in .ksyms, as in "extern const void x __ksym",
// loses the const. The reader knows such symbols without a type by the type void.
//
// A static function whose name another function has gets a suffix: f.1. Files have
// their own static functions, and a linker puts them together. The reader knows
// functions by their names. BTF, from which the kernel has the names that it shows,
// keeps the name.
//
// Left as they are, for there is no other form: sections .struct_ops and
// ?.struct_ops, .ksyms variables with a type, and .addr_space.1.
package normalise

import (
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// Object is an object in the form that the loader takes.
type Object struct {
	// ELF is the object file.
	ELF []byte
	// Kconfig is where the variables of .kconfig are, nil when there are none.
	Kconfig *Kconfig

	renamed map[string]string
}

// Kconfig is the layout of the section that .kconfig became.
type Kconfig struct {
	// Size is the size of the section, in bytes.
	Size uint64
	// Offsets are those of the variables, by name.
	Offsets map[string]uint64
}

// Section returns the name of the data section that was called name.
func (o *Object) Section(name string) string {
	if renamed, ok := o.renamed[name]; ok {
		return renamed
	}
	return name
}

// Bytes returns the object whose file's contents are data in the form that the
// loader takes. It does not panic, whatever data is. Errors are without the file's
// name.
func Bytes(data []byte) (*Object, error) {
	file, err := elfobj.Parse(data)
	if err != nil {
		return nil, err
	}
	n := &normaliser{file: file, out: &Object{renamed: make(map[string]string)}}
	n.drop()
	globalMaps(file)
	uniqueFunctions(file)
	if sec := file.Section(".BTF"); sec != nil {
		if n.btf, err = parseBTF(sec.Data, file.Order); err != nil {
			return nil, fmt.Errorf("section .BTF: %w", err)
		}
		n.renameBss()
		n.untypedKsyms()
		n.hiddenFunctions()
		if err := n.kconfig(); err != nil {
			return nil, err
		}
		sec.Data = n.btf.bytes()
	}
	n.out.ELF, err = file.Bytes()
	return n.out, err
}

type normaliser struct {
	file *elfobj.File
	btf  *rawBTF
	out  *Object
}

// isProgram says whether the section is a part of the program: it is loaded, or
// says how to load the rest.
func isProgram(sec *elfobj.Section) bool {
	if sec.Type != elf.SHT_PROGBITS && sec.Type != elf.SHT_NOBITS {
		return false
	}
	// Loaders go by names, and do not ask for the flag that says it.
	switch sec.Name {
	case ".BTF", ".BTF.ext", ".maps", "license", "version":
		return true
	}
	_, data := bpfobj.KindOf(sec.Name)
	return data || sec.Flags&(elf.SHF_ALLOC|elf.SHF_EXECINSTR) != 0
}

// drop drops what no loader reads.
func (n *normaliser) drop() {
	kept := make(map[*elfobj.Section]bool)
	n.file.Sections = slices.DeleteFunc(n.file.Sections, func(sec *elfobj.Section) bool {
		kept[sec] = isProgram(sec)
		return !kept[sec]
	})
	referenced := make(map[*elfobj.Symbol]bool)
	for _, sec := range n.file.Sections {
		// They are for linkers: what they relocate, loaders find by names.
		if sec.Name == ".BTF" || sec.Name == ".BTF.ext" {
			sec.Relocs = nil
		}
		sec.Relocs = slices.DeleteFunc(sec.Relocs, func(r elfobj.Reloc) bool {
			return r.Symbol != nil && r.Symbol.Section != nil && !kept[r.Symbol.Section]
		})
		for _, r := range sec.Relocs {
			referenced[r.Symbol] = true
		}
	}
	n.file.Symbols = slices.DeleteFunc(n.file.Symbols, func(sym *elfobj.Symbol) bool {
		if sym.Section == nil {
			return sym.Type == elf.STT_FILE
		}
		return !kept[sym.Section] || isLabel(sym) && !referenced[sym]
	})
}

// isLabel says whether the symbol is a place in a function that the compiler gave
// a name.
func isLabel(sym *elfobj.Symbol) bool {
	return sym.Bind == elf.STB_LOCAL && sym.Type == elf.STT_NOTYPE && isCode(sym.Section)
}

func isCode(sec *elfobj.Section) bool {
	return sec != nil && sec.Flags&elf.SHF_EXECINSTR != 0
}

func globalMaps(file *elfobj.File) {
	for _, sym := range file.Symbols {
		if sym.Section != nil && sym.Section.Name == ".maps" && sym.Bind == elf.STB_WEAK {
			sym.Bind = elf.STB_GLOBAL
		}
	}
}

func uniqueFunctions(file *elfobj.File) {
	isFunction := func(sym *elfobj.Symbol) bool { return isCode(sym.Section) && sym.Type == elf.STT_FUNC }
	taken := make(map[string]bool)
	for _, sym := range file.Symbols {
		if isFunction(sym) && sym.Bind != elf.STB_LOCAL {
			taken[sym.Name] = true
		}
	}
	// Names are tried in turn; next keeps many equal ones from starting over.
	next := make(map[string]int)
	for _, sym := range file.Symbols {
		if !isFunction(sym) || sym.Bind != elf.STB_LOCAL || sym.Name == "" {
			continue
		}
		name := sym.Name
		for taken[name] {
			next[sym.Name]++
			name = fmt.Sprintf("%s.%d", sym.Name, next[sym.Name])
		}
		taken[name] = true
		sym.Name = name
	}
}

// rename gives a section another name, in BTF too. When that is taken, it gets a
// trailing underscore.
func (n *normaliser) rename(old, name string) string {
	for n.file.Section(name) != nil {
		name += "_"
	}
	for _, id := range n.btf.datasecs(old) {
		n.btf.setName(id, name)
	}
	n.out.renamed[old] = name
	return name
}

func (n *normaliser) renameBss() {
	for _, sec := range n.file.Sections {
		if strings.HasPrefix(sec.Name, ".bss.") {
			sec.Name = n.rename(sec.Name, ".data"+sec.Name)
		}
	}
}

func (n *normaliser) untypedKsyms() {
	for _, id := range n.btf.datasecs(".ksyms") {
		for i := range n.btf.vlen(id) {
			v := n.btf.secinfo(id, i).id
			if n.btf.kind(v) == kindVar && n.btf.skipModifiers(n.btf.ref(v)) == 0 {
				n.btf.setRef(v, 0)
			}
		}
	}
}

func (n *normaliser) hiddenFunctions() {
	hidden := make(map[string]bool)
	for _, sym := range n.file.Symbols {
		visibility := elf.ST_VISIBILITY(sym.Other)
		if isCode(sym.Section) && sym.Type == elf.STT_FUNC && (visibility == elf.STV_HIDDEN || visibility == elf.STV_INTERNAL) {
			hidden[sym.Name] = true
		}
	}
	for id := range uint32(len(n.btf.offsets)) {
		if n.btf.kind(id) == kindFunc && hidden[n.btf.name(id)] {
			n.btf.setFuncLinkage(id, linkageStatic)
		}
	}
}

// kconfigVar is a variable of .kconfig.
type kconfigVar struct {
	name         string
	offset, size uint32
}

func (n *normaliser) kconfig() error {
	ids := n.btf.datasecs(".kconfig")
	if len(ids) == 0 || n.btf.vlen(ids[0]) == 0 {
		return nil
	}
	if len(ids) > 1 {
		return fmt.Errorf("section .kconfig: BTF describes it twice: link the object again")
	}
	vars, size, err := n.layOutKconfig(ids[0])
	if err != nil {
		return err
	}
	sec := &elfobj.Section{
		Name:  n.rename(".kconfig", ".rodata.kconfig"),
		Type:  elf.SHT_PROGBITS,
		Flags: elf.SHF_ALLOC,
		Align: 8,
		Data:  make([]byte, size),
	}
	n.file.Sections = append(n.file.Sections, sec)
	n.out.Kconfig = &Kconfig{Size: uint64(size), Offsets: make(map[string]uint64, len(vars))}
	byName := make(map[string]kconfigVar, len(vars))
	for _, v := range vars {
		byName[v.name] = v
		n.out.Kconfig.Offsets[v.name] = uint64(v.offset)
	}
	for _, sym := range n.file.Symbols {
		v, ok := byName[sym.Name]
		if !ok || sym.Section != nil || sym.Index != elf.SHN_UNDEF {
			continue
		}
		sym.Section = sec
		sym.Type = elf.STT_OBJECT
		sym.Bind = elf.STB_GLOBAL
		sym.Other = byte(elf.STV_DEFAULT)
		sym.Value, sym.Size = uint64(v.offset), uint64(v.size)
	}
	return nil
}

// maxKconfig bounds the size of the section: what an array of char needs is less.
const maxKconfig = 1 << 20

// layOutKconfig places the variables of the list id one after the other, as BTF's
// order has them, and makes them defined ones there.
func (n *normaliser) layOutKconfig(id uint32) (vars []kconfigVar, size uint32, err error) {
	seen := make(map[string]bool)
	for i := range n.btf.vlen(id) {
		info := n.btf.secinfo(id, i)
		if n.btf.kind(info.id) != kindVar {
			return nil, 0, fmt.Errorf("section .kconfig: BTF lists something else than a variable: the file is damaged: build it again")
		}
		v := kconfigVar{name: n.btf.name(info.id), size: info.size}
		if v.name == "" || seen[v.name] {
			return nil, 0, fmt.Errorf("section .kconfig: BTF lists a variable without a name of its own: link the object again")
		}
		if v.size == 0 || v.size > maxKconfig {
			return nil, 0, fmt.Errorf("%q: has %d bytes, which no kconfig value has: declare it as bool, enum libbpf_tristate, an integer or an array of char", v.name, v.size)
		}
		seen[v.name] = true
		align := n.btf.align(n.btf.ref(info.id))
		v.offset = (size + align - 1) / align * align
		size = v.offset + v.size
		if size > maxKconfig {
			return nil, 0, fmt.Errorf("section .kconfig: has more than %d bytes: declare smaller arrays", maxKconfig)
		}
		n.btf.setOffset(id, i, v.offset)
		n.btf.setLinkage(info.id, linkageGlobal)
		vars = append(vars, v)
	}
	n.btf.setSize(id, size)
	return vars, size, nil
}
