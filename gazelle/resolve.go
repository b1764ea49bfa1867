package gazelle

import (
	"fmt"
	"log"
	"path"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/resolve"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
	"github.com/bazelbuild/bazel-gazelle/repo"
	"github.com/bazelbuild/buildtools/build"

	"github.com/rules-bpf/rules_bpf/gazelle/bpfc"
)

// Imports returns what a rule can be found by: a library by the paths of its
// headers, a Go package by its import path, as Go's language asks for it.
func (l *bpfLang) Imports(c *config.Config, r *rule.Rule, f *rule.File) []resolve.ImportSpec {
	l.index(c, r, f.Pkg)
	var specs []resolve.ImportSpec
	switch kindOf(c, r) {
	case libraryKind:
		for _, h := range attrStrings(r, "hdrs", func() []string { return regularFiles(c, f.Pkg) }) {
			specs = append(specs, resolve.ImportSpec{
				Lang: languageName, Imp: path.Join(f.Pkg, strings.TrimPrefix(h, ":")),
			})
		}
	case skeletonKind, subskeletonKind:
		if importpath := r.AttrString("importpath"); importpath != "" {
			specs = append(specs, resolve.ImportSpec{Lang: "go", Imp: importpath})
		}
	case vmlinuxKind:
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
	if rel, ok := getConfig(c).folderOf(imp.Imp); ok {
		l.load(c, rel)
		if rel != "" {
			l.load(c, parent(rel))
			l.load(c, packageOf(c, rel))
		}
	}
	var results []resolve.FindResult
	for _, found := range l.lib.goPackages[imp.Imp] {
		results = append(results, resolve.FindResult{Label: found})
	}
	return results
}

// Resolve sets what a rule depends on.
func (l *bpfLang) Resolve(c *config.Config, ix *ruleIndex, _ *repo.RemoteCache, r *rule.Rule, imports any, from label.Label) {
	u, ok := imports.(*unit)
	if !ok {
		return
	}
	set := func(attr string, labels []label.Label) {
		var values []string
		for _, dep := range labels {
			values = append(values, dep.Rel("", from.Pkg).String())
		}
		switch {
		case len(values) == 0:
			r.DelAttr(attr)
		case attr == "deps":
			r.SetAttr(attr, values)
		default:
			r.SetAttr(attr, labelList(values))
		}
	}
	isSkeleton := u.kind == skeletonKind || r.Name() != u.name
	// A skeleton of an object compiles nothing.
	if r.Name() == u.name {
		var deps []label.Label
		for _, dep := range l.dependencies(ix, u) {
			deps = append(deps, dep.label)
		}
		set("deps", deps)
		if u.final() {
			l.check(ix, u)
		}
	}
	if isSkeleton {
		var subskeletons []label.Label
		for _, lib := range l.closure(ix, u) {
			subskeletons = append(subskeletons, l.lib.subskeletons[lib]...)
		}
		sortLabels(subskeletons)
		set("subskeletons", slices.Compact(subskeletons))
	}
}

// labelList is a list of labels that stays sorted when it is merged into a rule:
// Gazelle sorts the lists of attributes that it knows, such as deps.
type labelList []string

func (l labelList) BzlExpr() build.Expr { return rule.SortedStrings(l).BzlExpr() }

func (l labelList) Merge(other build.Expr) build.Expr {
	if _, ok := other.(*build.ListExpr); !ok && other != nil {
		return other
	}
	return rule.SortedStrings(l).Merge(other)
}

func sortLabels(labels []label.Label) {
	slices.SortFunc(labels, func(a, b label.Label) int { return strings.Compare(a.String(), b.String()) })
}

// A dependency is a target, with the place that asks for it.
type dependency struct {
	label label.Label
	pos   bpfc.Pos
	why   string
}

// resolution is what a unit depends on.
type resolution struct {
	headers, all, acyclic             []dependency
	headersDone, allDone, acyclicDone bool
	// missing has externs that nothing defines.
	missing []*bpfc.Symbol
}

func appendDependency(list []dependency, d dependency) []dependency {
	for _, other := range list {
		if other.label == d.label {
			return list
		}
	}
	return append(list, d)
}

// headerDependencies resolves the includes of a unit's files.
func (l *bpfLang) headerDependencies(ix *ruleIndex, u *unit) []dependency {
	if u.resolved.headersDone {
		return u.resolved.headers
	}
	u.resolved.headersDone = true
	for _, scan := range u.scans {
		for _, inc := range scan.Includes {
			// What other targets' headers include is their business.
			if strings.HasPrefix(inc.File, "<") || !u.has(inc.Pos.File) {
				continue
			}
			if inc.File != "" && u.has(inc.File) || inc.File == "" && u.has(path.Join(path.Dir(inc.Pos.File), inc.Path)) {
				continue
			}
			if found, ok := l.resolveInclude(ix, u, inc); ok && found != u.label() {
				u.resolved.headers = appendDependency(u.resolved.headers, dependency{
					label: found, pos: inc.Pos, why: `includes "` + inc.Path + `"`,
				})
			}
		}
	}
	return u.resolved.headers
}

// resolveInclude finds the target that has a header.
func (l *bpfLang) resolveInclude(ix *ruleIndex, u *unit, inc bpfc.Include) (label.Label, bool) {
	c, bc := u.c, getConfig(u.c)
	names := []string{inc.File}
	if inc.File == "" {
		names = candidates(bc.search, inc.Pos.File, inc.Path, inc.Angled)
		if !slices.Contains(names, inc.Path) {
			names = append(names, inc.Path)
		}
	}
	isVmlinux := path.Base(inc.Path) == "vmlinux.h"
	override := func(name string) (label.Label, bool) {
		spec := resolve.ImportSpec{Lang: languageName, Imp: name}
		found, ok := resolve.FindRuleWithOverride(c, spec, languageName)
		if !ok {
			return label.NoLabel, false
		}
		return local(c, found.Abs(c.RepoName, u.rel)), true
	}
	if found, ok := override(inc.Path); ok {
		return found, true
	}
	for _, name := range names {
		if name == inc.Path {
			continue
		}
		if found, ok := override(name); ok {
			return found, true
		}
	}
	var found []label.Label
	for _, name := range names {
		if found = l.findHeader(ix, u, name, isVmlinux); len(found) > 0 {
			break
		}
	}
	found = slices.DeleteFunc(found, func(f label.Label) bool { return f == u.label() })
	switch {
	case len(found) == 1:
		return found[0], true
	case len(found) > 1:
		sortLabels(found)
		l.report(bc.ambiguous, "%s:%d: %q is in several targets: %s. Say which one: # gazelle:resolve bpf %s LABEL",
			inc.Pos.File, inc.Pos.Line, inc.Path, join(found), inc.Path)
		return label.NoLabel, false
	}
	for _, r := range bc.repos {
		if inc.File != "" || inc.Path != r.prefix && !strings.HasPrefix(inc.Path, r.prefix+"/") {
			continue
		}
		return label.New(r.name, parent(inc.Path), stem(path.Base(inc.Path))+"_bpf"), true
	}
	if inc.File == "" && (inc.Angled && !isVmlinux || isSystemHeader(inc.Path)) {
		return label.NoLabel, false
	}
	name := inc.File
	var owner label.Label
	final := false
	for _, n := range names {
		if owner, final = l.lib.finalHeaders[n]; final {
			name = n
			break
		}
	}
	switch {
	case path.IsAbs(inc.Path):
		l.report(bc.unresolved, "%s:%d: %q is not in the repository: include it by its path from the root, or say which target has it: # gazelle:resolve bpf %s LABEL",
			inc.Pos.File, inc.Pos.Line, inc.Path, inc.Path)
	case inc.File == "" && isVmlinux:
		l.report(bc.unresolved, "%s:%d: no bpf_vmlinux_header makes %q: add one, or say where the header is: # gazelle:resolve bpf vmlinux.h LABEL",
			inc.Pos.File, inc.Pos.Line, inc.Path)
	case inc.File == "" && !final:
		l.report(bc.unresolved, "%s:%d: %q is in no folder where it is searched for: name one with # gazelle:bpf_search, or a target: # gazelle:resolve bpf %s LABEL",
			inc.Pos.File, inc.Pos.Line, inc.Path, inc.Path)
	case final:
		l.report(bc.unresolved, "%s:%d: %q belongs to %s, a final object, which nothing can depend on: make it a library's with # gazelle:bpf_library %s in %s",
			inc.Pos.File, inc.Pos.Line, inc.Path, owner, path.Base(name), orRoot(parent(name)))
	default:
		l.report(bc.unresolved, "%s:%d: no target has the header %s: name it like a library's source, or *.bpf.h, or say # gazelle:bpf_library %s in %s",
			inc.Pos.File, inc.Pos.Line, inc.File, path.Base(inc.File), orRoot(parent(inc.File)))
	}
	return label.NoLabel, false
}

func join(labels []label.Label) string {
	var out []string
	for _, l := range labels {
		out = append(out, l.String())
	}
	return strings.Join(out, ", ")
}

// findHeader returns the targets that have a header, by its path from the root.
func (l *bpfLang) findHeader(ix *ruleIndex, u *unit, name string, isVmlinux bool) []label.Label {
	if isVmlinux {
		// The kernel's types are those of the nearest rule.
		for rel := u.rel; ; rel = parent(rel) {
			if found := l.offered(u.c, rel, "vmlinux.h"); len(found) > 0 {
				return slices.Clone(found)
			}
			if rel == "" {
				break
			}
		}
		name = "vmlinux.h"
	}
	if !u.c.IndexLibraries {
		// A folder without a BUILD file may belong to a package further up.
		l.load(u.c, packageOf(u.c, parent(name)))
		if len(l.lib.byHeader[name]) == 0 {
			l.load(u.c, parent(name))
		}
	}
	if found := l.lib.byHeader[name]; len(found) > 0 {
		return slices.Clone(found)
	}
	for _, lang := range []string{languageName, "cc"} {
		var found []label.Label
		for _, result := range ix.FindRulesByImportWithConfig(u.c, resolve.ImportSpec{Lang: lang, Imp: name}, lang) {
			found = append(found, local(u.c, result.Label))
		}
		if len(found) > 0 {
			return found
		}
	}
	if isVmlinux {
		// Without an index, a dependency that makes the header stays.
		for _, dep := range presentDependencies(u) {
			if found := l.offered(u.c, dep.Pkg, name); dep.Repo == "" && slices.Contains(found, dep) {
				return []label.Label{dep}
			}
		}
		return nil
	}
	// The package may be further up.
	for rel := parent(name); ; rel = parent(rel) {
		header, _ := under(rel, name)
		if found := l.offered(u.c, rel, header); len(found) > 0 || rel == "" {
			return slices.Clone(found)
		}
	}
}

// presentDependencies returns the labels that a unit's rule has in its BUILD file.
func presentDependencies(u *unit) []label.Label {
	if u.existing == nil {
		return nil
	}
	var out []label.Label
	for _, s := range attrStrings(u.existing, "deps", noFiles) {
		if dep, err := label.Parse(s); err == nil {
			out = append(out, local(u.c, dep.Abs("", u.rel)))
		}
	}
	return out
}

// allDependencies adds the libraries that define a unit's externs, and what
// # keep keeps.
func (l *bpfLang) allDependencies(ix *ruleIndex, u *unit) []dependency {
	if u.resolved.allDone {
		return u.resolved.all
	}
	u.resolved.allDone = true
	deps := slices.Clone(l.headerDependencies(ix, u))
	bc := getConfig(u.c)
	if !u.c.IndexLibraries {
		for _, dep := range presentDependencies(u) {
			if dep.Repo == "" {
				l.load(u.c, dep.Pkg)
			}
		}
	}
	var several []*bpfc.Symbol
	for _, s := range externs(u.scans) {
		spec := resolve.ImportSpec{Lang: languageName, Imp: s.Name}
		why := "uses " + s.Name
		if found, ok := resolve.FindRuleWithOverride(u.c, spec, languageName); ok {
			deps = appendDependency(deps, dependency{label: local(u.c, found.Abs(u.c.RepoName, u.rel)), pos: s.UsedAt, why: why})
			continue
		}
		definitions := l.lib.bySymbol[s.Name]
		if slices.ContainsFunc(definitions, func(d definition) bool { return d.library == u.label() }) {
			definitions = slices.DeleteFunc(slices.Clone(definitions), func(d definition) bool { return d.library == u.label() })
		}
		switch {
		case len(definitions) == 1:
			deps = appendDependency(deps, dependency{label: definitions[0].library, pos: s.UsedAt, why: why})
		case len(definitions) > 1:
			several = append(several, s)
		case s.Linkage != bpfc.Weak && !s.Maybe:
			u.resolved.missing = append(u.resolved.missing, s)
		}
	}
	for _, kept := range u.kept {
		deps = appendDependency(deps, dependency{label: local(u.c, kept), why: "is kept"})
	}
	// What is linked anyway is known by now. Of several that are, the linker takes
	// the one that is not weak.
	for _, s := range several {
		definitions := slices.DeleteFunc(slices.Clone(l.lib.bySymbol[s.Name]), func(d definition) bool { return d.library == u.label() })
		definitions, linked := l.preferred(ix, u, deps, definitions)
		switch {
		case linked && len(definitions) > 1:
		case len(definitions) == 1:
			deps = appendDependency(deps, dependency{label: definitions[0].library, pos: s.UsedAt, why: "uses " + s.Name})
		default:
			l.report(bc.ambiguous, "%s:%d: %s is defined by several libraries: %s. Include the header of one, or say which: # gazelle:resolve bpf %s LABEL",
				s.UsedAt.File, s.UsedAt.Line, s.Name, places(definitions), s.Name)
		}
	}
	if len(deps) > 1 {
		slices.SortFunc(deps, func(a, b dependency) int { return strings.Compare(a.label.String(), b.label.String()) })
	}
	u.resolved.all = deps
	return deps
}

// externs returns what files need and do not define themselves.
func externs(scans []*bpfc.File) []*bpfc.Symbol {
	defined := func(name string) bool {
		return slices.ContainsFunc(scans, func(scan *bpfc.File) bool {
			_, is := slices.BinarySearchFunc(scan.Definitions(), name, func(s bpfc.Symbol, name string) int {
				return strings.Compare(s.Name, name)
			})
			return is
		})
	}
	var out []*bpfc.Symbol
	var seen map[string]bool
	if len(scans) > 1 {
		seen = make(map[string]bool)
	}
	for _, scan := range scans {
		list := scan.Externs()
		for i := range list {
			s := &list[i]
			// Those of one file are sorted.
			if i > 0 && list[i-1].Name == s.Name || seen[s.Name] || defined(s.Name) {
				continue
			}
			out = append(out, s)
			if seen != nil {
				seen[s.Name] = true
			}
		}
	}
	return out
}

// preferred narrows several definitions of a symbol down to those that are linked
// anyway, which it reports, or else to those of the same folder.
func (l *bpfLang) preferred(ix *ruleIndex, u *unit, deps []dependency, definitions []definition) (some []definition, anyway bool) {
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
		if lib := l.lib.byLabel[at]; lib != nil {
			if lib.unit == nil {
				queue = append(queue, lib.deps...)
				continue
			}
			for _, d := range l.headerDependencies(ix, lib.unit) {
				queue = append(queue, d.label)
			}
		}
	}
	for i, keep := range []func(definition) bool{
		func(d definition) bool { return linked[d.library] },
		func(d definition) bool { return d.library.Pkg == u.rel },
	} {
		if some := slices.DeleteFunc(slices.Clone(definitions), func(d definition) bool { return !keep(d) }); len(some) > 0 {
			return some, i == 0
		}
	}
	return definitions, false
}

