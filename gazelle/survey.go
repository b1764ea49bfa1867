package gazelle

import (
	"bytes"
	"cmp"
	"fmt"
	"go/token"
	"log"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
	"github.com/bazel-contrib/bazel-gazelle/v2/walk"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpf2go"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/cflags"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
	"github.com/rules-bpf/rules_bpf/internal/goname"
)

// A survey is what a run over the whole repository knows before it writes rules:
// which directories have BPF, which lines of Go files ask for code of which C file,
// and which headers files of other directories include. A run over a few directories
// has none. There, what BUILD files say stands for it.
type survey struct {
	// done is set once the repository was looked through, full when there was a
	// reason to.
	done, full bool
	config     *config.Config
	// nothing is set when neither files of BPF nor lines of Go files can be anywhere.
	nothing bool
	dirs    map[string]*surveyed
	// order has the directories of dirs as they were met.
	order []*surveyed
	// byBase has the files of the repository by their last name.
	byBase map[string][]string
	// included has the files that sources include.
	included map[string]bool
	// unclaimed has the C files that look like objects, and get no rules.
	unclaimed []string
}

// A surveyed directory is what is known of one.
type surveyed struct {
	rel   string
	bc    *bpfConfig
	files []string
	build *rule.File
	// rules has those of the BUILD file, once they were looked at.
	rules []plan.Rule
	// hasGo is set when a Go file is in it, usesEBPF when its Go module may run bpf2go.
	hasGo, usesEBPF bool
	// contained is set when the files are a package's further up, excluded when Gazelle
	// makes no rules in the directory, whatever is in it.
	contained, excluded bool
	// isPackage is set when the directory has a BUILD file, or what gives it one;
	// hasBPF when it has sources, headers or lines of its own.
	isPackage, hasBPF bool
	sources           []string
	commands          []plan.Command
	// skeletons has the macros of sources that lines ask a bpf_skeleton for.
	skeletons map[string]plan.Command
	// lines are those lines, by source.
	lines map[string][]bpf2go.Command
	// claimed has the sources that rules made of lines compile.
	claimed map[string]bool
	// orphans has the names of bpf2go rules whose source is gone.
	orphans map[string]bool
	// exported has those of them that rules in other packages compile.
	exported []string
	reached  map[string]bool
	// directory and begun are the plan of the directory, begun for the survey.
	directory *plan.Directory
	begun     *plan.Plan
}

// isIgnoredTree reports whether a directory of this name has other people's files.
func isIgnoredTree(name string) bool { return name == "vendor" || name == "node_modules" }

// isOthers reports whether a directory is in such a tree.
func isOthers(rel string) bool {
	for name := range strings.SplitSeq(rel, "/") {
		if isIgnoredTree(name) {
			return true
		}
	}
	return false
}

// prepare looks through the repository, once.
func (l *bpfLang) prepare(c *config.Config) {
	if l.survey.done {
		return
	}
	l.survey.done = true
	l.sources.root = c.RepoRoot
	if (c.IndexLazy || !c.IndexLibraries) && !l.recursive {
		return
	}
	s := &l.survey
	s.config = c
	s.dirs = make(map[string]*surveyed)
	// What the root's directives say is read again: the configuration is that of the
	// directory that comes first.
	l.visit("", defaults, false)
	if !slices.ContainsFunc(s.order, func(sd *surveyed) bool { return sd.hasC() }) {
		// No C, no BPF, as long as no line compiles C of a directory that is excluded.
		s.nothing = !slices.ContainsFunc(s.order, func(sd *surveyed) bool {
			return sd.usesEBPF || sd.hasBPF || len(sd.bc.kinds) > 0
		})
		if s.nothing {
			s.dirs, s.order = nil, nil
			return
		}
	}
	s.full = true
	s.contain()
	l.sources.anywhere = s.anywhere
	for _, sd := range s.order {
		l.findCommands(c, sd)
	}
	for _, sd := range s.order {
		sd.isPackage = sd.isPackage || sd.hasBPF
		l.findSources(sd)
	}
	l.reach(c)
	l.reportUnclaimed()
}

