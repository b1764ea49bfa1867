package gazelle

import (
	"slices"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
)

// The rules that this language writes, and the one that it only reads.
const (
	skeletonKind    = "bpf_skeleton"
	objectKind      = "bpf_object"
	libraryKind     = "bpf_library"
	subskeletonKind = "bpf_subskeleton"
	vmlinuxKind     = "bpf_vmlinux_header"
)

var kinds = map[string]rule.KindInfo{
	libraryKind: {
		MatchAttrs:    []string{"srcs"},
		NonEmptyAttrs: map[string]bool{"hdrs": true, "srcs": true},
		MergeableAttrs: map[string]bool{
			"copts": true, "hdrs": true, "includes": true, "srcs": true,
		},
		ResolveAttrs: map[string]bool{"deps": true},
	},
	objectKind: {
		MatchAttrs:    []string{"srcs"},
		NonEmptyAttrs: map[string]bool{"srcs": true},
		MergeableAttrs: map[string]bool{
			"copts": true, "hdrs": true, "includes": true, "srcs": true,
		},
		ResolveAttrs: map[string]bool{"deps": true},
	},
	skeletonKind: {
		MatchAttrs:    []string{"src", "importpath"},
		NonEmptyAttrs: map[string]bool{"src": true},
		MergeableAttrs: map[string]bool{
			"copts": true, "hdrs": true, "importpath": true, "includes": true, "src": true,
		},
		ResolveAttrs: map[string]bool{"deps": true, "subskeletons": true},
	},
	subskeletonKind: {
		MatchAttrs:     []string{"library", "importpath"},
		NonEmptyAttrs:  map[string]bool{"library": true},
		MergeableAttrs: map[string]bool{"importpath": true, "library": true},
	},
	// Never written, but others include its header.
	vmlinuxKind: {
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
