package plan

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/cflags"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
)

// Flags are what the scanner understands of a compiler's flags.
type Flags struct {
	// Defines are macros without -D, Search directories from the root, and Forced
	// files that are included first.
	Defines, Search, Forced []string
	// Named are those of Forced that flags name by a label, which Bazel takes for files
	// that the rule has in an attribute.
	Named []string
}

// ParseFlags reads flags of a compiler that runs in the repository's root. Paths with a
// variable of Bazel, which has no value before the build, are left out.
func ParseFlags(flags []string) Flags {
	var out Flags
	for _, f := range cflags.Split(flags) {
		switch {
		case f.Name == "-D":
			out.Defines = append(out.Defines, f.Value)
		case f.Name == "-U":
			out.Defines = slices.DeleteFunc(out.Defines, func(define string) bool {
				return define == f.Value || strings.HasPrefix(define, f.Value+"=")
			})
		case (f.IsForced() || f.IsSearch()) && strings.Contains(f.Value, "$"):
		case f.IsForced() && f.Value != "":
			out.Forced = append(out.Forced, f.Value)
		case f.IsSearch() && f.Value != "" && !path.IsAbs(f.Value):
			out.Search = append(out.Search, strings.TrimSuffix(path.Clean(f.Value), "/"))
		}
	}
	return out
}

// RuleFlags returns what the attributes of a rule in a directory say.
func RuleFlags(r *rule.Rule, rel string) Flags {
	flags := parseRuleFlags(r.AttrStrings("copts"), rel)
	if defines := r.AttrStrings("defines"); len(defines) > 0 {
		flags.Defines = slices.Concat(defines, flags.Defines)
	}
	// As for several rules of one source: what any of them includes.
	flags = flags.With(parseRuleFlags(expr.AttrStrings(r, "variants", expr.NoFiles), rel))
	for _, dir := range r.AttrStrings("includes") {
		if dir = path.Join(rel, dir); !paths.Outside(dir) {
			flags.Search = append(flags.Search, dir)
		}
	}
	return flags
}

// fileVariable is what Bazel replaces with the path of a file.
var fileVariable = regexp.MustCompile(`\$\((?:execpath|location|rootpath) ([^()]+)\)`)

// parseRuleFlags reads flags of a rule in a directory, with the paths that their variables
// stand for, where the files are of this repository.
func parseRuleFlags(flags []string, rel string) Flags {
	var named []string
	resolved := slices.Clone(flags)
	for i, flag := range flags {
		resolved[i] = fileVariable.ReplaceAllStringFunc(flag, func(variable string) string {
			l, err := label.Parse(fileVariable.FindStringSubmatch(variable)[1])
			if err != nil || l.Repo != "" {
				return variable
			}
			l = l.Abs("", rel)
			file := path.Join(l.Pkg, l.Name)
			named = append(named, file)
			return file
		})
	}
	out := ParseFlags(resolved)
	for _, file := range out.Forced {
		if slices.Contains(named, file) {
			out.Named = append(out.Named, file)
		}
	}
	return out
}

// With returns the flags with more behind them.
func (f Flags) With(more Flags) Flags {
	return Flags{
		Defines: slices.Concat(f.Defines, more.Defines),
		Search:  union(f.Search, more.Search),
		Forced:  union(f.Forced, more.Forced),
		Named:   union(f.Named, more.Named),
	}
}

// union returns a list with those of another one that it does not have.
func union(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(slices.Clip(list), s)
		}
	}
	return list
}
