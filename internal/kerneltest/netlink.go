//go:build linux

package kerneltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of rtnetlink(7) for tests of interfaces and of filters of traffic control. They are
// written apart from those of the runtime, which they look after, and without a library, that
// all who depend on this module would have in their graphs. All work in the network namespace
// of the calling thread, and fail with the kernel's errno.

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
	tcaKind          = 1
	tcaOptions       = 2
	tcaBPFFD         = 6
	tcaBPFName       = 7
	tcaBPFFlags      = 8
	tcaBPFID         = 11
	bpfFlagDirect    = 1
	vethInfoPeer     = 1
	netkitPeerInfo   = 1
	iflaXDP          = 43
	iflaXDPAttached  = 2
	nlaTypeMask      = 0x3fff
	sizeofTCMsg      = 20
	sizeofNlAttr     = 4
	netlinkDatagrams = 64 << 10
)

// request is what is sent after struct nlmsghdr.
type request []byte

func structOf[T any](v T) request {
	return append(request{}, unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))...)
}

func (r request) attr(typ uint16, value []byte) request {
	r = binary.NativeEndian.AppendUint16(r, uint16(sizeofNlAttr+len(value)))
	r = append(binary.NativeEndian.AppendUint16(r, typ), value...)
	return append(r, make([]byte, -len(value)&3)...)
}

func (r request) text(typ uint16, s string) request { return r.attr(typ, append([]byte(s), 0)) }

func (r request) number(typ uint16, n uint32) request {
	return r.attr(typ, binary.NativeEndian.AppendUint32(nil, n))
}

// link returns a request about an interface, of any index when it is 0.
func link(ifindex int) request { return structOf(unix.IfInfomsg{Index: int32(ifindex)}) }

// tcmsg is struct tcmsg.
type tcmsg struct {
	family       uint8
	_            [3]byte
	ifindex      int32
	handle       uint32
	parent, info uint32
}

// call makes a request and returns the payloads of the answers.
func call(typ, flags uint16, r request) ([][]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	header := structOf(unix.NlMsghdr{
		Len: uint32(unix.SizeofNlMsghdr + len(r)), Type: typ, Seq: 1, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | flags,
	})
	if err := unix.Sendto(fd, append(header, r...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	var payloads [][]byte
	buf := make([]byte, netlinkDatagrams)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		answers, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, err
		}
		for _, a := range answers {
			switch a.Header.Type {
			case unix.NLMSG_DONE:
				return payloads, nil
			case unix.NLMSG_ERROR:
				if code := int32(binary.NativeEndian.Uint32(a.Data)); code != 0 {
					return nil, fmt.Errorf("netlink: %w", unix.Errno(-code))
				}
				return payloads, nil
			}
			payloads = append(payloads, append([]byte{}, a.Data...))
		}
	}
}

func do(typ, flags uint16, r request) error {
	_, err := call(typ, flags, r)
	return err
}

// attrs returns attributes by their types.
func attrs(b []byte) map[uint16][]byte {
	found := make(map[uint16][]byte)
	for len(b) >= sizeofNlAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < sizeofNlAttr || n > len(b) {
			break
		}
		found[binary.NativeEndian.Uint16(b[2:])&nlaTypeMask] = b[sizeofNlAttr:n]
		b = b[min((n+3)&^3, len(b)):]
	}
	return found
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// addLink makes an interface of a kind, with what the kind has of its own.
func addLink(name, kind string, index int, data request) error {
	info := request{}.attr(unix.IFLA_INFO_KIND, []byte(kind)).attr(unix.IFLA_INFO_DATA, data)
	return do(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, link(index).text(unix.IFLA_IFNAME, name).attr(unix.IFLA_LINKINFO, info))
}

// AddVeth makes a pair of interfaces. The index of the first is any when index is 0.
func AddVeth(name, peer string, index int) error {
	return addLink(name, "veth", index, request{}.attr(vethInfoPeer, link(0).text(unix.IFLA_IFNAME, peer)))
}

