package gotype

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// arches are the architectures that differ in what they align.
var arches = []string{"amd64", "386", "arm", "arm64", "s390x", "riscv64"}

const header = `package p
import ("structs"; "unsafe"; "skeleton"; "skelimpl")
var _ skeleton.Pointer
var _ = skelimpl.UnknownInt
type _ struct { _ structs.HostLayout; _ [unsafe.Sizeof(0)]byte }
`

// skeletonStub and skelimplStub are what generated types use of the runtime.
const skeletonStub = `package skeleton
type Pointer uint64
type Int128 struct{ words [2]uint64 }
type Uint128 struct{ words [2]uint64 }
`

const skelimplStub = `package skelimpl
func UnknownInt(string, int64) string
func UnknownUint(string, uint64) string
`

// compile type-checks declarations with their assertions for each architecture.
func compile(d *Decls) error { return compileAll(d, arches) }

func compileAll(d *Decls, arches []string) error {
	src := []byte(header)
	src = d.Append(src)
	src = append(src, "var (\n"...)
	src = d.AppendAsserts(src)
	src = append(src, ")\n"...)
	for _, arch := range arches {
		if err := compileFor(src, arch); err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
	}
	return nil
}

func compileFor(src []byte, arch string) error {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "types.go", src, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	var errs []error
	conf := types.Config{
		Importer: stubs{fset},
		Sizes:    types.SizesFor("gc", arch),
		Error: func(err error) {
			if len(errs) < 10 {
				errs = append(errs, err)
			}
		},
	}
	// The errors are those that were collected.
	_, _ = conf.Check("p", fset, []*ast.File{file}, nil)
	return errors.Join(errs...)
}

type stubs struct{ fset *token.FileSet }

func (s stubs) Import(path string) (*types.Package, error) {
	src := map[string]string{
		"structs":  "package structs\ntype HostLayout struct{}\n",
		"skeleton": skeletonStub,
		"skelimpl": skelimplStub,
	}[path]
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	file, err := parser.ParseFile(s.fset, path, src, 0)
	if err != nil {
		return nil, err
	}
	conf := types.Config{IgnoreFuncBodies: true}
	return conf.Check(path, s.fset, []*ast.File{file}, nil)
}

// The kernel has thousands of types, and uses everything that C can do to a
// layout.
func TestKernelTypes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Skipf("needs the kernel's BTF: %v", err)
	}
	var n int
	d := settled(func(d *Decls) {
		n = 0
		for typ, err := range spec.All() {
			if err != nil {
				t.Fatal(err)
			}
			switch typ.(type) {
			case *btf.Struct, *btf.Union, *btf.Enum:
				n++
				if _, err := d.Convert(typ, fmt.Sprintf("Anonymous%d", n), fmt.Sprintf("type %d without a name", n)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	// Two that differ in everything that matters to a layout.
	if err := compileAll(d, []string{"amd64", "386"}); err != nil {
		t.Error(err)
	}
	t.Logf("%d types", n)
}
