package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/examples/xdp/packets"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd

	xdpDrop = 1
	xdpPass = 2
)

// frame returns an Ethernet frame of n bytes; proto is the IPv4 header's.
func frame(etherType uint16, proto byte, n int) []byte {
	b := make([]byte, n)
	copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1})
	binary.BigEndian.PutUint16(b[12:], etherType)
	if etherType == etherTypeIPv4 && n >= 34 {
		b[14] = 0x45
		b[23] = proto
	}
	return b
}

// The kernel runs the program on frames of ours (BPF_PROG_TEST_RUN).
func TestClassify(t *testing.T) {
	skel := bpftest.Open(t, packets.Open)
	if skel.Data.LastProtocol != packets.ProtocolCount {
		t.Errorf("initial value of last_protocol is %d", skel.Data.LastProtocol)
	}
	skel.Rodata.Dropped = packets.ProtocolIpv4Udp
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}

	for _, tc := range []struct {
		frame  []byte
		want   packets.Protocol
		action uint32
	}{
		{frame(etherTypeARP, 0, 60), packets.ProtocolArp, xdpPass},
		{frame(etherTypeIPv6, 0, 80), packets.ProtocolIpv6, xdpPass},
		{frame(etherTypeIPv4, unix.IPPROTO_TCP, 90), packets.ProtocolIpv4Tcp, xdpPass},
		{frame(etherTypeIPv4, unix.IPPROTO_UDP, 100), packets.ProtocolIpv4Udp, xdpDrop},
		{frame(etherTypeIPv4, unix.IPPROTO_ICMP, 110), packets.ProtocolIpv4, xdpPass},
		{frame(etherTypeIPv4, 0, 30), packets.ProtocolIpv4, xdpPass}, // header cut short
		{frame(0x88cc, 0, 120), packets.ProtocolOther, xdpPass},
	} {
		before := skel.Bss.Received[tc.want]
		action, _, err := skel.Progs.CountPacket.Program().Test(tc.frame)
		if err != nil {
			t.Fatal(err)
		}
		after := skel.Bss.Received[tc.want]
		if action != tc.action || skel.Data.LastProtocol != tc.want {
			t.Errorf("frame of %d bytes: action %d, protocol %d; want %d, %d", len(tc.frame), action, skel.Data.LastProtocol, tc.action, tc.want)
		}
		if after.Packets != before.Packets+1 || after.Bytes != before.Bytes+uint64(len(tc.frame)) {
			t.Errorf("frame of %d bytes: counts went from %+v to %+v", len(tc.frame), before, after)
		}
	}
}

// vethPair moves this goroutine to a new network namespace and returns the two
// ends of a veth pair in it, both up.
func vethPair(t *testing.T) (a, b *net.Interface) {
	t.Helper()
	ns := bpftest.NewNetNS(t)
	ns.Enter(t)
	return ns.NewVeth(t, "a", ns, "b")
}

// send puts frames on the wire at an interface.
func send(t *testing.T, ifi *net.Interface, frames ...[]byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, f := range frames {
		if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: ifi.Index, Halen: 6}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVeth(t *testing.T) {
	a, b := vethPair(t)
	skel := bpftest.Load(t, packets.Open)
	// Nothing in the section's name says where to attach.
	if err := skel.Attach(); err != nil || skel.Links.CountPacket != nil {
		t.Fatalf("Attach: %v, link %v", err, skel.Links.CountPacket)
	}
	if _, err := skel.Progs.CountPacket.AttachXDP(a.Index, nil); err != nil {
		t.Fatal(err)
	}

	const n = 50
	udp := frame(etherTypeIPv4, unix.IPPROTO_UDP, 100)
	for range n {
		send(t, b, udp)
	}
	count := func() uint64 { return atomic.LoadUint64(&skel.Bss.Received[packets.ProtocolIpv4Udp].Packets) }
	for deadline := time.Now().Add(5 * time.Second); count() < n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if got := skel.Bss.Received[packets.ProtocolIpv4Udp]; got.Packets != n || got.Bytes != n*100 {
		t.Errorf("counted %+v, sent %d frames of 100 bytes", got, n)
	}

	if err := skel.Detach(); err != nil || skel.Links.CountPacket != nil {
		t.Fatalf("Detach: %v, link %v", err, skel.Links.CountPacket)
	}
	send(t, b, udp)
	time.Sleep(20 * time.Millisecond)
	if got := count(); got != n {
		t.Errorf("%d packets counted after Detach, want %d", got, n)
	}
}

func TestRun(t *testing.T) {
	vethPair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out, "a"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "packets"); got != len(names) {
		t.Errorf("%d lines of counts, want %d:\n%s", got, len(names), out.String())
	}
	if err := run(ctx, &out, "nosuch"); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("interface that is not there: %v", err)
	}
}
