// Lifetimes prints how long processes lived, when they end.
//
// A BPF library measures it, with programs and maps of its own. The object that it
// is linked into only says what to do with the result.
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

	"github.com/rules-bpf/rules_bpf/examples/lifetimes/report"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func main() {
	atLeast := flag.Duration("min", 0, "leave out processes that lived less")
	atMost := flag.Uint64("n", 1000, "print at most so many")
	duration := flag.Duration("for", 10*time.Second, "how long to watch; 0 watches until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, *atLeast, *atMost); err != nil {
		log.Fatal(err)
	}
}

// run prints processes that end to w until ctx does.
func run(ctx context.Context, w io.Writer, atLeast time.Duration, atMost uint64) error {
	skel, err := report.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	lib := skel.Subskeletons.Lifetimes

	// Two variables of one section: the library's, and the object's own.
	*lib.DataConfig.LifetimesMinNsec = uint64(atLeast)
	skel.DataConfig.ReportAtMost = atMost
	if err := skel.Load(); err != nil {
		return err
	}
	reader, err := skeleton.NewRingReader[report.Event](skel.Maps.Events)
	if err != nil {
		return err
	}
	defer reader.Close()
	// The programs are the library's, the links the skeleton's.
	if err := skel.Attach(); err != nil {
		return err
	}
	// Ends the range below.
	stop := context.AfterFunc(ctx, func() { reader.Close() })
	defer stop()

	fmt.Fprintf(w, "%8s %-16s %14s\n", "PID", "COMM", "LIVED")
	printed := uint64(0)
	for e, err := range reader.All() {
		if err != nil {
			return err
		}
		// One more can come than was asked for, see report_at_most.
		if printed == atMost {
			continue
		}
		printed++
		fmt.Fprintf(w, "%8d %-16s %14s\n", e.Pid, skeleton.String(e.Comm[:]), time.Duration(e.Nsec))
	}
	fmt.Fprintf(w, "%d processes, %d of them within a tick of the clock (%d per second), the longest %s\n",
		atomic.LoadUint64(lib.Bss.LifetimesCount), atomic.LoadUint64(lib.Bss.LifetimesWithinTick),
		*lib.Kconfig.ConfigHz, time.Duration(atomic.LoadUint64(lib.Bss.LifetimesLongestNsec)))
	return nil
}
