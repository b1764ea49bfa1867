//go:build linux || darwin

package main

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// bpf2go runs the program.
func bpf2go(args ...string) (stderr string, status int) {
	var errs bytes.Buffer
	status = run(args, &errs)
	return errs.String(), status
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func object() []byte {
	stats := objtest.Struct("stats", objtest.M("packets", objtest.U64))
	return (&objtest.File{
		License:  "GPL",
		Programs: []objtest.Program{{Name: "count_packets", Section: "xdp", Refs: []string{"total"}}},
		Vars: []objtest.Var{
			{Section: ".maps", Name: "by_port", Type: objtest.Map(1, 8, objtest.U32, stats)},
			{Section: ".bss", Name: "total", Type: objtest.U64},
		},
		Types: []btf.Type{
			objtest.Struct("event", objtest.M("pid", objtest.U32)),
			objtest.Typedef("twice", objtest.Struct("twice", objtest.M("x", objtest.U32))),
		},
	}).Build()
}

func generated(t *testing.T, args ...string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, "edge.bpf.o", object())
	if errs, status := bpf2go(append(args, "-o", "edge_bpfel.go", "edge.bpf.o")...); status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	src, err := os.ReadFile("edge_bpfel.go")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "edge_bpfel.go", src, parser.SkipObjectResolution); err != nil {
		t.Fatal(err)
	}
	return string(src)
}

func contains(t *testing.T, src string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(src, part) {
			t.Errorf("%q is not in:\n%s", part, src)
		}
	}
}

func TestGenerate(t *testing.T) {
	src := generated(t, "-package", "edge", "-ident", "edge", "-type", "struct event")
	contains(t, src,
		"package edge\n",
		"func loadEdgeObjects(obj any, opts *ebpf.CollectionOptions) error",
		"type edgeStats struct",
		"type edgeEvent struct",
		"ByPort *ebpf.Map `ebpf:\"by_port\"`",
		"CountPackets *ebpf.Program `ebpf:\"count_packets\"`",
		"Total *ebpf.VariableSpec `ebpf:\"total\"`",
		"//go:embed edge.bpf.o\n",
	)
	if strings.Contains(src, "go:build") {
		t.Errorf("there is a constraint that nobody asked for:\n%s", src)
	}
}

// With a keyword, a type is told from another one of its name.
func TestTypeByKeyword(t *testing.T) {
	contains(t, generated(t, "-package", "edge", "-ident", "edge", "-type", "struct twice"), "type edgeTwice struct")
}

// An ident that begins with a capital exports what is declared.
func TestExported(t *testing.T) {
	contains(t, generated(t, "-package", "edge", "-ident", "Edge"), "func LoadEdge() (*ebpf.CollectionSpec, error)", "type EdgeObjects struct")
}

func TestNoGlobalTypes(t *testing.T) {
	src := generated(t, "-package", "edge", "-ident", "edge", "-global-types=false", "-type", "event")
	contains(t, src, "type edgeEvent struct")
	if strings.Contains(src, "edgeStats") {
		t.Errorf("the type of a map is declared:\n%s", src)
	}
}

func TestConstraint(t *testing.T) {
	contains(t, generated(t, "-package", "edge", "-ident", "edge", "-constraint", "linux && !race"), "//go:build linux && !race\n")
}

func TestErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "edge.bpf.o", object())
	write(t, "text.o", []byte("hello"))
	for _, c := range []struct {
		args, want string
	}{
		{"", "bpf2go: flag -package is missing\n"},
		{"-package p -ident x", "bpf2go: flag -o is missing\n"},
		{"-package p -ident x -o x.go", "bpf2go: 0 objects given, want 1\n"},
		{"-package p -ident x -o x.go nobody.o", "nobody.o: "},
		{"-package p -ident x -o x.go text.o", "bpf2go: text.o: cilium/ebpf cannot read the object: "},
		{"-package p -ident x -o x.go -type evnt edge.bpf.o", "bpf2go: edge.bpf.o: type evnt: is not in the object's BTF"},
		{"-package p -ident x -o x.go -type twice edge.bpf.o", "type twice: the object's BTF has 2 types of this name: say which, as in \"struct twice\"\n"},
		{"-package p -ident a-b -o x.go edge.bpf.o", "bpf2go: edge.bpf.o: cilium/ebpf's generator: "},
		{"-package p -ident x -constraint ( -o x.go edge.bpf.o", "constraint"},
		{"-package p -ident x -o nobody/x.go edge.bpf.o", "nobody/x.go"},
	} {
		errs, status := bpf2go(strings.Fields(c.args)...)
		if status != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%q: status %d, stderr %q, want %q", c.args, status, errs, c.want)
		}
		if _, err := os.Stat("x.go"); err == nil {
			t.Errorf("%q: wrote a file", c.args)
		}
	}
}