func (sd *surveyed) hasC() bool {
	return slices.ContainsFunc(sd.files, func(name string) bool { return strings.HasSuffix(name, ".c") })
}

// visit notes a directory and those below it, the latter first.
func (l *bpfLang) visit(rel string, bc *bpfConfig, usesEBPF bool) {
	info, err := walk.GetDirInfo(rel)
	if err != nil && len(info.RegularFiles)+len(info.Subdirs) == 0 {
		return
	}
	bc, _ = bc.inDirectory(rel, info.File)
	sd := &surveyed{rel: rel, bc: bc, files: info.RegularFiles, build: info.File, isPackage: info.File != nil || rel == ""}
	sd.contained = !sd.isPackage && bc.updateOnly
	interesting := info.File != nil
	for _, name := range sd.files {
		switch ext := path.Ext(name); {
		case ext == ".go":
			sd.hasGo, interesting = true, true
		case name == "go.mod":
			usesEBPF = l.mentionsEBPF(rel)
		case isCFile(name):
			interesting = true
			sd.hasBPF = sd.hasBPF || paths.IsBPF(name)
		}
	}
	sd.usesEBPF = usesEBPF
	sd.isPackage = sd.isPackage || !bc.updateOnly && (sd.hasGo || sd.hasBPF && bc.enabled)
	for _, sub := range info.Subdirs {
		if !isIgnoredTree(sub) {
			l.visit(path.Join(rel, sub), bc, usesEBPF)
		}
	}
	if interesting {
		l.survey.dirs[rel] = sd
		l.survey.order = append(l.survey.order, sd)
	}
}

// isCFile reports whether a file may be a C source or header.
func isCFile(name string) bool {
	switch path.Ext(name) {
	case ".c", ".h", ".hpp", ".def", ".inc":
		return true
	}
	return false
}

// mentionsEBPF reports whether a directory's go.mod has the module of bpf2go in it:
// otherwise no Go file below need be read for lines that run it.
func (l *bpfLang) mentionsEBPF(rel string) bool {
	var err error
	l.sources.content, err = readInto(l.sources.content[:0], l.sources.path(path.Join(rel, "go.mod")))
	return err == nil && bytes.Contains(l.sources.content, []byte("github.com/cilium/ebpf"))
}

// contain gives packages the files of directories below that get no BUILD files, as
// Gazelle does.
func (s *survey) contain() {
	for _, sd := range s.order {
		owner := s.packageOf(sd.rel)
		if !sd.contained || owner == nil {
			continue
		}
		prefix, _ := paths.Under(owner.rel, sd.rel)
		owner.files = slices.Clip(owner.files)
		for _, name := range sd.files {
			owner.files = append(owner.files, path.Join(prefix, name))
		}
		owner.hasBPF = owner.hasBPF || sd.hasBPF
	}
}

// anywhere returns the files whose paths end like an include's.
func (s *survey) anywhere(include string) []string {
	if s.byBase == nil {
		s.byBase = make(map[string][]string)
		for _, sd := range s.order {
			for _, name := range sd.files {
				if path.Ext(name) != ".go" {
					s.byBase[name] = append(s.byBase[name], path.Join(sd.rel, name))
				}
			}
		}
	}
	include = path.Clean(include)
	for strings.HasPrefix(include, "../") {
		include = include[3:]
	}
	var out []string
	for _, file := range s.byBase[path.Base(include)] {
		if file == include || strings.HasSuffix(file, "/"+include) {
			out = append(out, file)
		}
	}
	return out
}

// packageOf returns the package that a directory belongs to.
func (s *survey) packageOf(rel string) *surveyed {
	for {
		if sd := s.dirs[rel]; sd != nil && sd.isPackage {
			return sd
		}
		if rel == "" {
			return nil
		}
		rel = paths.Parent(rel)
	}
}

