// Before is a program as it stands beside what the command bpf2go generates. The
// rule bpf2go takes the place of the go:generate line; this file does not know.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
)

//go:generate go tool bpf2go -type event execs execs.c

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
	if err := rlimit.RemoveMemlock(); err != nil {
		return err
	}
	spec, err := loadExecs()
	if err != nil {
		return err
	}
	if err := spec.Variables["only_uid"].Set(uid); err != nil {
		return err
	}
	var objs execsObjects
	if err := spec.LoadAndAssign(&objs, nil); err != nil {
		var verifier *ebpf.VerifierError
		if errors.As(err, &verifier) {
			err = fmt.Errorf("%+v", verifier)
		}
		return err
	}
	defer objs.Close()
	reader, err := ringbuf.NewReader(objs.Events)
	if err != nil {
		return err
	}
	defer reader.Close()
	tp, err := link.Tracepoint("sched", "sched_process_exec", objs.OnExec, nil)
	if err != nil {
		return err
	}
	defer tp.Close()
	// Ends the loop below.
	stop := context.AfterFunc(ctx, func() { reader.Close() })
	defer stop()

	fmt.Fprintf(w, "%8s %6s %s\n", "PID", "UID", "COMM")
	for {
		record, err := reader.Read()
		if errors.Is(err, ringbuf.ErrClosed) {
			return summary(w, &objs)
		}
		if err != nil {
			return err
		}
		var e execsEvent
		if err := binary.Read(bytes.NewReader(record.RawSample), binary.NativeEndian, &e); err != nil {
			return err
		}
		fmt.Fprintf(w, "%8d %6d %s\n", e.Pid, e.Uid, text(e.Comm[:]))
	}
}

func summary(w io.Writer, objs *execsObjects) error {
	var uid uint32
	var count uint64
	entries := objs.ExecsByUid.Iterate()
	for entries.Next(&uid, &count) {
		fmt.Fprintf(w, "user %d: %d\n", uid, count)
	}
	if err := entries.Err(); err != nil {
		return err
	}
	var lost uint64
	if err := objs.Lost.Get(&lost); err != nil {
		return err
	}
	if lost > 0 {
		fmt.Fprintf(w, "%d events were lost\n", lost)
	}
	return nil
}

// text is what a C string holds.
func text(b []int8) string {
	var s []byte
	for _, c := range b {
		if c == 0 {
			break
		}
		s = append(s, byte(c))
	}
	return string(s)
}
