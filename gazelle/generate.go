package gazelle

import (
	"cmp"
	"log"
	"path"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
	"github.com/bazelbuild/bazel-gazelle/language"
	golang "github.com/bazelbuild/bazel-gazelle/language/go"
	"github.com/bazelbuild/buildtools/build"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpf2go"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
)

func (l *bpfLang) GenerateRules(args language.GenerateArgs) language.GenerateResult {
	var res language.GenerateResult
	l.prepare(args.Config)
	if l.survey.nothing && !hasOwn(args) {
		return res
	}
	bc := getConfig(args.Config)
	prefix := prefixOf(args.Config, args.Rel)
	if !args.Config.IndexLibraries {
		// To find packages where they must be by convention.
		own := *bc
		own.prefix = prefix
		args.Config.Exts[languageName] = &own
	}
	l.imports.note(args, prefix)
	if !bc.enabled || isOthers(args.Rel) && !l.survey.uses(args.Rel) {
		return res
	}
	if args.Config.IndexLazy {
		l.indexGoImports(args, prefix, &res)
	}
	l.loader.visited[args.Rel] = true
	sd := l.surveyedFor(args)
	if !sd.concerns(bc) {
		return res
	}
	d, p := sd.directory, sd.begun
	if d == nil {
		d = l.planned(args.Config, sd)
	}
	sources := len(d.Sources)
	d.Files, d.Generated = args.RegularFiles, args.GenFiles
	d.HasGoLibrary, d.Taken, d.Embedded = hasGoLibrary(args), takenNames(args, sd.rules), embedded(args)
	l.addBelow(args.Config, d)
	if p == nil || len(d.Sources) != sources {
		p = plan.Begin(d)
	}
	// What was only of use here need not be kept.
	sd.directory, sd.begun = nil, nil
	d.Commands, d.Surveyed, d.Reached = sd.commands, l.survey.full, sd.reached
	d.ImportPath = importPath(args.Config, args.Rel)
	p.Finish(d)
	for _, message := range p.Messages {
		log.Print(message)
	}
	w := &writer{l: l, args: args, bc: bc, plan: p, rules: sd.rules, visible: args.File == nil || !args.File.HasDefaultVisibility()}
	w.write(sd.exported)
	stripGoSources(args, p, sd)
	embedGo(args, p, d.ImportPath, l.sources.path(args.Rel))
	res.Gen, res.Imports = w.gen, w.imports
	if !args.Config.IndexLibraries {
		l.loader.leaveOut(p)
	}
	res.Empty = stale(args, sd, p, res.Gen, l.survey.full)
	sd.rules = nil
	// Without laziness, Gazelle indexes every directory.
	if args.Config.IndexLazy {
		res.RelsToIndex = append(res.RelsToIndex, l.indexed(args.Config, p)...)
		slices.Sort(res.RelsToIndex)
		res.RelsToIndex = slices.Compact(res.RelsToIndex)
	}
	return res
}

// hasOwn reports whether the BUILD file has rules of this language.
func hasOwn(args language.GenerateArgs) bool {
	return args.File != nil && slices.ContainsFunc(args.File.Rules, func(r *rule.Rule) bool {
		_, own := kinds[kindOf(args.Config, r)]
		return own
	})
}

// surveyedFor returns what is known of the directory that rules are generated for.
func (l *bpfLang) surveyedFor(args language.GenerateArgs) *surveyed {
	if sd := l.survey.dirs[args.Rel]; sd != nil && l.survey.full {
		sd.update(args)
		return sd
	}
	sd := &surveyed{rel: args.Rel, bc: getConfig(args.Config), files: args.RegularFiles, build: args.File, isPackage: true}
	l.look(args.Config, sd)
	return sd
}

// update notes what is known of the directory's BUILD file by now: other languages may
// have changed it, and the survey has the directives of the root only.
func (sd *surveyed) update(args language.GenerateArgs) {
	if args.File == sd.build && (args.File == nil || len(args.File.Rules) == len(sd.rules)) &&
		len(args.Config.KindMap) == 0 && len(args.Config.AliasMap) == 0 {
		return
	}
	sd.build = args.File
	sd.rules = classify(args.Config, args.File, sd.files)
	if sd.directory != nil {
		sd.directory.SetBuild(sd.build, sd.rules)
	}
}

