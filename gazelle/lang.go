// Package gazelle is the Gazelle language "bpf": it writes the BUILD files of
// BPF C.
//
// A run over the repository begins with a survey: which directories have BPF, which
// lines of Go files run bpf2go, and which headers are included from where. Then each
// directory is planned from its files, its BUILD file and what the survey says of
// it: which target a file belongs to and what the targets are called. A run over a
// few directories has no survey; there, what BUILD files say already stands for it,
// so that both agree. Dependencies are resolved when all plans are there: an include
// leads to the library that has the header, an extern to the library that defines
// the symbol.
//
// The packages under internal know nothing of the whole: bpfc reads C, bpf2go lines
// of Go files, expr expressions of BUILD files; plan decides about a directory, and
// index finds headers and symbols.
package gazelle

import (
	"context"
	"flag"
	"log"
	"slices"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazelbuild/bazel-gazelle/language"
	"github.com/bazelbuild/bazel-gazelle/resolve"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/index"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
)

const languageName = "bpf"

// bpfLang holds what one run of Gazelle has learned.
type bpfLang struct {
	// recursive is set when the run begins at the root and goes into all directories.
	recursive bool
	flags     *flag.FlagSet
	sources   *sources
	survey    survey
	index     *index.Index
	resolver  resolver
	loader    loader
	imports   goImports
	reports   reports
	// link is memory that one final object's check leaves to the next.
	link link
}

type (
	//lint:ignore SA1019 gazelle_binary takes this version, although there is a second in the making
	languageV1 = language.Language
	//lint:ignore SA1019 as above
	ruleIndex = resolve.RuleIndex
	//lint:ignore SA1019 as above
	crossResolver = resolve.CrossResolver
)

var (
	_ languageV1                   = (*bpfLang)(nil)
	_ crossResolver                = (*bpfLang)(nil)
	_ language.ModuleAwareLanguage = (*bpfLang)(nil)
	_ language.LifecycleManager    = (*bpfLang)(nil)
)

// NewLanguage returns the language, for gazelle_binary.
func NewLanguage() languageV1 {
	return &bpfLang{
		sources: newSources(),
		index:   index.New(),
		loader:  newLoader(),
	}
}

func (*bpfLang) Name() string { return languageName }

func (l *bpfLang) RegisterFlags(flags *flag.FlagSet, _ string, _ *config.Config) { l.flags = flags }

// CheckFlags finds out what the run is over.
func (l *bpfLang) CheckFlags(flags *flag.FlagSet, c *config.Config) error {
	recursion := flags.Lookup("r")
	l.recursive = (recursion == nil || recursion.Value.String() == "true") &&
		(flags.NArg() == 0 && c.WorkDir == c.RepoRoot || slices.ContainsFunc(flags.Args(), func(dir string) bool {
			return dir == "." && c.WorkDir == c.RepoRoot || dir == c.RepoRoot
		}))
	return nil
}

func (*bpfLang) Before(context.Context) {}

// DoneGeneratingRules forgets what only plans need.
func (l *bpfLang) DoneGeneratingRules() {
	l.sources.scans = make(map[scanKey]*bpfc.File)
	for _, sd := range l.survey.order {
		*sd = surveyed{rel: sd.rel, bc: sd.bc, files: sd.files, isPackage: sd.isPackage, excluded: sd.excluded, claimed: sd.claimed, skeletons: sd.skeletons, lines: sd.lines}
	}
}

// AfterResolvingDeps logs the reports, and ends the run when a policy makes one of them an
// error. Nothing has been written then.
func (l *bpfLang) AfterResolvingDeps(context.Context) {
	if l.reports.flush() {
		log.Fatal("bpf: no file was changed, because of what is said above and a directive that makes it an error")
	}
	l.forget()
}

// forget leaves what the language has learned to the collector: the files are written
// next, and Gazelle keeps the language, and the units as what rules import, to the end.
func (l *bpfLang) forget() {
	for _, st := range l.resolver.states {
		*st.unit = plan.Unit{}
	}
	*l = bpfLang{}
}
