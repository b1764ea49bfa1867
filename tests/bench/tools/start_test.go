package tools_test

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startSource is the object of the programs that BenchmarkStart starts.
const startSource = `#define SEC(name) __attribute__((section(name), used))
struct { int (*type)[27]; int (*max_entries)[4096]; } events SEC(".maps");
unsigned long long execs;
SEC("tp/sched/sched_process_exec") int handle_exec(void *ctx) { execs++; return (long)&events; }
char LICENSE[] SEC("license") = "GPL";
`

// The programs load the object when they have an argument, and so link all that is needed
// for it.
const (
	startOurs = `package main

import (
	"os"

	"%s/object"
)

func main() {
	if len(os.Args) < 2 {
		return
	}
	skel, err := object.Open()
	if err != nil {
		panic(err)
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		panic(err)
	}
	if err := skel.Attach(); err != nil {
		panic(err)
	}
	println(skel.Bss.Execs)
}
`
	startTheirs = `package main

import (
	"bytes"
	_ "embed"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

//go:embed object.bpf.o
var object []byte

func main() {
	if len(os.Args) < 2 {
		return
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		panic(err)
	}
	var objects struct {
		HandleExec *ebpf.Program  ` + "`ebpf:\"handle_exec\"`" + `
		Events     *ebpf.Map      ` + "`ebpf:\"events\"`" + `
		Execs      *ebpf.Variable ` + "`ebpf:\"execs\"`" + `
	}
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		panic(err)
	}
	l, err := link.Tracepoint("sched", "sched_process_exec", objects.HandleExec, nil)
	if err != nil {
		panic(err)
	}
	defer l.Close()
	var n uint64
	if err := objects.Execs.Get(&n); err != nil {
		panic(err)
	}
	println(n)
}
`
)

// startsPerTurn is how often a program runs in a turn, of which the median counts.
const startsPerTurn = 20

// BenchmarkStart is what a program with a skeleton costs before it opens one, against one that
// has the same object as a file for cilium/ebpf: whole processes that end at once, by turns and on
// one CPU.
//
//	go test -run '^$' -bench '^BenchmarkStart$' -benchtime 31x tests/bench/tools/*_test.go
//
// It prints the medians of all turns and their ratio, and that of the minima. It fails when a
// program is linked dynamically that would not be without a skeleton, when it needs a package
// that makes it so or that works at its start, and when packages of this module allocate more
// than mostInit before main.
//
// On a machine of two CPUs, with Go 1.26, the ratio is 1.06 of the minima (1.20 ms and 1.13 ms),
// and 1.02 to 1.11 of the medians, as the machine is more or less busy. Before, with packages net
// and regexp and a dynamic linker, it was 1.7.
func BenchmarkStart(b *testing.B) {
	if os.Getenv("BPFGEN") != "" {
		b.Skip("needs the go command, and the module as it has it: go test -run '^$' -bench '^BenchmarkStart$' tests/bench/tools/*_test.go")
	}
	gen, object := bpfgen(b), compile(b, startSource)
	// In the module, whose go.mod says what there is.
	dir, err := os.MkdirTemp(filepath.Join(root, "tool/bpfgen"), "testdata-")
	if err != nil {
		b.Skipf("needs to write in the module: %v", err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	module := "github.com/rules-bpf/rules_bpf/tool/bpfgen/" + filepath.Base(dir)
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			b.Fatal(err)
		}
	}
	elfFile, err := os.ReadFile(object)
	if err != nil {
		b.Fatal(err)
	}
	write("ours/main.go", fmt.Sprintf(startOurs, module))
	write("theirs/main.go", startTheirs)
	write("theirs/object.bpf.o", string(elfFile))
	write("object/object.go", "")
	if out, err := exec.Command(gen, "skeleton", "-package", "object", "-o", filepath.Join(dir, "object/object.go"), object).CombinedOutput(); err != nil {
		b.Fatalf("bpfgen: %v: %s", err, out)
	}
	goCommand := func(args ...string) string {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			b.Fatalf("go %s: %v: %s", strings.Join(args, " "), err, errs.String())
		}
		return string(out)
	}
	bin := b.TempDir()
	goCommand("build", "-o", bin, "./ours", "./theirs")
	ours, theirs := filepath.Join(bin, "ours"), filepath.Join(bin, "theirs")
	if isDynamic(b, ours) && !isDynamic(b, theirs) {
		b.Error("the program with a skeleton is linked dynamically")
	}
	for dep := range strings.FieldsSeq(goCommand("list", "-deps", "./ours")) {
		if slices.Contains([]string{"net", "net/http", "os/user", "runtime/cgo", "regexp", "text/template", "encoding/json"}, dep) {
			b.Errorf("the program with a skeleton needs package %s", dep)
		}
	}
	if n := initBytes(b, ours); n > mostInit {
		b.Errorf("packages of this module allocate %d bytes before main, and %d are allowed: GODEBUG=inittrace=1 says which", n, mostInit)
	}

	// Children have the thread's CPU.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		b.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if before.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		b.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &before)
	times := make([][]time.Duration, 2)
	least := make([]time.Duration, 2)
	for b.Loop() {
		turns := make([][]time.Duration, 2)
		for range startsPerTurn {
			for i, program := range []string{ours, theirs} {
				start := time.Now()
				if err := exec.Command(program).Run(); err != nil {
					b.Fatal(err)
				}
				turns[i] = append(turns[i], time.Since(start))
			}
		}
		for i, turn := range turns {
			slices.Sort(turn)
			times[i] = append(times[i], turn[len(turn)/2])
			if least[i] == 0 || turn[0] < least[i] {
				least[i] = turn[0]
			}
		}
	}
	for i := range times {
		slices.Sort(times[i])
		b.Logf("%-12s median %v, min %v", []string{"skeleton", "cilium/ebpf"}[i], times[i][len(times[i])/2], least[i])
	}
	b.ReportMetric(float64(times[0][len(times[0])/2])/float64(times[1][len(times[1])/2]), "median-ratio")
	b.ReportMetric(float64(least[0])/float64(least[1]), "min-ratio")
	b.ReportMetric(0, "ns/op")
}

// mostInit is how many bytes packages of this module may allocate before main: errors and
// small tables.
const mostInit = 10_000

// initBytes returns how many bytes packages of this module allocate before main.
func initBytes(b *testing.B, program string) int {
	b.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatal(err)
	}
	total := 0
	for _, m := range regexp.MustCompile(`(?m)^init github\.com/rules-bpf/\S+ .* (\d+) bytes`).FindAllSubmatch(out, -1) {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			b.Fatal(err)
		}
		total += n
	}
	if total == 0 {
		b.Fatalf("nothing is known of what happens before main:\n%s", out)
	}
	return total
}

// isDynamic reports whether a program needs a dynamic linker.
func isDynamic(b *testing.B, program string) bool {
	b.Helper()
	f, err := elf.Open(program)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}
