package secdef

import "strings"

// Nearest returns the name of the section of a program or of struct_ops tables that a
// misspelt one most likely means, without a target, and with the "?" of the misspelt
// one. It is empty when none is near.
func Nearest(section string) string {
	name, optional := strings.CutPrefix(section, "?")
	// No form has upper case: "XDP" is near to one.
	name = strings.ToLower(name)
	var nearest closest
	consider := nearest.consider
	kind, _, hasTarget := strings.Cut(name, "/")
	for i := range forms {
		f := &forms[i]
		consider(f.Name(), name)
		if f.TakesTarget() {
			consider(f.Name(), kind)
		}
	}
	for _, table := range StructOps {
		consider(table, name)
	}
	if nearest.name == "" && hasTarget {
		for i := range forms {
			consider(forms[i].Name(), kind)
		}
	}
	best := nearest.name
	if best == "" {
		best = longestPrefix(name)
	}
	if best != "" && optional {
		best = "?" + best
	}
	return best
}

// Closest returns the one of the names that a misspelt one most likely means, empty when
// none is near.
func Closest(misspelt string, names ...string) string {
	var nearest closest
	for _, name := range names {
		nearest.consider(name, misspelt)
	}
	return nearest.name
}

// closest is the nearest one of the names that were considered.
type closest struct {
	name     string
	distance int
}

// consider looks at a name that may be meant by have.
func (c *closest) consider(name, have string) {
	d := editDistance(have, name)
	if shorter := min(len(name), len(have)); d > 1+shorter/4 || d >= shorter {
		return
	}
	// Of two that are as far, what the misspelt one begins with is meant, and otherwise
	// the longer one, which has more in common: "tracepoints" is no "tracepoint.s".
	begins, begun := strings.HasPrefix(have, name), strings.HasPrefix(have, c.name)
	if c.name == "" || d < c.distance || d == c.distance && (begins && !begun || begins == begun && len(name) > len(c.name)) {
		c.name, c.distance = name, d
	}
}

// longestPrefix returns the longest name of a form that a section's name goes on from
// with something else than a letter: "kprobe" of "kprobe:vfs_read".
func longestPrefix(section string) string {
	best := ""
	for i := range forms {
		name := forms[i].Name()
		rest, ok := strings.CutPrefix(section, name)
		if ok && len(name) > len(best) && rest != "" && !isLetter(rest[0]) {
			best = name
		}
	}
	return best
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// editDistance returns how many letters have to be left out, added, replaced or
// exchanged with the next one to make b of a.
func editDistance(a, b string) int {
	// rows[0] is for the present prefix of a, the others for those before it.
	var rows [3][]int
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		rows[0], rows[1], rows[2] = rows[2], rows[0], rows[1]
		now, last := rows[0], rows[1]
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], rows[2][j-2]+1)
			}
		}
	}
	return rows[0][len(b)]
}

// Legacy is a kind of section name that libbpf took until 1.0 and cilium/ebpf takes
// still: the name of a form that takes no target, and something of the author's own
// after it. Libbpf 1.0 and later refuse such programs.
type Legacy struct {
	// Form is what the section means today.
	Form *Form
	// Today is what to write in its place.
	Today string
}

// FindLegacy returns what the section of a program means that is of no form, when its
// name is one of the kind that loaders used to take by its prefix: that of a form
// without a target, followed by a number ("socket1"), by an underscore and a name
// ("tc_ingress", "xdp_entry") or by a slash and a name ("classifier/x"). What looks like
// a form that is misspelt, such as "tc/ingres", is none.
func FindLegacy(section string) (Legacy, bool) {
	section = strings.TrimPrefix(section, "?")
	if _, _, ok := Find(section); ok {
		return Legacy{}, false
	}
	var found *Form
	for i := range forms {
		f := &forms[i]
		if !f.TakesTarget() && f.legacy(section) && (found == nil || len(f.Pattern) > len(found.Pattern)) {
			found = f
		}
	}
	if found == nil || misspelt(section, found.Name()) {
		return Legacy{}, false
	}
	today := found.Name()
	if today == "classifier" {
		// The older name of the two, which libbpf itself calls deprecated.
		today = "tc"
	}
	return Legacy{Form: found, Today: today}, true
}

// legacy reports whether a section's name is the form's with a suffix of the author's
// own.
func (f *Form) legacy(section string) bool {
	rest, ok := strings.CutPrefix(section, f.Pattern)
	if !ok || rest == "" {
		return false
	}
	if strings.Trim(rest, "0123456789") == "" {
		return true
	}
	return (rest[0] == '_' || rest[0] == '/') && len(rest) > 1
}

// misspelt reports whether a section that begins with the name of a form is rather
// another form that begins so, misspelt.
func misspelt(section, base string) bool {
	for i := range forms {
		name := forms[i].Name()
		// The separator is part of what must be right: "tc_ingress" is not "tc/ingress".
		if len(name) > len(base)+1 && strings.HasPrefix(name, base) && name[len(base)] == section[len(base)] &&
			editDistance(section, name) <= 2 {
			return true
		}
	}
	return false
}
