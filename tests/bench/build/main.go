// Build measures what many small skeletons cost a build: Bazel with bpf_skeleton, against a
// makefile of clang, bpftool and gcc that makes a C skeleton of each, and a C file that uses
// it. Both compile the same C for BPF, with the same clang: the makefile runs by bazel run,
// where Bazel's actions do.
//
//	go run tests/bench/build/main.go -bazel ./bazelw
//
// It works in a module of its own in a temporary directory. Each run makes targets that no
// run before had, by turns with the makefile: loading, analysis and all actions are in what is
// measured; a server is running, and what the targets share (bpfgen, the Go library, the
// runtime) is built before. There is no disk cache.
//
// The table has CPU time, user and system, as medians and minima of all runs:
//
//   - of the makefile, with all processes that it starts
//   - of Bazel, the same, and the parts of it: the server's own, each mnemonic's, and what the
//     sandbox around them takes
//   - of the rules: what is left without Bazel's server, its sandbox and rules_go's GoCompilePkg
//
// and the time that passed. On a busy machine of two CPUs, with Bazel 7.7, Go 1.26 and clang 21,
// three runs, medians and in parentheses minima, in seconds and as often as the makefile's:
//
//	                      before                           now
//	Bazel, CPU time       81.8 (77.8)   5.0 (4.9)   43.7 (38.9)   2.4 (2.5)
//	  server              13.4 (11.1)   0.8 (0.7)   12.5  (9.5)   0.7 (0.6)
//	  sandbox              4.4  (4.3)   0.3 (0.3)    3.3  (3.3)   0.2 (0.2)
//	  GoCompilePkg        53.1 (51.8)   3.3 (3.3)   15.1 (14.5)   0.8 (0.9)
//	  the rules           10.9 (10.5)   0.7 (0.7)   10.9 (10.4)   0.6 (0.7)
//	Bazel, time passed     190  (162)   4.9 (4.2)     96   (85)   2.2 (2.0)
//
// Before, BpfLink was an action of its own, and a generated package compiled to 600 functions, most
// of which were the runtime's: see BenchmarkCompile in tests/bench/tools.
//
// The last profile and the events of Bazel stay in the directory
// that -out names.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	bazel := flag.String("bazel", "bazel", "`command` that is Bazel")
	rules := flag.String("rules", ".", "`directory` of the rules_bpf to measure")
	targets := flag.Int("n", 200, "`number` of skeletons")
	runs := flag.Int("runs", 5, "`number` of runs")
	out := flag.String("out", "", "`directory` for the last run's profile and events")
	flags := flag.String("flags", "", "`flags` for bazel build, with spaces between them")
	flag.Parse()
	dir, err := os.MkdirTemp("", "bench-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := exec.LookPath(*bazel)
	if err != nil {
		return err
	}
	w := &workspace{dir: dir, targets: *targets, flags: strings.Fields(*flags), out: *out}
	if w.bazel, err = filepath.Abs(path); err != nil {
		return err
	}
	if w.out == "" {
		w.out = dir
	} else if w.out, err = filepath.Abs(w.out); err != nil {
		return err
	}
	root, err := filepath.Abs(*rules)
	if err != nil {
		return err
	}
	if err := w.make(root); err != nil {
		return err
	}
	// Its outputs are as large as those of any repository.
	defer w.command("clean", "--expunge")
	var all table
	for i := range *runs {
		name := fmt.Sprintf("run%d", i)
		if err := w.writeTargets(name, *targets); err != nil {
			return err
		}
		make, err := w.runMake(name)
		if err != nil {
			return err
		}
		built, err := w.build(name)
		if err != nil {
			return err
		}
		all.add(make, built)
		fmt.Fprintf(os.Stderr, "build: run %d of %d: make %.2f s of CPU time, Bazel %.2f s\n", i+1, *runs, make.cpu.Seconds(), built.cpu.Seconds())
	}
	all.print(os.Stdout, *targets)
	return nil
}

// workspace is the module that uses the rules.
type workspace struct {
	dir, bazel string
	targets    int
	flags      []string
	out        string
	// server is the process of Bazel's server.
	server int
}

const moduleFile = `module(name = "bench")

bazel_dep(name = "rules_bpf")
local_path_override(module_name = "rules_bpf", path = %q)

bazel_dep(name = "rules_go", version = "0.63.0")

go_sdk = use_extension("@rules_go//go:extensions.bzl", "go_sdk")
go_sdk.host()
`

const rootBuild = `load("@rules_go//go:def.bzl", "go_binary")

go_binary(name = "measure", srcs = ["measure.go"], pure = "on")
`

// measureSource runs a command where Bazel's actions run, and says what it cost.
const measureSource = `package main

import (
	"fmt"
	"os"
	"os/exec"
	"time"
)

func main() {
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	text := fmt.Sprintf("%d %d", cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), wall)
	if err := os.WriteFile(os.Args[1], []byte(text), 0o666); err != nil {
		panic(err)
	}
}
`

