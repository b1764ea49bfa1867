package gazelle

import (
	"slices"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
)

var kinds = map[string]rule.KindInfo{
	plan.Library: {
		MatchAttrs:    []string{"srcs"},
		NonEmptyAttrs: map[string]bool{"hdrs": true, "srcs": true},
		MergeableAttrs: map[string]bool{
			"copts": true, "hdrs": true, "includes": true, "srcs": true,
		},
		ResolveAttrs: map[string]bool{"deps": true},
	},
	plan.Object: {
		MatchAttrs:    []string{"srcs"},
		NonEmptyAttrs: map[string]bool{"srcs": true},
		MergeableAttrs: map[string]bool{
			"copts": true, "hdrs": true, "includes": true, "srcs": true,
		},
		ResolveAttrs: map[string]bool{"deps": true},
	},
	plan.Skeleton: {
		MatchAttrs:    []string{"src", "importpath"},
		NonEmptyAttrs: map[string]bool{"src": true},
		MergeableAttrs: map[string]bool{
			"copts": true, "hdrs": true, "importpath": true, "includes": true, "src": true,
		},
		ResolveAttrs: map[string]bool{"deps": true, "subskeletons": true, "types": true},
	},
	plan.Subskeleton: {
		MatchAttrs:     []string{"library", "importpath"},
		NonEmptyAttrs:  map[string]bool{"library": true},
		MergeableAttrs: map[string]bool{"importpath": true, "library": true},
	},
	plan.Bpf2go: {
		MatchAttrs:    []string{"ident"},
		NonEmptyAttrs: map[string]bool{"srcs": true},
		MergeableAttrs: map[string]bool{
			"build_constraint": true, "copts": true, "defines": true, "global_types": true, "hdrs": true, "ident": true, "includes": true, "output_stem": true,
			"package": true, "srcs": true, "types": true,
		},
		ResolveAttrs: map[string]bool{"deps": true},
	},
	// Never written, but Go code imports it.
	plan.Types: {
		NonEmptyAttrs: map[string]bool{"objects": true},
	},
	// Never written, but others include its header.
	plan.Vmlinux: {
		NonEmptyAttrs: map[string]bool{"btf": true},
	},
}

func (*bpfLang) Kinds() map[string]rule.KindInfo { return kinds }

func (*bpfLang) Loads() []rule.LoadInfo { return loads("rules_bpf") }

func (*bpfLang) ApparentLoads(moduleToApparentName func(string) string) []rule.LoadInfo {
	name := moduleToApparentName("rules_bpf")
	if name == "" {
		name = "rules_bpf"
	}
	return loads(name)
}

func loads(repo string) []rule.LoadInfo {
	var symbols []string
	for kind := range kinds {
		symbols = append(symbols, kind)
	}
	slices.Sort(symbols)
	return []rule.LoadInfo{{Name: "@" + repo + "//rules:defs.bzl", Symbols: symbols}}
}

// classify returns the rules of a BUILD file, in a directory with the files.
func classify(c *config.Config, f *rule.File, files []string) []plan.Rule {
	if f == nil {
		return nil
	}
	rules := make([]plan.Rule, len(f.Rules))
	for i, r := range f.Rules {
		kind := kindOf(c, r)
		_, own := kinds[kind]
		rules[i] = plan.Rule{Rule: r, Kind: kind, Name: r.Name(), Own: own}
		switch kind {
		case plan.Skeleton, plan.Object, plan.Library:
			rules[i].Sources = expr.RuleSources(r, func() []string { return files })
		}
	}
	return rules
}

// kindOf returns the kind that a rule stands for: # gazelle:map_kind and
// # gazelle:macro give kinds other names.
func kindOf(c *config.Config, r *rule.Rule) string {
	kind := r.Kind()
	if underlying, ok := c.AliasMap[kind]; ok {
		return underlying
	}
	if _, ok := kinds[kind]; ok {
		return kind
	}
	for from, mapped := range c.KindMap {
		if _, ours := kinds[from]; ours && mapped.KindName == kind {
			return from
		}
	}
	return kind
}
