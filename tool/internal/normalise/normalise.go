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
// A variable in .ksyms becomes one of type void. The reader knows no other type, nor
// const void, as in "extern const void x __ksym". For a variable that C gives no
// type the loader finds the address, and that is all. A variable with a type is one
// of those that the kernel's BTF has, and which programs read as what they are;
// [Object.Ksyms] says which, and the runtime finds them.
//
// The functions that are hidden become static in BTF. Hidden functions are for the
// object's own files, and the loader of libbpf wants the verifier to look at them
// together with their callers, of whose arguments it then knows more. For a global
// function, it looks at the function alone. Those of bpf/usdt.bpf.h, for one, do
// not pass that way.
//
// Section .addr_space.1, which has the variables of the arena, becomes
// .data.addr_space.1, by the way of .bss.x. The reader takes it for a data section
// then; that it has no map of its own is for the runtime to see to.
//
// A static function whose name another function has gets a suffix: f.1. Files have
// their own static functions, and a linker puts them together. The reader knows
// functions by their names. BTF, from which the kernel has the names that it shows,
// keeps the name.
//
// The address of a function that is not static becomes an offset into its section, as
// that of a static one is. The reader looks at the offset only, and would take the
// section's first function.
//
// A static variable whose name a global one has gets such a suffix too, in BTF, where
// the reader looks for the places of global variables.
//
// Left as they are, for there is no other form: sections .struct_ops and
// ?.struct_ops.
package normalise

import (
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/rawbtf"
)

// Object is an object in the form that the loader takes.
type Object struct {
	// ELF is the object file.
	ELF []byte
	// Kconfig is where the variables of .kconfig are, nil when there are none.
	Kconfig *Kconfig
	// Ksyms are the variables of the kernel that have a type in C, in the order in
	// which BTF lists them.
	Ksyms []Ksym

	renamed map[string]string
}

// Kconfig is the layout of the section that .kconfig became.
type Kconfig struct {
	// Size is the size of the section, in bytes.
	Size uint64
	// Offsets are those of the variables, by name.
	Offsets map[string]uint64
}

// Ksym is a variable of the kernel.
type Ksym struct {
	Name string
	// Type is the number of its type in the object's BTF.
	Type uint32
	// Weak says that the kernel may not have it.
	Weak bool
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
	functionAddresses(file)
	if sec := file.Section(".BTF"); sec != nil {
		if n.btf, err = rawbtf.Parse(sec.Data, file.Order); err != nil {
			return nil, fmt.Errorf("section .BTF: %w", err)
		}
		n.renameSections()
		n.uniqueVariables()
		n.hiddenFunctions()
		n.ksyms()
		if err := n.kconfig(); err != nil {
			return nil, err
		}
		sec.Data = n.btf.Bytes()
	}
	n.out.ELF, err = file.Bytes()
	return n.out, err
}

type normaliser struct {
	file *elfobj.File
	btf  *rawbtf.BTF
	out  *Object
}

