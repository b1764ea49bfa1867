package skelgen_test

import (
	"encoding/binary"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/goldens"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

// sharePackage makes the types of objects the package that the others of a test import.
func sharePackage(t *testing.T, objects []skelgen.Variant, opts skelgen.Options) (src []byte, from *skelgen.TypesFrom) {
	t.Helper()
	opts.Package = "shared"
	src, names, err := skelgen.Types(objects, opts)
	if err != nil {
		t.Fatal(err)
	}
	checkSource(t, src)
	again, namesAgain, err := skelgen.Types(objects, opts)
	if err != nil || string(again) != string(src) || string(namesAgain) != string(names) {
		t.Errorf("is not the same the second time, or: %v", err)
	}
	from, err = skelgen.ParseTypes("example.com/shared", names)
	if err != nil {
		t.Fatal(err)
	}
	return src, from
}

// checkWith type-checks a source that imports the shared package.
func checkWith(t *testing.T, shared, src []byte) {
	t.Helper()
	for _, arch := range arches {
		// The package is one for each architecture.
		pkg, err := check(shared, arch)
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "skeleton.go", src, 0)
		if err != nil {
			t.Fatal(err)
		}
		conf := types.Config{
			Importer: withShared{pkg},
			Sizes:    types.SizesFor("gc", arch),
			Error:    func(err error) { t.Errorf("%s: %v", arch, err) },
		}
		_, _ = conf.Check("generated", fset, []*ast.File{file}, nil)
	}
}

type withShared struct{ shared *types.Package }

func (w withShared) Import(path string) (*types.Package, error) {
	if path == "example.com/shared" {
		return w.shared, nil
	}
	sharedImporter.mu.Lock()
	defer sharedImporter.mu.Unlock()
	return sharedImporter.Import(path)
}

func TestTypesGolden(t *testing.T) {
	variants := threeVariants(t, buildVariant)
	src, from := sharePackage(t, variants, skelgen.Options{})
	goldens.Check(t, filepath.Join("testdata", "shared.go.golden"), src)
	v := variants[2]
	skel, err := skelgen.Skeleton(v.Object, v.Image, skelgen.Options{Package: "variants", TypesFrom: from})
	if err != nil {
		t.Fatal(err)
	}
	checkWith(t, src, skel)
	goldens.Check(t, filepath.Join("testdata", "sharing.go.golden"), withoutObject(skel))
	// Variants import them too, and a package with a prefix, and what has a subskeleton of the
	// package's name.
	for _, opts := range []skelgen.Options{{}, {Prefix: "bpf"}, {Subskeletons: []skelgen.Sub{{Name: "shared", ImportPath: "example.com/limiter"}}}} {
		opts.Package, opts.TypesFrom = "variants", from
		src2 := generateVariants(t, variants, opts)
		checkWith(t, src, src2)
		if !strings.Contains(string(src2), "skeleton.Map[shared.Key, uint64]") {
			t.Errorf("declares its own keys:\n%s", withoutObject(src2))
		}
	}
}

// Whatever a skeleton has, it can have from a package.
func TestTypesOfAll(t *testing.T) {
	var all []skelgen.Variant
	for name, file := range golden {
		if name != "empty" && name != "minimal" && name != "sections" && name != "names" {
			all = append(all, readVariant(t, "", name+".bpf.o", file.Build()))
		}
	}
	slices.SortFunc(all, func(a, b skelgen.Variant) int { return strings.Compare(a.File, b.File) })
	src, from := sharePackage(t, all, skelgen.Options{})
	for name, file := range golden {
		t.Run(name, func(t *testing.T) {
			v := readVariant(t, "", name+".bpf.o", file.Build())
			skel, err := skelgen.Skeleton(v.Object, v.Image, skelgen.Options{Package: name, TypesFrom: from})
			if err != nil {
				t.Fatal(err)
			}
			checkWith(t, src, skel)
		})
	}
}

// Another layout in one of the packages does not compile.
func TestSharedLayoutIsAsserted(t *testing.T) {
	variants := threeVariants(t, buildVariant)
	src, from := sharePackage(t, variants, skelgen.Options{})
	skel, err := skelgen.Skeleton(variants[0].Object, variants[0].Image, skelgen.Options{Package: "variants", TypesFrom: from})
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.Replace(string(src), "\tPid uint32 // pid\n\tCpu uint32 // cpu\n", "\tCpu uint32 // cpu\n\tPid uint32 // pid\n", 1)
	if wrong == string(src) {
		t.Fatal("the struct is not in the source")
	}
	if err := typeCheck([]byte(wrong), "amd64"); err == nil {
		t.Error("the package compiles")
	}
	// Without its own assertions, what imports it does not.
	wrong = wrong[:strings.Index(wrong, "\n// The layout is that of the C compiler")]
	wrong = strings.Replace(wrong, "\t\"unsafe\"\n", "", 1)
	pkg, err := check([]byte(wrong), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "skeleton.go", skel, 0)
	if err != nil {
		t.Fatal(err)
	}
	conf := types.Config{Importer: withShared{pkg}, Sizes: types.SizesFor("gc", "amd64"), Error: func(error) {}}
	if _, err := conf.Check("generated", fset, []*ast.File{file}, nil); err == nil {
		t.Error("the skeleton compiles")
	}
}

