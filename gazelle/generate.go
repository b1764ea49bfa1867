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
	configv1 "github.com/bazelbuild/bazel-gazelle/config"
	"github.com/bazelbuild/bazel-gazelle/language"
	golang "github.com/bazelbuild/bazel-gazelle/language/go"
	"github.com/bazelbuild/buildtools/build"
)

func (l *bpfLang) GenerateRules(args language.GenerateArgs) language.GenerateResult {
	var res language.GenerateResult
	bc := getConfig(args.Config)
	bc.setPrefix(args.Config, args.Rel)
	if !bc.enabled {
		return res
	}
	if args.Config.IndexLazy {
		l.indexGoImports(args, &res)
	}
	l.lib.visited[args.Rel] = true
	l.scanAhead(args.Config, args.Rel)

	d := &folder{
		c: args.Config, rel: args.Rel, files: args.RegularFiles, generated: args.GenFiles, build: args.File,
		hasGoLibrary: hasGoLibrary(args), taken: takenNames(args),
	}
	if !l.concerns(d, args) {
		return res
	}
	p := l.planFolder(d)
	stripGoSources(args, p)

	visible := args.File == nil || !args.File.HasDefaultVisibility()
	add := func(r *rule.Rule, imports any) {
		if visible {
			r.SetAttr("visibility", []string{rule.CheckInternalVisibility(args.Rel, "//visibility:public")})
		}
		res.Gen = append(res.Gen, r)
		res.Imports = append(res.Imports, imports)
	}
	for _, u := range p.units {
		l.lib.add(u)
		add(u.rule(bc), u)
		switch {
		case u.kind == libraryKind && u.goName != "":
			r := rule.NewRule(subskeletonKind, u.goName)
			if u.importpath != "" {
				r.SetAttr("importpath", u.importpath)
			}
			r.SetAttr("library", ":"+u.name)
			add(r, nil)
		case u.kind == objectKind && args.File != nil:
			// Skeletons of the object, that somebody wrote.
			for _, r := range args.File.Rules {
				if kindOf(args.Config, r) == skeletonKind && strings.TrimPrefix(r.AttrString("src"), ":") == u.name {
					skeleton := rule.NewRule(skeletonKind, r.Name())
					skeleton.SetAttr("src", ":"+u.name)
					if importpath := r.AttrString("importpath"); importpath != "" {
						skeleton.SetAttr("importpath", importpath)
					}
					add(skeleton, u)
				}
			}
		}
	}
	if !args.Config.IndexLibraries {
		l.leaveOut(p)
	}
	res.Empty = stale(args, p, res.Gen)
	// Without laziness, Gazelle indexes every folder.
	if args.Config.IndexLazy {
		res.RelsToIndex = append(res.RelsToIndex, l.indexed(args.Config, p)...)
		slices.Sort(res.RelsToIndex)
		res.RelsToIndex = slices.Compact(res.RelsToIndex)
	}
	return res
}

// leaveOut notes the folders of a plan's headers that a directive excludes. Later,
// Gazelle does not say that any more.
func (l *bpfLang) leaveOut(p *plan) {
	for _, u := range p.units {
		for _, scan := range u.scans {
			for _, inc := range scan.Includes {
				if inc.File == "" || strings.HasPrefix(inc.File, "<") {
					continue
				}
				rel := parent(inc.File)
				if _, err := walk.GetDirInfo(rel); err != nil {
					l.lib.loaded[rel] = true
				}
			}
		}
	}
}

// concerns reports whether there is anything in the folder for this language.
func (l *bpfLang) concerns(d *folder, args language.GenerateArgs) bool {
	if len(getConfig(d.c).kinds) > 0 {
		return true
	}
	for _, name := range d.files {
		if strings.HasSuffix(name, sourceSuffix) || strings.HasSuffix(name, headerSuffix) {
			return true
		}
	}
	if args.File != nil {
		for _, r := range args.File.Rules {
			if _, ours := kinds[kindOf(d.c, r)]; ours {
				return true
			}
		}
	}
	return false
}

