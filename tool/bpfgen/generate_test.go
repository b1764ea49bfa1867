package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/gogenerate"
	"github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// environment are the variables that makefiles of public projects set.
var environment = map[string]string{
	"GOPACKAGE": "main", "GOFILE": "gen.go", "BPF_CLANG": "clang-14", "BPF_CFLAGS": "-O2 -g -Wall '-DA=b c'", "CFLAGS": "-Wall",
	"BPF2GO": "go tool bpfgen generate", "BPF_HEADERS": "hdr", "ASM_HEADERS": "asm", "BPF_TRACE_TARGET": "bpfel,bpfeb", "BPF_STRIP_FLAG": "-strip=llvm-strip",
	"GOARCH": "arm64", "BPF_PROBES": "bpf",
}

// lines are go:generate lines of public projects by their form, with the command's name
// changed to go tool bpfgen generate, and what is understood.
var lines = []struct{ line, want string }{
	{"tracer tracer.c", "tracer [tracer.c] clang-14 [-O2 -g -Wall -DA=b c] bpfel bpfeb main tracer.go"},
	{"-tags linux bpf cgroup_skb.c -- -I../headers", "bpf [cgroup_skb.c] clang-14 [-O2 -g -Wall -DA=b c -I../headers] bpfel bpfeb linux main bpf.go"},
	{`-tags linux -tags "linux" bpf tcprtt_sockops.c -- -I../headers`, "bpf [tcprtt_sockops.c] clang-14 [-O2 -g -Wall -DA=b c -I../headers] bpfel bpfeb linux main bpf.go"},
	{"-no-global-types -tags linux bpf sched_ext.c -- -I../headers/", "bpf [sched_ext.c] clang-14 [-O2 -g -Wall -DA=b c -I../headers/] bpfel bpfeb linux main bpf.go note: -no-global-types"},
	{"-tags linux -target amd64 bpf uretprobe.c -- -I../headers", "bpf [uretprobe.c] clang-14 [-O2 -g -Wall -DA=b c -I../headers] x86_bpfel linux main bpf.go"},
	{`-cflags "-O2" -tags linux bpf sys_call_trace.c -- -I ../../headers`, "bpf [sys_call_trace.c] clang-14 [-O2 -I ../../headers] bpfel bpfeb linux main bpf.go"},
	{`-tags linux -cflags "-D __TARGET_ARCH_x86 -Wall -O2 -g" hello hello.bpf.c`, "hello [hello.bpf.c] clang-14 [-D __TARGET_ARCH_x86 -Wall -O2 -g] bpfel bpfeb linux main hello.go"},
	{"-cc clang-18 -strip llvm-strip-18 -tags linux -type event Tls openssl.bpf.c -- -D__TARGET_ARCH_x86", "Tls [openssl.bpf.c] clang-18 [-O2 -g -Wall -DA=b c -D__TARGET_ARCH_x86] bpfel bpfeb linux types [event] main tls.go note: -strip"},
	{"-target bpfel -type port_key -type vip_counters addrguard bpf/addrguard.c -- -Wall -Werror", "addrguard [bpf/addrguard.c] clang-14 [-O2 -g -Wall -DA=b c -Wall -Werror] bpfel types [port_key vip_counters] main addrguard.go"},
	{"-verbose -tags linux -target amd64 camera_detector bpf/camera_detector.bpf.c -- -I./bpf/include", "camera_detector [bpf/camera_detector.bpf.c] clang-14 [-O2 -g -Wall -DA=b c -I./bpf/include] x86_bpfel linux main camera_detector.go"},
	{"-target bpfel -go-package=packetdrop -output-dir=packetdrop packetDrop bpf/packet_drop.c", "packetDrop [bpf/packet_drop.c] clang-14 [-O2 -g -Wall -DA=b c] bpfel packetdrop packetdrop/packetdrop.go"},
	{"-cc $BPF_CLANG -cflags $BPF_CFLAGS bpf exec.bpf.c -- -I../headers", "bpf [exec.bpf.c] clang-14 [-O2 -g -Wall -DA=b c -I../headers] bpfel bpfeb main bpf.go"},
	{"-cc $BPF_CLANG -cflags $BPF_CFLAGS --target=amd64 bpf dnsExpress.c -- -I../headers", "bpf [dnsExpress.c] clang-14 [-O2 -g -Wall -DA=b c -I../headers] x86_bpfel main bpf.go"},
	{"-cc $BPF_CLANG -cflags $BPF_CFLAGS xsk_def_xdp_prog_5_3 ./xdp/xsk_def_xdp_prog_5.3.c", "xsk_def_xdp_prog_5_3 [./xdp/xsk_def_xdp_prog_5.3.c] clang-14 [-O2 -g -Wall -DA=b c] bpfel bpfeb main xsk_def_xdp_prog_5_3.go"},
	{"-cc $BPF_CLANG -cflags $BPF_CFLAGS  -target arm64,amd64 -type event execsnoop execsnoop.c -- -I../../include -I.", "execsnoop [execsnoop.c] clang-14 [-O2 -g -Wall -DA=b c -I../../include -I.] arm64_bpfel x86_bpfel types [event] main execsnoop.go"},
	{"-cc $BPF_CLANG -cflags $BPF_CFLAGS -target bpfel,bpfeb bpf pid.bpf.c -- -I /root/libbpf/include -I$BPF_HEADERS", "bpf [pid.bpf.c] clang-14 [-O2 -g -Wall -DA=b c -I /root/libbpf/include -Ihdr] bpfel bpfeb main bpf.go"},
	{`-cc "$BPF_CLANG" "$BPF_STRIP_FLAG" -cflags "$BPF_CFLAGS" -target "$BPF_TRACE_TARGET" -type event bpf kern/trace.c -- -I./headers`, "bpf [kern/trace.c] clang-14 [-O2 -g -Wall -DA=b c -I./headers] bpfel bpfeb types [event] main bpf.go note: -strip"},
	{`-cflags "$BPF_CFLAGS" -target arm64 bpf ../../bpf/program.bpf.c -- -I../../bpf/vmlinux -D__TARGET_ARCH_arm64`, "bpf [../../bpf/program.bpf.c] clang-14 [-O2 -g -Wall -DA=b c -I../../bpf/vmlinux -D__TARGET_ARCH_arm64] arm64_bpfel main bpf.go"},
	{`-tags "ebpf_build" -cc clang -cflags "-O2 -g -D__TARGET_ARCH_x86" profiler ../../bpf/profiler.bpf.c`, "profiler [../../bpf/profiler.bpf.c] clang [-O2 -g -D__TARGET_ARCH_x86] bpfel bpfeb ebpf_build main profiler.go"},
	{"-target amd64,arm64 -cc clang -cflags $CFLAGS bpf $BPF_PROBES/http_server.c", "bpf [bpf/http_server.c] clang [-Wall] x86_bpfel arm64_bpfel main bpf.go"},
	{"-target amd64 -cc clang sensor ../../bpf/sensor.c -- -I../../bpf/headers -Wno-address-of-packed-member", "sensor [../../bpf/sensor.c] clang [-O2 -g -Wall -DA=b c -I../../bpf/headers -Wno-address-of-packed-member] x86_bpfel main sensor.go"},
	{`--strip llvm-strip --cflags "-D__x86_64__ -O1 -I../.." tcp_estats ../../probe/tcp_estats.c`, "tcp_estats [../../probe/tcp_estats.c] clang-14 [-D__x86_64__ -O1 -I../..] bpfel bpfeb main tcp_estats.go note: -strip"},
	{"-target amd64 -type lbr_data lbr ../bpf/bpf_lbr.c -- -I../bpf -mllvm -bpf-stack-size=2048", "lbr [../bpf/bpf_lbr.c] clang-14 [-O2 -g -Wall -DA=b c -I../bpf -mllvm -bpf-stack-size=2048] x86_bpfel types [lbr_data] main lbr.go"},
	{"-output-dir bpf/objs -go-package objs -tags linux Bpf bpf/bpf.c", "Bpf [bpf/bpf.c] clang-14 [-O2 -g -Wall -DA=b c] bpfel bpfeb linux objs bpf/objs/bpf.go"},
	{"-go-package test test _ebpf/typedefed-enums.ebpf.c -- -I../../_headers", "test [_ebpf/typedefed-enums.ebpf.c] clang-14 [-O2 -g -Wall -DA=b c -I../../_headers] bpfel bpfeb test test.go"},
	{`-cc clang -no-strip -cflags "-O2 -g -Wall" bpf ./bpf/tc_counter.c -- -I.:/usr/include/bpf:/usr/include/linux`, "bpf [./bpf/tc_counter.c] clang [-O2 -g -Wall -I.:/usr/include/bpf:/usr/include/linux] bpfel bpfeb main bpf.go note: -strip"},
	{"-output-stem small -output-suffix _x -makebase .. -tags linux,!race Ident x.c", "Ident [x.c] clang-14 [-O2 -g -Wall -DA=b c] bpfel bpfeb linux && !race makebase .. main small_x.go"},
	{`-cc "ccache clang" -target 386 one a.c b.c`, "one [a.c b.c] ccache clang [-O2 -g -Wall -DA=b c] x86_bpfel main one.go"},
	{`-variant v54 -variant "v61=-DKERNEL=601 '-DX=a b'" -target bpfel one a.c -- -DALL`, "one [a.c] clang-14 [-O2 -g -Wall -DA=b c -DALL] bpfel variants v54[] v61[-DKERNEL=601 -DX=a b] main one.go"},
	{"-target mips64le one a.c -stem other", "one [a.c] clang-14 [-O2 -g -Wall -DA=b c] mips64_bpfel main other.go"},
}

