package gazelle

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
	configv1 "github.com/bazelbuild/bazel-gazelle/config"
	"github.com/bazelbuild/bazel-gazelle/language"
	"github.com/bazelbuild/buildtools/build"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpf2go"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
)

func isGoRule(r *rule.Rule) bool { return strings.HasPrefix(r.Kind(), "go_") }

// hasGoLibrary reports whether a Go package has the directory's import path.
func hasGoLibrary(args language.GenerateArgs) bool {
	ran := false
	for _, r := range args.OtherGen {
		if isGoRule(r) {
			ran = true
			if r.AttrString("importpath") != "" {
				return true
			}
		}
	}
	if ran || slices.ContainsFunc(args.OtherEmpty, isGoRule) {
		return false
	}
	// Go's rules are generated after these, or not at all.
	return slices.ContainsFunc(args.RegularFiles, func(name string) bool {
		return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
	})
}

// stripGoSources takes files out of the Go rules of the directory: BPF's, as Gazelle
// takes each header for one of assembly or cgo code, and those that bpf2go wrote
// where a rule does that now.
func stripGoSources(args language.GenerateArgs, p *plan.Plan, sd *surveyed) {
	isBpf2go := func(u *plan.Unit) bool { return u.Kind == plan.Bpf2go }
	if !slices.ContainsFunc(args.OtherGen, hasOtherSources) && !slices.ContainsFunc(p.Units, isBpf2go) {
		return
	}
	s := &stripper{bpf: make(map[string]bool), headers: make(map[string]bool)}
	for name := range p.Broken {
		s.bpf[name] = true
	}
	for name := range sd.claimed {
		s.bpf[name] = true
	}
	for _, u := range p.Units {
		for _, name := range u.Srcs {
			s.bpf[inGoSources(args, name)] = true
		}
		for _, name := range u.Hdrs {
			s.headers[inGoSources(args, name)] = true
		}
		if u.Kind == plan.Bpf2go {
			s.commands = append(s.commands, u.Command)
		}
	}
	for _, r := range args.OtherGen {
		if isGoRule(r) {
			s.strip(r)
		}
	}
}

// hasOtherSources reports whether a Go rule has sources that are not Go files.
func hasOtherSources(r *rule.Rule) bool {
	srcs := r.Attr("srcs")
	if srcs == nil || !isGoRule(r) {
		return false
	}
	list, ok := srcs.(*build.ListExpr)
	return !ok || slices.ContainsFunc(list.List, func(e build.Expr) bool {
		s, ok := e.(*build.StringExpr)
		return !ok || !strings.HasSuffix(s.Value, ".go")
	})
}

type stripper struct {
	bpf, headers map[string]bool
	commands     []*bpf2go.Command
}

func (s *stripper) isBPF(name string) bool { return s.bpf[name] || paths.IsBPF(name) }

func (s *stripper) isGenerated(name string) bool {
	return slices.ContainsFunc(s.commands, func(c *bpf2go.Command) bool { return c.Writes(name) })
}

func (s *stripper) strip(r *rule.Rule) {
	if r.Attr("embedsrcs") != nil && len(s.commands) > 0 {
		setOrDelete(r, "embedsrcs", rule.MapExprStrings(r.Attr("embedsrcs"), func(name string) string {
			if s.isGenerated(name) {
				return ""
			}
			return name
		}))
	}
	if r.Attr("srcs") == nil {
		return
	}
	// Most have sources in Go only.
	foreign := func(e build.Expr) bool {
		str, ok := e.(*build.StringExpr)
		return !ok || s.isBPF(str.Value) || s.headers[str.Value] || s.isGenerated(str.Value)
	}
	if list, ok := r.Attr("srcs").(*build.ListExpr); ok && len(list.List) > 0 && !slices.ContainsFunc(list.List, foreign) {
		return
	}
	// cgo and assembly may include a header too.
	alone := !r.AttrBool("cgo")
	rule.MapExprStrings(r.Attr("srcs"), func(name string) string {
		switch path.Ext(name) {
		case ".s", ".S", ".sx", ".c", ".cc", ".cpp":
			alone = alone && s.bpf[name]
		}
		return name
	})
	setOrDelete(r, "srcs", rule.MapExprStrings(r.Attr("srcs"), func(name string) string {
		if s.isBPF(name) || alone && s.headers[name] || s.isGenerated(name) {
			return ""
		}
		return name
	}))
}

func setOrDelete(r *rule.Rule, attr string, value build.Expr) {
	if list, ok := value.(*build.ListExpr); value == nil || ok && len(list.List) == 0 {
		r.DelAttr(attr)
	} else {
		r.SetAttr(attr, value)
	}
}

// inGoSources returns what Gazelle's Go language calls a file. One of a directory below has its
// base name there, as if it were in this directory.
func inGoSources(args language.GenerateArgs, name string) string {
	if base := path.Base(name); !slices.Contains(args.RegularFiles, base) {
		return base
	}
	return name
}

