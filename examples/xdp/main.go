// Xdp counts the packets that an interface receives, by protocol.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/xdp/packets"
)

// names are in the order of enum protocol.
var names = [packets.ProtocolCount]string{"other", "arp", "ipv6", "ipv4", "ipv4/tcp", "ipv4/udp"}

func main() {
	iface := flag.String("iface", "lo", "interface whose received packets to count")
	duration := flag.Duration("for", 10*time.Second, "how long to count; 0 counts until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, *iface); err != nil {
		log.Fatal(err)
	}
}

// run counts until ctx ends, then prints the counts to w.
func run(ctx context.Context, w io.Writer, iface string) error {
	ifi, err := net.InterfaceByName(iface)
	if err != nil {
		return fmt.Errorf("interface %s: %w", iface, err)
	}
	skel, err := packets.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		return err
	}
	if _, err := skel.Progs.CountPacket.AttachXDP(ifi.Index, nil); err != nil {
		return fmt.Errorf("attach to %s: %w", iface, err)
	}
	fmt.Fprintf(w, "counting on %s\n", iface)
	<-ctx.Done()

	for p, name := range names {
		t := &skel.Bss.Received[p]
		fmt.Fprintf(w, "%-9s %8d packets %12d bytes\n", name, atomic.LoadUint64(&t.Packets), atomic.LoadUint64(&t.Bytes))
	}
	return nil
}
