package skelgen

import (
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
)

// structOps is a struct_ops map: a field of the structs StructOps, Maps and Links.
type structOps struct {
	named
	// goType is the type of the table.
	goType string
	// mapName and linkName are the names of the fields in Maps and Links.
	mapName, linkName string
	table             bpfobj.StructOps
}

// nameStructOps gives each struct_ops map its fields, after the maps of other kinds
// and after the programs, whose names have their fields already.
func (g *generator) nameStructOps(all []bpfobj.StructOps, mapNames *gonames.Scope) {
	tables, links := gonames.NewScope(), gonames.NewScope()
	for _, p := range g.progs {
		links.Reserve(p.goName)
	}
	for _, table := range all {
		g.structOps = append(g.structOps, structOps{
			named:    named{tables.Export(table.Name), table.Name},
			mapName:  mapNames.Export(table.Name),
			linkName: links.Export(table.Name),
			table:    table,
		})
	}
}

// typeStructOps declares the types of the tables. It comes after the types of
// variables and maps.
func (g *generator) typeStructOps() []error {
	var errs []error
	types := make(map[*btf.Struct]string)
	for i := range g.structOps {
		m := &g.structOps[i]
		name, ok := types[m.table.Type]
		if !ok {
			c := gotype.Comment(m.table.Type.Name)
			var err error
			name, err = g.types.StructOps(m.table.Type, "struct "+c+", a table of programs and values for the kernel")
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w: change the struct, or leave the member out if the kernel's has it at the end", gotype.Comment(m.c), err))
				continue
			}
			types[m.table.Type] = name
		}
		m.goType = name
	}
	return errs
}

// appendStructOps appends the struct StructOps. The comment begins with doc.
func (g *generator) appendStructOps(b []byte, doc string) []byte {
	if len(g.structOps) == 0 {
		return b
	}
	b = appendComment(append(b, '\n'), "", doc+" Set their fields before Load, which makes the maps of them: a program that no table has any more is not loaded, and nil leaves a place empty.")
	b = append(b, "type StructOps struct {\n"...)
	for _, m := range g.structOps {
		b = fmt.Appendf(b, "\t%s *%s // %s, SEC(%q)\n", m.goName, m.goType, gotype.Comment(m.c), m.table.Section)
	}
	return append(b, "}\n"...)
}

// appendStructOpsDescs appends what the runtime is told of the tables.
func (s *skeleton) appendStructOpsDescs(b []byte) []byte {
	if len(s.structOps) == 0 {
		return b
	}
	b = append(b, "\t\tStructOps: []skeleton.StructOpsDesc{\n"...)
	for _, m := range s.structOps {
		b = fmt.Appendf(b, `			skeleton.StructOps(&s.StructOps.%s, skeleton.StructOpsMapDesc{
				Name: %q, Section: %q, Contents: %q,
				Map: &s.Maps.%s, Link: &s.Links.%s,
`, m.goName, m.c, m.table.Section, s.loaded.Section(m.table.Section), m.mapName, m.linkName)
		if len(m.table.Funcs) > 0 {
			b = append(b, "\t\t\t\tFuncs: []skeleton.StructOpsFunc{\n"...)
			for _, f := range m.table.Funcs {
				b = fmt.Appendf(b, "\t\t\t\t\t{Name: %q, Offset: %d", f.Name, f.Offset)
				if f.Program != "" {
					b = fmt.Appendf(b, ", Prog: %q", f.Program)
				}
				b = append(b, "},\n"...)
			}
			b = append(b, "\t\t\t\t},\n"...)
		}
		b = append(b, "\t\t\t}),\n"...)
	}
	return append(b, "\t\t},\n"...)
}
