package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/rules-bpf/rules_bpf/dev/docs"
	"github.com/rules-bpf/rules_bpf/internal/goldens"
)

const notice = "<!-- Made by go run ./dev/goldens -->\n\n"

// inBazel skips the test where it does not have what Bazel hands to it.
func inBazel(t *testing.T, env string) {
	t.Helper()
	if os.Getenv(env) == "" {
		t.Skip("needs what Bazel extracts: ./bazelw test //dev/docs:docs_test")
	}
}

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
	path := filepath.Join(os.Getenv("BUILD_WORKSPACE_DIRECTORY"), "docs", page)
	if !goldens.Updating() {
		var err error
		path, err = runfiles.Rlocation(os.Getenv(strings.ToUpper(strings.TrimSuffix(page, ".md")) + "_PAGE"))
		if err != nil {
			t.Fatal(err)
		}
	}
	goldens.Check(t, path, []byte(got))
}

func TestRules(t *testing.T) {
	inBazel(t, "DEFS")
	var page strings.Builder
	page.WriteString(notice + "# Rules\n")
	for _, file := range []struct{ label, env string }{
		{"@rules_bpf//rules:defs.bzl", "DEFS"},
		{"@rules_bpf//rules:extensions.bzl", "EXTENSIONS"},
	} {
		text, err := docs.Starlark(file.label, runfile(t, file.env))
		if err != nil {
			t.Fatal(err)
		}
		page.WriteString(text)
	}
	check(t, "rules.md", page.String())
}

func TestAttach(t *testing.T) {
	// It has parts that people write, so it is read first.
	const path = "../../docs/attach.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for name, text := range map[string]string{"by hand": docs.ByHand(), "forms": docs.Forms()} {
		if page, err = docs.Insert(page, name, text); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	goldens.Check(t, path, []byte(page))
}
