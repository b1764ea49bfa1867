package main

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/image"
)

// prelude is what the sources of these tests have in common.
const prelude = `
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]
#define __ulong(name, val) enum { ___bpf_concat(__unique_value, __COUNTER__) = val } name
char LICENSE[] SEC("license") = "GPL";
`

// compiled makes the object x.o of a source, with the compiler that there is.
func compiled(t *testing.T, source string) {
	t.Helper()
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang on PATH")
	}
	write(t, "x.bpf.c", prelude+source)
	cmd := exec.Command(clang, "-target", "bpfel", "-g", "-O2", "-mcpu=v3", "-w", "-fdebug-compilation-dir=.", "-c", "x.bpf.c", "-o", "x.o")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// What a loader would lose without a word is refused, or said, by its name.
func TestRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	const ops = `
struct my_ops { int (*init)(void *); int (*run)(void *); int weight; };
SEC("struct_ops") int init(void *c) { return 0; }
SEC("struct_ops/run") int run(void *c) { return 1; }
`
	const legacy = `
SEC("socket1") int by_number(void *ctx) { return 0; }
SEC("tc_ingress") int by_suffix(void *ctx) { return 0; }
SEC("xdp_entry") int xdp_by_suffix(void *ctx) { return 2; }
SEC("classifier/x") int cls(void *ctx) { return 0; }
`
	const table = "struct my_ops table = { .init = init, .run = run };"
	for _, tt := range []struct {
		name, source string
		flags        string
		// errors and warnings are the lines on stderr, without what they begin with.
		errors, warnings []string
	}{
		{
			name:   "static programs",
			source: `int x; SEC("tc") static int hidden(void *s) { return x; } SEC("tc") int shown(void *s) { x++; return 1; } SEC("xdp") static int only(void *s) { return 2; }`,
			errors: []string{
				`hidden: is a static function in SEC("tc"), which loaders take for a program and do not load: remove the word static, or its SEC() if programs call it`,
				`only: is a static function in SEC("xdp"), which loaders take for a program and do not load: remove the word static, or its SEC() if programs call it`,
			},
		},
		{
			name:   "static subprogram without a section",
			source: `static __attribute__((noinline)) int sub(int *x) { return *x; } SEC("tc") int shown(void *s) { int x = 1; return sub(&x); }`,
		},
		{
			name:   "static subprogram in a section of programs",
			source: `SEC("tc") static __attribute__((noinline)) int sub(int *x) { return *x; } SEC("tc") int shown(void *s) { int x = 1; return sub(&x); }`,
			errors: []string{`sub: is a static function in SEC("tc"), which loaders take for a program and do not load: remove the word static, or its SEC() if programs call it`},
		},
		{
			name:   "sections that no loader reads",
			source: `int x SEC("my_conf") = 5; int y SEC("maps_data") = 5; static volatile int z SEC(".dat") = 5; SEC("syscall") int p(void *ctx) { return x + y + z; }`,
			errors: []string{
				`x: is in section my_conf, which no loader reads: write SEC(".data.my_conf"), or SEC(".rodata.my_conf") if programs only read it`,
				`y: is in section maps_data, which no loader reads: write SEC(".data.maps_data"), or SEC(".rodata.maps_data") if programs only read it`,
				`z: is in section .dat, which no loader reads: did you mean SEC(".data")?`,
			},
		},
		{
			name:   "misspelt sections of data",
			source: `int a SEC("data.x") = 1; int b SEC(".rodta.y") = 2; int c SEC("bss"); SEC("syscall") int p(void *ctx) { return a + b + c; }`,
			errors: []string{
				`a: is in section data.x, which no loader reads: did you mean SEC(".data.x")?`,
				`b: is in section .rodta.y, which no loader reads: did you mean SEC(".rodata.y")?`,
				`c: is in section bss, which no loader reads: did you mean SEC(".bss")?`,
			},
		},
		{
			name: "maps in other sections",
			source: `#define MAP struct { __uint(type, 2); __uint(max_entries, 1); __type(key, int); __type(value, int); }
MAP a SEC("maps"); MAP b SEC("map"); MAP c SEC("my_tables"); MAP d SEC(".maps");
SEC("tc") int p(void *c_) { return *(volatile int *)&a + *(volatile int *)&b + *(volatile int *)&c + (&d != 0); }
`,
			errors: []string{
				`a: is in section maps, which no loader reads: did you mean SEC(".maps")?`,
				`b: is in section map, which no loader reads: did you mean SEC(".maps")?`,
				`c: is in section my_tables, which no loader reads: did you mean SEC(".maps")?`,
			},
		},
		{
			name:   "sections that no loader reads and no program uses",
			source: `int x SEC("my_conf") = 5; char LICENCE[] SEC("licence") = "GPL"; int later SEC("maps_data") = 5; SEC("syscall") int p(void *ctx) { return 0; }`,
			warnings: []string{
				`x: is in section my_conf, which no loader reads: write SEC(".data.my_conf"), or SEC(".rodata.my_conf") if programs only read it`,
				`LICENCE: is in section licence, which no loader reads: did you mean SEC("license")?`,
				`later: is in section maps_data, which no loader reads: write SEC(".data.maps_data"), or SEC(".rodata.maps_data") if programs only read it`,
			},
		},
		{name: "struct_ops table", source: ops + `SEC(".struct_ops.link") ` + table},
		{name: "struct_ops.link", source: ops + `SEC("struct_ops.link") ` + table, errors: []string{`table: is in section struct_ops.link, which no loader reads: did you mean SEC(".struct_ops.link")? The kernel never gets a struct_ops table of another section`}},
		{name: ".struct_op", source: ops + `SEC(".struct_op") ` + table, errors: []string{`table: is in section .struct_op, which no loader reads: did you mean SEC(".struct_ops")? The kernel never gets a struct_ops table of another section`}},
		{name: ".struct_ops.lnk", source: ops + `SEC(".struct_ops.lnk") ` + table, errors: []string{`table: is in section .struct_ops.lnk, which no loader reads: did you mean SEC(".struct_ops.link")? The kernel never gets a struct_ops table of another section`}},
		{name: "?struct_ops.link", source: ops + `SEC("?struct_ops.link") ` + table, errors: []string{`table: is in section ?struct_ops.link, which no loader reads: did you mean SEC("?.struct_ops.link")? The kernel never gets a struct_ops table of another section`}},
		{name: "struct_ops table elsewhere", source: ops + `SEC("my_tables") ` + table, errors: []string{`table: is in section my_tables, which no loader reads: did you mean SEC(".struct_ops.link")? The kernel never gets a struct_ops table of another section`}},
		{
			name:     "struct_ops table without a section",
			source:   ops + `SEC(".struct_ops") ` + table + ` struct my_ops forgotten = { .init = init };`,
			warnings: []string{`forgotten (x.bpf.c:12): has addresses of functions, which loaders do not fill in: programs and Go code read offsets: declare it in SEC(".struct_ops.link") if it is a struct_ops table, and choose a function with a switch otherwise`},
		},
		{name: "empty struct_ops table", source: `struct my_ops { int weight; }; struct my_ops table SEC("struct_ops") = {1}; SEC("tc") int p(void *c) { return 0; }`, errors: []string{`table: is in section struct_ops, which no loader reads: did you mean SEC(".struct_ops")? The kernel never gets a struct_ops table of another section`}},
		{
			name:   "struct_ops programs without a table",
			source: ops + `SEC("?struct_ops") int later(void *c) { return 0; }`,
			errors: []string{
				`init: is a program for a struct_ops table, and the object has none: declare the table in SEC(".struct_ops.link"), or write SEC("?struct_ops") for a program that is not used yet`,
				`run: is a program for a struct_ops table, and the object has none: declare the table in SEC(".struct_ops.link"), or write SEC("?struct_ops/run") for a program that is not used yet`,
			},
		},
		{
			name:   "misspelt section",
			source: `SEC("xpd") int entry(void *c) { return 0; } SEC("?tcx/ingres") int in(void *c) { return 0; } SEC("lirc_mode2") int lirc(void *c) { return 0; } SEC("fentry.multi/vfs_*") int many(void *c) { return 0; }`,
			errors: []string{
				`entry: SEC("xpd") is not a form of SEC() that a loader knows, so the program has no type: did you mean SEC("xdp")? Otherwise, if the section is one of your own, list it (-section xpd; in Bazel sections = ["xpd"]) and give the program its type with SetType before Load`,
				`in: SEC("?tcx/ingres") is not a form of SEC() that a loader knows, so the program has no type: did you mean SEC("?tcx/ingress")? Otherwise, if the section is one of your own, list it (-section ?tcx/ingres; in Bazel sections = ["?tcx/ingres"]) and give the program its type with SetType before Load`,
			},
		},
		{
			name:   "a misspelt section of a program and one of data",
			source: `int x SEC("my_conf") = 5; SEC("kprobe.mutli/x") int many(int *c) { return x; }`,
			errors: []string{
				`x: is in section my_conf, which no loader reads: write SEC(".data.my_conf"), or SEC(".rodata.my_conf") if programs only read it`,
				`many: SEC("kprobe.mutli/x") is not a form of SEC() that a loader knows, so the program has no type: did you mean SEC("kprobe.multi")? Otherwise, if the section is one of your own, list it (-section kprobe.mutli/x; in Bazel sections = ["kprobe.mutli/x"]) and give the program its type with SetType before Load`,
			},
		},
		{name: "own sections", flags: "-section mine/* -section odd", source: `SEC("mine/entry") int entry(void *c) { return 0; } SEC("?odd") int odd(void *c) { return 0; }`},
		{
			name: "legacy sections", source: legacy,
			errors: []string{
				`by_number: SEC("socket1") is a name that libbpf 1.0 and newer refuse: write SEC("socket"), or allow such names (-legacy-sections; in Bazel legacy_sections = True)`,
				`by_suffix: SEC("tc_ingress") is a name that libbpf 1.0 and newer refuse: write SEC("tc"), or allow such names (-legacy-sections; in Bazel legacy_sections = True)`,
				`xdp_by_suffix: SEC("xdp_entry") is a name that libbpf 1.0 and newer refuse: write SEC("xdp"), or allow such names (-legacy-sections; in Bazel legacy_sections = True)`,
				`cls: SEC("classifier/x") is a name that libbpf 1.0 and newer refuse: write SEC("tc"), or allow such names (-legacy-sections; in Bazel legacy_sections = True)`,
			},
		},
		{
			name: "legacy sections allowed", source: legacy, flags: "-legacy-sections",
			warnings: []string{
				`by_number: SEC("socket1") is taken for SEC("socket"): write that, libbpf 1.0 and newer refuse the old name`,
				`by_suffix: SEC("tc_ingress") is taken for SEC("tc"): write that, libbpf 1.0 and newer refuse the old name`,
				`xdp_by_suffix: SEC("xdp_entry") is taken for SEC("xdp"): write that, libbpf 1.0 and newer refuse the old name`,
				`cls: SEC("classifier/x") is taken for SEC("tc"): write that, libbpf 1.0 and newer refuse the old name`,
			},
		},
		{
			name: "addresses in data",
			source: `int arr[4] = {1, 2, 3, 4};
int *second = &arr[1];
const char *const names[] = {"alpha", "beta"};
static const char *volatile deep[2][2] = {{"a", "b"}, {"c", "d"}};
struct entry { int n; const char *text; } entries[2] = {{1, "one"}};
SEC("syscall") int p(int *i) { return (second != 0) + (names[*i & 1] != 0) + (deep[*i & 1][0] != 0) + entries[0].n; }
`,
			warnings: []string{
				`second (x.bpf.c:9): has addresses of other data, which loaders do not fill in: programs and Go code read offsets: keep an index of an array in the place of a pointer`,
				`entries (x.bpf.c:12): has addresses of other data, which loaders do not fill in: programs and Go code read offsets: keep an index of an array in the place of a pointer`,
				`deep (x.bpf.c:11): has addresses of other data, which loaders do not fill in: programs and Go code read offsets: declare it as char deep[][N], whose elements hold the texts themselves`,
				`names (x.bpf.c:10): has addresses of other data, which loaders do not fill in: programs and Go code read offsets: declare it as char names[][N], whose elements hold the texts themselves`,
			},
		},
		{
			name: "addresses in data of a function",
			source: `SEC("tc") int p(int *i) { static const char *volatile names[] = {"a", "b"}; return names[*i & 1] != 0; }
SEC("xdp") int q(int *i) {
	static int *volatile names[] = {(int *)p, 0};
	return names[*i & 1] != 0;
}
`,
			warnings: []string{
				`p.names (x.bpf.c:8): has addresses of other data, which loaders do not fill in: programs and Go code read offsets: declare it as char names[][N], whose elements hold the texts themselves`,
				`q.names (x.bpf.c:10): has addresses of functions, which loaders do not fill in: programs and Go code read offsets: declare it in SEC(".struct_ops.link") if it is a struct_ops table, and choose a function with a switch otherwise`,
			},
		},
		{
			name: "addresses that loaders fill in",
			source: `struct inner { __uint(type, 1); __uint(max_entries, 1); __type(key, int); __type(value, int); };
struct inner one SEC(".maps");
struct { __uint(type, 13); __uint(max_entries, 2); __type(key, int); __array(values, struct inner); } outer SEC(".maps") = { .values = { &one } };
int tail(void *c);
struct { __uint(type, 3); __uint(max_entries, 2); __uint(key_size, 4); __array(values, int (void *)); } progs SEC(".maps") = { .values = { (void *)&tail } };
SEC("tc") int tail(void *c) { return 0; }
`,
		},
		{
			name:   "maps by sizes",
			source: `struct bpf_map_def { unsigned type, key_size, value_size, max_entries, flags; }; struct bpf_map_def SEC("maps") counts = {1, 4, 8, 16}; SEC("tc") int p(void *c) { return *(volatile int *)&counts; }`,
			errors: []string{`counts: declares a map by its sizes, in a form that loaders dropped (libbpf 1.0): declare it as a struct of __uint and __type members in SEC(".maps"), as docs/maps.md shows`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			compiled(t, tt.source)
			args := append([]string{"skeleton", "-package", "x", "-o", "x.go"}, strings.Fields(tt.flags)...)
			checkSaid(t, append(args, "x.o"), "x.o", tt.errors, tt.warnings)
			if tt.name == "addresses in data" {
				src, err := os.ReadFile("x.go")
				if err != nil {
					t.Fatal(err)
				}
				const note = ", where C has addresses: they are offsets, which loaders leave as they are"
				for _, want := range []string{"// second, int *" + note, "// names, const char *const[2]" + note, "// entries" + note, "// arr\n"} {
					if !strings.Contains(string(src), want) {
						t.Errorf("no %q in the source", want)
					}
				}
			}
		})
	}
}

