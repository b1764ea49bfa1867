package gazelle

import (
	"fmt"
	"slices"

	"github.com/bazel-contrib/bazel-gazelle/v2/label"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/index"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
)

// A link is the definitions that a final object has.
type link struct {
	// defined has the first definition of each name, preferably one that is not weak,
	// strong all of those that the linker takes only one of.
	defined map[string]index.Definition
	strong  map[string][]index.Definition
}

// add notes what a target defines. oneOf is set when only some of its files are
// compiled together.
func (k *link) add(of label.Label, scans []*bpfc.File, oneOf bool) {
	for _, scan := range scans {
		definitions := scan.Definitions()
		for i := range definitions {
			s := &definitions[i]
			first, duplicate := k.defined[s.Name]
			switch {
			case !duplicate || first.Symbol.Linkage == bpfc.Weak:
				k.defined[s.Name] = index.Definition{Of: of, Symbol: s}
			case oneOf && first.Of == of:
			case s.Linkage == bpfc.Weak || first.Symbol.Section == "license" || first.Symbol.Section == "version":
			default:
				if k.strong == nil {
					k.strong = make(map[string][]index.Definition)
				}
				if k.strong[s.Name] == nil {
					k.strong[s.Name] = []index.Definition{first}
				}
				k.strong[s.Name] = append(k.strong[s.Name], index.Definition{Of: of, Symbol: s})
			}
		}
	}
}

// check reports what the linker would refuse in a final object.
func (rs *resolution) check(u *plan.Unit, linked []label.Label) {
	st := rs.state(u)
	if u.Kind == plan.Bpf2go {
		// What it does not define, the program that loads it may.
		return
	}
	if len(linked) == 0 && len(st.missing) == 0 && len(u.Scans) == 1 {
		return
	}
	k := &rs.l.link
	if k.defined == nil {
		k.defined = make(map[string]index.Definition)
	}
	clear(k.defined)
	k.strong = nil
	k.add(u.Label(), u.Scans, u.Kind != plan.Skeleton && !expr.WrittenOut(u.Existing, "srcs"))
	complete := st.c.IndexLibraries
	missing := slices.Clip(st.missing)
	for _, at := range linked {
		lib := rs.l.index.Library(at)
		switch {
		case lib == nil:
			// Of another repository, or of headers only.
			complete = complete && at.Repo == ""
		case !lib.HeadersOnly:
			k.add(at, lib.Scans, lib.OneOf)
			missing = append(missing, lib.Externs()...)
		}
	}
	var twice []string
	for name, definitions := range k.strong {
		twice = append(twice, fmt.Sprintf("%s links %s more than once: %s. The linker refuses that: make one static or __weak",
			u.Label(), name, locations(definitions)))
	}
	slices.Sort(twice)
	for _, text := range twice {
		rs.l.reports.add(st.bc.ambiguous, "", text)
	}
	if !complete {
		return
	}
	for _, s := range missing {
		if _, is := k.defined[s.Name]; !is && s.Linkage != bpfc.Weak && !s.Maybe && len(rs.l.index.Definitions(s.Name, label.NoLabel)) < 2 {
			rs.missingSymbol(u, st, s)
		}
	}
}

// missingSymbol reports a symbol that nothing defines.
func (rs *resolution) missingSymbol(u *plan.Unit, st *state, s *bpfc.Symbol) {
	if d, err := rs.l.index.FinalDefinition(s.Name); err == nil {
		rs.l.reports.add(st.bc.unresolved, location(s.UsedAt), fmt.Sprintf("%s, which %s needs, is defined only in a final object, which nothing can link: %s. Move it to a library",
			s.Name, u.Label(), locations([]index.Definition{d})))
		return
	}
	hint := ""
	if st.c.IndexLazy {
		hint = " in the directories that -index=lazy looks into (name more with # gazelle:bpf_search)"
	}
	rs.l.reports.add(st.bc.unresolved, location(s.UsedAt), fmt.Sprintf("%s, which %s needs, is declared extern and no bpf_library defines it%s. If the kernel has it, declare it __ksym",
		s.Name, u.Label(), hint))
}

// ambiguousSymbol reports a symbol that several libraries define.
func (rs *resolution) ambiguousSymbol(bc *bpfConfig, s *bpfc.Symbol, definitions []index.Definition) {
	rs.l.reports.add(bc.ambiguous, location(s.UsedAt), fmt.Sprintf("%s is defined by several libraries: %s. Include the header of one, or choose one: # gazelle:resolve bpf %s LABEL",
		s.Name, locations(definitions), s.Name))
}
