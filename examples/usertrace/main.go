// Usertrace counts calls of a function and passes of a USDT (a static probe) in
// user space, by process.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/usertrace/probes"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// options are what to count.
type options struct {
	// function is "path:symbol", probe is "path:provider:name"; "" counts none.
	function, probe string
	// pid is the process to watch, 0 all.
	pid int
}

func main() {
	var opts options
	flag.StringVar(&opts.function, "func", "libc.so.6:malloc", "function to count: path:symbol")
	flag.StringVar(&opts.probe, "usdt", "", "USDT to count: path:provider:name")
	flag.IntVar(&opts.pid, "pid", 0, "process to watch; 0 watches all")
	duration := flag.Duration("for", 10*time.Second, "how long to count; 0 counts until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, opts); err != nil {
		log.Fatal(err)
	}
}

// run counts until ctx ends, and prints the counts to w.
func run(ctx context.Context, w io.Writer, opts options) error {
	skel, err := probes.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		return err
	}
	if err := attach(skel, opts); err != nil {
		return err
	}
	fmt.Fprintln(w, "counting")
	<-ctx.Done()
	return print(w, skel)
}

func attach(skel *probes.Skeleton, opts options) error {
	if opts.function != "" {
		path, symbol, ok := strings.Cut(opts.function, ":")
		if !ok {
			return fmt.Errorf("-func %q: write path:symbol", opts.function)
		}
		if _, err := skel.Progs.OnCall.AttachUprobe(path, symbol, &skeleton.UprobeOptions{PID: opts.pid}); err != nil {
			return err
		}
	}
	if opts.probe != "" {
		parts := strings.Split(opts.probe, ":")
		if len(parts) != 3 {
			return fmt.Errorf("-usdt %q: write path:provider:name", opts.probe)
		}
		if _, err := skel.Progs.OnProbe.AttachUSDT(parts[0], parts[1], parts[2], &skeleton.USDTOptions{PID: opts.pid}); err != nil {
			return err
		}
	}
	if skel.Links == (probes.Links{}) {
		return errors.New("nothing to count: give -func, -usdt or both")
	}
	return nil
}

func print(w io.Writer, skel *probes.Skeleton) error {
	type row struct {
		process probes.Process
		counts  probes.Counts
	}
	var rows []row
	for e, err := range skel.Maps.Processes.All() {
		if err != nil {
			return err
		}
		rows = append(rows, row{e.Key, e.Value})
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Compare(b.counts.Calls+b.counts.Probes, a.counts.Calls+a.counts.Probes)
	})
	fmt.Fprintf(w, "%8s %-16s %10s %10s %20s\n", "PID", "COMM", "CALLS", "PROBES", "LAST ARGUMENT")
	for _, r := range rows {
		fmt.Fprintf(w, "%8d %-16s %10d %10d %20d\n", r.process.Pid, skeleton.String(r.process.Comm[:]), r.counts.Calls, r.counts.Probes, r.counts.LastArg)
	}
	return nil
}
