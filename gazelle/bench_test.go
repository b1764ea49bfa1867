package gazelle_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	benchPackages  = 5000
	benchLibraries = 100
)

// benchLibrary is a library's source: of its number, what includes the next library's
// header, and what calls it.
const benchLibrary = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "l%d.bpf.h"
%s
unsigned long long calls_%d;

int l%d(unsigned int key)
{
	__sync_fetch_and_add(&calls_%d, 1);
	return 0%s;
}
`

// benchProgram is a final object's source, with LIB for the number of the library that it
// links.
const benchProgram = `#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>
#include "lib/lLIB/lLIB.bpf.h"

struct event {
	__u64 time_ns;
	__u32 pid;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct event);
} events SEC(".maps");

const volatile __u32 only_pid;
__u64 seen;

static int wanted(__u32 pid)
{
	return !only_pid || pid == only_pid;
}

SEC("tp/sched/sched_process_exec")
int on_exec(void *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct event event = { .pid = pid };

	if (!wanted(pid) || lLIB(pid))
		return 0;
	event.time_ns = bpf_ktime_get_ns();
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	bpf_map_update_elem(&events, &pid, &event, BPF_ANY);
	__sync_fetch_and_add(&seen, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
`

// benchTree writes a repository of packages with one C file and one Go file each,
// and of libraries that each third of the packages links three of.
func benchTree(b *testing.B, importSkeletons bool) string {
	b.Helper()
	root := b.TempDir()
	write := func(name, content string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	write("MODULE.bazel", "module(name = \"bench\")\nbazel_dep(name = \"rules_bpf\")\nbazel_dep(name = \"rules_go\")\n")
	write("BUILD.bazel", "# gazelle:prefix example.com/bench\n")
	for i := range benchLibraries {
		write(fmt.Sprintf("lib/l%d/l%d.bpf.h", i, i), fmt.Sprintf("#pragma once\n\nint l%d(unsigned int key);\n", i))
		next, call := "", ""
		if i+1 < benchLibraries {
			next = fmt.Sprintf("#include \"lib/l%d/l%d.bpf.h\"\n", i+1, i+1)
			call = fmt.Sprintf(" + l%d(key)", i+1)
		}
		write(fmt.Sprintf("lib/l%d/l%d.bpf.c", i, i), fmt.Sprintf(benchLibrary, i, next, i, i, i, call))
	}
	for i := range benchPackages {
		dir := fmt.Sprintf("group%d/p%d", i%50, i)
		// The end of the chain of libraries, so that a program links a few of them.
		lib := benchLibraries - 1 - i%3
		write(dir+"/prog.bpf.c", strings.ReplaceAll(benchProgram, "LIB", fmt.Sprint(lib)))
		imported := ""
		if importSkeletons {
			imported = fmt.Sprintf("\n\t_ \"example.com/bench/%s/prog\"", dir)
		}
		write(dir+"/p.go", fmt.Sprintf(`package p%d

import (
	"fmt"
	"os"
%s
)

// Run does nothing.
func Run() { fmt.Fprintln(os.Stderr) }
`, i, imported))
	}
	return root
}

// A cost is what a run of Gazelle takes: time, and the processors' time, which
// other work on the machine changes less, and memory.
type cost struct {
	wall, cpu []float64 // milliseconds
	rss       []float64 // MiB, the most at one time
}

func (c *cost) run(b *testing.B, root string, bpf bool, args ...string) {
	b.Helper()
	if !bpf {
		b.Setenv(withoutBPF, "1")
		defer os.Unsetenv(withoutBPF)
	}
	begin := time.Now()
	out, state := start(b, root, args...)
	if state.ExitCode() != 0 || out != "" {
		b.Fatalf("exit status %d\n%s", state.ExitCode(), out[:min(len(out), 2000)])
	}
	c.wall = append(c.wall, time.Since(begin).Seconds()*1000)
	c.cpu = append(c.cpu, (state.UserTime()+state.SystemTime()).Seconds()*1000)
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		c.rss = append(c.rss, float64(usage.Maxrss)/1024)
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// BenchmarkRun compares Gazelle with and without the language, side by side, over
// all directories, and over one directory with -index=lazy.
func BenchmarkRun(b *testing.B) {
	with := benchTree(b, true)
	// Without the language, nothing has the import path of a skeleton.
	without := benchTree(b, false)
	var first cost
	first.run(b, with, true)
	// The same BUILD files in both.
	first.run(b, without, true)

	for _, c := range []struct {
		name string
		args []string
	}{
		{"all", nil},
		{"one directory", []string{"-index=lazy", "-r=false", "group7/p7"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var plain, bpf cost
			for b.Loop() {
				plain.run(b, without, false, c.args...)
				bpf.run(b, with, true, c.args...)
			}
			b.ReportMetric(median(plain.wall), "ms-without")
			b.ReportMetric(median(bpf.wall), "ms-with")
			b.ReportMetric(median(bpf.wall)-median(plain.wall), "ms-more")
			b.ReportMetric(median(bpf.wall)/median(plain.wall), "times")
			b.ReportMetric(median(bpf.cpu)/median(plain.cpu), "times-cpu")
			b.ReportMetric(median(plain.rss), "MiB-without")
			b.ReportMetric(median(bpf.rss), "MiB-with")
			b.ReportMetric(0, "ns/op")
		})
	}
}
