package gazelle

import (
	"log"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
	golang "github.com/bazelbuild/bazel-gazelle/language/go"
	"github.com/bazelbuild/buildtools/build"
	"github.com/bmatcuk/doublestar/v4"

	"github.com/rules-bpf/rules_bpf/gazelle/bpfc"
)

// A unit is a target that compiles C, or that has headers only.
type unit struct {
	kind string
	name string
	rel  string
	// srcs has files of the folder, hdrs paths relative to it.
	srcs, hdrs []string
	// includes has the search folders that the unit needs, relative to its own.
	includes []string
	scans    []*bpfc.File
	c        *config.Config
	existing *rule.Rule
	// further is set for a rule that somebody wrote although another one has the same
	// source: what Go packages there are of it, and what they are called, stays.
	further bool
	// kept has the dependencies that are marked with # keep.
	kept []label.Label

	// goName is the rule of the unit's Go package: the skeleton itself, or the
	// subskeleton of a library. Empty when there is none.
	goName, importpath string

	resolved resolution
}

func (u *unit) label() label.Label { return label.New("", u.rel, u.name) }

func (u *unit) final() bool { return u.kind != libraryKind }

// has reports whether a path from the root is one of the unit's files.
func (u *unit) has(file string) bool {
	name, ok := under(u.rel, file)
	return ok && (slices.Contains(u.srcs, name) || slices.Contains(u.hdrs, name))
}

// under returns a path relative to a folder that has it.
func under(rel, file string) (string, bool) {
	if rel == "" {
		return file, true
	}
	return strings.CutPrefix(file, rel+"/")
}

// A folder is what a plan is made from.
type folder struct {
	c            *config.Config
	rel          string
	files        []string // regular ones
	generated    []string
	build        *rule.File
	hasGoLibrary bool
	// taken has the names of targets of other languages, then those of the plan, too.
	taken map[string]bool
}

// globbed returns what a glob may match.
func (d *folder) globbed() []string { return d.files }

// A plan is what targets a folder has.
type plan struct {
	units []*unit
	// broken has the sources that do not parse, and those that a rule has together
	// with one: their rules stay as they are.
	broken map[string]bool
}

// attrStrings returns all strings that a list attribute may have: those of a list,
// of each branch of a select, and what a glob matches among files.
func attrStrings(r *rule.Rule, attr string, files func() []string) []string {
	if list := r.AttrStrings(attr); list != nil {
		return list
	}
	return exprStrings(r.Attr(attr), files)
}

func exprStrings(e build.Expr, files func() []string) []string {
	var out []string
	switch e := e.(type) {
	case *build.StringExpr:
		out = append(out, e.Value)
	case *build.ListExpr:
		for _, item := range e.List {
			out = append(out, exprStrings(item, files)...)
		}
	case *build.BinaryExpr:
		out = append(exprStrings(e.X, files), exprStrings(e.Y, files)...)
	case *build.DictExpr:
		for _, branch := range e.List {
			out = append(out, exprStrings(branch.Value, files)...)
		}
	case *build.CallExpr:
		if glob, ok := rule.ParseGlobExpr(e); ok {
			for _, name := range files() {
				matches := func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, name) }
				if slices.ContainsFunc(glob.Patterns, matches) && !slices.ContainsFunc(glob.Excludes, matches) {
					out = append(out, name)
				}
			}
		} else if f, ok := e.X.(*build.Ident); ok && f.Name == "select" && len(e.List) > 0 {
			out = exprStrings(e.List[0], files)
		}
	}
	return out
}

// writtenOut reports whether an attribute is a list, or not there. Otherwise
// somebody wrote an expression, which stays as it is.
func writtenOut(r *rule.Rule, attr string) bool {
	if r == nil || r.Attr(attr) == nil {
		return true
	}
	_, ok := r.Attr(attr).(*build.ListExpr)
	return ok
}

// A byHand is the value of an attribute that stays as it is.
type byHand struct{ expr build.Expr }

func (b byHand) BzlExpr() build.Expr { return b.expr }

func (byHand) Merge(other build.Expr) build.Expr { return other }

// isLabel reports whether a string in a list of files is certainly not one.
func isLabel(s string) bool { return strings.ContainsAny(s, ":@") || strings.HasPrefix(s, "//") }

