package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// TestMain makes the test binary double as a compiler, so that the tests need
// none: FAKE_CLANG says what it does.
func TestMain(m *testing.M) {
	if mode := os.Getenv("FAKE_CLANG"); mode != "" {
		os.Exit(fakeClang(mode, os.Args[1:]))
	}
	os.Exit(m.Run())
}

func fakeClang(mode string, args []string) int {
	var out, dep string
	for i, arg := range args {
		switch arg {
		case "-o":
			out = args[i+1]
		case "-MF":
			dep = args[i+1]
		}
	}
	fmt.Println("on stdout")
	fmt.Fprintln(os.Stderr, "main.bpf.c:3:1: error: no")
	switch mode {
	case "fail":
		// A compiler that leaves half an object behind.
		os.WriteFile(out, []byte("half"), 0o666)
		return 7
	case "nothing":
		return 0
	case "bad depfile":
		os.WriteFile(dep, []byte("not a rule\n"), 0o666)
	case "ok":
		if dep != "" {
			os.WriteFile(dep, []byte("x.o: main.bpf.c \\\n  lib/a.h lib/with\\ space.h\n"), 0o666)
		}
	}
	os.WriteFile(out, []byte("object of "+strings.Join(args[len(args)-2:], " ")), 0o666)
	return 0
}

// bpfgen runs the tool.
func bpfgen(args ...string) (stdout, stderr string, status int) {
	var out, err bytes.Buffer
	status = run(args, streams{stdout: &out, stderr: &err})
	return out.String(), err.String(), status
}