// canCreate reports whether a directory can become a package. One that is excluded is
// taken for a package whose rules are written by hand, unless a line of go generate compiles
// a source in it: that source belongs to the package above.
func (sd *surveyed) canCreate() bool {
	return sd.bc.enabled && !sd.bc.updateOnly && !(sd.excluded && len(sd.claimed) > 0)
}

// isExcluded reports whether Gazelle makes no rules in a directory, as far as that is
// known.
func (s *survey) isExcluded(rel string) bool {
	sd := s.dirs[rel]
	return sd != nil && sd.excluded
}

// uses reports whether files of a directory are included or compiled elsewhere.
func (s *survey) uses(rel string) bool {
	sd := s.dirs[rel]
	return s.full && sd != nil && len(sd.reached)+len(sd.exported) > 0
}

// findCommands reads the lines of a directory's Go files that run bpf2go, and the
// rules that stand for lines which are gone.
func (l *bpfLang) findCommands(c *config.Config, sd *surveyed) {
	l.readLines(sd)
	sd.rules = classify(c, sd.build, sd.files)
	if sd.bc.bpf2go == bpf2goSkeleton {
		return
	}
	for _, r := range sd.rules {
		if r.Kind == plan.Bpf2go && !r.Rule.ShouldKeep() {
			l.addRule(sd, r.Rule)
		}
	}
}

// addRule notes a bpf2go rule whose line is gone: people delete it where they have
// the rule.
func (l *bpfLang) addRule(sd *surveyed, r *rule.Rule) {
	cmd := bpf2go.Command{
		Ident: cmp.Or(r.AttrString("ident"), r.Name()), Package: r.AttrString("package"), OutputStem: r.AttrString("output_stem"),
		Types: r.AttrStrings("types"), Defines: r.AttrStrings("defines"), Constraint: r.AttrString("build_constraint"),
		NoGlobalTypes: r.Attr("global_types") != nil && !r.AttrBool("global_types"),
		Copts:         slices.DeleteFunc(expr.Marked(r, "copts"), func(flag string) bool { return slices.Contains(sd.bc.copts, flag) }),
	}
	srcs := r.AttrStrings("srcs")
	if len(srcs) != 1 || slices.ContainsFunc(sd.commands, func(c plan.Command) bool { return c.Stem() == cmd.Stem() }) {
		return
	}
	file := path.Join(sd.rel, strings.TrimPrefix(srcs[0], ":"))
	if of, err := label.Parse(srcs[0]); err == nil && !of.Relative {
		for _, suffix := range []string{paths.SourceSuffix, ".c"} {
			file = path.Join(of.Pkg, strings.TrimSuffix(of.Name, exportedSuffix)+suffix)
			if l.sources.isFile(file) {
				break
			}
		}
	}
	if !l.sources.isFile(file) {
		if sd.orphans == nil {
			sd.orphans = make(map[string]bool)
		}
		sd.orphans[r.Name()] = true
		return
	}
	sd.commands = append(sd.commands, plan.Command{
		Command: cmd, Src: srcs[0], File: file, Flags: sd.bc.scanned().With(plan.RuleFlags(r, sd.rel)),
	})
	sd.isPackage, sd.hasBPF = true, true
	l.claim(file, sd.bc)
}

// claim notes that a bpf2go rule compiles a source.
func (l *bpfLang) claim(file string, bc *bpfConfig) {
	of := l.survey.directory(paths.Parent(file), bc)
	if of.claimed == nil {
		of.claimed = make(map[string]bool)
	}
	of.claimed[path.Base(file)] = true
}

// isClaimed reports whether a bpf2go rule compiles a source.
func (s *survey) isClaimed(file string) bool {
	of := s.dirs[paths.Parent(file)]
	return of != nil && of.claimed[path.Base(file)]
}

