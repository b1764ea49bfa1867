package skelgen_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/constant"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

// The architectures that differ in what they align: amd64, arm64 and riscv64 by
// 8 bytes at most, 386 and arm by 4, s390x with the bytes the other way round.
var arches = []string{"amd64", "386", "arm", "arm64", "s390x", "riscv64"}

// contractPath is the package that generated code calls.
const contractPath = "github.com/rules-bpf/rules_bpf/runtime/skelimpl"

// ours are the packages of this repository that generated code imports, and those that
// they need for it.
var ours = map[string]string{
	contractPath: "../../../runtime/skelimpl",
	"github.com/rules-bpf/rules_bpf/runtime/skeleton":         "../../../runtime/skeleton",
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding": "../../../runtime/internal/binding",
}

// stubs are the other packages that generated code imports, without bodies: enough for
// the type checker, and all that generated code may use of them.
var stubs = map[string]string{
	"structs": `package structs
type HostLayout struct{ _ hostLayout }
type hostLayout struct{}
`,
	"github.com/cilium/ebpf/link": `package link
type Link interface{ Close() error }
`,
	"github.com/rules-bpf/rules_bpf/internal/image": fmt.Sprintf("package image\nconst Version = %d\n", image.Version),
	"example.com/limiter": `package other_name
import "github.com/rules-bpf/rules_bpf/runtime/skeleton"
type Subskeleton struct{}
func Open(skeleton.Any) (*Subskeleton, error)
`,
	"example.com/v2/limiter": `package limiter
import "github.com/rules-bpf/rules_bpf/runtime/skeleton"
type Subskeleton struct{}
func Open(skeleton.Any) (*Subskeleton, error)
`,
}

// importer type-checks what generated code imports: stubs, and the runtime's own
// source, so that nothing can be called that it does not have, and everything can
// that it has. Its results are shared between tests.
type importer struct {
	mu       sync.Mutex
	packages map[string]*types.Package
}

var sharedImporter = &importer{packages: map[string]*types.Package{"unsafe": types.Unsafe}}

func (i *importer) Import(path string) (*types.Package, error) {
	if pkg := i.packages[path]; pkg != nil {
		return pkg, nil
	}
	fset := token.NewFileSet()
	var pkg *types.Package
	if src, ok := stubs[path]; ok {
		file, err := parser.ParseFile(fset, path, src, 0)
		if err != nil {
			return nil, err
		}
		conf := types.Config{Importer: i, IgnoreFuncBodies: true}
		if pkg, err = conf.Check(path, fset, []*ast.File{file}, nil); err != nil {
			return nil, fmt.Errorf("stub of %s: %w", path, err)
		}
	} else if directory, ok := ours[path]; ok {
		files, err := runtimeFiles(fset, directory)
		if err != nil {
			return nil, err
		}
		// Generated code touches nothing that has types of the runtime's own imports,
		// but for what is among the stubs: that these are unknown is not an error.
		conf := types.Config{Importer: orEmpty{i}, IgnoreFuncBodies: true, Error: func(error) {}}
		pkg, _ = conf.Check(path, fset, files, nil)
	} else {
		return nil, fmt.Errorf("generated code must not import %s", path)
	}
	i.packages[path] = pkg
	return pkg, nil
}

