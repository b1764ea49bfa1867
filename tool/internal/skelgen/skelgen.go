// Package skelgen writes the Go file of a skeleton or a subskeleton: it puts the model of an
// object (package bpfobj) and the Go types of its variables (package gotype)
// into the shape that package runtime/skeleton works with.
//
// The file is thin on purpose. It has the names and types of one object, and a
// description of it for the runtime, which does all the work; what is the same
// for every object belongs there.
package skelgen

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"go/build/constraint"
	"go/format"
	"go/token"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
	"github.com/rules-bpf/rules_bpf/internal/goname"
	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
)

// The names of the API that every skeleton has or may get. No type of C has one of
// them, present or not, so that a type keeps its name when the object gets its first
// variable in .data.
var (
	apiNames     = goname.API
	sectionNames = goname.Sections
	// plainSections are what these are called in C.
	plainSections = []string{".data", ".rodata", ".bss", kconfigSection, "arena", externSection}
)

// Options are what the user chooses.
type Options struct {
	// Package is the name of the Go package.
	Package string
	// Prefix begins the names of all that the file declares, for several objects in one
	// package: with prefix bpf, Skeleton is bpfSkeleton and Open is openBpf. Names are
	// exported when it begins with a capital letter. Empty: the package is the object's
	// alone.
	Prefix string
	// Command is how the first line calls the generator, and Sources is of what it says
	// that the file is generated. Empty: it is the command that is called like what it
	// writes, and the object.
	Command, Sources string
	// Constraint is the expression of the file's //go:build line, nil for none.
	Constraint constraint.Expr
	// Types are the C types to declare besides those of maps and variables, by
	// their names without struct, union or enum.
	Types []string
	// Subskeletons are those of the libraries in the object, for a skeleton to open.
	Subskeletons []Sub
	// TypesFrom is the package of types that are shared with other objects, nil for none.
	TypesFrom *TypesFrom
}

// Skeleton returns the Go file for the object, gofmt-clean. img is the object's image,
// which the file carries.
func Skeleton(obj *bpfobj.Object, img *imagegen.Image, opts Options) ([]byte, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	s, err := newSkeleton(obj, img, opts)
	if err != nil {
		return nil, err
	}
	encoded, err := img.Encode()
	if err != nil {
		return nil, err
	}
	doc := fmt.Sprintf("%s is the image of %s: see docs/architecture.md of rules_bpf.", s.private("object"), quote.Text(obj.Name))
	return s.source(doc, encoded)
}

// source returns the Go file, with what it carries and the comment on that.
func (s *skeleton) source(doc string, encoded []byte) ([]byte, error) {
	src, err := gofmt(s.declarations())
	if err != nil {
		return nil, err
	}
	// The rest is in gofmt's form as it is written. It has nothing to align, and
	// most of the lines: formatting them would take most of the time.
	src = s.appendAsserts(src)
	src = s.appendOpen(src)
	return appendBytes(src, doc, s.private("object"), encoded), nil
}

func gofmt(src []byte) ([]byte, error) {
	out, err := format.Source(src)
	if err != nil {
		return nil, fmt.Errorf("the generated code is not Go, which is a defect of bpfgen: %w", err)
	}
	return out, nil
}

// CheckPackage reports whether a Go package can have the name.
func CheckPackage(pkg string) error {
	if !token.IsIdentifier(pkg) || pkg == "_" {
		return fmt.Errorf("%q: is not a name for a Go package: use letters, digits and underscores, starting with a letter, and no Go keyword", pkg)
	}
	return nil
}

// generator is what the file of a skeleton and that of a subskeleton are both
// written from: C names with their Go names.
type generator struct {
	opts   Options
	object string
	maps   []mapField
	// sectionMaps are those of the data sections, where they are described apart from maps.
	sectionMaps []mapField
	progs       []prog
	structOps   []structOps
	types       *gotype.Decls
	// variants are the names of the variants, where the object has some.
	variants []string
}

