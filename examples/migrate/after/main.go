// After is the same program with a skeleton.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/migrate/after/execs"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func main() {
	uid := flag.Int64("uid", -1, "show programs of this user only; -1 shows all")
	duration := flag.Duration("for", 10*time.Second, "how long to watch")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	if err := run(ctx, os.Stdout, *uid); err != nil {
		log.Fatal(err)
	}
}

// run prints executed programs to w until ctx ends, and then how many there were.
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

	fmt.Fprintf(w, "%8s %6s %s\n", "PID", "UID", "COMM")
	for e, err := range reader.All() {
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%8d %6d %s\n", e.Pid, e.Uid, skeleton.String(e.Comm[:]))
	}
	return summary(w, skel)
}

func summary(w io.Writer, skel *execs.Skeleton) error {
	for entry, err := range skel.Maps.ExecsByUid.All() {
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "user %d: %d\n", entry.Key, entry.Value)
	}
	if skel.Bss.Lost > 0 {
		fmt.Fprintf(w, "%d events were lost\n", skel.Bss.Lost)
	}
	return nil
}
