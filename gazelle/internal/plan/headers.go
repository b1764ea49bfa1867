package plan

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/rule"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
)

// HasHeaders reports whether rules of a kind that is not of this language may be
// a dependency for their headers.
func HasHeaders(kind string) bool {
	switch kind {
	case Skeleton, Object, Library, Subskeleton, Bpf2go, Vmlinux:
		return false
	}
	return !strings.HasPrefix(kind, "go_") && (strings.HasSuffix(kind, "_library") || strings.HasSuffix(kind, "_headers"))
}

// findHeaderLibraries makes units of the libraries that have headers only.
func (p *Plan) findHeaderLibraries(d *Directory) {
	for _, of := range d.Rules {
		r := of.Rule
		if of.Kind != Library || r.Attr("hdrs") == nil || len(expr.AttrStrings(r, "srcs", d.globbed)) > 0 || r.Attr("srcs") != nil && !expr.WrittenOut(r, "srcs") {
			continue
		}
		u := &Unit{Kind: Library, Name: r.Name(), Rel: d.Rel, Existing: r}
		for _, h := range expr.AttrStrings(r, "hdrs", d.globbed) {
			if d.stays(h) {
				u.addHeader(strings.TrimPrefix(h, ":"))
			}
		}
		if p.adopt(d, u) {
			continue
		}
		if len(u.Hdrs) > 0 || !expr.WrittenOut(r, "hdrs") {
			p.headersOnly = append(p.headersOnly, u)
			continue
		}
		// All its headers are gone, and it may have sources now.
	}
}

// adopt makes a library of headers that of a source, when a directive says that what
// was only included is a library too. It reports whether it did.
func (p *Plan) adopt(d *Directory, headers *Unit) bool {
	for _, u := range p.Units {
		if u.Kind == Library && u.Existing == nil && d.Directed(u.Srcs[0]) == Library && headers.hdrs[u.Srcs[0]] {
			u.Existing = headers.Existing
			return true
		}
	}
	return false
}

// stays reports whether an entry of a rule's hdrs stays: a file of this package, or
// what another rule makes.
func (d *Directory) stays(entry string) bool {
	h := strings.TrimPrefix(entry, ":")
	if expr.IsLabel(h) || slices.Contains(d.Generated, h) || expr.HasRule(d.Build, h) {
		return true
	}
	if !d.IsFile(path.Join(d.Rel, h)) {
		return false
	}
	_, ok := d.inPackage(path.Join(d.Rel, h))
	return ok
}

// inPackage returns a file relative to the directory if it belongs to the
// directory's package: it is in the directory, or below it in one without a BUILD
// file.
func (d *Directory) inPackage(file string) (string, bool) {
	name, ok := paths.Under(d.Rel, file)
	if !ok || file == "" {
		return "", false
	}
	if strings.Contains(name, "/") && slices.Contains(d.Files, name) {
		return name, true
	}
	for dir := paths.Parent(file); dir != d.Rel && dir != ""; dir = paths.Parent(dir) {
		if d.IsPackage(dir) {
			return "", false
		}
	}
	return name, true
}

// An assignment decides which unit has which header of a directory.
//
// A header with the name of a library is its header. What one unit's files include
// is that unit's. What only final objects include, each of them lists, unless other
// packages include it too. All others are a library of headers: those that several
// units include with a library among them, those named .bpf.h that nothing in the
// directory includes, and all of a directory that has nothing else, once one of them
// is used. A library that has a header keeps it, and what a rule lists stays.
type assignment struct {
	p *Plan
	d *Directory

	// owners has the units that have a header for good.
	owners map[string][]*Unit
	// listed has the final objects whose rules have a header in hdrs.
	listed map[string][]*Unit
	// foreign has the headers of other languages' rules, and of rules that are left.
	foreign map[string]bool
	// includers has who includes a header of this package, order the headers as they
	// are met.
	includers map[string]map[string]bool
	order     []string
	bySource  map[string][]*Unit
	libraries []*Unit
	// common is the library of headers that new ones go to.
	common *Unit
}

func (p *Plan) assignHeaders(d *Directory) {
	a := &assignment{p: p, d: d}
	a.existing()
	a.meetHeaders()
	a.directed()
	a.named()
	a.decideAll()
	a.fill()
	p.headersOnly = slices.DeleteFunc(p.headersOnly, func(u *Unit) bool {
		return len(u.Hdrs) == 0 && expr.WrittenOut(u.Existing, "hdrs")
	})
	for _, u := range p.headersOnly {
		a.ownIncludes(u)
	}
	p.Units = append(p.Units, p.headersOnly...)
	for _, u := range p.Units {
		slices.Sort(u.Hdrs)
	}
}