func write(t *testing.T, name, data string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(data), 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

// files returns the names of what is in the current directory.
func files(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func object() string {
	return string((&objtest.File{
		License:  "GPL",
		Programs: []objtest.Program{{Name: "p", Section: "xdp", Refs: []string{"counter"}}},
		Vars:     []objtest.Var{{Section: ".bss", Name: "counter", Type: objtest.U64}},
	}).Build())
}

func TestErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "x.bpf.o", object())
	write(t, "text.o", "hello")
	write(t, "two.bpf.o", string((&objtest.File{Vars: []objtest.Var{
		{Section: ".bss", Name: "a", Type: &btf.Int{Name: "odd", Size: 3}},
		{Section: ".bss", Name: "b", Type: &btf.Int{Name: "odd", Size: 3}},
	}}).Build()))
	write(t, "ops.bpf.o", string((&objtest.File{Vars: []objtest.Var{
		{Section: "?.struct_ops", Name: "table", Type: objtest.Struct("ops", objtest.M("weight", objtest.U64))},
	}}).Build()))
	const remedy = ": change its type, or declare the variable static or __hidden, which keeps it out of the Go code"
	for _, tt := range []struct {
		args string
		want string
	}{
		{"", "bpfgen: no subcommand given: see bpfgen help\n"},
		{"frobnicate", "bpfgen: frobnicate: is not a subcommand: see bpfgen help\n"},
		{"skeleton", "bpfgen: skeleton: flag -package is missing: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x", "bpfgen: skeleton: flag -o is missing: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x -o x.go -variant a=x.bpf.o x.bpf.o", "bpfgen: skeleton: x.bpf.o: is given besides variants: name it with -variant: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x -o x.go -variant a", "bpfgen: skeleton: invalid value \"a\" for flag -variant: \"a\": want NAME=OBJECT: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x -o x.go -variant 6.1=x.bpf.o", "bpfgen: skeleton: invalid value \"6.1=x.bpf.o\" for flag -variant: variant \"6.1\": is not a name from which Go names can be made: use letters, digits and underscores, starting with a letter, and no Go keyword: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x -o x.go -variant a=x.bpf.o -variant a=x.bpf.o", "bpfgen: variant a: is A in Go, which is variant a too: give it another name\n"},
		{"skeleton -package x -o x.go -variant a=text.o -variant b=x.bpf.o -variant c=text.o", "bpfgen: text.o: not an ELF file: give an object file that clang made with -target bpf\nbpfgen: text.o: not an ELF file: give an object file that clang made with -target bpf\n"},
		{"skeleton -package x -o x.go -variant a=x.bpf.o -variant b=two.bpf.o", "bpfgen: two.bpf.o: variant b: a: odd: an integer of 3 bytes is not supported" + remedy + "\nbpfgen: two.bpf.o: variant b: b: odd: an integer of 3 bytes is not supported" + remedy + "\n"},
		{"skeleton -package x -o x.go -variant a=x.bpf.o -variant b=missing.o", "bpfgen: missing.o: no such file or directory\n"},
		{"skeleton -package x -o x.go", "bpfgen: skeleton: 0 objects given, want 1: -link links several: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x -o x.go a.o b.o", "bpfgen: skeleton: 2 objects given, want 1: -link links several: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x -o x.go -link y.bpf.o", "bpfgen: skeleton: no objects given: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x -o x.go -link y.bpf.o -linked x.bpf.o", "bpfgen: skeleton: -link is for one object that is not linked: leave -variant and -linked out: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x -o x.go -link y.bpf.o -variant a=x.bpf.o", "bpfgen: skeleton: -link is for one object that is not linked: leave -variant and -linked out: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x -o x.go -link y.bpf.o x.bpf.o missing.o", "bpfgen: missing.o: no such file or directory\n"},
		{"skeleton -package x -o x.go -link y.bpf.o x.bpf.o text.o", "bpfgen: text.o: not an ELF file: give an object file that clang made with -target bpf\n"},
		{"skeleton -package x -o x.go -link y.bpf.o two.bpf.o", "bpfgen: y.bpf.o: a: odd: an integer of 3 bytes is not supported" + remedy + "\nbpfgen: y.bpf.o: b: odd: an integer of 3 bytes is not supported" + remedy + "\n"},
		{"skeleton -frob", "bpfgen: skeleton: flag provided but not defined: -frob: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package func -o x.go x.bpf.o", "bpfgen: -package \"func\": is not a name for a Go package: use letters, digits and underscores, starting with a letter, and no Go keyword\n"},
		{"skeleton -package _ -o x.go x.bpf.o", "bpfgen: -package \"_\": is not a name for a Go package: use letters, digits and underscores, starting with a letter, and no Go keyword\n"},
		{"skeleton -package a/b -o x.go x.bpf.o", "bpfgen: -package \"a/b\": is not a name for a Go package: use letters, digits and underscores, starting with a letter, and no Go keyword\n"},
		{"skeleton -package x -o x.go missing.o", "bpfgen: missing.o: no such file or directory\n"},
		{"skeleton -package x -o none/x.go x.bpf.o", "bpfgen: none/x.go: no such file or directory\n"},
		{"skeleton -package x -o x.go text.o", "bpfgen: text.o: not an ELF file: give an object file that clang made with -target bpf\n"},
		{"skeleton -package x -o x.go ./two.bpf.o", "bpfgen: ./two.bpf.o: a: odd: an integer of 3 bytes is not supported" + remedy + "\nbpfgen: ./two.bpf.o: b: odd: an integer of 3 bytes is not supported" + remedy + "\n"},
		{"skeleton -package x -type a -type b -o x.go x.bpf.o", missingType("a") + missingType("b")},
		{"skeleton -package x -subskeleton y -o x.go x.bpf.o", "bpfgen: skeleton: invalid value \"y\" for flag -subskeleton: \"y\": want NAME=IMPORTPATH: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x -subskeleton a=p -subskeleton b=p -o x.go x.bpf.o", "bpfgen: x.bpf.o: subskeleton p: the package is given twice: name it once\n"},
		{"subskeleton", "bpfgen: subskeleton: flag -package is missing: usage: bpfgen subskeleton -package NAME [-type NAME]... -o OUT.go OBJECT...\n"},
		{"subskeleton -package x -o x.go", "bpfgen: subskeleton: no object given: usage: bpfgen subskeleton -package NAME [-type NAME]... -o OUT.go OBJECT...\n"},
		{"subskeleton -package func -o x.go x.bpf.o", "bpfgen: -package \"func\": is not a name for a Go package: use letters, digits and underscores, starting with a letter, and no Go keyword\n"},
		{"subskeleton -package x -o x.go missing.o", "bpfgen: missing.o: no such file or directory\n"},
		{"subskeleton -package x -o x.go x.bpf.o missing.o", "bpfgen: missing.o: no such file or directory\n"},
		{"subskeleton -package x -o none/x.go x.bpf.o", "bpfgen: none/x.go: no such file or directory\n"},
		{"subskeleton -package x -o x.go ./two.bpf.o", "bpfgen: ./two.bpf.o: a: odd: an integer of 3 bytes is not supported" + remedy + "\nbpfgen: ./two.bpf.o: b: odd: an integer of 3 bytes is not supported" + remedy + "\n"},
		{"types -package x -o x.go x.bpf.o", "bpfgen: types: flag -names is missing: usage: bpfgen types -package NAME [-type NAME]... -o OUT.go -names OUT OBJECT...\n"},
		{"types -package x -o x.go -names x.names", "bpfgen: no object is given: name those whose types are to be shared\n"},
		{"types -package x -o x.go -names x.names x.bpf.o two.bpf.o x.bpf.o", "bpfgen: x.bpf.o: is given twice: name it once\n"},
		{"types -package x -o x.go -names x.names x.bpf.o ./x.bpf.o", "bpfgen: ./x.bpf.o: is given twice: name it once\n"},
		{"types -package main -o x.go -names x.names x.bpf.o", "bpfgen: -package \"main\": is a package that Go code cannot import: give another name\n"},
		{"types -package func -o x.go -names x.names x.bpf.o", "bpfgen: -package \"func\": is not a name for a Go package: use letters, digits and underscores, starting with a letter, and no Go keyword\n"},
		{"types -package x -o x.go -names x.names missing.o", "bpfgen: missing.o: no such file or directory\n"},
		{"types -package x -o x.go -names x.names text.o x.bpf.o", "bpfgen: text.o: not an ELF file: give an object file that clang made with -target bpf\n"},
		{"types -package x -o x.go -names x.names x.bpf.o", "bpfgen: the objects have no C types that can be shared: leave the package out, or name types with -type\n"},
		{"skeleton -package x -o x.go -types-from example.com/x x.bpf.o", "bpfgen: skeleton: invalid value \"example.com/x\" for flag -types-from: \"example.com/x\": want IMPORTPATH=NAMES: usage: bpfgen skeleton -package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}\n"},
		{"skeleton -package x -o x.go -types-from example.com/x=text.o x.bpf.o", "bpfgen: text.o: is not a list of shared types: give the one that this version of bpfgen types has written with -names\n"},
		{"skeleton -package x -o x.go -types-from example.com/x=missing.names x.bpf.o", "bpfgen: missing.names: no such file or directory\n"},
		{"check x.bpf.o", "bpfgen: check: flag -object is missing: usage: bpfgen check -object FINAL [-o STAMP] OBJECT...\n"},
		{"check -object x.bpf.o", "bpfgen: check: no object of the library given: usage: bpfgen check -object FINAL [-o STAMP] OBJECT...\n"},
		{"check -object missing.o x.bpf.o", "bpfgen: missing.o: no such file or directory\n"},
		{"check -object x.bpf.o missing.o", "bpfgen: missing.o: no such file or directory\n"},
		{"check -object text.o x.bpf.o", "bpfgen: text.o: not an ELF file: give an object file that clang made with -target bpf\n"},
		{"check -object x.bpf.o -o stamp two.bpf.o", "bpfgen: x.bpf.o: a: library two.bpf.o has odd of 3 bytes in .bss, the object has no variable of this name that is neither static nor hidden: link the library into the object\n" +
			"bpfgen: x.bpf.o: b: library two.bpf.o has odd of 3 bytes in .bss, the object has no variable of this name that is neither static nor hidden: link the library into the object\n"},
		{"check -object x.bpf.o -o stamp ops.bpf.o", "bpfgen: x.bpf.o: table: library ops.bpf.o has a struct_ops map of struct ops, the object has no struct_ops map of this name: link the library into the object\n"},
		{"check -object two.bpf.o -o none/stamp two.bpf.o", "bpfgen: none/stamp: no such file or directory\n"},
		{"@missing", "bpfgen: missing: no such file or directory\n"},
		{"compile", "bpfgen: compile: flag -o is missing: usage: bpfgen compile -o OUT.o [-inputs FILE -unused FILE] -- CLANG ARGUMENT...\n"},
		{"compile -o x.o", "bpfgen: compile: no compiler given after --: usage: bpfgen compile -o OUT.o [-inputs FILE -unused FILE] -- CLANG ARGUMENT...\n"},
		{"compile -o x.o -inputs in -- clang", "bpfgen: compile: flags -inputs and -unused belong together: usage: bpfgen compile -o OUT.o [-inputs FILE -unused FILE] -- CLANG ARGUMENT...\n"},
		{"compile -o x.o -- no-such-clang -c x.c", "bpfgen: no-such-clang: there is no such compiler: install clang 14 or newer, or give the path of one\n"},
		{"compile -o x.o -- ./no/such/clang -c x.c", "bpfgen: ./no/such/clang: there is no such compiler: install clang 14 or newer, or give the path of one\n"},
		{"compile -o x.o -- ./text.o -c x.c", "bpfgen: ./text.o: cannot be run: permission denied: give the path of clang 14 or newer\n"},
		{"compile -o none/x.o -- clang -c x.c", "bpfgen: none/x.o: no such file or directory\n"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			out, errs, status := bpfgen(strings.Fields(tt.args)...)
			if status != 1 || out != "" || errs != tt.want {
				t.Errorf("status %d, stdout %q, stderr\n%q, want\n%q", status, out, errs, tt.want)
			}
			if got, want := files(t), "ops.bpf.o text.o two.bpf.o x.bpf.o"; got != want {
				t.Errorf("the directory has %s, want %s", got, want)
			}
		})
	}
}

