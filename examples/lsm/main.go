// Lsm denies a user to open what is below a directory, for as long as it runs.
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

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/examples/lsm/policy"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func main() {
	directory := flag.String("dir", "", "the directory")
	user := flag.Uint("user", 65534, "number of the user")
	duration := flag.Duration("for", 10*time.Second, "how long to deny; 0 denies until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, *directory, uint32(*user), 100*time.Millisecond); err != nil {
		log.Fatal(err)
	}
}

// run denies the user what is below the directory until ctx ends, and prints to w at
// every interval in which something was denied.
func run(ctx context.Context, w io.Writer, directory string, user uint32, interval time.Duration) error {
	var st unix.Stat_t
	if err := unix.Stat(directory, &st); err != nil {
		return &os.PathError{Op: "stat", Path: directory, Err: err}
	}
	skel, err := policy.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	skel.Rodata.DirectoryInode = st.Ino
	// The kernel packs the two numbers of a device in another way than stat.
	skel.Rodata.DirectoryDevice = unix.Major(st.Dev)<<20 | unix.Minor(st.Dev)
	skel.Rodata.User = user
	if err := skel.Load(); err != nil {
		return err
	}
	if err := skel.Attach(); err != nil {
		return err
	}
	fmt.Fprintf(w, "user %d cannot open what is below %s\n", user, directory)

	tick := time.NewTicker(interval)
	defer tick.Stop()
	var seen uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		denied := &skel.Bss.Denied
		if n := atomic.LoadUint64(&denied.Count); n != seen {
			seen = n
			fmt.Fprintf(w, "denied %d times, last to %s (pid %d)\n", n, skeleton.String(denied.Comm[:]), denied.Pid)
		}
	}
}
