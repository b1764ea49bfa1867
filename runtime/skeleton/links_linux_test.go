package skeleton

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A socket that is closed has no program any more, which is nothing to complain of.
func TestSocketClosedFirst(t *testing.T) {
	type socket interface {
		syscall.Conn
		io.Closer
	}
	for name, open := range map[string]func(*testing.T) socket{
		"file": func(t *testing.T) socket {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			return os.NewFile(uintptr(fd), "packets")
		},
		"net": func(t *testing.T) socket {
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			return conn.(*net.UDPConn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var p *SocketProgram
			spec := newTestProgram("filter", asm.Mov.Imm(asm.R0, 0), asm.Return())
			spec.Type, spec.SectionName = ebpf.SocketFilter, "socket"
			o := newTestObject(t, nil)
			addTestProgram(o, ProgField(spec.Name, &p, new(link.Link)), spec)
			if err := o.Load(); err != nil {
				t.Fatal(err)
			}
			conn := open(t)
			if err := p.AttachSocket(conn); err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			if err := o.Detach(); err != nil {
				t.Errorf("Detach: %v", err)
			}
			if err := p.AttachSocket(conn); !errors.Is(err, os.ErrClosed) {
				t.Errorf("AttachSocket to a closed socket: %v, want %v", err, os.ErrClosed)
			}
			if err := o.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}