func newGenerator(obj *bpfobj.Object, opts Options, names *gonames.Scope) generator {
	g := generator{opts: opts, object: obj.Name, types: gotype.NewDecls(names)}
	g.types.Prefix = opts.Prefix
	g.types.BigEndian = obj.ByteOrder == binary.BigEndian
	if from := opts.TypesFrom; from != nil {
		g.types.Import(from.alias(), from.Names)
	}
	return g
}

// nameHandles names the programs, the maps and the struct_ops tables. A program has one
// name in the structs Progs and Links, and a table in StructOps and Links; tables are
// fields of Maps too, with sections, the data sections that are maps.
func (g *generator) nameHandles(programs []bpfobj.Program, maps []bpfobj.Map, tables []bpfobj.StructOps, sections []string) {
	var c []string
	for _, p := range programs {
		c = append(c, p.Name)
	}
	for _, t := range tables {
		c = append(c, t.Name)
	}
	goNames := gonames.Assign(c)
	for i, p := range programs {
		handle, note := programHandle(p.Section)
		g.progs = append(g.progs, prog{named{goName: goNames[i], c: p.Name}, p.Section, handle, note})
	}
	goNames = goNames[len(programs):]
	c = nil
	for _, m := range maps {
		c = append(c, m.Name)
	}
	for _, t := range tables {
		c = append(c, t.Name)
	}
	// The plain sections have their names always, as their structs do.
	var others []string
	for _, sec := range sections {
		if !slices.Contains(plainSections, sec) {
			others = append(others, sec)
		}
	}
	mapNames := gonames.Assign(slices.Concat(c, others), sectionNames...)
	for i, m := range maps {
		g.maps = append(g.maps, mapField{named: named{goName: mapNames[i], c: m.Name}})
	}
	for i, t := range tables {
		g.structOps = append(g.structOps, structOps{named: named{goName: goNames[i], c: t.Name}, mapName: mapNames[len(maps)+i], table: t})
	}
	mapNames = mapNames[len(c):]
	for _, sec := range sections {
		goName := gonames.Export(sec)
		if !slices.Contains(plainSections, sec) {
			goName, mapNames = mapNames[0], mapNames[1:]
		}
		g.maps = append(g.maps, mapField{named: named{goName: goName, c: sec}, handle: untyped})
	}
}

// skeleton is what the file of a skeleton is written from.
type skeleton struct {
	generator
	image    *image.Object
	sections []section
	kconfig  *section
	subs     []subField
	// arena is the map that section .addr_space.1 is in, empty when there is none.
	arena string
}

type named struct {
	goName, c string
	// in are the variants that have it, nil when all have.
	in variantSet
}

type prog struct {
	named
	section string
	// handle is the type of the handle, one of package skeleton's, and note is what the
	// comment says of the section.
	handle, note string
}

type section struct {
	named
	kind bpfobj.Kind
	// array is the C name of the variable with a field that is an array at the section's
	// end, empty when there is none.
	array string
	// vars are the variables of a section that differs between variants, with a pointer to
	// each. Others have a struct.
	vars []pointer
}

// apart reports whether the variables of the section have a pointer each.
func (s *section) apart() bool { return len(s.vars) > 0 }

func newSkeleton(obj *bpfobj.Object, img *imagegen.Image, opts Options) (*skeleton, error) {
	names := gonames.NewScope(slices.Concat(apiNames, sectionNames)...)
	var s *skeleton
	var err error
	names.Settle(func() { s, err = makeSkeleton(obj, img, opts, names) })
	return s, err
}

func makeSkeleton(obj *bpfobj.Object, img *imagegen.Image, opts Options, names *gonames.Scope) (*skeleton, error) {
	s := &skeleton{generator: newGenerator(obj, opts, names), image: img.Object, arena: obj.Arena}
	s.nameHandles(obj.Programs, obj.Maps, obj.StructOps, dataMaps(obj))
	errs := s.addSubskeletons(opts.Subskeletons)
	for _, err := range s.addSections(obj, names) {
		errs = append(errs, withoutGoForm(err))
	}
	errs = append(errs, s.addKconfig(obj)...)
	errs = append(errs, s.typeMaps(obj.Maps)...)
	errs = append(errs, s.typeStructOps()...)
	errs = append(errs, s.declareTypes(obj, opts.Types)...)
	return s, errors.Join(errs...)
}