func describe(g *generation, notes []string) string {
	words := []string{g.ident, fmt.Sprint(g.sources), strings.Join(g.cc, " "), fmt.Sprint(g.cflags)}
	for _, t := range g.targets {
		words = append(words, t.Suffix)
	}
	if g.tags != nil {
		words = append(words, g.tags.String())
	}
	if g.types != nil {
		words = append(words, "types", fmt.Sprint(g.types))
	}
	if g.variants != nil {
		words = append(words, "variants")
	}
	for _, v := range g.variants {
		words = append(words, v.name+fmt.Sprint(v.flags))
	}
	if g.makeBase != "" {
		words = append(words, "makebase", g.makeBase)
	}
	words = append(words, g.pkg, filepath.Join(g.dir, g.stem+g.suffix+".go"))
	for _, note := range notes {
		flag, _, _ := strings.Cut(note, " ")
		words = append(words, "note: "+flag)
	}
	return strings.Join(words, " ")
}

// parseLine reads a line as go generate hands it on.
func parseLine(line string) (*generation, []string, error) {
	getenv := func(key string) string { return environment[key] }
	found := gogenerate.Lines("gen.go", []byte("package main\n\n//go:generate "+line+"\n"), "bpfgen")
	if len(found) != 1 || len(found[0].Args) == 0 {
		return nil, nil, fmt.Errorf("%q has no command", line)
	}
	args := found[0].Args[1:]
	for i := range args {
		args[i] = os.Expand(args[i], getenv)
	}
	fs := flag.NewFlagSet("generate", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	g, notes, err := parseGenerate(fs, args, getenv)
	if err == nil {
		err = g.check()
	}
	return g, notes, err
}

func TestGenerateLines(t *testing.T) {
	for _, tt := range lines {
		fields, err := gogenerate.Fields(tt.line)
		if err != nil {
			t.Fatal(err)
		}
		t.Chdir(t.TempDir())
		if err := os.MkdirAll("a/b", 0o777); err != nil {
			t.Fatal(err)
		}
		t.Chdir("a/b")
		for i, f := range fields {
			f = os.Expand(f, func(key string) string { return environment[key] })
			if strings.HasSuffix(f, ".c") {
				write(t, f, "")
			}
			if name, dir, _ := strings.Cut(f, "="); i > 0 && fields[i-1] == "-output-dir" {
				os.MkdirAll(f, 0o777)
			} else if name == "-output-dir" {
				os.MkdirAll(dir, 0o777)
			}
		}
		for _, command := range []string{"go tool bpfgen generate ", "go run example.com/bpfgen@v1.2.3 generate ", "env A=b bpfgen generate "} {
			g, notes, err := parseLine(command + tt.line)
			if err != nil {
				t.Errorf("%s%s: %v", command, tt.line, err)
			} else if got := describe(g, notes); got != tt.want {
				t.Errorf("%s%s:\ngot  %s\nwant %s", command, tt.line, got, tt.want)
			}
		}
	}
}

func TestGenerateErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "x.c", "int x;\n")
	write(t, "dir/y.c", "")
	for _, tt := range []struct{ line, want string }{
		{"", "0 names given: want NAME"},
		{"bpf", "1 names given: want NAME"},
		{"bpf none.c", "none.c: there is no such C file"},
		{"bpf dir", "dir: is a directory: give the C files"},
		{"bpf x.c x.c", "x.c: is given twice"},
		{"bpf \"a\\nb.c\"", `"a\nb.c": has characters that cannot be printed: rename the file`},
		{"b-pf x.c", `NAME "b-pf": no Go name can begin so`},
		{"func x.c", `NAME "func": no Go name can begin so`},
		{"bpf x.c -Iheaders", "flag provided but not defined: -Iheaders: flags for clang come after --"},
		{"-unknown bpf x.c", "flag provided but not defined: -unknown"},
		{"-target vax bpf x.c", `-target "vax": there is no such target: the targets are bpfel, bpfeb, native, 386`},
		{"-target bpfel,bpfel,,amd64 bpf x.c", "-target \"\": there is no such target"},
		{"-tags ((( bpf x.c", `-tags "(((": is not a list of build tags`},
		{"-go-package a-b bpf x.c", `-go-package "a-b": is not a name for a Go package`},
		{"-output-dir none bpf x.c", "-output-dir none: there is no such directory: make it first"},
		{"-output-stem a/b bpf x.c", `-output-stem "a/b": is part of a file's name`},
		{"-output-stem _b bpf x.c", "-output-stem _b: Go does not read files whose names begin so"},
		{"_b x.c", "-output-stem _b: Go does not read files whose names begin so"},
		{"-output-suffix \"a\\n\" bpf x.c", `-output-suffix "a\n": is part of a file's name`},
		{"-type a -type a bpf x.c", "-type a: is given twice"},
		{"-cflags \"'a\" bpf x.c", "-cflags 'a: has a quote without its other end"},
		{"bpf x.c -- -MD", "-MD: dependency files are what -makebase writes"},
		{"bpf x.c -- -S", "-S: the compiler has to write an object"},
		{"-library -subskeleton a=b bpf x.c", "-library is for what objects are linked with"},
		{"-subskeleton a bpf x.c", "want NAME=IMPORTPATH"},
		{"-types-from example.com/a bpf x.c", `"example.com/a": want IMPORTPATH=NAMES`},
		{"-types-from example.com/a= bpf x.c", `"example.com/a=": want IMPORTPATH=NAMES`},
		{"-types-from =x.c bpf x.c", `"=x.c": want IMPORTPATH=NAMES`},
		{"-types-from example.com/a=none.names bpf x.c", "none.names: no such file or directory"},
		{"-types-from example.com/a=x.c bpf x.c", "x.c: is not a list of shared types"},
		{"-library -types-from example.com/a=none.names bpf x.c", "-library is for what objects are linked with"},
	} {
		if _, _, err := parseLine("bpfgen generate " + tt.line); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q", tt.line, err, tt.want)
		}
	}
	defer func(old string) { environment["GOPACKAGE"] = old }(environment["GOPACKAGE"])
	environment["GOPACKAGE"] = ""
	if _, _, err := parseLine("bpfgen generate bpf x.c"); err == nil || !strings.Contains(err.Error(), "no Go package: run it from go generate") {
		t.Errorf("without a package: got error %v", err)
	}
}

