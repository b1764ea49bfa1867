package bpfobj

import (
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
)

// loadedSections are the sections of variables that loaders read by their full names.
var loadedSections = []string{".maps", ".data", ".rodata", ".bss", "license", "version"}

// legacyMaps refuses a section of maps as they were declared before BTF.
func (r *reader) legacyMaps(index int) error {
	const remedy = "declares a map by its sizes, in a form that loaders dropped (libbpf 1.0): declare it as a struct of __uint and __type members in SEC(\".maps\"), as docs/maps.md shows"
	section := r.file.Sections[index].Name
	var errs []error
	for _, name := range r.variableNames(index) {
		what := remedy
		if r.isMap(r.declaredType(section, name)) {
			what = fmt.Sprintf("is in section %s, which no loader reads: did you mean SEC(\".maps\")?", quote.Name(section))
		}
		errs = append(errs, &Loss{section, fmt.Sprintf("%s: %s", quote.Name(name), what)})
	}
	if errs == nil {
		return &Loss{section, fmt.Sprintf("section %s: %s", quote.Name(section), remedy)}
	}
	return errors.Join(errs...)
}

// isMap reports whether a variable's type is the declaration of a map.
func (r *reader) isMap(t btf.Type) bool {
	decl, ok := btf.As[*btf.Struct](t)
	if !ok || !slices.ContainsFunc(decl.Members, func(m btf.Member) bool { return m.Name == "type" }) {
		return false
	}
	_, err := r.obj.mapDef(t)
	return err == nil
}

// variableNames returns the names of what is in a section, in order of addresses.
func (r *reader) variableNames(index int) []string {
	var symbols []elf.Symbol
	for _, sym := range r.bySection[index] {
		if isObject(sym) {
			symbols = append(symbols, sym)
		}
	}
	slices.SortStableFunc(symbols, func(a, b elf.Symbol) int { return int(int64(a.Value) - int64(b.Value)) })
	var names []string
	for _, sym := range symbols {
		names = append(names, sym.Name)
	}
	return names
}

// unreadSection checks a section that no loader reads. A variable in it, which has a symbol
// where a compiler's own data has none, was meant for a section that is read. Variables that
// programs use make loading fail, and a struct_ops table is never registered: both are
// refused. The rest may be for another reader of the file, and gets a warning.
func (r *reader) unreadSection(index int) error {
	sec := r.file.Sections[index]
	switch {
	case sec.Flags&elf.SHF_ALLOC == 0, sec.Size == 0, strings.HasPrefix(sec.Name, ".jumptables"):
		return nil
	case sec.Name == "license", sec.Name == "version":
		return nil
	}
	names := r.variableNames(index)
	referenced := r.referenced[index]
	if referenced && names == nil {
		return &Loss{sec.Name, fmt.Sprintf("section %s: holds data that programs use, and no loader reads it: give it a name like .data.x, .rodata.x or .bss.x", quote.Name(sec.Name))}
	}
	var errs []error
	for _, name := range names {
		typ := r.declaredType(sec.Name, name)
		table := r.isTable(sec.Name, typ)
		remedy := sectionRemedy(sec.Name, table)
		if r.isMap(typ) {
			remedy = "did you mean SEC(\".maps\")?"
		}
		loss := &Loss{sec.Name, fmt.Sprintf("%s: is in section %s, which no loader reads: %s", quote.Name(name), quote.Name(sec.Name), remedy)}
		if referenced || table {
			errs = append(errs, loss)
		} else {
			r.obj.Losses = append(r.obj.Losses, loss)
		}
	}
	return errors.Join(errs...)
}

// isTable reports whether a variable in a section that no loader reads is a struct_ops
// table: its struct has pointers to functions, of which some are programs.
func (r *reader) isTable(section string, typ btf.Type) bool {
	s, ok := btf.As[*btf.Struct](typ)
	if !ok {
		return false
	}
	return secdef.IsStructOps(nearestTable(section)) || r.pointsToPrograms(section) && slices.ContainsFunc(s.Members, func(m btf.Member) bool {
		p, ok := btf.As[*btf.Pointer](m.Type)
		if !ok {
			return false
		}
		_, ok = btf.As[*btf.FuncProto](p.Target)
		return ok
	})
}

// pointsToPrograms reports whether a section has the addresses of struct_ops programs.
func (r *reader) pointsToPrograms(section string) bool {
	for _, rel := range r.file.Sections {
		if rel.Type != elf.SHT_REL || int(rel.Info) >= len(r.file.Sections) || r.file.Sections[rel.Info].Name != section {
			continue
		}
		const size = 16 // Elf64_Rel
		for table := r.contents(rel); len(table) >= size; table = table[size:] {
			i := elf.R_SYM64(r.obj.ByteOrder.Uint64(table[8:]))
			if i == 0 || uint64(i) > uint64(len(r.symbols)) {
				continue
			}
			if at := int(r.symbols[i-1].Section); at < len(r.file.Sections) && IsStructOpsProgram(r.file.Sections[at].Name) {
				return true
			}
		}
	}
	return false
}

// IsStructOpsProgram reports whether programs of the section are for struct_ops tables.
func IsStructOpsProgram(section string) bool {
	kind, _, _ := strings.Cut(strings.TrimPrefix(section, "?"), "/")
	return kind == "struct_ops" || kind == "struct_ops.s"
}

// nearestTable returns the section of struct_ops tables that a misspelt name means,
// empty when it means none.
func nearestTable(section string) string {
	name, optional := strings.CutPrefix(section, "?")
	nearest := secdef.Closest(name, secdef.StructOps...)
	if nearest != "" && optional {
		return "?" + nearest
	}
	return nearest
}

// sectionRemedy returns where a variable belongs that is in a section no loader reads.
func sectionRemedy(section string, table bool) string {
	if table {
		nearest := nearestTable(section)
		if nearest == "" {
			nearest = secdef.StructOps[1]
		}
		return fmt.Sprintf("did you mean SEC(%q)? The kernel never gets a struct_ops table of another section", nearest)
	}
	if nearest := secdef.Closest(section, loadedSections...); nearest != "" {
		return fmt.Sprintf("did you mean SEC(%q)?", nearest)
	}
	section = strings.TrimLeft(section, ".")
	// data.x, rodta.x: what goes before the dot is meant for one that is read.
	kind, rest, dotted := strings.Cut(section, ".")
	if nearest := secdef.Closest("."+kind, ".data", ".rodata", ".bss"); dotted && nearest != "" {
		return fmt.Sprintf("did you mean SEC(%q)?", nearest+"."+rest)
	}
	return fmt.Sprintf("write SEC(%q), or SEC(%q) if programs only read it", ".data."+section, ".rodata."+section)
}

// checkStructOps refuses programs for struct_ops tables in an object without a table:
// nothing can ever call them. Those that no table has at first, Go code can put into one.
func (r *reader) checkStructOps() error {
	if r.library || len(r.obj.StructOps) > 0 {
		return nil
	}
	var errs []error
	for _, p := range r.obj.Programs {
		if IsStructOpsProgram(p.Section) && !strings.HasPrefix(p.Section, "?") {
			errs = append(errs, fmt.Errorf("%s: is a program for a struct_ops table, and the object has none: declare the table in SEC(\".struct_ops.link\"), or write SEC(%q) for a program that is not used yet", quote.Name(p.Name), "?"+p.Section))
		}
	}
	return errors.Join(errs...)
}
