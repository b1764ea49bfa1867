package linker

import (
	"debug/elf"
	"errors"
	"fmt"
	"strings"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/rawbtf"
)

// object is an input.
type object struct {
	name string
	file *elfobj.File
	btf  *rawbtf.BTF
	ext  *rawbtf.Ext
	// empty says that the file defines and refers to nothing.
	empty bool
	// first is the number in the graph of types of BTF's type 0.
	first uint32
	// parts are the sections that become parts of the result.
	parts map[*elfobj.Section]*part
	// order are the parts in the order of the file.
	order []*part
	// uses are the symbols that are not static.
	uses map[*elfobj.Symbol]*use
	// decls are the variables and functions in BTF that are not static, by name.
	decls map[string][]uint32
	// lists are the lists of variables that the variables and functions are in.
	lists map[uint32]listed
	// locals are the symbols of the result for those that are the file's own.
	locals map[*elfobj.Symbol]*elfobj.Symbol
}

// listed is the entry of a variable in a section's list.
type listed struct {
	section string
	rawbtf.Secinfo
}

// part is what a file contributes to a section.
type part struct {
	obj *object
	sec *elfobj.Section
	out *section
	// base is where the part starts in the section.
	base uint64
	// again says that the section is kept once and this is not the part that is
	// kept.
	again bool
	// cuts are what is left out, in order.
	cuts []cut
}

// cut is a range of a part's bytes that the result does not have.
type cut struct{ from, to uint64 }

// size is the size of the part in the result.
func (p *part) size() uint64 {
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

// place returns where in the section of the result a place of the part is. The
// place may be outside of the part: C lets pointers be calculated from others.
func (p *part) place(off int64) int64 {
	moved := int64(p.base) + off
	for _, c := range p.cuts {
		if off < int64(c.from) {
			break
		}
		moved -= min(off, int64(c.to)) - int64(c.from)
	}
	return moved
}

// isCut says whether a place of the part is left out.
func (p *part) isCut(off uint64) bool {
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
		name:   in.Name,
		file:   file,
		parts:  make(map[*elfobj.Section]*part),
		uses:   make(map[*elfobj.Symbol]*use),
		decls:  make(map[string][]uint32),
		lists:  make(map[uint32]listed),
		locals: make(map[*elfobj.Symbol]*elfobj.Symbol),
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
	seen := make(map[string]bool)
	for _, sec := range obj.file.Sections {
		if isDropped(sec) {
			continue
		}
		name := elfobj.Quote(sec.Name)
		switch {
		case sec.Type != elf.SHT_PROGBITS && sec.Type != elf.SHT_NOBITS:
			return fmt.Errorf("section %s: is of type %s, which BPF objects that are made from C do not have", name, sec.Type)
		case sec.Name == "":
			return errors.New("has a section without a name: build the file again")
		case sec.Name == ".jumptables":
			return fmt.Errorf("section %s: has jump tables, which cannot be moved: compile with clang -mcpu=v3 or -fno-jump-tables", name)
		case sec.Align&(sec.Align-1) != 0 || sec.Align > maxAlign:
			return fmt.Errorf("section %s: has an alignment of %d, want a power of two up to %d", name, sec.Align, maxAlign)
		case isCode(sec) && (len(sec.Data)%insnSize != 0 || sec.Type != elf.SHT_PROGBITS):
			return fmt.Errorf("section %s: is code and does not consist of instructions: the file is damaged: build it again", name)
		case seen[sec.Name]:
			return fmt.Errorf("section %s: is there twice: give all that is in sections of this name the same const and the same type of contents", name)
		}
		seen[sec.Name] = true
		p := &part{obj: obj, sec: sec}
		obj.parts[sec] = p
		obj.order = append(obj.order, p)
	}
	return nil
}

// isDropped says whether the section is none that loaders read, or one that is
// made anew.
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

// isEmpty says whether nothing in the file needs a type: all of it is under an #if
// that does not hold, say. The compiler writes no BTF for such a file, with -g or
// without.
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
		obj.btf, obj.ext = new(rawbtf.BTF), new(rawbtf.Ext)
		return nil
	}
	if sec == nil || sec.Type != elf.SHT_PROGBITS {
		return errors.New("has no .BTF section, which says the types: compile with clang -g")
	}
	var err error
	if obj.btf, err = rawbtf.Parse(sec.Data, obj.file.Order); err != nil {
		return fmt.Errorf("section .BTF: %w", err)
	}
	if err := obj.checkBTF(); err != nil {
		return fmt.Errorf("section .BTF: %w", err)
	}
	obj.ext = new(rawbtf.Ext)
	if sec := obj.file.Section(".BTF.ext"); sec != nil {
		if obj.ext, err = rawbtf.ParseExt(sec.Data, obj.file.Order); err != nil {
			return fmt.Errorf("section .BTF.ext: %w", err)
		}
	}
	for id := uint32(1); id < obj.btf.Len(); id++ {
		switch obj.btf.Kind(id) {
		case rawbtf.Var, rawbtf.Func:
			if obj.btf.Linkage(id) != rawbtf.Static {
				name := obj.btf.Name(id)
				obj.decls[name] = append(obj.decls[name], id)
			}
		case rawbtf.Datasec:
			name := obj.btf.Name(id)
			for i := range obj.btf.Vlen(id) {
				info := obj.btf.Secinfo(id, i)
				if _, ok := obj.lists[info.ID]; ok {
					return fmt.Errorf("section .BTF: variable %s is in two lists: the file is damaged: build it again", elfobj.Quote(obj.btf.Name(info.ID)))
				}
				obj.lists[info.ID] = listed{name, info}
			}
		}
	}
	return nil
}

// checkBTF makes sure that all numbers of types and offsets of strings are right,
// so that nobody has to ask again.
func (obj *object) checkBTF() error {
	if obj.btf.Len() > rawbtf.MaxTypes {
		return fmt.Errorf("has more than %d types: no BPF object needs as many: include only the types that the program uses", rawbtf.MaxTypes)
	}
	order := obj.file.Order
	for id := uint32(1); id < obj.btf.Len(); id++ {
		t := obj.btf.At(id)
		ok := true
		err := rawbtf.Fields(t, order,
			func(at int) {
				to := order.Uint32(t[at:])
				switch obj.btf.Kind(to) {
				case rawbtf.Void:
					ok = ok && to == 0 && obj.btf.Kind(id) != rawbtf.Datasec
				case rawbtf.Var, rawbtf.Func:
					ok = ok && (obj.btf.Kind(id) == rawbtf.Datasec || obj.btf.Kind(id) == rawbtf.DeclTag)
				case rawbtf.Datasec, rawbtf.DeclTag:
					ok = false
				default:
					ok = ok && obj.btf.Kind(id) != rawbtf.Datasec
				}
			},
			func(at int) {
				_, found := obj.btf.String(order.Uint32(t[at:]))
				ok = ok && found
			})
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
		if obj.btf.Linkage(id) == want {
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
		if name, _ := obj.btf.String(sec.Name); name != section {
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
	file, _ := obj.btf.String(best.File)
	return fmt.Sprintf("%s:%d", file, best.Line())
}
