// Package tools_test measures the build's tool against the one that it is there
// instead of. A measurement is of whole processes, from start to exit, as a build
// pays for them.
//
//	./bazelw run -c opt //tests/bench/tools:tools_test -- -test.bench=. -test.benchtime=50x
//	go test -bench . -benchtime 50x tests/bench/tools/*_test.go
package tools_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/internal/bpftool"
)

// The object that BenchmarkSkeleton is about.
const (
	variables = 1050
	programs  = 200
	maps      = 60
)

// largeSource returns C with as many variables, programs and maps. It includes
// nothing, so that clang is all that compiling it needs.
func largeSource() string {
	var b strings.Builder
	b.WriteString(`#define SEC(name) __attribute__((section(name), used))
typedef unsigned int u32;
typedef unsigned long long u64;
static void *(*const lookup)(void *map, const void *key) = (void *)1;
enum mode { MODE_OFF, MODE_ON };
char LICENSE[] SEC("license") = "GPL";
`)
	types := []string{"u64 %s", "u32 %s", "char %s[16]", "enum mode %s", "u64 %s[8]"}
	for i := range 20 {
		fmt.Fprintf(&b, "struct stats_%d { u64 packets; u64 bytes; char name[16]; enum mode mode; };\n", i)
		types = append(types, fmt.Sprintf("struct stats_%d %%s", i))
	}
	// One third is in each of .bss, .data and .rodata.
	for i := range variables {
		variable := fmt.Sprintf(types[i%len(types)], fmt.Sprintf("variable_number_%d", i))
		if i%3 == 2 {
			variable = "const volatile " + variable
		}
		if i%3 > 0 {
			value := " = 1"
			if strings.Contains(variable, "struct") || strings.Contains(variable, "[") {
				value = " = {1}"
			}
			variable += value
		}
		b.WriteString(variable + ";\n")
	}
	for i := range maps {
		fmt.Fprintf(&b, "struct { int (*type)[1]; int (*max_entries)[1024]; u32 *key; struct stats_%d *value; } map_number_%d SEC(\".maps\");\n", i%20, i)
	}
	for i := range programs {
		fmt.Fprintf(&b, "SEC(\"kprobe/function_%d\") int program_number_%[1]d(void *ctx)\n{\n\tu32 key = %[1]d;\n", i)
		for j := range 10 {
			if n := (i*10 + j) % variables; n%3 < 2 {
				fmt.Fprintf(&b, "\t*(volatile char *)&variable_number_%d += 1;\n", n)
			}
		}
		fmt.Fprintf(&b, "\treturn lookup(&map_number_%d, &key) != 0;\n}\n", i%maps)
	}
	return b.String()
}

// libraries is how many the object of BenchmarkLink needs.
const libraries = 10

// callsSource returns C that calls a function of each library.
func callsSource() string {
	var b strings.Builder
	b.WriteString("#define SEC(name) __attribute__((section(name), used))\ntypedef unsigned int u32;\n")
	for i := range libraries {
		fmt.Fprintf(&b, "extern u32 library_%d_function_0(u32 arg);\nextern u32 library_%[1]d_variable_0;\n", i)
	}
	b.WriteString("SEC(\"kprobe/calls\") int calls(void *ctx)\n{\n\tu32 sum = 0;\n")
	for i := range libraries {
		fmt.Fprintf(&b, "\tsum += library_%d_function_0(sum) + library_%[1]d_variable_0;\n", i)
	}
	b.WriteString("\treturn sum;\n}\n")
	return b.String()
}

// librarySource returns C of a library, with programs, maps and a type of its own.
func librarySource(library int) string {
	var b strings.Builder
	b.WriteString(`#define SEC(name) __attribute__((section(name), used))
typedef unsigned int u32;
typedef unsigned long long u64;
static void *(*const lookup)(void *map, const void *key) = (void *)1;
struct shared { u64 packets; u64 bytes; char name[16]; };
`)
	p := func(format string, args ...any) {
		fmt.Fprintf(&b, strings.ReplaceAll(format, "LIB", fmt.Sprintf("library_%d", library)), args...)
	}
	p("struct LIB_stats { struct shared shared; u32 more; };\n")
	for i := range 30 {
		p("u32 LIB_variable_%d = %d;\nstruct LIB_stats LIB_stats_%[1]d;\n", i, i%2)
	}
	for i := range 4 {
		p("struct { int (*type)[1]; int (*max_entries)[64]; u32 *key; struct LIB_stats *value; } LIB_map_%d SEC(\".maps\");\n", i)
	}
	for i := range 10 {
		p("__attribute__((noinline)) u32 LIB_function_%d(u32 arg)\n{\n\tLIB_stats_%[1]d.shared.packets += arg;\n\treturn LIB_variable_%[1]d + arg;\n}\n", i)
		p("SEC(\"kprobe/LIB_%d\") int LIB_program_%[1]d(void *ctx)\n{\n\tu32 key = LIB_function_%[1]d(1);\n\treturn lookup(&LIB_map_%d, &key) != 0;\n}\n", i, i%4)
	}
	return b.String()
}