// runtimeFiles parses the source of a package of the runtime for Linux.
func runtimeFiles(fset *token.FileSet, directory string) ([]*ast.File, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	ctx := build.Context{GOOS: "linux", GOARCH: "amd64", Compiler: "gc", ReleaseTags: build.Default.ReleaseTags}
	var files []*ast.File
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		if match, err := ctx.MatchFile(directory, entry.Name()); err != nil || !match {
			if err != nil {
				return nil, err
			}
			continue
		}
		file, err := parser.ParseFile(fset, filepath.Join(directory, entry.Name()), nil, 0)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// orEmpty imports an empty package where the importer has none.
type orEmpty struct{ importer *importer }

func (o orEmpty) Import(path string) (*types.Package, error) {
	if _, ok := stubs[path]; ok || path == "unsafe" {
		return o.importer.Import(path)
	}
	pkg := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	pkg.MarkComplete()
	return pkg, nil
}

// typeCheck reports whether src compiles for the architecture. The assertions of
// sizes and offsets are constants, so a wrong one is an error here.
func typeCheck(src []byte, arch string) error {
	_, err := check(src, arch)
	return err
}

// objectOf returns the object that the source carries.
func objectOf(t *testing.T, src []byte) string {
	t.Helper()
	pkg, err := check(src, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	return constant.StringVal(pkg.Scope().Lookup("object").(*types.Const).Val())
}

func check(src []byte, arch string) (*types.Package, error) {
	sharedImporter.mu.Lock()
	defer sharedImporter.mu.Unlock()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "skeleton.go", src, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var errs []error
	conf := types.Config{
		Importer: sharedImporter,
		Sizes:    types.SizesFor("gc", arch),
		Error:    func(err error) { errs = append(errs, err) },
	}
	// The errors are those that were collected.
	pkg, _ := conf.Check("generated", fset, []*ast.File{file}, nil)
	return pkg, errors.Join(errs...)
}

func TestTypeCheck(t *testing.T) {
	for name, file := range golden {
		t.Run(name, func(t *testing.T) {
			checkSource(t, generate(t, name, name+".bpf.o", file.Build()))
		})
	}
}

// Several objects in one package.
func TestTypeCheckPrefix(t *testing.T) {
	for name, file := range golden {
		t.Run(name, func(t *testing.T) {
			v := readVariant(t, "", name+".bpf.o", file.Build())
			src, err := skelgen.Skeleton(v.Object, v.Image, skelgen.Options{Package: name, Prefix: "bpf"})
			if err != nil {
				t.Fatal(err)
			}
			checkSource(t, src)
		})
	}
}

func TestTypeCheckSubskeleton(t *testing.T) {
	for name, file := range golden {
		t.Run(name, func(t *testing.T) {
			checkSource(t, generateSub(t, name, name+".bpf.o", file.Build()))
		})
	}
	for name, file := range goldenSub {
		t.Run(name, func(t *testing.T) {
			checkSource(t, generateSub(t, name, name+".bpf.o", file.Build()))
		})
	}
}

// checkSource makes sure that the source compiles and is in gofmt's form.
func checkSource(t *testing.T, src []byte) {
	t.Helper()
	for _, arch := range arches {
		if err := typeCheck(src, arch); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
	}
	formatted, err := format.Source(src)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(formatted, src) {
		t.Error("is not in gofmt's form")
	}
}

// A layout that is not C's must not compile, on any architecture.
func TestWrongLayoutDoesNotCompile(t *testing.T) {
	src := string(generate(t, "types", "types.bpf.o", typesFile.Build()))
	for _, tt := range []struct{ name, old, new string }{
		{"field too small", "F64 ", "F64 float32 //"},
		{"field too large", "S16 ", "S16 int32 //"},
		{"array too short", "Matrix ", "Matrix [1][3][4]int32 //"},
		{"gap missing", "\t_ [31]byte\n", "\n"},
		{"gap too large", "\t_ [31]byte\n", "\t_ [32]byte\n"},
		{"gap at the front", "\tX int16 // x\n", "\t_ byte\n\tX int16\n"},
		{"fields swapped", "\tA Point // a\n\tB Point // b\n", "\tB Point\n\tA Point\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wrong := strings.Replace(src, tt.old, tt.new, 1)
			if wrong == src {
				t.Fatalf("%q is not in the source", tt.old)
			}
			for _, arch := range arches {
				if err := typeCheck([]byte(wrong), arch); err == nil {
					t.Errorf("%s: compiles", arch)
				}
			}
		})
	}
}

// Generated code for another contract must not compile.
func TestWrongVersionDoesNotCompile(t *testing.T) {
	src := generate(t, "minimal", "minimal.bpf.o", minimalFile.Build())
	pkg, err := check(src, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(pkg.Imports(), func(p *types.Package) bool { return p.Path() == contractPath })
	if i < 0 {
		t.Fatalf("does not import %s", contractPath)
	}
	current, _ := constant.Int64Val(pkg.Imports()[i].Scope().Lookup("Version").(*types.Const).Val())
	enforced := regexp.MustCompile(`EnforceVersion\((\d+) -|skelimpl\.Version - (\d+)\)`)
	for _, version := range []int64{current - 1, current + 1} {
		wrong := enforced.ReplaceAllFunc(src, func(text []byte) []byte {
			return regexp.MustCompile(`\d+`).ReplaceAll(text, fmt.Append(nil, version))
		})
		if bytes.Equal(wrong, src) {
			t.Fatal("enforces no version")
		}
		if err := typeCheck(wrong, "amd64"); err == nil {
			t.Errorf("version %d compiles", version)
		}
	}
}

// What the runtime does not have, or has otherwise, does not compile: the types that the
// check does not know are not among what generated code calls.
func TestTypeCheckKnowsRuntime(t *testing.T) {
	src := string(generate(t, "minimal", "minimal.bpf.o", minimalFile.Build()))
	for _, tt := range []struct{ name, old, new string }{
		{"no such name", "skelimpl.Open(", "skelimpl.NoSuchName("},
		{"no map", "*skeleton.RingBuffer", "*skeleton.Object"},
		{"no program", "*skeleton.TracepointProgram", "*skeleton.RingBuffer"},
		{"wrong result", "obj, err := skelimpl.Open(", "obj := skelimpl.Open("},
	} {
		wrong := strings.ReplaceAll(src, tt.old, tt.new)
		if wrong == src {
			t.Fatalf("%s: %q is not in the source", tt.name, tt.old)
		}
		if err := typeCheck([]byte(wrong), "amd64"); err == nil {
			t.Errorf("%s: compiles", tt.name)
		}
	}
}
