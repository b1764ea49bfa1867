package gazelle

import (
	"log"
	"path"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/resolve"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
	"github.com/bazelbuild/bazel-gazelle/repo"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/index"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
)

// Imports returns what a rule can be found by: a library by the paths of its
// headers, a Go package by its import path, as Go's language asks for it.
func (l *bpfLang) Imports(c *config.Config, r *rule.Rule, f *rule.File) []resolve.ImportSpec {
	l.indexRule(c, r, f.Pkg)
	var specs []resolve.ImportSpec
	switch kindOf(c, r) {
	case plan.Library:
		for _, h := range expr.AttrStrings(r, "hdrs", func() []string { return regularFiles(c, f.Pkg) }) {
			specs = append(specs, resolve.ImportSpec{
				Lang: languageName, Imp: path.Join(f.Pkg, strings.TrimPrefix(h, ":")),
			})
		}
	case plan.Skeleton, plan.Subskeleton, plan.Types:
		if importpath := r.AttrString("importpath"); importpath != "" {
			specs = append(specs, resolve.ImportSpec{Lang: "go", Imp: importpath})
		}
	case plan.Vmlinux:
		specs = append(specs, resolve.ImportSpec{Lang: languageName, Imp: "vmlinux.h"})
	}
	return specs
}

func (*bpfLang) Embeds(*rule.Rule, label.Label) []label.Label { return nil }

// CrossResolve finds the Go packages of BPF rules for Go's language.
func (l *bpfLang) CrossResolve(c *config.Config, ix *ruleIndex, imp resolve.ImportSpec, lang string) []resolve.FindResult {
	if imp.Lang != "go" || lang != "go" {
		return nil
	}
	if results := ix.FindRulesByImport(imp, languageName); len(results) > 0 || c.IndexLibraries {
		return results
	}
	// Without an index, the convention says where a package is.
	if rel, ok := getConfig(c).prefix.directoryOf(imp.Imp); ok {
		l.load(c, rel)
		if rel != "" {
			l.load(c, paths.Parent(rel))
			l.load(c, packageOf(c, rel))
		}
	}
	var results []resolve.FindResult
	for _, found := range l.index.GoPackages(imp.Imp) {
		results = append(results, resolve.FindResult{Label: found})
	}
	return results
}

// Resolve sets what a rule depends on.
func (l *bpfLang) Resolve(c *config.Config, ix *ruleIndex, _ *repo.RemoteCache, r *rule.Rule, imports any, from label.Label) {
	u, ok := imports.(*plan.Unit)
	if !ok {
		return
	}
	set := func(attr string, labels []label.Label) {
		values := make([]string, len(labels))
		for i, dep := range labels {
			values[i] = dep.Rel("", from.Pkg).String()
		}
		var existing *rule.Rule
		if r.Name() == u.Name {
			existing = u.Existing
		}
		unchanged, same := expr.Unchanged(existing, attr, values)
		switch {
		case len(values) == 0:
			r.DelAttr(attr)
		case same:
			r.SetAttr(attr, unchanged)
		case attr == "deps":
			r.SetAttr(attr, values)
		default:
			r.SetAttr(attr, expr.Labels(values))
		}
	}
	rs := l.resolving(ix)
	deps := rs.dependencies(u)
	// A skeleton of an object compiles nothing.
	own := r.Name() == u.Name
	if own {
		labels := make([]label.Label, len(deps))
		for i, dep := range deps {
			labels[i] = dep.label
		}
		set("deps", labels)
	}
	if !u.Final() {
		return
	}
	linked := rs.closure(deps)
	if own {
		rs.check(u, linked)
	}
	if u.Kind == plan.Skeleton || !own {
		var subskeletons []label.Label
		for _, lib := range linked {
			subskeletons = append(subskeletons, l.index.Subskeletons(lib)...)
		}
		sortLabels(subskeletons)
		set("subskeletons", slices.Compact(subskeletons))
		l.setTypes(r, u)
	}
}

func sortLabels(labels []label.Label) {
	if len(labels) > 1 {
		slices.SortFunc(labels, func(a, b label.Label) int { return strings.Compare(a.String(), b.String()) })
	}
}

// A dependency is a target, with the location that asks for it.
type dependency struct {
	label label.Label
	pos   bpfc.Pos
	why   string
}

