package skelgen

import (
	"errors"
	"fmt"
	"go/token"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/goname"
	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
)

// Variant is one of several objects that are compiled from the same sources, for one Go
// package.
type Variant struct {
	// Name is what users call it: see CheckVariant.
	Name string
	// File is what errors call the object.
	File   string
	Object *bpfobj.Object
	Image  *imagegen.Image
}

// CheckVariant reports whether a variant can have the name: it is an identifier, of which
// Go names are made as of names in C.
func CheckVariant(name string) error {
	if !token.IsIdentifier(name) || name == "_" {
		return fmt.Errorf("variant %q: is not a name from which Go names can be made: use letters, digits and underscores, starting with a letter, and no Go keyword", name)
	}
	return nil
}

// checkVariants reports what is wrong with the variants together.
func checkVariants(variants []Variant) error {
	if len(variants) == 0 {
		return errors.New("no variant is given: name one, or make a package without variants")
	}
	taken := make(map[string]string)
	for _, name := range slices.Concat(apiNames, variantNames, sectionNames) {
		taken[name] = "the name of a part of the package"
	}
	for _, v := range variants {
		if err := CheckVariant(v.Name); err != nil {
			return err
		}
		goName := gonames.Export(v.Name)
		if other, ok := taken[goName]; ok {
			return fmt.Errorf("variant %s: is %s in Go, which is %s too: give it another name", v.Name, goName, other)
		}
		taken[goName] = "variant " + v.Name
		if v.Object.ByteOrder != variants[0].Object.ByteOrder {
			return inVariant(v, fmt.Errorf("has another byte order than variant %s: compile both for one machine", variants[0].Name))
		}
	}
	return nil
}

// variantNames are the names of the API that packages with variants have besides.
var variantNames = goname.Variants

// Variants returns the Go file for an object of which there are several variants,
// gofmt-clean. What all of them have in common is there once; what differs has a field for
// each of its Go types, which is nil where a variant has another or none.
func Variants(variants []Variant, opts Options) ([]byte, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	if err := checkVariants(variants); err != nil {
		return nil, err
	}
	reserved := slices.Concat(apiNames, variantNames, sectionNames, exported(variants))
	var known knowledge
	for range 2 {
		// What differs is known when enums have all their constants.
		s, err := mergeVariants(variants, opts, gonames.NewScope(reserved...), known)
		if err != nil {
			return nil, err
		}
		known = knowledge{s.types, s.types.Differing()}
	}
	var s *skeleton
	var err error
	names := gonames.NewScope(reserved...)
	names.Settle(func() { s, err = mergeVariants(variants, opts, names, known) })
	if err != nil {
		return nil, err
	}
	images := make([][]byte, len(variants))
	for i, v := range variants {
		if images[i], err = v.Image.Encode(); err != nil {
			return nil, inVariant(v, err)
		}
	}
	doc := fmt.Sprintf("%s is the set of the images of all variants: see docs/architecture.md of rules_bpf.", s.private("object"))
	return s.source(doc, image.JoinVariants(images))
}

// exported returns the Go names of the variants.
func exported(variants []Variant) []string {
	var names []string
	for _, v := range variants {
		names = append(names, gonames.Export(v.Name))
	}
	return names
}

// inVariant puts the name of a variant before an error.
func inVariant(v Variant, err error) error {
	return fmt.Errorf("%s: variant %s: %w", v.File, v.Name, err)
}

// variantSet is the set of variants that have something, a bool for each variant.
type variantSet []bool

// all reports whether all variants are in the set.
func (in variantSet) all() bool { return !slices.Contains(in, false) }