// root is the directory of the module, where a test runs that Bazel does not run.
const root = "../../.."

// bpfgen returns the path of the tool: Bazel's, or one that is built for the test.
func bpfgen(b *testing.B) string {
	b.Helper()
	if name := os.Getenv("BPFGEN"); name != "" {
		// By hand: go test compiles this in the module of users, which does not have rules_go's
		// package for it.
		return filepath.Join(cmp.Or(os.Getenv("RUNFILES_DIR"), os.Getenv("TEST_SRCDIR")), name)
	}
	path := filepath.Join(b.TempDir(), "bpfgen")
	build := exec.Command("go", "build", "-o", path, "./tool/bpfgen")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("go build: %v: %s", err, out)
	}
	return path
}

// compile compiles C for BPF and returns the object's path.
func compile(b *testing.B, source string) string {
	b.Helper()
	clang, err := exec.LookPath("clang")
	if err != nil {
		b.Skip("needs clang on PATH")
	}
	file := filepath.Join(b.TempDir(), "large.bpf.c")
	if err := os.WriteFile(file, []byte(source), 0o666); err != nil {
		b.Fatal(err)
	}
	object := strings.TrimSuffix(file, ".c") + ".o"
	cmd := exec.Command(clang, "-g", "-O2", "-mcpu=v3", "-target", "bpfel", "-c", file, "-o", object)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return object
}

// tool is one of those that do the same work.
type tool struct {
	name string
	// command returns a command that writes the file out, or its stdout to it.
	command func(out string) (cmd *exec.Cmd, stdout bool)
}

