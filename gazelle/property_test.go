package gazelle_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bazel-contrib/bazel-gazelle/v2/cmd/gazelle/update"
	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
	"github.com/bazelbuild/bazel-gazelle/language"
	golang "github.com/bazelbuild/bazel-gazelle/language/go"

	bpf "github.com/rules-bpf/rules_bpf/gazelle"
)

// A world is a repository of random files, which changes at random.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	root  string
	files map[string]*randomFile
	// listed has the headers that were added to rules by hand, by their BUILD file.
	listed map[string][]listedHeader
	// generated has the sources that lines of Go files were ever about. What rules these
	// have depends on what came first: people may delete the line or keep a skeleton.
	generated map[string]bool
	steps     []string
}

// A listedHeader is one that was added to a rule by hand.
type listedHeader struct{ rule, name string }

// A randomFile is a C file, or a Go file that imports.
type randomFile struct {
	kind     string // final, library, header, go
	includes []string
	uses     []string
	number   int
}

var worldDirs = []string{"a", "a/deep", "b", "lib", "inc", "inc/sub"}

func (w *world) pick(from []string) string { return from[w.rng.IntN(len(from))] }

// named returns the files of a kind, sorted.
func (w *world) named(kinds ...string) []string {
	var out []string
	for name, f := range w.files {
		if slices.Contains(kinds, f.kind) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// add makes a file at random.
func (w *world) add() string {
	n := len(w.steps) + w.rng.IntN(1000)*10
	kind := w.pick([]string{"final", "final", "library", "header", "header", "go", "generate"})
	dir := w.pick(worldDirs)
	name := path.Join(dir, fmt.Sprintf("f%d", n))
	switch kind {
	case "final":
		name += w.pick([]string{".bpf.c", ".bpf.c", ".c"})
	case "library":
		name += ".bpf.c"
	case "header":
		name += w.pick([]string{".h", ".h", ".bpf.h", ".inc"})
	case "go", "generate":
		name += ".go"
	}
	f := &randomFile{kind: kind, number: n}
	w.files[name] = f
	w.change(name)
	return "add " + name
}

// change gives a file other includes and uses.
func (w *world) change(name string) string {
	f := w.files[name]
	f.includes, f.uses = nil, nil
	headers := w.named("header")
	// Sources are included, too, but nothing includes itself.
	if f.kind != "header" {
		headers = append(headers, w.named("library")...)
	}
	for range w.rng.IntN(3) {
		if len(headers) == 0 || f.kind == "go" || f.kind == "generate" {
			break
		}
		if h := w.pick(headers); h != name && !w.reaches(h, name) {
			f.includes = append(f.includes, h)
		}
	}
	switch f.kind {
	case "go":
		if objects := w.named("final", "library"); len(objects) > 0 {
			f.uses = append(f.uses, path.Dir(w.pick(objects)))
		}
	case "generate":
		if objects := w.named("final"); len(objects) > 0 {
			f.uses = append(f.uses, w.pick(objects))
			w.generated[f.uses[0]] = true
		}
	case "final", "library":
		if libraries := w.named("library"); len(libraries) > 0 && w.rng.IntN(2) == 0 {
			if lib := w.pick(libraries); lib != name {
				f.uses = append(f.uses, lib)
			}
		}
	}
	w.write(name)
	return "change " + name
}

// reaches reports whether a file includes another one, through others too.
func (w *world) reaches(from, to string) bool {
	if from == to {
		return true
	}
	f := w.files[from]
	return f != nil && slices.ContainsFunc(f.includes, func(inc string) bool { return w.reaches(inc, to) })
}

func (w *world) write(name string) {
	f := w.files[name]
	var b strings.Builder
	switch f.kind {
	case "go":
		fmt.Fprintf(&b, "package %s\n", path.Base(path.Dir(name)))
		for _, use := range f.uses {
			fmt.Fprintf(&b, "\nimport _ \"example.com/app/%s\"\n", use)
		}
	case "generate":
		fmt.Fprintf(&b, "package %s\n", path.Base(path.Dir(name)))
		for _, use := range f.uses {
			rel, _ := filepath.Rel(path.Dir(name), use)
			fmt.Fprintf(&b, "\n//go:generate go tool bpf2go -type x ident%d %s -- -DX\n", f.number, filepath.ToSlash(rel))
		}
	default:
		fmt.Fprintf(&b, "//go:build ignore\n#ifndef G%d\n#define G%d\n", f.number, f.number)
		if f.kind != "header" {
			b.WriteString(inclusions)
		}
		for i, inc := range f.includes {
			switch rel, _ := filepath.Rel(path.Dir(name), inc); (f.number + i) % 3 {
			case 0:
				fmt.Fprintf(&b, "#include %q\n", inc)
			case 1:
				fmt.Fprintf(&b, "#include %q\n", filepath.ToSlash(rel))
			default:
				fmt.Fprintf(&b, "#include <%s>\n", path.Base(inc))
			}
		}
		call := "1"
		for _, use := range f.uses {
			if lib := w.files[use]; lib != nil {
				fmt.Fprintf(&b, "extern int lib%d(void);\n", lib.number)
				call = fmt.Sprintf("lib%d()", lib.number)
			}
		}
		switch f.kind {
		case "final":
			fmt.Fprintf(&b, "SEC(\"xdp\") int prog%d(void *ctx) { return %s; }\n"+license, f.number, call)
		case "library":
			fmt.Fprintf(&b, "int lib%d(void) { return %s; }\n", f.number, call)
		case "header":
			fmt.Fprintf(&b, "#define H%d 1\n", f.number)
		}
		b.WriteString("#endif\n")
	}
	(&repository{w.t, w.root}).write(name, b.String())
}

// edit changes the world, and says how.
func (w *world) edit() string {
	all := slices.Sorted(maps.Keys(w.files))
	switch w.rng.IntN(9) {
	case 0, 1, 2:
		return w.add()
	case 3, 4:
		return w.change(w.pick(all))
	case 5:
		name := w.pick(all)
		delete(w.files, name)
		if err := os.Remove(filepath.Join(w.root, name)); err != nil {
			w.t.Fatal(err)
		}
		return "remove " + name
	case 6:
		// A program comes or goes.
		if name := w.pick(all); strings.HasSuffix(name, ".bpf.c") && !w.generated[name] {
			if f := w.files[name]; f.kind == "final" {
				f.kind = "library"
			} else {
				f.kind = "final"
			}
			return w.change(name) + " of another kind"
		}
		return "nothing"
	case 7:
		return w.list()
	default:
		return w.direct()
	}
}

// list adds a header to a rule by hand.
func (w *world) list() string {
	for _, dir := range worldDirs {
		build := filepath.Join(w.root, dir, "BUILD.bazel")
		f, err := rule.LoadFile(build, dir)
		if err != nil {
			continue
		}
		for _, r := range f.Rules {
			if r.Kind() != "bpf_skeleton" && (r.Kind() != "bpf_library" || len(r.AttrStrings("srcs")) > 0) {
				// A library with it would be linked by whoever includes it.
				continue
			}
			for _, h := range w.named("header") {
				base := path.Base(h)
				if path.Dir(h) != dir || slices.Contains(r.AttrStrings("hdrs"), base) || w.rng.IntN(2) == 0 {
					continue
				}
				r.SetAttr("hdrs", append(r.AttrStrings("hdrs"), base))
				f.Sync()
				if err := os.WriteFile(build, f.Format(), 0o644); err != nil {
					w.t.Fatal(err)
				}
				w.listed[dir] = append(w.listed[dir], listedHeader{r.Name(), base})
				return fmt.Sprintf("list %s in %s:%s", base, dir, r.Name())
			}
		}
	}
	return "nothing"
}

// direct writes a directive, or takes all away.
func (w *world) direct() string {
	dir := w.pick(worldDirs)
	build := filepath.Join(w.root, dir, "BUILD.bazel")
	content, err := os.ReadFile(build)
	if err != nil {
		return "nothing"
	}
	directive := w.pick([]string{"", "# gazelle:bpf_copts -DX\n", "# gazelle:bpf_sources *.c\n", "# gazelle:bpf_search /inc\n", "# gazelle:bpf_bpf2go skeleton\n", "# gazelle:bpf_library *.bpf.h\n"})
	lines := slices.DeleteFunc(strings.SplitAfter(string(content), "\n"), func(line string) bool { return strings.HasPrefix(line, "# gazelle:") })
	if err := os.WriteFile(build, []byte(directive+"\n"+strings.Join(lines, "")), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("directive in %s: %q", dir, directive)
}

// runHere runs Gazelle in this process.
func runHere(t *testing.T, root string) string {
	t.Helper()
	var out bytes.Buffer
	log.SetOutput(&out)
	defer log.SetOutput(os.Stderr)
	//lint:ignore SA1019 gazelle_binary takes this version
	languages := []language.Language{golang.NewLanguage(), bpf.NewLanguage()}
	if err := update.Run(context.Background(), languages, root, []string{"update", "-repo_root", root, "-external=static"}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A compiled target is what a rule says of one that compiles a source.
type compiledTarget struct {
	kind, name string
	// headers are available, libraries are the sources that are linked with it.
	headers, libraries map[string]bool
}

// targets reads the BUILD files of a repository.
func targets(t *testing.T, root string) map[string]compiledTarget {
	t.Helper()
	rules := make(map[label.Label]*rule.Rule)
	for dir := range buildFiles(t, root, "") {
		f, err := rule.LoadFile(filepath.Join(root, dir, "BUILD.bazel"), strings.TrimPrefix(dir, "."))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range f.Rules {
			rules[label.New("", f.Pkg, r.Name())] = r
		}
	}
	files := func(l label.Label, values []string) []string {
		var out []string
		for _, value := range values {
			if strings.HasPrefix(value, "//") {
				of, _ := label.Parse(value)
				if rules[of] == nil {
					t.Errorf("%s has %s, which is no target", l, value)
					continue
				}
				for _, src := range rules[of].AttrStrings("srcs") {
					out = append(out, path.Join(of.Pkg, src))
				}
				continue
			}
			out = append(out, path.Join(l.Pkg, value))
		}
		return out
	}
	out := make(map[string]compiledTarget)
	for l, r := range rules {
		sources := files(l, append(r.AttrStrings("srcs"), strings.Fields(r.AttrString("src"))...))
		if !strings.HasPrefix(r.Kind(), "bpf") || len(sources) == 0 || r.Kind() == "bpf_subskeleton" {
			continue
		}
		target := compiledTarget{r.Kind(), l.String(), make(map[string]bool), make(map[string]bool)}
		seen := make(map[label.Label]bool)
		var visit func(l label.Label)
		visit = func(at label.Label) {
			r := rules[at]
			if seen[at] || r == nil {
				if r == nil {
					t.Errorf("%s depends on %s, which is no target", l, at)
				}
				return
			}
			seen[at] = true
			for _, h := range files(at, r.AttrStrings("hdrs")) {
				target.headers[h] = true
			}
			if at != l {
				for _, src := range files(at, r.AttrStrings("srcs")) {
					target.libraries[src] = true
				}
			}
			for _, dep := range r.AttrStrings("deps") {
				d, err := label.Parse(dep)
				if err != nil {
					t.Fatal(err)
				}
				visit(d.Abs("", at.Pkg))
			}
		}
		visit(l)
		for _, src := range sources {
			out[src+" by "+r.Kind()+" "+r.AttrString("ident")] = target
		}
	}
	return out
}

// check runs Gazelle, and checks what must hold then.
func (w *world) check() {
	w.t.Helper()
	out := runHere(w.t, w.root)
	defer func() {
		if w.t.Failed() {
			w.t.Logf("said:\n%s", out)
			for name := range w.files {
				content, _ := os.ReadFile(filepath.Join(w.root, name))
				w.t.Logf("%s:\n%s", name, content)
			}
			for dir, content := range buildFiles(w.t, w.root, "") {
				w.t.Logf("%s/BUILD.bazel:\n%s", dir, content)
			}
		}
	}()
	before := buildFiles(w.t, w.root, "")
	runHere(w.t, w.root)
	compare(w.t, "a second run", buildFiles(w.t, w.root, ""), before)
	got := targets(w.t, w.root)

	// Nothing that people listed is lost.
	for dir, headers := range w.listed {
		for _, h := range headers {
			// A rule goes with its source.
			if w.files[path.Join(dir, h.name)] != nil && strings.Contains(before[dir], "name = "+strconv.Quote(h.rule)+",\n    src = ") &&
				!strings.Contains(before[dir], strconv.Quote(h.name)) {
				w.t.Errorf("%s lost %s", dir, h.name)
			}
		}
	}

	// From scratch, with the directives only, the targets are the same. A rule stays when
	// the neighbour is gone for which its source got it; a directive says the same.
	want := w.fromScratch(before, nil)
	if kept := w.kept(got, want); len(kept) > 0 {
		want = w.fromScratch(before, kept)
	}
	for name, target := range want {
		if w.generated[source(name)] || w.readByGenerated(source(name)) {
			continue
		}
		if _, ok := got[name]; !ok {
			w.t.Errorf("from scratch there is %s", name)
			continue
		}
		// A library keeps the headers it has, and is linked by what includes them.
		for lib := range got[name].libraries {
			if w.readsOf(source(name), got[lib+" by bpf_library "]) {
				delete(got[name].libraries, lib)
				delete(target.libraries, lib)
			}
		}
		w.compareTarget(name, got[name], target)
	}
	for name := range got {
		if w.generated[source(name)] {
			w.compareTarget(name, got[name], got[name])
		} else if _, ok := want[name]; !ok && !w.readByGenerated(source(name)) {
			w.t.Errorf("from scratch there is no %s", name)
		}
	}
}

// fromScratch returns the targets of a run without the rules of the BUILD files, with
// directives that say of some sources that they are BPF's.
func (w *world) fromScratch(builds map[string]string, sources []string) map[string]compiledTarget {
	w.t.Helper()
	root := w.t.TempDir()
	err := filepath.WalkDir(w.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "BUILD.bazel" {
			return err
		}
		rel, err := filepath.Rel(w.root, name)
		if err == nil {
			copyFile(w.t, name, filepath.Join(root, rel))
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for dir, content := range builds {
		lines := slices.DeleteFunc(strings.SplitAfter(content, "\n"), func(line string) bool { return !strings.HasPrefix(line, "# gazelle:") })
		for _, src := range sources {
			if path.Dir(src) == dir {
				lines = append(lines, "# gazelle:bpf_sources "+path.Base(src)+"\n")
			}
		}
		if len(lines) > 0 {
			(&repository{w.t, root}).write(path.Join(dir, "BUILD.bazel"), strings.Join(lines, ""))
		}
	}
	runHere(w.t, root)
	return targets(w.t, root)
}

// source returns the file of a target's name.
func source(name string) string {
	file, _, _ := strings.Cut(name, " by ")
	return file
}

// kept returns the sources that have rules because a neighbour had some.
func (w *world) kept(got, want map[string]compiledTarget) []string {
	var kept []string
	for name := range got {
		if _, ok := want[name]; !ok && !strings.HasSuffix(source(name), ".bpf.c") && !w.generated[source(name)] {
			kept = append(kept, source(name))
		}
	}
	return kept
}

// readByGenerated reports whether a source is read by one that lines were about, whose
// rule may have made a header of it.
func (w *world) readByGenerated(file string) bool {
	for g := range w.generated {
		if g != file && w.reaches(g, file) {
			return true
		}
	}
	return false
}

// readsOf reports whether a source reads a header of a library.
func (w *world) readsOf(source string, lib compiledTarget) bool {
	for h := range lib.headers {
		if w.reaches(source, h) {
			return true
		}
	}
	return false
}

// compareTarget checks that a target has what its source reads, as one from scratch
// has.
func (w *world) compareTarget(name string, got, want compiledTarget) {
	w.t.Helper()
	// What comes back finds its name free.
	for _, suffix := range []string{"_lib", "_object"} {
		if strings.HasSuffix(got.name, suffix) && got.name != want.name {
			w.t.Errorf("%s is called %s, from scratch %s", name, got.name, want.name)
		}
	}
	for file := range w.files {
		if file == source(name) || !w.reaches(source(name), file) {
			continue
		}
		if !got.headers[file] || !want.headers[file] {
			w.t.Errorf("%s reads %s: available %v, from scratch %v", name, file, got.headers[file], want.headers[file])
		}
	}
	notLinked := func(source string, _ bool) bool { return w.generated[source] || w.readByGenerated(source) }
	maps.DeleteFunc(got.libraries, notLinked)
	maps.DeleteFunc(want.libraries, notLinked)
	if !maps.Equal(got.libraries, want.libraries) {
		w.t.Errorf("%s links %v, from scratch %v", name, got.libraries, want.libraries)
	}
}

// neighbourGone is a seed with a .c file whose rule stays when the .bpf.c file beside it
// goes, and that includes a source which another object would link otherwise.
const neighbourGone = 4500

// TestRandomEdits edits random repositories at random. RULES_BPF_SEEDS in the
// environment says with how many seeds, or with which one as in =7.
func TestRandomEdits(t *testing.T) {
	count := 300
	if testing.Short() {
		count = 20
	}
	var seeds []int
	if value := os.Getenv("RULES_BPF_SEEDS"); value != "" {
		one, isOne := strings.CutPrefix(value, "=")
		n, err := strconv.Atoi(one)
		if err != nil {
			t.Fatal(err)
		}
		count = n
		if isOne {
			seeds, count = []int{n}, 0
		}
	}
	for seed := range count {
		seeds = append(seeds, seed+1)
	}
	if !slices.Contains(seeds, neighbourGone) && count > 0 {
		seeds = append(seeds, neighbourGone)
	}
	failed := 0
	for _, seed := range seeds {
		if failed == 3 {
			break
		}
		w := &world{
			t: t, rng: rand.New(rand.NewPCG(uint64(seed), 0)), root: t.TempDir(),
			files: make(map[string]*randomFile), listed: make(map[string][]listedHeader), generated: make(map[string]bool),
		}
		r := &repository{t, w.root}
		r.write("MODULE.bazel", "bazel_dep(name = \"rules_bpf\")\n")
		r.write("BUILD.bazel", "# gazelle:prefix example.com/app\n")
		r.write("go.mod", "module example.com/app\n\nrequire github.com/cilium/ebpf v0.22.0\n")
		ok := t.Run(strconv.Itoa(seed), func(t *testing.T) {
			w.t = t
			for range 4 {
				for range 1 + w.rng.IntN(4) {
					if len(w.files) < 3 {
						w.steps = append(w.steps, w.add())
					} else {
						w.steps = append(w.steps, w.edit())
					}
				}
				w.steps = append(w.steps, "run")
				w.check()
				if t.Failed() {
					t.Fatalf("after:\n%s", strings.Join(w.steps, "\n"))
				}
			}
		})
		if !ok {
			failed++
		}
	}
}
