package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/examples/tc/quota"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest/fake"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd

	tcNext = 0xffffffff // TC_ACT_UNSPEC
	tcDrop = 2          // TC_ACT_SHOT
)

// frame returns an Ethernet frame of n bytes.
func frame(etherType uint16, n int, set func(header []byte)) []byte {
	b := make([]byte, n)
	copy(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2})
	binary.BigEndian.PutUint16(b[12:], etherType)
	if set != nil {
		set(b[14:])
	}
	return b
}

func ipv4(source, destination string, protocol byte, n int) []byte {
	return frame(etherTypeIPv4, n, func(h []byte) {
		h[0], h[9] = 0x45, protocol
		copy(h[12:], netip.MustParseAddr(source).AsSlice())
		copy(h[16:], netip.MustParseAddr(destination).AsSlice())
	})
}

func ipv6(source, destination string, protocol byte, n int) []byte {
	return frame(etherTypeIPv6, n, func(h []byte) {
		h[0], h[6] = 0x60, protocol
		copy(h[8:], netip.MustParseAddr(source).AsSlice())
		copy(h[24:], netip.MustParseAddr(destination).AsSlice())
	})
}

func peer(address string, protocol uint32) quota.Peer {
	return quota.Peer{Address: netip.MustParseAddr(address).As16(), Protocol: protocol}
}

// The kernel runs the programs on frames of ours (BPF_PROG_TEST_RUN).
func TestFrames(t *testing.T) {
	skel := bpftest.Load(t, quota.Open)
	skel.Bss.Allowance = 250
	in, out := skel.Progs.Ingress.Handle(), skel.Progs.Egress.Handle()
	for i, tc := range []struct {
		prog  *skeleton.BaseProgram
		frame []byte
		want  uint32
	}{
		{in, ipv4("192.0.2.1", "192.0.2.2", unix.IPPROTO_UDP, 100), tcNext},
		{out, ipv4("192.0.2.2", "192.0.2.1", unix.IPPROTO_UDP, 150), tcNext},
		{out, ipv4("192.0.2.2", "192.0.2.1", unix.IPPROTO_UDP, 60), tcDrop},
		{in, ipv4("192.0.2.1", "192.0.2.2", unix.IPPROTO_UDP, 70), tcDrop},
		// Others have allowances of their own.
		{in, ipv4("192.0.2.1", "192.0.2.2", unix.IPPROTO_TCP, 80), tcNext},
		{out, ipv4("192.0.2.1", "192.0.2.2", unix.IPPROTO_UDP, 90), tcNext},
		{in, ipv6("2001:db8::1", "2001:db8::2", unix.IPPROTO_UDP, 250), tcNext},
		{out, ipv6("2001:db8::1", "2001:db8::2", 132, 251), tcDrop},
		// What is not IP has none.
		{in, frame(etherTypeARP, 300, nil), tcNext},
	} {
		got, _, err := tc.prog.Program().Test(tc.frame)
		if err != nil {
			t.Fatal(err)
		}
		if got != tc.want {
			t.Errorf("frame %d: action %#x, want %#x", i, got, tc.want)
		}
	}
	want := map[quota.Peer]quota.Traffic{
		peer("192.0.2.1", unix.IPPROTO_UDP): {
			Received: quota.Count{Packets: 1, Bytes: 100},
			Sent:     quota.Count{Packets: 1, Bytes: 150},
			Dropped:  quota.Count{Packets: 2, Bytes: 130},
		},
		peer("192.0.2.1", unix.IPPROTO_TCP):   {Received: quota.Count{Packets: 1, Bytes: 80}},
		peer("192.0.2.2", unix.IPPROTO_UDP):   {Sent: quota.Count{Packets: 1, Bytes: 90}},
		peer("2001:db8::1", unix.IPPROTO_UDP): {Received: quota.Count{Packets: 1, Bytes: 250}},
		peer("2001:db8::2", 132):              {Dropped: quota.Count{Packets: 1, Bytes: 251}},
	}
	n := 0
	for e, err := range skel.Maps.Peers.All() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; e.Value != want[e.Key] {
			t.Errorf("%v: %+v, want %+v", e.Key, e.Value, want[e.Key])
		}
	}
	if n != len(want) {
		t.Errorf("%d peers, want %d", n, len(want))
	}

	var table bytes.Buffer
	if err := report(&table, skel); err != nil {
		t.Fatal(err)
	}
	wantTable := strings.TrimPrefix(`
      ADDRESS  PROTOCOL  RECEIVED  BYTES  SENT  BYTES  DROPPED  BYTES
    192.0.2.1       tcp         1     80     0      0        0      0
    192.0.2.1       udp         1    100     1    150        2    130
    192.0.2.2       udp         0      0     1     90        0      0
  2001:db8::1       udp         1    250     0      0        0      0
  2001:db8::2       132         0      0     0      0        1    251
`, "\n")
	if table.String() != wantTable {
		t.Errorf("printed\n%s\nwant\n%s", table.String(), wantTable)
	}
}

