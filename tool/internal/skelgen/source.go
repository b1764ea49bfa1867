package skelgen

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
)

// declarations returns the file's imports and types, not formatted yet.
func (s *skeleton) declarations() []byte {
	var b []byte
	object := quote.Text(s.object)
	open := "Open"
	if len(s.variants) > 0 {
		open = "Open with a variant"
	}
	b = s.appendHeader(b, "skeleton", "object", "Sequence: "+open+", set variables and options, Load, Attach, Close. Package [skeleton] says what each does, and has the methods of all skeletons ([skeleton.Object]).")
	b = s.appendImports(b, s.subs, s.usesAddresses())
	b = appendContract(b)
	b = s.appendSkeleton(b, object)
	b = s.appendVariants(b)
	b = s.appendHandles(b)
	b = s.appendApart(b)
	b = s.appendMemory(b, "Skeleton", s.structOps, s.sections)
	return s.types.Append(b)
}

// appendMemory appends the struct of the memory of what typ, the type that Open returns,
// points to: one allocation has it all. tables are the struct_ops maps that are its own, and so
// are sections. It does not embed typ: the methods of the object that typ embeds would be compiled
// for it too, twice each.
func (g *generator) appendMemory(b []byte, typ string, tables []structOps, sections []section) []byte {
	b = append(b, '\n')
	b = appendComment(b, "", fmt.Sprintf("%s is a %s with what its fields point to.", g.private("memory"), g.name(typ)))
	b = fmt.Appendf(b, "type %s struct {\n\tskel %s\n", g.private("memory"), g.name(typ))
	if len(g.maps)+len(tables) > 0 {
		b = append(b, "\tmaps struct {\n"...)
		for _, m := range g.maps {
			b = fmt.Appendf(b, "\t\t%s skeleton.%s\n", m.goName, m.handle.name)
		}
		for _, m := range tables {
			b = fmt.Appendf(b, "\t\t%s skeleton.StructOpsMap\n", m.mapName)
		}
		b = append(b, "\t}\n"...)
	}
	typed := false
	for _, p := range g.progs {
		if p.handle == baseProgram {
			continue
		}
		if !typed {
			b = append(b, "\tprogs struct {\n"...)
			typed = true
		}
		b = fmt.Appendf(b, "\t\t%s skeleton.%s\n", p.goName, p.handle)
	}
	if typed {
		b = append(b, "\t}\n"...)
	}
	if len(tables) > 0 {
		b = append(b, "\tstructOps struct {\n"...)
		for _, m := range tables {
			b = fmt.Appendf(b, "\t\t%s %s\n", m.goName, m.goType)
		}
		b = append(b, "\t}\n"...)
	}
	apart := false
	for _, sec := range sections {
		if !sec.apart() {
			continue
		}
		if !apart {
			b = append(b, "\tsections struct {\n"...)
			apart = true
		}
		b = fmt.Appendf(b, "\t\t%s unsafe.Pointer\n", sec.goName)
	}
	if apart {
		b = append(b, "\t}\n"...)
	}
	return append(b, "}\n"...)
}

// appendPointers appends the statements that point the fields of s, what Open returns, at the
// memory that they are for.
func (g *generator) appendPointers(b []byte, tables []structOps) []byte {
	b = fmt.Appendf(b, "\tm := new(%s)\n\ts := &m.skel\n", g.private("memory"))
	for _, m := range g.maps {
		b = fmt.Appendf(b, "\ts.Maps.%[1]s = &m.maps.%[1]s\n", m.goName)
	}
	for _, m := range tables {
		b = fmt.Appendf(b, "\ts.Maps.%[1]s = &m.maps.%[1]s\n\ts.StructOps.%[2]s = &m.structOps.%[2]s\n", m.mapName, m.goName)
	}
	for _, p := range g.progs {
		if p.handle != baseProgram {
			b = fmt.Appendf(b, "\ts.Progs.%[1]s = &m.progs.%[1]s\n", p.goName)
		}
	}
	return b
}

// appendMapDescs appends the descriptions of the maps.
func (g *generator) appendMapDescs(b []byte) []byte {
	if len(g.maps) == 0 {
		return b
	}
	b = append(b, "\t\tMaps: []skelimpl.Map{\n"...)
	for _, m := range g.maps {
		if m.handle.name == untyped.name {
			b = fmt.Appendf(b, "\t\t\t{Name: %q, Handle: s.Maps.%s%s},\n", m.c, m.goName, m.in.only("Maps."+m.goName))
			continue
		}
		b = fmt.Appendf(b, "\t\t\t{Name: %q, Handle: &s.Maps.%s.UntypedMap", m.c, m.goName)
		if m.key|m.value != 0 {
			b = appendMapTypes(append(b, ", Types: skelimpl.MapTypes"...), m.mapTypes)
		}
		b = fmt.Appendf(b, "%s},\n", m.in.only("Maps."+m.goName))
	}
	return append(b, "\t\t},\n"...)
}