// withExtern returns an object with a variable, which wants another one's.
func withExtern(counter, other string) string {
	return string((&objtest.File{
		License: "GPL",
		Vars: []objtest.Var{
			{Section: ".bss", Name: counter, Type: objtest.U64},
			{Name: other, Type: objtest.U64, Extern: true},
		},
	}).Build())
}

// succeed runs bpfgen, which has nothing to say.
func succeed(t *testing.T, args string) {
	t.Helper()
	if out, errs, status := bpfgen(strings.Fields(args)...); status != 0 || out != "" || errs != "" {
		t.Fatalf("%s: status %d, stdout %q, stderr %q", args, status, out, errs)
	}
}

// With -link, skeleton does what link and skeleton do one after the other.
func TestLinkForSkeleton(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.o", withExtern("one", "two"))
	write(t, "b.o", withExtern("two", "one"))
	for _, args := range []string{
		"link -o two/final.bpf.o a.o b.o",
		"skeleton -package final -o two/final.go two/final.bpf.o",
		"skeleton -package final -o one/final.go -link one/final.bpf.o a.o b.o",
	} {
		for _, dir := range []string{"one", "two"} {
			if err := os.MkdirAll(dir, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		succeed(t, args)
	}
	for _, name := range []string{"final.bpf.o", "final.go"} {
		got, err := os.ReadFile("one/" + name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("two/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from that of two commands", name)
		}
	}
	// Strong symbols of one name are the linker's to report, and nothing is written.
	_, errs, status := bpfgen("skeleton", "-package", "x", "-o", "x.go", "-link", "x.bpf.o", "a.o", "a.o")
	if status != 1 || !strings.Contains(errs, "bpfgen: a.o: ") {
		t.Errorf("status %d, stderr %q", status, errs)
	}
	if got, want := files(t), "a.o b.o one two"; got != want {
		t.Errorf("the directory has %s, want %s", got, want)
	}
}

// The objects of a library are one library, and an object that they are linked into
// has what they need.
func TestLibrary(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.o", withExtern("one", "two"))
	write(t, "b.o", withExtern("two", "three"))
	write(t, "c.o", withExtern("three", "one"))
	for _, args := range []string{
		"subskeleton -package one -o one.go a.o",
		"subskeleton -package both -o both.go a.o b.o",
		"link -o final.bpf.o c.o a.o b.o",
		"check -object final.bpf.o -o stamp a.o b.o",
	} {
		succeed(t, args)
	}
	if stamp, err := os.ReadFile("stamp"); err != nil || len(stamp) > 0 {
		t.Errorf("stamp has %q, %v", stamp, err)
	}
	for name, want := range map[string]string{
		"one.go":  "type Externs struct {\n\tTwo *uint64 // two\n}",
		"both.go": "type Externs struct {\n\tThree *uint64 // three\n}",
	} {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(src), want) {
			t.Errorf("%q is not in %s", want, name)
		}
	}
	// Strong symbols of one name are the linker's to report.
	if _, errs, status := bpfgen("subskeleton", "-package", "x", "-o", "x.go", "a.o", "a.o"); status != 1 || !strings.Contains(errs, "bpfgen: a.o: ") {
		t.Errorf("status %d, stderr %q", status, errs)
	}
}

func missingType(name string) string {
	return "bpfgen: x.bpf.o: type " + name + ": is not in the object's BTF, which has a type only if a map, a global variable or a function uses it: declare \"struct " + name + " *unused __hidden;\", or correct the name\n"
}

func TestSkeleton(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "x.bpf.o", object())
	write(t, "deep/er/x.bpf.o", object())
	write(t, "old.go", "old")
	write(t, "params", "-package\nminimal\r\n-o\nold.go\nx.bpf.o\n")
	for _, args := range [][]string{
		{"skeleton", "-package", "minimal", "-o", "new.go", "x.bpf.o"},
		{"skeleton", "-package=minimal", "-o=deep/new.go", "deep/er/x.bpf.o"},
		{"skeleton", "@params"},
	} {
		if out, errs, status := bpfgen(args...); status != 0 || out != "" || errs != "" {
			t.Fatalf("%q: status %d, stdout %q, stderr %q", args, status, out, errs)
		}
	}
	var first []byte
	for _, name := range []string{"new.go", "deep/new.go", "old.go"} {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = src
		}
		// The same object gives the same bytes, wherever it is.
		if !bytes.Equal(src, first) {
			t.Errorf("%s differs", name)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("%s: mode %v, error %v", name, info.Mode(), err)
		}
	}
	if header, _, _ := bytes.Cut(first, []byte("\n")); string(header) != "// Code generated by bpfgen skeleton from x.bpf.o. DO NOT EDIT." {
		t.Errorf("first line is %s", header)
	}
	if got, want := files(t), "deep new.go old.go params x.bpf.o"; got != want {
		t.Errorf("the directory has %s, want %s", got, want)
	}
}