// What is printed of a map needs no kernel: here, the map is in memory.
func TestReport(t *testing.T) {
	skel := fake.Load(t, quota.Open)
	traffic := quota.Traffic{Received: quota.Count{Packets: 3, Bytes: 4000}}
	if err := skel.Maps.Peers.Put(peer("192.0.2.7", unix.IPPROTO_TCP), traffic); err != nil {
		t.Fatal(err)
	}
	skel.Bss.Untracked = 5
	var table bytes.Buffer
	if err := report(&table, skel); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
    ADDRESS  PROTOCOL  RECEIVED  BYTES  SENT  BYTES  DROPPED  BYTES
  192.0.2.7       tcp         3   4000     0      0        0      0
5 packets of further addresses were neither counted nor limited
`, "\n")
	if table.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", table.String(), want)
	}
}

// Packets of addresses that the map has no room for pass.
func TestUntracked(t *testing.T) {
	skel := bpftest.Open(t, quota.Open)
	if err := skel.Maps.Peers.SetMaxEntries(1); err != nil {
		t.Fatal(err)
	}
	skel.Bss.Allowance = 100
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"192.0.2.1", "192.0.2.2"} {
		got, _, err := skel.Progs.Ingress.Program().Test(ipv4(source, "192.0.2.3", unix.IPPROTO_UDP, 100))
		if err != nil || got != tcNext {
			t.Errorf("from %s: action %#x, %v", source, got, err)
		}
	}
	var out bytes.Buffer
	if err := report(&out, skel); err != nil || !strings.Contains(out.String(), "\n1 packets of further addresses ") {
		t.Errorf("printed\n%s\n%v", out.String(), err)
	}
}

const (
	here  = "192.0.2.1" // at end a
	there = "192.0.2.2" // at end b
)

// veth moves this goroutine to the end a of a veth pair, and returns the namespace
// with its end b. Both have addresses.
func veth(t *testing.T) (other bpftest.NetNS) {
	t.Helper()
	ns, other := bpftest.NewNetNS(t), bpftest.NewNetNS(t)
	a, b := ns.NewVeth(t, "a", other, "b")
	ns.AddAddr(t, a, netip.MustParsePrefix(here+"/24"))
	other.AddAddr(t, b, netip.MustParsePrefix(there+"/24"))
	ns.Enter(t)
	return other
}

// listen returns a UDP socket at an address of this network namespace.
func listen(ip string) (*net.UDPConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
}

// sockets returns a UDP socket at each end of the pair.
func sockets(t *testing.T, other bpftest.NetNS) (a, b *net.UDPConn) {
	t.Helper()
	a, err := listen(here)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if err := other.Do(func() (err error) {
		b, err = listen(there)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return a, b
}

// headers is what a UDP packet has more than its payload: Ethernet, IPv4, UDP.
const headers = 14 + 20 + 8

// send sends a packet, which has so many bytes on the wire.
func send(from, to *net.UDPConn, size int) error {
	_, err := from.WriteTo(make([]byte, size-headers), to.LocalAddr())
	return err
}

// receive waits for n packets, and says if there are less.
func receive(to *net.UDPConn, n int) error {
	if err := to.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	for i := range n {
		if _, _, err := to.ReadFrom(make([]byte, 1500)); err != nil {
			return fmt.Errorf("after %d of %d packets: %w", i, n, err)
		}
	}
	return nil
}

// exchange sends n packets of 100 bytes, of which want are to arrive.
func exchange(t *testing.T, from, to *net.UDPConn, n, want int) {
	t.Helper()
	for range n {
		if err := send(from, to, 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := receive(to, want); err != nil {
		t.Fatal(err)
	}
	if err := to.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := to.ReadFrom(make([]byte, 1500)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the %d packets that were to arrive: %v, want none", want, err)
	}
}

// UDP in both directions, with a limit that changes while the programs run.
func TestLimit(t *testing.T) {
	other := veth(t)
	a, b := sockets(t, other)
	skel, err := start("a", 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	// Packets that are dropped are waited for here.
	check := func(received, sent, dropped uint64) {
		t.Helper()
		of := func(n uint64) quota.Count { return quota.Count{Packets: n, Bytes: n * 100} }
		want := quota.Traffic{Received: of(received), Sent: of(sent), Dropped: of(dropped)}
		var got quota.Traffic
		for deadline := time.Now().Add(10 * time.Second); got != want && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if got, err = skel.Maps.Peers.Lookup(peer(there, unix.IPPROTO_UDP)); err != nil {
				t.Fatal(err)
			}
		}
		if got != want {
			t.Fatalf("counted %+v, want %+v", got, want)
		}
	}

	exchange(t, b, a, 6, 6)
	check(6, 0, 0)
	exchange(t, a, b, 6, 4)
	check(6, 4, 2)
	exchange(t, b, a, 3, 0)
	check(6, 4, 5)
	atomic.StoreUint64(&skel.Bss.Allowance, 1500)
	exchange(t, b, a, 7, 5)
	check(11, 4, 7)
	atomic.StoreUint64(&skel.Bss.Allowance, 0)
	exchange(t, a, b, 20, 20)
	check(11, 24, 7)

	atomic.StoreUint64(&skel.Bss.Allowance, 1)
	exchange(t, a, b, 2, 0)
	check(11, 24, 9)
	if err := skel.Detach(); err != nil || skel.Links.Ingress != nil || skel.Links.Egress != nil {
		t.Fatalf("Detach: %v, links %v and %v", err, skel.Links.Ingress, skel.Links.Egress)
	}
	exchange(t, a, b, 4, 4)
	exchange(t, b, a, 4, 4)
	check(11, 24, 9)
}

func TestRun(t *testing.T) {
	other := veth(t)
	a, b := sockets(t, other)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bpftest.Buffer
	sent := make(chan error, 1)
	go func() {
		defer cancel()
		// Printed when the programs are attached.
		out.WaitFor(ctx, regexp.MustCompile("counting on a\n"))
		err := send(b, a, 400)
		for range 3 {
			err = errors.Join(err, send(b, a, 100))
		}
		sent <- errors.Join(err, receive(a, 3))
		time.Sleep(100 * time.Millisecond) // for the first, which is dropped, wherever it is
	}()
	if err := run(ctx, &out, "a", 300); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if !regexp.MustCompile(` 192\.0\.2\.2 +udp +3 +300 +0 +0 +1 +400\n`).MatchString(out.String()) {
		t.Errorf("printed\n%s", out.String())
	}
	exchange(t, b, a, 10, 10)
}

func TestNoInterface(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, "nosuch", 0); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("interface that is not there: %v", err)
	}
}
