// Package skelgen writes the Go file of a skeleton or a subskeleton: it puts the model of an
// object (package bpfobj) and the Go types of its variables (package gotype)
// into the shape that package runtime/skeleton works with.
//
// The file is thin on purpose. It has the names and types of one object, and a
// description of it for the runtime, which does all the work; what is the same
// for every object belongs there.
package skelgen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"go/format"
	"go/token"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
	"github.com/rules-bpf/rules_bpf/tool/internal/normalise"
)

// contract is the version of the contract between generated code and
// runtime/skeleton that the code is written for. See version.go there.
const contract = 3

// The names of the API that every skeleton has or may get. All of them are taken
// before the first name of C, present or not, so that a type keeps its name when
// the object gets its first variable in .data.
var (
	apiNames     = []string{"Skeleton", "Maps", "Progs", "Links", "Open", "StructOps", "Subskeletons"}
	sectionNames = []string{"Data", "Rodata", "Bss", "Kconfig", "Arena"}
)

// Options are what the user chooses.
type Options struct {
	// Package is the name of the Go package.
	Package string
	// Types are the C types to declare besides those of maps and variables, by
	// their names without struct, union or enum.
	Types []string
	// Subskeletons are those of the libraries in the object, for a skeleton to open.
	Subskeletons []Sub
}

// Skeleton returns the Go file for the object, gofmt-clean. loaded is the object in
// the form that the loader takes, which the file carries.
func Skeleton(obj *bpfobj.Object, loaded *normalise.Object, opts Options) ([]byte, error) {
	if err := CheckPackage(opts.Package); err != nil {
		return nil, err
	}
	s, err := newSkeleton(obj, loaded, opts)
	if err != nil {
		return nil, err
	}
	src, err := gofmt(s.declarations())
	if err != nil {
		return nil, err
	}
	// The rest is in gofmt's form as it is written. It has nothing to align, and
	// most of the lines: formatting them would take most of the time.
	src = s.appendAsserts(src)
	src = s.appendOpen(src)
	doc := fmt.Sprintf("object is %s in the form that the loader takes, without debug information.", gotype.Comment(obj.Name))
	return appendBytes(src, doc, "object", loaded.ELF), nil
}

func gofmt(src []byte) ([]byte, error) {
	out, err := format.Source(src)
	if err != nil {
		return nil, fmt.Errorf("the generated code is not Go, which is a defect of bpfgen: %w", err)
	}
	return out, nil
}

// CheckPackage says whether a Go package can have the name.
func CheckPackage(pkg string) error {
	if !token.IsIdentifier(pkg) || pkg == "_" {
		return fmt.Errorf("%q: is not a name for a Go package: use letters, digits and underscores, starting with a letter, and no Go keyword", pkg)
	}
	return nil
}

// generator is what the file of a skeleton and that of a subskeleton are both
// written from: C names with their Go names.
type generator struct {
	pkg       string
	object    string
	maps      []mapField
	progs     []prog
	structOps []structOps
	types     *gotype.Decls
}

func newGenerator(obj *bpfobj.Object, opts Options, names *gonames.Scope) generator {
	g := generator{pkg: opts.Package, object: obj.Name, types: gotype.NewDecls(names)}
	g.types.BigEndian = obj.ByteOrder == binary.BigEndian
	scope := gonames.NewScope()
	for _, p := range obj.Programs {
		g.progs = append(g.progs, prog{named{scope.Export(p.Name), p.Name}, p.Section})
	}
	return g
}

// skeleton is what the file of a skeleton is written from.
type skeleton struct {
	generator
	loaded   *normalise.Object
	sections []section
	kconfig  *kconfig
	subs     []subField
	// arena is the map that section .addr_space.1 is in, empty when there is none.
	arena string
}

type named struct {
	goName, c string
}

type prog struct {
	named
	section string
}

type section struct {
	named
	kind bpfobj.Kind
}

func newSkeleton(obj *bpfobj.Object, loaded *normalise.Object, opts Options) (*skeleton, error) {
	names := gonames.NewScope(apiNames...)
	s := &skeleton{generator: newGenerator(obj, opts, names), loaded: loaded, arena: obj.Arena}
	s.nameStructOps(obj.StructOps, s.nameAllMaps(obj))
	errs := s.addSubskeletons(opts.Subskeletons)
	for _, err := range s.addSections(obj, names) {
		errs = append(errs, withoutGoForm(err))
	}
	errs = append(errs, s.addKconfig(obj)...)
	s.typeMaps(obj.Maps)
	errs = append(errs, s.typeStructOps()...)
	errs = append(errs, s.declareTypes(obj, opts.Types)...)
	return s, errors.Join(errs...)
}

// withoutGoForm adds to the error for a variable what can be done about it.
func withoutGoForm(err error) error {
	return fmt.Errorf("%w: change its type, or declare the variable static or __hidden, which keeps it out of the Go code", err)
}

// nameAllMaps gives each map its field: the object's own maps, then those that the
// loader makes for data sections. It returns the names that are taken.
func (s *skeleton) nameAllMaps(obj *bpfobj.Object) *gonames.Scope {
	scope := s.nameMaps(obj.Maps)
	for _, sec := range obj.Sections {
		if sec.HasMap {
			s.maps = append(s.maps, mapField{named{scope.Export(sec.Name), sec.Name}, untyped, ""})
		}
	}
	if len(obj.Kconfig) > 0 {
		s.maps = append(s.maps, mapField{named{scope.Export(kconfigSection), kconfigSection}, untyped, ""})
	}
	return scope
}

// cName is what the struct of a section is named after.
func cName(sec bpfobj.Section) string {
	if sec.Kind == bpfobj.Arena {
		return "arena"
	}
	return sec.Name
}

// addSections declares a struct for each data section that exposes a variable.
// All sections have their names before any type of C does.
func (s *skeleton) addSections(obj *bpfobj.Object, names *gonames.Scope) []error {
	variables := make([][]bpfobj.Variable, len(obj.Sections))
	goNames := make([]string, len(obj.Sections))
	for i, sec := range obj.Sections {
		variables[i] = sec.Exposed()
		if len(variables[i]) > 0 {
			goNames[i] = names.Export(cName(sec))
			s.sections = append(s.sections, section{named{goNames[i], sec.Name}, sec.Kind})
		}
	}
	if len(obj.Kconfig) > 0 {
		s.kconfig = &kconfig{named: named{names.Export(kconfigSection), kconfigSection}}
	}
	names.Reserve(sectionNames...)
	var errs []error
	for i, sec := range obj.Sections {
		if goNames[i] == "" {
			continue
		}
		doc := fmt.Sprintf("section %s: %d bytes", gotype.Comment(sec.Name), sec.Size)
		var vars []gotype.Variable
		for _, v := range variables[i] {
			vars = append(vars, gotype.Variable{Name: v.Name, Offset: v.Offset, Size: v.Size, Type: v.Type})
		}
		errs = append(errs, s.types.Section(goNames[i], doc, sec.Size, vars)...)
	}
	return errs
}