func TestTypes(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a.bpf.o", "b.bpf.o"} {
		write(t, name, string((&objtest.File{
			Programs: []objtest.Program{{Name: "p", Section: "mine"}},
			Vars:     []objtest.Var{{Section: ".bss", Name: "last", Type: objtest.Struct("event", objtest.M("pid", objtest.U32))}},
		}).Build()))
	}
	for _, args := range []string{
		"types -package shared -o shared.go -names shared.names a.bpf.o b.bpf.o",
		"skeleton -package a -section mine -types-from example.com/shared=shared.names -o a.go a.bpf.o",
		"skeleton -package a -section mine -types-from example.com/shared=shared.names -o v.go -variant a=a.bpf.o -variant b=b.bpf.o",
	} {
		succeed(t, args)
	}
	for name, want := range map[string]string{"shared.go": "type Event struct {", "a.go": "Last shared.Event // last", "v.go": "Last shared.Event // last"} {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(src), want) {
			t.Errorf("%s: %q is not in\n%s", name, want, src)
		}
	}
	_, errs, status := bpfgen(strings.Fields("skeleton -package a -types-from example.com/shared=shared.names -types-from x=shared.names -o a.go a.bpf.o")...)
	if status != 1 || !strings.Contains(errs, "is given twice: make one package of all types") {
		t.Errorf("status %d, stderr %q", status, errs)
	}
}

