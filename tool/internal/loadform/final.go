// Package loadform brings a linked BPF object into the form that all loaders take.
//
// Compilers and linkers leave an object in forms that libbpf takes and others do not, or
// that are not enough for any. What a loader rejects can be said in a form that it takes,
// without a change to what the programs do. [Final] does that, at the end of the last
// link, for those who load the object file by themselves: with libbpf, bpftool, or the
// ELF reader of cilium/ebpf. It changes nothing that libbpf knows by its name. Generated
// code carries an image in place of the file, which package imagegen makes with or
// without these changes.
//
// Final is a function of the object alone, and an object that went through once stays as
// it is. It does not check the object; package bpfobj does.
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

// Final makes the last changes to an object that is not linked again. Errors are
// without the file's name.
//
// A weak map becomes a global one: weak is for linkers, so that several files can
// define one map, and cilium's reader wants maps to be global.
//
// Maps are declared in the one spelling that cilium's reader knows.
//
// A static function whose name another function has gets a suffix: f.1. Files have
// their own static functions, and a linker puts them together. cilium's reader knows
// functions by their names. BTF, from which the kernel has the names that it shows,
// keeps the name. A static variable whose name a global one has gets such a suffix
// too, in BTF, where the reader looks for the places of global variables.
//
// A reference to the inside of a variable, which has the variable's symbol and an
// offset from it, becomes one to a place in the section. Clang writes it so for static
// variables, and for others the offset into a register; inline assembly and GCC write
// it with the symbol. libbpf adds the two, cilium's reader takes the symbol only. So
// does it with the address of a function that is not static, where it looks at the
// offset only and would take the section's first function.
//
// The functions that are hidden become static in BTF, as libbpf makes them when it
// loads the object: hidden functions are for the object's own files, and the verifier
// is to look at them together with their callers, of whose arguments it then knows
// more. For a global function, it looks at the function alone. Those of
// bpf/usdt.bpf.h, for one, do not pass that way.
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

// references gives the references of a section of code the form in which they count
// from the start of a section, where they need it.
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
			return fmt.Errorf("refers to what is %d bytes from the start of %s, which loaders take for the start: refer to %[2]s in C", a.Off, quote.Name(sym.Name))
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
