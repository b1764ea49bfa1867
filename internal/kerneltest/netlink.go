//go:build linux

package kerneltest

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/rtnetlink"
)

// Requests for tests of interfaces and of filters of traffic control, as package rtnetlink makes
// them.

// ClsactHandle and ClsactParent are those of the qdisc that holds filters, and Ingress and
// Egress its lists: TC_H_CLSACT and its like in linux/pkt_sched.h.
const (
	ClsactHandle = 0xffff0000
	ClsactParent = 0xfffffff1
	Ingress      = 0xfffffff2
	Egress       = 0xfffffff3
)

// Attributes that golang.org/x/sys/unix does not have: of struct tcmsg, of filters of kind bpf
// (linux/pkt_cls.h), of veth and netkit (linux/veth.h, linux/if_link.h), and of XDP.
const (
	tcaKind         = 1
	tcaOptions      = 2
	tcaBPFFD        = 6
	tcaBPFName      = 7
	tcaBPFFlags     = 8
	tcaBPFID        = 11
	bpfFlagDirect   = 1
	netkitPeerInfo  = 1
	iflaXDP         = 43
	iflaXDPAttached = 2
	sizeofTCMsg     = 20
)

// tcmsg is struct tcmsg.
type tcmsg struct {
	family       uint8
	_            [3]byte
	ifindex      int32
	handle       uint32
	parent, info uint32
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// AddVeth makes a pair of interfaces. The index of the first is any when index is 0.
func AddVeth(name, peer string, index int) error {
	return rtnetlink.AddVeth(name, index, rtnetlink.Link(0).Text(unix.IFLA_IFNAME, peer))
}

// AddNetkit makes a pair of interfaces of kind netkit, which forward IP packets.
func AddNetkit(name, peer string) error {
	return rtnetlink.AddLink(name, "netkit", 0, rtnetlink.Message{}.Attr(netkitPeerInfo, rtnetlink.Link(0).Text(unix.IFLA_IFNAME, peer)))
}

// AddDummy makes an interface of kind dummy.
func AddDummy(name string) error { return rtnetlink.AddLink(name, "dummy", 0, nil) }

// DeleteLink removes an interface, and the other one of its pair.
func DeleteLink(ifindex int) error { return rtnetlink.Do(unix.RTM_DELLINK, 0, rtnetlink.Link(ifindex)) }

// DeleteLinkNamed is DeleteLink by name.
func DeleteLinkNamed(name string) error {
	return rtnetlink.Do(unix.RTM_DELLINK, 0, rtnetlink.Link(0).Text(unix.IFLA_IFNAME, name))
}

// SetUp takes an interface up and returns its index.
func SetUp(name string) (ifindex int, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	return i.Index, rtnetlink.SetUp(i.Index)
}

// MoveLink moves an interface to the network namespace of a descriptor.
func MoveLink(ifindex, ns int) error {
	return rtnetlink.Do(unix.RTM_NEWLINK, 0, rtnetlink.Link(ifindex).Number(unix.IFLA_NET_NS_FD, uint32(ns)))
}

// HasXDP reports whether a program is attached to an interface by XDP.
func HasXDP(ifindex int) (bool, error) {
	answers, err := rtnetlink.Call(unix.RTM_GETLINK, 0, rtnetlink.Link(ifindex))
	if err != nil {
		return false, err
	}
	if len(answers) != 1 || len(answers[0]) < unix.SizeofIfInfomsg {
		return false, fmt.Errorf("netlink: %d answers, want one about the interface", len(answers))
	}
	attached := rtnetlink.Attrs(rtnetlink.Attrs(answers[0][unix.SizeofIfInfomsg:])[iflaXDP])[iflaXDPAttached]
	return len(attached) == 1 && attached[0] != 0, nil
}

// QdiscKind returns the kind of the qdisc of an interface that holds filters, empty when it
// has none.
func QdiscKind(ifindex int) (string, error) {
	answers, err := rtnetlink.Call(unix.RTM_GETQDISC, unix.NLM_F_DUMP, rtnetlink.Struct(tcmsg{ifindex: int32(ifindex)}))
	if err != nil {
		return "", err
	}
	for _, a := range answers {
		if len(a) >= sizeofTCMsg && int(number(a[4:])) == ifindex && number(a[12:]) == ClsactParent {
			return text(rtnetlink.Attrs(a[sizeofTCMsg:])[tcaKind]), nil
		}
	}
	return "", nil
}

// AddQdisc gives an interface the qdisc that holds filters, of kind clsact or ingress.
func AddQdisc(ifindex int, kind string) error {
	return rtnetlink.Do(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL, rtnetlink.Struct(tcmsg{ifindex: int32(ifindex), handle: ClsactHandle, parent: ClsactParent}).Text(tcaKind, kind))
}

// DeleteQdisc removes it, with all filters.
func DeleteQdisc(ifindex int) error {
	return rtnetlink.Do(unix.RTM_DELQDISC, 0, rtnetlink.Struct(tcmsg{ifindex: int32(ifindex), handle: ClsactHandle, parent: ClsactParent}))
}

// A Filter is a filter of traffic control.
type Filter struct {
	Kind     string
	Priority uint16
	Protocol uint16 // as in unix.ETH_P_ALL
	Handle   uint32
	// Of kind bpf:
	Name         string
	Program      uint32 // its ID
	DirectAction bool
}

// Filters lists the filters of an interface, of Ingress or Egress, in their order. The kernel
// lists a priority without filters as one with handle 0, which is left out.
func Filters(ifindex int, parent uint32) ([]Filter, error) {
	answers, err := rtnetlink.Call(unix.RTM_GETTFILTER, unix.NLM_F_DUMP, rtnetlink.Struct(tcmsg{ifindex: int32(ifindex), parent: parent}))
	if err != nil {
		return nil, err
	}
	var filters []Filter
	for _, a := range answers {
		if len(a) < sizeofTCMsg || number(a[8:]) == 0 {
			continue
		}
		found := rtnetlink.Attrs(a[sizeofTCMsg:])
		options := rtnetlink.Attrs(found[tcaOptions])
		info := number(a[16:])
		filters = append(filters, Filter{
			Kind: text(found[tcaKind]), Handle: number(a[8:]),
			Priority: uint16(info >> 16), Protocol: networkOrder(uint16(info)),
			Name: text(options[tcaBPFName]), Program: number(options[tcaBPFID]), DirectAction: number(options[tcaBPFFlags])&bpfFlagDirect != 0,
		})
	}
	return filters, nil
}

// networkOrder turns a number from the machine's byte order into that of networks, and back.
func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// AddFilter adds a filter for all protocols; one of kind bpf runs the program of descriptor fd.
func AddFilter(ifindex int, parent uint32, f Filter, fd int) error {
	return newFilter(unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifindex, parent, f, fd)
}

// ReplaceFilter is AddFilter that replaces the one of this priority and handle.
func ReplaceFilter(ifindex int, parent uint32, f Filter, fd int) error {
	return newFilter(unix.NLM_F_CREATE, ifindex, parent, f, fd)
}

func newFilter(flags uint16, ifindex int, parent uint32, f Filter, fd int) error {
	var options rtnetlink.Message
	if f.Kind == "bpf" {
		options = options.Number(tcaBPFFD, uint32(fd)).Text(tcaBPFName, f.Name).Number(tcaBPFFlags, bpfFlagDirect)
	}
	m := tcmsg{ifindex: int32(ifindex), handle: f.Handle, parent: parent, info: uint32(f.Priority)<<16 | uint32(networkOrder(unix.ETH_P_ALL))}
	return rtnetlink.Do(unix.RTM_NEWTFILTER, flags, rtnetlink.Struct(m).Text(tcaKind, f.Kind).Attr(tcaOptions, options))
}