// AddNetkit makes a pair of interfaces of kind netkit, which forward IP packets.
func AddNetkit(name, peer string) error {
	return addLink(name, "netkit", 0, request{}.attr(netkitPeerInfo, link(0).text(unix.IFLA_IFNAME, peer)))
}

// AddDummy makes an interface of kind dummy.
func AddDummy(name string) error { return addLink(name, "dummy", 0, nil) }

// DeleteLink removes an interface, and the other one of its pair.
func DeleteLink(ifindex int) error { return do(unix.RTM_DELLINK, 0, link(ifindex)) }

// DeleteLinkNamed is DeleteLink by name.
func DeleteLinkNamed(name string) error {
	return do(unix.RTM_DELLINK, 0, link(0).text(unix.IFLA_IFNAME, name))
}

// SetUp takes an interface up and returns its index.
func SetUp(name string) (ifindex int, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	return i.Index, do(unix.RTM_NEWLINK, 0, structOf(unix.IfInfomsg{Index: int32(i.Index), Flags: unix.IFF_UP, Change: unix.IFF_UP}))
}

// MoveLink moves an interface to the network namespace of a descriptor.
func MoveLink(ifindex, ns int) error {
	return do(unix.RTM_NEWLINK, 0, link(ifindex).number(unix.IFLA_NET_NS_FD, uint32(ns)))
}

// HasXDP reports whether a program is attached to an interface by XDP.
func HasXDP(ifindex int) (bool, error) {
	answers, err := call(unix.RTM_GETLINK, 0, link(ifindex))
	if err != nil {
		return false, err
	}
	if len(answers) != 1 || len(answers[0]) < unix.SizeofIfInfomsg {
		return false, fmt.Errorf("netlink: %d answers, want one about the interface", len(answers))
	}
	attached := attrs(attrs(answers[0][unix.SizeofIfInfomsg:])[iflaXDP])[iflaXDPAttached]
	return len(attached) == 1 && attached[0] != 0, nil
}

// QdiscKind returns the kind of the qdisc of an interface that holds filters, empty when it
// has none.
func QdiscKind(ifindex int) (string, error) {
	answers, err := call(unix.RTM_GETQDISC, unix.NLM_F_DUMP, structOf(tcmsg{ifindex: int32(ifindex)}))
	if err != nil {
		return "", err
	}
	for _, a := range answers {
		if len(a) >= sizeofTCMsg && int(number(a[4:])) == ifindex && number(a[12:]) == ClsactParent {
			return text(attrs(a[sizeofTCMsg:])[tcaKind]), nil
		}
	}
	return "", nil
}

// AddQdisc gives an interface the qdisc that holds filters, of kind clsact or ingress.
func AddQdisc(ifindex int, kind string) error {
	return do(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL, structOf(tcmsg{ifindex: int32(ifindex), handle: ClsactHandle, parent: ClsactParent}).text(tcaKind, kind))
}

// DeleteQdisc removes it, with all filters.
func DeleteQdisc(ifindex int) error {
	return do(unix.RTM_DELQDISC, 0, structOf(tcmsg{ifindex: int32(ifindex), handle: ClsactHandle, parent: ClsactParent}))
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
	answers, err := call(unix.RTM_GETTFILTER, unix.NLM_F_DUMP, structOf(tcmsg{ifindex: int32(ifindex), parent: parent}))
	if err != nil {
		return nil, err
	}
	var filters []Filter
	for _, a := range answers {
		if len(a) < sizeofTCMsg || number(a[8:]) == 0 {
			continue
		}
		found := attrs(a[sizeofTCMsg:])
		options := attrs(found[tcaOptions])
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
	var options request
	if f.Kind == "bpf" {
		options = options.number(tcaBPFFD, uint32(fd)).text(tcaBPFName, f.Name).number(tcaBPFFlags, bpfFlagDirect)
	}
	m := tcmsg{ifindex: int32(ifindex), handle: f.Handle, parent: parent, info: uint32(f.Priority)<<16 | uint32(networkOrder(unix.ETH_P_ALL))}
	return do(unix.RTM_NEWTFILTER, flags, structOf(m).text(tcaKind, f.Kind).attr(tcaOptions, options))
}