// The linker makes objects for other loaders too, which may have names of their own.
func TestLinkSections(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, `SEC("xpd") int entry(void *c) { return 0; } SEC("tc_ingress") int in(void *c) { return 0; } SEC("mine") int own(void *c) { return 0; }`)
	const (
		entry = `entry: SEC("xpd") is not a form of SEC() that a loader knows, so the program has no type: did you mean SEC("xdp")? Otherwise, if the section is one of your own, list it (-section xpd; in Bazel sections = ["xpd"]) and give the program its type with SetType before Load`
		in    = `in: SEC("tc_ingress") is a name that libbpf 1.0 and newer refuse: write SEC("tc"), or allow such names (-legacy-sections; in Bazel legacy_sections = True)`
		taken = `in: SEC("tc_ingress") is taken for SEC("tc"): write that, libbpf 1.0 and newer refuse the old name`
	)
	for _, tt := range []struct {
		flags            string
		errors, warnings []string
	}{
		{"-section mine", nil, []string{entry, in}},
		{"-section m*", nil, []string{entry, in}},
		{"-section mine -strict-sections", []string{entry, in}, nil},
		{"-section mine -strict-sections -legacy-sections", []string{entry}, []string{taken}},
		{"-section *", nil, nil},
		{"-partial", nil, nil},
	} {
		t.Run(tt.flags, func(t *testing.T) {
			args := append([]string{"link", "-o", "out.o"}, strings.Fields(tt.flags)...)
			checkSaid(t, append(args, "x.o"), "out.o", tt.errors, tt.warnings)
		})
	}
}