// concerns reports whether there is anything in the directory for this language.
func (sd *surveyed) concerns(bc *bpfConfig) bool {
	return len(bc.kinds) > 0 || len(sd.sources) > 0 || len(sd.commands) > 0 || len(sd.exported) > 0 || len(sd.reached) > 0 ||
		slices.ContainsFunc(sd.files, paths.IsBPF) || slices.ContainsFunc(sd.rules, func(r plan.Rule) bool { return r.Own })
}

// planned returns what the plan of a directory is made from, as far as it does not
// depend on what other languages generate.
func (l *bpfLang) planned(c *config.Config, sd *surveyed) *plan.Directory {
	bc := sd.bc
	d := &plan.Directory{
		Repository: &view{l, c, sd}, Rel: sd.rel, Files: sd.files,
		Naming: bc.naming, Flags: bc.scanned(), Own: sd.skeletons, Sources: sd.sources,
	}
	d.SetBuild(sd.build, sd.rules)
	return d
}

// A view is the repository as one directory sees it.
type view struct {
	l  *bpfLang
	c  *config.Config
	sd *surveyed
}

func (v *view) Scan(file string, flags *plan.Flags) (*bpfc.File, error) {
	return v.l.sources.scan(file, use{v.sd.rel, flags})
}

func (v *view) Shallow(file string) (*bpfc.File, error) {
	// What is included first is included by sources.
	flags := v.sd.bc.scanned()
	flags.Forced = nil
	return v.l.sources.scanShallow(file, use{v.sd.rel, &flags})
}

func (v *view) IsFile(file string) bool     { return v.l.sources.isFile(file) }
func (v *view) IsPackage(dir string) bool   { return v.l.isPackage(v.c, dir) }
func (v *view) Directed(name string) string { return v.sd.bc.kindOf(name) }

// importPath returns the import path of a directory.
func importPath(c *config.Config, rel string) string {
	if _, ok := c.Exts["go"]; ok {
		if p := golang.InferImportPath(c, rel); p != "" {
			return p
		}
	}
	if rel == "" {
		return path.Base(c.RepoRoot)
	}
	return rel
}

// addBelow adds what rules have of directories below that have no BUILD file, and
// will get none: generation_mode is update_only, or a directive excludes them.
// Gazelle knows of the former when it is to go into the directories below, too.
func (l *bpfLang) addBelow(c *config.Config, d *plan.Directory) {
	for _, r := range d.Rules {
		if !r.Own {
			continue
		}
		for _, name := range append(expr.RuleSources(r.Rule, expr.NoFiles), expr.AttrStrings(r.Rule, "hdrs", expr.NoFiles)...) {
			if expr.IsLabel(name) || !strings.Contains(name, "/") || slices.Contains(d.Files, name) ||
				!l.sources.isFile(path.Join(d.Rel, name)) {
				continue
			}
			below := true
			for dir := path.Dir(name); dir != "." && below; dir = path.Dir(dir) {
				rel := path.Join(d.Rel, dir)
				below = !l.loader.visited[rel] && !hasBuildFile(c, rel)
			}
			if !below {
				continue
			}
			d.Files = append(slices.Clip(d.Files), name)
			if strings.HasSuffix(name, ".c") && r.Kind != plan.Bpf2go && slices.Contains(expr.RuleSources(r.Rule, expr.NoFiles), name) &&
				!slices.Contains(d.Sources, name) {
				d.Sources = append(slices.Clip(d.Sources), name)
			}
		}
	}
	slices.Sort(d.Sources)
}

// A writer makes rules of a plan.
type writer struct {
	l       *bpfLang
	args    language.GenerateArgs
	bc      *bpfConfig
	plan    *plan.Plan
	rules   []plan.Rule
	visible bool
	gen     []*rule.Rule
	imports []any
}

// note makes a unit one that others find.
func (l *bpfLang) note(u *plan.Unit, c *config.Config, bc *bpfConfig) {
	l.index.AddUnit(u, !expr.WrittenOut(u.Existing, "srcs"))
	// Otherwise Gazelle's index has them.
	if !c.IndexLibraries && u.GoName != "" && u.Kind != plan.Bpf2go {
		l.index.AddGoPackage(u.ImportPath, label.New("", u.Rel, u.GoName))
	}
	l.resolver.add(u, c, bc)
}

