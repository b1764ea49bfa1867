package gazelle

import (
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/rule"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
)

// setTypes names the C types of records that importers of a skeleton read: no map
// says what a ring buffer holds.
func (l *bpfLang) setTypes(r *rule.Rule, u *plan.Unit) {
	if !slices.ContainsFunc(u.Scans, func(scan *bpfc.File) bool { return scan.Records }) {
		return
	}
	var names []string
	for _, rel := range l.imports[u.ImportPath] {
		names = append(names, l.recordTypes(rel, u.ImportPath)...)
	}
	if len(names) == 0 {
		return
	}
	types := r.AttrStrings("types")
	for _, c := range l.typeNames(u) {
		if slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, strings.ReplaceAll(c, "_", "")) }) &&
			!slices.Contains(types, c) {
			types = append(types, c)
		}
	}
	if len(types) > 0 {
		slices.Sort(types)
		r.SetAttr("types", expr.Grown(types))
	}
}

var reader = regexp.MustCompile(`\bNew(?:Ring|Perf|UserRing)[A-Za-z]*\[\s*\*?(\w+)\.(\w+)\s*\]`)

// recordTypes returns the types of a package that Go files of a directory read
// records of.
func (l *bpfLang) recordTypes(rel, importpath string) []string {
	entries, err := os.ReadDir(l.sources.path(rel))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		content, err := os.ReadFile(l.sources.path(path.Join(rel, e.Name())))
		if err != nil {
			continue
		}
		found := reader.FindAllSubmatch(content, -1)
		if len(found) == 0 {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), e.Name(), content, parser.ImportsOnly)
		if err != nil {
			continue
		}
		for _, imp := range f.Imports {
			if p, err := strconv.Unquote(imp.Path.Value); err != nil || p != importpath {
				continue
			}
			name := strings.NewReplacer("-", "_", ".", "_").Replace(path.Base(importpath))
			if imp.Name != nil {
				name = imp.Name.Name
			}
			for _, match := range found {
				if string(match[1]) == name {
					out = append(out, string(match[2]))
				}
			}
		}
	}
	return out
}

var (
	tag         = regexp.MustCompile(`\b(?:struct|union|enum)\s+(\w+)\s*\{`)
	typedefName = regexp.MustCompile(`(?m)\}\s*(?:__attribute__\s*\(\([^)]*\)\)\s*)?(\w+)\s*;|\btypedef\b[^;{}()]*\b(\w+)\s*;`)
)

// typeNames returns the names of the types that a unit's files declare.
func (l *bpfLang) typeNames(u *plan.Unit) []string {
	files := slices.Clone(u.Files)
	for _, scan := range u.Scans {
		for _, inc := range scan.Includes {
			if inc.File != "" && !isBuiltin(inc) && !strings.HasPrefix(path.Base(inc.File), "vmlinux") && !slices.Contains(files, inc.File) {
				files = append(files, inc.File)
			}
		}
	}
	var out []string
	for _, file := range files {
		content, err := os.ReadFile(l.sources.path(file))
		if err != nil {
			continue
		}
		for _, re := range []*regexp.Regexp{tag, typedefName} {
			for _, match := range re.FindAllSubmatch(content, -1) {
				for _, name := range match[1:] {
					if len(name) > 0 && !slices.Contains(out, string(name)) {
						out = append(out, string(name))
					}
				}
			}
		}
	}
	return out
}