// setPrefix keeps what the import paths of the repository begin with.
func (bc *bpfConfig) setPrefix(c *config.Config, rel string) {
	if _, ok := c.Exts["go"]; !ok {
		return
	}
	// Of the root, a prefix that begins further down is all there is.
	prefix, own := golang.InferImportPath(c, ""), golang.InferImportPath(c, rel)
	suffix := strings.Trim(strings.TrimPrefix(own, prefix), "/")
	bc.prefix = prefix
	bc.prefixRel = strings.Trim(strings.TrimSuffix(rel, suffix), "/")
}

// folderOf returns the folder that has an import path by convention.
func (bc *bpfConfig) folderOf(importpath string) (string, bool) {
	if bc.prefix == "" {
		return "", false
	}
	if importpath == bc.prefix {
		return bc.prefixRel, true
	}
	rest, ok := strings.CutPrefix(importpath, bc.prefix+"/")
	return path.Join(bc.prefixRel, rest), ok
}

// rule returns the rule of a unit, but for its dependencies.
func (u *unit) rule(bc *bpfConfig) *rule.Rule {
	r := rule.NewRule(u.kind, u.name)
	if u.kind == skeletonKind {
		r.SetAttr("src", u.srcs[0])
		if u.importpath != "" {
			r.SetAttr("importpath", u.importpath)
		}
	} else if !writtenOut(u.existing, "srcs") {
		r.SetAttr("srcs", byHand{u.existing.Attr("srcs")})
	} else if len(u.srcs) > 0 {
		r.SetAttr("srcs", u.srcs)
	}
	if !writtenOut(u.existing, "hdrs") {
		r.SetAttr("hdrs", byHand{u.existing.Attr("hdrs")})
	} else if len(u.hdrs) > 0 {
		r.SetAttr("hdrs", u.hdrs)
	}
	if len(u.srcs) > 0 && (len(bc.copts) > 0 || u.existing != nil && u.existing.Attr("copts") != nil) {
		r.SetAttr("copts", flagList(bc.copts))
	}
	if len(u.includes) > 0 || u.existing != nil && u.existing.Attr("includes") != nil {
		r.SetAttr("includes", flagList(u.includes))
	}
	return r
}

// flagList is a list in which order matters. Merged into a rule, it adds what is
// missing and removes nothing: others may have added to it by hand.
type flagList []string

func (f flagList) BzlExpr() build.Expr { return rule.ExprFromValue([]string(f)) }

func (f flagList) Merge(other build.Expr) build.Expr {
	if other == nil {
		if len(f) == 0 {
			return nil
		}
		return f.BzlExpr()
	}
	list, ok := other.(*build.ListExpr)
	if !ok {
		return other
	}
	there := make(map[string]bool)
	for _, e := range list.List {
		if s, ok := e.(*build.StringExpr); ok {
			there[s.Value] = true
		}
	}
	merged := *list
	for _, flag := range f {
		if !there[flag] {
			merged.List = append(slices.Clip(merged.List), &build.StringExpr{Value: flag})
		}
	}
	return &merged
}