// add adds a rule for the existing one, or for none.
func (w *writer) add(r, existing *rule.Rule, imports any) {
	// What a rule has, Gazelle leaves as it is.
	if w.visible && (existing == nil || existing.Attr("visibility") == nil) {
		r.SetAttr("visibility", []string{rule.CheckInternalVisibility(w.args.Rel, "//visibility:public")})
	}
	w.gen = append(w.gen, r)
	w.imports = append(w.imports, imports)
}

func (w *writer) write(exported []string) {
	w.gen = make([]*rule.Rule, 0, len(w.plan.Units))
	w.imports = make([]any, 0, len(w.plan.Units))
	for _, u := range w.plan.Units {
		w.l.note(u, w.args.Config, w.bc)
		w.add(w.unit(u), u.Existing, u)
		switch {
		case u.Kind == plan.Library && u.GoName != "":
			r := newRule(plan.Subskeleton, u.GoName)
			if u.ImportPath != "" {
				expr.SetString(r, nil, "importpath", u.ImportPath)
			}
			expr.SetString(r, nil, "library", ":"+u.Name)
			w.add(r, nil, nil)
		case u.Kind == plan.Object:
			w.skeletonsOf(u)
		}
	}
	for _, name := range exported {
		w.export(name)
	}
}

// skeletonsOf adds the hand-written skeletons of an object.
func (w *writer) skeletonsOf(u *plan.Unit) {
	for i := range w.rules {
		r := w.rules[i].Rule
		if w.rules[i].Kind != plan.Skeleton || strings.TrimPrefix(r.AttrString("src"), ":") != u.Name {
			continue
		}
		skeleton := newRule(plan.Skeleton, r.Name())
		skeleton.SetAttr("src", ":"+u.Name)
		keepTypes(skeleton, r)
		if importpath := r.AttrString("importpath"); importpath != "" {
			expr.SetString(skeleton, nil, "importpath", importpath)
		}
		setLegacySections(skeleton, u)
		w.add(skeleton, r, u)
	}
}

// export adds a filegroup of a source that a rule of another package compiles.
func (w *writer) export(file string) {
	r := newRule("filegroup", exportedName(file))
	expr.SetStrings(r, "srcs", []string{file})
	w.add(r, nil, nil)
}

func newRule(kind, name string) *rule.Rule {
	r := rule.NewRule(kind, name)
	if e := expr.String(name); e.Token != "" {
		r.SetAttr("name", e)
	}
	return r
}

// unit returns the rule of a unit, but for its dependencies.
func (w *writer) unit(u *plan.Unit) *rule.Rule {
	r := newRule(u.Kind, u.Name)
	switch {
	case u.Kind == plan.Skeleton:
		expr.SetString(r, u.Existing, "src", u.Srcs[0])
		keepTypes(r, u.Existing)
		if u.ImportPath != "" {
			expr.SetString(r, u.Existing, "importpath", u.ImportPath)
		}
	case !expr.WrittenOut(u.Existing, "srcs"):
		r.SetAttr("srcs", expr.Verbatim{Expr: u.Existing.Attr("srcs")})
	case len(u.Srcs) > 0:
		expr.SetStrings(r, "srcs", u.Srcs)
	}
	if !expr.WrittenOut(u.Existing, "hdrs") {
		r.SetAttr("hdrs", expr.Verbatim{Expr: u.Existing.Attr("hdrs")})
	} else if len(u.Hdrs) > 0 {
		expr.SetStrings(r, "hdrs", u.Hdrs)
	}
	copts := w.bc.copts
	if u.Command != nil {
		copts = slices.Concat(copts, u.Command.Copts)
	}
	if len(u.Srcs) > 0 {
		setFlags(r, u.Existing, "copts", copts)
	}
	w.setIncludes(r, u)
	if u.Command != nil {
		setCommand(r, u)
		if u.Kind == plan.Skeleton && len(u.Command.Variants) > 0 {
			w.setVariants(r, u)
		}
	}
	if u.Kind == plan.Skeleton || u.Kind == plan.Object {
		setLegacySections(r, u)
	}
	return r
}