// appendParts appends the fields that a skeleton and a subskeleton both have.
func (g *generator) appendParts(b []byte) []byte {
	for _, name := range []string{"Maps", "Progs", "Links", "StructOps"} {
		if name != "StructOps" || len(g.structOps) > 0 {
			b = fmt.Appendf(b, "\t%s %s\n", name, g.name(name))
		}
	}
	return b
}

// handleField is where the runtime puts the handle on a program.
func (p prog) handleField() string {
	if p.handle != baseProgram {
		return "&s.Progs." + p.goName + ".BaseProgram"
	}
	return "&s.Progs." + p.goName
}

// fieldDesc describes the field of s with the type typ.
func fieldDesc(name, typ string) string {
	return fmt.Sprintf("skelimpl.Field{Pointer: unsafe.Pointer(&s.%s), Size: unsafe.Sizeof(%s{})}", name, typ)
}

// appendHeader appends the package clause, with the comments before it. command is
// that of bpfgen, what is what it was given, and usage says how the package is used.
func (g *generator) appendHeader(b []byte, command, what, usage string) []byte {
	object := quote.Text(g.object)
	b = fmt.Appendf(b, "// Code generated by bpfgen %s from %s. DO NOT EDIT.\n\n", cmp.Or(g.opts.Command, command), cmp.Or(quote.Text(g.opts.Sources), object))
	if g.opts.Constraint != nil {
		b = fmt.Appendf(b, "//go:build %s\n\n", g.opts.Constraint)
	}
	if g.opts.Prefix != "" {
		// The package has other files, one of which may say what it is.
		return fmt.Appendf(b, "package %s\n\n", g.opts.Package)
	}
	b = appendComment(b, "", fmt.Sprintf("Package %s is the %s of the BPF %s %s.", g.opts.Package, command, what, object))
	b = append(b, "//\n"...)
	b = appendComment(b, "", usage)
	if len(g.variants) > 0 {
		b = append(b, "//\n"...)
		b = appendComment(b, "", "What is not the same in all variants has a Go name for each of its forms, which ends in the name of the first variant that has the form, and is nil in those that do not have it.")
	}
	return fmt.Appendf(b, `//
// Go names are made of the C names that stand behind them: min_duration_ns is
// MinDurationNs. Where two C names would be one in Go, or one a name that is here
// already, each is C_ and the C name: C_max_len and C_maxLen.
package %s

`, g.opts.Package)
}

func appendContract(b []byte) []byte {
	return fmt.Appendf(b, `
// These lines do not compile when this file and the runtime that it is built
// with do not fit together: generate the file again, or update the runtime.
const (
	_ = skelimpl.EnforceVersion(%[1]d - skelimpl.Version)
	_ = skelimpl.EnforceVersion(skelimpl.Version - %[1]d)
)
`, image.Version)
}

func (g *generator) appendAsserts(b []byte) []byte {
	if !g.types.HasStructs() && !g.types.Imports() {
		return b
	}
	b = append(b, "\n// The layout is that of the C compiler, or this does not compile.\nvar (\n"...)
	b = g.types.AppendAsserts(b)
	return append(b, ")\n"...)
}

func (g *generator) appendImports(b []byte, subs []subField, addresses bool) []byte {
	b = append(b, "import (\n"...)
	if g.types.HasStructs() {
		b = append(b, "\t\"structs\"\n"...)
		addresses = true
	}
	addresses = addresses || g.types.Imports()
	if addresses {
		b = append(b, "\t\"unsafe\"\n\n"...)
	}
	for _, sub := range subs {
		b = fmt.Appendf(b, "\t%s %q\n", sub.alias, sub.importPath)
	}
	if g.types.Imports() {
		b = fmt.Appendf(b, "\t%s %q\n", g.opts.TypesFrom.alias(), g.opts.TypesFrom.ImportPath)
	}
	if len(g.progs) > 0 || len(g.structOps) > 0 {
		b = append(b, "\t\"github.com/cilium/ebpf/link\"\n"...)
	}
	return append(b, `	"github.com/rules-bpf/rules_bpf/runtime/skelimpl"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)
`...)
}

