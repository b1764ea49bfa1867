package gazelle_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	anObject = "#include <bpf/bpf_helpers.h>\nSEC(\"xdp\") int prog(void *ctx) { return 0; }\n" +
		"char LICENSE[] SEC(\"license\") = \"GPL\";\n"
	aLibrary = "int %s(int x) { return x; }\n"
)

// a repository is one that changes between runs.
type repository struct {
	t    *testing.T
	root string
}

func newRepository(t *testing.T) *repository {
	r := &repository{t, t.TempDir()}
	r.write("MODULE.bazel", "bazel_dep(name = \"rules_bpf\")\n")
	r.write("BUILD.bazel", "# gazelle:prefix example.com/app\n")
	return r
}

func (r *repository) path(name string) string {
	return filepath.Join(r.root, filepath.FromSlash(name))
}

func (r *repository) write(name, content string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(name)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.path(name), []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repository) move(from, to string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(to)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.path(from), r.path(to)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repository) remove(name string) {
	r.t.Helper()
	if err := os.Remove(r.path(name)); err != nil {
		r.t.Fatal(err)
	}
}

// run runs Gazelle twice, and returns the rules of a BUILD file, one in a line:
// kind, name, and those of its attributes that say what it is of.
func (r *repository) run(build string, args ...string) string {
	r.t.Helper()
	gazelle(r.t, r.root, args...)
	read := func() string {
		content, err := os.ReadFile(r.path(build))
		if err != nil && !os.IsNotExist(err) {
			r.t.Fatal(err)
		}
		return string(content)
	}
	first := read()
	gazelle(r.t, r.root, args...)
	if second := read(); second != first {
		r.t.Errorf("a second run makes of\n%s\nthis:\n%s", first, second)
	}
	var out []string
	for _, line := range strings.Split(first, "\n") {
		line = strings.TrimSpace(line)
		attr, value, ok := strings.Cut(strings.TrimSuffix(line, ","), " = ")
		switch {
		case strings.HasSuffix(line, "(") && !strings.HasPrefix(line, "load"):
			out = append(out, strings.TrimSuffix(line, "("))
		case ok && attr != "visibility" && len(out) > 0:
			out[len(out)-1] += " " + strings.NewReplacer(`"`, "", "example.com/app/", "").Replace(value)
		}
	}
	return strings.Join(out, "\n")
}

// TestChanges changes a repository between runs: a file is renamed, another one
// comes, becomes a library and an object again, moves, and goes.
func TestChanges(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("a/x.bpf.c", anObject)
	steps := []struct {
		what string
		do   func()
		want string
	}{
		{"one object", func() {}, "bpf_skeleton a x.bpf.c a"},
		{"renamed", func() { r.move("a/x.bpf.c", "a/y.bpf.c") }, "bpf_skeleton a y.bpf.c a"},
		{"a second", func() { r.write("a/z.bpf.c", anObject) }, "bpf_skeleton a y.bpf.c a\nbpf_skeleton z z.bpf.c a/z"},
		{
			"a library", func() { r.write("a/z.bpf.c", fmt.Sprintf(aLibrary, "f")) },
			"bpf_skeleton a y.bpf.c a\nbpf_library z_bpf [z.bpf.c]\nbpf_subskeleton z a/z :z_bpf",
		},
		{"an object again", func() { r.write("a/z.bpf.c", anObject) }, "bpf_skeleton a y.bpf.c a\nbpf_skeleton z z.bpf.c a/z"},
		{"the first is gone", func() { r.remove("a/y.bpf.c") }, "bpf_skeleton z z.bpf.c a/z"},
		{"moved", func() { r.move("a/z.bpf.c", "b/z.bpf.c") }, ""},
	}
	for _, step := range steps {
		step.do()
		if got := r.run("a/BUILD.bazel"); got != step.want {
			t.Errorf("%s: got\n%s\nwant\n%s", step.what, got, step.want)
		}
	}
	if got, want := r.run("b/BUILD.bazel"), "bpf_skeleton b z.bpf.c b"; got != want {
		t.Errorf("the directory that it moved to: got\n%s\nwant\n%s", got, want)
	}
}

