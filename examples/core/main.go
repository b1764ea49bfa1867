// Core prints programs that are executed, and who started them.
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

	"github.com/rules-bpf/rules_bpf/examples/core/lineage"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func main() {
	duration := flag.Duration("for", 10*time.Second, "how long to watch; 0 watches until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, 100*time.Millisecond); err != nil {
		log.Fatal(err)
	}
}

// run looks at the last exec at every interval until ctx ends, and prints it to w
// when there was one since.
func run(ctx context.Context, w io.Writer, interval time.Duration) error {
	skel, err := lineage.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		return err
	}
	if err := skel.Attach(); err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var seen uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		last := &skel.Bss.Last
		if n := atomic.LoadUint64(&last.Count); n != seen {
			seen = n
			fmt.Fprintf(w, "%s (pid %d), started by %s (pid %d) %v before\n",
				skeleton.String(last.Self.Comm[:]), last.Self.Pid,
				skeleton.String(last.Parent.Comm[:]), last.Parent.Pid,
				time.Duration(last.AgeNs))
		}
	}
}
