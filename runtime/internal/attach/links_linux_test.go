package attach

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usdt"
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
			o := load(t, nil, kerneltest.Trivial(ebpf.SocketFilter, "socket"))
			conn := open(t)
			l, err := Socket(o.progs[0], conn)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Errorf("close the link: %v", err)
			}
			if _, err := Socket(o.progs[0], conn); !errors.Is(err, os.ErrClosed) {
				t.Errorf("attach to a closed socket: %v, want %v", err, os.ErrClosed)
			}
		})
	}
}

// fakeLink does nothing; pinning fails when it is to.
type fakeLink struct {
	link.Link
	pin error
}

func (l *fakeLink) Pin(string) error { return l.pin }
func (*fakeLink) Unpin() error       { return nil }
func (*fakeLink) Close() error       { return nil }

// A USDT keeps its entry in the map of specs for as long as its program can run.
func TestUSDTLinkPinned(t *testing.T) {
	errPin := errors.New("cannot be pinned")
	pin := func(l link.Link) error { return l.Pin("/sys/fs/bpf/probe") }
	unpin, closeIt := link.Link.Unpin, link.Link.Close
	for name, tc := range map[string]struct {
		pin   error
		steps []func(link.Link) error
		freed bool
	}{
		"open":                        {freed: false},
		"closed":                      {steps: []func(link.Link) error{closeIt}, freed: true},
		"closed twice":                {steps: []func(link.Link) error{closeIt, closeIt}, freed: true},
		"pinned and closed":           {steps: []func(link.Link) error{pin, closeIt}},
		"unpinned, open":              {steps: []func(link.Link) error{pin, unpin}},
		"unpinned and closed":         {steps: []func(link.Link) error{pin, unpin, closeIt}, freed: true},
		"closed and unpinned":         {steps: []func(link.Link) error{pin, closeIt, unpin}, freed: true},
		"not pinned, and then closed": {pin: errPin, steps: []func(link.Link) error{pin, closeIt}, freed: true},
	} {
		t.Run(name, func(t *testing.T) {
			a := &usdtAttacher{all: &USDTs{IDs: new(usdt.IDs)}}
			id, _ := a.all.IDs.Take("one")
			a.ids = append(a.ids, id)
			l := &usdtLink{Link: &fakeLink{pin: tc.pin}, release: a.release}
			for _, step := range tc.steps {
				if err := step(l); err != nil && !errors.Is(err, errPin) {
					t.Fatal(err)
				}
			}
			if other, _ := a.all.IDs.Take("another"); (other == id) != tc.freed {
				t.Errorf("another probe is given place %d, the first had %d: want the same: %t", other, id, tc.freed)
			}
		})
	}
}