func TestSkeletonKeepsOutputOnError(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "x.bpf.o", "damaged")
	write(t, "x.go", "package x")
	if _, _, status := bpfgen("skeleton", "-package", "x", "-o", "x.go", "x.bpf.o"); status != 1 {
		t.Errorf("status %d", status)
	}
	if src, err := os.ReadFile("x.go"); err != nil || string(src) != "package x" {
		t.Errorf("got %q, %v", src, err)
	}
}

func TestVmlinux(t *testing.T) {
	t.Chdir(t.TempDir())
	builder, err := btf.NewBuilder([]btf.Type{
		objtest.Struct("task", objtest.M("pid", objtest.S32), objtest.M("next", objtest.Ptr(objtest.Struct("other", objtest.M("n", objtest.U64))))),
		&btf.Func{Name: "task_get", Tags: []string{"bpf_kfunc"}, Type: &btf.FuncProto{Return: objtest.S32}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := builder.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, "kernel.btf", string(kernel))
	write(t, "x.bpf.o", object())
	write(t, "text", "hello, this is text and no BTF")
	const usage = ": usage: bpfgen vmlinux -o OUT [-types NAME,...] [-base KERNEL] [-btf [-object OBJECT]... [-archive]] BTF...\n"
	for _, tt := range []struct {
		args   string
		stderr string
		has    []string
		hasNot []string
	}{
		{"-o all.h kernel.btf", "", []string{"struct task {", "struct other {", "extern int task_get(void) "}, nil},
		{"-o elf.h x.bpf.o", "", []string{"#define __VMLINUX_H__"}, nil},
		{"-o part.h -types task kernel.btf", "", []string{"struct task {", "struct other;"}, []string{"struct other {", "task_get"}},
		{"-o both.h -types task,other,,task_get kernel.btf", "", []string{"struct task {", "struct other {", "task_get"}, nil},
		{"-o part.btf -btf -types task kernel.btf", "", nil, nil},
		{"-o again.h part.btf", "", []string{"struct task {", "struct other;"}, []string{"struct other {", "task_get"}},
		{"kernel.btf", "bpfgen: vmlinux: flag -o is missing" + usage, nil, nil},
		{"-o no.h", "bpfgen: vmlinux: 0 files given, want 1" + usage, nil, nil},
		{"-o no.h -btf kernel.btf", "bpfgen: vmlinux: -btf needs -types or -object: the file has all types already" + usage, nil, nil},
		{"-o no.h missing", "bpfgen: missing: no such file or directory\n", nil, nil},
		{"-o no.h -base missing kernel.btf", "bpfgen: missing: no such file or directory\n", nil, nil},
		{"-o no.h text", "bpfgen: text: is not BTF: give a file with BTF, as /sys/kernel/btf/vmlinux\n", nil, nil},
		{"-o no.h -types task,struct kernel.btf", "bpfgen: kernel.btf: has no struct, union, enum, typedef, value of an enum or kfunc with the name \"struct\": check how they are written, without struct, union or enum before them\n", nil, nil},
		{"-o none/no.h kernel.btf", "bpfgen: none/no.h: no such file or directory\n", nil, nil},
	} {
		t.Run(tt.args, func(t *testing.T) {
			args := append([]string{"vmlinux"}, strings.Fields(tt.args)...)
			status := 0
			if tt.stderr != "" {
				status = 1
			}
			out, errs, got := bpfgen(args...)
			if got != status || out != "" || errs != tt.stderr {
				t.Fatalf("status %d, stdout %q, stderr\n%q, want\n%q", got, out, errs, tt.stderr)
			}
			if status != 0 {
				return
			}
			header, err := os.ReadFile(args[2])
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.has {
				if !bytes.Contains(header, []byte(want)) {
					t.Errorf("no %q in\n%s", want, header)
				}
			}
			for _, no := range tt.hasNot {
				if bytes.Contains(header, []byte(no)) {
					t.Errorf("%q in\n%s", no, header)
				}
			}
		})
	}
	if got, want := files(t), "again.h all.h both.h elf.h kernel.btf part.btf part.h text x.bpf.o"; got != want {
		t.Errorf("the directory has %s, want %s", got, want)
	}
}

func TestCompile(t *testing.T) {
	clang, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const output = "main.bpf.c:3:1: error: no\n"
	for _, tt := range []struct {
		name, mode string
		args       []string
		status     int
		stderr     string // beside the compiler's own
		files      string
	}{
		{"plain", "ok", []string{"-o", "x.o"}, 0, "", "inputs lib main.bpf.c x.o"},
		{"with inputs", "ok", []string{"-o", "x.o", "-inputs", "inputs", "-unused", "unused"}, 0, "", "inputs lib main.bpf.c unused x.o"},
		{"error", "fail", []string{"-o", "x.o", "-inputs", "inputs", "-unused", "unused"}, 7, "", "inputs lib main.bpf.c"},
		{"no object", "nothing", []string{"-o", "x.o"}, 1, "bpfgen: x.o: CLANG wrote no object: give it -c and a source, and leave -o to bpfgen\n", "inputs lib main.bpf.c"},
		{"bad depfile", "bad depfile", []string{"-o", "x.o", "-inputs", "inputs", "-unused", "unused"}, 1, "bpfgen: x.o: the dependency file that CLANG wrote: has a line without a target\n", "inputs lib main.bpf.c"},
		{"no depfile", "no depfile", []string{"-o", "x.o", "-inputs", "inputs", "-unused", "unused"}, 1, "bpfgen: x.o: the dependency file that CLANG wrote: no such file or directory\n", "inputs lib main.bpf.c"},
		{"no inputs", "ok", []string{"-o", "x.o", "-inputs", "missing", "-unused", "unused"}, 1, "bpfgen: missing: no such file or directory\n", "inputs lib main.bpf.c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			t.Setenv("FAKE_CLANG", tt.mode)
			write(t, "inputs", "lib/b.h\nlib/a.h\nlib/with space.h\nc$d.h\nlib/table.inc\n")
			for _, read := range []string{"main.bpf.c", "lib/a.h", "lib/with space.h"} {
				write(t, read, "int of_a_header;\n")
			}
			args := append([]string{"compile"}, tt.args...)
			args = append(args, "--", clang, "-c", "@main.bpf.c")
			out, errs, status := bpfgen(args...)
			if status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
			errs = strings.ReplaceAll(errs, clang, "CLANG")
			if out != "on stdout\n" || errs != output+tt.stderr {
				t.Errorf("stdout %q, stderr %q, want %q", out, errs, output+tt.stderr)
			}
			if got := files(t); got != tt.files {
				t.Errorf("the directory has %s, want %s", got, tt.files)
			}
			if status != 0 {
				return
			}
			// Arguments after -- reach the compiler as they are.
			if got, err := os.ReadFile("x.o"); err != nil || string(got) != "object of -c @main.bpf.c" {
				t.Errorf("x.o has %q, %v", got, err)
			}
			if got, err := os.ReadFile("unused"); err == nil && string(got) != "lib/b.h\nc$d.h\n" {
				t.Errorf("unused has %q", got)
			}
		})
	}
}

// What the assembler reads is in no dependency file. A file is left out of those that were used
// only when it is a header, and when no file that was read reads others in that way.
func TestCompileOfBinaries(t *testing.T) {
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang on PATH")
	}
	const incbin = `__asm__(".section .rodata.blob,\"a\"\n.incbin \"blob.h\"\n.text");` + "\n"
	for _, tt := range []struct{ name, source, header, unused string }{
		{"none", "", "", "unread.h\n"},
		{"in the source", incbin, "", ""},
		{"in a header", "", incbin, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			write(t, "main.bpf.c", "#include \"read.h\"\n"+tt.source)
			write(t, "read.h", "int counter;\n"+tt.header)
			write(t, "blob.h", "hello")
			write(t, "inputs", "read.h\nunread.h\nblob.inc\n")
			_, errs, status := bpfgen("compile", "-o", "x.o", "-inputs", "inputs", "-unused", "unused", "--", clang, "-target", "bpfel", "-c", "main.bpf.c")
			if status != 0 {
				t.Fatal(errs)
			}
			if got, err := os.ReadFile("unused"); err != nil || string(got) != tt.unused {
				t.Errorf("unused has %q, %v, want %q", got, err, tt.unused)
			}
		})
	}
}