// What loaders leave out of an object is said of each file that is linked, as the object
// need not be for a skeleton.
func TestLinkLosses(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, `
struct my_ops { int (*init)(void *); int weight; };
SEC("struct_ops") int init(void *c) { return 0; }
SEC("struct_ops.link") struct my_ops table = { .init = init };
int used SEC("my_conf") = 5; int unused SEC("my_notes") = 5;
SEC("tc") static int hidden(void *s) { return used; }
SEC("tc") int shown(void *s) { return 1; }
`)
	said := map[string]string{
		"struct_ops.link": `table: is in section struct_ops.link, which no loader reads: did you mean SEC(".struct_ops.link")? The kernel never gets a struct_ops table of another section`,
		"my_conf":         `used: is in section my_conf, which no loader reads: write SEC(".data.my_conf"), or SEC(".rodata.my_conf") if programs only read it`,
		"my_notes":        `unused: is in section my_notes, which no loader reads: write SEC(".data.my_notes"), or SEC(".rodata.my_notes") if programs only read it`,
		"tc":              `hidden: is a static function in SEC("tc"), which loaders take for a program and do not load: remove the word static, or its SEC() if programs call it`,
	}
	checkSaid(t, []string{"link", "-o", "out.o", "x.o"}, "x.o", nil, slices.Collect(maps.Values(said)))
	checkSaid(t, []string{"link", "-section", "*", "-o", "out.o", "x.o"}, "x.o", nil, nil)
	checkSaid(t, []string{"link", "-partial", "-o", "out.o", "x.o"}, "x.o", nil, nil)
	delete(said, "my_conf")
	delete(said, "my_notes")
	checkSaid(t, []string{"link", "-section", "my_*", "-o", "out.o", "x.o"}, "x.o", nil, slices.Collect(maps.Values(said)))
}

