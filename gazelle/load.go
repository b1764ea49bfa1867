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
	"github.com/bazel-contrib/bazel-gazelle/v2/walk"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/index"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
)

// A loader finds out about directories that are neither updated nor indexed.
type loader struct {
	// visited has the directories that are updated, loaded those that were read.
	visited, loaded map[string]bool
	packages        map[string]bool
	// headers has what other rules of a directory's BUILD file offer.
	headers map[string]map[string][]label.Label
}

func newLoader() loader {
	return loader{
		visited:  make(map[string]bool),
		loaded:   make(map[string]bool),
		packages: make(map[string]bool),
		headers:  make(map[string]map[string][]label.Label),
	}
}

// look finds out about a directory by itself, without a survey.
func (l *bpfLang) look(c *config.Config, sd *surveyed) {
	l.sources.root = c.RepoRoot
	sd.hasGo = slices.ContainsFunc(sd.files, func(name string) bool { return strings.HasSuffix(name, ".go") })
	sd.hasBPF = slices.ContainsFunc(sd.files, paths.IsBPF)
	if sd.hasGo {
		for rel := sd.rel; ; rel = paths.Parent(rel) {
			if l.sources.isFile(path.Join(rel, "go.mod")) {
				sd.usesEBPF = l.mentionsEBPF(rel)
				break
			}
			if rel == "" {
				break
			}
		}
	}
	l.findCommands(c, sd)
	for i := range sd.commands {
		cmd := &sd.commands[i]
		owner := packageOf(c, paths.Parent(cmd.File))
		name, _ := paths.Under(owner, cmd.File)
		cmd.Src = "//" + owner + ":" + exportedName(name)
		if paths.IsWithin(owner, sd.rel) && paths.IsWithin(sd.rel, paths.Parent(cmd.File)) {
			cmd.Src, _ = paths.Under(sd.rel, cmd.File)
		}
	}
	if known := l.survey.dirs[sd.rel]; known != nil && known != sd {
		// What lines of directories that were visited before say.
		sd.claimed, sd.skeletons, sd.lines = known.claimed, known.skeletons, known.lines
	}
	l.findSources(sd)
}

// load plans a directory that is neither updated nor indexed, as with -index=none.
func (l *bpfLang) load(c *config.Config, rel string) {
	if l.loader.visited[rel] || l.loader.loaded[rel] {
		return
	}
	l.loader.loaded[rel] = true
	files := regularFiles(c, rel)
	if len(files) == 0 {
		return
	}
	build := buildFile(c, rel)
	own := c.Clone()
	bc, _ := getConfig(c).inDirectory(rel, build)
	own.Exts[languageName] = bc
	sd := &surveyed{rel: rel, bc: bc, files: files, build: build, isPackage: true}
	l.look(own, sd)
	d := l.planned(own, sd)
	l.addBelow(own, d)
	d.HasGoLibrary = slices.ContainsFunc(files, func(name string) bool {
		return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
	})
	d.Taken = make(map[string]bool)
	for _, r := range sd.rules {
		if !r.Own {
			d.Taken[r.Name] = true
		}
	}
	planned := make(map[string]bool)
	if bc.enabled && !ignored(build) {
		d.Commands, d.ImportPath = sd.commands, importPath(own, rel)
		for _, u := range plan.Begin(d).Finish(d).Units {
			l.note(u, own, bc)
			planned[u.Name], planned[u.GoName] = true, true
		}
	}
	// Rules of generated sources, and those that are made of others.
	for _, r := range sd.rules {
		if planned[r.Name] {
			continue
		}
		l.indexRule(own, r.Rule, rel)
		if r.Kind == plan.Skeleton || r.Kind == plan.Subskeleton || r.Kind == plan.Types {
			l.index.AddGoPackage(r.Rule.AttrString("importpath"), label.New("", rel, r.Name))
		}
	}
}

// leaveOut notes the directories of a plan's headers that a directive excludes.
// Later, Gazelle does not say that any more.
func (ld *loader) leaveOut(p *plan.Plan) {
	for _, u := range p.Units {
		for rel := range includedDirs(u) {
			if _, err := walk.GetDirInfo(rel); err != nil {
				ld.loaded[rel] = true
			}
		}
	}
}

// includedDirs returns the directories of the files that a unit includes.
func includedDirs(u *plan.Unit) map[string]bool {
	out := make(map[string]bool)
	for _, scan := range u.Scans {
		for _, inc := range scan.Includes {
			if inc.File != "" && !strings.HasPrefix(inc.File, "<") {
				out[paths.Parent(inc.File)] = true
			}
		}
	}
	return out
}

// indexRule notes a rule that stands in a BUILD file.
func (l *bpfLang) indexRule(c *config.Config, r *rule.Rule, rel string) {
	self := label.New("", rel, r.Name())
	switch kindOf(c, r) {
	case plan.Library:
		if l.index.Library(self) != nil {
			// Its headers may be more than those of the plan: # keep.
			l.index.AddHeaders(self, expr.AttrStrings(r, "hdrs", expr.NoFiles))
			return
		}
		files := func() []string { return regularFiles(c, rel) }
		lib := &index.Library{
			Label: self, OneOf: !expr.WrittenOut(r, "srcs"),
			HeadersOnly: expr.WrittenOut(r, "srcs") && len(r.AttrStrings("srcs")) == 0,
		}
		for _, s := range expr.AttrStrings(r, "deps", expr.NoFiles) {
			if dep, err := label.Parse(s); err == nil {
				lib.Deps = append(lib.Deps, local(c, dep.Abs("", rel)))
			}
		}
		flags := getConfig(c).scanned().With(plan.RuleFlags(r, rel))
		for _, src := range expr.RuleSources(r, files) {
			if scan, err := l.sources.scan(path.Join(rel, src), use{rel, &flags}); err == nil {
				lib.Scans = append(lib.Scans, scan)
			}
		}
		l.index.AddLibrary(lib, expr.AttrStrings(r, "hdrs", files))
	case plan.Subskeleton:
		if of, err := label.Parse(r.AttrString("library")); err == nil {
			l.index.AddSubskeleton(local(c, of.Abs("", rel)), self)
		}
	}
}