// run runs a tool once and returns how long it took, and how much CPU time.
func (t tool) run(b *testing.B, directory string) (took, cpu time.Duration) {
	name := filepath.Join(directory, t.name)
	cmd, stdout := t.command(name)
	if stdout {
		out, err := os.Create(name)
		if err != nil {
			b.Fatal(err)
		}
		defer out.Close()
		cmd.Stdout = out
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	start := time.Now()
	err := cmd.Run()
	took = time.Since(start)
	if err != nil {
		b.Fatalf("%s: %v: %s", t.name, err, errs.String())
	}
	if info, err := os.Stat(name); err != nil || info.Size() == 0 {
		b.Fatalf("%s has written nothing: %v", t.name, err)
	}
	return took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// compare runs the tools by turns, so that what else the machine does hits both,
// and reports the median of each, of the time that passes and of the CPU's, and the ratios
// of the first to the last.
func compare(b *testing.B, tools ...tool) {
	directory := b.TempDir()
	times, cpu := make([][]time.Duration, len(tools)), make([][]time.Duration, len(tools))
	for b.Loop() {
		for i, t := range tools {
			took, used := t.run(b, directory)
			times[i], cpu[i] = append(times[i], took), append(cpu[i], used)
		}
	}
	for _, m := range []struct {
		unit string
		of   [][]time.Duration
	}{{"ms", times}, {"cpu-ms", cpu}} {
		medians := make([]float64, len(tools))
		for i, t := range tools {
			slices.Sort(m.of[i])
			medians[i] = m.of[i][len(m.of[i])/2].Seconds() * 1000
			b.ReportMetric(medians[i], t.name+"-"+m.unit)
		}
		b.ReportMetric(medians[0]/medians[len(medians)-1], tools[0].name+"/"+tools[len(tools)-1].name+"-"+m.unit)
	}
	// The time of both together says nothing.
	b.ReportMetric(0, "ns/op")
}

// BenchmarkSkeleton makes a skeleton of a large object: bpfgen's in Go, bpftool's
// in C.
func BenchmarkSkeleton(b *testing.B) {
	command, version := bpftool.Command(b)
	b.Logf("%s; %d variables, %d programs, %d maps", version, variables, programs, maps)
	object, gen := compile(b, largeSource()), bpfgen(b)
	compare(b,
		tool{"bpfgen", func(out string) (*exec.Cmd, bool) {
			return exec.Command(gen, "skeleton", "-package", "large", "-o", out, object), false
		}},
		tool{"bpftool", func(string) (*exec.Cmd, bool) {
			return command("gen", "skeleton", object, "name", "large"), true
		}},
	)
}

// BenchmarkLink links a large object with ten libraries.
func BenchmarkLink(b *testing.B) {
	command, version := bpftool.Command(b)
	b.Logf("%s; %d variables, %d programs, %d maps, %d libraries", version, variables, programs, maps, libraries)
	objects := []string{compile(b, largeSource()), compile(b, callsSource())}
	for i := range libraries {
		objects = append(objects, compile(b, librarySource(i)))
	}
	gen := bpfgen(b)
	compare(b,
		tool{"bpfgen", func(out string) (*exec.Cmd, bool) {
			return exec.Command(gen, append([]string{"link", "-o", out}, objects...)...), false
		}},
		tool{"bpftool", func(out string) (*exec.Cmd, bool) {
			return command(append([]string{"gen", "object", out}, objects...)...), false
		}},
	)
}

// kernel has the types of the running kernel.
const kernel = "/sys/kernel/btf/vmlinux"

// kernelObjects compiles a program and a library that include the header of all types of
// the running kernel, as programs do that are for CO-RE.
func kernelObjects(b *testing.B, command func(args ...string) *exec.Cmd) (program, library string) {
	b.Helper()
	if _, err := os.Stat(kernel); err != nil {
		b.Skipf("needs the BTF of the kernel (5.4): %v", err)
	}
	header := filepath.Join(b.TempDir(), "vmlinux.h")
	text, err := command("btf", "dump", "file", kernel, "format", "c").Output()
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(header, text, 0o666); err != nil {
		b.Fatal(err)
	}
	common := fmt.Sprintf("#include %q\n#define SEC(name) __attribute__((section(name), used))\nint library(struct task_struct *task);\n", header)
	program = compile(b, common+`char LICENSE[] SEC("license") = "GPL";
struct { int (*type)[27]; int (*max_entries)[4096]; } events SEC(".maps");
SEC("raw_tp/sched_switch") int prog(struct task_struct *task)
{
	return task->tgid + task->mm->map_count + task->real_parent->pid + task->nsproxy->uts_ns->ns.inum + (events.type != 0) + library(task);
}
`)
	library = compile(b, common+`int calls;
struct { int (*type)[1]; int (*max_entries)[64]; unsigned int *key; struct bpf_iter_num *value; } counts SEC(".maps");
__attribute__((noinline)) int library(struct task_struct *task)
{
	calls++;
	return task->signal->nr_threads + task->prio + (counts.type != 0);
}
`)
	return program, library
}

// BenchmarkLinkKernelTypes links objects whose types are mostly a kernel's.
//
// In CPU time, on a machine of two, with Go 1.26, bpftool 7.1 and Linux 6.18: 2.7 times what
// bpftool takes when all names were compared as texts and the relocations of debug
// information were read, and 1.9 now, of which the start of a Go program is a third.
func BenchmarkLinkKernelTypes(b *testing.B) {
	command, version := bpftool.Command(b)
	b.Log(version)
	program, library := kernelObjects(b, command)
	gen := bpfgen(b)
	compare(b,
		tool{"bpfgen", func(out string) (*exec.Cmd, bool) {
			return exec.Command(gen, "link", "-o", out, program, library), false
		}},
		tool{"bpftool", func(out string) (*exec.Cmd, bool) { return command("gen", "object", out, program, library), false }},
	)
}

// BenchmarkSubskeleton makes a subskeleton of such a library.
func BenchmarkSubskeleton(b *testing.B) {
	command, version := bpftool.Command(b)
	b.Log(version)
	_, library := kernelObjects(b, command)
	linked, gen := filepath.Join(b.TempDir(), "linked.bpf.o"), bpfgen(b)
	if out, err := command("gen", "object", linked, library).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	compare(b,
		tool{"bpfgen", func(out string) (*exec.Cmd, bool) {
			return exec.Command(gen, "subskeleton", "-package", "library", "-o", out, library), false
		}},
		tool{"bpftool", func(string) (*exec.Cmd, bool) { return command("gen", "subskeleton", linked), true }},
	)
}

// BenchmarkVmlinux writes the header of all types of the running kernel: 0.97 of bpftool's
// CPU time.
func BenchmarkVmlinux(b *testing.B) {
	command, version := bpftool.Command(b)
	b.Log(version)
	if _, err := os.Stat(kernel); err != nil {
		b.Skipf("needs the BTF of the kernel (5.4): %v", err)
	}
	gen := bpfgen(b)
	compare(b,
		tool{"bpfgen", func(out string) (*exec.Cmd, bool) { return exec.Command(gen, "vmlinux", "-o", out, kernel), false }},
		tool{"bpftool", func(string) (*exec.Cmd, bool) { return command("btf", "dump", "file", kernel, "format", "c"), true }},
	)
}

// BenchmarkSomeTypes writes some of the types of the running kernel, which bpftool does for
// an object only: of those that the object asks for, and of one with a name. Of bpftool's
// CPU time it was 2.4 for names when all types were decoded, and is 0.7 now, and 0.4 for the
// object.
func BenchmarkSomeTypes(b *testing.B) {
	command, version := bpftool.Command(b)
	b.Log(version)
	program, library := kernelObjects(b, command)
	gen := bpfgen(b)
	object := filepath.Join(b.TempDir(), "linked.bpf.o")
	if out, err := exec.Command(gen, "link", "-o", object, program, library).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	theirs := tool{"bpftool", func(out string) (*exec.Cmd, bool) { return command("gen", "min_core_btf", kernel, out, object), false }}
	for name, args := range map[string][]string{
		"object": {"-btf", "-object", object}, "types": {"-types", "task_struct"}, "btf": {"-btf", "-types", "task_struct"},
	} {
		b.Run(name, func(b *testing.B) {
			compare(b, tool{"bpfgen", func(out string) (*exec.Cmd, bool) {
				return exec.Command(gen, slices.Concat([]string{"vmlinux", "-o", out}, args, []string{kernel})...), false
			}}, theirs)
		})
	}
}
