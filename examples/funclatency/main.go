// Funclatency measures how long a function of the kernel takes, per process.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/funclatency/latency"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func main() {
	function := flag.String("function", "vfs_read", "the kernel's function to measure")
	pid := flag.Uint("pid", 0, "look at this process only; 0 looks at all")
	duration := flag.Duration("for", 5*time.Second, "how long to measure; 0 measures until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *function, uint32(*pid), *duration); err != nil {
		log.Fatal(err)
	}
}

// run measures the function for that long, or until ctx ends, then prints to w what
// it found.
func run(ctx context.Context, w io.Writer, function string, pid uint32, duration time.Duration) error {
	skel, err := latency.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	// The verifier looks at the function, so it has to be known before Load.
	skel.Progs.OnEntry.SetTarget(nil, function)
	skel.Progs.OnExit.SetTarget(nil, function)
	skel.Rodata.OnlyPid = pid
	if err := skel.Load(); err != nil {
		return err
	}
	if err := skel.Attach(); err != nil {
		return err
	}
	// The time to load and to attach does not count.
	if duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration)
		defer cancel()
	}
	<-ctx.Done()
	if err := skel.Detach(); err != nil {
		return err
	}

	var list []process
	for e, err := range skel.Maps.Processes.All() {
		if err != nil {
			return err
		}
		list = append(list, process{e.Key, sum(e.Value)})
	}
	show(w, function, list)
	if n := skel.Bss.Lost; n > 0 {
		fmt.Fprintf(w, "%d calls of further processes were not counted\n", n)
	}
	return nil
}

// process is what one process made of the function.
type process struct {
	pid uint32
	latency.Process
}

// sum adds up what the CPUs counted of a process.
func sum(perCPU []latency.Process) latency.Process {
	var total latency.Process
	for _, p := range perCPU {
		// Only the CPU that saw the process first knows its name.
		if p.Comm[0] != 0 {
			total.Comm = p.Comm
		}
		total.Calls += p.Calls
		total.TotalNs += p.TotalNs
		total.MaxNs = max(total.MaxNs, p.MaxNs)
	}
	return total
}

// show prints the processes, those first that spent most time in the function.
func show(w io.Writer, function string, list []process) {
	if len(list) == 0 {
		fmt.Fprintf(w, "no call of %s was seen\n", function)
		return
	}
	slices.SortFunc(list, func(a, b process) int {
		return cmp.Or(cmp.Compare(b.TotalNs, a.TotalNs), cmp.Compare(a.pid, b.pid))
	})
	fmt.Fprintf(w, "%-16s %10s %10s %12s %12s\n", "PROCESS", "PID", "CALLS", "AVERAGE", "LONGEST")
	for _, p := range list {
		average := time.Duration(p.TotalNs / max(p.Calls, 1))
		fmt.Fprintf(w, "%-16s %10d %10d %12v %12v\n", skeleton.String(p.Comm[:]), p.pid, p.Calls, average, time.Duration(p.MaxNs))
	}
}