// regularFiles returns the files of a directory.
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

// ignored reports whether a BUILD file tells Gazelle to leave it alone.
func ignored(f *rule.File) bool {
	return f != nil && slices.ContainsFunc(f.Directives, func(d rule.Directive) bool { return d.Key == "ignore" })
}

// hasBuildFile reports whether a directory has a BUILD file.
func hasBuildFile(c *config.Config, rel string) bool {
	return slices.ContainsFunc(c.ValidBuildFileNames, func(name string) bool {
		info, err := os.Stat(filepath.Join(c.RepoRoot, filepath.FromSlash(rel), name))
		return err == nil && info.Mode().IsRegular()
	})
}

// packageOf returns the nearest directory from rel up that has a BUILD file.
func packageOf(c *config.Config, rel string) string {
	for rel != "" && !hasBuildFile(c, rel) {
		rel = paths.Parent(rel)
	}
	return rel
}

// buildFile reads the BUILD file of a directory, or returns nil.
func buildFile(c *config.Config, rel string) *rule.File {
	for _, name := range c.ValidBuildFileNames {
		f, err := rule.LoadFile(filepath.Join(c.RepoRoot, filepath.FromSlash(rel), name), rel)
		if err == nil {
			return f
		}
	}
	return nil
}

// isPackage reports whether a directory has a BUILD file, or will have one.
func (l *bpfLang) isPackage(c *config.Config, dir string) bool {
	if l.survey.full {
		sd := l.survey.dirs[dir]
		return sd != nil && sd.isPackage
	}
	is, known := l.loader.packages[dir]
	if known {
		return is
	}
	if l.loader.visited[dir] {
		return true
	}
	entries, err := os.ReadDir(filepath.Join(c.RepoRoot, filepath.FromSlash(dir)))
	if err == nil {
		is = slices.ContainsFunc(entries, func(e os.DirEntry) bool {
			name := e.Name()
			return c.IsValidBuildFileName(name) || strings.HasSuffix(name, ".go") || paths.IsBPF(name)
		})
	}
	l.loader.packages[dir] = is
	return is
}

// offered returns the rules of other kinds in a directory's BUILD file that have a
// header: cc_library, or bpf_vmlinux_header.
func (l *bpfLang) offered(c *config.Config, rel, header string) []label.Label {
	headers, known := l.loader.headers[rel]
	if !known {
		headers = make(map[string][]label.Label)
		l.loader.headers[rel] = headers
		if f := buildFile(c, rel); f != nil {
			for _, r := range f.Rules {
				kind := kindOf(c, r)
				self := label.New("", rel, r.Name())
				if kind == plan.Vmlinux {
					headers["vmlinux.h"] = append(headers["vmlinux.h"], self)
				}
				if !plan.HasHeaders(kind) {
					continue
				}
				for _, h := range expr.AttrStrings(r, "hdrs", func() []string { return regularFiles(c, rel) }) {
					h = strings.TrimPrefix(h, ":")
					headers[h] = append(headers[h], self)
				}
			}
		}
	}
	return headers[header]
}

// indexed returns the directories whose libraries a plan's units may link: those of
// the headers that they include, of their present dependencies, and of what these
// in turn depend on.
func (l *bpfLang) indexed(c *config.Config, p *plan.Plan) []string {
	q := &queue{l: l, c: c, seen: make(map[string]bool)}
	for _, u := range p.Units {
		for rel := range includedDirs(u) {
			q.visit(rel)
		}
		if u.Existing != nil {
			q.visitLabels(u.Existing, u.Rel)
		}
	}
	for _, dir := range getConfig(c).searched() {
		if dir != "." {
			q.visit(dir)
		}
	}
	for i := 0; i < len(q.rels); i++ {
		q.follow(q.rels[i])
	}
	return q.rels
}

// A queue has directories to look into.
type queue struct {
	l    *bpfLang
	c    *config.Config
	seen map[string]bool
	rels []string
}

func (q *queue) visit(rel string) {
	if !q.seen[rel] {
		q.seen[rel] = true
		q.rels = append(q.rels, rel)
	}
}

func (q *queue) visitLabels(r *rule.Rule, pkg string) {
	for _, attr := range []string{"deps", "subskeletons"} {
		for _, s := range expr.AttrStrings(r, attr, expr.NoFiles) {
			if dep, err := label.Parse(s); err == nil && dep.Repo == "" {
				q.visit(dep.Abs("", pkg).Pkg)
			}
		}
	}
}

// follow visits what the files of a directory include, and what its libraries depend
// on.
func (q *queue) follow(rel string) {
	if q.l.loader.visited[rel] {
		return
	}
	info, err := walk.GetDirInfo(rel)
	if err != nil {
		return
	}
	flags := getConfig(q.c).scanned()
	for _, name := range info.RegularFiles {
		if !paths.IsBPF(name) {
			continue
		}
		scan, err := q.l.sources.scan(path.Join(rel, name), use{rel, &flags})
		if err != nil {
			continue
		}
		for _, inc := range scan.Includes {
			if inc.File != "" && !strings.HasPrefix(inc.File, "<") {
				q.visit(paths.Parent(inc.File))
			}
		}
	}
	if info.File != nil {
		for _, r := range info.File.Rules {
			if kindOf(q.c, r) == plan.Library {
				q.visitLabels(r, rel)
			}
		}
	}
}
