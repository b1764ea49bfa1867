package skelgen

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
	"github.com/rules-bpf/rules_bpf/tool/internal/libdesc"
)

// subContract is the contract that the code of subskeletons is written for.
const subContract = 4

// externSection is what the struct is named after that has the variables which the
// library declares and does not define.
const externSection = "externs"

var subAPINames = []string{"Subskeleton", "Maps", "Progs", "Links", "Open", "StructOps", "Externs"}

// subskeleton is what the file of a subskeleton is written from.
type subskeleton struct {
	generator
	groups []group
	desc   []byte
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
}

// Subskeleton returns the Go file for a library, which was read with
// [bpfobj.ReadLibrary], gofmt-clean. It does not carry the object: it works inside
// of those that the library is linked into.
func Subskeleton(lib *bpfobj.Object, opts Options) ([]byte, error) {
	if err := CheckPackage(opts.Package); err != nil {
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
	doc := "library says what " + gotype.Comment(lib.Name) + " needs of an object, as the runtime reads it."
	return appendBytes(src, doc, "library", s.desc), nil
}

func newSubskeleton(lib *bpfobj.Object, opts Options) (*subskeleton, error) {
	names := gonames.NewScope(subAPINames...)
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
	s.nameStructOps(tables, s.nameMaps(maps))
	errs := s.addGroups(lib, names)
	s.typeMaps(maps)
	for i, m := range maps {
		switch {
		case m.Extern && m.Weak:
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
	s.desc, err = libdesc.Library(lib).Marshal()
	return s, err
}

// variable is one that gets a pointer.
type variable struct {
	name string
	size uint64
	typ  btf.Type
	// note is what the comment says after the name.
	note string
}

// addGroups declares a struct for each section that exposes a variable, one for the
// kernel's settings and one for what the library does not define. All of them have
// their names before any type of C does.
func (s *subskeleton) addGroups(lib *bpfobj.Object, names *gonames.Scope) []error {
	var variables [][]variable
	add := func(goName, c, doc string, vars []variable) {
		s.groups = append(s.groups, group{named: named{goName, c}, doc: doc})
		variables = append(variables, vars)
	}
	for _, sec := range lib.Sections {
		var vars []variable
		for _, v := range sec.Exposed() {
			vars = append(vars, variable{v.Name, v.Size, v.Type, ""})
		}
		if len(vars) > 0 {
			doc := fmt.Sprintf("the variables that the library has in section %s", gotype.Comment(sec.Name))
			switch sec.Kind {
			case bpfobj.Rodata:
				doc += ". Set them before Load: after it the memory is read-only, and a write is a fault that ends the process"
			case bpfobj.Arena:
				doc = "the variables that the library has in the object's arena. Load moves them there, and makes the pointers point to them"
			}
			add(names.Export(cName(sec)), sec.Name, doc, vars)
		}
	}
	if len(lib.Kconfig) > 0 {
		var vars []variable
		var errs []error
		for _, v := range lib.Kconfig {
			if _, _, ok := kconfigKind(v.Type); !ok {
				errs = append(errs, kconfigError(v.Name))
			}
			note := ""
			if v.Weak {
				note = ", weak: zero where the kernel does not have it"
			}
			vars = append(vars, variable{v.Name, v.Size, v.Type, note})
		}
		if errs != nil {
			return errs
		}
		add(names.Export(kconfigSection), kconfigSection, "the settings of the running kernel that the library asks for. They are zero before Load, and read-only after it: a write is a fault that ends the process", vars)
	}
	if len(lib.Externs) > 0 {
		var vars []variable
		for _, v := range lib.Externs {
			note := ""
			if v.Weak {
				note = ", weak: nil where the object does not have it"
			}
			vars = append(vars, variable{v.Name, v.Size, v.Type, note})
		}
		// The name is taken already.
		add(gonames.Export(externSection), externSection, "the variables that the library uses and another file of the object defines. One that is const is read-only after Load: a write is a fault that ends the process", vars)
	}
	names.Reserve(sectionNames...)
	var errs []error
	for i := range s.groups {
		errs = append(errs, s.addPointers(&s.groups[i], variables[i])...)
	}
	return errs
}

func (s *subskeleton) addPointers(g *group, vars []variable) []error {
	var errs []error
	scope := gonames.NewScope()
	for _, v := range vars {
		goName := scope.Export(v.name)
		typ, err := s.types.Variable(gotype.Variable{Name: v.name, Size: v.size, Type: v.typ}, g.goName+goName)
		if err != nil {
			errs = append(errs, withoutGoForm(err))
			continue
		}
		if typ == nil {
			continue
		}
		g.vars = append(g.vars, pointer{named{goName, v.name}, typ, v.note})
	}
	return errs
}

// declarations returns the file's imports and types, not formatted yet.
func (s *subskeleton) declarations() []byte {
	var b []byte
	object := gotype.Comment(s.object)
	b = s.appendHeader(b, "subskeleton", "library", "It works inside of every object that the library is linked into. The object's skeleton owns all that is in here, loads, attaches and closes it.")
	b = s.appendImports(b, nil)
	b = appendContract(b, subContract)
	b = append(b, '\n')
	b = appendComment(b, "", fmt.Sprintf("Subskeleton is the BPF library %s in an object.", object))
	b = append(b, `type Subskeleton struct {
	Maps Maps
	Progs Progs
	Links Links
`...)
	if len(s.structOps) > 0 {
		b = append(b, "\tStructOps StructOps\n"...)
	}
	b = append(b, '\n')
	for _, g := range s.groups {
		b = fmt.Appendf(b, "\t%[1]s %[1]s\n", g.goName)
	}
	b = append(b, "}\n"...)
	b = s.appendMaps(b, "Maps are the maps of the library.")
	b = s.appendProgs(b, "Progs are the programs of the library, with the handles of the object's skeleton.")
	b = append(b, `
// Links are the slots of the object's skeleton for what keeps each program of the
// library attached: what is in a slot is closed by the skeleton's Detach and Close.
`...)
	b = s.appendLinks(b, "*link.Link")
	b = s.appendStructOps(b, "StructOps are the tables of the library, in the object's skeleton: what is set here is set there.")
	for _, g := range s.groups {
		b = append(b, '\n')
		b = appendComment(b, "", fmt.Sprintf("%s points to %s. A pointer is nil after Load when the kernel cannot map the section.", g.goName, g.doc))
		b = fmt.Appendf(b, "type %s struct {\n", g.goName)
		for _, v := range g.vars {
			b = fmt.Appendf(b, "\t%s *%s // %s%s\n", v.goName, v.typ, gotype.Comment(v.c), v.note)
		}
		b = append(b, "}\n"...)
	}
	return s.types.Append(b)
}

func (s *subskeleton) appendOpen(b []byte) []byte {
	b = fmt.Appendf(b, `
// Open returns the library's part of obj, a skeleton that is open or loaded. It
// fails with a [*skeleton.MismatchError], which lists everything that the object
// does not have as the library needs it.
func Open(obj skeleton.Any) (*Subskeleton, error) {
	s := new(Subskeleton)
	err := skeleton.OpenLibrary(obj, skeleton.LibraryDesc{
		Name:    %q,
		Library: library,
`, s.object)
	if len(s.maps) > 0 {
		b = append(b, "\t\tMaps: []skeleton.MapDesc{\n"...)
		for _, m := range s.maps {
			b = fmt.Appendf(b, "\t\t\tskeleton.MapField(%q, &s.Maps.%s),\n", m.c, m.goName)
		}
		b = append(b, "\t\t},\n"...)
	}
	if len(s.progs) > 0 {
		b = append(b, "\t\tProgs: []skeleton.LibraryProgDesc{\n"...)
		for _, p := range s.progs {
			b = fmt.Appendf(b, "\t\t\tskeleton.LibraryProg(%q, %q, &s.Progs.%[3]s, &s.Links.%[3]s),\n", p.c, p.section, p.goName)
		}
		b = append(b, "\t\t},\n"...)
	}
	if len(s.structOps) > 0 {
		b = append(b, "\t\tStructOps: []skeleton.LibraryStructOpsDesc{\n"...)
		for _, m := range s.structOps {
			b = fmt.Appendf(b, "\t\t\tskeleton.LibraryStructOps(%q, &s.StructOps.%s, &s.Maps.%s, &s.Links.%s),\n", m.c, m.goName, m.mapName, m.linkName)
		}
		b = append(b, "\t\t},\n"...)
	}
	first := true
	for _, g := range s.groups {
		for _, v := range g.vars {
			if first {
				b = append(b, "\t\tVars: []skeleton.VarDesc{\n"...)
				first = false
			}
			b = fmt.Appendf(b, "\t\t\tskeleton.Variable(%q, &s.%s.%s),\n", v.c, g.goName, v.goName)
		}
	}
	if !first {
		b = append(b, "\t\t},\n"...)
	}
	return append(b, `	})
	if err != nil {
		return nil, err
	}
	return s, nil
}
`...)
}