const counterC = `
#define SEC(name) __attribute__((section(name), used))
struct event { int pid; long long when; };
enum mode { MODE_OFF, MODE_ON };
struct event last;
enum mode mode = MODE_ON;
const char *file(void);
char where[] = __FILE__;
SEC("license") char LICENSE[] = "GPL";
SEC("xdp") int count(void *ctx) { last.pid++; return mode + where[0]; }
`

// needsClang skips the test when there is no compiler, and leaves the environment of
// projects of the machine's own out.
func needsClang(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("clang"); err != nil {
		t.Skip("needs clang")
	}
	for _, key := range []string{"BPF_CLANG", "BPF_CFLAGS", "BPF2GO_CC", "BPF2GO_CFLAGS", "BPF2GO_MAKEBASE", "GOFILE", "GOLINE", "V"} {
		t.Setenv(key, "")
	}
	t.Setenv("GOPACKAGE", "main")
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Whatever the directory and however files are named, the Go files are the same, and have
// no path of the machine.
func TestGenerateIsReproducible(t *testing.T) {
	needsClang(t)
	var first string
	for _, name := range []string{"a", "other place/with a longer name"} {
		root := filepath.Join(t.TempDir(), name)
		write(t, filepath.Join(root, "go.mod"), "module example.com/m\n")
		write(t, filepath.Join(root, "bpf/shared.h"), "static inline int twice(int x) { return 2 * x; }\nstatic char header[] = __FILE__;\n")
		write(t, filepath.Join(root, "cmd/prog/x y.c"), counterC+"#include <shared.h>\nint more = 1;\nSEC(\"xdp\") int second(void *ctx) { return twice(more) + header[0]; }\n")
		t.Chdir(filepath.Join(root, "cmd/prog"))
		out, errs, status := bpfgen("generate", "-tags", "linux", "-makebase", root, "bpf", "x y.c", "--", "-I"+filepath.Join(root, "bpf"))
		if status != 0 || out != "" || errs != "" {
			t.Fatalf("status %d, stdout %q, stderr %q", status, out, errs)
		}
		if got := files(t); got != "bpf_bpfeb.go bpf_bpfeb.go.d bpf_bpfel.go bpf_bpfel.go.d x y.c" {
			t.Fatalf("files are %s", got)
		}
		all := read(t, "bpf_bpfel.go") + read(t, "bpf_bpfeb.go") + read(t, "bpf_bpfel.go.d")
		if strings.Contains(all, filepath.Dir(root)) || strings.Contains(all, "longer name") {
			t.Error("the files have a path of this machine")
		}
		if first == "" {
			first = all
		}
		if all != first {
			t.Error("the files are other ones in another directory")
		}
		if want := "cmd/prog/bpf_bpfel.go: \\\n cmd/prog/x\\ y.c \\\n bpf/shared.h\n\nbpf/shared.h:\n"; read(t, "bpf_bpfel.go.d") != want {
			t.Errorf("the makefile is %q, want %q", read(t, "bpf_bpfel.go.d"), want)
		}
		if !strings.HasPrefix(all, "// Code generated by bpfgen generate from x y.c. DO NOT EDIT.\n\n//go:build (386 || amd64 || arm || arm64 || loong64 || mips64le || mipsle || ppc64le || riscv64) && linux\n\npackage main\n") {
			t.Errorf("the file begins %.300s", all)
		}
	}
}

func TestGenerateFails(t *testing.T) {
	needsClang(t)
	t.Chdir(t.TempDir())
	write(t, "x.c", counterC)
	write(t, "bad.c", "#include <bpf/bpf_none.h>\n")
	write(t, "undefined.c", "extern int other(void);\n__attribute__((section(\"xdp\"), used)) int p(void *ctx) { return other(); }\n")
	write(t, "no_section.c", counterC+`SEC("nonsense") int p(void *ctx) { return 0; }`)
	t.Setenv("TMPDIR", t.TempDir())
	before := files(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-cc", "no-such-clang", "bpf", "x.c"}, "bpfgen: no-such-clang: there is no such compiler: install clang 14 or newer (Debian, Ubuntu: apt install clang"},
		{[]string{"bpf", "bad.c"}, "bpfgen: bad.c: clang does not compile it for bpfel: exit status 1: libbpf's headers are not where clang looks"},
		{[]string{"bpf", "undefined.c"}, "and no file defines it: add the file that defines it to the C files of the line, or declare it __weak, __kconfig or __ksym\n"},
		{[]string{"bpf", "no_section.c"}, "no_section.c: p: "},
		{[]string{"-type", "none", "bpf", "x.c"}, "x.c: type none: "},
		{[]string{"bpf", "x.c", "x.c"}, "x.c: is given twice"},
	} {
		_, errs, status := bpfgen(append([]string{"generate"}, tt.args...)...)
		if status == 0 || !strings.Contains(errs, tt.want) {
			t.Errorf("%q: status %d, stderr %q, want %q", tt.args, status, errs, tt.want)
		}
		if got := files(t); got != before {
			t.Errorf("%q: files are %s, want %s", tt.args, got, before)
		}
	}
	if left, _ := os.ReadDir(os.TempDir()); len(left) != 0 {
		t.Errorf("left in the directory for temporary files: %v", left)
	}
	t.Setenv("TMPDIR", "/no/such/directory")
	if _, errs, status := bpfgen("generate", "bpf", "x.c"); status != 1 || errs != "bpfgen: /no/such/directory: no directory can be made in it: no such file or directory: set $TMPDIR to one for temporary files\n" {
		t.Errorf("status %d, stderr %q", status, errs)
	}
}

// What is said of one target and not of the others is said, and what is said of all is
// said once.
func TestGenerateWarnings(t *testing.T) {
	needsClang(t)
	t.Chdir(t.TempDir())
	write(t, "x.c", counterC+`
#warning everywhere
#ifdef __TARGET_ARCH_s390
#warning on s390
const char *const names[] = {"alpha", "beta"};
SEC("xdp") int more(int *i) { return names[*i & 1] != 0; }
#endif
const char *const all[] = {"alpha", "beta"};
SEC("xdp") int on_all(int *i) { return all[*i & 1] != 0; }
`)
	_, errs, status := bpfgen("generate", "-target", "amd64,arm64,s390x", "bpf", "x.c")
	if status != 0 {
		t.Fatalf("status %d, stderr %q", status, errs)
	}
	for _, tt := range []struct {
		text string
		want int
	}{
		{"warning: on s390", 1},
		{"bpfgen: warning: x.c: names", 1},
		// Beside the other one, and alone.
		{"warning: everywhere", 2},
		{"bpfgen: warning: x.c: all", 1},
	} {
		if got := strings.Count(errs, tt.text); got != tt.want {
			t.Errorf("%q is said %d times, want %d:\n%s", tt.text, got, tt.want, errs)
		}
	}
}

// A line that writes the files of another one is refused, and its place named.
func TestGenerateTwice(t *testing.T) {
	needsClang(t)
	t.Chdir(t.TempDir())
	write(t, "x.c", counterC)
	write(t, "a.go", "package main\n\n//go:generate go tool bpfgen generate bpf x.c\n//go:generate go tool bpfgen generate other x.c\n")
	write(t, "b.go", "package main\n\n//go:generate go tool bpfgen generate -target bpfeb Bpf x.c\n")
	t.Setenv("GOFILE", "a.go")
	t.Setenv("GOLINE", "3")
	_, errs, status := bpfgen("generate", "bpf", "x.c")
	if want := "bpfgen: b.go:3: bpf_bpfeb.go: is written by two lines: give one of them another NAME\n"; status != 1 || errs != want {
		t.Errorf("status %d, stderr %q, want %q", status, errs, want)
	}
	t.Setenv("GOLINE", "4")
	// Neither is what an editor leaves while it has a file open, nor what go ignores.
	for _, name := range []string{".#a.go", "gone.go"} {
		if err := os.Symlink("user@host.123:456", name); err != nil {
			t.Fatal(err)
		}
	}
	write(t, "_c.go", "package main\n\n//go:generate go tool bpfgen generate other x.c\n")
	if _, errs, status := bpfgen("generate", "other", "x.c"); status != 0 || errs != "" {
		t.Errorf("status %d, stderr %q", status, errs)
	}
}

// The other line may be in another directory of the module.
func TestGenerateTwiceElsewhere(t *testing.T) {
	needsClang(t)
	t.Chdir(t.TempDir())
	const line = "package main\n\n//go:generate go tool bpfgen generate -output-dir ../objs bpf x.c\n"
	write(t, "go.mod", "module example.com/m\n")
	for _, name := range []string{"a/a.go", "b/b.go", "testdata/c.go", "nested/d/d.go"} {
		write(t, name, line)
	}
	write(t, "nested/go.mod", "module example.com/n\n")
	write(t, "objs/objs.go", "package objs\n\n//go:generate go tool bpfgen generate own x.c\n")
	write(t, "a/x.c", counterC)
	t.Chdir("a")
	t.Setenv("GOFILE", "a.go")
	t.Setenv("GOLINE", "3")
	_, errs, status := bpfgen("generate", "-output-dir", "../objs", "bpf", "x.c")
	if want := "bpfgen: ../b/b.go:3: ../objs/bpf_bpfel.go: is written by two lines: give one of them another NAME\n"; status != 1 || errs != want {
		t.Errorf("status %d, stderr %q, want %q", status, errs, want)
	}
	_, errs, status = bpfgen("generate", "-output-dir", "../objs", "own", "x.c")
	if want := "bpfgen: ../objs/objs.go:3: ../objs/own_bpfel.go: is written by two lines: give one of them another NAME\n"; status != 1 || errs != want {
		t.Errorf("status %d, stderr %q, want %q", status, errs, want)
	}
	if err := os.Remove("../b/b.go"); err != nil {
		t.Fatal(err)
	}
	if _, errs, status := bpfgen("generate", "-output-dir", "../objs", "bpf", "x.c"); status != 0 || errs != "" {
		t.Errorf("status %d, stderr %q", status, errs)
	}
}

// A file is the same however -output-dir names its directory.
func TestGenerateTwiceByAnotherPath(t *testing.T) {
	needsClang(t)
	t.Chdir(t.TempDir())
	write(t, "go.mod", "module example.com/m\n")
	write(t, "a/x.c", counterC)
	write(t, "objs/objs.go", "package objs\n")
	t.Chdir("objs")
	objs, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("../a")
	t.Setenv("GOFILE", "a.go")
	t.Setenv("GOLINE", "3")
	for _, tt := range []struct{ dir, otherFile, otherDir, out string }{
		{"../objs", "b.go", objs, "../objs/bpf_bpfel.go"},
		{"../objs", "../b/b.go", objs, "../objs/bpf_bpfel.go"},
		{objs, "../b/b.go", "../objs", objs + "/bpf_bpfel.go"},
		{objs, "../b/b.go", objs, objs + "/bpf_bpfel.go"},
		{"../a", "b.go", "", "../a/bpf_bpfel.go"},
		{"", "b.go", "../a", "bpf_bpfel.go"},
		{"", "b.go", "../objs/../a", "bpf_bpfel.go"},
	} {
		args, other := []string{"generate"}, "generate"
		if tt.dir != "" {
			args = append(args, "-output-dir", tt.dir)
		}
		if tt.otherDir != "" {
			other += " -output-dir " + tt.otherDir
		}
		args = append(args, "-target", "bpfel", "bpf", "x.c")
		lines := func(target string) {
			write(t, tt.otherFile, "package main\n\n//go:generate go tool bpfgen "+other+" -target "+target+" bpf x.c\n")
		}
		lines("bpfel")
		_, errs, status := bpfgen(args...)
		if want := "bpfgen: " + tt.otherFile + ":3: " + tt.out + ": is written by two lines: give one of them another NAME\n"; status != 1 || errs != want {
			t.Errorf("%+v: status %d, stderr %q, want %q", tt, status, errs, want)
		}
		// What another line writes is not stale.
		lines("bpfeb")
		stale := filepath.Join(tt.dir, "bpf_bpfeb.go")
		write(t, stale, "// Code generated by bpfgen generate from x.c. DO NOT EDIT.\n")
		if _, errs, status := bpfgen(args...); status != 0 || errs != "" {
			t.Errorf("%+v: status %d, stderr %q", tt, status, errs)
		}
		for _, name := range []string{tt.otherFile, stale} {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The list of shared types of another line is in a place relative to that line, and is not read
// to tell what the line writes.
func TestGenerateTwiceWithTypesFrom(t *testing.T) {
	needsClang(t)
	t.Chdir(t.TempDir())
	write(t, "go.mod", "module example.com/m\n")
	write(t, "a/x.c", counterC)
	write(t, "b/b.names", "Go types of rules_bpf, form 1, package shared\n")
	write(t, "objs/objs.go", "package objs\n")
	line := func(target string) {
		write(t, "../b/b.go", "package main\n\n//go:generate go tool bpfgen generate -output-dir ../objs -types-from example.com/shared=b.names -target "+target+" bpf x.c\n")
	}
	t.Chdir("a")
	t.Setenv("GOFILE", "a.go")
	t.Setenv("GOLINE", "3")
	args := []string{"generate", "-output-dir", "../objs", "-target", "bpfel", "bpf", "x.c"}
	line("bpfel")
	_, errs, status := bpfgen(args...)
	if want := "bpfgen: ../b/b.go:3: ../objs/bpf_bpfel.go: is written by two lines: give one of them another NAME\n"; status != 1 || errs != want {
		t.Errorf("status %d, stderr %q, want %q", status, errs, want)
	}
	line("bpfeb")
	write(t, "../objs/bpf_bpfeb.go", "// Code generated by bpfgen generate from x.c. DO NOT EDIT.\n")
	if _, errs, status := bpfgen(args...); status != 0 || errs != "" {
		t.Errorf("status %d, stderr %q", status, errs)
	}
}

// A line imports shared types, and make knows that their list is read.
func TestGenerateTypesFrom(t *testing.T) {
	needsClang(t)
	t.Chdir(t.TempDir())
	write(t, "x.c", counterC)
	write(t, "event.bpf.o", string((&objtest.File{
		Programs: []objtest.Program{{Name: "p", Section: "xdp"}},
		Vars:     []objtest.Var{{Section: ".bss", Name: "last", Type: objtest.Struct("event", objtest.M("pid", objtest.S32), objtest.M("when", objtest.S64))}},
	}).Build()))
	for _, args := range []string{
		"types -package shared -o shared/shared.go -names shared/shared.names event.bpf.o",
		"generate -types-from example.com/shared=shared/shared.names -makebase . -target bpfel bpf x.c",
	} {
		if err := os.MkdirAll("shared", 0o777); err != nil {
			t.Fatal(err)
		}
		if out, errs, status := bpfgen(strings.Fields(args)...); status != 0 || out != "" || errs != "" {
			t.Fatalf("%s: status %d, stdout %q, stderr %q", args, status, out, errs)
		}
	}
	if src, want := read(t, "bpf_bpfel.go"), "Last shared.Event // last"; !strings.Contains(src, want) {
		t.Errorf("%q is not in\n%s", want, src)
	}
	if got, want := read(t, "bpf_bpfel.go.d"), "bpf_bpfel.go: \\\n x.c \\\n shared/shared.names\n\nshared/shared.names:\n"; got != want {
		t.Errorf("the makefile is %q, want %q", got, want)
	}
}

// Files of targets that a line no longer asks for are named, unless another line writes
// them, or they are not bpfgen's.
func TestGenerateStale(t *testing.T) {
	needsClang(t)
	t.Chdir(t.TempDir())
	write(t, "x.c", counterC)
	write(t, "bpf_arm_bpfel.go", "package main\n")
	if _, errs, status := bpfgen("generate", "-makebase", ".", "bpf", "x.c"); status != 0 || errs != "" {
		t.Fatalf("status %d, stderr %q", status, errs)
	}
	var (
		el = "bpfgen: note: bpf_bpfel.go: is for a target that -target does not name, and was not written: delete it and bpf_bpfel.go.d, unless another command writes it\n"
		eb = "bpfgen: note: bpf_bpfeb.go: is for a target that -target does not name, and was not written: delete it and bpf_bpfeb.go.d, unless another command writes it\n"
	)
	if _, errs, status := bpfgen("generate", "-target", "amd64", "bpf", "x.c"); status != 0 || errs != el+eb {
		t.Errorf("status %d, stderr %q", status, errs)
	}
	write(t, "a.go", "package main\n\n//go:generate go tool bpfgen generate -target amd64 bpf x.c\n//go:generate go tool bpfgen generate -target bpfeb bpf x.c\n")
	t.Setenv("GOFILE", "a.go")
	t.Setenv("GOLINE", "3")
	el = strings.Replace(el, "note: ", "note: a.go:3: ", 1)
	if _, errs, status := bpfgen("generate", "-target", "amd64", "bpf", "x.c"); status != 0 || errs != el {
		t.Errorf("status %d, stderr %q, want %q", status, errs, el)
	}
}

// go generate ./... runs lines of many directories, and says of which a message is only when a
// command fails: notes and warnings say it themselves, from the module's root.
func TestGenerateSaysWhere(t *testing.T) {
	needsClang(t)
	t.Chdir(t.TempDir())
	write(t, "go.mod", "module example.com/m\n")
	write(t, "edge/x.c", counterC)
	write(t, "edge/bpf_bpfel.o", "")
	write(t, "edge/main.go", "package main\n\n//go:generate go tool bpfgen generate -strip llvm-strip bpf x.c\n")
	t.Chdir("edge")
	t.Setenv("GOPACKAGE", "main")
	t.Setenv("GOFILE", "main.go")
	t.Setenv("GOLINE", "3")
	const want = "bpfgen: note: edge/main.go:3: -strip and -no-strip do nothing: no debug information is in the Go files: leave them out\n" +
		"bpfgen: note: edge/main.go:3: bpf_bpfel.o: is left of bpf2go, and nothing reads it any more: delete it\n"
	if _, errs, status := bpfgen("generate", "-strip", "llvm-strip", "bpf", "x.c"); status != 0 || errs != want {
		t.Errorf("status %d, stderr %q, want %q", status, errs, want)
	}
}

// Generated files compile side by side, exported or not.
func TestGenerateBuilds(t *testing.T) {
	needsClang(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Skip("needs the module's source files")
	}
	dir, err := os.MkdirTemp(filepath.Join(root, "tool/bpfgen"), "testdata-")
	if err != nil {
		t.Skipf("needs to write in the module: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Chdir(dir)
	write(t, "bpf/x.c", counterC)
	write(t, "main.go", `package main

func main() {
	b, _ := openBpf()
	b.Data.Mode = bpfModeOn
	c, _ := OpenCounter()
	c.Bss.Last = CounterEvent{Pid: 1}
	var _ *CounterSkeleton = c
}
`)
	for _, args := range [][]string{{"bpf", "bpf/x.c"}, {"Counter", "bpf/x.c"}} {
		if _, errs, status := bpfgen(append([]string{"generate"}, args...)...); status != 0 || errs != "" {
			t.Fatalf("%q: status %d, stderr %q", args, status, errs)
		}
	}
	if out, err := exec.Command("go", "build", "-o", os.DevNull, ".").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, bytes.TrimSpace(out))
	}
}

func TestGenerateVariants(t *testing.T) {
	needsClang(t)
	t.Chdir(t.TempDir())
	write(t, "all.h", "")
	write(t, "new.h", "")
	write(t, "probe.c", `#include "all.h"
#ifdef NEW
#include "new.h"
#endif
unsigned long long total;
#if NEW == 2
int newest;
#endif
static int unread __attribute__((section("mine"), used)) = 1;
__attribute__((section("xdp"), used)) int p(void *ctx) { return total++; }
__attribute__((section("license"), used)) char LICENSE[] = "GPL";
`)
	_, errs, status := bpfgen("generate", "-go-package", "main", "-makebase", ".", "-variant", "old", "-variant", "new=-DNEW=1", "-variant", "newest=-DNEW=2", "Probe", "probe.c")
	if status != 0 || strings.Count(errs, "unread") != 1 {
		t.Fatalf("status %d, stderr %q", status, errs)
	}
	if got := files(t); got != "all.h new.h probe.c probe_bpfeb.go probe_bpfeb.go.d probe_bpfel.go probe_bpfel.go.d" {
		t.Fatalf("files are %s", got)
	}
	src := read(t, "probe_bpfel.go")
	for _, want := range []string{
		"// Code generated by bpfgen generate from probe.c. DO NOT EDIT.", "func OpenProbe(v ProbeVariant) (*ProbeSkeleton, error) {",
		"ProbeOld    ProbeVariant = iota // old", "Newest *int32  // newest, in newest only", "Total  *uint64 // total",
	} {
		if !strings.Contains(src, want) {
			t.Errorf("%q is not in\n%s", want, src)
		}
	}
	// It is made from what any variant has read.
	if got := read(t, "probe_bpfel.go.d"); !strings.Contains(got, "all.h") || !strings.Contains(got, "new.h") {
		t.Errorf("made from\n%s", got)
	}

	_, errs, status = bpfgen("generate", "-go-package", "main", "-variant", "a=-DNEW", "-variant", "b=-DNEW '-DX", "Probe", "probe.c")
	if want := "bpfgen: -variant b=-DNEW '-DX: "; status == 0 || !strings.HasPrefix(errs, want) {
		t.Errorf("status %d, stderr %q", status, errs)
	}
	_, errs, status = bpfgen("generate", "-go-package", "main", "-variant", "a", "-variant", "b=-include missing.h", "Probe", "probe.c")
	if want := "probe.c: variant b: clang does not compile it for bpfel: "; status == 0 || !strings.Contains(errs, want) {
		t.Errorf("status %d, stderr %q", status, errs)
	}
}

func TestGenerateLibrary(t *testing.T) {
	needsClang(t)
	t.Chdir(t.TempDir())
	write(t, "limit.c", "int limit = 3;\nint allowed(int n) { return n < limit; }\n")
	write(t, "edge.c", "extern int allowed(int n);\n__attribute__((section(\"xdp\"), used)) int p(void *ctx) { return allowed(1); }\n__attribute__((section(\"license\"), used)) char LICENSE[] = \"GPL\";\n")
	for _, args := range [][]string{
		{"-library", "-go-package", "limit", "limit", "limit.c"},
		{"-no-prefix", "-go-package", "edge", "-subskeleton", "limit=example.com/limit", "-target", "amd64,s390x", "edge", "edge.c", "limit.c"},
	} {
		if _, errs, status := bpfgen(append([]string{"generate"}, args...)...); status != 0 || errs != "" {
			t.Fatalf("%q: status %d, stderr %q", args, status, errs)
		}
	}
	if got := files(t); got != "edge.c edge_s390_bpfeb.go edge_x86_bpfel.go limit.c limit_bpfeb.go limit_bpfel.go" {
		t.Fatalf("files are %s", got)
	}
	for name, want := range map[string]string{
		"limit_bpfel.go":    "func Open(obj skeleton.Any) (*Subskeleton, error) {",
		"edge_x86_bpfel.go": "limit.Open(obj)",
	} {
		if !strings.Contains(read(t, name), want) {
			t.Errorf("%s has no %q", name, want)
		}
	}
}