// ruleSources returns the files of the package that a rule compiles.
func ruleSources(r *rule.Rule, files func() []string) []string {
	var out []string
	for _, src := range append(attrStrings(r, "srcs", files), r.AttrString("src")) {
		if src = strings.TrimPrefix(src, ":"); src != "" && !isLabel(src) {
			out = append(out, src)
		}
	}
	return out
}

// planFolder decides what targets a folder has. It looks at nothing outside of
// the folder but the headers that its files include.
func (l *bpfLang) planFolder(d *folder) *plan {
	bc := getConfig(d.c)
	p := &plan{broken: make(map[string]bool)}
	l.addBelow(d)

	// The rules that are there, by kind and source.
	existing := make(map[string]map[string][]*rule.Rule)
	if d.build != nil {
		for _, r := range d.build.Rules {
			kind := kindOf(d.c, r)
			if existing[kind] == nil {
				existing[kind] = make(map[string][]*rule.Rule)
			}
			for _, src := range ruleSources(r, d.globbed) {
				existing[kind][src] = append(existing[kind][src], r)
			}
		}
	}
	compiled := func(name string) []*rule.Rule {
		return slices.Concat(existing[skeletonKind][name], existing[objectKind][name], existing[libraryKind][name])
	}

	var sources []string
	for _, name := range d.files {
		isC := strings.HasSuffix(name, ".c")
		if strings.HasSuffix(name, sourceSuffix) || isC && (bc.kinds[name] != "" || len(compiled(name)) > 0) {
			sources = append(sources, name)
		}
	}
	for name := range bc.kinds {
		if !slices.Contains(d.files, name) && !(isHeader(name) && slices.Contains(d.generated, name)) {
			log.Printf("%s: # gazelle:%s %s: the folder has no such file", d.build.Path, bc.kinds[name], name)
		}
	}
	slices.Sort(sources)

	// Most folders have one source, and need none of the maps.
	scans := make([]*bpfc.File, len(sources))
	var parts map[string]bool
	for i, name := range sources {
		scan, err := l.scan(d.c, path.Join(d.rel, name), flagsOf(bc, compiled(name)...))
		if err != nil {
			log.Print(err)
			p.broken[name] = true
			continue
		}
		for _, problem := range scan.Problems {
			log.Printf("%s:%d: %s", problem.Pos.File, problem.Pos.Line, problem.Text)
			if !problem.Rejected {
				p.broken[name] = true
			}
		}
		if p.broken[name] {
			log.Printf("%s does not parse: its rules are left as they are", path.Join(d.rel, name))
			continue
		}
		scans[i] = scan
		for _, inc := range scan.Includes {
			part, ok := under(d.rel, inc.File)
			if ok && part != name && slices.Contains(sources, part) && bc.kinds[part] == "" {
				if parts == nil {
					parts = make(map[string]bool)
				}
				parts[part] = true
			}
		}
	}
	left := leave(d, p, existing)

	var groups map[*rule.Rule]*unit
	for i, name := range sources {
		scan := scans[i]
		if p.broken[name] || parts[name] {
			continue
		}
		kind := bc.kinds[name]
		switch {
		case kind != "":
		case len(existing[objectKind][name]) > 0:
			kind = objectKind
		case isFinal(scan) || scan.HasLicense && len(existing[skeletonKind][name]) > 0:
			kind = skeletonKind
		default:
			kind = libraryKind
		}
		// add makes a unit of a rule that compiles the source, or of none.
		add := func(kind string, r *rule.Rule, further bool) {
			scan := scan
			// Each rule has its own macros.
			if all := compiled(name); r != nil && len(all) > 1 && !slices.Equal(flagsOf(bc, r), flagsOf(bc, all...)) {
				own, err := l.scan(d.c, path.Join(d.rel, name), flagsOf(bc, r))
				if err == nil && !slices.ContainsFunc(own.Problems, func(p bpfc.Problem) bool { return !p.Rejected }) {
					scan = own
				}
			}
			// Several sources of one rule were put together by hand.
			if u := groups[r]; u != nil {
				u.srcs = append(u.srcs, name)
				u.scans = append(u.scans, scan)
				return
			}
			u := &unit{kind: kind, rel: d.rel, srcs: []string{name}, scans: []*bpfc.File{scan}, c: d.c, existing: r, further: further}
			p.units = append(p.units, u)
			if r != nil && kind != skeletonKind {
				if groups == nil {
					groups = make(map[*rule.Rule]*unit)
				}
				groups[r] = u
			}
		}
		rules := existing[kind][name]
		if len(rules) == 0 {
			add(kind, nil, false)
		}
		for i, r := range rules {
			add(kind, r, i > 0)
		}
		// With a rule of the right kind there, one of another is no leftover: somebody
		// wants both.
		for _, other := range []string{skeletonKind, objectKind, libraryKind} {
			if other == kind || len(rules) == 0 || bc.kinds[name] != "" {
				continue
			}
			for _, r := range existing[other][name] {
				add(other, r, true)
			}
		}
	}
	l.name(d, p, existing)
	l.assignHeaders(d, p, sources, left)
	for _, u := range p.units {
		u.includes = searched(bc, u)
		u.kept = keptLabels(u.existing, "deps", u.rel)
		for _, scan := range u.scans {
			// From here on, only definitions and externs count, and there may be many
			// thousand files.
			scan.Symbols = nil
		}
	}
	return p
}

