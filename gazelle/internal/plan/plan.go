// Package plan decides what targets a directory has: it takes what is known of the
// directory, and returns units. It reads no file itself, and what it says of a
// directory does not depend on the order in which directories are planned.
package plan

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpf2go"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
)

// The kinds of rules.
const (
	Skeleton    = "bpf_skeleton"
	Object      = "bpf_object"
	Library     = "bpf_library"
	Subskeleton = "bpf_subskeleton"
	Bpf2go      = "bpf2go"
	Vmlinux     = "bpf_vmlinux_header"
	Types       = "bpf_types"
)

// A Naming is how the packages of a directory get their import paths.
type Naming string

// The namings. NamingAuto is NamingFolder for one package in a directory without
// Go, else NamingFile.
const (
	NamingAuto   Naming = "auto"
	NamingFolder Naming = "folder"
	NamingFile   Naming = "file"
)

// A Unit is a target that compiles C, or that has headers only.
type Unit struct {
	Kind, Name, Rel string
	// Srcs has the sources as the rule names them: files of the package, or labels.
	// Files has the same as paths from the root.
	Srcs, Files []string
	// Hdrs has paths relative to the package, and labels.
	Hdrs []string
	// Includes has the search directories that the unit needs, relative to its own.
	Includes []string
	Scans    []*bpfc.File
	// Existing is the rule that the unit has in the BUILD file, or nil.
	Existing *rule.Rule
	// Duplicate is set for a rule written by hand although another one has the
	// same source: what Go packages there are of it, and what they are called, stays.
	Duplicate bool
	// Kept has the dependencies that are marked with # keep.
	Kept []label.Label
	// GoName is the rule of the unit's Go package: the skeleton itself, or the
	// subskeleton of a library. Empty when there is none.
	GoName, ImportPath string
	// Command is the line of a Go file that asks for the unit, or nil.
	Command *bpf2go.Command
	// Search has the directories that are searched for headers, from the root.
	Search []string
	// Number identifies the unit to whoever keeps units.
	Number int

	hdrs map[string]bool
}

// Label returns the unit's label.
func (u *Unit) Label() label.Label { return label.New("", u.Rel, u.Name) }

// Final reports whether the unit is an object that is loaded, which nothing links.
func (u *Unit) Final() bool { return u.Kind != Library }

// HeadersOnly reports whether the unit compiles nothing.
func (u *Unit) HeadersOnly() bool {
	return u.Kind == Library && len(u.Files) == 0 && expr.WrittenOut(u.Existing, "srcs")
}

// Has reports whether a path from the root is one of the unit's files.
func (u *Unit) Has(file string) bool {
	if slices.Contains(u.Files, file) {
		return true
	}
	name, ok := paths.Under(u.Rel, file)
	return ok && u.hdrs[name]
}

func (u *Unit) addHeader(name string) {
	if u.hdrs[name] {
		return
	}
	if u.hdrs == nil {
		u.hdrs = make(map[string]bool)
	}
	u.hdrs[name] = true
	u.Hdrs = append(u.Hdrs, name)
}

// A Command is a line of a Go file that the directory gets a rule for.
type Command struct {
	bpf2go.Command
	// Src is the source as the rule names it, File its path from the root.
	Src, File string
	// Flags are all that the source is scanned with.
	Flags Flags
}

// A Rule is one of a BUILD file, with what is asked for often.
type Rule struct {
	Rule *rule.Rule
	// Kind is the one that the rule stands for. Own is set when it is this language's.
	Kind, Name string
	Own        bool
	// Sources has the files of the package that the rule compiles, as far as it is a
	// bpf_skeleton, bpf_object or bpf_library.
	Sources []string
}

// A Repository answers what a plan asks of other directories and of what files have.
// All paths are from the root.
type Repository interface {
	// Scan reads a source.
	Scan(file string, flags *Flags) (*bpfc.File, error)
	// Shallow finds out what a header itself includes.
	Shallow(file string) (*bpfc.File, error)
	// IsFile reports whether a path is a file.
	IsFile(file string) bool
	// IsPackage reports whether a directory has a BUILD file, or will have one.
	IsPackage(dir string) bool
	// Directed returns the kind that a directive gives a file of the planned
	// directory, by its name there, or "".
	Directed(name string) string
}

