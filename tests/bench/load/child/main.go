// Child is the process that the benchmark of loading measures: it opens, loads and closes an
// object several times, through its skeleton or with cilium/ebpf.
//
//	child skeleton|cilium times|mallocs COUNT NAME FILE
//
// It prints a line for each load, with the CPU time and the time that passed in nanoseconds,
// or with the number of allocations. Then comes its peak of resident memory in KiB, as
// libbpf's program prints it: a process has nothing but what a user's has.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/tests/bench/load/progs/bigbss"
	"github.com/rules-bpf/rules_bpf/tests/bench/load/progs/core"
	"github.com/rules-bpf/rules_bpf/tests/bench/load/progs/forty"
	"github.com/rules-bpf/rules_bpf/tests/bench/load/progs/large"
	"github.com/rules-bpf/rules_bpf/tests/bench/load/progs/small"
)

type skeletonObject interface {
	Load() error
	Close() error
}

var skeletons = map[string]func() (skeletonObject, error){
	"bigbss": func() (skeletonObject, error) { return bigbss.Open() },
	"core":   func() (skeletonObject, error) { return core.Open() },
	"forty":  func() (skeletonObject, error) { return forty.Open() },
	"large":  func() (skeletonObject, error) { return large.Open() },
	"small":  func() (skeletonObject, error) { return small.Open() },
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 5 || args[0] != "skeleton" && args[0] != "cilium" || args[1] != "times" && args[1] != "mallocs" || skeletons[args[3]] == nil {
		return errors.New("want skeleton|cilium times|mallocs COUNT NAME FILE")
	}
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return err
	}
	load := func() (func(), error) { return withSkeleton(args[3]) }
	if args[0] == "cilium" {
		data, err := os.ReadFile(args[4])
		if err != nil {
			return err
		}
		load = func() (func(), error) { return withCilium(data) }
	}
	measure := timeOf
	if args[1] == "mallocs" {
		measure = mallocsOf
	}
	// What is printed is printed at the end: nothing comes between two loads.
	var lines []string
	for range count {
		line, err := measure(load)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	peak, err := peak()
	if err != nil {
		return err
	}
	_, err = fmt.Println(strings.Join(append(lines, peak), "\n"))
	return err
}

func withSkeleton(name string) (func(), error) {
	obj, err := skeletons[name]()
	if err != nil {
		return nil, err
	}
	return func() { obj.Close() }, obj.Load()
}

func withCilium(data []byte) (func(), error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, err
	}
	return coll.Close, nil
}

// timeOf measures how long one load takes.
func timeOf(load func() (unload func(), err error)) (string, error) {
	cpu, start := cpuTime(), time.Now()
	unload, err := load()
	spentCPU, spent := cpuTime()-cpu, time.Since(start)
	if err != nil {
		return "", err
	}
	unload()
	return fmt.Sprint(int64(spentCPU), int64(spent)), nil
}

// mallocsOf counts the allocations of one load. Reading their number stops all goroutines,
// and wakes the scheduler's monitor: it is not for a process whose time is taken.
func mallocsOf(load func() (unload func(), err error)) (string, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	unload, err := load()
	runtime.ReadMemStats(&after)
	if err != nil {
		return "", err
	}
	unload()
	return fmt.Sprint(after.Mallocs - before.Mallocs), nil
}

// cpuTime is what the process has spent in user and kernel mode.
func cpuTime() time.Duration {
	var t unix.Timespec
	// It fails for clocks that do not exist.
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// peak is that of the process's resident memory, in KiB.
func peak() (string, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return kib, nil
}