func (s *skeleton) appendSkeleton(b []byte, object string) []byte {
	b = append(b, '\n')
	b = appendComment(b, "", fmt.Sprintf("%s is the BPF object %s.", s.name("Skeleton"), object))
	b = fmt.Appendf(b, "type %s struct {\n\t*skeleton.Object\n\n", s.name("Skeleton"))
	b = s.appendParts(b)
	if len(s.subs) > 0 {
		b = fmt.Appendf(b, "\tSubskeletons %s\n", s.name("Subskeletons"))
	}
	for _, sec := range s.sections {
		if sec.apart() {
			b = fmt.Appendf(b, "\n\t%s %s\n", sec.goName, s.name(sec.goName))
			continue
		}
		doc := fmt.Sprintf("%s holds the variables of section %s. ", sec.goName, quote.Text(sec.c))
		switch sec.kind {
		case bpfobj.Arena:
			doc = fmt.Sprintf("%s holds the variables that lie in the arena %s. Load moves them there, and makes the field point to them: pointers taken before point to memory that programs do not see.", sec.goName, quote.Text(s.arena))
		case bpfobj.Rodata:
			doc += "Set them before Load: after it the memory is read-only, and a write is a fault that ends the process. "
			fallthrough
		default:
			doc += "The field is nil after Load when the kernel cannot map the section."
		}
		b = append(b, '\n')
		b = appendComment(b, "\t", doc)
		b = fmt.Appendf(b, "\t%s *%s\n", sec.goName, s.name(sec.goName))
	}
	if s.kconfig != nil {
		b = append(b, '\n')
		b = appendComment(b, "\t", fmt.Sprintf("%s holds the Kconfig options that the programs ask for, as the running kernel has them. They are zero before Load, and read-only after it: a write is a fault that ends the process. The field is nil after Load when the kernel cannot map the section.", s.kconfig.goName))
		b = fmt.Appendf(b, "\t%s *%s\n", s.kconfig.goName, s.name(s.kconfig.goName))
	}
	return append(b, "}\n"...)
}

// appendHandles appends the structs for maps, programs and links.
func (s *skeleton) appendHandles(b []byte) []byte {
	b = s.appendMaps(b, s.name("Maps")+" are the maps of the object, with those that hold its data sections.")
	b = s.appendProgs(b, s.name("Progs")+" are the programs of the object.")
	b = fmt.Appendf(b, `
// %s hold what keeps each program attached. Attach, and the first call of a
// handle's own method, fill a slot that is nil or whose link is closed. A link of
// your own in a slot is left alone by Attach, and closed by Detach and Close like
// the others. A program with several targets has further links, in the list that
// [skeleton.BaseProgram.Links] returns.
`, s.name("Links"))
	b = s.appendLinks(b, "link.Link")
	b = s.appendStructOps(b, s.name("StructOps")+" are the tables of programs and values that the kernel calls and reads.")
	return s.appendSubskeletons(b)
}

func (g *generator) appendMaps(b []byte, doc string) []byte {
	b = appendComment(append(b, '\n'), "", doc)
	b = fmt.Appendf(b, "type %s struct {\n", g.name("Maps"))
	for _, m := range slices.Concat(g.maps, g.sectionMaps) {
		b = fmt.Appendf(b, "\t%s *skeleton.%s // %s", m.goName, m.handle.name, quote.Text(m.c))
		if m.note != "" {
			b = append(append(b, ", "...), m.note...)
		}
		b = append(append(b, g.onlyNote(m.in)...), '\n')
	}
	for _, m := range g.structOps {
		b = fmt.Appendf(b, "\t%s *skeleton.StructOpsMap // %s, SEC(%q)%s\n", m.mapName, quote.Text(m.c), m.table.Section, g.onlyNote(m.in))
	}
	return append(b, "}\n"...)
}

func (g *generator) appendProgs(b []byte, doc string) []byte {
	b = appendComment(append(b, '\n'), "", doc)
	b = fmt.Appendf(b, "type %s struct {\n", g.name("Progs"))
	for _, p := range g.progs {
		b = fmt.Appendf(b, "\t%s *skeleton.%s // %s, SEC(%q)%s%s\n", p.goName, p.handle, quote.Text(p.c), p.section, p.note, g.onlyNote(p.in))
	}
	return append(b, "}\n"...)
}

// appendLinks appends the struct for the links, whose fields have the type slot.
func (g *generator) appendLinks(b []byte, slot string) []byte {
	b = fmt.Appendf(b, "type %s struct {\n", g.name("Links"))
	for _, p := range g.progs {
		b = fmt.Appendf(b, "\t%s %s // %s\n", p.goName, slot, quote.Text(p.c))
	}
	for _, m := range g.structOps {
		b = fmt.Appendf(b, "\t%s %s // %s\n", m.goName, slot, quote.Text(m.c))
	}
	return append(b, "}\n"...)
}