// setLegacySections allows section names that libbpf took by their prefix until 1.0,
// when the sources have one. A rule that says something else of them keeps it.
func setLegacySections(r *rule.Rule, u *plan.Unit) {
	for _, scan := range u.Scans {
		for _, s := range scan.Definitions() {
			if s.Kind != bpfc.Program {
				continue
			}
			if _, legacy := secdef.FindLegacy(s.Section); legacy {
				r.SetAttr("legacy_sections", true)
				return
			}
		}
	}
}

// keepTypes makes a rule keep its types, to which resolving may add some.
func keepTypes(r, existing *rule.Rule) {
	if existing != nil && existing.Attr("types") != nil {
		r.SetAttr("types", expr.Verbatim{Expr: existing.Attr("types")})
	}
}

// setIncludes sets the search directories, those of one $GOARCH where that is the
// target's.
func (w *writer) setIncludes(r *rule.Rule, u *plan.Unit) {
	if len(w.l.sources.archOf) == 0 || len(u.Includes) == 0 {
		setFlags(r, u.Existing, "includes", u.Includes)
		return
	}
	var common []string
	branches := make(rule.SelectStringListValue)
	platforms := "@" + cmp.Or(w.args.Config.ModuleToApparentName("rules_go"), "io_bazel_rules_go") + "//go/platform:"
	for _, dir := range u.Includes {
		arch := w.l.sources.archOf[path.Join(u.Rel, dir)]
		if arch == "" {
			common = append(common, dir)
			continue
		}
		branches[platforms+arch] = append(branches[platforms+arch], dir)
	}
	if len(branches) < 2 {
		setFlags(r, u.Existing, "includes", u.Includes)
		return
	}
	branches["//conditions:default"] = nil
	e := rule.ExprFromValue(branches)
	if len(common) > 0 {
		e = &build.BinaryExpr{X: expr.Flags(common).BzlExpr(), Op: "+", Y: e}
	}
	r.SetAttr("includes", expr.Replaced{Expr: e})
}

// setFlags sets a list in which order matters.
func setFlags(r, existing *rule.Rule, attr string, flags []string) {
	list := expr.Flags(flags)
	if existing == nil || existing.Attr(attr) == nil {
		if len(flags) > 0 {
			r.SetAttr(attr, list)
		}
		return
	}
	// Without the attribute, Gazelle deletes what the rule has.
	if list.Merge(existing.Attr(attr)) != nil {
		r.SetAttr(attr, list)
	}
}

// variantsOf returns the value of the attribute variants, in the order of the lines.
func variantsOf(cmd *bpf2go.Command) build.Expr {
	dict := &build.DictExpr{ForceMultiLine: true}
	for _, v := range cmd.Variants {
		dict.List = append(dict.List, &build.KeyValueExpr{Key: &build.StringExpr{Value: v.Name}, Value: rule.ExprFromValue(append([]string{}, v.Flags...))})
	}
	return dict
}

// setVariants gives a skeleton variants for lines that ask for different ones. A rule that has
// variants keeps them: people may call them otherwise, and have more. So do rules that people
// wrote one for each line.
func (w *writer) setVariants(r *rule.Rule, u *plan.Unit) {
	if u.Existing != nil {
		alone := !slices.ContainsFunc(w.plan.Units, func(other *plan.Unit) bool {
			return other != u && other.Kind == plan.Skeleton && slices.Equal(other.Srcs, u.Srcs)
		})
		if u.Existing.Attr("variants") != nil || u.Existing.ShouldKeep() || !alone {
			return
		}
		if kept := leaveToVariants(u.Existing, u.Command); kept != "" {
			log.Printf("%s gets no variants: its defines keep %s, which not all lines for bpf2go of %s have: write the variants by hand, and %s for those that have it",
				u.Label(), kept, u.Srcs[0], kept)
			return
		}
	}
	r.SetAttr("variants", variantsOf(u.Command))
}