// Arguments come from a file where they are long, and reach the compiler as they are.
func TestCompileArgs(t *testing.T) {
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang on PATH")
	}
	t.Chdir(t.TempDir())
	write(t, "main.bpf.c", "const char text[] = TEXT; int n = N;\n")
	const odd = `a b\\"c"'d'`
	args := []string{"-target", "bpfel", "-O2", "-c", "main.bpf.c", `-DTEXT="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(odd) + `"`}
	for i := range 2000 {
		args = append(args, fmt.Sprintf("-DUNUSED_%d=with spaces", i))
	}
	write(t, "args", strings.Join(args, "\n")+"\n")
	for _, args := range [][]string{append([]string{clang, "-DN=1"}, args...), {clang, "-bpfgen-args=args", "-DN=1"}} {
		if _, errs, status := bpfgen(append([]string{"compile", "-o", "x.o", "--"}, args...)...); status != 0 {
			t.Fatal(errs)
		}
		object, err := os.ReadFile("x.o")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(object, []byte(odd+"\x00")) {
			t.Errorf("the object has no %q", odd)
		}
	}
	if got, want := files(t), "args main.bpf.c x.o"; got != want {
		t.Errorf("the directory has %s, want %s", got, want)
	}
	if _, errs, status := bpfgen("compile", "-o", "x.o", "--", clang, "-bpfgen-args=none"); status != 1 || errs != "bpfgen: none: no such file or directory\n" {
		t.Errorf("status %d, stderr %q", status, errs)
	}
}