// programSource is a program with a map, a variable and a constant of its own.
const programSource = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

const volatile __u32 limit = %d;
__u64 total;

SEC("tp/sched/sched_process_exec")
int handle_exec(void *ctx)
{
	__u32 key = total %% limit;
	__u64 one = 1, *count = bpf_map_lookup_elem(&counts, &key);

	if (count)
		*count += 1;
	else
		bpf_map_update_elem(&counts, &key, &one, BPF_ANY);
	total++;
	return 0;
}
`

const userSource = `#include "%[1]s.skel.h"

int run_%[1]s(void)
{
	struct %[1]s *skel = %[1]s__open();

	if (!skel)
		return -1;
	skel->bss->total = 0;
	%[1]s__destroy(skel);
	return 0;
}
`

const makefile = `NAMES := $(patsubst %%.bpf.c,%%,$(wildcard *.bpf.c))

all: $(NAMES:%%=made/%%.o)

made/%%.tmp.o: %%.bpf.c
	clang -g -O2 -mcpu=v3 -Wall -target bpf %s -c $< -o $@

made/%%.bpf.o: made/%%.tmp.o
	bpftool gen object $@ $<

made/%%.skel.h: made/%%.bpf.o
	bpftool gen skeleton $< name $* > $@

made/%%.o: %%.c made/%%.skel.h
	gcc -g -O2 -Wall -Imade -c $< -o $@

