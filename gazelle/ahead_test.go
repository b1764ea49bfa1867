package gazelle_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAhead runs Gazelle over more folders than are scanned ahead, at several
// depths: what is scanned before a folder's directives are known must not show.
func TestAhead(t *testing.T) {
	repo := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(repo, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("MODULE.bazel", "module(name = \"ahead\")\n")
	write("BUILD.bazel", "# gazelle:prefix example.com/ahead\n")
	want := make(map[string]string)
	for i := range 150 {
		dir := fmt.Sprintf("g%d/p%d", i%7, i)
		if i%3 == 0 {
			dir += "/deep/er"
		}
		directive, kind := "", "bpf_library("
		switch {
		case i%10 == 0:
			directive, kind = "# gazelle:ignore\n", ""
		case i%4 == 0:
			directive, kind = "# gazelle:bpf_copts -DPROGRAM\n", "bpf_skeleton("
		}
		if directive != "" {
			write(dir+"/BUILD.bazel", directive)
		}
		write(dir+"/c.bpf.c", fmt.Sprintf(`#include <bpf/bpf_helpers.h>
#ifdef PROGRAM
char LICENSE[] SEC("license") = "GPL";
SEC("socket")
#endif
int f%d(void *ctx) { return 0; }
`, i))
		want[dir] = kind
	}
	check := func(what string) {
		t.Helper()
		got := buildFiles(t, repo, ".")
		for dir, kind := range want {
			if !strings.Contains(got[dir], kind) || kind == "" && strings.Contains(got[dir], "bpf_library(") {
				t.Errorf("after %s, %s/BUILD.bazel is:\n%s\nwant %q in it", what, dir, got[dir], kind)
			}
		}
	}
	for _, args := range [][]string{{"g3", "g5"}, nil, nil, {"-index=none"}, {"-index=lazy"}} {
		if out, exit := gazelle(t, repo, args...); exit != 0 || out != "" {
			t.Fatalf("%v: exit status %d\n%s", args, exit, out)
		}
		if args != nil && args[0] == "g3" {
			if got := buildFiles(t, repo, "."); got["g4/p4"] != "# gazelle:bpf_copts -DPROGRAM\n" {
				t.Errorf("a run over other folders writes g4/p4/BUILD.bazel:\n%s", got["g4/p4"])
			}
			continue
		}
		check(fmt.Sprint("a run with ", args))
	}
}