// The temporary name that clang writes to must not be in the object.
func TestCompileIsReproducible(t *testing.T) {
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang on PATH")
	}
	t.Chdir(t.TempDir())
	write(t, "main.bpf.c", "int counter; __attribute__((section(\"xdp\"))) int prog(void *ctx) { return counter++; }\n")
	var first []byte
	for _, name := range []string{"a.o", "b.o", "deep.o"} {
		if _, errs, status := bpfgen("compile", "-o", name, "--", clang, "-target", "bpfel", "-g", "-O2", "-fdebug-compilation-dir=.", "-c", "main.bpf.c"); status != 0 {
			t.Fatal(errs)
		}
		object, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = object
		}
		if !bytes.Equal(object, first) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestLink(t *testing.T) {
	t.Chdir(t.TempDir())
	object := func(name string, v objtest.Var) {
		v.Section, v.Name, v.Type = ".data", "limit", objtest.U64
		write(t, name, string((&objtest.File{Vars: []objtest.Var{v}}).Build()))
	}
	object("weak.o", objtest.Var{Weak: true})
	object("one.o", objtest.Var{})
	object("two.o", objtest.Var{})
	if _, stderr, status := bpfgen("link", "-o", "out.o", "weak.o", "one.o"); status != 0 {
		t.Fatal(stderr)
	}
	if _, stderr, status := bpfgen("skeleton", "-package", "out", "-o", "out.go", "out.o"); status != 0 {
		t.Fatal(stderr)
	}
	if _, stderr, status := bpfgen("link", "-partial", "-o", "partial.o", "weak.o"); status != 0 {
		t.Fatal(stderr)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"one.o", "two.o"}, "bpfgen: two.o: limit: is defined, and in one.o too: make one of them static or weak (__weak), or rename it\n"},
		{[]string{"none.o"}, "bpfgen: none.o: no such file or directory\n"},
		{nil, "bpfgen: link: no objects given: usage: bpfgen link -o OUT.bpf.o [-partial] [-allow-undefined PATTERN]... [-section NAME]... [-legacy-sections] [-strict-sections] OBJECT...\n"},
	} {
		if _, stderr, status := bpfgen(append([]string{"link", "-o", "bad.o"}, tt.args...)...); status != 1 || stderr != tt.want {
			t.Errorf("%q: status %d, %q, want %q", tt.args, status, stderr, tt.want)
		}
	}
	if _, err := os.Stat("bad.o"); err == nil {
		t.Error("a link that failed wrote its output")
	}
}

