package tc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// address returns the address of the socket that marks a location as having an owner.
func (p Location) address() *unix.SockaddrUnix {
	list := "ingress"
	if p.Egress {
		list = "egress"
	}
	return &unix.SockaddrUnix{Name: fmt.Sprintf("@rules_bpf/tc/%d/%s/%d/%x", p.Ifindex, list, p.Priority, p.Handle)}
}

// setMark returns the socket that marks a location. The error is [unix.EEXIST] when another
// process, or this one, has it. The error is nil, and the descriptor negative, when a
// process without rights has taken the address.
func setMark(location Location) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = unix.Bind(fd, location.address())
	if err == nil {
		// A process that connects learns the owner (SO_PEERCRED). Connections are not accepted.
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err == nil {
		return fd, nil
	}
	closeErr := os.NewSyscallError("close", unix.Close(fd))
	if !errors.Is(err, unix.EADDRINUSE) {
		return -1, errors.Join(os.NewSyscallError("bind", err), closeErr)
	}
	if markCounts(location) {
		return -1, errors.Join(unix.EEXIST, closeErr)
	}
	return -1, closeErr
}

// markCounts reports whether the socket at the address of a location is of a process that could
// have attached something there. It does when that is not known.
func markCounts(location Location) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, location.address())
	// A process refuses connections between bind and listen.
	for i := 0; errors.Is(err, unix.ECONNREFUSED) && i < 20; i++ {
		time.Sleep(time.Millisecond)
		err = unix.Connect(fd, location.address())
	}
	if err != nil {
		return !errors.Is(err, unix.ECONNREFUSED)
	}
	owner, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err != nil || owner.Uid == 0 || int(owner.Uid) == os.Geteuid()
}

func htons(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}