// leaveToVariants takes the macros that only variants have out of the defines of a rule, which
// got them when its source had one line. It returns a macro that has to stay, without a change.
func leaveToVariants(r *rule.Rule, cmd *bpf2go.Command) (kept string) {
	var names []string
	for _, v := range cmd.Variants {
		for _, flag := range v.Flags {
			if define, ok := strings.CutPrefix(flag, "-D"); ok {
				names = append(names, bpf2go.MacroName(define))
			}
		}
	}
	goes := func(define string) bool {
		return !slices.Contains(cmd.Defines, define) && slices.Contains(names, bpf2go.MacroName(define))
	}
	list, ok := r.Attr("defines").(*build.ListExpr)
	if !ok || rule.ShouldKeep(list) || rule.ShouldKeep(&build.AssignExpr{Comments: *r.AttrComments("defines")}) {
		all := expr.AttrStrings(r, "defines", expr.NoFiles)
		if i := slices.IndexFunc(all, goes); i >= 0 {
			return all[i]
		}
		return ""
	}
	left := *list
	left.List = nil
	for _, e := range list.List {
		s, ok := e.(*build.StringExpr)
		switch {
		case !ok || !goes(s.Value):
			left.List = append(left.List, e)
		case rule.ShouldKeep(e):
			return s.Value
		}
	}
	switch len(left.List) {
	case len(list.List):
	case 0:
		r.DelAttr("defines")
	default:
		r.SetAttr("defines", &left)
	}
	return ""
}

// setCommand sets the attributes that the command in a Go file has.
func setCommand(r *rule.Rule, u *plan.Unit) {
	cmd := u.Command
	// A rule with variants has been edited by hand, and the command does not know its variants.
	if len(cmd.Defines) > 0 && (u.Existing == nil || u.Existing.Attr("variants") == nil) {
		r.SetAttr("defines", cmd.Defines)
	}
	types := slices.Clone(cmd.Types)
	slices.Sort(types)
	types = slices.Compact(types)
	if u.Kind != plan.Bpf2go {
		if len(types) > 0 {
			r.SetAttr("types", expr.Grown(append(r.AttrStrings("types"), types...)))
		}
		return
	}
	// A rule that is called by the identifier needs none.
	if cmd.Ident != r.Name() {
		r.SetAttr("ident", cmd.Ident)
	}
	if cmd.Package != "" {
		r.SetAttr("package", cmd.Package)
	}
	if cmd.OutputStem != "" && cmd.OutputStem != strings.ToLower(cmd.Ident) {
		r.SetAttr("output_stem", cmd.OutputStem)
	}
	if cmd.Constraint != "" {
		r.SetAttr("build_constraint", cmd.Constraint)
	}
	if cmd.NoGlobalTypes {
		r.SetAttr("global_types", false)
	}
	if len(types) > 0 {
		r.SetAttr("types", types)
	}
}

// stale returns rules to delete: those that nothing in the directory stands for any
// more.
func stale(args language.GenerateArgs, sd *surveyed, p *plan.Plan, gen []*rule.Rule, surveyed bool) []*rule.Rule {
	if args.File == nil {
		return nil
	}
	s := &sweep{args: args, bc: sd.bc, plan: p, orphans: sd.orphans}
	left := s.without(sd.rules, gen)
	if len(left) == 0 {
		return nil
	}
	s.gone = make(map[string]bool)
	for _, r := range left {
		s.compiled(r)
	}
	if surveyed {
		for _, r := range left {
			s.exported(r)
		}
	}
	// What is made of deleted rules goes with them.
	for _, r := range left {
		s.made(r)
	}
	return s.out
}

// without returns the rules that may be deleted: those of this language, and filegroups,
// that are not generated. A name may go from a rule of one kind to one of another.
func (s *sweep) without(rules []plan.Rule, gen []*rule.Rule) []*plan.Rule {
	const few = 16
	var current map[[2]string]bool
	if len(gen) > few {
		current = make(map[[2]string]bool)
		for _, r := range gen {
			current[[2]string{r.Kind(), r.Name()}] = true
		}
	}
	var out []*plan.Rule
	for i := range rules {
		r := &rules[i]
		switch {
		case !r.Own && r.Kind != "filegroup":
		case current != nil && current[[2]string{r.Kind, r.Name}]:
		case current == nil && slices.ContainsFunc(gen, func(g *rule.Rule) bool { return g.Kind() == r.Kind && g.Name() == r.Name }):
		default:
			out = append(out, r)
		}
	}
	return out
}

