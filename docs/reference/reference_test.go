package reference_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/rules-bpf/rules_bpf/docs/reference"
)

var update = flag.Bool("update", false, "write the pages: bazel run //docs/reference:reference_test -- -update")

const notice = "<!-- Made by bazel run //docs/reference:reference_test -- -update -->\n\n"

// runfile reads a file that an environment variable of the target names.
func runfile(t *testing.T, env string) []byte {
	t.Helper()
	path, err := runfiles.Rlocation(os.Getenv(env))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func check(t *testing.T, page, got string) {
	t.Helper()
	if *update {
		path := filepath.Join(os.Getenv("BUILD_WORKSPACE_DIRECTORY"), "docs", page)
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	name := strings.ToUpper(strings.TrimSuffix(page, ".md"))
	if string(runfile(t, name+"_PAGE")) != got {
		t.Errorf("docs/%s is not what the source says: run\n  bazel run //docs/reference:reference_test -- -update", page)
	}
}

func TestRules(t *testing.T) {
	var page strings.Builder
	page.WriteString(notice + "# Rules\n")
	for _, file := range []struct{ label, env string }{
		{"@rules_bpf//rules:defs.bzl", "DEFS"},
		{"@rules_bpf//rules:extensions.bzl", "EXTENSIONS"},
	} {
		text, err := reference.Starlark(file.label, runfile(t, file.env))
		if err != nil {
			t.Fatal(err)
		}
		page.WriteString(text)
	}
	check(t, "rules.md", page.String())
}

func TestRuntime(t *testing.T) {
	const importpath = "github.com/rules-bpf/rules_bpf/runtime/skeleton"
	sources := make(map[string][]byte)
	for path := range strings.FieldsSeq(os.Getenv("RUNTIME")) {
		// What all systems have, or Linux.
		if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_other.go") {
			continue
		}
		path, err := runfiles.Rlocation(path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sources[filepath.Base(path)] = data
	}
	text, err := reference.Go(importpath, sources)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "runtime.md", fmt.Sprintf("%s# Package skeleton\n\n```go\nimport %q\n```\n%s", notice, importpath, text))
}