// state is what is known of a unit's dependencies.
type state struct {
	unit *plan.Unit
	c    *config.Config
	bc   *bpfConfig

	headers, all, acyclic             []dependency
	headersDone, allDone, acyclicDone bool
	// missing has externs that nothing defines.
	missing []*bpfc.Symbol
}

// resolver has the states of units, by their numbers.
type resolver struct {
	states []*state
	// free is room for the next ones.
	free []state
}

func (rs *resolver) add(u *plan.Unit, c *config.Config, bc *bpfConfig) {
	if len(rs.free) == 0 {
		rs.free = make([]state, 64)
	}
	st := &rs.free[0]
	rs.free = rs.free[1:]
	st.unit, st.c, st.bc = u, c, bc
	u.Number = len(rs.states)
	rs.states = append(rs.states, st)
}

// resolution finds dependencies with the index of Gazelle.
type resolution struct {
	l  *bpfLang
	ix *ruleIndex
}

func (l *bpfLang) resolving(ix *ruleIndex) *resolution { return &resolution{l, ix} }

func (rs *resolution) state(u *plan.Unit) *state { return rs.l.resolver.states[u.Number] }

func appendDependency(list []dependency, d dependency) []dependency {
	for _, other := range list {
		if other.label == d.label {
			return list
		}
	}
	return append(list, d)
}

// isBuiltin reports whether an include is of a header that the scanner stands for.
func isBuiltin(inc bpfc.Include) bool { return strings.HasPrefix(inc.File, "<") }

// headerDependencies resolves the includes of a unit's files.
func (rs *resolution) headerDependencies(u *plan.Unit) []dependency {
	st := rs.state(u)
	if st.headersDone {
		return st.headers
	}
	st.headersDone = true
	for _, scan := range u.Scans {
		for _, inc := range scan.Includes {
			own := u.Has(inc.Pos.File)
			// Includes in other targets' headers are resolved for these targets, but what none
			// of them finds, this unit does not, either.
			if isBuiltin(inc) || !own && inc.File != "" ||
				inc.File != "" && u.Has(inc.File) || inc.File == "" && !inc.Angled && u.Has(path.Join(paths.Parent(inc.Pos.File), inc.Path)) {
				continue
			}
			found, err := rs.resolveInclude(u, inc)
			switch {
			case err == nil && found == label.NoLabel, found == u.Label():
			case err == nil:
				st.headers = appendDependency(st.headers, dependency{label: found, pos: inc.Pos, why: `includes "` + inc.Path + `"`})
			case !u.HeadersOnly() || rs.l.reportsFor(inc.Pos.File):
				rs.l.headerProblem(st.bc, inc, err)
			}
		}
	}
	return st.headers
}

// reportsFor reports whether a problem of a library's header is reported for the library: only
// when no source includes the header, as that is reported with all macros.
func (l *bpfLang) reportsFor(file string) bool { return l.survey.full && !l.survey.included[file] }

// resolveInclude finds the target that has a header. It returns no label for a
// header of the toolchain.
func (rs *resolution) resolveInclude(u *plan.Unit, inc bpfc.Include) (label.Label, error) {
	if found, ok := rs.override(u, inc.Path); ok {
		return found, nil
	}
	if inc.File == "" && inc.Angled && isSystemHeader(inc.Path) {
		return label.NoLabel, nil
	}
	st := rs.state(u)
	names := []string{inc.File}
	if inc.File == "" {
		names = slices.Collect(candidates(u.Rel, u.Search, inc.Pos.File, inc.Path, inc.Angled))
		if !slices.Contains(names, inc.Path) {
			names = append(names, inc.Path)
		}
	}
	for _, name := range names {
		if name == inc.Path {
			continue
		}
		if found, ok := rs.override(u, name); ok {
			return found, nil
		}
	}
	isVmlinux := inc.File == "" && path.Base(inc.Path) == "vmlinux.h"
	for _, name := range names {
		var found []label.Label
		switch {
		case isVmlinux:
			found = rs.vmlinux(u)
		case inc.Angled && inc.File == "" && name == inc.Path:
			// The root is not searched, but a cc_library may say otherwise.
			found = rs.known(st.c, name, "cc")
		default:
			found = rs.targets(u, name)
		}
		if slices.Contains(found, u.Label()) {
			return u.Label(), nil
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			sortLabels(found)
			return label.NoLabel, &headerError{cause: index.ErrSeveral, targets: found}
		}
	}
	for _, r := range st.bc.repos {
		if inc.File == "" && (inc.Path == r.prefix || strings.HasPrefix(inc.Path, r.prefix+"/")) {
			return label.New(r.name, paths.Parent(inc.Path), paths.Stem(path.Base(inc.Path))+"_bpf"), nil
		}
	}
	return label.NoLabel, rs.whyNot(inc, names, isVmlinux)
}

