package tc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// conn is a socket of rtnetlink. It belongs to the network namespace of the thread that
// made it.
type conn struct {
	fd int
	// mu is for one request and its answer.
	mu  sync.Mutex
	seq uint32
}

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket of rtnetlink", err)
	}
	// Older kernels add no sentences, and answer with the whole request.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &conn{fd: fd}, nil
}

func (c *conn) close() error { return os.NewSyscallError("close", unix.Close(c.fd)) }

// netNS returns what identifies the socket's network namespace for as long as the socket is open.
func (c *conn) netNS() (id [2]uint64, err error) {
	fd, err := unix.IoctlRetInt(c.fd, unix.SIOCGSKNS)
	if err != nil {
		return id, os.NewSyscallError("network namespace of a socket", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return id, os.NewSyscallError("fstat", err)
	}
	return [2]uint64{uint64(st.Dev), st.Ino}, nil
}

// Sizes of struct nlmsghdr, struct nlattr and struct tcmsg.
const (
	sizeHeader = unix.SizeofNlMsghdr
	sizeAttr   = 4
	sizeTC     = 20
)

func align(n int) int { return (n + 3) &^ 3 }

// tcMessage is struct tcmsg of linux/rtnetlink.h.
type tcMessage struct {
	ifindex              int32
	handle, parent, info uint32
}

func (m tcMessage) append(b []byte) []byte {
	b = append(b, unix.AF_UNSPEC, 0, 0, 0)
	for _, n := range []uint32{uint32(m.ifindex), m.handle, m.parent, m.info} {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return b
}

func parseTC(b []byte) (m tcMessage, attrs []byte, err error) {
	if len(b) < sizeTC {
		return m, nil, fmt.Errorf("answer of rtnetlink has %d bytes, want %d or more", len(b), sizeTC)
	}
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	return tcMessage{int32(u32(4)), u32(8), u32(12), u32(16)}, b[sizeTC:], nil
}

// appendAttr appends an attribute.
func appendAttr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(sizeAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, make([]byte, align(len(value))-len(value))...)
}

func appendUint32(b []byte, typ uint16, value uint32) []byte {
	return appendAttr(b, typ, binary.NativeEndian.AppendUint32(nil, value))
}

func appendText(b []byte, typ uint16, value string) []byte {
	return appendAttr(b, typ, append([]byte(value), 0))
}

// eachAttr calls f with the attributes, up to the first that is cut off.
func eachAttr(b []byte, f func(typ uint16, value []byte)) {
	for len(b) >= sizeAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < sizeAttr || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[sizeAttr:n])
		b = b[min(align(n), len(b)):]
	}
}

func text(value []byte) string { return string(bytes.TrimRight(value, "\x00")) }

// call sends a request and calls each, if it is not nil, for every answer that is neither an
// acknowledgement nor an error.
func (c *conn) call(typ, flags uint16, m tcMessage, attrs []byte, each func(tcMessage, []byte)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	b := binary.NativeEndian.AppendUint32(nil, uint32(sizeHeader+sizeTC+len(attrs)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b = binary.NativeEndian.AppendUint32(b, c.seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(m.append(b), attrs...)
	if err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("send to rtnetlink", err)
	}
	// No message of the kernel's answers is larger.
	buf := make([]byte, 64<<10)
	for {
		n, from, err := unix.Recvfrom(c.fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("receive from rtnetlink", err)
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue // not from the kernel
		}
		if done, err := c.answers(buf[:n], each); done || err != nil {
			return err
		}
	}
}

// answers looks at the answers of a datagram and reports whether the last is among them.
func (c *conn) answers(b []byte, each func(tcMessage, []byte)) (done bool, err error) {
	for len(b) >= sizeHeader {
		n := int(binary.NativeEndian.Uint32(b))
		if n < sizeHeader || n > len(b) {
			return true, fmt.Errorf("answer of rtnetlink: length %d of %d bytes", n, len(b))
		}
		typ, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
		seq, payload := binary.NativeEndian.Uint32(b[8:]), b[sizeHeader:n]
		b = b[min(align(n), len(b)):]
		switch {
		case seq != c.seq:
		case typ == unix.NLMSG_DONE, typ == unix.NLMSG_ERROR:
			return true, answerError(payload, flags)
		case each != nil:
			m, attrs, err := parseTC(payload)
			if err != nil {
				return true, err
			}
			each(m, attrs)
		}
	}
	return false, nil
}

// answerError returns the error of an acknowledgement, nil when there is none.
func answerError(b []byte, flags uint16) error {
	if len(b) < 4 {
		return nil // the end of a dump
	}
	code := int32(binary.NativeEndian.Uint32(b))
	if code == 0 {
		return nil
	}
	errno := syscall.Errno(-code)
	b = b[4:]
	// The request comes first: all of it, or its header.
	skip := sizeHeader
	if flags&unix.NLM_F_CAPPED == 0 && len(b) >= 4 {
		skip = align(int(binary.NativeEndian.Uint32(b)))
	}
	said := ""
	if flags&unix.NLM_F_ACK_TLVS != 0 && skip <= len(b) {
		eachAttr(b[skip:], func(typ uint16, value []byte) {
			if typ == unix.NLMSGERR_ATTR_MSG {
				said = text(value)
			}
		})
	}
	if said != "" {
		return fmt.Errorf("%w (the kernel says %q)", errno, said)
	}
	return errno
}
