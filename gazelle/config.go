package gazelle

import (
	"fmt"
	"log"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
)

// The directives. README.md documents each with its default.
const (
	enableDirective     = "bpf_enable"
	skeletonDirective   = "bpf_skeleton"
	objectDirective     = "bpf_object"
	libraryDirective    = "bpf_library"
	namingDirective     = "bpf_naming"
	coptsDirective      = "bpf_copts"
	searchDirective     = "bpf_search"
	repoDirective       = "bpf_repo"
	unresolvedDirective = "bpf_unresolved"
	ambiguousDirective  = "bpf_ambiguous"
)

// A policy says what becomes of something that cannot be resolved.
type policy string

const (
	ignore policy = "ignore"
	warn   policy = "warn"
	fail   policy = "error"
)

// A naming says which import path a folder's packages get.
type naming string

const (
	// namingAuto is folder for one package in a folder without Go, else file.
	namingAuto   naming = "auto"
	namingFolder naming = "folder"
	namingFile   naming = "file"
)

// A repository is another one, whose headers are included by paths that begin
// with prefix.
type repository struct {
	prefix, name string
}

// bpfConfig is what directives say about a folder.
type bpfConfig struct {
	enabled bool
	naming  naming
	copts   []string
	// search has folders relative to the repository's root.
	search                []string
	repos                 []repository
	unresolved, ambiguous policy

	// kinds says what becomes of files of this folder. Not inherited.
	kinds map[string]string
	// prefix is the import path of the folder prefixRel, once rules are generated.
	prefix, prefixRel string
}

func getConfig(c *config.Config) *bpfConfig {
	if bc, ok := c.Exts[languageName].(*bpfConfig); ok {
		return bc
	}
	return &bpfConfig{enabled: true, naming: namingAuto, unresolved: warn, ambiguous: warn}
}

func (*bpfLang) KnownDirectives() []string {
	return []string{
		enableDirective,
		skeletonDirective,
		objectDirective,
		libraryDirective,
		namingDirective,
		coptsDirective,
		searchDirective,
		repoDirective,
		unresolvedDirective,
		ambiguousDirective,
	}
}

func (*bpfLang) Configure(c *config.Config, rel string, f *rule.File) {
	c.Exts[languageName] = getConfig(c).inFolder(rel, f)
}

// inFolder returns the configuration of a folder below.
func (bc *bpfConfig) inFolder(rel string, f *rule.File) *bpfConfig {
	child := *bc
	child.kinds = nil
	if f == nil {
		return &child
	}
	for _, d := range f.Directives {
		if err := child.apply(rel, d); err != nil {
			log.Printf("%s: # gazelle:%s %s: %v", f.Path, d.Key, d.Value, err)
		}
	}
	return &child
}

func (bc *bpfConfig) apply(rel string, d rule.Directive) error {
	switch d.Key {
	case enableDirective:
		enabled, err := strconv.ParseBool(d.Value)
		if err != nil {
			return fmt.Errorf("say true or false")
		}
		bc.enabled = enabled
	case skeletonDirective, objectDirective, libraryDirective:
		if d.Value == "" {
			return fmt.Errorf("name files of this folder")
		}
		if bc.kinds == nil {
			bc.kinds = make(map[string]string)
		}
		for _, file := range strings.Fields(d.Value) {
			if strings.Contains(file, "/") {
				return fmt.Errorf("%s is not a file of this folder", file)
			}
			isHeader := isHeader(file)
			if !isHeader && !strings.HasSuffix(file, ".c") || isHeader && d.Key != libraryDirective {
				return fmt.Errorf("%s cannot become a %s: say it of a .c file, or bpf_library of a .h file", file, d.Key)
			}
			// The directives have the names of the kinds.
			bc.kinds[file] = d.Key
		}
	case namingDirective:
		switch n := naming(d.Value); n {
		case namingAuto, namingFolder, namingFile:
			bc.naming = n
		default:
			return fmt.Errorf("say auto, folder or file")
		}
	case coptsDirective:
		if d.Value == "" {
			bc.copts = nil
		}
		bc.copts = slices.Concat(bc.copts, strings.Fields(d.Value))
	case searchDirective:
		if d.Value == "" {
			bc.search = nil
			return nil
		}
		dir := path.Join(rel, d.Value)
		if strings.HasPrefix(d.Value, "/") {
			dir = path.Clean(d.Value[1:])
		}
		if dir == ".." || strings.HasPrefix(dir, "../") {
			return fmt.Errorf("the folder is not in the repository")
		}
		bc.search = slices.Concat(bc.search, []string{dir})
	case repoDirective:
		if d.Value == "" {
			bc.repos = nil
			return nil
		}
		fields := strings.Fields(d.Value)
		if len(fields) != 2 || !strings.HasPrefix(fields[1], "@") {
			return fmt.Errorf("say the beginning of the path in #include, and the repository: net/ratelimit @netlib")
		}
		bc.repos = slices.Concat(bc.repos, []repository{{
			prefix: strings.TrimSuffix(fields[0], "/"), name: strings.TrimPrefix(fields[1], "@"),
		}})
	case unresolvedDirective:
		return bc.unresolved.set(d.Value)
	case ambiguousDirective:
		return bc.ambiguous.set(d.Value)
	}
	return nil
}

func (p *policy) set(value string) error {
	switch v := policy(value); v {
	case ignore, warn, fail:
		*p = v
		return nil
	}
	return fmt.Errorf("say ignore, warn or error")
}

// report says what is wrong, as the policy says.
func (l *bpfLang) report(p policy, format string, args ...any) {
	switch p {
	case ignore:
		return
	case fail:
		l.failed = true
	}
	log.Printf(format, args...)
}

// defines returns the macros among flags, as the scanner takes them.
func defines(flags []string) []string {
	var out []string
	for i := 0; i < len(flags); i++ {
		switch flag := flags[i]; {
		case flag == "-D" && i+1 < len(flags):
			i++
			out = append(out, flags[i])
		case strings.HasPrefix(flag, "-D"):
			out = append(out, flag[2:])
		}
	}
	return out
}
