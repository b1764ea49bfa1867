// Package loadform brings a linked BPF object into the form that all loaders take.
//
// Compilers and linkers leave an object in forms that some loaders, or all, do not accept.
// Each of these can be replaced by one that they accept, without a change to what the
// programs do. [Final] does that, at the end of the last link, for users who load the
// object file with libbpf, bpftool or the ELF reader of cilium/ebpf. It keeps all names
// that libbpf uses. Generated code carries an image in place of the file, which package
// imagegen makes with or without these changes.
//
// The result depends on the object alone, and Final leaves its own result as it is. It does
// not check the object; package bpfobj does.
package loadform

import (
	"debug/elf"
	"fmt"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// Final makes the last changes to an object that is not linked again. Errors do not have the
// file's name.
//
// A weak map becomes a global one: weak is for linkers, so that several files can
// define one map, and cilium's reader requires maps to be global.
//
// Maps are declared in the one form that cilium's reader supports.
//
// A static function whose name another function has gets a suffix: f.1. A linker puts the
// static functions of several files together, and cilium's reader finds functions by
// name. BTF, from which the kernel has the names that it shows, keeps the name. A static
// variable whose name a global one has gets such a suffix too, in BTF, where the reader
// looks up the offsets of global variables.
//
// A reference to the inside of a variable by symbol and offset becomes one by section and
// offset. Clang writes the latter for static variables, and adds the offset in a register
// for others; inline assembly and GCC write the former. libbpf adds the two, cilium's reader
// ignores the offset. The address of a function that is not static is changed likewise: of
// that, the reader ignores the symbol and would take the section's first function.
//
// Hidden functions become static in BTF, as libbpf makes them when it loads the object. The
// verifier checks a static function with each caller, whose arguments it knows, and a global
// one by itself: the functions of bpf/usdt.bpf.h would not pass as global ones.
func Final(file *elfobj.File) error {
	if err := bpfobj.CheckRelocs(file); err != nil {
		return err
	}
	n := &finisher{file: file, starts: make(map[*elfobj.Section]*elfobj.Symbol)}
	n.globalMaps()
	n.uniqueFunctions()
	for _, sec := range file.Sections {
		if err := n.references(sec); err != nil {
			return fmt.Errorf("section %s: %w", quote.Name(sec.Name), err)
		}
	}
	sec := file.Section(".BTF")
	if sec == nil {
		return nil
	}
	types, err := bpfobj.ParseBTF(sec.Data, file.Order)
	if err != nil {
		return err
	}
	n.btf = types.Edit()
	n.maps()
	n.uniqueVariables()
	n.hiddenFunctions()
	if sec.Data, err = n.btf.Bytes(); err != nil {
		return bpfobj.BTFError(sec.Name, err)
	}
	return nil
}

// finisher is the state of Final.
type finisher struct {
	file *elfobj.File
	btf  *rawbtf.Builder
	// starts are the symbols of the starts of sections.
	starts map[*elfobj.Section]*elfobj.Symbol
}

// start returns the symbol of the start of a section.
func (n *finisher) start(sec *elfobj.Section) *elfobj.Symbol {
	if n.starts[sec] != nil {
		return n.starts[sec]
	}
	for _, sym := range n.file.Symbols {
		if sym.Section == sec && sym.Type == elf.STT_SECTION && sym.Value == 0 {
			n.starts[sec] = sym
			return sym
		}
	}
	sym := &elfobj.Symbol{Type: elf.STT_SECTION, Section: sec}
	n.file.Symbols = append(n.file.Symbols, sym)
	n.starts[sec] = sym
	return sym
}

// references changes the references of a section of code to section and offset, where needed.
func (n *finisher) references(sec *elfobj.Section) error {
	if !sec.IsCode() || !bpfobj.IsLoaded(sec) {
		return nil
	}
	owned := false
	for i, r := range sec.Relocs {
		sym := r.Symbol
		if sym.Type == elf.STT_SECTION {
			continue
		}
		a, err := elfobj.ReadAddend(sec, r, n.file.Order)
		if err != nil {
			return err
		}
		load := r.Type == elfobj.R_BPF_64_64
		switch {
		case load && sym.Section.IsCode():
		case a.Off == 0:
			continue
		case load && sym.Section != nil && sym.Section.Name != ".maps":
		default:
			return fmt.Errorf("refers to the byte %d of %s, which loaders take for the start: refer to %[2]s in C", a.Off, quote.Name(sym.Name))
		}
		if !owned {
			// The contents may be those that the caller gave.
			sec.Data, sec.Relocs, owned = slices.Clone(sec.Data), slices.Clone(sec.Relocs), true
			if a, err = elfobj.ReadAddend(sec, r, n.file.Order); err != nil {
				return err
			}
		}
		if err := a.Set(a.Target(sym), n.file.Order); err != nil {
			return fmt.Errorf("%s: %w", quote.Name(sym.Name), err)
		}
		sec.Relocs[i].Symbol = n.start(sym.Section)
	}
	return nil
}

func (n *finisher) globalMaps() {
	for _, sym := range n.file.Symbols {
		if sym.Section != nil && sym.Section.Name == ".maps" && sym.Bind == elf.STB_WEAK {
			sym.Bind = elf.STB_GLOBAL
		}
	}
}

func (n *finisher) uniqueFunctions() {
	isFunction := func(sym *elfobj.Symbol) bool { return sym.Section.IsCode() && sym.Type == elf.STT_FUNC }
	taken := make(map[string]bool)
	for _, sym := range n.file.Symbols {
		if isFunction(sym) && sym.Bind != elf.STB_LOCAL {
			taken[sym.Name] = true
		}
	}
	// Names are tried in turn; next keeps many equal ones from starting over.
	next := make(map[string]int)
	for _, sym := range n.file.Symbols {
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

func (n *finisher) uniqueVariables() {
	taken := make(map[string]bool)
	var static []uint32
	for id := range n.btf.Len() {
		switch v := n.btf.At(id); {
		case v.Kind() != rawbtf.Var:
		case v.Linkage() == rawbtf.Static:
			static = append(static, id)
		default:
			taken[v.Name()] = true
		}
	}
	next := make(map[string]int)
	for _, id := range static {
		name := n.btf.At(id).Name()
		unique := name
		for taken[unique] {
			next[name]++
			unique = fmt.Sprintf("%s_%d", name, next[name])
		}
		if unique != name {
			n.btf.At(id).SetName(n.btf.Intern(unique))
		}
	}
}

func (n *finisher) hiddenFunctions() {
	hidden := make(map[string]bool)
	for _, sym := range n.file.Symbols {
		if sym.Section.IsCode() && sym.Bind != elf.STB_LOCAL {
			v := elf.ST_VISIBILITY(sym.Other)
			hidden[sym.Name] = v == elf.STV_HIDDEN || v == elf.STV_INTERNAL
		}
	}
	for id := range n.btf.Len() {
		if f := n.btf.At(id); f.Kind() == rawbtf.Func && f.Linkage() == rawbtf.Global && hidden[f.Name()] {
			f.SetLinkage(rawbtf.Static)
		}
	}
}