// stale returns rules to delete: those that nothing in the folder stands for any
// more.
func stale(args language.GenerateArgs, p *plan, gen []*rule.Rule) []*rule.Rule {
	if args.File == nil {
		return nil
	}
	// A name may go from a rule of one kind to one of another.
	current := make(map[[2]string]bool)
	for _, r := range gen {
		current[[2]string{r.Kind(), r.Name()}] = true
	}
	globbed := func() []string { return args.RegularFiles }
	exists := func(name string) bool {
		return p.broken[name] || slices.Contains(args.GenFiles, name)
	}
	gone := make(map[string]bool)
	var out []*rule.Rule
	remove := func(kind string, r *rule.Rule) {
		gone[r.Name()] = true
		out = append(out, rule.NewRule(kind, r.Name()))
	}
	for _, r := range args.File.Rules {
		kind := kindOf(args.Config, r)
		if kind != skeletonKind && kind != objectKind && kind != libraryKind || current[[2]string{kind, r.Name()}] {
			continue
		}
		if !writtenOut(r, "srcs") || !writtenOut(r, "hdrs") || r.Attr("srcs") == nil && r.Attr("src") == nil && r.Attr("hdrs") == nil {
			// An expression, or a library of libraries.
			continue
		}
		sources := ruleSources(r, globbed)
		all := append(r.AttrStrings("srcs"), r.AttrString("src"))
		all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
		if len(all) != len(sources) || slices.ContainsFunc(sources, exists) {
			continue
		}
		// A source without a dot in its name is a rule of this package.
		if slices.ContainsFunc(sources, func(s string) bool { return isRule(args.File, s) && !gone[s] }) {
			continue
		}
		remove(kind, r)
	}
	// What is made of deleted rules goes with them.
	for _, r := range args.File.Rules {
		kind := kindOf(args.Config, r)
		if current[[2]string{kind, r.Name()}] || gone[r.Name()] {
			continue
		}
		var of string
		switch kind {
		case subskeletonKind:
			of = r.AttrString("library")
		case skeletonKind:
			of = r.AttrString("src")
		default:
			continue
		}
		if l, err := label.Parse(of); err == nil {
			l = l.Abs("", args.Rel)
			if l.Repo == "" && l.Pkg == args.Rel && (gone[l.Name] || !isRule(args.File, l.Name) &&
				!slices.Contains(args.GenFiles, l.Name) && !p.broken[l.Name]) {
				remove(kind, r)
			}
		}
	}
	return out
}

func isRule(f *rule.File, name string) bool {
	return slices.ContainsFunc(f.Rules, func(r *rule.Rule) bool { return r.Name() == name })
}

// takenNames returns names that this language's targets cannot have.
func takenNames(args language.GenerateArgs) map[string]bool {
	taken := make(map[string]bool)
	for _, r := range args.OtherGen {
		taken[r.Name()] = true
	}
	if args.File == nil {
		return taken
	}
	deleted := func(r *rule.Rule) bool {
		return slices.ContainsFunc(args.OtherEmpty, func(e *rule.Rule) bool { return e.Kind() == r.Kind() && e.Name() == r.Name() })
	}
	for _, r := range args.File.Rules {
		if _, ours := kinds[kindOf(args.Config, r)]; ours && !r.ShouldKeep() || deleted(r) {
			continue
		}
		taken[r.Name()] = true
	}
	return taken
}

// hasGoLibrary reports whether a Go package has the folder's import path.
func hasGoLibrary(args language.GenerateArgs) bool {
	ran := false
	for _, r := range args.OtherGen {
		if strings.HasPrefix(r.Kind(), "go_") {
			ran = true
			if r.AttrString("importpath") != "" {
				return true
			}
		}
	}
	for _, r := range args.OtherEmpty {
		ran = ran || strings.HasPrefix(r.Kind(), "go_")
	}
	if ran {
		return false
	}
	// Go's rules are generated after these, or not at all.
	return slices.ContainsFunc(args.RegularFiles, func(name string) bool {
		return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
	})
}

// stripGoSources takes BPF's files out of the Go rules of the folder: Gazelle
// takes each header for one of assembly or cgo code.
func stripGoSources(args language.GenerateArgs, p *plan) {
	bpf := make(map[string]bool)
	headers := make(map[string]bool)
	for name := range p.broken {
		bpf[name] = true
	}
	for _, u := range p.units {
		for _, name := range u.srcs {
			bpf[inGoSources(args, name)] = true
		}
		for _, name := range u.hdrs {
			headers[inGoSources(args, name)] = true
		}
	}
	foreign := func(e build.Expr) bool {
		s, ok := e.(*build.StringExpr)
		return !ok || bpf[s.Value] || headers[s.Value] ||
			strings.HasSuffix(s.Value, sourceSuffix) || strings.HasSuffix(s.Value, headerSuffix)
	}
	for _, r := range args.OtherGen {
		if !strings.HasPrefix(r.Kind(), "go_") || r.Attr("srcs") == nil {
			continue
		}
		// Most have sources in Go only.
		if list, ok := r.Attr("srcs").(*build.ListExpr); ok && len(list.List) > 0 && !slices.ContainsFunc(list.List, foreign) {
			continue
		}
		// cgo and assembly may include a header too.
		alone := !r.AttrBool("cgo")
		rule.MapExprStrings(r.Attr("srcs"), func(s string) string {
			switch path.Ext(s) {
			case ".s", ".S", ".sx", ".c", ".cc", ".cpp":
				alone = alone && bpf[s]
			}
			return s
		})
		srcs := rule.MapExprStrings(r.Attr("srcs"), func(s string) string {
			if bpf[s] || strings.HasSuffix(s, sourceSuffix) || strings.HasSuffix(s, headerSuffix) || alone && headers[s] {
				return ""
			}
			return s
		})
		if list, ok := srcs.(*build.ListExpr); srcs == nil || ok && len(list.List) == 0 {
			r.DelAttr("srcs")
		} else {
			r.SetAttr("srcs", srcs)
		}
	}
}

