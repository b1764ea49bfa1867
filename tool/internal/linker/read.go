package linker

import (
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// object is an input.
type object struct {
	name string
	file *elfobj.File
	btf  *rawbtf.Types
	ext  *rawbtf.Ext
	// names are indices in the graph's names, by offsets of strings in BTF; 0 for those
	// that have none yet.
	names []uint32
	// empty is true when the file defines and refers to nothing.
	empty bool
	// first is the ID in the graph of types of BTF's type 0.
	first uint32
	// inputs are the sections that the result has.
	inputs map[*elfobj.Section]*inputSection
	// order are the inputs in the order of the file.
	order []*inputSection
	// refs are the symbols that are not static.
	refs map[*elfobj.Symbol]*symbolRef
	// decls are the variables and functions in BTF that are not static, by name.
	decls map[string][]uint32
	// secinfos are the DATASEC entries of variables and functions.
	secinfos map[uint32]secinfo
	// locals are the symbols of the result for those that are the file's own.
	locals map[*elfobj.Symbol]*elfobj.Symbol
}

// secinfo is the entry of a variable or function in the DATASEC of a section.
type secinfo struct {
	section string
	rawbtf.Secinfo
}

// inputSection is what a file contributes to a section.
type inputSection struct {
	obj *object
	sec *elfobj.Section
	out *section
	// base is where the input section starts in the section of the result.
	base uint64
	// duplicate is set for a singleton section that is not the one that is kept.
	duplicate bool
	// cuts are what is left out, in order.
	cuts []cut
}

// cut is a range of an input section's bytes that the result does not have.
type cut struct{ from, to uint64 }

// size is the size in the result.
func (p *inputSection) size() uint64 {
	n := sizeOf(p.sec)
	for _, c := range p.cuts {
		n -= c.to - c.from
	}
	return n
}

// sizeOf returns the size of a section in its file.
func sizeOf(sec *elfobj.Section) uint64 {
	if sec.Type == elf.SHT_NOBITS {
		return sec.Size
	}
	return uint64(len(sec.Data))
}

// resultOffset returns the offset in the section of the result for an offset in the
// input section. That may lie outside of it: C lets pointers be calculated from others.
func (p *inputSection) resultOffset(off int64) int64 {
	moved := int64(p.base) + off
	for _, c := range p.cuts {
		if off < int64(c.from) {
			break
		}
		moved -= min(off, int64(c.to)) - int64(c.from)
	}
	return moved
}

// isCut reports whether the byte at an offset of the input section is left out.
func (p *inputSection) isCut(off uint64) bool {
	for _, c := range p.cuts {
		if c.from <= off && off < c.to {
			return true
		}
	}
	return false
}

func (l *linker) read(inputs []Input) error {
	var errs []error
	empty := true
	for _, in := range inputs {
		obj, err := readObject(in)
		if err != nil {
			errs = append(errs, inFile(in.Name, err))
			continue
		}
		if l.out == nil {
			l.out = &elfobj.File{Order: obj.file.Order, Flags: obj.file.Flags}
		}
		if obj.file.Order != l.out.Order {
			errs = append(errs, fmt.Errorf("%s: is %s and %s is %s: compile both with the same -target, bpfel or bpfeb", in.Name, obj.file.Order, l.objects[0].name, l.out.Order))
			continue
		}
		// The newest instruction set that any file needs.
		l.out.Flags = max(l.out.Flags, obj.file.Flags)
		l.objects = append(l.objects, obj)
		empty = empty && obj.empty
	}
	if len(errs) == 0 && empty {
		for _, obj := range l.objects {
			errs = append(errs, inFile(obj.name, bpfobj.ErrEmpty))
		}
	}
	return errors.Join(errs...)
}

func readObject(in Input) (*object, error) {
	file, err := elfobj.Parse(in.Data)
	if err != nil {
		return nil, err
	}
	obj := &object{
		name:     in.Name,
		file:     file,
		inputs:   make(map[*elfobj.Section]*inputSection),
		refs:     make(map[*elfobj.Symbol]*symbolRef),
		decls:    make(map[string][]uint32),
		secinfos: make(map[uint32]secinfo),
		locals:   make(map[*elfobj.Symbol]*elfobj.Symbol),
	}
	if err := obj.readSections(); err != nil {
		return nil, err
	}
	return obj, obj.readBTF()
}

// maxAlign bounds the alignment of sections: more than C programs ask for, and
// little enough that no section grows much by it.
const maxAlign = 1 << 16

func (obj *object) readSections() error {
	if err := bpfobj.CheckRelocs(obj.file); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, sec := range obj.file.Sections {
		if isDropped(sec) {
			continue
		}
		name := quote.Name(sec.Name)
		switch {
		case sec.Type != elf.SHT_PROGBITS && sec.Type != elf.SHT_NOBITS:
			return fmt.Errorf("section %s: is of type %s, which BPF objects that are made from C do not have", name, sec.Type)
		case sec.Name == "":
			return errors.New("has a section without a name: build the file again")
		case sec.Align&(sec.Align-1) != 0 || sec.Align > maxAlign:
			return fmt.Errorf("section %s: has an alignment of %d, want a power of two up to %d", name, sec.Align, maxAlign)
		case sec.IsCode() && (len(sec.Data)%elfobj.InsnSize != 0 || sec.Type != elf.SHT_PROGBITS):
			return fmt.Errorf("section %s: is code and does not consist of instructions: the file is damaged: build it again", name)
		case seen[sec.Name]:
			return fmt.Errorf("section %s: is there twice: give all that is in sections of this name the same const and the same type of contents", name)
		}
		seen[sec.Name] = true
		p := &inputSection{obj: obj, sec: sec}
		obj.inputs[sec] = p
		obj.order = append(obj.order, p)
	}
	return nil
}

// isDropped reports whether the result does not take over the section: loaders do not
// read it, or it is rebuilt.
func isDropped(sec *elfobj.Section) bool {
	switch sec.Name {
	case ".BTF", ".BTF.ext":
		return true
	case ".text":
		// The compiler writes it into every file.
		if sec.Type == elf.SHT_PROGBITS && len(sec.Data) == 0 {
			return true
		}
	}
	// Unwind tables, which some versions of clang write.
	if sec.Name == ".eh_frame" || strings.HasPrefix(sec.Name, ".gcc_except_table") {
		return true
	}
	switch sec.Type {
	case elf.SHT_PROGBITS, elf.SHT_NOBITS:
		return !bpfobj.IsLoaded(sec)
	case elf.SHT_NOTE:
		return true
	}
	// What LLVM's own linkers read.
	const llvmFirst, llvmLast = 0x6fff4c00, 0x6fff4cff
	return sec.Type >= llvmFirst && sec.Type <= llvmLast
}

// isEmpty reports whether nothing in the file needs a type, as when all of it is under
// an #if that is false. The compiler writes no BTF for such a file, even with -g.
func (obj *object) isEmpty() bool {
	for _, p := range obj.order {
		if sizeOf(p.sec) > 0 {
			return false
		}
	}
	for _, sym := range obj.file.Symbols {
		if sym.Bind != elf.STB_LOCAL {
			return false
		}
	}
	return true
}

func (obj *object) readBTF() error {
	sec := obj.file.Section(".BTF")
	if sec == nil && obj.isEmpty() {
		obj.empty = true
		obj.btf, obj.ext = rawbtf.NewBuilder(obj.file.Order, nil).Types(), new(rawbtf.Ext)
		return nil
	}
	if sec == nil || sec.Type != elf.SHT_PROGBITS {
		return errors.New("has no .BTF section, which describes the types: compile with clang -g")
	}
	types, err := bpfobj.ParseBTF(sec.Data, obj.file.Order)
	if err != nil {
		return err
	}
	if err := checkBTF(types); err != nil {
		return bpfobj.BTFError(sec.Name, err)
	}
	btf := types.Edit()
	obj.btf = btf.Types()
	obj.ext = new(rawbtf.Ext)
	if sec := obj.file.Section(".BTF.ext"); sec != nil {
		if obj.ext, err = rawbtf.ParseExt(sec.Data, obj.file.Order); err != nil {
			return bpfobj.BTFError(sec.Name, err)
		}
	}
	obj.setLinkages(btf)
	for id := uint32(1); id < obj.btf.Len(); id++ {
		switch obj.btf.At(id).Kind() {
		case rawbtf.Var, rawbtf.Func:
			if obj.btf.At(id).Linkage() != rawbtf.Static {
				name := obj.btf.At(id).Name()
				obj.decls[name] = append(obj.decls[name], id)
			}
		case rawbtf.Datasec:
			name := obj.btf.At(id).Name()
			for i := range obj.btf.At(id).Vlen() {
				info := obj.btf.At(id).Secinfo(i)
				if obj.btf.At(info.Type).Linkage() == rawbtf.Extern && obj.file.Section(name) != nil {
					// GCC lists what is declared only, too.
					continue
				}
				if _, ok := obj.secinfos[info.Type]; ok {
					return fmt.Errorf("section .BTF: variable %s is in two DATASECs: the file is damaged: build it again", quote.Name(obj.btf.At(info.Type).Name()))
				}
				obj.secinfos[info.Type] = secinfo{name, info}
			}
		}
	}
	// libbpf's linker leaves a variable in the section of a weak definition that lost.
	for _, sym := range obj.file.Symbols {
		if sym.Bind == elf.STB_LOCAL || sym.Section == nil || sym.Section.IsCode() {
			continue
		}
		if in, ok := obj.secinfos[obj.decl(sym)]; ok {
			in.section = sym.Section.Name
			obj.secinfos[in.Type] = in
		}
	}
	return nil
}

// setLinkages corrects the linkages of functions and variables in BTF, where the
// symbol table says otherwise. GCC before version 14 has all functions as static and
// all variables that are not static as defined, and final links have hidden functions
// as static.
func (obj *object) setLinkages(btf *rawbtf.Builder) {
	// Functions by their names, and by section and offset.
	byName := make(map[string][]uint32)
	byPlace := make(map[string]uint32)
	at := func(section string, off uint64) string { return fmt.Sprintf("%s+%d", section, off) }
	for _, sec := range obj.ext.Funcs {
		name := obj.btf.String(sec.Name)
		for _, f := range sec.Records {
			byPlace[at(name, uint64(f.Offset))] = f.Type
		}
	}
	externs := make(map[string]bool)
	static := make(map[string]bool)
	for _, sym := range obj.file.Symbols {
		switch {
		case sym.Bind == elf.STB_LOCAL:
			static[sym.Name] = true
		case sym.Section == nil && sym.Index == elf.SHN_UNDEF:
			externs[sym.Name] = true
		}
	}
	for id := uint32(1); id < obj.btf.Len(); id++ {
		switch name := obj.btf.At(id).Name(); obj.btf.At(id).Kind() {
		case rawbtf.Var:
			if externs[name] && obj.btf.At(id).Linkage() == rawbtf.Global {
				btf.At(id).SetLinkage(rawbtf.Extern)
			}
		case rawbtf.Func:
			byName[name] = append(byName[name], id)
		}
	}
	for _, sym := range obj.file.Symbols {
		if sym.Bind == elf.STB_LOCAL || !sym.Section.IsCode() || obj.hasGlobal(byName[sym.Name]) {
			continue
		}
		id := byPlace[at(sym.Section.Name, sym.Value)]
		if len(byName[sym.Name]) == 1 && !static[sym.Name] {
			id = byName[sym.Name][0]
		}
		if obj.btf.At(id).Kind() == rawbtf.Func && obj.btf.At(id).Name() == sym.Name {
			btf.At(id).SetLinkage(rawbtf.Global)
		}
	}
}

// hasGlobal reports whether one of the functions is global.
func (obj *object) hasGlobal(ids []uint32) bool {
	return slices.ContainsFunc(ids, func(id uint32) bool { return obj.btf.At(id).Linkage() == rawbtf.Global })
}

// checkBTF makes sure that all type IDs and offsets of strings are right, so that the
// rest of the package need not check.
func checkBTF(types *rawbtf.Types) error {
	for id := uint32(1); id < types.Len(); id++ {
		kind := types.At(id).Kind()
		ok := true
		err := types.At(id).Walk(
			func(to uint32) {
				switch types.At(to).Kind() {
				case rawbtf.Void:
					ok = ok && to == 0 && kind != rawbtf.Datasec
				case rawbtf.Var, rawbtf.Func:
					ok = ok && (kind == rawbtf.Datasec || kind == rawbtf.DeclTag)
				case rawbtf.Datasec, rawbtf.DeclTag:
					ok = false
				default:
					ok = ok && kind != rawbtf.Datasec
				}
			},
			func(name uint32) { ok = ok && types.HasString(name) })
		if err != nil {
			return err
		}
		if !ok {
			return rawbtf.ErrDamaged
		}
	}
	return nil
}

// decl returns the variable or function in BTF that describes a symbol, 0 if there
// is none.
func (obj *object) decl(sym *elfobj.Symbol) uint32 {
	want := rawbtf.Global
	if sym.Section == nil {
		want = rawbtf.Extern
	}
	ids := obj.decls[sym.Name]
	for _, id := range ids {
		if obj.btf.At(id).Linkage() == want {
			return id
		}
	}
	return 0
}

// line returns the line of the source, as "file.c:12", that an instruction of a
// section is from, "" where that is not known.
func (obj *object) line(section string, off uint64) string {
	var best *rawbtf.LineInfo
	for _, sec := range obj.ext.Lines {
		if obj.btf.String(sec.Name) != section {
			continue
		}
		for i, rec := range sec.Records {
			if uint64(rec.Offset) <= off && (best == nil || rec.Offset >= best.Offset) {
				best = &sec.Records[i]
			}
		}
	}
	if best == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", quote.Name(obj.btf.String(best.File)), best.Line())
}
