package tc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// address returns the address of the socket that marks a place as having an owner.
func (p Place) address() *unix.SockaddrUnix {
	list := "ingress"
	if p.Egress {
		list = "egress"
	}
	return &unix.SockaddrUnix{Name: fmt.Sprintf("@rules_bpf/tc/%d/%s/%d/%x", p.Ifindex, list, p.Priority, p.Handle)}
}

// setMark returns the socket that marks a place. The error is [unix.EEXIST] when another
// process, or this one, has it. The error is nil, and the descriptor negative, when a
// process without rights has taken the address.
func setMark(place Place) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = unix.Bind(fd, place.address())
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
	if markCounts(place) {
		return -1, errors.Join(unix.EEXIST, closeErr)
	}
	return -1, closeErr
}

// markCounts reports whether the socket at the address of a place is of a process that could
// have attached something there. That is so when it cannot be told.
func markCounts(place Place) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, place.address())
	// Which it does between bind and listen.
	for i := 0; errors.Is(err, unix.ECONNREFUSED) && i < 20; i++ {
		time.Sleep(time.Millisecond)
		err = unix.Connect(fd, place.address())
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
