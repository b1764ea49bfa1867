// Package runtime_test looks at the source of what runs in users' processes.
package runtime_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ebpfPath is what users hold in their hands.
const ebpfPath = "github.com/cilium/ebpf"

// loads reports whether a function of cilium/ebpf loads something, or reads an object to
// be loaded.
func loads(name string) bool {
	if name == "NewMapFromFD" || name == "NewProgramFromFD" {
		return false
	}
	for _, prefix := range []string{"NewCollection", "LoadCollection", "NewMap", "NewProgram"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Objects are loaded by the loader of this repository: cilium/ebpf is what users hold, and
// wraps descriptors that are there.
func TestNothingElseLoads(t *testing.T) {
	files := 0
	eachFile(t, func(path string, set *token.FileSet, file *ast.File) {
		files++
		name := importName(file)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := call.X.(*ast.Ident); ok && name != "" && pkg.Name == name && loads(call.Sel.Name) {
				t.Errorf("%s: %s.%s: load it with runtime/internal/loader", set.Position(call.Pos()), name, call.Sel.Name)
			}
			return true
		})
	})
	if files < 50 {
		t.Errorf("looked at %d files only", files)
	}
}

// unwanted are packages that the runtime does without, and why.
var unwanted = map[string]string{
	"net":                            "it makes programs start slowly, and links libc where there is cgo",
	"net/http":                       "it imports net",
	"os/user":                        "it links libc where there is cgo",
	"github.com/cilium/ebpf/perf":    "read with runtime/internal/ring",
	"github.com/cilium/ebpf/ringbuf": "read with runtime/internal/ring",
}

func TestNothingUnwanted(t *testing.T) {
	eachFile(t, func(path string, _ *token.FileSet, file *ast.File) {
		if isForTests(filepath.ToSlash(path)) {
			return
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why, ok := unwanted[imported]; ok {
				t.Errorf("%s imports %s: %s", path, imported, why)
			}
		}
	})
}

// Users copy the examples and their tests, and can import of this module what the runtime
// exports only.
func TestExamplesAreForUsers(t *testing.T) {
	files := 0
	err := filepath.WalkDir("../examples", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files++
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			ours, ok := strings.CutPrefix(imported, "github.com/rules-bpf/rules_bpf/")
			if ok && !strings.HasPrefix(ours, "examples/") && (!strings.HasPrefix(ours, "runtime/") || strings.Contains(ours, "/internal/")) {
				t.Errorf("%s imports %s: use runtime/skeleton and runtime/bpftest", path, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 15 {
		t.Errorf("looked at %d files only", files)
	}
}

// isForTests reports whether a package or a file is one that only tests have: see
// TestNothingImportsUpwards.
func isForTests(path string) bool { return path == "bpftest" || strings.HasPrefix(path, "bpftest/") }

// eachFile calls look with every Go file of the runtime that is not a test.
func eachFile(t *testing.T, look func(path string, set *token.FileSet, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		look(path, set, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// importName returns the name that the file has for cilium/ebpf, empty when it does not
// import it.
func importName(file *ast.File) string {
	for _, spec := range file.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err != nil || path != ebpfPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return "ebpf"
	}
	return ""
}

// layers are the packages of the runtime, the lowest first: a package imports those of lower
// layers only. Below all of them are the packages that the tool shares with the runtime, in
// /internal.
var layers = [][]string{
	// The tests of all others use bpftest, so it has nothing below it.
	{"bpftest", "internal/binding", "internal/glob", "internal/kallsyms", "internal/kernelfs", "internal/sys", "internal/undo"},
	{"internal/features", "internal/kconfig", "internal/kernelbtf", "internal/perfevent", "internal/privilege", "internal/tc"},
	{"internal/region", "internal/token", "internal/usersym"},
	{"internal/refusal", "internal/usdt"},
	{"internal/loader", "internal/ring"},
	{"internal/attach", "internal/fakemap"},
	{"skeleton"},
	{"bpftest/fake", "skelimpl"},
}

func TestNothingImportsUpwards(t *testing.T) {
	const module = "github.com/rules-bpf/rules_bpf/"
	layer := make(map[string]int)
	for i, packages := range layers {
		for _, p := range packages {
			layer[p] = i
		}
	}
	seen := make(map[string]bool)
	eachFile(t, func(path string, _ *token.FileSet, file *ast.File) {
		pkg := filepath.ToSlash(filepath.Dir(path))
		own, ok := layer[pkg]
		if !ok {
			t.Errorf("%s: package %s is in no layer: add it to the list in this test", path, pkg)
			return
		}
		seen[pkg] = true
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			rest, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			below, isRuntime := strings.CutPrefix(rest, "runtime/")
			switch {
			case isForTests(below):
				t.Errorf("%s imports %s, which is for tests", path, imported)
			case isRuntime:
				if l, ok := layer[below]; !ok || l >= own {
					t.Errorf("%s imports %s, which is not in a lower layer", path, imported)
				}
			case !strings.HasPrefix(rest, "internal/"):
				t.Errorf("%s imports %s: the runtime has nothing below it but /internal", path, imported)
			}
		}
	})
	for pkg := range layer {
		if !seen[pkg] {
			t.Errorf("package %s of the list is not there", pkg)
		}
	}
}