// A name that is declared and defined nowhere is refused by a link, unless it is let
// through by name, and in any case where Go is made of the object.
func TestUndefined(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, "extern int hook_run(int x);\nextern int gone __attribute__((weak));\nSEC(\"tc\") int prog(void *c)\n{\n\treturn hook_run(1) + (&gone ? gone : 0);\n}")
	line := func(name, remedy string) string {
		return "bpfgen: " + name + ": is declared here (used at ./x.bpf.c:LINE), and no file defines it: " + remedy + "\n"
	}
	const (
		linkRemedy     = "link the file that defines it too (with Bazel: add its bpf_library to deps), declare it __weak, __kconfig or __ksym, or let it through with -allow-undefined (allow_undefined) for a loader of your own"
		weakRemedy     = "link the object, also if it is the only one (bpfgen link): a weak name that no file defines is 0 then"
		skeletonRemedy = "link the object with the file that defines it (bpfgen link, or deps of a rule), or declare it __kconfig or __ksym: generated code fills in no other names"
	)
	number := regexp.MustCompile(`c:[0-9]+\)`)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"link", "-o", "out.o", "x.o"}, line("x.o: hook_run", linkRemedy)},
		{[]string{"link", "-o", "out.o", "-partial", "-allow-undefined", "hook_*", "x.o"}, "bpfgen: link: -allow-undefined is for a final link"},
		{[]string{"link", "-o", "out.o", "-allow-undefined", "other", "-allow-undefined", "hook_*", "x.o"}, ""},
		{[]string{"skeleton", "-package", "x", "-o", "x.go", "x.o"}, line("x.o: hook_run", skeletonRemedy) + line("x.o: gone", weakRemedy)},
		{[]string{"skeleton", "-package", "x", "-o", "x.go", "out.o"}, line("out.o: hook_run", skeletonRemedy)},
	} {
		_, stderr, status := bpfgen(tt.args...)
		stderr = strings.ReplaceAll(number.ReplaceAllString(stderr, "c:LINE)"), "./x.bpf.c", "x.bpf.c")
		want := strings.ReplaceAll(tt.want, "./x.bpf.c", "x.bpf.c")
		if (status == 0) != (want == "") || !strings.HasPrefix(stderr, want) {
			t.Errorf("%q: status %d\n%swant\n%s", tt.args, status, stderr, want)
		}
	}
}

// An image has what the runtime reads, and the object file when that is asked for.
func TestImage(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "count.bpf.o", object())
	if _, stderr, status := bpfgen("image", "-o", "plain", "count.bpf.o"); status != 0 {
		t.Fatal(stderr)
	}
	if _, stderr, status := bpfgen("image", "-elf", "-o", "with", "count.bpf.o"); status != 0 {
		t.Fatal(stderr)
	}
	for file, elf := range map[string]string{"plain": "", "with": object()} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		o, err := image.Decode(string(data))
		if err != nil {
			t.Fatal(err)
		}
		if o.Name != "count" || len(o.Programs) == 0 || o.ELF != elf {
			t.Errorf("%s: name %q, %d programs, ELF of %d bytes", file, o.Name, len(o.Programs), len(o.ELF))
		}
	}
	write(t, "bad.bpf.o", "no ELF")
	if _, stderr, status := bpfgen("image", "-o", "bad", "bad.bpf.o"); status != 1 || stderr != "bpfgen: bad.bpf.o: not an ELF file: give an object file that clang made with -target bpf\n" {
		t.Errorf("status %d, %q", status, stderr)
	}
}