.SECONDARY:
`

func (w *workspace) write(name, text string) error {
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o666)
}

// make makes the module, and builds what targets share.
func (w *workspace) make(rules string) error {
	for name, text := range map[string]string{
		"MODULE.bazel": fmt.Sprintf(moduleFile, rules),
		"BUILD.bazel":  rootBuild,
		"measure.go":   measureSource,
	} {
		if err := w.write(name, text); err != nil {
			return err
		}
	}
	if err := w.writeTargets("shared", 1); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "build: building what targets share")
	if _, err := w.command("build", "//:measure", "//shared/..."); err != nil {
		return err
	}
	pid, err := w.command("info", "server_pid")
	if err != nil {
		return err
	}
	w.server, err = strconv.Atoi(strings.TrimSpace(pid))
	return err
}

// writeTargets writes a package of skeletons, and the makefile for it.
func (w *workspace) writeTargets(pkg string, targets int) error {
	build := strings.Builder{}
	build.WriteString("load(\"@rules_bpf//rules:defs.bzl\", \"bpf_skeleton\")\n")
	for i := range targets {
		name := fmt.Sprintf("p%03d", i)
		fmt.Fprintf(&build, "\nbpf_skeleton(\n    name = %[2]q,\n    src = \"%[2]s.bpf.c\",\n    importpath = \"example.com/bench/%[1]s/%[2]s\",\n)\n", pkg, name)
		if err := errors.Join(
			w.write(filepath.Join(pkg, name+".bpf.c"), fmt.Sprintf(programSource, i+1)),
			w.write(filepath.Join(pkg, name+".c"), fmt.Sprintf(userSource, name)),
		); err != nil {
			return err
		}
	}
	// Where Debian has asm/.
	includes := "$(foreach d,$(wildcard /usr/include/x86_64-linux-gnu /usr/include/aarch64-linux-gnu),-idirafter $d)"
	return errors.Join(
		w.write(filepath.Join(pkg, "BUILD.bazel"), build.String()),
		w.write(filepath.Join(pkg, "Makefile"), fmt.Sprintf(makefile, includes)),
		os.Mkdir(filepath.Join(w.dir, pkg, "made"), 0o777),
	)
}

// command runs Bazel, and returns what it writes to standard output.
func (w *workspace) command(args ...string) (string, error) {
	cmd := exec.Command(w.bazel, args...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stderr = w.dir, &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("bazel %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

// cost is what something took.
type cost struct {
	cpu, wall time.Duration
	// parts are those of cpu by name.
	parts map[string]time.Duration
	// actions are numbers of actions by mnemonic.
	actions map[string]int
}

func (w *workspace) runMake(pkg string) (cost, error) {
	result := filepath.Join(w.dir, "cost")
	dir := filepath.Join(w.dir, pkg)
	if _, err := w.command("run", "//:measure", "--", result, "make", "--silent", "-j"+strconv.Itoa(runtime.NumCPU()), "-C", dir); err != nil {
		return cost{}, err
	}
	text, err := os.ReadFile(result)
	if err != nil {
		return cost{}, err
	}
	var c cost
	_, err = fmt.Sscan(string(text), (*int64)(&c.cpu), (*int64)(&c.wall))
	return c, err
}

func (w *workspace) build(pkg string) (cost, error) {
	events := filepath.Join(w.out, "events.json")
	own, children, err := cpuTime(w.server)
	if err != nil {
		return cost{}, err
	}
	args := []string{
		"build", "--disk_cache=", "--jobs=" + strconv.Itoa(runtime.NumCPU()), "--noslim_profile", "--experimental_profile_include_target_label",
		"--profile=" + filepath.Join(w.out, "profile.gz"), "--build_event_json_file=" + events,
	}
	args = append(append(args, w.flags...), "//"+pkg+"/...")
	start := time.Now()
	if _, err := w.command(args...); err != nil {
		return cost{}, err
	}
	c := cost{wall: time.Since(start), parts: map[string]time.Duration{}, actions: map[string]int{}}
	ownAfter, childrenAfter, err := cpuTime(w.server)
	if err != nil {
		return cost{}, err
	}
	own, children = ownAfter-own, childrenAfter-children
	c.cpu = own + children
	c.parts[partServer] = own
	c.parts[partSandbox] = children
	actions, err := readActions(events)
	if err != nil {
		return cost{}, err
	}
	for _, a := range actions {
		used := a.SystemTime.duration() + a.UserTime.duration()
		if used == 0 {
			continue
		}
		c.parts[a.Mnemonic] = used
		c.actions[a.Mnemonic], err = strconv.Atoi(a.ActionsExecuted)
		if err != nil {
			return cost{}, err
		}
		c.parts[partSandbox] -= used
	}
	c.parts[partRules] = c.cpu - c.parts[partServer] - c.parts[partSandbox] - c.parts["GoCompilePkg"]
	return c, nil
}

// The names of parts that are no mnemonics.
const (
	partServer  = "Bazel's server"
	partSandbox = "Bazel's sandbox"
	partRules   = "the rules"
)

// action is what Bazel says of all actions of a mnemonic.
type action struct {
	Mnemonic        string
	ActionsExecuted string
	SystemTime      protoDuration
	UserTime        protoDuration
}

// protoDuration is a duration as JSON has those of protocol buffers, "1.5s".
type protoDuration string

func (d protoDuration) duration() time.Duration {
	parsed, _ := time.ParseDuration(string(d))
	return parsed
}

// readActions reads what a file of build events says of actions.
func readActions(file string) ([]action, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(text) {
		var event struct {
			BuildMetrics struct {
				ActionSummary struct{ ActionData []action }
			}
		}
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if data := event.BuildMetrics.ActionSummary.ActionData; data != nil {
			return data, nil
		}
	}
	return nil, fmt.Errorf("%s: has no metrics of actions", file)
}

// ticks is how many clock ticks /proc has in a second, on all CPUs that Go runs on.
const ticks = 100

// cpuTime returns the CPU time of a process, and of those that it started and that ended.
func cpuTime(pid int) (own, children time.Duration, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The second field is a name, which may have spaces, in parentheses.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var times [4]time.Duration
	for i := range times {
		n, err := strconv.Atoi(fields[11+i])
		if err != nil {
			return 0, 0, err
		}
		times[i] = time.Duration(n) * time.Second / ticks
	}
	return times[0] + times[1], times[2] + times[3], nil
}

// table is what all runs cost.
type table struct {
	make, built []cost
}

func (t *table) add(make, built cost) {
	t.make, t.built = append(t.make, make), append(t.built, built)
}

func (t *table) print(w *os.File, targets int) {
	fmt.Fprintf(w, "%d skeletons, %d runs: seconds, medians (minima); and how often the makefile's\n", targets, len(t.make))
	wallOfMake, cpuOfMake := column(t.make, wall), column(t.make, cpu)
	row := func(name string, values, against []float64) {
		fmt.Fprintf(w, "  %-28s %7.2f (%.2f)   %5.2f (%.2f)\n", name, median(values), slices.Min(values),
			median(values)/median(against), slices.Min(values)/slices.Min(against))
	}
	row("makefile, CPU time", cpuOfMake, cpuOfMake)
	row("Bazel, CPU time", column(t.built, cpu), cpuOfMake)
	for _, name := range t.parts() {
		label := name
		if n := t.built[0].actions[name]; n > 0 {
			label = fmt.Sprintf("%s, %d actions", name, n)
		}
		row("  "+label, column(t.built, func(c cost) time.Duration { return c.parts[name] }), cpuOfMake)
	}
	row("makefile, time passed", wallOfMake, wallOfMake)
	row("Bazel, time passed", column(t.built, wall), wallOfMake)
}

// parts returns the names of the parts, the rules' as a whole last.
func (t *table) parts() []string {
	names := slices.Sorted(maps.Keys(t.built[0].parts))
	return append(slices.DeleteFunc(names, func(name string) bool { return name == partRules }), partRules)
}

func cpu(c cost) time.Duration  { return c.cpu }
func wall(c cost) time.Duration { return c.wall }

func column(costs []cost, of func(cost) time.Duration) []float64 {
	var values []float64
	for _, c := range costs {
		values = append(values, of(c).Seconds())
	}
	return values
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