func (s *skeleton) appendOpen(b []byte) []byte {
	what, parameter, call := "object", "", "Open("
	if len(s.variants) > 0 {
		what, parameter, call = "variant", "v "+s.name("Variant"), "OpenVariant("+s.private("variants")+", int(v), "
	}
	b = fmt.Appendf(b, `
// %[1]s reads the %[2]s. Nothing is in the kernel until Load. Close the skeleton
// when it is no longer needed, whatever was done with it.
func %[1]s(%[3]s) (*%[4]s, error) {
`, s.open(), what, parameter, s.name("Skeleton"))
	b = s.appendPointers(b, s.structOps)
	b = fmt.Appendf(b, `	obj, err := skelimpl.%sskelimpl.Desc{
		Name:  %q,
		Image: %s,
`, call, s.object, s.private("object"))
	b = s.appendMapDescs(b)
	if len(s.progs) > 0 {
		b = append(b, "\t\tProgs: []skelimpl.Prog{\n"...)
		for _, p := range s.progs {
			b = fmt.Appendf(b, "\t\t\t{Name: %q, Handle: %s, Link: &s.Links.%s%s},\n", p.c, p.handleField(), p.goName, p.in.only("Progs."+p.goName))
		}
		b = append(b, "\t\t},\n"...)
	}
	b = s.appendStructOpsDescs(b)
	if sections := s.allSections(); len(sections) > 0 {
		b = append(b, "\t\tSections: []skelimpl.Section{\n"...)
		for _, sec := range sections {
			if sec.apart() {
				b = appendApartDesc(b, sec)
				continue
			}
			b = fmt.Appendf(b, "\t\t\t{Name: %q, Field: %s},\n", sec.c, fieldDesc(sec.goName, s.name(sec.goName)))
		}
		b = append(b, "\t\t},\n"...)
	}
	b = append(b, `	})
	if err != nil {
		return nil, err
	}
	s.Object = obj
`...)
	for _, sub := range s.subs {
		b = fmt.Appendf(b, "\tif s.Subskeletons.%s, err = %s.Open(obj); err != nil {\n\t\treturn nil, err\n\t}\n", sub.goName, sub.alias)
	}
	b = append(b, "\treturn s, nil\n}\n"...)
	for _, sec := range s.sections {
		b = s.appendResize(b, sec)
	}
	return b
}

// allSections returns the data sections, that of __kconfig variables among them.
func (s *skeleton) allSections() []section {
	if s.kconfig == nil {
		return s.sections
	}
	return append(slices.Clip(s.sections), *s.kconfig)
}

// appendResize appends the method that gives the array at a section's end more elements.
func (s *skeleton) appendResize(b []byte, sec section) []byte {
	name := "Resize" + sec.goName
	// A field of that name would hide it, and not compile.
	if sec.array == "" || slices.ContainsFunc(s.sections, func(other section) bool { return other.goName == name }) {
		return b
	}
	field, elem, ok := s.types.LastArray(s.name(sec.goName))
	if !ok {
		return b
	}
	b = append(b, '\n')
	b = appendComment(b, "", fmt.Sprintf("%s gives %s, the array that ends section %s, n elements before Load, and returns them. The section moves: take other pointers into it again. See [skeleton.Variable.ResizeArray].", name, field, quote.Text(sec.c)))
	return fmt.Appendf(b, `func (s *%[6]s) %[1]s(n int) ([]%[2]s, error) {
	v, _ := s.FindVariable(%[3]q)
	if err := v.ResizeArray(n); err != nil {
		return nil, err
	}
	return unsafe.Slice(&s.%[4]s.%[5]s[0], n), nil
}
`, name, elem, sec.array, sec.goName, field, s.name("Skeleton"))
}

// commentWidth is where lines of comments end.
const commentWidth = 80

// appendComment appends text, one paragraph, as lines of a comment.
func appendComment(b []byte, indent, text string) []byte {
	used := commentWidth
	for word := range strings.FieldsSeq(text) {
		if used+1+len(word) > commentWidth {
			if len(b) > 0 && b[len(b)-1] != '\n' {
				b = append(b, '\n')
			}
			b = append(b, indent+"//"...)
			used = 8*len(indent) + len("//")
		}
		b = append(append(b, ' '), word...)
		used += 1 + len(word)
	}
	return append(b, '\n')
}
