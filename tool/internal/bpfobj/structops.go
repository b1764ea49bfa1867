package bpfobj

import (
	"debug/elf"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/internal/uapi"
)

// StructOps is a struct_ops map: a variable of a struct that the kernel knows as a
// table of functions and values, and that it takes from a BPF object.
type StructOps struct {
	Name string
	// Section is the argument of SEC(), "?" included.
	Section string
	// Size is the size of the variable, in bytes.
	Size uint64
	Type *btf.Struct
	// Hidden is true when the map is for the object's own files only.
	Hidden bool
	// Funcs are the members that are pointers to functions, in the order of the
	// struct. Only members of the struct itself are among them, not those of structs
	// within it: the kernel looks no deeper.
	Funcs []StructOpsFunc
}

// StructOpsFunc is a function pointer of a struct_ops map.
type StructOpsFunc struct {
	Name string
	// Offset is in bytes, from the start of the struct.
	Offset uint64
	// Program is the name of the program that C has there, "" for none.
	Program string
}

// structOpsSection is a section of struct_ops maps whose pointers are not resolved yet, as that
// needs all programs.
type structOpsSection struct {
	index  int
	vars   []Variable
	relocs []relocation
}

// relocation is an offset in a section that holds the address of a symbol.
type relocation struct {
	offset uint64
	symbol elf.Symbol
}

// location is a byte of the file: the index of its section, and the offset in it.
type location struct {
	section int
	offset  uint64
}

// readStructOps reads the variables of a section.
func (r *reader) readStructOps(index int) error {
	sec := r.file.Sections[index]
	if sec.Type != elf.SHT_PROGBITS {
		return fmt.Errorf("section %s: has no contents in the file: build the object again", quote.Name(sec.Name))
	}
	if sec.Size > maxSection {
		return fmt.Errorf("section %s: has %d bytes, more than all tables of functions: the file is damaged: build it again", quote.Name(sec.Name), sec.Size)
	}
	vars, err := r.variables(index)
	if err != nil {
		return err
	}
	ds, err := r.datasec(sec.Name)
	if err != nil {
		return err
	}
	var errs []error
	if ds == nil {
		if sec.Size > 0 {
			return fmt.Errorf("section %s: BTF does not have its variables: compile with clang -g", quote.Name(sec.Name))
		}
		return nil
	}
	for _, info := range ds.Vars {
		if v, ok := info.Type.(*btf.Var); ok && v.Linkage == btf.StaticVar {
			errs = append(errs, fmt.Errorf("%s: is a static struct_ops map, which nothing can refer to by its name: remove the word static", quote.Name(v.Name)))
		}
	}
	for i := range vars {
		s, ok := btf.As[*btf.Struct](vars[i].Type)
		switch {
		case !ok || s.Name == "":
			errs = append(errs, fmt.Errorf("%s: is in section %s and is not of a struct with a name, by which the kernel knows it: declare it as, for example, struct tcp_congestion_ops", quote.Name(vars[i].Name), quote.Name(sec.Name)))
		case vars[i].Size != uint64(s.Size):
			errs = append(errs, fmt.Errorf("%s: has %d bytes and its type %d: build the object again", quote.Name(vars[i].Name), vars[i].Size, s.Size))
		}
	}
	if len(errs) == 0 {
		r.structOps = append(r.structOps, structOpsSection{index, vars, r.relocs[index]})
	}
	return errors.Join(errs...)
}

// finishStructOps makes the model of all sections of struct_ops maps.
func (r *reader) finishStructOps() error {
	var errs []error
	for _, s := range r.structOps {
		first := len(r.obj.StructOps)
		for _, v := range s.vars {
			table, err := newStructOps(v, r.file.Sections[s.index].Name)
			errs = append(errs, err)
			r.obj.StructOps = append(r.obj.StructOps, table)
		}
		errs = append(errs, r.bindFuncs(s, r.obj.StructOps[first:]))
	}
	return errors.Join(errs...)
}