func (l *bpfLang) readLines(sd *surveyed) {
	if !sd.hasGo || !sd.usesEBPF || sd.bc.bpf2go == bpf2goOff || !sd.bc.enabled {
		return
	}
	for _, name := range sd.files {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		var err error
		if l.sources.content, err = readInto(l.sources.content[:0], l.sources.path(path.Join(sd.rel, name))); err != nil {
			continue
		}
		for _, cmd := range bpf2go.Commands(name, l.sources.content) {
			if cmd.Err != nil {
				log.Printf("%s:%d: the line for bpf2go %v, and gets no rule", path.Join(sd.rel, name), cmd.Line, cmd.Err)
				continue
			}
			l.addCommand(sd, name, cmd)
		}
	}
}

// addCommand notes a line where its rule and its source are.
func (l *bpfLang) addCommand(sd *surveyed, from string, cmd bpf2go.Command) {
	file := path.Join(sd.rel, cmd.Source)
	if paths.Outside(file) || !l.sources.isFile(file) {
		log.Printf("%s:%d: bpf2go compiles %s, which is not a file of the repository", path.Join(sd.rel, from), cmd.Line, cmd.Source)
		return
	}
	at := fmt.Sprintf("%s:%d", path.Join(sd.rel, from), cmd.Line)
	if sd.bc.bpf2go == bpf2goSkeleton {
		l.addSkeleton(at, sd.bc, l.command(sd, file, cmd))
		return
	}
	to := sd
	if cmd.Dir != "" && cmd.Dir != "." {
		rel := path.Join(sd.rel, cmd.Dir)
		if info, err := os.Stat(l.sources.path(rel)); paths.Outside(rel) || err != nil || !info.IsDir() {
			log.Printf("%s: bpf2go writes to %s, which is not a directory of the repository: make it, with a Go file of package %s in it",
				at, rel, cmd.Package)
			return
		}
		if to = l.survey.directory(rel, sd.bc); l.survey.full && !to.hasGoPackage() {
			log.Printf("%s: bpf2go writes to %s, where no go_library embeds it: add a Go file of package %s to that directory", at, rel, cmd.Package)
		}
	}
	l.claim(file, sd.bc)
	to.isPackage, to.hasBPF = true, true
	to.commands = append(to.commands, l.command(sd, file, cmd))
}

// hasGoPackage reports whether a rule in the directory can embed what bpf2go writes.
func (sd *surveyed) hasGoPackage() bool {
	return sd.hasGo || sd.build != nil && slices.ContainsFunc(sd.build.Rules, isGoRule)
}

// addSkeleton notes a line that gets a bpf_skeleton: of several that compile a source, one, with
// variants where they compile it in different ways.
func (l *bpfLang) addSkeleton(at string, bc *bpfConfig, cmd plan.Command) {
	of := l.survey.directory(paths.Parent(cmd.File), bc)
	if of.skeletons == nil {
		of.skeletons = make(map[string]plan.Command)
		of.lines = make(map[string][]bpf2go.Command)
	}
	of.hasBPF = true
	name := path.Base(cmd.File)
	first, duplicate := of.skeletons[name]
	if !duplicate {
		of.skeletons[name] = cmd
		of.lines[name] = []bpf2go.Command{cmd.Command}
		return
	}
	merged := bpf2go.Merge(append(slices.Clip(of.lines[name]), cmd.Command))
	if !slices.Equal(first.Flags.Search, cmd.Flags.Search) || !nameable(merged.Variants) {
		log.Printf("%s: %s has a bpf_skeleton already, with the flags of %s: write that of %s by hand", at, cmd.File, first.Ident, cmd.Ident)
		return
	}
	of.lines[name] = append(of.lines[name], cmd.Command)
	first.Command, first.Flags = merged, first.Flags.With(cmd.Flags)
	of.skeletons[name] = first
}

