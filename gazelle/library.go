package gazelle

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"

	"github.com/rules-bpf/rules_bpf/gazelle/bpfc"
)

// A library is a bpf_library that others may link.
type library struct {
	label label.Label
	// unit is set when the library's folder was planned in this run. Otherwise
	// deps is what its BUILD file says.
	unit  *unit
	deps  []label.Label
	scans []*bpfc.File
	// oneOf is set when the sources are not a list: a select compiles some of them.
	oneOf bool
	// externs is what the library needs, once that was asked for.
	externs     []*bpfc.Symbol
	externsDone bool
}

func (lib *library) needs() []*bpfc.Symbol {
	if !lib.externsDone {
		lib.externs, lib.externsDone = externs(lib.scans), true
	}
	return lib.externs
}

// A definition is where a library defines a symbol.
type definition struct {
	library label.Label
	symbol  *bpfc.Symbol
}

// libraries is what is known of all folders that were planned or indexed. Labels
// in it have no repository.
type libraries struct {
	byLabel      map[label.Label]*library
	byHeader     map[string][]label.Label
	bySymbol     map[string][]definition
	subskeletons map[label.Label][]label.Label
	goPackages   map[string][]label.Label
	// finalHeaders has the headers that belong to final objects only.
	finalHeaders map[string]label.Label
	// finals has the final objects, for messages.
	finals []*unit
	// buildHeaders has what other rules of a folder's BUILD file offer.
	buildHeaders map[string]map[string][]label.Label

	packages, visited, loaded map[string]bool

	// linked is memory that one final object's check leaves to the next.
	linked map[string]definition
}

func newLibraries() libraries {
	return libraries{
		byLabel:      make(map[label.Label]*library),
		byHeader:     make(map[string][]label.Label),
		bySymbol:     make(map[string][]definition),
		subskeletons: make(map[label.Label][]label.Label),
		goPackages:   make(map[string][]label.Label),
		finalHeaders: make(map[string]label.Label),
		buildHeaders: make(map[string]map[string][]label.Label),
		packages:     make(map[string]bool),
		visited:      make(map[string]bool),
		loaded:       make(map[string]bool),
		linked:       make(map[string]definition),
	}
}

// add notes a unit that was planned.
func (ls *libraries) add(u *unit) {
	if u.goName != "" {
		ls.addGoPackage(u.importpath, label.New("", u.rel, u.goName))
	}
	if u.kind != libraryKind {
		ls.finals = append(ls.finals, u)
		for _, h := range u.hdrs {
			ls.finalHeaders[path.Join(u.rel, h)] = u.label()
		}
		return
	}
	ls.addLibrary(&library{label: u.label(), unit: u, scans: u.scans, oneOf: !writtenOut(u.existing, "srcs")}, u.hdrs)
	if u.goName != "" {
		ls.addSubskeleton(u.label(), label.New("", u.rel, u.goName))
	}
}

// inFinal returns a final object that defines a symbol, and where.
func (ls *libraries) inFinal(name string) (definition, bool) {
	for _, u := range ls.finals {
		for _, scan := range u.scans {
			definitions := scan.Definitions()
			for i := range definitions {
				if definitions[i].Name == name {
					return definition{library: u.label(), symbol: &definitions[i]}, true
				}
			}
		}
	}
	return definition{}, false
}

func (ls *libraries) addLibrary(lib *library, hdrs []string) {
	ls.byLabel[lib.label] = lib
	ls.addHeaders(lib.label, hdrs)
	for _, scan := range lib.scans {
		definitions := scan.Definitions()
		for i := range definitions {
			s := &definitions[i]
			ls.bySymbol[s.Name] = append(ls.bySymbol[s.Name], definition{library: lib.label, symbol: s})
		}
	}
}

func (ls *libraries) addHeaders(of label.Label, hdrs []string) {
	for _, h := range hdrs {
		name := path.Join(of.Pkg, strings.TrimPrefix(h, ":"))
		if !slices.Contains(ls.byHeader[name], of) {
			ls.byHeader[name] = append(ls.byHeader[name], of)
		}
	}
}

func (ls *libraries) addSubskeleton(of, l label.Label) {
	if !slices.Contains(ls.subskeletons[of], l) {
		ls.subskeletons[of] = append(ls.subskeletons[of], l)
	}
}

func (ls *libraries) addGoPackage(importpath string, l label.Label) {
	if importpath != "" && !slices.Contains(ls.goPackages[importpath], l) {
		ls.goPackages[importpath] = append(ls.goPackages[importpath], l)
	}
}

// index notes a rule that stands in a BUILD file.
func (l *bpfLang) index(c *config.Config, r *rule.Rule, rel string) {
	self := label.New("", rel, r.Name())
	switch kindOf(c, r) {
	case libraryKind:
		if l.lib.byLabel[self] != nil {
			// Its headers may be more than those of the plan: # keep.
			l.lib.addHeaders(self, attrStrings(r, "hdrs", noFiles))
			return
		}
		files := func() []string { return regularFiles(c, rel) }
		lib := &library{label: self, oneOf: !writtenOut(r, "srcs")}
		for _, s := range attrStrings(r, "deps", noFiles) {
			if dep, err := label.Parse(s); err == nil {
				lib.deps = append(lib.deps, local(c, dep.Abs("", rel)))
			}
		}
		flags := append(r.AttrStrings("defines"), defines(r.AttrStrings("copts"))...)
		for _, src := range ruleSources(r, files) {
			if scan, err := l.scan(c, path.Join(rel, src), flags); err == nil {
				lib.scans = append(lib.scans, scan)
			}
		}
		l.lib.addLibrary(lib, attrStrings(r, "hdrs", files))
	case subskeletonKind:
		if of, err := label.Parse(r.AttrString("library")); err == nil {
			l.lib.addSubskeleton(local(c, of.Abs("", rel)), self)
		}
	}
}

