package attach

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// XDP connects p to a network interface, in a mode of XDP_FLAGS_*, or puts it into a link in
// place of its program.
func XDP(p *Program, ifindex int, mode uint32, old link.Link) (link.Link, error) {
	if err := CheckIfindex(ifindex); err != nil {
		return nil, err
	}
	if old != nil {
		return replace(p.Program, old, link.XDPType, func(info *link.Info) bool {
			return int64(info.XDP().Ifindex) == int64(ifindex)
		})
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: p.Program, Interface: ifindex, Flags: link.XDPAttachFlags(mode)})
	return l, explainInterface(err, ifindex)
}

// Netkit connects p to the end of a pair of interfaces that attach names.
func Netkit(p *Program, ifindex int, attach ebpf.AttachType, o Position) (link.Link, error) {
	if err := CheckIfindex(ifindex); err != nil {
		return nil, err
	}
	if attach != ebpf.AttachNetkitPrimary && attach != ebpf.AttachNetkitPeer {
		return nil, errors.New("SEC() names no end: give NetkitPrimary or NetkitPeer")
	}
	if o.Replace != nil {
		return o.replace(p.Program, link.NetkitType, func(info *link.Info) bool {
			netkit := info.Netkit()
			return int64(netkit.Ifindex) == int64(ifindex) && uint32(netkit.AttachType) == uint32(attach)
		})
	}
	l, err := o.connect(p.Program, ifindex, attach, 0)
	if errors.Is(err, unix.EINVAL) && sys.OlderThan("6.7") {
		return nil, fmt.Errorf("netkit needs a kernel of version 6.7 or later: %w: %w", ebpf.ErrNotSupported, err)
	}
	return l, explainNetkit(explainOrder(err), ifindex)
}

// NetNS connects p to a network namespace, by the path of its file.
func NetNS(p *Program, path string) (link.Link, error) {
	ns, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	l, err := link.AttachNetNs(int(ns.Fd()), p.Program)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Netfilter connects p to a hook of netfilter in the network namespace of the calling thread.
func Netfilter(p *Program, o NetfilterOptions) (link.Link, error) {
	opts := link.NetfilterOptions{
		Program:        p.Program,
		ProtocolFamily: link.NetfilterProtocolFamily(o.Family),
		Hook:           link.NetfilterInetHook(o.Hook),
		Priority:       o.Priority,
	}
	if o.Defrag {
		opts.NetfilterFlags = 1 // BPF_F_NETFILTER_IP_DEFRAG
	}
	l, err := link.AttachNetfilter(opts)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("the hook has a program of priority %d: %w", o.Priority, err)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return nil, fmt.Errorf("family %d has no programs: give NetfilterIPv4 or NetfilterIPv6: %w", o.Family, err)
	}
	return l, lacking(err, option{o.Defrag, "Defrag", "6.6"})
}
