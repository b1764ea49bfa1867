package kerneltest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// CongestionControl says whether one of this name is in one of the kernel's lists of
// congestion controls: "available" or "allowed".
func CongestionControl(t testing.TB, list, name string) bool {
	t.Helper()
	data, err := os.ReadFile("/proc/sys/net/ipv4/tcp_" + list + "_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(strings.Fields(string(data)), name)
}

// StructOpsLinks skips t when err says that the kernel does not attach struct_ops
// maps through links.
func StructOpsLinks(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ebpf.ErrNotSupported) && strings.Contains(err.Error(), "Linux 6.4") {
		t.Skipf("needs links of struct_ops maps (Linux 6.4): %v", err)
	}
}

// Transfer sends some data over a TCP connection that uses the congestion
// control of this name.
func Transfer(t testing.TB, control string) {
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
		if ctlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, control)
		}); ctlErr != nil {
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