// bits returns the set as the runtime reads it.
func (in variantSet) bits() []byte {
	bits := make([]byte, (len(in)+7)/8)
	for i, has := range in {
		if has {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return bits
}

// only returns the field Only of a description: which variants have the thing, and the field
// of s that points to it. It is empty when all variants have it.
func (in variantSet) only(field string) string {
	if in.all() {
		return ""
	}
	if field != "" {
		field = ", Field: unsafe.Pointer(&s." + field + ")"
	}
	b := []byte(", Only: skelimpl.Only{In: \"")
	for _, c := range in.bits() {
		b = appendEscaped(b, c)
	}
	return string(b) + "\"" + field + "}"
}

// onlyNote is the note in the comment of a field about the variants that have it.
func (g *generator) onlyNote(in variantSet) string {
	if in.all() {
		return ""
	}
	var have, lack []string
	for i, has := range in {
		if has {
			have = append(have, g.variants[i])
		} else {
			lack = append(lack, g.variants[i])
		}
	}
	// Long lists say little.
	const most = 6
	switch {
	case len(have) <= min(most, len(lack)):
		return ", in " + strings.Join(have, ", ") + " only"
	case len(lack) <= most:
		return ", nil in " + strings.Join(lack, ", ")
	}
	return fmt.Sprintf(", in %d of %d variants", len(have), len(in))
}

// element is what makes a field: a name in C and a Go type.
type element struct{ c, typ string }

// merged are the fields for one kind of elements, of all variants.
type merged struct {
	elements []element
	in       []variantSet
	// first is where the element is in the list of the first variant that has it.
	first []place
}

type place struct{ variant, index int }

// merge returns the fields for the elements of the variants, a list for each of them. Names are
// in the order of the first list, and what others add comes after what they have before it.
// The elements of one name are together, in the order of the variants.
func merge(lists [][]element) merged {
	var order []string
	byName := make(map[string]*merged)
	for v, list := range lists {
		next := 0
		for i, p := range list {
			m := byName[p.c]
			if m == nil {
				m = new(merged)
				byName[p.c] = m
				order = slices.Insert(order, next, p.c)
				next++
			} else {
				next = slices.Index(order, p.c) + 1
			}
			at := slices.Index(m.elements, p)
			if at < 0 {
				at = len(m.elements)
				m.elements = append(m.elements, p)
				m.in = append(m.in, make(variantSet, len(lists)))
				m.first = append(m.first, place{v, i})
			}
			m.in[at][v] = true
		}
	}
	var all merged
	for _, c := range order {
		m := byName[c]
		all.elements = append(all.elements, m.elements...)
		all.in = append(all.in, m.in...)
		all.first = append(all.first, m.first...)
	}
	return all
}

// fields returns what the fields are named after. Where a name in C has several fields, each
// ends in the name of a variant.
func (m *merged) fields(variants []string) []gonames.Field {
	count := make(map[string]int)
	for _, p := range m.elements {
		count[p.c]++
	}
	fields := make([]gonames.Field, len(m.elements))
	for i, p := range m.elements {
		fields[i].C = p.c
		if count[p.c] > 1 {
			fields[i].Variant = variants[m.first[i].variant]
		}
	}
	return fields
}

// variantParts is what one variant has.
type variantParts struct {
	generator
	sections []variantSection
}

// variantSection is a data section of a variant with variables that Go code sees.
type variantSection struct {
	name  string
	kind  bpfobj.Kind
	size  uint64
	array string
	vars  []gotype.Variable
	// types are those of the variables, nil for one without bytes.
	types []gotype.Type
}

// equal reports whether one struct is right for both.
func (s *variantSection) equal(other *variantSection) bool {
	return s.size == other.size && s.kind == other.kind && slices.EqualFunc(s.vars, other.vars, func(a, b gotype.Variable) bool {
		return a.Name == b.Name && a.Offset == b.Offset && a.Size == b.Size && a.Note == b.Note
	}) && slices.EqualFunc(s.types, other.types, func(a, b gotype.Type) bool {
		return (a == nil) == (b == nil) && (a == nil || a.String() == b.String())
	})
}

// knowledge is what is known of the types of variants that were declared before.
type knowledge struct {
	types     *gotype.Decls
	differing map[string]bool
}

func mergeVariants(variants []Variant, opts Options, names *gonames.Scope, known knowledge) (*skeleton, error) {
	first := variants[0]
	s := &skeleton{generator: newGenerator(first.Object, opts, names)}
	if known.types != nil {
		s.types.Grow(known.types)
	}
	var objects []string
	for _, v := range variants {
		s.variants = append(s.variants, v.Name)
		if !slices.Contains(objects, v.Object.Name) {
			objects = append(objects, v.Object.Name)
		}
		if s.arena == "" {
			s.arena = v.Object.Arena
		}
	}
	s.object = strings.Join(objects, ", ")
	errs := s.addSubskeletons(opts.Subskeletons)
	structNames := make(map[string]string)
	for _, v := range variants {
		for _, sec := range exposedSections(v) {
			if structNames[sec.name] == "" {
				structNames[sec.name] = sectionName(names, structName(sec))
			}
		}
	}
	missing := make(map[string]error)
	parts := make([]variantParts, len(variants))
	for i, v := range variants {
		s.types.Variant(gonames.Export(v.Name), known.differing)
		parts[i].generator = generator{opts: opts, object: v.Object.Name, types: s.types}
		for _, err := range parts[i].convert(v, structNames, missing) {
			errs = append(errs, inVariant(v, err))
		}
	}
	for _, name := range opts.Types {
		if err := missing[name]; err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	suffixes := exported(variants)
	s.mergeHandles(parts, suffixes)
	// What all variants have equally is declared as what the first has.
	s.types.Variant(suffixes[0], known.differing)
	return s, errors.Join(s.mergeSections(parts, structNames, suffixes)...)
}

// structName is what the struct of a section is named after.
func structName(sec variantSection) string {
	if sec.kind == bpfobj.Arena {
		return "arena"
	}
	return sec.name
}

// exposedSections returns the data sections of a variant, that of __kconfig variables last.
func exposedSections(v Variant) []variantSection {
	var sections []variantSection
	for _, sec := range v.Object.Sections {
		if vars := sec.Exposed(); len(vars) > 0 {
			sections = append(sections, variantSection{name: sec.Name, kind: sec.Kind, size: sec.Size, array: lastArray(sec), vars: typedVariables(vars)})
		}
	}
	if len(v.Object.Kconfig) > 0 {
		vars, size := kconfigVariables(v.Object, v.Image.Object)
		sections = append(sections, variantSection{name: kconfigSection, kind: bpfobj.Rodata, size: size, vars: vars})
	}
	return sections
}

// convert declares the types of a variant. A type that the user asks for and the variant does
// not have is in missing, unless a variant before has had it.
func (p *variantParts) convert(v Variant, sectionNames map[string]string, missing map[string]error) []error {
	p.nameHandles(v.Object.Programs, v.Object.Maps, v.Object.StructOps, dataMaps(v.Object))
	var errs []error
	p.sections = exposedSections(v)
	for i := range p.sections {
		sec := &p.sections[i]
		var c []string
		for _, v := range sec.vars {
			c = append(c, v.Name)
		}
		for j, goName := range gonames.AssignIn(sec.name, c) {
			typ, err := p.types.Variable(sec.vars[j], sectionNames[sec.name]+goName)
			if err != nil {
				errs = append(errs, withoutGoForm(err))
			}
			sec.types = append(sec.types, typ)
		}
	}
	errs = append(errs, p.typeMaps(v.Object.Maps)...)
	errs = append(errs, p.typeStructOps()...)
	var types []string
	for _, name := range p.opts.Types {
		_, err := v.Object.TypeByName(name)
		switch _, seen := missing[name]; {
		case err == nil:
			missing[name] = nil
			types = append(types, name)
		case !seen:
			missing[name] = fmt.Errorf("%s: %w", v.File, err)
		}
	}
	return append(errs, p.declareTypes(v.Object, types)...)
}

// mergeHandles makes the fields for maps, programs and tables.
func (s *skeleton) mergeHandles(parts []variantParts, suffixes []string) {
	maps := make([][]element, len(parts))
	progs := make([][]element, len(parts))
	tables := make([][]element, len(parts))
	for i := range parts {
		for _, m := range parts[i].maps {
			maps[i] = append(maps[i], element{m.c, m.handle.name})
		}
		for _, p := range parts[i].progs {
			progs[i] = append(progs[i], element{p.c, p.handle})
		}
		for _, t := range parts[i].structOps {
			tables[i] = append(tables[i], element{t.c, t.goType + " " + t.table.Section})
		}
	}
	mergedMaps, mergedProgs, mergedTables := merge(maps), merge(progs), merge(tables)

	// Programs and tables are in the struct Links, and maps and tables in the struct Maps.
	// Plain sections have their names always.
	both := merged{elements: slices.Concat(mergedProgs.elements, mergedTables.elements), first: slices.Concat(mergedProgs.first, mergedTables.first)}
	goNames := gonames.AssignFields("", both.fields(suffixes))
	for i, at := range mergedProgs.first {
		p := parts[at.variant].progs[at.index]
		p.goName, p.in = goNames[i], mergedProgs.in[i]
		p.note += otherSections(parts, p)
		s.progs = append(s.progs, p)
	}
	goNames = goNames[len(s.progs):]

	both = merged{}
	for i, p := range mergedMaps.elements {
		if !slices.Contains(plainSections, p.c) {
			both.elements, both.first = append(both.elements, p), append(both.first, mergedMaps.first[i])
		}
	}
	both.elements, both.first = append(both.elements, mergedTables.elements...), append(both.first, mergedTables.first...)
	mapNames := gonames.AssignFields("", both.fields(suffixes), sectionNames...)
	for i, at := range mergedMaps.first {
		m := parts[at.variant].maps[at.index]
		m.in, m.note = mergedMaps.in[i], notesOf(parts, mergedMaps.elements[i])
		if !slices.Contains(plainSections, m.c) {
			m.goName, mapNames = mapNames[0], mapNames[1:]
		}
		s.maps = append(s.maps, m)
	}
	for i, at := range mergedTables.first {
		t := parts[at.variant].structOps[at.index]
		t.goName, t.mapName, t.in = goNames[i], mapNames[i], mergedTables.in[i]
		s.structOps = append(s.structOps, t)
	}
}

// otherSections is the note in the comment of a program about the sections that it has in
// other variants.
func otherSections(parts []variantParts, p prog) string {
	note := ""
	seen := []string{p.section}
	for i := range parts {
		for _, other := range parts[i].progs {
			if other.c == p.c && other.handle == p.handle && !slices.Contains(seen, other.section) {
				seen = append(seen, other.section)
				note += fmt.Sprintf(" or SEC(%q)", other.section)
			}
		}
	}
	return note
}

// notesOf returns the notes for the comment of a map, of all variants.
func notesOf(parts []variantParts, p element) string {
	var notes []string
	for i := range parts {
		for _, m := range parts[i].maps {
			if m.c == p.c && m.handle.name == p.typ && !slices.Contains(notes, m.note) {
				notes = append(notes, m.note)
			}
		}
	}
	return strings.Join(notes, " or ")
}

// mergeSections makes the structs of the data sections.
func (s *skeleton) mergeSections(parts []variantParts, goNames map[string]string, suffixes []string) []error {
	lists := make([][]element, len(parts))
	for i := range parts {
		for _, sec := range parts[i].sections {
			lists[i] = append(lists[i], element{c: sec.name})
		}
	}
	m := merge(lists)
	var errs []error
	for i, p := range m.elements {
		sec := parts[m.first[i].variant].sections[m.first[i].index]
		out := section{named: named{goName: goNames[sec.name], c: sec.name, in: m.in[i]}, kind: sec.kind}
		same := m.in[i].all()
		vars := make([][]element, len(parts))
		all := make([]*variantSection, len(parts))
		for v := range parts {
			j := slices.IndexFunc(parts[v].sections, func(other variantSection) bool { return other.name == p.c })
			if j < 0 {
				continue
			}
			all[v] = &parts[v].sections[j]
			same = same && sec.equal(all[v])
			for k, variable := range all[v].vars {
				if typ := all[v].types[k]; typ != nil {
					vars[v] = append(vars[v], element{variable.Name, typ.String()})
				}
			}
		}
		switch {
		case same && sec.name == kconfigSection:
			errs = append(errs, s.types.Section(s.name(out.goName), sec.name, kconfigDoc, sec.size, sec.vars)...)
			s.kconfig = &out
		case same:
			errs = append(errs, s.types.Section(s.name(out.goName), sec.name, sectionDoc(sec.name, sec.size), sec.size, sec.vars)...)
			out.array = sec.array
			s.sections = append(s.sections, out)
		default:
			out.vars = mergeVariables(sec.name, all, merge(vars), suffixes)
			if out.apart() {
				s.sections = append(s.sections, out)
			}
		}
	}
	return errs
}

// mergeVariables returns the fields for the variables of a section. all are the variants'
// sections, nil for one that does not have it.
func mergeVariables(name string, all []*variantSection, m merged, suffixes []string) []pointer {
	goNames := gonames.AssignFields(name, m.fields(suffixes))
	vars := make([]pointer, len(m.elements))
	for i, p := range m.elements {
		sec := all[m.first[i].variant]
		j := slices.IndexFunc(sec.vars, func(v gotype.Variable) bool { return v.Name == p.c })
		v, typ := sec.vars[j], sec.types[j]
		vars[i] = pointer{named: named{goName: goNames[i], c: p.c, in: m.in[i]}, typ: typ, note: gotype.TypeNote(v.Type, typ) + v.Note}
	}
	return vars
}

// usesAddresses reports whether the file needs package unsafe for what differs between
// variants.
func (s *skeleton) usesAddresses() bool {
	some := func(n named) bool { return !n.in.all() }
	return slices.ContainsFunc(s.sections, func(sec section) bool { return sec.apart() }) ||
		slices.ContainsFunc(s.maps, func(m mapField) bool { return some(m.named) }) ||
		slices.ContainsFunc(s.progs, func(p prog) bool { return some(p.named) }) ||
		slices.ContainsFunc(s.structOps, func(t structOps) bool { return some(t.named) })
}

// appendVariants appends the type of the variants, and what names them.
func (s *skeleton) appendVariants(b []byte) []byte {
	if len(s.variants) == 0 {
		return b
	}
	typ := s.name("Variant")
	b = append(b, '\n')
	b = appendComment(b, "", fmt.Sprintf("%s is one of the objects that are compiled from the same sources, and that the package has all of. Fields of the skeleton for what a variant does not have are nil.", typ))
	b = fmt.Appendf(b, "type %s int\n\n// The variants, in the order of the build.\nconst (\n", typ)
	for i, name := range s.variants {
		b = fmt.Appendf(b, "\t%s", s.name(gonames.Export(name)))
		if i == 0 {
			b = fmt.Appendf(b, " %s = iota", typ)
		}
		b = fmt.Appendf(b, " // %s\n", name)
	}
	return fmt.Appendf(b, `)

// String returns the name that the variant has in the build.
func (v %[1]s) String() string { return skelimpl.VariantName(%[2]s, int(v)) }

// %[3]s returns all variants, in the order of the build.
func %[3]s() []%[1]s {
	all := make([]%[1]s, %[4]d)
	for i := range all {
		all[i] = %[1]s(i)
	}
	return all
}

// %[2]s are the names of the variants.
const %[2]s = %[5]q
`, typ, s.private("variants"), s.name("Variants"), len(s.variants), strings.Join(s.variants, " "))
}

// appendApart appends the structs of the sections whose variables have a pointer each.
func (s *skeleton) appendApart(b []byte) []byte {
	for _, sec := range s.sections {
		if !sec.apart() {
			continue
		}
		doc := fmt.Sprintf("%s points to the variables of section %s. A pointer is nil where the variant does not have the variable, and all are after Load when the kernel cannot map the section: FindVariable reaches them all the same.", s.name(sec.goName), quote.Text(sec.c))
		switch {
		case sec.c == kconfigSection:
			doc = fmt.Sprintf("%s points to the Kconfig options that the programs ask for, as the running kernel has them. They are zero before Load, and read-only after it: a write is a fault that ends the process. A pointer is nil where the variant does not ask for the option, and all are after Load when the kernel cannot map the section.", s.name(sec.goName))
		case sec.kind == bpfobj.Rodata:
			doc += " Set them before Load: after it the memory is read-only, and a write is a fault that ends the process."
		case sec.kind == bpfobj.Arena:
			doc = fmt.Sprintf("%s points to the variables that lie in the arena %s. Load moves them there, and makes the pointers point to them. A pointer is nil where the variant does not have the variable.", s.name(sec.goName), quote.Text(s.arena))
		}
		b = appendComment(append(b, '\n'), "", doc)
		b = fmt.Appendf(b, "type %s struct {\n", s.name(sec.goName))
		for _, v := range sec.vars {
			b = fmt.Appendf(b, "\t%s *%s // %s%s%s\n", v.goName, v.typ, quote.Text(v.c), v.note, s.onlyNote(v.in))
		}
		b = append(b, "}\n"...)
	}
	return b
}

// appendApartDesc appends the description for the runtime of a section whose variables have a
// pointer each.
func appendApartDesc(b []byte, sec section) []byte {
	b = fmt.Appendf(b, "\t\t\t{Name: %q, Field: skelimpl.Field{Pointer: unsafe.Pointer(&m.sections.%s)}, Apart: true%s, Vars: []skelimpl.SectionVar{\n", sec.c, sec.goName, sec.in.only(""))
	for _, v := range sec.vars {
		field := sec.goName + "." + v.goName
		b = fmt.Appendf(b, "\t\t\t\t{Name: %q, Field: %s, Align: unsafe.Alignof(*s.%s)%s},\n", v.c, pointerDesc(field), field, v.in.only(""))
	}
	return append(b, "\t\t\t}},\n"...)
}

// pointerDesc describes a field of s that is a pointer.
func pointerDesc(field string) string {
	return fmt.Sprintf("skelimpl.Field{Pointer: unsafe.Pointer(&s.%[1]s), Size: unsafe.Sizeof(*s.%[1]s)}", field)
}
