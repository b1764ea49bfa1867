package runtime_test

import (
	"bytes"
	"go/ast"
	"go/build"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Users' code compiles on every system that the package compiles on, as that of agents
// whose developers sit before other systems: the exported API is the same.
func TestSameAPIOnAllSystems(t *testing.T) {
	const dir = "skeleton"
	linux := exported(t, dir, "linux")
	if len(linux) < 100 {
		t.Fatalf("only %d exported names are found", len(linux))
	}
	for _, goos := range []string{"darwin", "freebsd", "windows"} {
		other := exported(t, dir, goos)
		for _, name := range slices.Sorted(maps.Keys(linux)) {
			switch have, ok := other[name]; {
			case !ok:
				t.Errorf("%s: %s is not there: write one that returns an error", goos, name)
			case have != linux[name]:
				t.Errorf("%s: %s is\n%s\nand on Linux\n%s", goos, name, have, linux[name])
			}
		}
		for _, name := range slices.Sorted(maps.Keys(other)) {
			if _, ok := linux[name]; !ok {
				t.Errorf("%s: %s is not there on Linux", goos, name)
			}
		}
	}
}

// What people read is an API for people: no description of an object, no builder, and no type
// that they cannot name, as those of internal packages. Generated code reaches these through
// package skelimpl.
func TestAPIIsForPeople(t *testing.T) {
	internal := make(map[string]bool)
	for _, layer := range layers {
		for _, p := range layer {
			if name, ok := strings.CutPrefix(p, "internal/"); ok {
				internal[name] = true
			}
		}
	}
	for _, shared := range []string{"core", "ctype", "image", "quote", "rawbtf", "secdef", "subskel"} {
		internal[shared] = true
	}
	qualified := regexp.MustCompile(`\b(\w+)\.[A-Z]`)
	forGenerated := regexp.MustCompile(`(^|\.)(Bind|Build|New)?\w*(Desc|Builder|Impl)$`)
	for name, decl := range exported(t, "skeleton", "linux") {
		if forGenerated.MatchString(name) {
			t.Errorf("%s looks as if it were for generated code: put it into package binding", name)
		}
		for _, m := range qualified.FindAllStringSubmatch(decl, -1) {
			if internal[m[1]] {
				t.Errorf("%s has a type of internal package %s: %s", name, m[1], decl)
			}
		}
	}
}

// noSettings are methods that are named as setters are, and change nothing that Load or Attach
// does.
var noSettings = map[string]string{
	"RecordReader.SetDeadline":   "it is of a reader, which is made after Load",
	"RecordReader.SetDebug":      "it is of a reader, which is made after Load",
	"RingMux.SetDebug":           "it is of a reader, which is made after Load",
	"UserRingWriter.SetDeadline": "it is of a writer, which is made after Load",
	"Var.Set":                    "a variable has a value after Load too",
	"Variable.Set":               "a variable has a value after Load too",
	"Variable.ResizeArray":       "it moves memory, which is done or not: Load has nothing to add, and tests/load tests it",
}

// Every setter is in the table of the test that calls them before Load and after it, and with
// values that are wrong.
func TestEverySetterIsTested(t *testing.T) {
	const table = "skeleton/setters_linux_test.go"
	tested, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	api := exported(t, "skeleton", "linux")
	isSetter := regexp.MustCompile(`^\w+\.(Set|Resize|Reuse)`)
	setters := 0
	for _, name := range slices.Sorted(maps.Keys(api)) {
		if !isSetter.MatchString(name) {
			continue
		}
		setters++
		inTable := bytes.Contains(tested, []byte("\t\""+name+"\":"))
		if _, none := noSettings[name]; none == inTable {
			t.Errorf("%s: is in the table of %s: %t, and among those that are no settings: %t", name, table, inTable, none)
		}
	}
	if setters < 40 {
		t.Errorf("only %d setters are found", setters)
	}
	for name := range noSettings {
		if _, ok := api[name]; !ok {
			t.Errorf("%s is not there", name)
		}
	}
}

// exported returns what a package exports on a system, by name: the signatures of functions
// and methods, the exported fields of types, and constants and variables.
func exported(t *testing.T, dir, goos string) map[string]string {
	t.Helper()
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = goos, "amd64", false
	pkg, err := ctx.ImportDir(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	api := make(map[string]string)
	set := token.NewFileSet()
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(set, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		// Leaves exported declarations and fields.
		ast.FileExports(file)
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if d.Recv != nil {
					of := receiver(d.Recv.List[0].Type)
					if !ast.IsExported(of) {
						continue
					}
					name = of + "." + name
				}
				api[name] = source(t, set, d.Type)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						api[s.Name.Name] = source(t, set, s)
					case *ast.ValueSpec:
						for _, n := range s.Names {
							api[n.Name] = d.Tok.String()
						}
					}
				}
			}
		}
	}
	return api
}

// receiver returns the name of a receiver's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// source returns a declaration as text, in one form however it is laid out.
func source(t *testing.T, set *token.FileSet, node any) string {
	t.Helper()
	var b bytes.Buffer
	if err := printer.Fprint(&b, set, node); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, none := range []string{"struct { }", "struct { // contains filtered or unexported fields }"} {
		text = strings.ReplaceAll(text, none, "struct{}")
	}
	return text
}