// A Directory is what a plan is made from.
type Directory struct {
	Repository
	Rel string
	// Files has the regular files, Generated those that rules make.
	Files, Generated []string
	// Build is the BUILD file, or nil.
	Build *rule.File
	// Rules has those of the BUILD file.
	Rules []Rule
	// ImportPath is the directory's own.
	ImportPath string
	// HasGoLibrary is set when a package of Go files has that import path.
	HasGoLibrary bool
	// Taken has the names of targets of other languages, then those of the plan, too.
	Taken map[string]bool
	// Embedded has the names of this language's rules that Go rules embed.
	Embedded map[string]bool

	Naming Naming
	// Flags are those of all files.
	Flags Flags
	// Own has what lines of Go files say of sources that get a bpf_skeleton.
	Own map[string]Command
	// Sources has the C files that are BPF's, sorted, with those that other files
	// include.
	Sources []string
	// Commands has the lines of Go files that rules of this directory are for.
	Commands []Command

	// Surveyed is set when it is known who includes what. Then Reached has the files of
	// the package that those of other packages include.
	Surveyed bool
	Reached  map[string]bool

	// bySource has the rules that compile a file, when there are more than a few rules.
	bySource map[string][]*Rule
}

// globbed returns what a glob may match.
func (d *Directory) globbed() []string { return d.Files }

// base returns the name that targets of the whole directory have.
func (d *Directory) base() string {
	if d.Rel != "" {
		return path.Base(d.Rel)
	}
	return path.Base(d.ImportPath)
}

// A Plan is what targets a directory has.
type Plan struct {
	Units []*Unit
	// Broken has the sources that do not parse, and those that a rule has together
	// with one: their rules stay as they are.
	Broken map[string]bool
	// Messages are for the user.
	Messages []string

	// left has the rules that stay as they are.
	left map[*rule.Rule]bool
	// headersOnly has the libraries without sources that are there.
	headersOnly []*Unit
	// released has the headers of one of them that is there no more.
	released []string
	groups   map[*rule.Rule]*Unit
	scans    []*bpfc.File
	// parts has the sources that other files include, as far as Begin knows.
	parts map[string]bool
}

func (p *Plan) report(format string, args ...any) {
	p.Messages = append(p.Messages, fmt.Sprintf(format, args...))
}

// Begin reads the sources of a directory. It looks at nothing outside of the directory
// but the headers that its files include.
func Begin(d *Directory) *Plan {
	p := new(Plan)
	p.scanSources(d)
	return p
}

// Scans returns what was found in the sources that parse.
func (p *Plan) Scans() []*bpfc.File {
	return slices.DeleteFunc(slices.Clone(p.scans), func(scan *bpfc.File) bool { return scan == nil })
}

// Finish decides what targets the directory has that the plan was begun for.
func (p *Plan) Finish(d *Directory) *Plan {
	p.findIncluded(d)
	p.keep(d)
	for i, name := range d.Sources {
		if !p.Broken[name] && !p.parts[name] {
			p.addSource(d, name, p.scans[i])
		}
	}
	p.addCommands(d)
	p.findHeaderLibraries(d)
	p.name(d)
	p.assignHeaders(d)
	for _, u := range p.Units {
		u.Includes = searched(u)
		u.Kept = expr.KeptLabels(u.Existing, "deps", u.Rel)
	}
	return p
}

// SetBuild gives the directory its BUILD file, with its rules.
func (d *Directory) SetBuild(f *rule.File, rules []Rule) {
	d.Build, d.Rules, d.bySource = f, rules, nil
}

// compiled returns the rules that compile a source.
func (d *Directory) compiled(name string) []*Rule {
	const few = 16
	if len(d.Rules) <= few {
		var out []*Rule
		for i := range d.Rules {
			if slices.Contains(d.Rules[i].Sources, name) {
				out = append(out, &d.Rules[i])
			}
		}
		return out
	}
	if d.bySource == nil {
		d.bySource = make(map[string][]*Rule)
		for i := range d.Rules {
			for _, src := range d.Rules[i].Sources {
				d.bySource[src] = append(d.bySource[src], &d.Rules[i])
			}
		}
	}
	return d.bySource[name]
}

// ofKind returns the rules of a kind.
func ofKind(rules []*Rule, kind string) []*Rule {
	other := func(r *Rule) bool { return r.Kind != kind }
	// Most files have one rule.
	if len(rules) == 1 && !other(rules[0]) {
		return rules
	}
	return slices.DeleteFunc(slices.Clone(rules), other)
}

// flagsOf returns what a source is scanned with for rules.
func (d *Directory) flagsOf(name string, rules ...*Rule) Flags {
	flags := d.Flags
	if own, ok := d.Own[name]; ok {
		flags = own.Flags
	}
	for _, r := range rules {
		flags = flags.With(RuleFlags(r.Rule, d.Rel))
	}
	return flags
}

// scan reads a source for rules.
func (d *Directory) scan(name string, rules ...*Rule) (*bpfc.File, error) {
	flags := d.flagsOf(name, rules...)
	return d.Scan(path.Join(d.Rel, name), &flags)
}