// nameable reports whether one Go package can have the variants: what their names are in Go
// differs, and is not part of the package.
func nameable(variants []bpf2go.Variant) bool {
	taken := slices.Concat(goname.API, goname.Sections, goname.Variants)
	for _, v := range variants {
		// Bazel's rule takes no letters but ASCII's.
		ascii := !strings.ContainsFunc(v.Name, func(r rune) bool { return r >= utf8.RuneSelf })
		name := goname.Export(v.Name)
		if !ascii || !token.IsIdentifier(v.Name) || v.Name == "_" || slices.Contains(taken, name) {
			return false
		}
		taken = append(taken, name)
	}
	return true
}

// command returns a line with its directories and files as paths from the root.
func (l *bpfLang) command(sd *surveyed, file string, cmd bpf2go.Command) plan.Command {
	cmd.Copts = l.fromRoot(sd.rel, cmd.Copts)
	flags := sd.bc.scanned()
	flags.Defines = slices.Concat(flags.Defines, cmd.Defines)
	flags.Forced = slices.Concat(flags.Forced, plan.ParseFlags(cmd.Copts).Forced)
	var search []string
	for _, dir := range cmd.Includes {
		if dir := path.Join(sd.rel, dir); !paths.Outside(dir) {
			search = append(search, l.perArch(dir)...)
		}
	}
	flags.Search = append(search, flags.Search...)
	return plan.Command{Command: cmd, File: file, Flags: flags}
}

// fromRoot returns flags of a compiler that runs in a directory as one takes them that
// runs in the root. A file that is included first is looked for where the compiler
// runs, and what is not there in the search directories, as any other.
func (l *bpfLang) fromRoot(rel string, flags []string) []string {
	var out []string
	for _, f := range cflags.Split(flags) {
		file := path.Join(rel, f.Value)
		if f.IsForced() && !path.IsAbs(f.Value) && !paths.Outside(file) && l.sources.isFile(file) {
			out = append(out, f.Name, file)
			continue
		}
		out = append(out, f.Words...)
	}
	return out
}