func places(definitions []definition) string {
	var out []string
	for _, d := range definitions {
		out = append(out, fmt.Sprintf("%s (%s:%d)", d.library, d.symbol.Pos.File, d.symbol.Pos.Line))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// of returns what a library depends on, cycles included.
func (l *bpfLang) of(ix *ruleIndex, lib *library) []label.Label {
	if lib.unit == nil {
		return lib.deps
	}
	var out []label.Label
	for _, d := range l.allDependencies(ix, lib.unit) {
		out = append(out, d.label)
	}
	return out
}

// dependencies returns what a unit depends on, without what closes a cycle. Of
// each cycle, a dependency goes that leads to a label that comes first in the
// alphabet: that does not depend on which folder is looked at first.
func (l *bpfLang) dependencies(ix *ruleIndex, u *unit) []dependency {
	if u.resolved.acyclicDone {
		return u.resolved.acyclic
	}
	u.resolved.acyclicDone = true
	self := u.label()
	for _, d := range l.allDependencies(ix, u) {
		if u.kind == libraryKind && self.String() > d.label.String() {
			if chain := l.chain(ix, d.label, self); chain != nil {
				log.Printf("%s:%d: %s %s of %s, and so the libraries need each other: %s. Put their sources into one bpf_library, or what both need into a third",
					d.pos.File, d.pos.Line, self, d.why, d.label, join(append([]label.Label{self}, chain...)))
				continue
			}
		}
		u.resolved.acyclic = append(u.resolved.acyclic, d)
	}
	return u.resolved.acyclic
}

// chain returns the libraries on the way from one to another, or nil.
func (l *bpfLang) chain(ix *ruleIndex, from, to label.Label) []label.Label {
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
		if lib := l.lib.byLabel[at]; lib != nil {
			for _, next := range l.of(ix, lib) {
				if _, seen := came[next]; !seen {
					came[next] = at
					queue = append(queue, next)
				}
			}
		}
	}
	return nil
}

// closure returns all that a unit links.
func (l *bpfLang) closure(ix *ruleIndex, u *unit) []label.Label {
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
	for _, d := range l.dependencies(ix, u) {
		visit(d.label)
	}
	for i := 0; i < len(out); i++ {
		lib := l.lib.byLabel[out[i]]
		if lib == nil {
			continue
		}
		if lib.unit == nil {
			for _, dep := range lib.deps {
				visit(dep)
			}
			continue
		}
		for _, d := range l.dependencies(ix, lib.unit) {
			visit(d.label)
		}
	}
	return out
}

// check reports what the linker would refuse in a final object.
func (l *bpfLang) check(ix *ruleIndex, u *unit) {
	bc := getConfig(u.c)
	linked := l.closure(ix, u)
	// defined has the first definition of each name, preferably one that is not weak,
	// strong all of those that the linker takes only one of.
	defined := l.lib.linked
	clear(defined)
	var strong map[string][]definition
	note := func(of label.Label, scans []*bpfc.File, oneOf bool) {
		for _, scan := range scans {
			definitions := scan.Definitions()
			for i := range definitions {
				s := &definitions[i]
				first, again := defined[s.Name]
				switch {
				case !again || first.symbol.Linkage == bpfc.Weak:
					defined[s.Name] = definition{library: of, symbol: s}
				case oneOf && first.library == of:
				case s.Linkage == bpfc.Weak || first.symbol.Section == "license" || first.symbol.Section == "version":
				default:
					if strong == nil {
						strong = make(map[string][]definition)
					}
					if strong[s.Name] == nil {
						strong[s.Name] = []definition{first}
					}
					strong[s.Name] = append(strong[s.Name], definition{library: of, symbol: s})
				}
			}
		}
	}
	note(u.label(), u.scans, u.kind != skeletonKind && !writtenOut(u.existing, "srcs"))
	complete := u.c.IndexLibraries
	missing := slices.Clip(u.resolved.missing)
	for _, at := range linked {
		lib := l.lib.byLabel[at]
		if lib == nil {
			// Of another repository, or of headers only.
			complete = complete && at.Repo == ""
			continue
		}
		note(at, lib.scans, lib.oneOf)
		missing = append(missing, lib.needs()...)
	}
	var twice []string
	for name, definitions := range strong {
		twice = append(twice, fmt.Sprintf("%s links %s more than once: %s. The linker refuses that: make one static or __weak",
			u.label(), name, places(definitions)))
	}
	slices.Sort(twice)
	for _, text := range twice {
		l.report(bc.ambiguous, "%s", text)
	}
	if !complete {
		return
	}
	told := make(map[string]bool)
	for _, s := range missing {
		if _, is := defined[s.Name]; is || s.Linkage == bpfc.Weak || s.Maybe || told[s.Name] || len(l.lib.bySymbol[s.Name]) > 1 {
			continue
		}
		told[s.Name] = true
		if d, ok := l.lib.inFinal(s.Name); ok {
			l.report(bc.unresolved, "%s:%d: %s, which %s needs, is defined only in a final object, which nothing can link: %s. Move it to a library",
				s.UsedAt.File, s.UsedAt.Line, s.Name, u.label(), places([]definition{d}))
			continue
		}
		hint := ""
		if u.c.IndexLazy {
			hint = " in the folders that -index=lazy looks into (name more with # gazelle:bpf_search)"
		}
		l.report(bc.unresolved, "%s:%d: %s, which %s needs, is declared extern and no bpf_library defines it%s. If the kernel has it, declare it __ksym",
			s.UsedAt.File, s.UsedAt.Line, s.Name, u.label(), hint)
	}
}
