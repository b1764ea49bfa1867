package bpftest

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/rtnetlink"
)

// setUp takes an interface of the thread's namespace up.
func setUp(ifindex int) error { return rtnetlink.SetUp(ifindex) }

// addVeth makes a pair, one end in the thread's namespace.
func addVeth(name string, peerNS *os.File, peerName string) error {
	return rtnetlink.AddVeth(name, 0, rtnetlink.Link(0).Text(unix.IFLA_IFNAME, peerName).Number(unix.IFLA_NET_NS_FD, uint32(peerNS.Fd())))
}

// addAddr gives an interface of the thread's namespace an address.
func addAddr(ifindex int, addr netip.Prefix) error {
	family := uint8(unix.AF_INET6)
	if addr.Addr().Is4() {
		family = unix.AF_INET
	}
	ip := addr.Addr().AsSlice()
	return rtnetlink.Do(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, rtnetlink.Struct(unix.IfAddrmsg{
		Family: family, Prefixlen: uint8(addr.Bits()), Index: uint32(ifindex),
		// No other machine can have the address: this saves the second of duplicate detection.
		Flags: unix.IFA_F_NODAD,
	}).Attr(unix.IFA_LOCAL, ip).Attr(unix.IFA_ADDRESS, ip))
}