// whyNot returns what is wrong with an include that leads to no target, or nil when
// the toolchain has the header.
func (rs *resolution) whyNot(inc bpfc.Include, names []string, isVmlinux bool) error {
	for _, name := range names {
		if owner, err := rs.l.index.FinalHeader(name); err == nil {
			return &headerError{cause: errFinalOnly, file: name, owner: owner}
		}
	}
	switch {
	case inc.File != "":
		return &headerError{cause: index.ErrNone, file: inc.File}
	case path.IsAbs(inc.Path) && !inc.Angled:
		return &headerError{cause: errOutside}
	case isVmlinux && len(rs.l.sources.anywhere(inc.Path)) < 2:
		return &headerError{cause: errVmlinux}
	case isSystemHeader(inc.Path) || slices.Contains(libbpfHeaders, inc.Path):
		return nil
	}
	elsewhere := rs.l.sources.anywhere(inc.Path)
	if inc.Angled && len(elsewhere) < 2 {
		// Only the compiler knows the system's other headers.
		return nil
	}
	return &headerError{cause: errNoFile, elsewhere: elsewhere}
}

// override returns the target that a directive names for a header or symbol.
func (rs *resolution) override(u *plan.Unit, name string) (label.Label, bool) {
	c := rs.state(u).c
	found, ok := resolve.FindRuleWithOverride(c, resolve.ImportSpec{Lang: languageName, Imp: name}, languageName)
	if !ok {
		return label.NoLabel, false
	}
	return local(c, found.Abs(c.RepoName, u.Rel)), true
}

// vmlinux returns the targets that make the kernel's types: the nearest rule, one
// that Gazelle knows, or one that the unit's rule depends on.
func (rs *resolution) vmlinux(u *plan.Unit) []label.Label {
	c := rs.state(u).c
	for rel := u.Rel; ; rel = paths.Parent(rel) {
		if found := rs.l.offered(c, rel, "vmlinux.h"); len(found) > 0 {
			return slices.Clone(found)
		}
		if rel == "" {
			break
		}
	}
	if found := rs.known(c, "vmlinux.h", languageName, "cc"); len(found) > 0 {
		return found
	}
	for _, dep := range presentDependencies(u, c) {
		if found := rs.l.offered(c, dep.Pkg, "vmlinux.h"); dep.Repo == "" && slices.Contains(found, dep) {
			return []label.Label{dep}
		}
	}
	return nil
}

