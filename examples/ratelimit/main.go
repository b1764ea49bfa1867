// Ratelimit limits the packets that an interface receives, or that a cgroup sends.
//
// The two are programs of different types in different objects. Both have the same
// BPF library linked in, and the same Go package controls it in both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/ratelimit/control"
	"github.com/rules-bpf/rules_bpf/examples/ratelimit/edge"
	"github.com/rules-bpf/rules_bpf/examples/ratelimit/guard"
)

func main() {
	iface := flag.String("iface", "", "interface whose received packets to limit, by their sources")
	cgroup := flag.String("cgroup", "", "directory of the cgroup whose sent packets to limit, by their destinations")
	rate := flag.Uint64("rate", 100, "packets per second and address; 0 is no limit")
	burst := flag.Uint64("burst", 10, "packets that an address can send at once")
	duration := flag.Duration("for", 10*time.Second, "how long; 0 is until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	set := func(l control.Limiter) error { return l.SetRate(*rate, *burst) }
	var limiter control.Limiter
	var closer io.Closer
	var err error
	switch {
	case (*iface == "") == (*cgroup == ""):
		err = errors.New("give either -iface or -cgroup")
	case *iface != "":
		limiter, closer, err = onInterface(*iface, set)
	default:
		limiter, closer, err = onCgroup(*cgroup, set)
	}
	if err != nil {
		log.Fatal(err)
	}
	<-ctx.Done()
	report(os.Stdout, limiter)
	if err := closer.Close(); err != nil {
		log.Fatal(err)
	}
}

// onInterface limits what an interface receives. It calls set before that.
func onInterface(name string, set func(control.Limiter) error) (control.Limiter, io.Closer, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return control.Limiter{}, nil, fmt.Errorf("interface %s: %w", name, err)
	}
	skel, err := edge.Open()
	if err != nil {
		return control.Limiter{}, nil, err
	}
	limiter := control.New(skel.Subskeletons.Limiter)
	err = errors.Join(set(limiter), skel.Load())
	if err == nil {
		_, err = skel.Progs.Edge.AttachXDP(ifi.Index, nil)
	}
	if err != nil {
		return control.Limiter{}, nil, errors.Join(fmt.Errorf("interface %s: %w", name, err), skel.Close())
	}
	return limiter, skel, nil
}

// onCgroup limits what the processes of a cgroup send. It calls set before that.
func onCgroup(path string, set func(control.Limiter) error) (control.Limiter, io.Closer, error) {
	skel, err := guard.Open()
	if err != nil {
		return control.Limiter{}, nil, err
	}
	limiter := control.New(skel.Subskeletons.Limiter)
	err = errors.Join(set(limiter), skel.Load())
	if err == nil {
		_, err = skel.Progs.Guard.AttachCgroup(path, nil)
	}
	if err != nil {
		return control.Limiter{}, nil, errors.Join(fmt.Errorf("cgroup %s: %w", path, err), skel.Close())
	}
	return limiter, skel, nil
}

// report prints what a limiter did. It does not know in which object that is.
func report(w io.Writer, limiter control.Limiter) {
	allowed, denied := limiter.Counts()
	fmt.Fprintf(w, "%d packets passed, %d did not\n", allowed, denied)
}
