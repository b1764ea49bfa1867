package linker

import (
	"debug/elf"
	"errors"
	"fmt"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// globalSymbol is a name that is not static.
type globalSymbol struct {
	name string
	// refs are those of the files that have the name, in the order of files.
	refs []*symbolRef
	// def is the definition, nil when the name is only declared.
	def *symbolRef
	// externSection is the DATASEC that has values of the kernel, .kconfig or
	// .ksyms; "" for everything else.
	externSection string
	// sym is the symbol in the result.
	sym *elfobj.Symbol
	// reachable is a reference to the name that the result has. unreachable is set when
	// there is one that was cut out.
	reachable   *reference
	unreachable bool
}

// reference is an instruction, or a piece of data, that refers to a name.
type reference struct {
	input *inputSection
	off   uint64
}

// symbolRef is what one file has under a name: a definition or a declaration.
type symbolRef struct {
	obj *object
	sym *elfobj.Symbol
	// id is the variable or function in the file's BTF, 0 in singleton sections.
	id uint32
	// static is set for a definition that lost and that something refers to without its
	// name: it stays, visible in its own file only.
	static bool
}

func (u *symbolRef) defines() bool { return u.sym.Section != nil }
func (u *symbolRef) weak() bool    { return u.sym.Bind == elf.STB_WEAK }

// input is the input section of a definition.
func (u *symbolRef) input() *inputSection { return u.obj.inputs[u.sym.Section] }

// resolve collects the names that are not static, and finds their definitions.
func (l *linker) resolve() error {
	var errs []error
	for _, obj := range l.objects {
		for _, sym := range obj.file.Symbols {
			if sym.Bind == elf.STB_LOCAL {
				continue
			}
			// A name in a section that is dropped.
			if sym.Section != nil && obj.inputs[sym.Section] == nil {
				continue
			}
			if err := obj.checkSymbol(sym); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", obj.name, quote.Name(sym.Name), err))
				continue
			}
			l.add(&symbolRef{obj: obj, sym: sym, id: obj.decl(sym)})
		}
	}
	for g := range l.all {
		if err := g.resolve(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (obj *object) checkSymbol(sym *elfobj.Symbol) error {
	if sym.Name == "" {
		return errors.New("is a symbol without a name: the file is damaged: build it again")
	}
	if sym.Bind != elf.STB_GLOBAL && sym.Bind != elf.STB_WEAK {
		return fmt.Errorf("has the binding %s, want a static, global or weak symbol", sym.Bind)
	}
	if v := elf.ST_VISIBILITY(sym.Other); v != elf.STV_DEFAULT && v != elf.STV_HIDDEN {
		return fmt.Errorf("has the visibility %s, which BPF loaders do not know: declare it with __hidden or without", v)
	}
	if sym.Section == nil {
		switch sym.Index {
		case elf.SHN_UNDEF:
		case elf.SHN_COMMON:
			return errors.New("is a common symbol, which has no section: give it a value, or compile with -fno-common")
		default:
			return errors.New("is a constant and not a variable or a function: declare it in C")
		}
	} else {
		switch sym.Type {
		case elf.STT_OBJECT, elf.STT_FUNC, elf.STT_NOTYPE:
		default:
			return fmt.Errorf("is of type %s, want a variable or a function", sym.Type)
		}
		if size := sizeOf(sym.Section); sym.Value > size || sym.Size > size-sym.Value {
			return fmt.Errorf("reaches beyond the end of section %s: the file is damaged: build it again", quote.Name(sym.Section.Name))
		}
		if isSingleton(sym.Section.Name) {
			return nil
		}
	}
	if obj.decl(sym) == 0 {
		return errors.New("BTF does not have its type: compile the file with clang -g, and declare the name in C")
	}
	return nil
}

func (l *linker) add(u *symbolRef) {
	g := l.globals[u.sym.Name]
	if g == nil {
		g = &globalSymbol{name: u.sym.Name}
		l.globals[g.name] = g
		l.names = append(l.names, g.name)
	}
	g.refs = append(g.refs, u)
	u.obj.refs[u.sym] = u
}

// resolve finds the definition.
func (g *globalSymbol) resolve() error {
	for _, u := range g.refs {
		switch {
		case !u.defines():
		case g.def == nil || g.def.weak() && !u.weak():
			g.def = u
		case !g.def.weak() && !u.weak() && !(isSingleton(g.def.sym.Section.Name) && g.def.sym.Section.Name == u.sym.Section.Name):
			return fmt.Errorf("%s: %s: is defined%s, and in %s too%s: make one of them static or weak (__weak), or rename it",
				u.obj.name, quote.Name(g.name), u.where(), g.def.obj.name, g.def.where())
		}
	}
	return nil
}

// where returns where a function is defined, as " at file.c:12"; "" where that is not
// known, as for all variables.
func (u *symbolRef) where() string {
	if !u.defines() || !u.sym.Section.IsCode() {
		return ""
	}
	if line := u.obj.line(u.sym.Section.Name, u.sym.Value); line != "" {
		return " at " + line
	}
	return ""
}

// chosen is the one that the result has: the definition, or of declarations the
// first of the largest, as arrays can be declared with several lengths.
func (g *globalSymbol) chosen() *symbolRef {
	if g.def != nil {
		return g.def
	}
	best := g.refs[0]
	for _, u := range g.refs[1:] {
		if u.obj.secinfos[u.id].Size > best.obj.secinfos[best.id].Size {
			best = u
		}
	}
	return best
}

// check makes sure that all references to a name mean the same.
func (l *linker) check() error {
	var errs []error
	for g := range l.all {
		if err := g.check(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// The DATASECs of declarations: those of what the kernel defines, and the one of all
// others.
const (
	kconfigDatasec = ".kconfig"
	ksymsDatasec   = ".ksyms"
	externDatasec  = ".extern"
)

// declaredIn is the section that a declaration names, "" if it names none.
func (u *symbolRef) declaredIn() string {
	if name := u.obj.secinfos[u.id].section; name != externDatasec {
		return name
	}
	return ""
}

func (g *globalSymbol) check() error {
	model := g.chosen()
	if !model.defines() {
		if in := model.declaredIn(); in == kconfigDatasec || in == ksymsDatasec {
			g.externSection = in
		}
	}
	for _, u := range g.refs {
		if u == model || u.id == 0 || model.id == 0 {
			continue
		}
		name := quote.Name(g.name)
		if err := g.checkSection(model, u); err != nil {
			return fmt.Errorf("%s: %s: %w", u.obj.name, name, err)
		}
		m := matcher{strict: g.externSection == kconfigDatasec}
		diff := m.symbols(model, u)
		if diff == nil {
			continue
		}
		verb := "defined"
		if !u.defines() {
			verb = "declared"
		}
		other := "defined"
		if !model.defines() {
			other = "declared"
		}
		return fmt.Errorf("%s: %s: is %s%s with another type than it is %s with in %s%s: %s%s here and %s there: let both files include one header that declares it",
			u.obj.name, name, verb, u.where(), other, model.obj.name, model.where(), diff.prefix(), diff.b, diff.a)
	}
	return nil
}

// checkSection makes sure that two references to a name are in the same section.
func (g *globalSymbol) checkSection(model, u *symbolRef) error {
	in := u.declaredIn()
	if u.defines() {
		in = u.sym.Section.Name
	}
	there := model.declaredIn()
	if model.defines() {
		there = model.sym.Section.Name
	}
	if in == there {
		return nil
	}
	special := func(name string) bool {
		switch name {
		case kconfigDatasec, ksymsDatasec, ".maps", ".addr_space.1":
			return true
		}
		return false
	}
	report := func(name string) string {
		if name == "" {
			return "in no section"
		}
		return "in section " + quote.Name(name)
	}
	switch {
	case in == kconfigDatasec || in == ksymsDatasec || there == kconfigDatasec || there == ksymsDatasec:
	case in == "" || there == "":
		// A declaration need not name the section.
		return nil
	case special(in) || special(there), !u.defines() || !model.defines():
	default:
		// Definitions of which one is weak may be in two sections: an initial value
		// of zero makes it .bss.
		return nil
	}
	return fmt.Errorf("is %s here and %s in %s: declare it with the section that it is defined in, and what the kernel defines (__kconfig, __ksym) in no other way", report(in), report(there), model.obj.name)
}

// hidden reports whether any file hides the name.
func (g *globalSymbol) hidden() bool {
	for _, u := range g.refs {
		if elf.ST_VISIBILITY(u.sym.Other) == elf.STV_HIDDEN {
			return true
		}
	}
	return false
}

// weak reports whether the name is weak in the result.
func (g *globalSymbol) weak(partial bool) bool {
	if g.def != nil {
		return partial && g.def.weak()
	}
	for _, u := range g.refs {
		if !u.weak() {
			return false
		}
	}
	return true
}

// dropped reports whether the result does not have the name: it is declared only, and
// all that refers to it was cut, or it is the address 0.
func (l *linker) dropped(g *globalSymbol) bool {
	switch {
	case g.def != nil:
		// The license of another file, under another name.
		return g.def.input().duplicate && g.reachable == nil
	case g.reachable == nil && g.unreachable:
		return true
	}
	return !l.opts.Partial && g.externSection == "" && !l.allows(g.name)
}

// keeps reports whether the variable or function id of a file's BTF is one of the
// result, and with what linkage.
func (l *linker) keeps(obj *object, id uint32) (rawbtf.Linkage, bool) {
	linkage := obj.btf.At(id).Linkage()
	if linkage == rawbtf.Static {
		return linkage, true
	}
	g := l.globals[obj.btf.At(id).Name()]
	if g == nil {
		return linkage, false
	}
	for _, u := range g.refs {
		if u.obj != obj || u.id != id {
			continue
		}
		if u.static {
			return rawbtf.Static, true
		}
		return linkage, u == g.chosen() && !l.dropped(g) && !(u.defines() && u.input().duplicate)
	}
	return linkage, false
}
