package bpftest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A few requests of rtnetlink(7), without a library that all who import this package would
// get.

// vethInfoPeer is VETH_INFO_PEER of linux/veth.h.
const vethInfoPeer = 1

// message is the payload of a request: structs and attributes, in the machine's byte order.
type message []byte

// appendStruct appends the memory of a struct of the kernel.
func appendStruct[T any](m message, v T) message {
	return append(m, unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))...)
}

// attr appends an attribute: its length and type, the value and padding to 4 bytes.
func (m message) attr(typ uint16, value []byte) message {
	m = binary.NativeEndian.AppendUint16(m, uint16(unix.SizeofRtAttr+len(value)))
	m = append(binary.NativeEndian.AppendUint16(m, typ), value...)
	return append(m, make([]byte, -len(value)&3)...)
}

// text is the value of an attribute that is a string.
func text(s string) []byte { return append([]byte(s), 0) }

// setUp takes an interface of the thread's namespace up.
func setUp(ifindex int) error {
	return request(unix.RTM_NEWLINK, 0, appendStruct(nil, unix.IfInfomsg{
		Index: int32(ifindex), Flags: unix.IFF_UP, Change: unix.IFF_UP,
	}))
}

// addVeth makes a pair, one end in the thread's namespace.
func addVeth(name string, peerNS *os.File, peerName string) error {
	fd := binary.NativeEndian.AppendUint32(nil, uint32(peerNS.Fd()))
	peer := appendStruct(nil, unix.IfInfomsg{}).attr(unix.IFLA_IFNAME, text(peerName)).attr(unix.IFLA_NET_NS_FD, fd)
	info := message{}.attr(unix.IFLA_INFO_KIND, []byte("veth")).
		attr(unix.IFLA_INFO_DATA, message{}.attr(vethInfoPeer, peer))
	return request(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		appendStruct(nil, unix.IfInfomsg{}).attr(unix.IFLA_IFNAME, text(name)).attr(unix.IFLA_LINKINFO, info))
}

// addAddr gives an interface of the thread's namespace an address.
func addAddr(ifindex int, addr netip.Prefix) error {
	family := uint8(unix.AF_INET6)
	if addr.Addr().Is4() {
		family = unix.AF_INET
	}
	ip := addr.Addr().AsSlice()
	return request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, appendStruct(nil, unix.IfAddrmsg{
		Family: family, Prefixlen: uint8(addr.Bits()), Index: uint32(ifindex),
		// No other machine can have the address: this saves the second of duplicate detection.
		Flags: unix.IFA_F_NODAD,
	}).attr(unix.IFA_LOCAL, ip).attr(unix.IFA_ADDRESS, ip))
}

// request makes a request and waits for the answer.
func request(typ, flags uint16, payload message) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	header := unix.NlMsghdr{
		Len: uint32(unix.SizeofNlMsghdr + len(payload)), Type: typ, Seq: 1,
		Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | flags,
	}
	if err := unix.Sendto(fd, append(appendStruct(nil, header), payload...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	answer := make([]byte, os.Getpagesize())
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	// struct nlmsgerr: an error, negative, and the request.
	if answer = answer[:n]; n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("netlink: the answer to a request is not an acknowledgement")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		return fmt.Errorf("netlink: %w", unix.Errno(-code))
	}
	return nil
}