// flagsOf returns the macros that a source is scanned with for rules.
func flagsOf(bc *bpfConfig, rules ...*rule.Rule) []string {
	flags := defines(bc.copts)
	for _, r := range rules {
		flags = slices.Concat(flags, r.AttrStrings("defines"))
		flags = append(flags, defines(r.AttrStrings("copts"))...)
	}
	return flags
}

// leave finds the rules that stay as they are because of a source that does not
// parse, and their other sources, which stay with them. It takes their names.
func leave(d *folder, p *plan, existing map[string]map[string][]*rule.Rule) map[*rule.Rule]bool {
	if len(p.broken) == 0 {
		return nil
	}
	left := make(map[*rule.Rule]bool)
	for again := true; again; {
		again = false
		for _, kind := range []string{skeletonKind, objectKind, libraryKind} {
			for name, rules := range existing[kind] {
				for _, r := range rules {
					switch {
					case p.broken[name] && !left[r]:
						left[r], again = true, true
					case !p.broken[name] && left[r]:
						p.broken[name], again = true, true
					}
				}
			}
		}
	}
	for r := range left {
		d.taken[r.Name()] = true
		if of := subskeletonOf(d, r.Name()); of != nil {
			d.taken[of.Name()] = true
		}
	}
	return left
}

// name gives units names and import paths.
func (l *bpfLang) name(d *folder, p *plan, existing map[string]map[string][]*rule.Rule) {
	bc := getConfig(d.c)
	taken := d.taken
	packages := 0
	for i, u := range p.units {
		if u.existing != nil {
			taken[u.existing.Name()] = true
		}
		if u.kind == objectKind || u.further && u.kind == libraryKind && subskeletonOf(d, u.existing.Name()) == nil {
			continue
		}
		// The units of one file follow each other.
		again := false
		for j := i - 1; j >= 0 && p.units[j].srcs[0] == u.srcs[0]; j-- {
			again = again || p.units[j].kind != objectKind
		}
		if !again {
			packages++
		}
	}
	inFolder := packages == 1 && (bc.naming == namingFolder || bc.naming == namingAuto && !d.hasGoLibrary)
	if bc.naming == namingFolder && packages > 1 {
		log.Printf("%s: # gazelle:bpf_naming folder: the folder makes %d Go packages, and only one can have its import path",
			orRoot(d.rel), packages)
	}
	folderPath := importPath(d.c, d.rel)
	base := path.Base(folderPath)
	if d.rel != "" {
		base = path.Base(d.rel)
	}
	free := func(name, suffix string) string {
		for taken[name] {
			name += suffix
		}
		taken[name] = true
		return name
	}
	for _, u := range p.units {
		name, importpath := stem(u.srcs[0]), ""
		if len(u.srcs) > 1 {
			name = strings.TrimSuffix(u.existing.Name(), "_bpf")
		}
		importpath = path.Join(folderPath, name)
		if inFolder && u.kind != objectKind {
			name, importpath = base, folderPath
		}
		switch u.kind {
		case skeletonKind:
			if u.existing != nil {
				u.name = u.existing.Name()
			} else {
				u.name = free(name, "_skel")
			}
			u.goName, u.importpath = u.name, importpath
			if u.further || len(existing[skeletonKind][u.srcs[0]]) > 1 {
				u.importpath = u.existing.AttrString("importpath")
			}
		case objectKind:
			if u.existing != nil {
				u.name = u.existing.Name()
			} else {
				u.name = free(name+"_bpf", "_object")
			}
		case libraryKind:
			if u.existing != nil {
				u.name = u.existing.Name()
			} else {
				u.name = free(name+"_bpf", "_lib")
			}
			u.importpath = importpath
			if r := subskeletonOf(d, u.name); r != nil {
				u.goName = r.Name()
				if u.further || len(existing[libraryKind][u.srcs[0]]) > 1 {
					u.importpath = r.AttrString("importpath")
				}
			} else if !u.further {
				u.goName = free(name, "_subskel")
			}
		}
	}
}

