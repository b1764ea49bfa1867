// Variants prints every program that is executed on the machine, with one of two variants of a
// BPF object: the kernel says which.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"iter"
	"log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/rules-bpf/rules_bpf/examples/variants/execs"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func main() {
	duration := flag.Duration("for", 0, "how long to print; 0 prints until interrupted")
	variant := flag.String("variant", "", "the `variant` to use, perf or ringbuf; by default the first that the kernel loads")
	flag.Parse()

	// The best first.
	choice := []execs.Variant{execs.Ringbuf, execs.Perf}
	if *variant != "" {
		choice = nil
		for _, v := range execs.Variants() {
			if v.String() == *variant {
				choice = append(choice, v)
			}
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, choice...); err != nil {
		log.Fatal(err)
	}
}

// run prints executed programs to w until ctx ends, with the first of the variants that the
// kernel loads.
func run(ctx context.Context, w io.Writer, variants ...execs.Variant) error {
	skel, err := skeleton.LoadFirst(execs.Open, variants...)
	if err != nil {
		return err
	}
	defer skel.Close()
	events, closeEvents, err := open(skel)
	if err != nil {
		return err
	}
	defer closeEvents()
	if err := skel.Attach(); err != nil {
		return err
	}
	// Ends the range below.
	stop := context.AfterFunc(ctx, func() { closeEvents() })
	defer stop()

	fmt.Fprintf(w, "%8s %6s %-16s %s\n", "PID", "UID", "COMM", "CGROUP")
	for e, err := range events {
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%8d %6d %-16s %d\n", e.Pid, e.Uid, skeleton.String(e.Comm[:]), e.Cgroup)
	}
	fmt.Fprintf(w, "%d programs were executed\n", atomic.LoadUint64(skel.Bss.Execs))
	if lost := skel.Bss.Lost; lost != nil && atomic.LoadUint64(lost) > 0 {
		fmt.Fprintf(w, "%d events were lost\n", atomic.LoadUint64(lost))
	}
	return nil
}

// open returns the events of whichever variant the skeleton is, with all that the best of them
// has: the cgroup is 0 where the variant does not record it.
func open(skel *execs.Skeleton) (iter.Seq2[execs.EventRingbuf, error], func() error, error) {
	if skel.Maps.EventsRingbuf != nil {
		reader, err := skeleton.NewRingReader[execs.EventRingbuf](skel.Maps.EventsRingbuf)
		if err != nil {
			return nil, nil, err
		}
		return reader.All(), reader.Close, nil
	}
	reader, err := skeleton.NewPerfReader[execs.EventPerf](skel.Maps.EventsPerf, 64*1024)
	if err != nil {
		return nil, nil, err
	}
	return func(yield func(execs.EventRingbuf, error) bool) {
		for e, err := range reader.All() {
			if !yield(execs.EventRingbuf{Pid: e.Pid, Uid: e.Uid, Comm: e.Comm}, err) {
				return
			}
		}
	}, reader.Close, nil
}