func newStructOps(v Variable, section string) (StructOps, error) {
	s, _ := btf.As[*btf.Struct](v.Type)
	table := StructOps{Name: v.Name, Section: section, Size: v.Size, Type: s, Hidden: v.Hidden}
	for _, m := range s.Members {
		p, ok := btf.As[*btf.Pointer](m.Type)
		if !ok || m.Name == "" {
			continue
		}
		if _, ok := btf.As[*btf.FuncProto](p.Target); !ok {
			continue
		}
		offset := uint64(m.Offset) / 8
		// Such a pointer is aligned, in the program and in Go.
		if m.BitfieldSize > 0 || uint64(m.Offset)%64 != 0 || v.Size%8 != 0 || offset+8 > v.Size {
			return table, fmt.Errorf("%s: member %s is a function pointer at bit %d of %d bytes, where the kernel has no pointer: declare the struct as the kernel does, not packed", quote.Name(v.Name), quote.Name(m.Name), m.Offset, v.Size)
		}
		table.Funcs = append(table.Funcs, StructOpsFunc{Name: m.Name, Offset: offset})
	}
	return table, nil
}

// bindFuncs follows the relocations of a section of struct_ops maps: each says
// that a member is the address of a program.
func (r *reader) bindFuncs(s structOpsSection, tables []StructOps) error {
	sec := r.file.Sections[s.index]
	contents := r.contents(sec)
	var errs []error
	for _, rel := range s.relocs {
		table, member := findFunc(s.vars, tables, rel.offset)
		if table == nil {
			errs = append(errs, fmt.Errorf("section %s: refers to %s at offset %d, where there is no variable: the file is damaged: build it again", quote.Name(sec.Name), r.symbolName(rel.symbol), rel.offset))
			continue
		}
		if member == nil {
			errs = append(errs, fmt.Errorf("%s: has the address of %s in a member that is not a function pointer: the kernel takes no addresses but those of programs: leave the member out", quote.Name(table.Name), r.symbolName(rel.symbol)))
			continue
		}
		value := rel.symbol.Value
		if elf.ST_TYPE(rel.symbol.Info) == elf.STT_SECTION && rel.offset+8 <= uint64(len(contents)) {
			value += r.obj.ByteOrder.Uint64(contents[rel.offset:])
		}
		program, ok := r.programAt[location{int(rel.symbol.Section), value}]
		if !ok {
			errs = append(errs, fmt.Errorf("%s: member %s is %s, which is not a program: give it a function with SEC(\"struct_ops\") that is not static", quote.Name(table.Name), quote.Name(member.Name), r.symbolName(rel.symbol)))
			continue
		}
		if form, _, ok := secdef.Find(program.Section); !ok || form.Type != uapi.StructOps {
			errs = append(errs, fmt.Errorf("%s: member %s is the program %s of SEC(%q): declare the program with SEC(\"struct_ops\")", quote.Name(table.Name), quote.Name(member.Name), quote.Name(program.Name), program.Section))
			continue
		}
		member.Program = program.Name
	}
	return errors.Join(errs...)
}

// findFunc returns the table that the byte at offset of the section is in, and its
// function pointer there.
func findFunc(vars []Variable, tables []StructOps, offset uint64) (*StructOps, *StructOpsFunc) {
	for i, v := range vars {
		if offset < v.Offset || offset-v.Offset >= v.Size {
			continue
		}
		for j := range tables[i].Funcs {
			if f := &tables[i].Funcs[j]; f.Offset == offset-v.Offset {
				return &tables[i], f
			}
		}
		return &tables[i], nil
	}
	return nil, nil
}

// symbolName names a symbol in an error.
func (r *reader) symbolName(sym elf.Symbol) string {
	if elf.ST_TYPE(sym.Info) == elf.STT_SECTION || sym.Name == "" {
		if i := int(sym.Section); i < len(r.file.Sections) {
			return "something in section " + quote.Name(r.file.Sections[i].Name)
		}
	}
	return quote.Name(sym.Name)
}
