// Tc counts what an interface exchanges with each address, and drops what is beyond
// an allowance.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/tc/quota"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func main() {
	iface := flag.String("iface", "lo", "interface whose traffic to count")
	allowance := flag.Uint64("allowance", 0, "bytes that each address may exchange by each protocol; 0 is no limit")
	duration := flag.Duration("for", 10*time.Second, "how long to count; 0 counts until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, *iface, *allowance); err != nil {
		log.Fatal(err)
	}
}

// run counts until ctx ends, then prints the counts to w.
func run(ctx context.Context, w io.Writer, iface string, allowance uint64) error {
	skel, err := start(iface, allowance)
	if err != nil {
		return err
	}
	defer skel.Close()
	fmt.Fprintf(w, "counting on %s\n", iface)
	<-ctx.Done()
	// The table is of one instant, and no packet is limited while it is printed.
	if err := skel.Detach(); err != nil {
		return err
	}
	return report(w, skel)
}

// start attaches the programs to an interface. Closing the skeleton detaches them.
func start(iface string, allowance uint64) (*quota.Skeleton, error) {
	ifi, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", iface, err)
	}
	skel, err := quota.Open()
	if err != nil {
		return nil, err
	}
	skel.Bss.Allowance = allowance
	err = skel.Load()
	// SEC("tc") says neither the interface nor the direction.
	if err == nil {
		_, err = skel.Progs.Ingress.AttachTC(ifi.Index, skeleton.TCIngress, nil)
	}
	if err == nil {
		_, err = skel.Progs.Egress.AttachTC(ifi.Index, skeleton.TCEgress, nil)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("interface %s: %w", iface, err), skel.Close())
	}
	return skel, nil
}

// report prints a line per address and protocol, in the order of the addresses.
func report(w io.Writer, skel *quota.Skeleton) error {
	type row struct {
		address netip.Addr
		quota.Peer
		quota.Traffic
	}
	var rows []row
	for e, err := range skel.Maps.Peers.All() {
		if err != nil {
			return err
		}
		rows = append(rows, row{netip.AddrFrom16(e.Key.Address).Unmap(), e.Key, e.Value})
	}
	slices.SortFunc(rows, func(a, b row) int {
		if c := a.address.Compare(b.address); c != 0 {
			return c
		}
		return int(a.Protocol) - int(b.Protocol)
	})

	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "ADDRESS\tPROTOCOL\tRECEIVED\tBYTES\tSENT\tBYTES\tDROPPED\tBYTES\t")
	for _, r := range rows {
		fmt.Fprintf(tab, "%s\t%s\t", r.address, protocol(r.Protocol))
		for _, c := range []quota.Count{r.Received, r.Sent, r.Dropped} {
			fmt.Fprintf(tab, "%d\t%d\t", c.Packets, c.Bytes)
		}
		fmt.Fprintln(tab)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	if n := atomic.LoadUint64(&skel.Bss.Untracked); n > 0 {
		fmt.Fprintf(w, "%d packets of further addresses were neither counted nor limited\n", n)
	}
	return nil
}

// protocol returns the name of a protocol above IP.
func protocol(number uint32) string {
	switch number {
	case syscall.IPPROTO_ICMP:
		return "icmp"
	case syscall.IPPROTO_TCP:
		return "tcp"
	case syscall.IPPROTO_UDP:
		return "udp"
	case syscall.IPPROTO_ICMPV6:
		return "icmpv6"
	}
	return strconv.Itoa(int(number))
}
