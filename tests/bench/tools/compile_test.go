package tools_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// mapsSource returns C with 40 maps, whose values have types of their own or one.
func mapsSource(types int) string {
	var b strings.Builder
	b.WriteString(`#define SEC(name) __attribute__((section(name), used))
typedef unsigned int u32;
typedef unsigned long long u64;
char LICENSE[] SEC("license") = "GPL";
`)
	for i := range types {
		fmt.Fprintf(&b, "struct value_%d { u64 sums[%d]; u32 count; };\n", i, i+1)
	}
	for i := range 40 {
		fmt.Fprintf(&b, "struct { int (*type)[1]; int (*max_entries)[64]; u32 *key; struct value_%d *value; } map_%d SEC(\".maps\");\n", i%types, i)
	}
	b.WriteString("SEC(\"xdp\") int prog(void *ctx) { return 0; }\n")
	return b.String()
}

// goCompile is how long the Go compiler works on a generated package, and what it makes.
type goCompile struct {
	cpu              time.Duration
	archive          int64
	functions, lines int
	// text is the source.
	text string
}

// compileGo compiles the package of an object, or of the variants of one, without what it
// imports. args are what bpfgen skeleton is given.
func compileGo(b *testing.B, gen, imports string, args ...string) goCompile {
	b.Helper()
	dir := b.TempDir()
	src, archive := filepath.Join(dir, "maps.go"), filepath.Join(dir, "maps.a")
	goTool := func(args ...string) (string, *exec.Cmd) {
		cmd := exec.Command("go", append([]string{"tool"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("go tool %s: %v: %s", args[0], err, out)
		}
		return string(out), cmd
	}
	if out, err := exec.Command(gen, append([]string{"skeleton", "-package", "maps", "-o", src}, args...)...).CombinedOutput(); err != nil {
		b.Fatalf("bpfgen: %v: %s", err, out)
	}
	// As go build calls it, but for the work of finding that out.
	_, cmd := goTool("compile", "-p", "maps", "-lang", "go1.25", "-pack", "-c", "2", "-importcfg", imports, "-o", archive, src)
	result := goCompile{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	info, err := os.Stat(archive)
	if err != nil {
		b.Fatal(err)
	}
	symbols, _ := goTool("nm", archive)
	text, err := os.ReadFile(src)
	if err != nil {
		b.Fatal(err)
	}
	result.archive, result.lines, result.text = info.Size(), strings.Count(string(text), "\n"), string(text)
	result.functions = len(regexp.MustCompile(` T `).FindAllString(symbols, -1))
	return result
}

// mostFunctions is how many functions a further type of values may make the compiler make:
// methods, once for the type and once for its shape, the loop of All, and ==.
const mostFunctions = 17

// mostOfSmall is how many functions the compiler may make of a package with one map and one
// program: those are of every package, whatever is in it. Most are the methods of
// skeleton.Object, which a skeleton embeds: two each.
const mostOfSmall = 90

// BenchmarkCompile is what users' builds pay for generated packages: the CPU time of the Go
// compiler, the least of what is measured, for 40 maps of 40 types, for 40 maps of one type,
// for the object of BenchmarkSkeleton, and for a small one.
//
// On a busy machine of two CPUs, with Go 1.26: before, handles had all methods that there
// are, and all those of UntypedMap, and generated code called a generic builder for each.
//
//	                      before                now
//	40 maps of 40 types   11.3 s   31.5 MB     0.97 s   4.1 MB   1001 functions
//	40 maps of one type    0.59 s   2.4 MB     0.31 s   1.4 MB    377 functions
//	the large object       4.5 s   12.5 MB     1.05 s   3.0 MB    536 functions
//
// Then everything that is generic and that skeletons refer to was compiled in each package, with
// all methods of a handle for each shape of it, and all methods of skeleton.Object, those that
// are not exported too, for two types. Without, where nothing else runs:
//
//	                      then                           now
//	a map and a program    0.22 s   2.1 MB   587        0.06 s   0.5 MB    83 functions
//	40 maps of one type    0.23 s   2.2 MB   600        0.07 s   0.6 MB    98 functions
//	a package that only    0.10 s   1.0 MB   208        0.02 s   0.3 MB    15 functions
//	has a *skeleton.Object
func BenchmarkCompile(b *testing.B) {
	gen, imports := compileSetup(b)
	objects := []struct{ name, source string }{
		{"40-types", mapsSource(40)}, {"40-maps", mapsSource(1)}, {"object", largeSource()}, {"small", startSource},
	}
	results := make([][]goCompile, len(objects))
	for b.Loop() {
		for i, o := range objects {
			results[i] = append(results[i], compileGo(b, gen, imports, compile(b, o.source)))
		}
	}
	least := make([]goCompile, len(objects))
	for i, r := range results {
		least[i] = slices.MinFunc(r, func(x, y goCompile) int { return int(x.cpu - y.cpu) })
		b.Logf("%-9s %5d ms of CPU time, %5d kB of archive, %4d functions, %5d lines", objects[i].name,
			least[i].cpu.Milliseconds(), least[i].archive/1000, least[i].functions, least[i].lines)
		b.ReportMetric(float64(least[i].cpu.Milliseconds()), objects[i].name+"-ms")
	}
	b.ReportMetric(float64((least[0].cpu-least[1].cpu).Microseconds())/39/1000, "type-ms")
	b.ReportMetric(0, "ns/op")
	// Times are those of this machine, numbers of functions are not.
	if n := least[0].functions - least[1].functions; n > 39*mostFunctions {
		b.Errorf("a further type of values makes %.1f functions, and %d are allowed: each method of a handle is one or two of them, see skeleton.BaseMap", float64(n)/39, mostFunctions)
	}
	if n := least[3].functions; n > mostOfSmall {
		b.Errorf("a small skeleton makes %d functions, and %d are allowed: new ones are of a generic type that skeletons refer to, or are methods of skeleton.Object, and may be those of skeleton's type object", n, mostOfSmall)
	}
}

// compileSetup returns the path of bpfgen, and that of a file that says where the compiler
// finds what generated packages import.
func compileSetup(b *testing.B) (gen, imports string) {
	b.Helper()
	if os.Getenv("BPFGEN") != "" {
		b.Skipf("needs the go command, and the module as it has it: go test -run '^$' -bench '^%s$' tests/bench/tools/*_test.go", b.Name())
	}
	gen, imports = bpfgen(b), filepath.Join(b.TempDir(), "importcfg")
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{if .Export}}packagefile {{.ImportPath}}={{.Export}}{{end}}",
		"./runtime/skelimpl")
	list.Dir, list.Stderr = root, os.Stderr
	config, err := list.Output()
	if err != nil {
		b.Fatalf("go list: %v", err)
	}
	if err := os.WriteFile(imports, config, 0o666); err != nil {
		b.Fatal(err)
	}
	return gen, imports
}