func orRoot(rel string) string {
	if rel == "" {
		return "the root"
	}
	return rel
}

// subskeletonOf returns the rule that is the subskeleton of a library of the folder.
func subskeletonOf(d *folder, name string) *rule.Rule {
	if d.build == nil {
		return nil
	}
	for _, r := range d.build.Rules {
		if kindOf(d.c, r) != subskeletonKind {
			continue
		}
		if of, err := label.Parse(r.AttrString("library")); err == nil &&
			of.Abs("", d.rel).Equal(label.New("", d.rel, name)) {
			return r
		}
	}
	return nil
}

// importPath returns the import path of a folder.
func importPath(c *config.Config, rel string) string {
	if _, ok := c.Exts["go"]; ok {
		if p := golang.InferImportPath(c, rel); p != "" {
			return p
		}
	}
	if rel == "" {
		return filepath.Base(c.RepoRoot)
	}
	return rel
}

// assignHeaders decides which unit has which header of the folder.
//
// A header with the name of a library is its header. What one unit's files
// include is that unit's. What only final objects include, each of them lists.
// All others are a library of headers: those that several units include with a
// library among them, and those named .bpf.h that nothing in the folder includes.
// Units of the same source have the same headers. Those of rules that are left as
// they are stay with them.
func (l *bpfLang) assignHeaders(d *folder, p *plan, sources []string, left map[*rule.Rule]bool) {
	bc := getConfig(d.c)
	// Many folders have no header.
	var owners map[string][]*unit
	own := func(header string, units ...*unit) {
		if owners == nil {
			owners = make(map[string][]*unit)
		}
		owners[header] = units
		for _, u := range units {
			if !slices.Contains(u.hdrs, header) {
				u.hdrs = append(u.hdrs, header)
			}
		}
	}
	var foreign map[string]bool
	var headerLibraries []*unit
	if d.build != nil {
		for _, r := range d.build.Rules {
			kind := kindOf(d.c, r)
			headersOnly := kind == libraryKind && len(attrStrings(r, "srcs", d.globbed)) == 0
			if !headersOnly && !hasHeaders(kind) && !left[r] || r.Attr("hdrs") == nil {
				continue
			}
			var u *unit
			if headersOnly {
				u = &unit{kind: kind, name: r.Name(), rel: d.rel, c: d.c, existing: r}
				headerLibraries = append(headerLibraries, u)
			}
			for _, h := range attrStrings(r, "hdrs", d.globbed) {
				h = strings.TrimPrefix(h, ":")
				switch {
				case u == nil:
					if foreign == nil {
						foreign = make(map[string]bool)
					}
					foreign[h] = true
				case l.isFile(d.c, path.Join(d.rel, h)), slices.Contains(d.generated, h):
					own(h, u)
				case isLabel(h) || isRule(d.build, h):
					// What another rule makes.
					u.hdrs = append(u.hdrs, h)
				}
			}
		}
	}

	for _, u := range p.units {
		if !writtenOut(u.existing, "hdrs") {
			for _, h := range attrStrings(u.existing, "hdrs", d.globbed) {
				own(h, u)
			}
		}
	}

	// Who includes whom, in this folder.
	var includers map[string]map[string]bool
	var order []string
	meet := func(header string) {
		if includers == nil {
			includers = make(map[string]map[string]bool)
		}
		if includers[header] == nil {
			includers[header] = make(map[string]bool)
			order = append(order, header)
		}
	}
	note := func(scan *bpfc.File) {
		for _, inc := range scan.Includes {
			header, ok := "", false
			switch {
			case inc.File != "" && !strings.HasPrefix(inc.File, "<"):
				header, ok = l.inPackage(d, inc.File)
			case inc.File == "" && !inc.Angled:
				// A header that another rule of the folder makes.
				header, ok = under(d.rel, path.Join(path.Dir(inc.Pos.File), inc.Path))
				ok = ok && slices.Contains(d.generated, header)
			}
			if !ok || foreign[header] {
				continue
			}
			if from, ok := under(d.rel, inc.Pos.File); ok && from != header {
				meet(header)
				includers[header][from] = true
			}
		}
	}
	for _, u := range p.units {
		for _, scan := range u.scans {
			note(scan)
		}
	}
	for _, name := range d.files {
		if strings.HasSuffix(name, headerSuffix) && !foreign[name] {
			meet(name)
		}
	}
	var directed *unit
	header := func() *unit {
		if directed == nil {
			base := path.Base(importPath(d.c, d.rel))
			if d.rel != "" {
				base = path.Base(d.rel)
			}
			name := base + "_bpf"
			if len(p.units) > 0 {
				name = base + "_headers_bpf"
			}
			directed = &unit{kind: libraryKind, name: name, rel: d.rel, c: d.c}
			headerLibraries = append(headerLibraries, directed)
		}
		return directed
	}
	for _, files := range [][]string{d.files, d.generated} {
		for _, name := range files {
			if bc.kinds[name] == libraryKind && isHeader(name) && owners[name] == nil {
				own(name, header())
			}
		}
	}
	bySource := make(map[string][]*unit)
	for _, u := range p.units {
		for _, src := range u.srcs {
			bySource[src] = append(bySource[src], u)
		}
	}
	var libraries []*unit
	for _, u := range p.units {
		if u.kind != libraryKind {
			continue
		}
		if !u.further {
			libraries = append(libraries, u)
		}
		for _, src := range u.srcs {
			for _, h := range []string{stem(src) + headerSuffix, stem(src) + ".h"} {
				if slices.Contains(d.files, h) && owners[h] == nil && !foreign[h] {
					own(h, bySource[src]...)
				}
			}
		}
	}

	// Headers take the owner of what includes them, from the sources on.
	decide := func(h string, known bool) bool {
		set := make(map[*unit]bool)
		for from := range includers[h] {
			units := bySource[from]
			if units == nil {
				units = owners[from]
			}
			if units == nil && known {
				return false
			}
			for _, u := range units {
				set[u] = true
			}
		}
		var units []*unit
		shared := false
		for u := range set {
			units = append(units, u)
			shared = shared || u.kind == libraryKind
		}
		switch {
		case len(units) == 0 && known && len(includers[h]) > 0:
			return false
		case len(units) == 0 && len(libraries) == 1:
			own(h, libraries[0])
		case len(units) == 0 || shared && !ofOneSource(units):
			own(h, header())
		default:
			own(h, units...)
		}
		return true
	}
	for _, known := range []bool{true, false} {
		for again := true; again; {
			again = false
			for _, h := range order {
				if owners[h] == nil && decide(h, known) {
					again = true
				}
			}
		}
	}

	headerLibraries = slices.DeleteFunc(headerLibraries, func(u *unit) bool {
		return len(u.hdrs) == 0 && writtenOut(u.existing, "hdrs")
	})
	for _, u := range headerLibraries {
		for i := 0; i < len(u.hdrs); i++ {
			name := path.Join(d.rel, u.hdrs[i])
			scan, err := l.scan(d.c, name, defines(bc.copts))
			if err != nil {
				if !slices.Contains(d.generated, u.hdrs[i]) {
					log.Print(err)
				}
				continue
			}
			u.scans = append(u.scans, scan)
			// What only these headers include belongs to them.
			for _, inc := range scan.Includes {
				if h, ok := l.inPackage(d, inc.File); ok && inc.File != "" && owners[h] == nil && !foreign[h] {
					own(h, u)
				}
			}
		}
	}
	p.units = append(p.units, headerLibraries...)
	for _, u := range p.units {
		slices.Sort(u.hdrs)
	}
}

