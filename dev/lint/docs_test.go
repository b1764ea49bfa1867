package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDocs(t *testing.T) {
	const build = "bpf_test(\n    name = \"maps_test\",\n)\n"
	for _, test := range []struct {
		name, text, want string
	}{
		{"a file", "[a](docs/b.md)", ""},
		{"a directory", "[a](tests)", ""},
		{"no file", "[a](docs/c.md)", "no file or directory for the link docs/c.md"},
		{"another site", "[a](https://example.com/c.md)", ""},
		{"a heading", "[a](docs/b.md#run-it-as-root-see-a)", ""},
		{"a heading of the same file", "# One\n[a](#one)", ""},
		{"a second heading", "# One\n# One\n[a](#one-1)", ""},
		{"no second heading", "# One\n[a](#one-1)", "no heading for the link #one-1"},
		{"no heading", "[a](docs/b.md#comment)", "no heading for the link docs/b.md#comment"},
		{"an index", "`a[1](b)`", ""},
		{"a target", "    bazel test //tests/maps:maps_test", ""},
		{"a target of a macro", "`//tests/maps:maps_test_6_1`", ""},
		{"a file of a package", "`//tests/maps:maps_test.go`", ""},
		{"no target", "```\nbazel test //tests/maps:map_test\n```", "no target is called //tests/maps:map_test"},
		{"packages", "//tests/...", ""},
		{"no package", "//tests/map/...", "no target is called //tests/map/..."},
		{"a package of a user", "//app:app", ""},
		{"another repository", "@app//tests/map", ""},
		{"a path", "`tests/maps/maps_test.go`, `maps/maps_test.go`, `tests/...`", ""},
		{"no path", "`tests/map`", "no file or directory is called tests/map"},
		{"a pattern", "`tests/*/progs`", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{
				"a.md":                     test.text,
				"docs/b.md":                "# Run `it`, as [root](../a.md): see \"a\"\n```\n# comment\n```\n",
				"tests/maps/BUILD.bazel":   build,
				"tests/maps/maps_test.go":  "",
				"tests/maps/testdata/c.md": "[a](gone.md)",
			}
			l := &linter{root: t.TempDir()}
			for file, text := range files {
				l.files = append(l.files, file)
				path := filepath.Join(l.root, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want := ""
			if test.want != "" {
				want = "\n  a.md: " + test.want
			}
			got := ""
			if err := l.docs(); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