// embedded returns the names of the rules that Go rules of the BUILD file embed.
func embedded(args language.GenerateArgs) map[string]bool {
	if args.File == nil {
		return nil
	}
	var out map[string]bool
	for _, r := range args.File.Rules {
		if !isGoRule(r) {
			continue
		}
		for _, s := range r.AttrStrings("embed") {
			if l, err := label.Parse(s); err == nil && l.Repo == "" && (l.Relative || l.Pkg == args.Rel) {
				if out == nil {
					out = make(map[string]bool)
				}
				out[l.Name] = true
			}
		}
	}
	return out
}

// embedGo makes Go rules embed this language's: those that they embed already, what
// rules write for lines of their Go files, and the directory's own package in its
// internal tests.
func embedGo(args language.GenerateArgs, p *plan.Plan, importpath, dir string) {
	any, own := false, ""
	for _, u := range p.Units {
		if u.GoName == "" {
			continue
		}
		any = true
		if u.Kind == plan.Bpf2go {
			embedCommand(args, u)
		} else if u.ImportPath == importpath {
			own = u.GoName
		}
	}
	if !any {
		return
	}
	isOurs := func(name string) bool {
		return name != "" && slices.ContainsFunc(p.Units, func(u *plan.Unit) bool { return u.GoName == name })
	}
	hasLibrary := slices.ContainsFunc(args.OtherGen, func(r *rule.Rule) bool { return isGoRule(r) && r.AttrString("importpath") != "" })
	for _, r := range args.OtherGen {
		if !isGoRule(r) {
			continue
		}
		for _, s := range presentEmbeds(args, r) {
			if l, err := label.Parse(s); err == nil && l.Repo == "" && (l.Relative || l.Pkg == args.Rel) && isOurs(l.Name) {
				addEmbed(r, l.Name)
			}
		}
		if r.Kind() == "go_test" && own != "" && !hasLibrary && hasInternalTest(dir, r) {
			addEmbed(r, own)
		}
	}
}

// presentEmbeds returns what the rule in the BUILD file embeds that a generated one
// stands for.
func presentEmbeds(args language.GenerateArgs, gen *rule.Rule) []string {
	if args.File == nil {
		return nil
	}
	var ofKind []*rule.Rule
	for _, r := range args.File.Rules {
		if r.Kind() != gen.Kind() {
			continue
		}
		if r.Name() == gen.Name() {
			return r.AttrStrings("embed")
		}
		ofKind = append(ofKind, r)
	}
	if len(ofKind) == 1 {
		return ofKind[0].AttrStrings("embed")
	}
	return nil
}

// embedCommand embeds the package's part that a line asks for.
func embedCommand(args language.GenerateArgs, u *plan.Unit) {
	isTest := u.Command.OutputSuffix == "_test"
	for _, kind := range []string{"go_library", "go_binary", "go_test"} {
		if isTest != (kind == "go_test") && (isTest || slices.ContainsFunc(args.OtherGen, func(r *rule.Rule) bool { return r.Kind() == "go_library" })) {
			continue
		}
		for _, r := range args.OtherGen {
			if r.Kind() == kind {
				addEmbed(r, u.Name)
				return
			}
		}
	}
}

func addEmbed(r *rule.Rule, name string) {
	embed := r.AttrStrings("embed")
	if !slices.Contains(embed, ":"+name) {
		r.SetAttr("embed", append(slices.Clone(embed), ":"+name))
	}
}

var packageClause = regexp.MustCompile(`(?m)^package\s+(\w+)`)

// hasInternalTest reports whether a file of a go_test is of the package that it tests.
func hasInternalTest(dir string, r *rule.Rule) bool {
	for _, name := range expr.AttrStrings(r, "srcs", expr.NoFiles) {
		content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			continue
		}
		if found := packageClause.FindSubmatch(content); found != nil && !strings.HasSuffix(string(found[1]), "_test") {
			return true
		}
	}
	return false
}

// goImports knows which directories import a package of the repository.
type goImports map[string][]string

func (g *goImports) note(args language.GenerateArgs, prefix prefix) {
	for _, r := range args.OtherGen {
		imports, ok := r.PrivateAttr(configv1.GazelleImportsKey).(rule.PlatformStrings)
		if !ok {
			continue
		}
		for imp := range imports.Each() {
			if _, ok := prefix.directoryOf(imp); !ok {
				continue
			}
			if *g == nil {
				*g = make(goImports)
			}
			if !slices.Contains((*g)[imp], args.Rel) {
				(*g)[imp] = append((*g)[imp], args.Rel)
			}
		}
	}
}

// indexGoImports names directories that may have the packages that Go files import:
// a package of a directory with several is called by the directory's path and its
// name.
func (l *bpfLang) indexGoImports(args language.GenerateArgs, prefix prefix, res *language.GenerateResult) {
	for _, r := range args.OtherGen {
		imports, ok := r.PrivateAttr(configv1.GazelleImportsKey).(rule.PlatformStrings)
		if !ok {
			continue
		}
		for imp := range imports.Each() {
			rel, ok := prefix.directoryOf(imp)
			if !ok || rel == "" {
				continue
			}
			if info, err := os.Stat(filepath.Join(args.Config.RepoRoot, filepath.FromSlash(rel))); err == nil && info.IsDir() {
				continue
			}
			res.RelsToIndex = append(res.RelsToIndex, paths.Parent(rel), packageOf(args.Config, rel))
		}
	}
}