func (a *assignment) own(header string, units ...*Unit) {
	if a.owners == nil {
		a.owners = make(map[string][]*Unit)
	}
	a.owners[header] = append(a.owners[header], units...)
	for _, u := range units {
		u.addHeader(header)
	}
}

// existing notes what the rules of the BUILD file have.
func (a *assignment) existing() {
	for _, u := range a.p.headersOnly {
		for _, h := range u.Hdrs {
			a.own(h, u)
		}
	}
	for _, u := range a.p.Units {
		if u.Existing == nil {
			continue
		}
		for _, h := range expr.AttrStrings(u.Existing, "hdrs", a.d.globbed) {
			if !a.d.stays(h) {
				continue
			}
			h = strings.TrimPrefix(h, ":")
			if u.Kind == Library || !expr.WrittenOut(u.Existing, "hdrs") {
				a.own(h, u)
				continue
			}
			u.addHeader(h)
			if a.listed == nil {
				a.listed = make(map[string][]*Unit)
			}
			a.listed[h] = append(a.listed[h], u)
		}
	}
	for _, r := range a.d.Rules {
		if !HasHeaders(r.Kind) && !a.p.left[r.Rule] || r.Rule.Attr("hdrs") == nil {
			continue
		}
		for _, h := range expr.AttrStrings(r.Rule, "hdrs", a.d.globbed) {
			if a.foreign == nil {
				a.foreign = make(map[string]bool)
			}
			a.foreign[strings.TrimPrefix(h, ":")] = true
		}
	}
}

func (a *assignment) meet(header string) {
	if a.includers == nil {
		a.includers = make(map[string]map[string]bool)
	}
	if a.includers[header] == nil {
		a.includers[header] = make(map[string]bool)
		a.order = append(a.order, header)
	}
}