// drop drops what no loader reads.
func (n *normaliser) drop() {
	kept := make(map[*elfobj.Section]bool)
	n.file.Sections = slices.DeleteFunc(n.file.Sections, func(sec *elfobj.Section) bool {
		kept[sec] = bpfobj.IsLoaded(sec)
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

func functionAddresses(file *elfobj.File) {
	const relLoad, insnSize = 1, 8 // R_BPF_64_64
	starts := make(map[*elfobj.Section]*elfobj.Symbol)
	for _, sym := range file.Symbols {
		if sym.Type == elf.STT_SECTION && sym.Value == 0 && starts[sym.Section] == nil {
			starts[sym.Section] = sym
		}
	}
	for _, sec := range file.Sections {
		cloned := false
		for i, r := range sec.Relocs {
			sym := r.Symbol
			if r.Type != relLoad || !isCode(sec) || sym == nil || !isCode(sym.Section) || sym.Type != elf.STT_FUNC {
				continue
			}
			if n := uint64(len(sec.Data)); n < insnSize || r.Offset > n-insnSize {
				continue
			}
			if starts[sym.Section] == nil {
				starts[sym.Section] = &elfobj.Symbol{Type: elf.STT_SECTION, Section: sym.Section}
				file.Symbols = append(file.Symbols, starts[sym.Section])
			}
			if !cloned {
				// The contents are those that the caller gave.
				sec.Data, sec.Relocs, cloned = slices.Clone(sec.Data), slices.Clone(sec.Relocs), true
			}
			imm := sec.Data[r.Offset+insnSize/2:]
			file.Order.PutUint32(imm, file.Order.Uint32(imm)+uint32(sym.Value))
			sec.Relocs[i].Symbol = starts[sym.Section]
		}
	}
}

// rename gives a section another name, in BTF too. When that is taken, it gets a
// trailing underscore.
func (n *normaliser) rename(old, name string) string {
	for n.file.Section(name) != nil {
		name += "_"
	}
	for _, id := range n.btf.Datasecs(old) {
		n.btf.SetName(id, name)
	}
	n.out.renamed[old] = name
	return name
}

func (n *normaliser) renameSections() {
	for _, sec := range n.file.Sections {
		if strings.HasPrefix(sec.Name, ".bss.") || sec.Name == bpfobj.ArenaSection {
			sec.Name = n.rename(sec.Name, ".data"+sec.Name)
		}
	}
}

func (n *normaliser) uniqueVariables() {
	taken := make(map[string]bool)
	var static []uint32
	for id := range n.btf.Len() {
		switch {
		case n.btf.Kind(id) != rawbtf.Var:
		case n.btf.Linkage(id) == rawbtf.Static:
			static = append(static, id)
		default:
			taken[n.btf.Name(id)] = true
		}
	}
	next := make(map[string]int)
	for _, id := range static {
		name := n.btf.Name(id)
		unique := name
		for taken[unique] {
			next[name]++
			unique = fmt.Sprintf("%s_%d", name, next[name])
		}
		if unique != name {
			n.btf.SetName(id, unique)
		}
	}
}

func (n *normaliser) ksyms() {
	weak := make(map[string]bool)
	for _, sym := range n.file.Symbols {
		weak[sym.Name] = sym.Section == nil && sym.Index == elf.SHN_UNDEF && sym.Bind == elf.STB_WEAK
	}
	for _, id := range n.btf.Datasecs(".ksyms") {
		for i := range n.btf.Vlen(id) {
			v := n.btf.Secinfo(id, i).ID
			if n.btf.Kind(v) != rawbtf.Var {
				continue // a function
			}
			if t := n.btf.Ref(v); n.btf.SkipModifiers(t) != 0 {
				name := n.btf.Name(v)
				n.out.Ksyms = append(n.out.Ksyms, Ksym{name, t, weak[name]})
			}
			n.btf.SetRef(v, 0)
		}
	}
}

func (n *normaliser) hiddenFunctions() {
	hidden := make(map[string]bool)
	for _, sym := range n.file.Symbols {
		if isCode(sym.Section) && sym.Bind != elf.STB_LOCAL {
			v := elf.ST_VISIBILITY(sym.Other)
			hidden[sym.Name] = v == elf.STV_HIDDEN || v == elf.STV_INTERNAL
		}
	}
	for id := range n.btf.Len() {
		if n.btf.Kind(id) == rawbtf.Func && n.btf.Linkage(id) == rawbtf.Global && hidden[n.btf.Name(id)] {
			n.btf.SetLinkage(id, rawbtf.Static)
		}
	}
}

// kconfigVar is a variable of .kconfig.
type kconfigVar struct {
	name         string
	offset, size uint32
}

func (n *normaliser) kconfig() error {
	ids := n.btf.Datasecs(".kconfig")
	if len(ids) == 0 || n.btf.Vlen(ids[0]) == 0 {
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
	for i := range n.btf.Vlen(id) {
		info := n.btf.Secinfo(id, i)
		if n.btf.Kind(info.ID) != rawbtf.Var {
			return nil, 0, fmt.Errorf("section .kconfig: BTF lists something else than a variable: the file is damaged: build it again")
		}
		v := kconfigVar{name: n.btf.Name(info.ID), size: info.Size}
		if v.name == "" || seen[v.name] {
			return nil, 0, fmt.Errorf("section .kconfig: BTF lists a variable without a name of its own: link the object again")
		}
		if v.size == 0 || v.size > maxKconfig {
			return nil, 0, fmt.Errorf("%q: has %d bytes, which no kconfig value has: declare it as bool, enum libbpf_tristate, an integer or an array of char", v.name, v.size)
		}
		seen[v.name] = true
		align := n.btf.Align(n.btf.Ref(info.ID))
		v.offset = (size + align - 1) / align * align
		size = v.offset + v.size
		if size > maxKconfig {
			return nil, 0, fmt.Errorf("section .kconfig: has more than %d bytes: declare smaller arrays", maxKconfig)
		}
		n.btf.SetOffset(id, i, v.offset)
		n.btf.SetLinkage(info.ID, rawbtf.Global)
		vars = append(vars, v)
	}
	n.btf.SetSize(id, size)
	return vars, size, nil
}