// ofOneSource reports whether units all compile the same.
func ofOneSource(units []*unit) bool {
	return !slices.ContainsFunc(units, func(u *unit) bool { return !slices.Equal(u.srcs, units[0].srcs) })
}

// inPackage returns a file relative to the folder if it belongs to the folder's
// package: it is in the folder, or below it in one without a BUILD file.
func (l *bpfLang) inPackage(d *folder, file string) (string, bool) {
	name, ok := under(d.rel, file)
	if !ok || file == "" {
		return "", false
	}
	if strings.Contains(name, "/") && slices.Contains(d.files, name) {
		return name, true
	}
	for dir := path.Dir(file); dir != d.rel && dir != "."; dir = path.Dir(dir) {
		if l.isPackage(d.c, dir) {
			return "", false
		}
	}
	return name, true
}

// addBelow adds what rules have of folders below that have no BUILD file, and will
// get none: generation_mode is update_only, or a directive excludes them. Gazelle
// knows of the former when it is to go into the folders below, too.
func (l *bpfLang) addBelow(d *folder) {
	if d.build == nil {
		return
	}
	for _, r := range d.build.Rules {
		if _, ours := kinds[kindOf(d.c, r)]; !ours {
			continue
		}
		for _, name := range append(ruleSources(r, noFiles), attrStrings(r, "hdrs", noFiles)...) {
			if isLabel(name) || !strings.Contains(name, "/") || slices.Contains(d.files, name) ||
				!l.isFile(d.c, path.Join(d.rel, name)) {
				continue
			}
			below := true
			for dir := path.Dir(name); dir != "." && below; dir = path.Dir(dir) {
				rel := path.Join(d.rel, dir)
				below = !l.lib.visited[rel] && !hasBuildFile(d.c, rel)
			}
			if below {
				d.files = append(slices.Clip(d.files), name)
			}
		}
	}
}