// What another loader means by a number for pinning is shown, and left to Go code.
func TestPinning(t *testing.T) {
	t.Chdir(t.TempDir())
	const decl = "__uint(type, 1); __uint(max_entries, 1); __type(key, int); __type(value, int);"
	compiled(t, "struct { "+decl+" __uint(pinning, 16); } by_path SEC(\".maps\"); struct { "+decl+" __uint(pinning, 1); } by_name SEC(\".maps\"); struct { "+decl+" __uint(pinning, 0); } plain SEC(\".maps\"); SEC(\"tc\") int p(void *c) { return 0; }\n")
	checkSaid(t, []string{"skeleton", "-package", "x", "-o", "x.go", "x.o"}, "x.o", nil, nil)
	src, err := os.ReadFile("x.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"// by_path, BPF_MAP_TYPE_HASH, pinning 16 of another loader: call SetPinning or SetPinPath before Load\n",
		"// by_name, BPF_MAP_TYPE_HASH, pinned by name\n",
		"// plain, BPF_MAP_TYPE_HASH\n",
	} {
		if !strings.Contains(string(src), want) {
			t.Errorf("no %q in the source", want)
		}
	}
}

// A map's NUMA node comes through the linker into the image.
func TestNUMANode(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, `struct inner { __uint(type, 2); __uint(max_entries, 1); __type(key, int); __type(value, int); __uint(numa_node, 1); };
struct { __uint(type, 12); __uint(max_entries, 1); __type(key, int); __uint(numa_node, 0); __array(values, struct inner); } outer SEC(".maps");
SEC("tc") int p(void *c) { return 0; }
`)
	checkSaid(t, []string{"link", "-o", "linked.o", "x.o"}, "x.o", nil, nil)
	checkSaid(t, []string{"image", "-o", "x.image", "linked.o"}, "linked.o", nil, nil)
	data, err := os.ReadFile("x.image")
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Decode(string(data))
	if err != nil {
		t.Fatal(err)
	}
	if len(img.Maps) != 2 || img.Maps[0].NUMANode != 0 || img.Maps[1].NUMANode != 1 {
		t.Errorf("maps %+v", img.Maps)
	}
}

