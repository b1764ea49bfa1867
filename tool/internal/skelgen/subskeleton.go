package skelgen

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
	"github.com/rules-bpf/rules_bpf/tool/internal/subskelobj"
)

// externSection is what the struct is named after that has the variables which the
// library declares and does not define.
const externSection = "externs"

var subAPINames = []string{"Subskeleton", "Maps", "Progs", "Links", "Open", "StructOps", "Vars", "Externs"}

// subskeleton is what the file of a subskeleton is written from.
type subskeleton struct {
	generator
	groups []group
	// handles are the fields of the struct Vars, for all variables.
	handles []pointer
	desc    []byte
}

// group is a struct of pointers to the variables of one section.
type group struct {
	named
	doc  string
	vars []pointer
}

type pointer struct {
	named
	typ gotype.Type
	// note is what the comment says after the C name.
	note string
	// weak is true when the object need not have the variable.
	weak bool
}

// Subskeleton returns the Go file for a library, which was read with
// [bpfobj.ReadLibrary], gofmt-clean. It does not carry the object: it works inside
// of those that the library is linked into.
func Subskeleton(lib *bpfobj.Object, opts Options) ([]byte, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	s, err := newSubskeleton(lib, opts)
	if err != nil {
		return nil, err
	}
	src, err := gofmt(s.declarations())
	if err != nil {
		return nil, err
	}
	src = s.appendAsserts(src)
	src = s.appendOpen(src)
	doc := s.private("library") + " says what " + quote.Text(lib.Name) + " needs of an object, as the runtime reads it."
	return appendBytes(src, doc, s.private("library"), s.desc), nil
}

func newSubskeleton(lib *bpfobj.Object, opts Options) (*subskeleton, error) {
	names := gonames.NewScope(slices.Concat(subAPINames, sectionNames)...)
	var s *subskeleton
	var err error
	names.Settle(func() { s, err = makeSubskeleton(lib, opts, names) })
	return s, err
}