// known returns the targets that Gazelle's index has for a header.
func (rs *resolution) known(c *config.Config, name string, langs ...string) []label.Label {
	for _, lang := range langs {
		var found []label.Label
		for _, result := range rs.ix.FindRulesByImportWithConfig(c, resolve.ImportSpec{Lang: lang, Imp: name}, lang) {
			found = append(found, local(c, result.Label))
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// targets returns the targets that have a header, by its path from the root.
func (rs *resolution) targets(u *plan.Unit, name string) []label.Label {
	c := rs.state(u).c
	if !c.IndexLibraries {
		// A directory without a BUILD file may belong to a package further up.
		rs.l.load(c, packageOf(c, paths.Parent(name)))
		if len(rs.l.index.Header(name)) == 0 {
			rs.l.load(c, paths.Parent(name))
		}
	}
	if found := rs.l.index.Header(name); len(found) > 0 {
		return found
	}
	if found := rs.known(c, name, languageName, "cc"); len(found) > 0 {
		return found
	}
	// The package may be further up.
	for rel := paths.Parent(name); ; rel = paths.Parent(rel) {
		header, _ := paths.Under(rel, name)
		if found := rs.l.offered(c, rel, header); len(found) > 0 || rel == "" {
			return slices.Clone(found)
		}
	}
}

// presentDependencies returns the labels that a unit's rule has in its BUILD file.
func presentDependencies(u *plan.Unit, c *config.Config) []label.Label {
	if u.Existing == nil {
		return nil
	}
	var out []label.Label
	for _, s := range expr.AttrStrings(u.Existing, "deps", expr.NoFiles) {
		if dep, err := label.Parse(s); err == nil {
			out = append(out, local(c, dep.Abs("", u.Rel)))
		}
	}
	return out
}

// allDependencies adds the libraries that define a unit's externs, and what
// # keep keeps.
func (rs *resolution) allDependencies(u *plan.Unit) []dependency {
	st := rs.state(u)
	if st.allDone {
		return st.all
	}
	st.allDone = true
	deps := slices.Clone(rs.headerDependencies(u))
	if !st.c.IndexLibraries {
		for _, dep := range presentDependencies(u, st.c) {
			if dep.Repo == "" {
				rs.l.load(st.c, dep.Pkg)
			}
		}
	}
	var several []*bpfc.Symbol
	if !u.HeadersOnly() {
		deps, several = rs.definitions(u, deps)
	}
	for _, kept := range u.Kept {
		deps = appendDependency(deps, dependency{label: local(st.c, kept), why: "is kept"})
	}
	// What is linked anyway is known by now. Of several that are, the linker takes
	// the one that is not weak.
	for _, s := range several {
		definitions, linked := rs.preferred(u, deps, rs.l.index.Definitions(s.Name, u.Label()))
		switch {
		case linked && len(definitions) > 1:
		case len(definitions) == 1:
			deps = appendDependency(deps, dependency{label: definitions[0].Of, pos: s.UsedAt, why: "uses " + s.Name})
		default:
			rs.ambiguousSymbol(st.bc, s, definitions)
		}
	}
	if len(deps) > 1 {
		slices.SortFunc(deps, func(a, b dependency) int { return strings.Compare(a.label.String(), b.label.String()) })
	}
	st.all = deps
	return deps
}

// definitions adds the libraries that define a unit's externs. It returns those that
// several define.
func (rs *resolution) definitions(u *plan.Unit, deps []dependency) ([]dependency, []*bpfc.Symbol) {
	st := rs.state(u)
	var several []*bpfc.Symbol
	for _, s := range index.Externs(u.Scans) {
		why := "uses " + s.Name
		if found, ok := rs.override(u, s.Name); ok {
			deps = appendDependency(deps, dependency{label: found, pos: s.UsedAt, why: why})
			continue
		}
		switch d, err := rs.l.index.Definition(s.Name, u.Label()); {
		case err == nil:
			deps = appendDependency(deps, dependency{label: d.Of, pos: s.UsedAt, why: why})
		case err == index.ErrSeveral:
			several = append(several, s)
		case s.Linkage != bpfc.Weak && !s.Maybe:
			st.missing = append(st.missing, s)
		}
	}
	return deps, several
}

// preferred narrows several definitions of a symbol down to those that are linked
// anyway, which it reports, or else to those of the same directory.
func (rs *resolution) preferred(u *plan.Unit, deps []dependency, definitions []index.Definition) (some []index.Definition, anyway bool) {
	linked := make(map[label.Label]bool)
	queue := make([]label.Label, 0, len(deps))
	for _, d := range deps {
		queue = append(queue, d.label)
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if linked[at] {
			continue
		}
		linked[at] = true
		if lib := rs.l.index.Library(at); lib != nil {
			if lib.Unit == nil {
				queue = append(queue, lib.Deps...)
				continue
			}
			for _, d := range rs.headerDependencies(lib.Unit) {
				queue = append(queue, d.label)
			}
		}
	}
	for i, keep := range []func(index.Definition) bool{
		func(d index.Definition) bool { return linked[d.Of] },
		func(d index.Definition) bool { return d.Of.Pkg == u.Rel },
	} {
		if some := slices.DeleteFunc(slices.Clone(definitions), func(d index.Definition) bool { return !keep(d) }); len(some) > 0 {
			return some, i == 0
		}
	}
	return definitions, false
}

// of returns what a library depends on, cycles included.
func (rs *resolution) of(lib *index.Library) []label.Label {
	if lib.Unit == nil {
		return lib.Deps
	}
	var out []label.Label
	for _, d := range rs.allDependencies(lib.Unit) {
		out = append(out, d.label)
	}
	return out
}

// dependencies returns what a unit depends on, without what closes a cycle. A unit
// that compiles depends on every target with a header that it reads, so a library of
// headers can do without others.
func (rs *resolution) dependencies(u *plan.Unit) []dependency {
	st := rs.state(u)
	if st.acyclicDone {
		return st.acyclic
	}
	st.acyclicDone = true
	self := u.Label()
	for _, d := range rs.allDependencies(u) {
		if chain := rs.cycle(u, d.label); chain != nil {
			if !u.HeadersOnly() {
				log.Printf("%s: %s %s of %s, and so the libraries need each other: %s. Put their sources into one bpf_library, or what both need into a third",
					location(d.pos), self, d.why, d.label, join(append([]label.Label{self}, chain...)))
			}
			continue
		}
		st.acyclic = append(st.acyclic, d)
	}
	if len(u.Files) > 0 {
		rs.addRead(u, st)
	}
	return st.acyclic
}

// cycle returns the chain of libraries by which a dependency leads back to a unit, if
// that is the dependency to leave out, or nil. Of a cycle with libraries of headers,
// one of those goes that leads from them to one that compiles. Among libraries of one
// sort, one goes that leads to a label that comes first in the alphabet: that does not
// depend on which directory is looked at first.
func (rs *resolution) cycle(u *plan.Unit, to label.Label) []label.Label {
	self := u.Label()
	lib := rs.l.index.Library(to)
	if u.Kind != plan.Library || lib == nil {
		return nil
	}
	if u.HeadersOnly() && !lib.HeadersOnly {
		return rs.chain(to, self, func(*index.Library) bool { return true })
	}
	if self.String() < to.String() || u.HeadersOnly() != lib.HeadersOnly {
		return nil
	}
	return rs.chain(to, self, func(other *index.Library) bool { return other.HeadersOnly == lib.HeadersOnly })
}

// addRead adds the targets of the headers that a unit reads and that its
// dependencies do not lead to.
func (rs *resolution) addRead(u *plan.Unit, st *state) {
	var linked []label.Label
	var seen map[string]bool
	for _, scan := range u.Scans {
		for _, inc := range scan.Includes {
			if inc.File == "" || isBuiltin(inc) || u.Has(inc.Pos.File) || u.Has(inc.File) || seen[inc.File] {
				continue
			}
			if seen == nil {
				seen = make(map[string]bool)
				linked = rs.closure(st.acyclic)
			}
			seen[inc.File] = true
			found, err := rs.resolveInclude(u, inc)
			if err != nil {
				rs.l.headerProblem(st.bc, inc, err)
				continue
			}
			if found == label.NoLabel || found == u.Label() || slices.Contains(linked, found) {
				continue
			}
			if u.Kind == plan.Library && slices.Contains(rs.closure([]dependency{{label: found}}), u.Label()) {
				continue
			}
			st.acyclic = append(st.acyclic, dependency{label: found, pos: inc.Pos, why: `includes "` + inc.Path + `"`})
			linked = rs.closure(st.acyclic)
		}
	}
	slices.SortFunc(st.acyclic, func(a, b dependency) int { return strings.Compare(a.label.String(), b.label.String()) })
}

// chain returns the libraries on the way from one to another by those that pass, or
// nil.
func (rs *resolution) chain(from, to label.Label, pass func(*index.Library) bool) []label.Label {
	came := map[label.Label]label.Label{from: from}
	for queue := []label.Label{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == to {
			chain := []label.Label{at}
			for at != from {
				at = came[at]
				chain = append(chain, at)
			}
			slices.Reverse(chain)
			return chain
		}
		if lib := rs.l.index.Library(at); lib != nil && pass(lib) {
			for _, next := range rs.of(lib) {
				if _, seen := came[next]; !seen {
					came[next] = at
					queue = append(queue, next)
				}
			}
		}
	}
	return nil
}

// closure returns dependencies and all that they link.
func (rs *resolution) closure(deps []dependency) []label.Label {
	var out []label.Label
	var seen map[label.Label]bool
	const few = 16
	visit := func(at label.Label) {
		// To look at a few is faster than a map.
		switch {
		case len(out) < few:
			if slices.Contains(out, at) {
				return
			}
		case seen == nil:
			seen = make(map[label.Label]bool)
			for _, l := range out {
				seen[l] = true
			}
			fallthrough
		default:
			if seen[at] {
				return
			}
			seen[at] = true
		}
		out = append(out, at)
	}
	for _, d := range deps {
		visit(d.label)
	}
	for i := 0; i < len(out); i++ {
		lib := rs.l.index.Library(out[i])
		if lib == nil {
			continue
		}
		if lib.Unit == nil {
			for _, dep := range lib.Deps {
				visit(dep)
			}
			continue
		}
		for _, d := range rs.dependencies(lib.Unit) {
			visit(d.label)
		}
	}
	return out
}