// scanSources reads the sources, and finds those that other ones include.
func (p *Plan) scanSources(d *Directory) {
	p.scans = make([]*bpfc.File, len(d.Sources))
	for i, name := range d.Sources {
		scan, err := d.scan(name, d.compiled(name)...)
		if err != nil {
			p.report("%v", err)
			p.breakSource(name)
			continue
		}
		p.problems(path.Join(d.Rel, name), scan)
		if broken(scan) {
			p.breakSource(name)
			continue
		}
		p.scans[i] = scan
		p.noteParts(d, path.Join(d.Rel, name), scan)
	}
}

// breakSource notes that a source does not parse. Most directories have none.
func (p *Plan) breakSource(name string) {
	if p.Broken == nil {
		p.Broken = make(map[string]bool)
	}
	p.Broken[name] = true
}

// noteParts notes the sources that a file includes.
func (p *Plan) noteParts(d *Directory, of string, scan *bpfc.File) {
	for _, inc := range scan.Includes {
		name, ok := paths.Under(d.Rel, inc.File)
		if ok && inc.File != of && slices.Contains(d.Sources, name) && d.Directed(name) == "" {
			p.part(name)
		}
	}
}

func (p *Plan) part(name string) {
	if p.parts == nil {
		p.parts = make(map[string]bool)
	}
	p.parts[name] = true
}

// findIncluded finds the sources that rules made of lines, and other packages,
// include.
func (p *Plan) findIncluded(d *Directory) {
	for _, c := range d.Commands {
		if scan, err := d.Scan(c.File, &c.Flags); err == nil {
			p.noteParts(d, c.File, scan)
		}
	}
	for i, name := range d.Sources {
		if p.scans[i] != nil && !isFinal(p.scans[i]) && d.Directed(name) == "" && d.isIncluded(name) {
			p.part(name)
		}
	}
}

// isIncluded reports whether files of other packages include a source. Where that is not known,
// it does when a library of headers has it.
func (d *Directory) isIncluded(name string) bool {
	if d.Surveyed {
		return d.Reached[name]
	}
	return len(d.compiled(name)) == 0 && slices.ContainsFunc(d.Rules, func(r Rule) bool {
		return r.Kind == Library && slices.Contains(r.Rule.AttrStrings("hdrs"), name)
	})
}

func broken(scan *bpfc.File) bool {
	return slices.ContainsFunc(scan.Problems, func(p bpfc.Problem) bool { return !p.Rejected })
}

func (p *Plan) problems(file string, scan *bpfc.File) {
	for _, problem := range scan.Problems {
		p.report("%s:%d: %s", problem.Pos.File, problem.Pos.Line, problem.Text)
	}
	if broken(scan) {
		p.report("%s does not parse: its rules are left as they are", file)
	}
}

// isFinal reports whether a file is a whole object by itself: it has programs, and a
// license to load them under.
func isFinal(f *bpfc.File) bool { return f.HasLicense && f.Programs() > 0 }

// kind decides what becomes of a source, which rules compile.
func (p *Plan) kind(d *Directory, name string, scan *bpfc.File, rules []*Rule) string {
	if directed := d.Directed(name); directed != "" {
		return directed
	}
	skeletons := ofKind(rules, Skeleton)
	switch {
	case len(ofKind(rules, Object)) > 0:
		return Object
	case isFinal(scan) || scan.HasLicense && len(skeletons) > 0:
		return Skeleton
	}
	if len(skeletons) > 0 && !skeletons[0].Rule.ShouldKeep() {
		p.report("%s has no license any more, so its bpf_skeleton %s becomes a bpf_library: add char LICENSE[] SEC(\"license\") = \"...\", or mark the rule with # keep",
			path.Join(d.Rel, name), skeletons[0].Name)
	}
	return Library
}

// addSource adds the units of a source.
func (p *Plan) addSource(d *Directory, name string, scan *bpfc.File) {
	all := d.compiled(name)
	kind := p.kind(d, name, scan, all)
	rules := ofKind(all, kind)
	if len(rules) == 0 {
		p.add(d, name, kind, scan, all, nil, false)
		return
	}
	for i, r := range rules {
		p.add(d, name, kind, scan, all, r, i > 0)
	}
	// With a rule of the right kind there, a rule of another kind for the source is not a leftover: both
	// are wanted.
	for _, other := range []string{Skeleton, Object, Library} {
		if other == kind || d.Directed(name) != "" {
			continue
		}
		for _, r := range ofKind(all, other) {
			p.add(d, name, other, scan, all, r, true)
		}
	}
}