func makeSubskeleton(lib *bpfobj.Object, opts Options, names *gonames.Scope) (*subskeleton, error) {
	s := &subskeleton{generator: newGenerator(lib, opts, names)}
	var maps []bpfobj.Map
	for _, m := range lib.Maps {
		if !m.Hidden {
			maps = append(maps, m)
		}
	}
	var tables []bpfobj.StructOps
	for _, m := range lib.StructOps {
		if !m.Hidden {
			tables = append(tables, m)
		}
	}
	s.nameHandles(lib.Programs, maps, tables, dataMaps(lib))
	s.maps, s.sectionMaps = s.maps[:len(maps)], s.maps[len(maps):]
	errs := s.addGroups(lib, names)
	errs = append(errs, s.typeMaps(maps)...)
	for i, m := range maps {
		switch {
		case m.Extern && m.Weak:
			s.generator.maps[i].weak = true
			s.generator.maps[i].note += ", extern, nil where no file defines it"
		case m.Extern:
			s.generator.maps[i].note += ", extern"
		}
	}
	errs = append(errs, s.typeStructOps()...)
	errs = append(errs, s.declareTypes(lib, opts.Types)...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var err error
	s.desc, err = subskelobj.Library(lib).Marshal()
	return s, err
}

// variable is one that gets a pointer.
type variable struct {
	name string
	size uint64
	typ  btf.Type
	// note is what the comment says after the name.
	note string
	// weak is true when the object need not have it.
	weak bool
}

// addGroups declares a struct for each section that exposes a variable, one for the
// Kconfig options and one for what the library does not define. All of them have
// their names before any type of C does.
func (s *subskeleton) addGroups(lib *bpfobj.Object, names *gonames.Scope) []error {
	var variables [][]variable
	add := func(goName, c, doc string, vars []variable) {
		s.groups = append(s.groups, group{named: named{goName: goName, c: c}, doc: doc})
		variables = append(variables, vars)
	}
	for _, sec := range lib.Sections {
		var vars []variable
		for _, v := range sec.Exposed() {
			vars = append(vars, variable{name: v.Name, size: v.Size, typ: v.Type, note: addressNote(v)})
		}
		if len(vars) > 0 {
			doc := fmt.Sprintf("the variables that the library has in section %s", quote.Text(sec.Name))
			switch sec.Kind {
			case bpfobj.Rodata:
				doc += ". Set them before Load: after it the memory is read-only, and a write is a fault that ends the process"
			case bpfobj.Arena:
				doc = "the variables that the library has in the object's arena. Load moves them there, and makes the pointers point to them"
			}
			add(sectionName(names, cName(sec)), sec.Name, doc, vars)
		}
	}
	if len(lib.Kconfig) > 0 {
		var vars []variable
		for _, v := range lib.Kconfig {
			note := ""
			if v.Weak {
				note = ", weak: zero where the kernel does not have it"
			}
			vars = append(vars, variable{name: v.Name, size: v.Size, typ: v.Type, note: note})
		}
		add(sectionName(names, kconfigSection), kconfigSection, "the Kconfig options that the library asks for, as the running kernel has them. They are zero before Load, and read-only after it: a write is a fault that ends the process", vars)
	}
	if len(lib.Externs) > 0 {
		var vars []variable
		for _, v := range lib.Externs {
			vars = append(vars, variable{name: v.Name, size: v.Size, typ: v.Type, weak: v.Weak})
		}
		add(gonames.Export(externSection), externSection, "the variables that the library uses and another file of the object defines. One that is const is read-only after Load: a write is a fault that ends the process", vars)
	}
	var errs []error
	for i := range s.groups {
		errs = append(errs, s.addPointers(&s.groups[i], variables[i])...)
	}
	s.addHandles()
	return errs
}

// addHandles names the handles on the variables. All are in one struct, where names of
// different sections may collide.
func (s *subskeleton) addHandles() {
	var c []string
	for _, g := range s.groups {
		s.handles = append(s.handles, g.vars...)
	}
	for _, v := range s.handles {
		c = append(c, v.c)
	}
	for i, goName := range gonames.Assign(c) {
		s.handles[i].goName = goName
	}
}

func (s *subskeleton) addPointers(g *group, vars []variable) []error {
	var errs []error
	var c []string
	for _, v := range vars {
		c = append(c, v.name)
	}
	goNames := gonames.AssignIn(g.c, c)
	for i, v := range vars {
		goName := goNames[i]
		typ, err := s.types.Variable(gotype.Variable{Name: v.name, Size: v.size, Type: v.typ}, g.goName+goName)
		if err != nil {
			errs = append(errs, withoutGoForm(err))
			continue
		}
		if typ == nil {
			continue
		}
		g.vars = append(g.vars, pointer{named{goName: goName, c: v.name}, typ, gotype.TypeNote(v.typ, typ) + v.note, v.weak})
	}
	return errs
}

// declarations returns the file's imports and types, not formatted yet.
func (s *subskeleton) declarations() []byte {
	var b []byte
	object := quote.Text(s.object)
	b = s.appendHeader(b, "subskeleton", "library", "It works inside of every object that the library is linked into. The object's skeleton owns all that is in here, loads, attaches and closes it.")
	b = s.appendImports(b, nil, s.hasVariables())
	b = appendContract(b)
	b = append(b, '\n')
	b = appendComment(b, "", fmt.Sprintf("%s is the BPF library %s in an object.", s.name("Subskeleton"), object))
	b = fmt.Appendf(b, "type %s struct {\n", s.name("Subskeleton"))
	b = s.appendParts(b)
	if s.hasVariables() {
		b = fmt.Appendf(b, "\tVars %s\n", s.name("Vars"))
	}
	b = append(b, '\n')
	for _, g := range s.groups {
		b = fmt.Appendf(b, "\t%s %s\n", g.goName, s.name(g.goName))
	}
	b = append(b, "}\n"...)
	doc := s.name("Maps") + " are the maps of the library."
	if len(s.sectionMaps) > 0 {
		doc = s.name("Maps") + " are the maps of the library, and those of the object that hold the data sections which the library has: nil where the object does not have the section."
	}
	b = s.appendMaps(b, doc)
	b = s.appendProgs(b, s.name("Progs")+" are the programs of the library, with the handles of the object's skeleton.")
	b = fmt.Appendf(b, `
// %s are the slots of the object's skeleton for what keeps each program of the
// library attached: what is in a slot is closed by the skeleton's Detach and Close.
`, s.name("Links"))
	b = s.appendLinks(b, "*link.Link")
	b = s.appendStructOps(b, s.name("StructOps")+" are the tables of the library, in the object's skeleton: what is set here is set there.")
	for _, g := range s.groups {
		b = append(b, '\n')
		b = appendComment(b, "", fmt.Sprintf("%s points to %s. A pointer is nil after Load when the kernel cannot map the section: Vars reaches the variable all the same.", s.name(g.goName), g.doc))
		b = fmt.Appendf(b, "type %s struct {\n", s.name(g.goName))
		for _, v := range g.vars {
			note := v.note
			if v.weak {
				note += ", weak: nil where the object does not have it"
			}
			b = fmt.Appendf(b, "\t%s *%s // %s%s\n", v.goName, v.typ, quote.Text(v.c), note)
		}
		b = append(b, "}\n"...)
	}
	b = s.appendVars(b)
	b = s.appendMemory(b, "Subskeleton", nil, nil)
	return s.types.Append(b)
}

// appendVars appends the struct of the handles on variables.
func (s *subskeleton) appendVars(b []byte) []byte {
	if !s.hasVariables() {
		return b
	}
	b = appendComment(append(b, '\n'), "", s.name("Vars")+" get and set the variables above wherever they are, also where the kernel cannot map the section, and say which section that is: see [skeleton.Variable].")
	b = fmt.Appendf(b, "type %s struct {\n", s.name("Vars"))
	for _, v := range s.handles {
		note := v.note
		if v.weak {
			note += ", weak: Exists reports whether the object has it"
		}
		b = fmt.Appendf(b, "\t%s skeleton.Var[%s] // %s%s\n", v.goName, v.typ, quote.Text(v.c), note)
	}
	return append(b, "}\n"...)
}

func (s *subskeleton) appendOpen(b []byte) []byte {
	b = fmt.Appendf(b, `
// %[1]s returns the library's part of obj, a skeleton that is open or loaded. It
// fails with a [*skeleton.MismatchError], which lists everything that the object
// does not have as the library needs it.
func %[1]s(obj skeleton.Any) (*%[2]s, error) {
`, s.open(), s.name("Subskeleton"))
	b = s.appendPointers(b, nil)
	b = fmt.Appendf(b, `	err := skelimpl.OpenLibrary(obj, skelimpl.LibraryDesc{
		Name:    %q,
		Library: %s,
`, s.object, s.private("library"))
	b = s.appendMapDescs(b)
	if len(s.sectionMaps) > 0 {
		b = append(b, "\t\tSections: []skelimpl.LibrarySection{\n"...)
		for _, m := range s.sectionMaps {
			b = fmt.Appendf(b, "\t\t\t{Name: %q, Handle: &s.Maps.%s},\n", m.c, m.goName)
		}
		b = append(b, "\t\t},\n"...)
	}
	if len(s.progs) > 0 {
		b = append(b, "\t\tProgs: []skelimpl.LibraryProg{\n"...)
		for _, p := range s.progs {
			b = fmt.Appendf(b, "\t\t\t{Name: %q, Section: %q, Handle: %s, Link: &s.Links.%s},\n", p.c, p.section, p.handleField(), p.goName)
		}
		b = append(b, "\t\t},\n"...)
	}
	if len(s.structOps) > 0 {
		b = append(b, "\t\tStructOps: []skelimpl.LibraryStructOps{\n"...)
		for _, m := range s.structOps {
			b = fmt.Appendf(b, "\t\t\t{Name: %q, Handle: &s.Maps.%s, Link: &s.Links.%s, Field: %s},\n", m.c, m.mapName, m.goName, fieldDesc("StructOps."+m.goName, m.goType))
		}
		b = append(b, "\t\t},\n"...)
	}
	if s.hasVariables() {
		b = append(b, "\t\tVars: []skelimpl.Var{\n"...)
		handles := s.handles
		for _, g := range s.groups {
			for _, v := range g.vars {
				b = fmt.Appendf(b, "\t\t\t{Name: %[1]q, Field: %[2]s, Align: unsafe.Alignof(*s.%[3]s), Handle: &s.Vars.%[4]s.Variable},\n", v.c, pointerDesc(g.goName+"."+v.goName), g.goName+"."+v.goName, handles[0].goName)
				handles = handles[1:]
			}
		}
		b = append(b, "\t\t},\n"...)
	}
	b = append(b, `	})
	if err != nil {
		return nil, err
	}
`...)
	for _, m := range s.maps {
		if m.weak {
			field := "&s.Maps." + m.goName + ".UntypedMap"
			if m.handle.name == untyped.name {
				field = "s.Maps." + m.goName
			}
			b = fmt.Appendf(b, "\tif !skelimpl.HasMap(%s) {\n\t\ts.Maps.%s = nil\n\t}\n", field, m.goName)
		}
	}
	return append(b, "\treturn s, nil\n}\n"...)
}

func (s *subskeleton) hasVariables() bool {
	return slices.ContainsFunc(s.groups, func(g group) bool { return len(g.vars) > 0 })
}