// goArches are the architectures in $GOARCH, as the first of them is preferred.
var goArches = []string{"amd64", "arm64", "arm", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"}

// perArch returns the directory to search, the first one where its name has $GOARCH.
func (l *bpfLang) perArch(dir string) []string {
	if !strings.Contains(dir, "$") {
		return []string{dir}
	}
	var out []string
	s := l.sources
	if s.arches == nil {
		s.arches, s.archOf = make(map[string][]string), make(map[string]string)
	}
	for _, arch := range goArches {
		name := strings.NewReplacer("${GOARCH}", arch, "$GOARCH", arch).Replace(dir)
		if info, err := os.Stat(l.sources.path(name)); err == nil && info.IsDir() {
			out = append(out, name)
			s.archOf[name] = arch
		}
	}
	if len(out) == 0 {
		return nil
	}
	s.arches[out[0]] = out[1:]
	return out[:1]
}

// directory returns what is known of a directory, also of one that has nothing of
// interest by itself, or that Gazelle does not come to.
func (s *survey) directory(rel string, bc *bpfConfig) *surveyed {
	if sd := s.dirs[rel]; sd != nil {
		return sd
	}
	sd := &surveyed{rel: rel, bc: bc}
	if s.dirs == nil {
		s.dirs = make(map[string]*surveyed)
	}
	s.dirs[rel] = sd
	if s.full {
		_, err := walk.GetDirInfo(rel)
		sd.excluded = err != nil
		sd.isPackage = sd.excluded && hasBuildFile(s.config, rel)
		s.order = append(s.order, sd)
	}
	return sd
}

// findSources finds the C files of a directory that are BPF's.
func (l *bpfLang) findSources(sd *surveyed) {
	if !sd.bc.enabled || sd.contained {
		return
	}
	compiled, exported := sd.ruleSources()
	sd.hasBPF = sd.hasBPF || slices.ContainsFunc(compiled, func(src string) bool { return slices.Contains(sd.files, src) })
	neighbour := sd.hasBPF || len(sd.claimed) > 0
	for _, name := range sd.files {
		if !strings.HasSuffix(name, ".c") {
			continue
		}
		file := path.Join(sd.rel, name)
		switch {
		case sd.bc.kindOf(name) != "", slices.Contains(compiled, name), sd.skeletons[name].File != "":
		case l.survey.isClaimed(file) || !l.survey.full && slices.Contains(exported, name):
			continue
		case strings.HasSuffix(name, paths.SourceSuffix):
		case sd.bc.isSource(file):
			if looks, _ := l.looksLikeBPF(file, sd); !looks {
				continue
			}
		case !l.survey.full && !neighbour:
			continue
		default:
			if _, isObject := l.looksLikeBPF(file, sd); !isObject {
				continue
			}
			if !neighbour {
				l.survey.unclaimed = append(l.survey.unclaimed, file)
				continue
			}
		}
		sd.sources = append(sd.sources, name)
	}
	slices.Sort(sd.sources)
	sd.hasBPF = sd.hasBPF || len(sd.sources) > 0
	sd.isPackage = sd.isPackage || !sd.bc.updateOnly && len(sd.sources) > 0
}

// ruleSources returns the sources that rules of the BUILD file compile, and those that
// filegroups have.
func (sd *surveyed) ruleSources() (compiled, exported []string) {
	for _, r := range sd.rules {
		compiled = append(compiled, r.Sources...)
		if r.Kind == "filegroup" {
			exported = append(exported, r.Rule.AttrStrings("srcs")...)
		}
	}
	return compiled, exported
}

// looksLikeBPF reports whether a C file is BPF's by its content, and whether it is a
// whole object.
func (l *bpfLang) looksLikeBPF(file string, sd *surveyed) (looks, isObject bool) {
	var err error
	if l.sources.content, err = readInto(l.sources.content[:0], l.sources.path(file)); err != nil {
		return false, false
	}
	content := l.sources.content
	sections := bytes.Contains(content, []byte("SEC(")) || bytes.Contains(content, []byte("section"))
	looks = bytes.Contains(content, []byte("SEC(")) || bytes.Contains(content, []byte("bpf_helpers.h")) || bytes.Contains(content, []byte("vmlinux.h"))
	if !sections || !bytes.Contains(content, []byte("icense")) && !bytes.Contains(content, []byte("ICENSE")) {
		return looks, false
	}
	flags := sd.bc.scanned()
	scan, err := l.sources.scan(file, use{sd.rel, &flags})
	if err != nil {
		return looks, false
	}
	isObject = scan.HasLicense && scan.Programs() > 0
	return looks || isObject, isObject
}

// A reaching unit is a source with what it includes.
type reaching struct {
	pkg      *surveyed
	includes []bpfc.Include
}

// reach finds out which files are included from other packages, and makes packages
// of the directories that have nothing else.
func (l *bpfLang) reach(c *config.Config) {
	s := &l.survey
	var units []reaching
	for _, sd := range slices.Clone(s.order) {
		if len(sd.sources) > 0 {
			sd.directory = l.planned(c, sd)
			sd.begun = plan.Begin(sd.directory)
			for _, scan := range sd.begun.Scans() {
				units = append(units, reaching{sd, scan.Includes})
			}
		}
		for i := range sd.commands {
			cmd := &sd.commands[i]
			s.become(cmd.File, sd)
			if scan, err := l.sources.scan(cmd.File, use{sd.rel, &cmd.Flags}); err == nil {
				units = append(units, reaching{sd, scan.Includes})
			}
		}
	}
	s.settle(units)
	for _, sd := range s.order {
		for i := range sd.commands {
			s.nameSource(&sd.commands[i], sd)
		}
	}
}

// settle decides which directories are packages, then who reaches whose files.
func (s *survey) settle(units []reaching) {
	each := func(do func(file string, pkg *surveyed)) {
		type pair struct {
			file string
			pkg  *surveyed
		}
		seen := make(map[pair]bool)
		for _, u := range units {
			for _, inc := range u.includes {
				if inc.File == "" || inc.File[0] == '<' || seen[pair{inc.File, u.pkg}] {
					continue
				}
				seen[pair{inc.File, u.pkg}] = true
				do(inc.File, u.pkg)
			}
		}
	}
	s.included = make(map[string]bool)
	each(s.become)
	each(func(file string, pkg *surveyed) {
		s.included[file] = true
		owner := s.packageOf(paths.Parent(file))
		if owner == nil || owner == pkg {
			return
		}
		if owner.reached == nil {
			owner.reached = make(map[string]bool)
		}
		name, _ := paths.Under(owner.rel, file)
		owner.reached[name] = true
	})
}

// become makes a package of the directory of a file that another package uses, unless
// it belongs to one with BPF.
func (s *survey) become(file string, user *surveyed) {
	dir := paths.Parent(file)
	owner := s.packageOf(dir)
	if owner == user || owner != nil && (owner.rel == dir || owner.hasBPF) {
		return
	}
	sd := s.dirs[dir]
	if sd == nil {
		if owner != nil && !owner.canCreate() {
			return
		}
		sd = s.directory(dir, user.bc)
	}
	sd.isPackage = sd.isPackage || sd.canCreate()
}

// nameSource sets how a command's rule names its source.
func (s *survey) nameSource(cmd *plan.Command, sd *surveyed) {
	owner := s.packageOf(paths.Parent(cmd.File))
	if cmd.Src != "" && strings.HasPrefix(cmd.Src, "//") && owner != sd {
		if name, ok := paths.Under(owner.rel, cmd.File); ok && cmd.Src != "//"+owner.rel+":"+exportedName(name) {
			// The rule names it in another way, which stays.
			return
		}
	}
	if owner == nil || owner == sd {
		cmd.Src, _ = paths.Under(sd.rel, cmd.File)
		return
	}
	name, _ := paths.Under(owner.rel, cmd.File)
	cmd.Src = "//" + owner.rel + ":" + exportedName(name)
	if !slices.Contains(owner.exported, name) {
		owner.exported = append(owner.exported, name)
	}
}

// exportedName returns the name of the filegroup that has a source.
func exportedName(file string) string { return paths.Stem(file) + exportedSuffix }

const exportedSuffix = "_src"

// reportUnclaimed reports, once, that there are C files that look like objects.
func (l *bpfLang) reportUnclaimed() {
	files := l.survey.unclaimed
	if len(files) == 0 {
		return
	}
	slices.Sort(files)
	const few = 3
	first := strings.Join(files[:min(few, len(files))], ", ")
	if len(files) > few {
		first += fmt.Sprintf(" and %d more", len(files)-few)
	}
	log.Printf("bpf: %d C files have a license and a program, as BPF objects have, but get no rules, because nothing says that BPF lives where they are: %s. Where it does, add to the BUILD file in the root: # gazelle:bpf_sources %s",
		len(files), first, strings.Join(patternsFor(files), " "))
}

// patternsFor returns patterns that match files: for a few directories each its own,
// for many those at the top.
func patternsFor(files []string) []string {
	var dirs []string
	for _, file := range files {
		if dir := paths.Parent(file); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	const few = 3
	suffix := "*.c"
	for len(dirs) > few {
		var up []string
		for _, dir := range dirs {
			top := paths.Parent(dir)
			if top == "" {
				top = dir
			}
			if !slices.Contains(up, top) {
				up = append(up, top)
			}
		}
		suffix = "**/*.c"
		if len(up) == len(dirs) {
			break
		}
		dirs = up
	}
	var out []string
	for _, dir := range dirs {
		out = append(out, path.Join(dir, suffix))
	}
	return out
}
