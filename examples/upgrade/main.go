// Upgrade is an agent that drops what an interface receives for blocked ports, and that can be
// replaced by its next version without a packet that gets through meanwhile.
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
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/examples/upgrade/guard"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// settings say what to do.
type settings struct {
	iface string
	// pins is the directory of the bpffs where links and maps are for the next version.
	pins string
	// version is that of the agent. A real one has it from its build.
	version uint
	// block are ports to be blocked, besides those that earlier versions blocked.
	block []uint16
}

func main() {
	var s settings
	flag.StringVar(&s.iface, "iface", "lo", "interface that receives")
	flag.StringVar(&s.pins, "pins", "/sys/fs/bpf/upgrade", "directory in a bpffs for what outlives the process")
	flag.UintVar(&s.version, "version", 1, "version of this agent")
	flag.Func("block", "ports to block, as 53,8080", func(list string) (err error) {
		s.block, err = ports(list)
		return err
	})
	duration := flag.Duration("for", 0, "how long to run; 0 runs until interrupted")
	remove := flag.Bool("remove", false, "remove what earlier processes have left, and end")
	flag.Parse()

	if *remove {
		if err := skeleton.RemovePinned(s.pins); err != nil {
			log.Fatal(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, s); err != nil {
		log.Fatal(err)
	}
}

func ports(list string) (ports []uint16, err error) {
	for field := range strings.SplitSeq(list, ",") {
		port, err := strconv.ParseUint(field, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("%q is not a port", field)
		}
		ports = append(ports, uint16(port))
	}
	return ports, nil
}

// run takes over, and leaves all as it is when ctx ends: the ports stay blocked until the next
// version comes, or -remove.
func run(ctx context.Context, w io.Writer, s settings) error {
	skel, err := start(s)
	if err != nil {
		return err
	}
	defer skel.Close()
	fmt.Fprintf(w, "version %d guards %s\n", s.version, s.iface)
	<-ctx.Done()
	return report(w, skel)
}

// start puts this version in the place of the one before, if there was one.
func start(s settings) (*guard.Skeleton, error) {
	ifi, err := net.InterfaceByName(s.iface)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", s.iface, err)
	}
	skel, err := guard.Open()
	if err != nil {
		return nil, err
	}
	if err := attach(skel, ifi.Index, s); err != nil {
		return nil, errors.Join(fmt.Errorf("interface %s: %w", s.iface, err), skel.Close())
	}
	return skel, nil
}

func attach(skel *guard.Skeleton, ifindex int, s settings) error {
	if err := skel.AdoptPinned(s.pins); err != nil {
		return err
	}
	skel.Rodata.Version = uint32(s.version)
	// In a container, with the token of its bpffs.
	if err := skel.Load(); err != nil {
		return err
	}
	for _, port := range s.block {
		// Without touching the number of packets when the port is blocked already.
		if err := skel.Maps.Blocked.Put(port, 0, ebpf.UpdateNoExist); err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return err
		}
	}
	// From this call on, packets see this version, and until then the one before: through TCX,
	// or through a filter of clsact where the kernel has no TCX.
	if _, err := skel.Progs.Ingress.AttachTC(ifindex, skeleton.TCIngress, nil); err != nil {
		return err
	}
	// What only the version before had, such as another interface.
	_, err := skel.RemoveStale()
	return err
}

// report prints what the versions have seen.
func report(w io.Writer, skel *guard.Skeleton) error {
	var lines []string
	for e, err := range skel.Maps.Seen.All() {
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("version %d: %d packets passed, %d dropped", e.Key, e.Value.Passed, e.Value.Dropped))
	}
	for e, err := range skel.Maps.Blocked.All() {
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("port %d: %d packets dropped", e.Key, e.Value))
	}
	slices.Sort(lines)
	_, err := fmt.Fprintf(w, "%s\n%s\n", time.Now().Format(time.DateTime), strings.Join(lines, "\n"))
	return err
}
