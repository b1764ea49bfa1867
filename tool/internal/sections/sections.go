// Package sections checks the names of the sections that programs are in: for names that give
// a program no type, and for those that libbpf took until 1.0.
package sections

import (
	"fmt"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/tool/internal/glob"
)

// Policy is what the user allows besides the forms of the table.
type Policy struct {
	// Own are the names, as globs, of sections of the user's own: their programs have no
	// type until Go code sets one.
	Own []string
	// Legacy is true when names which loaders used to take by their prefix stand for the
	// form that they begin with.
	Legacy bool
}

// IsOwn reports whether a section is one of the user's own.
func (p Policy) IsOwn(section string) bool {
	return glob.MatchAny(p.Own, section) || glob.MatchAny(p.Own, strings.TrimPrefix(section, "?"))
}

// Check looks at a program of a section. It returns what is wrong with the section's name,
// and a warning about it, each as "program: what, and what to do", empty for none.
func (p Policy) Check(program, section string) (problem, warning string) {
	if _, _, ok := secdef.Find(section); ok || p.IsOwn(section) {
		return "", ""
	}
	name := quote.Name(program)
	optional := ""
	if strings.HasPrefix(section, "?") {
		optional = "?"
	}
	if legacy, ok := secdef.FindLegacy(section); ok {
		today := optional + legacy.Today
		if p.Legacy {
			return "", fmt.Sprintf("%s: SEC(%q) is taken for SEC(%q): write that, libbpf 1.0 and newer refuse the old name", name, section, today)
		}
		return fmt.Sprintf("%s: SEC(%q) is a name that libbpf 1.0 and newer refuse: write SEC(%q), or allow such names (-legacy-sections; in Bazel legacy_sections = True)", name, section, today), ""
	}
	const own = "if the section is one of your own, list it (-section %s; in Bazel sections = [%q]) and give the program its type with SetType before Load"
	nearest := secdef.Nearest(section)
	if secdef.IsStructOps(nearest) {
		// Those are for tables.
		nearest = optional + "struct_ops"
	}
	if nearest == "" {
		return fmt.Sprintf("%s: SEC(%q) is not a form of SEC() that a loader knows, so the program has no type: correct it as docs/attach.md lists them; "+own, name, section, quote.Name(section), section), ""
	}
	return fmt.Sprintf("%s: SEC(%q) is not a form of SEC() that a loader knows, so the program has no type: did you mean SEC(%q)? Otherwise, "+own, name, section, nearest, quote.Name(section), section), ""
}
