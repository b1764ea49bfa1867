package attach

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Socket makes p the filter of a socket.
func Socket(p *Program, conn syscall.Conn) (link.Link, error) {
	return onSocket(p.Program, conn, unix.SO_ATTACH_BPF, unix.SO_DETACH_BPF)
}

// Reuseport makes p choose among the sockets of a port.
func Reuseport(p *Program, conn syscall.Conn) (link.Link, error) {
	return onSocket(p.Program, conn, unix.SO_ATTACH_REUSEPORT_EBPF, unix.SO_DETACH_REUSEPORT_BPF)
}

func onSocket(prog *ebpf.Program, conn syscall.Conn, attach, detach int) (link.Link, error) {
	if err := setSocket(conn, attach, prog.FD()); err != nil {
		return nil, err
	}
	return &ownLink{what: "a program on a socket", detach: func() error {
		err := setSocket(conn, detach, 0)
		// A closed socket has no program any more.
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		return err
	}}, nil
}

func setSocket(conn syscall.Conn, opt, value int) error {
	if conn == nil {
		return errors.New("the socket is nil: give an open one, such as a *net.UDPConn")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	open := false
	err = raw.Control(func(fd uintptr) {
		open = true
		failed = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, opt, value))
	})
	if err != nil && !open {
		// Control fails before it has a descriptor when the socket is closed. The error of a
		// file then is not os.ErrClosed, nor is that of package net, which is not imported
		// here: with it, programs take longer to start, and link libc where there is cgo.
		return fmt.Errorf("%w: %w", os.ErrClosed, err)
	}
	return errors.Join(err, failed)
}

// SockMap connects p to the sockets of a map.
func SockMap(p *Program, m *ebpf.Map) (link.Link, error) {
	prog, attach := p.Program, p.AttachType
	if m == nil {
		return nil, errors.New("map is nil: the map's skeleton is not loaded")
	}
	l, err := link.AttachRawLink(link.RawLinkOptions{Target: m.FD(), Program: prog, Attach: attach})
	if err == nil {
		return l, nil
	}
	if !errors.Is(err, unix.EINVAL) {
		return nil, err
	}
	// The link closes both after the skeleton may have.
	prog, err = prog.Clone()
	if err != nil {
		return nil, err
	}
	m, err = m.Clone()
	if err != nil {
		return nil, errors.Join(err, prog.Close())
	}
	if err := link.RawAttachProgram(link.RawAttachProgramOptions{Target: m.FD(), Program: prog, Attach: attach}); err != nil {
		return nil, errors.Join(err, prog.Close(), m.Close())
	}
	return &ownLink{what: "a program on a map of sockets", detach: func() error {
		err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: m.FD(), Program: prog, Attach: attach})
		return errors.Join(err, prog.Close(), m.Close())
	}}, nil
}
