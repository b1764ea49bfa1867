package gazelle

import (
	"errors"
	"fmt"
	"log"
	"path"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/label"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/index"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
)

// reports collects the messages of a run, so that each cause is reported once.
type reports struct {
	list []*report
	by   map[string]*report
	// failed is set when a policy says that something is an error.
	failed bool
}

// A report is of one cause.
type report struct {
	text string
	// also counts the other locations of the same cause.
	also int
}

// add reports what is wrong, as a policy says. at is the location, and text is what to do about
// the cause: a cause with several locations is reported at the first.
func (r *reports) add(p policy, at, text string) {
	switch p {
	case ignore:
		return
	case fail:
		r.failed = true
	}
	if r.by == nil {
		r.by = make(map[string]*report)
	}
	if known := r.by[text]; known != nil {
		if at != "" && !strings.HasPrefix(known.text, at) {
			known.also++
		}
		return
	}
	first := &report{text: text}
	if at != "" {
		first.text = at + ": " + text
	}
	r.by[text] = first
	r.list = append(r.list, first)
}

// flush logs the reports, and reports whether one of them is an error.
func (r *reports) flush() bool {
	for _, report := range r.list {
		if report.also > 0 {
			log.Printf("%s (and at %d more places)", report.text, report.also)
		} else {
			log.Print(report.text)
		}
	}
	r.list, r.by = nil, nil
	return r.failed
}

func location(pos bpfc.Pos) string { return fmt.Sprintf("%s:%d", pos.File, pos.Line) }

// What look-ups of headers find wrong, beside what the index says.
var (
	errOutside   = errors.New("the path is absolute")
	errVmlinux   = errors.New("nothing makes vmlinux.h")
	errNoFile    = errors.New("no such file is found")
	errFinalOnly = errors.New("only a final object has it")
)

// A headerError is the reason why no target has a header.
type headerError struct {
	cause error
	// file is the header's path from the root when it was found, owner the final
	// object that has it, and targets are those that have it.
	file    string
	owner   label.Label
	targets []label.Label
	// elsewhere has files that may be meant.
	elsewhere []string
}

func (e *headerError) Error() string { return e.cause.Error() }

func (e *headerError) Unwrap() error { return e.cause }

// headerProblem makes a message of what is wrong with an include.
func (l *bpfLang) headerProblem(bc *bpfConfig, inc bpfc.Include, err error) {
	e := new(headerError)
	if !errors.As(err, &e) {
		return
	}
	p, text := bc.unresolved, ""
	switch {
	case errors.Is(err, index.ErrSeveral):
		p = bc.ambiguous
		text = fmt.Sprintf("%q is in several targets: %s. Say which one: # gazelle:resolve bpf %s LABEL", inc.Path, join(e.targets), inc.Path)
	case errors.Is(err, errOutside):
		text = fmt.Sprintf("%q is not in the repository: include it by its path from the root, or name the target that has it: # gazelle:resolve bpf %s LABEL",
			inc.Path, inc.Path)
	case errors.Is(err, errVmlinux):
		text = fmt.Sprintf("no bpf_vmlinux_header makes %q: add one, or name the target that has the header: # gazelle:resolve bpf vmlinux.h LABEL", inc.Path)
	case errors.Is(err, errFinalOnly):
		text = fmt.Sprintf("%q belongs to %s, a final object, which nothing can depend on: make it a library's with # gazelle:bpf_library %s in %s",
			inc.Path, e.owner, path.Base(e.file), paths.OrRoot(paths.Parent(e.file)))
	case errors.Is(err, errNoFile) && len(e.elsewhere) > 0:
		var dirs []string
		for _, file := range e.elsewhere {
			dir := strings.Trim(strings.TrimSuffix(file, path.Clean(inc.Path)), "/")
			dirs = append(dirs, "/"+dir)
		}
		text = fmt.Sprintf("%q is in several directories: name the one to search: # gazelle:bpf_search %s", inc.Path, strings.Join(dirs, ", or "))
	case errors.Is(err, errNoFile):
		text = fmt.Sprintf("%q is not in any directory that is searched: name one with # gazelle:bpf_search, or a target: # gazelle:resolve bpf %s LABEL",
			inc.Path, inc.Path)
	case l.survey.isExcluded(paths.Parent(e.file)):
		text = fmt.Sprintf("no target has the header %s, and Gazelle leaves its directory out: write a bpf_library with it by hand, and add # gazelle:resolve bpf %s LABEL",
			e.file, inc.Path)
	default:
		text = fmt.Sprintf("no target has the header %s: add # gazelle:bpf_library %s in %s", e.file, path.Base(e.file), paths.OrRoot(paths.Parent(e.file)))
	}
	l.reports.add(p, location(inc.Pos), text)
}

func join(labels []label.Label) string {
	var out []string
	for _, l := range labels {
		out = append(out, l.String())
	}
	return strings.Join(out, ", ")
}

// locations lists where a symbol is defined.
func locations(definitions []index.Definition) string {
	var out []string
	for _, d := range definitions {
		out = append(out, fmt.Sprintf("%s (%s:%d)", d.Of, d.Symbol.Pos.File, d.Symbol.Pos.Line))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