// noFiles is for attributes of labels, which no glob makes.
func noFiles() []string { return nil }

// regularFiles returns the files of a folder.
func regularFiles(c *config.Config, rel string) []string {
	// What cannot be read has no files.
	entries, _ := os.ReadDir(filepath.Join(c.RepoRoot, filepath.FromSlash(rel)))
	var out []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			out = append(out, e.Name())
		}
	}
	return out
}

// local returns a label without the name of the repository that is being updated.
func local(c *config.Config, l label.Label) label.Label {
	if l.Repo == c.RepoName {
		l.Repo = ""
	}
	return label.New(l.Repo, l.Pkg, l.Name)
}

// load plans a folder that is neither updated nor indexed, as with -index=none.
func (l *bpfLang) load(c *config.Config, rel string) {
	if l.lib.visited[rel] || l.lib.loaded[rel] {
		return
	}
	l.lib.loaded[rel] = true
	d := &folder{rel: rel, build: buildFile(c, rel), files: regularFiles(c, rel), taken: make(map[string]bool)}
	if len(d.files) == 0 {
		return
	}
	for _, name := range d.files {
		d.hasGoLibrary = d.hasGoLibrary || strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
	}
	d.c = c.Clone()
	d.c.Exts[languageName] = getConfig(c).inFolder(rel, d.build)
	if d.build != nil {
		for _, r := range d.build.Rules {
			if _, ours := kinds[kindOf(d.c, r)]; !ours {
				d.taken[r.Name()] = true
			}
		}
	}
	planned := make(map[string]bool)
	if getConfig(d.c).enabled && !ignored(d.build) {
		for _, u := range l.planFolder(d).units {
			l.lib.add(u)
			planned[u.name], planned[u.goName] = true, true
		}
	}
	if d.build == nil {
		return
	}
	// Rules of generated sources, and those that are made of others.
	for _, r := range d.build.Rules {
		if planned[r.Name()] {
			continue
		}
		l.index(d.c, r, rel)
		if kind := kindOf(d.c, r); kind == skeletonKind || kind == subskeletonKind {
			l.lib.addGoPackage(r.AttrString("importpath"), label.New("", rel, r.Name()))
		}
	}
}

// ignored reports whether a BUILD file tells Gazelle to leave it alone.
func ignored(f *rule.File) bool {
	return f != nil && slices.ContainsFunc(f.Directives, func(d rule.Directive) bool { return d.Key == "ignore" })
}

// hasBuildFile reports whether a folder has a BUILD file.
func hasBuildFile(c *config.Config, rel string) bool {
	return slices.ContainsFunc(c.ValidBuildFileNames, func(name string) bool {
		info, err := os.Stat(filepath.Join(c.RepoRoot, filepath.FromSlash(rel), name))
		return err == nil && info.Mode().IsRegular()
	})
}

// packageOf returns the nearest folder from rel up that has a BUILD file.
func packageOf(c *config.Config, rel string) string {
	for rel != "" && !hasBuildFile(c, rel) {
		rel = parent(rel)
	}
	return rel
}

// buildFile reads the BUILD file of a folder, or returns nil.
func buildFile(c *config.Config, rel string) *rule.File {
	for _, name := range c.ValidBuildFileNames {
		f, err := rule.LoadFile(filepath.Join(c.RepoRoot, filepath.FromSlash(rel), name), rel)
		if err == nil {
			return f
		}
	}
	return nil
}

// hasHeaders reports whether rules of a kind that is not of this language may be
// a dependency for their headers.
func hasHeaders(kind string) bool {
	if _, ours := kinds[kind]; ours || strings.HasPrefix(kind, "go_") {
		return false
	}
	return strings.HasSuffix(kind, "_library") || strings.HasSuffix(kind, "_headers")
}

// offered returns the rules of other kinds in a folder's BUILD file that have a
// header: cc_library, or bpf_vmlinux_header.
func (l *bpfLang) offered(c *config.Config, rel, header string) []label.Label {
	headers, known := l.lib.buildHeaders[rel]
	if !known {
		headers = make(map[string][]label.Label)
		l.lib.buildHeaders[rel] = headers
		if f := buildFile(c, rel); f != nil {
			for _, r := range f.Rules {
				kind := kindOf(c, r)
				self := label.New("", rel, r.Name())
				if kind == vmlinuxKind {
					headers["vmlinux.h"] = append(headers["vmlinux.h"], self)
				}
				if !hasHeaders(kind) {
					continue
				}
				for _, h := range attrStrings(r, "hdrs", func() []string { return regularFiles(c, rel) }) {
					h = strings.TrimPrefix(h, ":")
					headers[h] = append(headers[h], self)
				}
			}
		}
	}
	return headers[header]
}
