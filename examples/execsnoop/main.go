// Execsnoop prints every program that is executed on this machine.
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

	"github.com/rules-bpf/rules_bpf/examples/execsnoop/execs"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func main() {
	uid := flag.Int64("uid", -1, "show programs of this user only; -1 shows all")
	duration := flag.Duration("for", 10*time.Second, "how long to watch; 0 watches until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, *uid); err != nil {
		log.Fatal(err)
	}
}

// run prints executed programs to w until ctx ends.
func run(ctx context.Context, w io.Writer, uid int64) error {
	skel, err := execs.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	skel.Rodata.OnlyUid = uid
	if err := skel.Load(); err != nil {
		return err
	}
	reader, err := skeleton.NewRingReader[execs.Event](skel.Maps.Events)
	if err != nil {
		return err
	}
	defer reader.Close()
	if err := skel.Attach(); err != nil {
		return err
	}
	// Ends the range below.
	stop := context.AfterFunc(ctx, func() { reader.Close() })
	defer stop()

	fmt.Fprintf(w, "%12s %8s %6s %-16s %s\n", "TIME", "PID", "UID", "COMM", "FILE")
	for e, err := range reader.All() {
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%12.6f %8d %6d %-16s %s\n", time.Duration(e.TimeNs).Seconds(), e.Pid, e.Uid,
			skeleton.String(e.Comm[:]), skeleton.String(e.Filename[:]))
	}
	if n := atomic.LoadUint64(&skel.Bss.Lost); n > 0 {
		fmt.Fprintf(w, "%d events were lost\n", n)
	}
	return nil
}