// add makes a unit of one of the rules that compile the source, or of none.
func (p *Plan) add(d *Directory, name, kind string, scan *bpfc.File, all []*Rule, one *Rule, duplicate bool) {
	var r *rule.Rule
	if one != nil {
		r = one.Rule
	}
	// Each rule has its own macros.
	if r != nil && len(all) > 1 && !slices.Equal(d.flagsOf(name, one).Defines, d.flagsOf(name, all...).Defines) {
		if own, err := d.scan(name, one); err == nil && !broken(own) {
			scan = own
		}
	}
	// Several sources of one rule were put together by hand.
	if u := p.groups[r]; u != nil {
		u.Srcs = append(u.Srcs, name)
		u.Files = append(u.Files, path.Join(d.Rel, name))
		u.Scans = append(u.Scans, scan)
		return
	}
	u := &Unit{
		Kind: kind, Rel: d.Rel, Srcs: []string{name}, Files: []string{path.Join(d.Rel, name)},
		Scans: []*bpfc.File{scan}, Existing: r, Duplicate: duplicate, Search: d.flagsOf(name).Search,
	}
	if own, ok := d.Own[name]; ok {
		u.Command = &own.Command
	}
	p.Units = append(p.Units, u)
	if r != nil && kind != Skeleton {
		if p.groups == nil {
			p.groups = make(map[*rule.Rule]*Unit)
		}
		p.groups[r] = u
	}
}

// keep finds the rules that stay as they are because of a source that does not
// parse, and their other sources, which stay with them. It takes their names.
func (p *Plan) keep(d *Directory) {
	if len(p.Broken) == 0 {
		return
	}
	p.left = make(map[*rule.Rule]bool)
	for changed := true; changed; {
		changed = false
		for _, r := range d.Rules {
			for _, name := range r.Sources {
				switch {
				case p.Broken[name] && !p.left[r.Rule]:
					p.left[r.Rule], changed = true, true
				case !p.Broken[name] && p.left[r.Rule]:
					p.breakSource(name)
					changed = true
				}
			}
		}
	}
	for r := range p.left {
		d.Taken[r.Name()] = true
		if of := subskeletonOf(d, r.Name()); of != nil {
			d.Taken[of.Name()] = true
		}
	}
}

// addCommands adds the units of lines that ask for Go code.
func (p *Plan) addCommands(d *Directory) {
	rules := make(map[string]*rule.Rule)
	if len(d.Commands) == 0 {
		return
	}
	for _, r := range d.Rules {
		if r.Kind == Bpf2go {
			rules[stemOf(r.Rule)] = r.Rule
		}
	}
	seen := make(map[string]bool)
	for i := range d.Commands {
		c := &d.Commands[i]
		if seen[c.Stem()] {
			// The same files, written twice.
			continue
		}
		seen[c.Stem()] = true
		scan, err := d.Scan(c.File, &c.Flags)
		if err != nil {
			p.report("%v", err)
			continue
		}
		p.problems(c.File, scan)
		u := &Unit{
			Kind: Bpf2go, Rel: d.Rel, Srcs: []string{c.Src}, Files: []string{c.File}, Scans: []*bpfc.File{scan},
			Existing: rules[c.Stem()], Command: &c.Command, Search: c.Flags.Search,
		}
		p.Units = append(p.Units, u)
	}
}

// stemOf returns how the names of the files that a bpf2go rule writes begin.
func stemOf(r *rule.Rule) string {
	if stem := r.AttrString("output_stem"); stem != "" {
		return stem
	}
	return strings.ToLower(cmp.Or(r.AttrString("ident"), r.Name()))
}

// searched returns the search directories by which a unit's headers are found,
// relative to the unit's own.
func searched(u *Unit) []string {
	var out []string
	seen := make(map[string]bool)
	add := func(dir string) {
		if to := paths.Relative(u.Rel, dir); !seen[to] {
			seen[to] = true
			out = append(out, to)
		}
	}
	var found []string
	for _, scan := range u.Scans {
		for _, inc := range scan.Includes {
			if inc.File == "" || strings.HasPrefix(inc.File, "<") || strings.HasPrefix(inc.Path, "/") {
				continue
			}
			if !inc.Angled && (inc.File == path.Join(paths.Parent(inc.Pos.File), inc.Path) || inc.File == path.Clean(inc.Path) ||
				inc.File == path.Join(u.Rel, inc.Path)) {
				continue
			}
			dir, ok := strings.CutSuffix(inc.File, path.Clean(inc.Path))
			if dir = strings.Trim(dir, "/"); ok && !slices.Contains(found, dir) {
				found = append(found, dir)
			}
		}
	}
	// In the order in which they were searched, then those of the whole tree.
	for _, dir := range u.Search {
		if dir = strings.Trim(path.Clean("/"+dir), "/"); slices.Contains(found, dir) {
			add(dir)
		}
	}
	for _, dir := range found {
		add(dir)
	}
	return out
}
