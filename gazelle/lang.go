// Package gazelle is the Gazelle language "bpf": it writes the BUILD files of
// BPF C.
//
// Each folder is planned by itself, from its files and its BUILD file: which
// target a file belongs to and what the targets are called. What the plan of a
// folder says does not depend on other folders, so that runs over one folder and
// over all agree. Dependencies are resolved when all plans are there: an include
// leads to the library that has the header, an extern to the library that defines
// the symbol.
//
// The package reads C with package bpfc, which knows nothing of Bazel.
package gazelle

import (
	"context"
	"flag"
	"log"
	"os"
	"runtime/debug"
	"sync"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazelbuild/bazel-gazelle/language"
	"github.com/bazelbuild/bazel-gazelle/resolve"

	"github.com/rules-bpf/rules_bpf/gazelle/bpfc"
)

const (
	languageName = "bpf"

	// gcPercent is what GOGC is then. As there is little garbage, memory grows less
	// than that says: README.md has by how much, BenchmarkRun measures it.
	gcPercent = 800
)

// bpfLang holds what one run of Gazelle has learned.
type bpfLang struct {
	// scanners has one for each list of search folders: the headers that a file
	// includes depend on it.
	scanners map[string]*bpfc.Scanner
	// files says which paths are files of the repository. Scans ahead use it, too.
	files   map[string]bool
	filesMu sync.Mutex
	ahead   lookahead
	lib     libraries
	// failed is set when a policy says that something is an error.
	failed bool
}

// What gazelle_binary takes is the first version of Gazelle's API, although its
// authors have a second in the making.
type (
	languageV1    = language.Language     //nolint:SA1019
	ruleIndex     = resolve.RuleIndex     //nolint:SA1019
	crossResolver = resolve.CrossResolver //nolint:SA1019
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
		scanners: make(map[string]*bpfc.Scanner),
		files:    make(map[string]bool),
		lib:      newLibraries(),
	}
}

func (*bpfLang) Name() string { return languageName }

func (*bpfLang) RegisterFlags(*flag.FlagSet, string, *config.Config) {}

func (*bpfLang) CheckFlags(*flag.FlagSet, *config.Config) error { return nil }

// Before makes the garbage collector run less often, unless the environment says how
// often it shall. Of what Gazelle allocates, most lives until the run ends: syntax
// trees of all BUILD files, rules, scans. Collections find little, and with more
// rules they take a larger share of the time than generating those.
func (*bpfLang) Before(context.Context) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

func (l *bpfLang) DoneGeneratingRules() { l.ahead.stop() }

// AfterResolvingDeps ends the run when a policy says so. Nothing has been
// written then.
func (l *bpfLang) AfterResolvingDeps(context.Context) {
	if l.failed {
		log.Fatal("bpf: no file was changed, because of what is said above and a directive that makes it an error")
	}
}