// meetHeaders notes who includes which header of this package.
func (a *assignment) meetHeaders() {
	for _, u := range a.p.Units {
		for _, scan := range u.Scans {
			for _, inc := range scan.Includes {
				a.meetInclude(u, inc)
			}
		}
	}
	for _, name := range a.d.Files {
		if strings.HasSuffix(name, paths.HeaderSuffix) && !a.foreign[name] {
			a.meet(name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.d.Reached)) {
		if !a.foreign[name] {
			a.meet(name)
		}
	}
	for _, name := range a.p.released {
		a.meet(name)
	}
}

// meetInclude notes an include that a unit follows. Where it stands in a header of
// another package, the unit itself needs what it names.
func (a *assignment) meetInclude(u *Unit, inc bpfc.Include) {
	header, ok := "", false
	switch {
	case inc.File != "" && !strings.HasPrefix(inc.File, "<"):
		header, ok = a.d.inPackage(inc.File)
	case inc.File == "" && !inc.Angled:
		// A header that another rule of the directory makes.
		header, ok = paths.Under(a.d.Rel, path.Join(paths.Parent(inc.Pos.File), inc.Path))
		ok = ok && slices.Contains(a.d.Generated, header)
	}
	if !ok || a.foreign[header] || inc.Pos.File == path.Join(a.d.Rel, header) {
		return
	}
	from := inc.Pos.File
	if _, here := a.d.inPackage(from); !here {
		from = u.Files[0]
	}
	a.meet(header)
	a.includers[header][from] = true
}

// headersName returns the name of the library of a directory that has headers only.
func headersName(d *Directory) string { return d.base() + "_bpf" }

// besideName returns what that library is called in a directory with other units.
func besideName(d *Directory) string { return d.base() + "_headers_bpf" }

// headers returns the library for headers that belong to no other unit.
func (a *assignment) headers() *Unit {
	if a.common != nil {
		return a.common
	}
	name := headersName(a.d)
	if len(a.p.Units) > 0 {
		name = besideName(a.d)
	}
	var lists []*Unit
	for _, u := range a.p.headersOnly {
		if u.Existing == nil || u.Existing.ShouldKeep() || !expr.WrittenOut(u.Existing, "hdrs") {
			continue
		}
		lists = append(lists, u)
		if u.Name == name {
			a.common = u
		}
	}
	switch {
	case a.common != nil:
	case len(lists) == 1:
		a.common = lists[0]
	default:
		a.common = &Unit{Kind: Library, Name: a.d.free(name, "_lib"), Rel: a.d.Rel}
		a.p.headersOnly = append(a.p.headersOnly, a.common)
	}
	return a.common
}

// directed gives the library the headers that a directive names.
func (a *assignment) directed() {
	for _, files := range [][]string{a.d.Files, a.d.Generated} {
		for _, name := range files {
			if !strings.HasSuffix(name, ".c") && a.d.Directed(name) == Library && a.owners[name] == nil {
				a.own(name, a.headers())
			}
		}
	}
}

// compiling returns the units that compile a file. Most directories have no header to
// ask for.
func (a *assignment) compiling(file string) []*Unit {
	if a.bySource == nil {
		a.bySource = make(map[string][]*Unit)
		for _, u := range a.p.Units {
			for _, file := range u.Files {
				a.bySource[file] = append(a.bySource[file], u)
			}
		}
	}
	return a.bySource[file]
}

// named gives libraries the headers that have their names.
func (a *assignment) named() {
	for _, u := range a.p.Units {
		if u.Kind != Library {
			continue
		}
		if !u.Duplicate {
			a.libraries = append(a.libraries, u)
		}
		for i, src := range u.Srcs {
			if a.d.Reached[src] && a.owners[src] == nil {
				a.own(src, u)
			}
			for _, h := range []string{paths.Stem(src) + paths.HeaderSuffix, paths.Stem(src) + ".h"} {
				if slices.Contains(a.d.Files, h) && a.owners[h] == nil && !a.foreign[h] {
					a.own(h, a.compiling(u.Files[i])...)
				}
			}
		}
	}
}

// decideAll gives headers the owners of what includes them, from the sources on.
func (a *assignment) decideAll() {
	for _, known := range []bool{true, false} {
		for changed := true; changed; {
			changed = false
			for _, h := range a.order {
				if a.owners[h] == nil && a.decide(h, known) {
					changed = true
				}
			}
		}
	}
}

// decide finds the owners of a header. With known, it waits until those of all
// headers that include it have one.
func (a *assignment) decide(h string, known bool) bool {
	var units []*Unit
	shared := false
	add := func(some []*Unit) {
		for _, u := range some {
			if !slices.Contains(units, u) {
				units = append(units, u)
				shared = shared || u.Kind == Library
			}
		}
	}
	for from := range a.includers[h] {
		some := a.compiling(from)
		if name, ok := a.d.inPackage(from); some == nil && ok {
			some = a.owners[name]
			if some == nil && known {
				return false
			}
		}
		add(some)
	}
	add(a.listed[h])
	outside := a.d.Reached[h]
	if slices.Contains(a.p.released, h) {
		// Includes from other directories are not known, or a rule lists the header by hand.
		outside = outside || !a.d.Surveyed || len(units) == 0
	}
	switch {
	case len(units) == 0 && known && len(a.includers[h]) > 0:
		return false
	case len(units) == 0 && len(a.libraries) == 1 && !outside:
		a.own(h, a.libraries[0])
	case len(units) == 0 || shared && !ofOneSource(units) || outside:
		a.own(h, a.headers())
	default:
		a.own(h, units...)
	}
	return true
}

// ofOneSource reports whether units all compile the same.
func ofOneSource(units []*Unit) bool {
	return !slices.ContainsFunc(units, func(u *Unit) bool { return !slices.Equal(u.Files, units[0].Files) })
}

// fill makes a directory of headers one library: where there is nothing else, a
// header that is used leads to the others.
func (a *assignment) fill() {
	if slices.ContainsFunc(a.p.Units, func(u *Unit) bool { return u.Kind != Bpf2go }) || len(a.p.Broken) > 0 {
		return
	}
	if !slices.ContainsFunc(a.p.headersOnly, func(u *Unit) bool { return expr.WrittenOut(u.Existing, "hdrs") && len(u.Hdrs) > 0 }) {
		return
	}
	if len(a.d.Commands) > 0 || slices.ContainsFunc(a.d.Files, func(name string) bool { return a.d.Directed(name) != "" }) {
		// A directive says which ones.
		return
	}
	for _, name := range a.d.Files {
		if paths.IsHeader(name) && !strings.Contains(name, "/") && a.owners[name] == nil && !a.foreign[name] {
			a.own(name, a.headers())
		}
	}
}

// ownIncludes reads the headers of a library, and gives it those of this package
// that only they include.
func (a *assignment) ownIncludes(u *Unit) {
	for i := 0; i < len(u.Hdrs); i++ {
		scan, err := a.d.Shallow(path.Join(a.d.Rel, u.Hdrs[i]))
		if err != nil {
			if !slices.Contains(a.d.Generated, u.Hdrs[i]) && !expr.IsLabel(u.Hdrs[i]) && !expr.HasRule(a.d.Build, u.Hdrs[i]) {
				a.p.report("%v", err)
			}
			continue
		}
		u.Scans = append(u.Scans, scan)
		for _, inc := range scan.Includes {
			if h, ok := a.d.inPackage(inc.File); ok && a.owners[h] == nil && a.listed[h] == nil && !a.foreign[h] {
				a.own(h, u)
			}
		}
	}
}

// Left reports whether a rule stays as it is because of a source that does not
// parse.
func (p *Plan) Left(r *rule.Rule) bool { return p.left[r] }