// withoutGoForm adds to the error for a variable what can be done about it.
func withoutGoForm(err error) error {
	return fmt.Errorf("%w: change its type, or declare the variable static or __hidden, which keeps it out of the Go code", err)
}

// dataMaps returns the sections that the loader makes maps for.
func dataMaps(obj *bpfobj.Object) []string {
	var sections []string
	for _, sec := range obj.Sections {
		if sec.HasMap {
			sections = append(sections, sec.Name)
		}
	}
	if len(obj.Kconfig) > 0 {
		sections = append(sections, kconfigSection)
	}
	return sections
}

// addressNote is what the comment of a variable says of addresses in it.
func addressNote(v bpfobj.Variable) string {
	if !v.Addresses {
		return ""
	}
	return ", where C has addresses: they are offsets, which loaders leave as they are"
}

// cName is what the struct of a section is named after.
func cName(sec bpfobj.Section) string {
	if sec.Kind == bpfobj.Arena {
		return "arena"
	}
	return sec.Name
}

// sectionName takes the name of the struct of a section. The plain sections have theirs
// always, and no type of C can have it; what another section is called, a type of C can
// be called too.
func sectionName(names *gonames.Scope, c string) string {
	if goName := gonames.Export(c); slices.Contains(sectionNames, goName) && slices.Contains(plainSections, c) {
		return goName
	}
	return names.Name("section "+c, gonames.Export(c), gonames.Exact(c), "Section_"+gonames.Exact(c))
}

// lastArray returns the name of a section's last variable if it is an array and Go code sees
// it. A static one that follows, the runtime finds.
func lastArray(sec bpfobj.Section) string {
	if sec.Kind == bpfobj.Arena || len(sec.Variables) == 0 {
		return ""
	}
	last := slices.MaxFunc(sec.Variables, func(a, b bpfobj.Variable) int { return cmp.Compare(a.Offset, b.Offset) })
	_, isArray := ctype.Underlying(last.Type).(*btf.Array)
	if !isArray || last.Hidden {
		return ""
	}
	return last.Name
}

// addSections declares a struct for each data section that exposes a variable.
func (s *skeleton) addSections(obj *bpfobj.Object, names *gonames.Scope) []error {
	variables := make([][]bpfobj.Variable, len(obj.Sections))
	goNames := make([]string, len(obj.Sections))
	for i, sec := range obj.Sections {
		variables[i] = sec.Exposed()
		if len(variables[i]) > 0 {
			goNames[i] = sectionName(names, cName(sec))
			s.sections = append(s.sections, section{named: named{goName: goNames[i], c: sec.Name}, kind: sec.Kind, array: lastArray(sec)})
		}
	}
	if len(obj.Kconfig) > 0 {
		s.kconfig = &section{named: named{goName: sectionName(names, kconfigSection), c: kconfigSection}}
	}
	var errs []error
	for i, sec := range obj.Sections {
		if goNames[i] == "" {
			continue
		}
		errs = append(errs, s.types.Section(s.name(goNames[i]), sec.Name, sectionDoc(sec.Name, sec.Size), sec.Size, typedVariables(variables[i]))...)
	}
	return errs
}

// sectionDoc is what the comment says of the struct of a section.
func sectionDoc(name string, size uint64) string {
	return fmt.Sprintf("section %s: %d bytes", quote.Text(name), size)
}

// typedVariables returns variables as package gotype takes them.
func typedVariables(variables []bpfobj.Variable) []gotype.Variable {
	var vars []gotype.Variable
	for _, v := range variables {
		vars = append(vars, gotype.Variable{Name: v.Name, Offset: v.Offset, Size: v.Size, Type: v.Type, Note: addressNote(v)})
	}
	return vars
}