// What differs stays with the skeletons, and so does what it is part of.
func TestTypesThatDiffer(t *testing.T) {
	object := func(extra ...btf.Member) skelgen.Variant {
		inner := Struct("inner", append([]btf.Member{M("a", U32)}, extra...)...)
		f := &File{
			Programs: []Program{{Name: "prog", Section: "xdp"}},
			Vars: []Var{
				{Section: ".data", Name: "outer", Type: Struct("outer", M("inner", inner)), Value: le(uint32(1))},
				{Section: ".data", Name: "fine", Type: Struct("fine", M("a", Struct("", M("b", U32))))},
			},
		}
		if len(extra) > 0 {
			// In one object only, of what differs between both.
			f.Vars = append(f.Vars, Var{Section: ".data", Name: "only", Type: Struct("only", M("inner", inner))})
		}
		return readVariant(t, "", "x.bpf.o", f.Build())
	}
	objects := []skelgen.Variant{object(), object(M("b", U32))}
	src, from := sharePackage(t, objects, skelgen.Options{})
	for _, want := range []string{"type Fine struct", "type FineA struct", "// The objects differ in struct inner, struct outer: each skeleton has its own,"} {
		if !strings.Contains(string(src), want) {
			t.Errorf("%q is not in\n%s", want, src)
		}
	}
	if n := strings.Count(string(src), "\ntype "); n != 2 {
		t.Errorf("%d types:\n%s", n, src)
	}
	for i, o := range objects {
		skel, err := skelgen.Skeleton(o.Object, o.Image, skelgen.Options{Package: "x", TypesFrom: from})
		if err != nil {
			t.Fatal(err)
		}
		checkWith(t, src, skel)
		if only := strings.Contains(string(skel), "type Only struct"); !strings.Contains(string(skel), "type Inner struct") || only != (i == 1) {
			t.Errorf("object %d:\n%s", i, withoutObject(skel))
		}
	}
}

// Objects of one name, from several directories, are named once.
func TestTypesNamesObjects(t *testing.T) {
	a, b := readVariant(t, "", "types.bpf.o", typesFile.Build()), readVariant(t, "", "minimal.bpf.o", minimalFile.Build())
	src, _ := sharePackage(t, []skelgen.Variant{a, b, a, b}, skelgen.Options{})
	if got, want := strings.SplitN(string(src), "\n", 2)[0], "// Code generated by bpfgen types from types.bpf.o, minimal.bpf.o. DO NOT EDIT."; got != want {
		t.Errorf("the first line is %q, want %q", got, want)
	}
}

func TestTypesErrors(t *testing.T) {
	plain := readVariant(t, "", "minimal.bpf.o", minimalFile.Build())
	typed := readVariant(t, "", "types.bpf.o", typesFile.Build())
	big := *typesFile
	big.Order = binary.BigEndian
	odd := readVariant(t, "", "odd.bpf.o", (&File{
		Programs: []Program{{Name: "prog", Section: "xdp"}},
		Vars:     []Var{{Section: ".data", Name: "strange", Type: &btf.Int{Name: "odd", Size: 3}}, {Section: ".data", Name: "fine", Type: U32}},
	}).Build())
	for _, tt := range []struct {
		name    string
		objects []skelgen.Variant
		opts    skelgen.Options
		want    string
	}{
		{"none", nil, skelgen.Options{Package: "x"}, "no object is given"},
		{"package", []skelgen.Variant{typed}, skelgen.Options{Package: "a-b"}, `"a-b": is not a name for a Go package`},
		{"package main", []skelgen.Variant{typed}, skelgen.Options{Package: "main"}, `"main": is a package that Go code cannot import`},
		{"no types", []skelgen.Variant{plain}, skelgen.Options{Package: "x"}, "the objects have no C types that can be shared: leave the package out"},
		{"byte order", []skelgen.Variant{typed, readVariant(t, "", "big.bpf.o", big.Build())}, skelgen.Options{Package: "x"}, "big.bpf.o: has another byte order than types.bpf.o"},
		{"variable", []skelgen.Variant{typed, odd}, skelgen.Options{Package: "x"}, "odd.bpf.o: strange: odd: an integer of 3 bytes is not supported"},
		{"type", []skelgen.Variant{typed}, skelgen.Options{Package: "x", Types: []string{"nothing"}}, "types.bpf.o: type nothing: is not in the object's BTF"},
	} {
		if _, _, err := skelgen.Types(tt.objects, tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	const (
		head   = "Go types of rules_bpf, form 1, package shared\n"
		digest = "0123456789abcdef0123456789abcdef"
	)
	for list, want := range map[string]string{
		"":     "is not a list of shared types",
		"text": "is not a list of shared types: give the one that this version of bpfgen types has written with -names",
		"Go types of rules_bpf, form 1, package a-b\n":  "is not a list of shared types",
		"Go types of rules_bpf, form 1, package main\n": "is not a list of shared types",
		head + "abc\n":                            `line "abc": does not begin with the 32 hex digits of a type: make the list again with bpfgen types -names`,
		head + "abc x(y\n":                        `line "abc x(y": does not begin with`,
		head + digest + "0 Event\n":               "does not begin with",
		head + "ABCDEF" + digest[6:] + " Event\n": "does not begin with",
		head + "\n":                               `line "": does not begin with`,
		head + digest + "\n":                      `line "` + digest + `": has no exported Go name behind the digits`,
		head + digest + " x(y\n":                  "has no exported Go name",
		head + digest + " event\n":                "has no exported Go name",
		head + digest + " Event Flow\n":           "has no exported Go name",
		head + digest + " Event\r\n":              "has no exported Go name",
		head + digest + " A\n" + digest + " B\n":  `line "` + digest + ` B": has the digits of another line`,
	} {
		if _, err := skelgen.ParseTypes("example.com/shared", []byte(list)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", list, err, want)
		}
	}
	if _, err := skelgen.ParseTypes("a b", []byte("Go types of rules_bpf, form 1, package shared\n")); err == nil || !strings.Contains(err.Error(), `"a b" is not an import path`) {
		t.Error(err)
	}
}