// TestMovedLibrary moves a library's directory, with its BUILD file.
func TestMovedLibrary(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("lib/lib.bpf.c", fmt.Sprintf(aLibrary, "lib"))
	r.write("lib/lib.bpf.h", "int lib(int x);\n")
	edge := func(lib string) {
		r.write("edge/edge.bpf.c", fmt.Sprintf("#include %q\n%s", lib, strings.Replace(anObject, "return 0", "return lib(0)", 1)))
	}
	edge("lib/lib.bpf.h")
	if got, want := r.run("edge/BUILD.bazel"), "bpf_skeleton edge edge.bpf.c edge [//lib] [//lib:lib_bpf]"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	r.move("lib", "net/limits")
	edge("net/limits/lib.bpf.h")
	if got, want := r.run("edge/BUILD.bazel"), "bpf_skeleton edge edge.bpf.c edge [//net/limits:lib] [//net/limits:lib_bpf]"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want := "bpf_library lib_bpf [lib.bpf.c] [lib.bpf.h]\nbpf_subskeleton lib net/limits :lib_bpf"
	if got := r.run("net/limits/BUILD.bazel"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	r.remove("net/limits/lib.bpf.c")
	if got, want := r.run("net/limits/BUILD.bazel"), "bpf_library limits_bpf [lib.bpf.h]"; got != want {
		t.Errorf("without the source: got\n%s\nwant\n%s", got, want)
	}
	r.remove("net/limits/lib.bpf.h")
	if got := r.run("net/limits/BUILD.bazel"); got != "" {
		t.Errorf("without the header: got\n%s", got)
	}
}

// TestBuildFileName uses another name of BUILD files.
func TestBuildFileName(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("BUILD.bazel", "# gazelle:prefix example.com/app\n# gazelle:build_file_name BUILD.app\n")
	r.write("lib/lib.bpf.c", fmt.Sprintf(aLibrary, "lib"))
	r.write("edge/edge.bpf.c", "int lib(int x);\n"+strings.Replace(anObject, "return 0", "return lib(0)", 1))
	if got, want := r.run("edge/BUILD.app"), "bpf_skeleton edge edge.bpf.c edge [//lib] [//lib:lib_bpf]"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestModes checks that -mode=diff and -mode=print change nothing, and that the
// former fails when there is something to change.
func TestModes(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("a/a.bpf.c", anObject)
	for mode, wantExit := range map[string]int{"diff": 1, "print": 0} {
		out, exit := gazelle(t, r.root, "-mode="+mode)
		if exit != wantExit || !strings.Contains(out, `src = "a.bpf.c"`) {
			t.Errorf("-mode=%s: exit status %d, want %d:\n%s", mode, exit, wantExit, out)
		}
		if _, err := os.Stat(r.path("a/BUILD.bazel")); !os.IsNotExist(err) {
			t.Errorf("-mode=%s writes a BUILD file", mode)
		}
	}
	r.run("a/BUILD.bazel")
	if out, exit := gazelle(t, r.root, "-mode=diff"); exit != 0 || out != "" {
		t.Errorf("-mode=diff without a difference: exit status %d:\n%s", exit, out)
	}
}

// TestUnreadable has symbolic links that lead nowhere, and a directory with a source's
// name, among what is fine.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("fine/fine.bpf.c", anObject)
	r.write("bad/folder.bpf.c/file.txt", "")
	r.write("bad/BUILD.bazel", "load(\"@rules_bpf//rules:defs.bzl\", \"bpf_skeleton\")\n\nbpf_skeleton(\n    name = \"loop\",\n    src = \"loop.bpf.c\",\n)\n")
	for name, to := range map[string]string{
		"bad/loop.bpf.c": "loop.bpf.c", "bad/dangling.bpf.c": "nowhere.c", "bad/self.h": "self.h", "bad/up": "..",
	} {
		if err := os.Symlink(to, r.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	r.write("bad/ok.bpf.c", "#include \"self.h\"\n"+anObject)
	if got, want := r.run("fine/BUILD.bazel"), "bpf_skeleton fine fine.bpf.c fine"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := r.run("bad/BUILD.bazel"), "bpf_skeleton loop loop.bpf.c\nbpf_skeleton bad ok.bpf.c bad"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	out, exit := gazelle(t, r.root)
	for _, want := range []string{"bad/loop.bpf.c", "bad/dangling.bpf.c", `bad/ok.bpf.c:1: "self.h"`} {
		if exit != 0 || !strings.Contains(out, want) {
			t.Errorf("exit status %d, and says nothing of %s:\n%s", exit, want, out)
		}
	}
}
