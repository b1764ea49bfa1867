package gazelle

import (
	"errors"
	"fmt"
	"log"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
	golang "github.com/bazelbuild/bazel-gazelle/language/go"
	"github.com/bmatcuk/doublestar/v4"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
)

// The directives. README.md documents each with its default.
const (
	enableDirective     = "bpf_enable"
	skeletonDirective   = "bpf_skeleton"
	objectDirective     = "bpf_object"
	libraryDirective    = "bpf_library"
	sourcesDirective    = "bpf_sources"
	bpf2goDirective     = "bpf_bpf2go"
	namingDirective     = "bpf_naming"
	coptsDirective      = "bpf_copts"
	searchDirective     = "bpf_search"
	repoDirective       = "bpf_repo"
	unresolvedDirective = "bpf_unresolved"
	ambiguousDirective  = "bpf_ambiguous"
)

// A policy is what to do with something that cannot be resolved.
type policy string

const (
	ignore policy = "ignore"
	warn   policy = "warn"
	fail   policy = "error"
)

// A bpf2goMode is which rules are written for lines that run bpf2go.
type bpf2goMode string

const (
	bpf2goRules    bpf2goMode = "rules"
	bpf2goSkeleton bpf2goMode = "skeleton"
	bpf2goOff      bpf2goMode = "off"
)

// A repository is another one, whose headers are included by paths that begin
// with prefix.
type repository struct {
	prefix, name string
}

// A directedKind is the kind of rule for the files that a pattern matches.
type directedKind struct {
	pattern, kind string
}

// bpfConfig is what directives say about a directory.
type bpfConfig struct {
	enabled bool
	naming  plan.Naming
	copts   []string
	// flags is what the scanner understands of copts.
	flags plan.Flags
	// search has directories relative to the repository's root, and sources patterns
	// of files.
	search, sources       []string
	repos                 []repository
	unresolved, ambiguous policy
	bpf2go                bpf2goMode
	// updateOnly is set where Gazelle makes no new BUILD files.
	updateOnly bool

	// kinds are the kinds of rules for files of this directory. Not inherited.
	kinds []directedKind
	// prefix is known once rules are generated, where Gazelle has no index.
	prefix prefix
}

// A prefix is the import path that others begin with, of the directory rel.
type prefix struct{ path, rel string }

var defaults = &bpfConfig{enabled: true, naming: plan.NamingAuto, unresolved: warn, ambiguous: warn, bpf2go: bpf2goRules}

func getConfig(c *config.Config) *bpfConfig {
	if bc, ok := c.Exts[languageName].(*bpfConfig); ok {
		return bc
	}
	return defaults
}

func (*bpfLang) KnownDirectives() []string {
	return []string{
		enableDirective,
		skeletonDirective,
		objectDirective,
		libraryDirective,
		sourcesDirective,
		bpf2goDirective,
		namingDirective,
		coptsDirective,
		searchDirective,
		repoDirective,
		unresolvedDirective,
		ambiguousDirective,
	}
}

func (*bpfLang) Configure(c *config.Config, rel string, f *rule.File) {
	bc, errs := getConfig(c).inDirectory(rel, f)
	for _, err := range errs {
		log.Print(err)
	}
	c.Exts[languageName] = bc
}

// inDirectory returns the configuration of a directory below, and what is wrong with
// its directives. Without any, it is the same one.
func (bc *bpfConfig) inDirectory(rel string, f *rule.File) (*bpfConfig, []error) {
	if len(bc.kinds) == 0 && (f == nil || len(f.Directives) == 0) {
		return bc, nil
	}
	child := *bc
	child.kinds = nil
	if f == nil {
		return &child, nil
	}
	var errs []error
	for _, d := range f.Directives {
		if err := child.apply(rel, d); err != nil {
			errs = append(errs, fmt.Errorf("%s: # gazelle:%s %s: %w", f.Path, d.Key, d.Value, err))
		}
	}
	return &child, errs
}

func (bc *bpfConfig) apply(rel string, d rule.Directive) error {
	switch d.Key {
	case enableDirective:
		enabled, err := strconv.ParseBool(d.Value)
		if err != nil {
			return errors.New("write true or false")
		}
		bc.enabled = enabled
	case "generation_mode":
		bc.updateOnly = d.Value == "update_only"
	case skeletonDirective, objectDirective, libraryDirective:
		return bc.direct(d)
	case sourcesDirective:
		return bc.addSources(rel, d.Value)
	case bpf2goDirective:
		switch mode := bpf2goMode(d.Value); mode {
		case bpf2goRules, bpf2goSkeleton, bpf2goOff:
			bc.bpf2go = mode
		default:
			return errors.New("write rules, skeleton or off")
		}
	case namingDirective:
		switch n := plan.Naming(d.Value); n {
		case plan.NamingAuto, plan.NamingFolder, plan.NamingFile:
			bc.naming = n
		default:
			return errors.New("write auto, folder or file")
		}
	case coptsDirective:
		if d.Value == "" {
			bc.copts = nil
		}
		bc.copts = slices.Concat(bc.copts, strings.Fields(d.Value))
		bc.flags = plan.ParseFlags(bc.copts)
	case searchDirective:
		return bc.addSearch(rel, d.Value)
	case repoDirective:
		return bc.addRepo(d.Value)
	case unresolvedDirective:
		return bc.unresolved.set(d.Value)
	case ambiguousDirective:
		return bc.ambiguous.set(d.Value)
	}
	return nil
}

