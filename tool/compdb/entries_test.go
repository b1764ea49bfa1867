package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// graph is what bazel aquery prints, of actions with these arguments whose inputs are the
// fragments' paths: a/x.bpf.c, a/x.h, bazel-out/bin/a/vmlinux.h, external/r/b.h.
const graph = `{
  "artifacts": [{"id": 1, "pathFragmentId": 2}, {"id": 2, "pathFragmentId": 3}, {"id": 3, "pathFragmentId": 7}, {"id": 4, "pathFragmentId": 10}],
  "actions": [
    {"mnemonic": "GoCompilePkg", "arguments": ["go"], "inputDepSetIds": [1]},
    {"mnemonic": "BpfCompile", "arguments": %s, "inputDepSetIds": [1]}
  ],
  "depSetOfFiles": [{"id": 1, "transitiveDepSetIds": [2], "directArtifactIds": [1, 2]}, {"id": 2, "transitiveDepSetIds": [2], "directArtifactIds": [2, 3, 4]}],
  "pathFragments": [
    {"id": 1, "label": "a"}, {"id": 2, "label": "x.bpf.c", "parentId": 1}, {"id": 3, "label": "x.h", "parentId": 1},
    {"id": 4, "label": "bazel-out"}, {"id": 5, "label": "bin", "parentId": 4}, {"id": 6, "label": "a", "parentId": 5}, {"id": 7, "label": "vmlinux.h", "parentId": 6},
    {"id": 8, "label": "external"}, {"id": 9, "label": "r", "parentId": 8}, {"id": 10, "label": "b.h", "parentId": 9}
  ]
}`

func TestEntries(t *testing.T) {
	text := fmt.Sprintf(graph, `["bpfgen", "compile", "-o", "x.o", "--", "/usr/bin/clang", "-target", "bpfel", "-c", "a/x.bpf.c", "-O2", "-iquote", "."]`)
	entries, err := entriesOf([]byte(text), "/ws", "/root")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Directory+" "+e.File+": "+strings.Join(e.Arguments, " "))
	}
	want := []string{
		"/root /ws/a/x.bpf.c: /usr/bin/clang -target bpfel -c /ws/a/x.bpf.c -O2 -iquote .",
		"/root /ws/a/x.h: /usr/bin/clang -target bpfel -x c -c /ws/a/x.h -O2 -iquote .",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEntriesOfOthers(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"{", "what bazel aquery prints"},
		{fmt.Sprintf(graph, `["clang", "-c", "x.c"]`), "has no command of clang"},
		{fmt.Sprintf(graph, `["bpfgen", "--", "clang", "-c"]`), "compiles nothing"},
	} {
		if _, err := entriesOf([]byte(tt.text), "/ws", "/root"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

func TestWithoutWorkspace(t *testing.T) {
	t.Setenv("BUILD_WORKSPACE_DIRECTORY", "")
	if err := run(nil); err == nil || !strings.Contains(err.Error(), "bazel run") {
		t.Errorf("error %v, want one that says how to run it", err)
	}
}

// TestRun has a command in the place of Bazel: one that cannot build and analyse all.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	graph := fmt.Sprintf(graph, `["bpfgen", "compile", "--", "clang", "-c", "a/x.bpf.c"]`)
	if err := os.WriteFile(filepath.Join(dir, "graph"), []byte(graph), 0o666); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\ncase $1 in info) echo /root;; aquery) cat graph; exit 1;; *) exit 1;; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "bazel"), []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BUILD_WORKSPACE_DIRECTORY", dir)
	t.Setenv("BAZEL", filepath.Join(dir, "bazel"))
	elsewhere := filepath.Join(t.TempDir(), "commands.json")
	for _, tt := range []struct {
		path string
		args []string
	}{
		{filepath.Join(dir, "compile_commands.json"), nil},
		{filepath.Join(dir, "sub.json"), []string{"-o", "sub.json", "//a"}},
		{elsewhere, []string{"-o", elsewhere}},
	} {
		if err := run(tt.args); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(tt.path); err != nil || !strings.Contains(string(text), "a/x.bpf.c") {
			t.Errorf("%v: %s, %v", tt.args, text, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "graph")); err != nil {
		t.Fatal(err)
	}
	if err := run(nil); err == nil || !strings.Contains(err.Error(), "bazel aquery") {
		t.Errorf("error %v, want that of aquery", err)
	}
}
