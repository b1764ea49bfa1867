// The test is of what gopls gets from rules_go's driver: it has every package that a Go file
// imports, those that only the attributes of a skeleton lead to as well.
package editors_test

import (
	"encoding/json"
	"errors"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// goPackage is a package as the driver describes it.
type goPackage struct {
	ID              string
	PkgPath         string
	CompiledGoFiles []string
	Imports         map[string]string
	Standard        bool
}

// load returns the packages by ID, and the standard library's by import path.
func load(t *testing.T) (byID, standard map[string]goPackage) {
	t.Helper()
	byID, standard = make(map[string]goPackage), make(map[string]goPackage)
	for _, name := range strings.Fields(os.Getenv("PACKAGES")) {
		name, err := runfiles.Rlocation(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d := json.NewDecoder(f)
		for {
			var p goPackage
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if p.Standard {
				standard[p.PkgPath] = p
			} else {
				byID[p.ID] = p
			}
		}
	}
	return byID, standard
}

// inRepository matches what stands before a path in the repository of a file.
var inRepository = regexp.MustCompile(`^__BAZEL_[A-Z_]+__/(bazel-out/[^/]+/bin/)?`)

// locate returns the path of a Go file of a description.
func locate(t *testing.T, file string) string {
	t.Helper()
	rel := inRepository.ReplaceAllString(file, "")
	if rel == file {
		t.Fatalf("%s: does not begin as the driver's paths do", file)
	}
	if external, ok := strings.CutPrefix(rel, "external/"); ok {
		rel = external
	} else {
		rel = path.Join("_main", rel)
	}
	name, err := runfiles.Rlocation(rel)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestEveryImport(t *testing.T) {
	byID, standard := load(t)
	if len(standard) < 100 {
		t.Fatalf("only %d packages of the standard library", len(standard))
	}
	for _, p := range byID {
		for path, id := range p.Imports {
			if _, ok := byID[id]; !ok {
				t.Errorf("%s imports %q, and its package, %s, is not described", p.ID, path, id)
			}
		}
		for _, file := range p.CompiledGoFiles {
			name := locate(t, file)
			if matches, err := build.Default.MatchFile(filepath.Split(name)); err != nil {
				t.Fatal(err)
			} else if !matches {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range f.Imports {
				imported, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				_, ok := p.Imports[imported]
				_, std := standard[imported]
				if !ok && !std && imported != "C" {
					t.Errorf("%s: imports %q, which the description of %s does not have", file, imported, p.ID)
				}
			}
		}
	}
}

// Each of these packages is known from one attribute only.
func TestPackages(t *testing.T) {
	byID, _ := load(t)
	for label, attribute := range map[string]string{
		"//examples/ratelimit/edge:edge":           "targets",
		"//examples/ratelimit/limiter:limiter":     "subskeletons",
		"//tests/variants/shared/progs:flows":      "types_from",
		"//rules/tests/skeleton/consumer:consumer": "targets",
		"//rules/tests/skeleton/consumer:part":     "embed",
		"//rules/tests/bpf2go:small-variant":       "embed",
		"//runtime/skelimpl:skelimpl":              "compiler",
	} {
		p, ok := byID["@@"+label]
		if !ok {
			t.Errorf("%s is not described: the aspect did not go along the attribute %s", label, attribute)
			continue
		}
		if len(p.CompiledGoFiles) == 0 {
			t.Errorf("%s has no Go files", label)
		}
	}
}
