// Congestion gives the kernel a TCP congestion control that is written in BPF, for as
// long as it runs, and prints what connections make of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/congestion/control"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// settings are what the user chooses.
type settings struct {
	name string
	// window is the window of all connections, in segments; 0 lets it grow.
	window uint
	// increase and keepPercent say how it grows, and what is left after a loss.
	increase, keepPercent uint
	// everybody allows the control to processes without privileges.
	everybody bool
}

func main() {
	var s settings
	flag.StringVar(&s.name, "name", "example", "name of the congestion control, up to 15 bytes")
	flag.UintVar(&s.window, "window", 0, "window of all connections, in segments; 0 lets it grow")
	flag.UintVar(&s.increase, "increase", 1, "segments that the window grows per round trip")
	flag.UintVar(&s.keepPercent, "keep", 50, "per cent of the window that are left after a loss")
	flag.BoolVar(&s.everybody, "everybody", false, "allow it to processes without privileges")
	duration := flag.Duration("for", 10*time.Second, "how long it is there; 0 until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, s, time.Second); err != nil {
		log.Fatal(err)
	}
}

// nonRestricted is the kernel's flag of congestion controls that anybody may use.
const nonRestricted = 1

// run keeps the congestion control in the kernel until ctx ends, and prints to w at
// every interval what it did.
func run(ctx context.Context, w io.Writer, s settings, interval time.Duration) error {
	skel, err := control.Open()
	if err != nil {
		return err
	}
	defer skel.Close()

	table := skel.StructOps.Control
	if err := skeleton.SetString(table.Name[:], s.name); err != nil {
		return err
	}
	if s.everybody {
		table.Flags |= nonRestricted
	}
	if s.window > 0 {
		// The program that the table had is not loaded then.
		table.CongAvoid = skel.Progs.Keep
		skel.Data.Window = uint32(s.window)
	}
	skel.Rodata.Increase = uint32(s.increase)
	skel.Rodata.KeepPercent = uint32(s.keepPercent)

	if err := skel.Load(); err != nil {
		return err
	}
	if err := skel.Attach(); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s is there: sysctl net.ipv4.tcp_congestion_control=%s makes it the default\n", s.name, s.name)

	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		c := &skel.Bss.Counters
		fmt.Fprintf(w, "%d connections, %d acks, %d losses, largest window %d\n",
			atomic.LoadUint64(&c.Connections), atomic.LoadUint64(&c.Acks),
			atomic.LoadUint64(&c.Losses), atomic.LoadUint32(&c.LargestWindow))
	}
}
