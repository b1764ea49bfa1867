// Minimal loads three tracepoint programs and prints, once a second, the
// counters that they keep in global variables.
package main

import (
	"bytes"
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

	"github.com/rules-bpf/rules_bpf/examples/minimal/counters"
)

func main() {
	duration := flag.Duration("for", 10*time.Second, "how long to count; 0 counts until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, time.Second); err != nil {
		log.Fatal(err)
	}
}

// run prints the counters to w at every interval until ctx ends.
func run(ctx context.Context, w io.Writer, interval time.Duration) error {
	skel, err := counters.Open()
	if err != nil {
		return err
	}
	defer skel.Close()

	// Before Load: plain fields with the initial values of the C source.
	skel.Rodata.IgnoredPid = uint32(os.Getpid())
	if err := skel.Load(); err != nil {
		return err
	}
	if err := skel.Attach(); err != nil {
		return err
	}

	// After Load: the same fields, now the memory that the programs write to.
	vars := skel.Bss
	if vars == nil {
		return fmt.Errorf("this kernel cannot map global variables: Linux 5.5 or newer is needed")
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	fmt.Fprintf(w, "%10s %8s %8s  %s\n", "SWITCHES", "FORKS", "EXECS", "LAST EXEC")
	for done := false; !done; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			done = true
		}
		comm, _, _ := bytes.Cut(vars.LastExec.Comm[:], []byte{0})
		fmt.Fprintf(w, "%10d %8d %8d  %s (pid %d)\n",
			atomic.LoadUint64(&vars.Switches), atomic.LoadUint64(&vars.Forks), atomic.LoadUint64(&vars.Execs),
			comm, vars.LastExec.Pid)
	}
	return nil
}
