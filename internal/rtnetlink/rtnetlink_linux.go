// Package rtnetlink makes requests of rtnetlink(7) for tests, including those of users. It is
// here so that importers of package bpftest get no library for it. The runtime has requests of
// its own for traffic control, which tests check with these.
//
// All requests are of the network namespace of the calling thread, and fail with the kernel's
// errno.
package rtnetlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	sizeofAttr = 4
	// datagram is as large as the kernel makes a part of an answer.
	datagram = 64 << 10
	typeMask = 0x3fff
)

// Message is the payload of a request: a struct and attributes, in the machine's byte order.
type Message []byte

// Struct returns the memory of a struct of the kernel.
func Struct[T any](v T) Message {
	return append(Message{}, unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))...)
}

// Link begins a request about an interface, of any index when it is 0.
func Link(ifindex int) Message { return Struct(unix.IfInfomsg{Index: int32(ifindex)}) }

// Attr appends an attribute: its length and type, the value and padding to 4 bytes.
func (m Message) Attr(typ uint16, value []byte) Message {
	m = binary.NativeEndian.AppendUint16(m, uint16(sizeofAttr+len(value)))
	m = append(binary.NativeEndian.AppendUint16(m, typ), value...)
	return append(m, make([]byte, -len(value)&3)...)
}

// Text appends an attribute that is a string.
func (m Message) Text(typ uint16, s string) Message { return m.Attr(typ, append([]byte(s), 0)) }

// Number appends an attribute that is a number of 32 bits.
func (m Message) Number(typ uint16, n uint32) Message {
	return m.Attr(typ, binary.NativeEndian.AppendUint32(nil, n))
}

// Do makes a request and waits for the acknowledgement.
func Do(typ, flags uint16, m Message) error {
	_, err := Call(typ, flags, m)
	return err
}

// Call makes a request and returns the payloads of the answers.
func Call(typ, flags uint16, m Message) ([][]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	header := Struct(unix.NlMsghdr{
		Len: uint32(unix.SizeofNlMsghdr + len(m)), Type: typ, Seq: 1, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | flags,
	})
	if err := unix.Sendto(fd, append(header, m...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	var payloads [][]byte
	buf := make([]byte, datagram)
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

// Attrs returns attributes by their types.
func Attrs(b []byte) map[uint16][]byte {
	found := make(map[uint16][]byte)
	for len(b) >= sizeofAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < sizeofAttr || n > len(b) {
			break
		}
		found[binary.NativeEndian.Uint16(b[2:])&typeMask] = b[sizeofAttr:n]
		b = b[min((n+3)&^3, len(b)):]
	}
	return found
}

// vethInfoPeer is VETH_INFO_PEER of linux/veth.h.
const vethInfoPeer = 1

// AddLink makes an interface of a kind, with what the kind has of its own. Its index is any
// when index is 0.
func AddLink(name, kind string, index int, data Message) error {
	info := Message{}.Attr(unix.IFLA_INFO_KIND, []byte(kind)).Attr(unix.IFLA_INFO_DATA, data)
	return Do(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, Link(index).Text(unix.IFLA_IFNAME, name).Attr(unix.IFLA_LINKINFO, info))
}

// AddVeth makes a pair of interfaces. peer is that of the second one, as Link begins it.
func AddVeth(name string, index int, peer Message) error {
	return AddLink(name, "veth", index, Message{}.Attr(vethInfoPeer, peer))
}

// SetUp takes an interface up.
func SetUp(ifindex int) error {
	return Do(unix.RTM_NEWLINK, 0, Struct(unix.IfInfomsg{Index: int32(ifindex), Flags: unix.IFF_UP, Change: unix.IFF_UP}))
}