// A sweep finds rules to delete.
type sweep struct {
	args    language.GenerateArgs
	bc      *bpfConfig
	plan    *plan.Plan
	orphans map[string]bool
	gone    map[string]bool
	out     []*rule.Rule
}

func (s *sweep) remove(kind string, r *rule.Rule) {
	s.gone[r.Name()] = true
	s.out = append(s.out, rule.NewRule(kind, r.Name()))
}

// exists reports whether a source stands for its rules: it does not parse, or a rule
// makes it.
func (s *sweep) exists(name string) bool {
	return s.plan.Broken[name] || slices.Contains(s.args.GenFiles, name)
}

// compiled deletes a rule whose sources and headers are gone.
func (s *sweep) compiled(of *plan.Rule) {
	kind, r := of.Kind, of.Rule
	switch kind {
	case plan.Skeleton, plan.Object, plan.Library, plan.Bpf2go:
	default:
		return
	}
	if !expr.WrittenOut(r, "srcs") || !expr.WrittenOut(r, "hdrs") || r.Attr("srcs") == nil && r.Attr("src") == nil && r.Attr("hdrs") == nil {
		// An expression, or a library of libraries.
		return
	}
	sources := expr.RuleSources(r, func() []string { return s.args.RegularFiles })
	all := append(r.AttrStrings("srcs"), r.AttrString("src"))
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	if kind == plan.Bpf2go && (s.bc.bpf2go == bpf2goSkeleton || s.orphans[r.Name()]) {
		s.remove(kind, r)
		return
	}
	if len(all) != len(sources) || slices.ContainsFunc(sources, s.exists) {
		return
	}
	// A source without a dot in its name is a rule of this package.
	if slices.ContainsFunc(sources, func(name string) bool { return expr.HasRule(s.args.File, name) && !s.gone[name] }) {
		return
	}
	s.remove(kind, r)
}

// exported deletes a filegroup of a source that no rule of another package compiles
// any more.
func (s *sweep) exported(of *plan.Rule) {
	if of.Kind != "filegroup" {
		return
	}
	if srcs := of.Rule.AttrStrings("srcs"); len(srcs) == 1 && strings.HasSuffix(srcs[0], ".c") && of.Name == exportedName(srcs[0]) {
		s.remove("filegroup", of.Rule)
	}
}

// made deletes a rule that is made of a deleted one, and a subskeleton of a library
// that has nothing for it.
func (s *sweep) made(r *plan.Rule) {
	if s.gone[r.Name] {
		return
	}
	var of string
	switch r.Kind {
	case plan.Subskeleton:
		of = r.Rule.AttrString("library")
	case plan.Skeleton:
		of = r.Rule.AttrString("src")
	default:
		return
	}
	lib, err := label.Parse(of)
	if err != nil {
		return
	}
	lib = lib.Abs("", s.args.Rel)
	if lib.Repo != "" || lib.Pkg != s.args.Rel {
		return
	}
	empty := r.Kind == plan.Subskeleton && slices.ContainsFunc(s.plan.Units, func(u *plan.Unit) bool { return u.Name == lib.Name && u.GoName == "" })
	missing := !expr.HasRule(s.args.File, lib.Name) && !slices.Contains(s.args.GenFiles, lib.Name) && !s.plan.Broken[lib.Name]
	if s.gone[lib.Name] || empty || missing {
		s.remove(r.Kind, r.Rule)
	}
}

// takenNames returns names that this language's targets cannot have.
func takenNames(args language.GenerateArgs, rules []plan.Rule) map[string]bool {
	taken := make(map[string]bool)
	for _, r := range args.OtherGen {
		taken[r.Name()] = true
	}
	for i := range rules {
		r := rules[i].Rule
		if rules[i].Own && !r.ShouldKeep() {
			continue
		}
		name := r.Name()
		deleted := slices.ContainsFunc(args.OtherEmpty, func(e *rule.Rule) bool { return e.Kind() == r.Kind() && e.Name() == name })
		if !deleted {
			taken[name] = true
		}
	}
	return taken
}
