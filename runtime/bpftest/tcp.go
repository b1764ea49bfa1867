package bpftest

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// HasCongestionControl reports whether a TCP congestion control of this name is in one of the
// kernel's lists: "available", all that are registered, or "allowed", those that processes
// without privileges may use.
func HasCongestionControl(t testing.TB, list, name string) bool {
	t.Helper()
	data, err := os.ReadFile("/proc/sys/net/ipv4/tcp_" + list + "_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(strings.Fields(string(data)), name)
}

// TransferTCP sends a mebibyte over a TCP connection of the loopback interface that uses the
// congestion control of this name, and waits until it has arrived. t fails when it does not.
func TransferTCP(t testing.TB, control string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	received := make(chan error, 1)
	const size = 1 << 20
	go func() {
		conn, err := l.Accept()
		if err != nil {
			received <- err
			return
		}
		defer conn.Close()
		n, err := io.Copy(io.Discard, conn)
		if err == nil && n != size {
			err = fmt.Errorf("received %d bytes, want %d", n, size)
		}
		received <- err
	}()
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if ctlErr := c.Control(func(fd uintptr) { err = setCongestionControl(fd, control) }); ctlErr != nil {
			return ctlErr
		}
		return err
	}}
	conn, err := dialer.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatalf("connect with %s: %v", control, err)
	}
	if _, err := conn.Write(make([]byte, size)); err != nil {
		t.Error(err)
	}
	conn.Close()
	if err := <-received; err != nil {
		t.Error(err)
	}
}