// isPackage reports whether a folder has a BUILD file, or will have one.
func (l *bpfLang) isPackage(c *config.Config, dir string) bool {
	is, known := l.lib.packages[dir]
	if known {
		return is
	}
	entries, err := os.ReadDir(filepath.Join(c.RepoRoot, filepath.FromSlash(dir)))
	if err == nil {
		for _, e := range entries {
			name := e.Name()
			if c.IsValidBuildFileName(name) || strings.HasSuffix(name, ".go") ||
				strings.HasSuffix(name, sourceSuffix) || strings.HasSuffix(name, headerSuffix) {
				is = true
				break
			}
		}
	}
	l.lib.packages[dir] = is
	return is
}

// searched returns the search folders by which a unit's headers are found,
// relative to the unit's folder.
func searched(bc *bpfConfig, u *unit) []string {
	var out []string
	for _, scan := range u.scans {
		for _, inc := range scan.Includes {
			if inc.File == "" || strings.HasPrefix(inc.File, "<") {
				continue
			}
			if !inc.Angled && (inc.File == path.Join(path.Dir(inc.Pos.File), inc.Path) || inc.File == path.Clean(inc.Path)) {
				continue
			}
			for _, dir := range bc.search {
				if inc.File != path.Join(dir, inc.Path) {
					continue
				}
				if to := relative(u.rel, dir); !slices.Contains(out, to) {
					out = append(out, to)
				}
				break
			}
		}
	}
	return out
}

// relative returns the path that leads from one folder to another.
func relative(from, to string) string {
	rel, err := filepath.Rel("/"+from, "/"+to)
	if err != nil {
		return to
	}
	return filepath.ToSlash(rel)
}

// keptLabels returns the labels of an attribute that are marked with # keep.
func keptLabels(r *rule.Rule, attr string, pkg string) []label.Label {
	if r == nil {
		return nil
	}
	list, ok := r.Attr(attr).(*build.ListExpr)
	if !ok {
		return nil
	}
	var out []label.Label
	for _, e := range list.List {
		s, ok := e.(*build.StringExpr)
		if !ok || !rule.ShouldKeep(e) {
			continue
		}
		if l, err := label.Parse(s.Value); err == nil {
			out = append(out, l.Abs("", pkg))
		}
	}
	return out
}