// inGoSources returns what Gazelle's Go language calls a file: one of a folder below
// it calls by its last name, as if it stood in this one.
func inGoSources(args language.GenerateArgs, name string) string {
	if base := path.Base(name); !slices.Contains(args.RegularFiles, base) {
		return base
	}
	return name
}

// indexGoImports names folders that may have the packages that Go files import:
// a package of a folder with several is called by the folder's path and its name.
func (l *bpfLang) indexGoImports(args language.GenerateArgs, res *language.GenerateResult) {
	bc := getConfig(args.Config)
	for _, r := range args.OtherGen {
		imports, ok := r.PrivateAttr(configv1.GazelleImportsKey).(rule.PlatformStrings)
		if !ok {
			continue
		}
		for imp := range imports.Each() {
			rel, ok := bc.folderOf(imp)
			if !ok || rel == "" {
				continue
			}
			if info, err := os.Stat(filepath.Join(args.Config.RepoRoot, filepath.FromSlash(rel))); err == nil && info.IsDir() {
				continue
			}
			res.RelsToIndex = append(res.RelsToIndex, parent(rel), packageOf(args.Config, rel))
		}
	}
}

func parent(rel string) string {
	if dir := path.Dir(rel); dir != "." && dir != "/" {
		return dir
	}
	return ""
}

// indexed returns the folders whose libraries a plan's units may link: those of
// the headers that they include, of their present dependencies, and of what these
// in turn depend on.
func (l *bpfLang) indexed(c *config.Config, p *plan) []string {
	bc := getConfig(c)
	seen := make(map[string]bool)
	var queue []string
	visit := func(rel string) {
		if !seen[rel] {
			seen[rel] = true
			queue = append(queue, rel)
		}
	}
	labels := func(r *rule.Rule, pkg string) {
		for _, attr := range []string{"deps", "subskeletons"} {
			for _, s := range attrStrings(r, attr, noFiles) {
				if dep, err := label.Parse(s); err == nil && dep.Repo == "" {
					visit(dep.Abs("", pkg).Pkg)
				}
			}
		}
	}
	for _, u := range p.units {
		for _, scan := range u.scans {
			for _, inc := range scan.Includes {
				if inc.File != "" && !strings.HasPrefix(inc.File, "<") {
					visit(parent(inc.File))
				}
			}
		}
		if u.existing != nil {
			labels(u.existing, u.rel)
		}
	}
	for _, dir := range bc.search {
		if dir != "." {
			visit(dir)
		}
	}
	for i := 0; i < len(queue); i++ {
		rel := queue[i]
		if l.lib.visited[rel] {
			continue
		}
		info, err := walk.GetDirInfo(rel)
		if err != nil {
			continue
		}
		for _, name := range info.RegularFiles {
			if !strings.HasSuffix(name, sourceSuffix) && !strings.HasSuffix(name, headerSuffix) {
				continue
			}
			scan, err := l.scan(c, path.Join(rel, name), defines(bc.copts))
			if err != nil {
				continue
			}
			for _, inc := range scan.Includes {
				if inc.File != "" && !strings.HasPrefix(inc.File, "<") {
					visit(parent(inc.File))
				}
			}
		}
		if info.File != nil {
			for _, r := range info.File.Rules {
				if kindOf(c, r) == libraryKind {
					labels(r, rel)
				}
			}
		}
	}
	return queue
}