// The linker has the compiler's debug information, and so the lines; what it writes has
// none.
func TestLinkAddresses(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, "const char *const names[] = {\"alpha\", \"beta\"};\nSEC(\"syscall\") int p(int *i) { return names[*i & 1] != 0; }\n")
	const said = "has addresses of other data, which loaders do not fill in: programs and Go code read offsets: declare it as char names[][N], whose elements hold the texts themselves"
	checkSaid(t, []string{"link", "-o", "out.o", "x.o"}, "x.o", nil, []string{"names (x.bpf.c:8): " + said})
	checkSaid(t, []string{"link", "-partial", "-o", "partial.o", "x.o"}, "x.o", nil, nil)
	checkSaid(t, []string{"skeleton", "-package", "x", "-o", "x.go", "out.o"}, "out.o", nil, []string{"names: " + said})
	checkSaid(t, []string{"skeleton", "-linked", "-package", "x", "-o", "x.go", "out.o"}, "out.o", nil, nil)
	checkSaid(t, []string{"skeleton", "-package", "x", "-o", "x.go", "-link", "out.o", "x.o"}, "x.o", nil, []string{"names (x.bpf.c:8): " + said})
	checkSaid(t, []string{"subskeleton", "-package", "x", "-o", "x.go", "x.o"}, "x.o", nil, []string{"names (x.bpf.c:8): " + said})
}

// checkSaid runs bpfgen and compares what it says of a file.
func checkSaid(t *testing.T, args []string, file string, errors, warnings []string) {
	t.Helper()
	var want []string
	for _, line := range warnings {
		want = append(want, "bpfgen: warning: "+file+": "+line+"\n")
	}
	for _, line := range errors {
		want = append(want, "bpfgen: "+file+": "+line+"\n")
	}
	status := min(len(errors), 1)
	_, errs, got := bpfgen(args...)
	// Where the compiler places things is its own affair.
	lines := slices.Sorted(strings.Lines(errs))
	slices.Sort(want)
	if got != status || !slices.Equal(lines, want) {
		t.Errorf("status %d, want %d, stderr\n%swant\n%s", got, status, errs, strings.Join(want, ""))
	}
}