// direct handles the directives that choose the kind of rule for files, and have its name.
func (bc *bpfConfig) direct(d rule.Directive) error {
	if d.Value == "" {
		return errors.New("name files of this directory")
	}
	for _, pattern := range strings.Fields(d.Value) {
		switch {
		case strings.Contains(pattern, "/"):
			return fmt.Errorf("%s is not a file of this directory", pattern)
		case !doublestar.ValidatePattern(pattern):
			return fmt.Errorf("%s is not a pattern", pattern)
		case !strings.HasSuffix(pattern, ".c") && d.Key != libraryDirective:
			return fmt.Errorf("%s cannot become a %s: use it for a .c file, or bpf_library for a .h file", pattern, d.Key)
		}
		bc.kinds = append(bc.kinds, directedKind{pattern, d.Key})
	}
	return nil
}

// kindOf returns what a directive makes of a file, or "".
func (bc *bpfConfig) kindOf(name string) string {
	kind := ""
	for _, k := range bc.kinds {
		if k.pattern == name || doublestar.MatchUnvalidated(k.pattern, name) {
			kind = k.kind
		}
	}
	return kind
}

func (bc *bpfConfig) addSources(rel, value string) error {
	if value == "" {
		bc.sources = nil
		return nil
	}
	for _, pattern := range strings.Fields(value) {
		if !doublestar.ValidatePattern(pattern) {
			return fmt.Errorf("%s is not a pattern", pattern)
		}
		pattern = path.Join(rel, pattern)
		if paths.Outside(pattern) {
			return errors.New("the files are not in the repository")
		}
		bc.sources = append(slices.Clip(bc.sources), pattern)
	}
	return nil
}

// isSource reports whether a directive says that a file is BPF's.
func (bc *bpfConfig) isSource(file string) bool {
	return slices.ContainsFunc(bc.sources, func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, file) })
}

func (bc *bpfConfig) addSearch(rel, value string) error {
	if value == "" {
		bc.search = nil
		return nil
	}
	for _, dir := range strings.Fields(value) {
		if strings.HasPrefix(dir, "/") {
			dir = path.Clean(dir[1:])
		} else {
			dir = path.Join(rel, dir)
		}
		if paths.Outside(dir) {
			return errors.New("the directory is not in the repository")
		}
		bc.search = append(slices.Clip(bc.search), dir)
	}
	return nil
}

func (bc *bpfConfig) addRepo(value string) error {
	if value == "" {
		bc.repos = nil
		return nil
	}
	fields := strings.Fields(value)
	if len(fields) != 2 || !strings.HasPrefix(fields[1], "@") {
		return errors.New("write the beginning of the path in #include, and the repository: net/ratelimit @netlib")
	}
	bc.repos = append(slices.Clip(bc.repos), repository{
		prefix: strings.TrimSuffix(fields[0], "/"), name: strings.TrimPrefix(fields[1], "@"),
	})
	return nil
}

func (p *policy) set(value string) error {
	switch v := policy(value); v {
	case ignore, warn, fail:
		*p = v
		return nil
	}
	return errors.New("write ignore, warn or error")
}

// searched returns the directories that are searched for headers.
func (bc *bpfConfig) searched() []string {
	if len(bc.flags.Search) == 0 {
		return bc.search
	}
	return slices.Concat(bc.search, bc.flags.Search)
}

// scanned returns what all files are scanned with.
func (bc *bpfConfig) scanned() plan.Flags {
	return plan.Flags{Defines: bc.flags.Defines, Search: bc.searched(), Forced: bc.flags.Forced}
}

// prefixOf returns what the import paths around a directory begin with.
func prefixOf(c *config.Config, rel string) prefix {
	if _, ok := c.Exts["go"]; !ok {
		return prefix{}
	}
	// Of the root, a prefix that begins further down is all there is.
	root, own := golang.InferImportPath(c, ""), golang.InferImportPath(c, rel)
	suffix := strings.Trim(strings.TrimPrefix(own, root), "/")
	return prefix{root, strings.Trim(strings.TrimSuffix(rel, suffix), "/")}
}

// directoryOf returns the directory that has an import path by convention.
func (p prefix) directoryOf(importpath string) (string, bool) {
	rest, ok := strings.CutPrefix(importpath, p.path)
	if p.path == "" || !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return path.Join(p.rel, strings.TrimPrefix(rest, "/")), true
}
