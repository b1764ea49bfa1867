package skelgen

import (
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
)

// structOps is a struct_ops map: a field of the structs StructOps, Maps and Links.
type structOps struct {
	named
	// goType is the type of the table.
	goType string
	// mapName is the name of the field in Maps.
	mapName string
	table   bpfobj.StructOps
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
			c := quote.Text(m.table.Type.Name)
			var err error
			name, err = g.types.StructOps(m.table.Type, "struct "+c+", a table of programs and values for the kernel")
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w: change the struct, or leave the member out if the kernel's has it at the end", quote.Text(m.c), err))
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
	b = fmt.Appendf(b, "type %s struct {\n", g.name("StructOps"))
	for _, m := range g.structOps {
		b = fmt.Appendf(b, "\t%s *%s // %s, SEC(%q)%s\n", m.goName, m.goType, quote.Text(m.c), m.table.Section, g.onlyNote(m.in))
	}
	return append(b, "}\n"...)
}

// appendStructOpsDescs appends the descriptions of the tables for the runtime.
func (s *skeleton) appendStructOpsDescs(b []byte) []byte {
	if len(s.structOps) == 0 {
		return b
	}
	b = append(b, "\t\tStructOps: []skelimpl.StructOps{\n"...)
	for _, m := range s.structOps {
		b = fmt.Appendf(b, "\t\t\t{Name: %q, Handle: s.Maps.%s, Link: &s.Links.%s, Field: %s", m.c, m.mapName, m.goName, fieldDesc("StructOps."+m.goName, m.goType))
		if len(m.table.Funcs) > 0 {
			b = append(b, ", Funcs: []skelimpl.StructOpsFunc{\n"...)
			for _, f := range m.table.Funcs {
				b = fmt.Appendf(b, "\t\t\t\t{Name: %q, Offset: %d},\n", f.Name, f.Offset)
			}
			b = append(b, "\t\t\t}"...)
		}
		b = fmt.Appendf(b, "%s},\n", m.in.only("Maps."+m.mapName))
	}
	return append(b, "\t\t},\n"...)
}
