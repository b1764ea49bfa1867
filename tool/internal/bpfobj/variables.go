package bpfobj

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// variables returns the global variables of a section, in order of offsets: name, location and
// visibility from the symbol table, type from BTF.
func (r *reader) variables(index int) ([]Variable, error) {
	sec := r.file.Sections[index]
	symbols := make(map[string]elf.Symbol)
	for _, sym := range r.bySection[index] {
		// Static variables are private to their file, and in a linked object several can
		// have one name.
		if !isObject(sym) || elf.ST_BIND(sym.Info) == elf.STB_LOCAL {
			continue
		}
		if _, ok := symbols[sym.Name]; ok {
			return nil, fmt.Errorf("%s: is defined twice in section %s: link the object again", quote.Name(sym.Name), quote.Name(sec.Name))
		}
		symbols[sym.Name] = sym
	}

	ds, err := r.datasec(sec.Name)
	if err != nil {
		return nil, err
	}
	if ds == nil {
		ds = new(btf.Datasec)
	}
	// Clang leaves the size and the offsets of a DATASEC zero, for loaders to fill
	// in. A linker has filled them in, and then they are held against the symbols.
	linked := ds.Size != 0
	if linked && uint64(ds.Size) != sec.Size {
		return nil, fmt.Errorf("section %s: has %d bytes in the file and %d in BTF: link the object again", quote.Name(sec.Name), sec.Size, ds.Size)
	}

	var vars []Variable
	var errs []error
	for _, info := range ds.Vars {
		v, ok := info.Type.(*btf.Var)
		if !ok {
			return nil, fmt.Errorf("section %s: BTF lists a %T as its variable: the file is damaged: build it again", quote.Name(sec.Name), info.Type)
		}
		if sec.Name == ".maps" && v.Linkage != btf.GlobalVar {
			delete(symbols, v.Name)
			switch {
			case v.Linkage == btf.StaticVar:
				errs = append(errs, fmt.Errorf("%s: is a static map, which loaders do not make: remove the word static", quote.Name(v.Name)))
			case !r.library:
				errs = append(errs, fmt.Errorf("%s: is declared extern and defined nowhere: link the object with the file that defines the map", quote.Name(v.Name)))
			}
			continue
		}
		if v.Linkage != btf.GlobalVar {
			continue
		}
		sym, ok := symbols[v.Name]
		if !ok {
			if other := r.sectionOfSymbol(v.Name); other != "" {
				errs = append(errs, fmt.Errorf("%s: is in section %s according to BTF, and in %s according to the symbol table: %s", quote.Name(v.Name), quote.Name(sec.Name), quote.Name(other), bpftoolRemedy))
				continue
			}
			errs = append(errs, fmt.Errorf("%s: is in section %s according to BTF, but the symbol table has no such symbol there: build the object again, and do not strip it", quote.Name(v.Name), quote.Name(sec.Name)))
			continue
		}
		delete(symbols, v.Name)
		if linked && uint64(info.Offset) != sym.Value {
			errs = append(errs, fmt.Errorf("%s: is at offset %d of section %s according to BTF, and at %d according to the symbol table: %s", quote.Name(v.Name), info.Offset, quote.Name(sec.Name), sym.Value, bpftoolRemedy))
			continue
		}
		if uint64(info.Size) != sym.Size {
			errs = append(errs, fmt.Errorf("%s: has %d bytes according to BTF, and %d according to the symbol table: build the object again", quote.Name(v.Name), info.Size, sym.Size))
			continue
		}
		if sym.Value > sec.Size || sym.Size > sec.Size-sym.Value {
			errs = append(errs, fmt.Errorf("%s: reaches beyond the end of section %s: the file is damaged: build it again", quote.Name(v.Name), quote.Name(sec.Name)))
			continue
		}
		visibility := elf.ST_VISIBILITY(sym.Other)
		vars = append(vars, Variable{
			Name:   v.Name,
			Offset: sym.Value,
			Size:   sym.Size,
			Type:   v.Type,
			Hidden: visibility == elf.STV_HIDDEN || visibility == elf.STV_INTERNAL,
		})
	}

	// What is left has a symbol and no type. Names with a dot in front are the
	// compiler's own.
	for _, sym := range r.bySection[index] {
		if _, ok := symbols[sym.Name]; ok && isObject(sym) && sym.Name[0] != '.' {
			delete(symbols, sym.Name)
			// The error is reported for the section where BTF has it.
			if r.isListedElsewhere(sym.Name, sec.Name) {
				continue
			}
			if v := elf.ST_VISIBILITY(sym.Other); v != elf.STV_HIDDEN && v != elf.STV_INTERNAL {
				errs = append(errs, fmt.Errorf("%s: BTF does not have its type: compile the file that defines it with clang -g", quote.Name(sym.Name)))
			}
		}
	}

	slices.SortStableFunc(vars, func(a, b Variable) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := 1; i < len(vars); i++ {
		if a, b := vars[i-1], vars[i]; a.Offset+a.Size > b.Offset {
			errs = append(errs, fmt.Errorf("%s: overlaps %s in section %s: the file is damaged: build it again", quote.Name(b.Name), quote.Name(a.Name), quote.Name(sec.Name)))
		}
	}
	return vars, errors.Join(errs...)
}

// bpftoolRemedy is what to do with an object whose BTF has a variable at another offset
// than its symbol. libbpf's linker makes such objects; code uses the symbol.
const bpftoolRemedy = "bpftool gen object (libbpf's linker) leaves it so where a variable is weak in one file and defined in another: link the files with bpfgen link instead, or this object once more with it"

// sectionOfSymbol returns the section that the symbol table has a variable in, "" if
// it does not have it.
func (r *reader) sectionOfSymbol(name string) string {
	for _, sym := range r.symbols {
		if sym.Name == name && isObject(sym) && elf.ST_BIND(sym.Info) != elf.STB_LOCAL && sym.Section != elf.SHN_UNDEF && int(sym.Section) < len(r.file.Sections) {
			return r.file.Sections[sym.Section].Name
		}
	}
	return ""
}

// isListedElsewhere reports whether BTF has a variable in another data section.
func (r *reader) isListedElsewhere(name, section string) bool {
	for _, sec := range r.file.Sections {
		if _, data := KindOf(sec.Name); !data || sec.Name == section {
			continue
		}
		// An error is found where the section is read.
		ds, err := r.datasec(sec.Name)
		if err != nil || ds == nil {
			continue
		}
		for _, info := range ds.Vars {
			if v, ok := info.Type.(*btf.Var); ok && v.Name == name && v.Linkage == btf.GlobalVar {
				return true
			}
		}
	}
	return false
}

// readKconfig reads the __kconfig variables. There is no such section in the file:
// the symbols are undefined, and BTF says where they belong.
func (r *reader) readKconfig() error {
	ds, err := r.datasec(".kconfig")
	if ds == nil || err != nil {
		return err
	}
	undefined := make(map[string]elf.Symbol)
	for _, sym := range r.bySection[elf.SHN_UNDEF] {
		undefined[sym.Name] = sym
	}
	var errs []error
	for _, info := range ds.Vars {
		v, ok := info.Type.(*btf.Var)
		if !ok {
			return fmt.Errorf("section .kconfig: BTF lists a %T as its variable: the file is damaged: build it again", info.Type)
		}
		sym, ok := undefined[v.Name]
		if !ok || v.Linkage != btf.ExternVar {
			errs = append(errs, fmt.Errorf("%s: is a __kconfig variable and not declared extern: declare it extern, without a value", quote.Name(v.Name)))
			continue
		}
		delete(undefined, v.Name)
		if !isKconfig(v.Type) {
			errs = append(errs, KconfigTypeError(v.Name))
			continue
		}
		r.obj.Kconfig = append(r.obj.Kconfig, KconfigVariable{
			Name: v.Name,
			Size: uint64(info.Size),
			Type: v.Type,
			Weak: elf.ST_BIND(sym.Info) == elf.STB_WEAK,
		})
	}
	return errors.Join(errs...)
}

// isKconfig reports whether a Kconfig option can be read into a variable of the
// type. The rules are libbpf's; package imagegen, which decides how, has them too.
func isKconfig(t btf.Type) bool {
	switch c := ctype.Underlying(t).(type) {
	case *btf.Int:
		if c.Encoding == btf.Bool {
			return c.Size == 1
		}
		return c.Size == 1 || c.Size == 2 || c.Size == 4 || c.Size == 8
	case *btf.Enum:
		return c.Name == "libbpf_tristate" && c.Size == 4
	case *btf.Array:
		// Damaged BTF can have an array of itself.
		elem, ok := ctype.Underlying(c.Type).(*btf.Int)
		return ok && elem.Size == 1 && elem.Encoding != btf.Bool && c.Nelems > 0
	}
	return false
}

// KconfigTypeError is the error for a __kconfig variable of a type that no Kconfig option has.
func KconfigTypeError(name string) error {
	return fmt.Errorf("%s: is not of a type that a Kconfig option can have: declare it as bool, enum libbpf_tristate, char, an integer or an array of char", quote.Name(name))
}

// readExterns reads the variables and maps that a library declares and does not
// define. Those without a section have an entry in no DATASEC that clang writes.
func (r *reader) readExterns() error {
	if !r.library {
		return nil
	}
	// Sections that loaders fill in, and that no file defines.
	elsewhere := make(map[*btf.Var]bool)
	maps := make(map[*btf.Var]bool)
	for _, name := range []string{".kconfig", ".ksyms", ".maps"} {
		ds, err := r.datasec(name)
		if err != nil {
			return err
		}
		if ds == nil {
			continue
		}
		for _, info := range ds.Vars {
			if v, ok := info.Type.(*btf.Var); ok {
				elsewhere[v] = name != ".maps"
				maps[v] = name == ".maps"
			}
		}
	}
	undefined := make(map[string]elf.Symbol)
	for _, sym := range r.bySection[elf.SHN_UNDEF] {
		undefined[sym.Name] = sym
	}
	// Of the types that are there, most are a kernel's, and only those of externs are
	// decoded.
	for id := range r.obj.types.Len() {
		if t := r.obj.types.At(id); t.Kind() != rawbtf.Var || t.Linkage() != rawbtf.Extern {
			continue
		}
		t, err := r.btf.TypeByID(btf.TypeID(id))
		if err != nil {
			return fmt.Errorf("section .BTF: is damaged: %s: build the object again", quote.Text(err.Error()))
		}
		v, ok := t.(*btf.Var)
		if !ok || elsewhere[v] {
			continue
		}
		sym, ok := undefined[v.Name]
		if !ok || v.Name == "" {
			continue
		}
		delete(undefined, v.Name)
		// For the object's own files only, like a definition.
		hidden := elf.ST_VISIBILITY(sym.Other) == elf.STV_HIDDEN || elf.ST_VISIBILITY(sym.Other) == elf.STV_INTERNAL
		weak := elf.ST_BIND(sym.Info) == elf.STB_WEAK
		if maps[v] {
			r.obj.Maps = append(r.obj.Maps, Map{Name: v.Name, Hidden: hidden, Extern: true, Weak: weak, in: r.obj, typ: v.Type})
			continue
		}
		// Without a length, as in extern int list[], there is nothing to show.
		size, err := btf.Sizeof(v.Type)
		if err != nil || size == 0 || hidden {
			continue
		}
		r.obj.Externs = append(r.obj.Externs, ExternVariable{Name: v.Name, Size: uint64(size), Type: v.Type, Weak: weak})
	}
	return nil
}

func quoteAll(names []string) []string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote.Name(name)
	}
	return quoted
}
