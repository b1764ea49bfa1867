package bpftest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
)

// A NetNS is a network namespace. It ends with the test that made it, and with it
// the interfaces that are in it.
type NetNS struct {
	file *os.File
}

// NewNetNS is [NeedsBPF] for tests that need network interfaces of their own: it returns a new
// network namespace, in which the loopback interface is up.
func NewNetNS(t testing.TB) NetNS {
	t.Helper()
	NeedsBPF(t)
	var ns NetNS
	err := OnThread(func() error {
		if err := unshareNet(); err != nil {
			return err
		}
		var err error
		if ns.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		lo, err := net.InterfaceByName("lo")
		if err != nil {
			return err
		}
		return setUp(lo.Index)
	})
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("needs the right to make a network namespace: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.file.Close() })
	return ns
}

// Enter moves the calling goroutine, which must be that of the test, to the namespace for
// good. Goroutines that it starts are not in it.
func (n NetNS) Enter(t testing.TB) {
	t.Helper()
	// Never unlocked: the thread ends with the goroutine.
	runtime.LockOSThread()
	if err := setNetNS(n.file); err != nil {
		t.Fatal(err)
	}
}

// Do runs f in the namespace, in a goroutine of its own, and returns what f does. Goroutines
// that f starts are not in it; sockets that f opens stay in it.
func (n NetNS) Do(f func() error) error {
	return OnThread(func() error {
		if err := setNetNS(n.file); err != nil {
			return err
		}
		return f()
	})
}

// NewVeth makes a pair of veth interfaces: what is sent at one end is received at the other.
// One end, in this namespace, has the name; the other, in the namespace peer, which may be
// the same, has the name peerName. Both are up.
func (n NetNS) NewVeth(t testing.TB, name string, peer NetNS, peerName string) (end, peerEnd *net.Interface) {
	t.Helper()
	err := n.Do(func() error { return addVeth(name, peer.file, peerName) })
	if errors.Is(err, syscall.EOPNOTSUPP) {
		t.Skipf("needs a kernel with veth: %v", err)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("veth interfaces %s and %s: %w", name, peerName, err))
	}
	return n.up(t, name), peer.up(t, peerName)
}

// up takes an interface up.
func (n NetNS) up(t testing.TB, name string) (ifi *net.Interface) {
	t.Helper()
	err := n.Do(func() (err error) {
		if ifi, err = net.InterfaceByName(name); err != nil {
			return err
		}
		if err = setUp(ifi.Index); err != nil {
			return err
		}
		ifi, err = net.InterfaceByName(name)
		return err
	})
	if err != nil {
		t.Fatal(fmt.Errorf("interface %s: %w", name, err))
	}
	return ifi
}

// AddAddr gives an interface of the namespace an address, which can be used at once, and its
// network:
//
//	ns.AddAddr(t, end, netip.MustParsePrefix("192.0.2.1/24"))
func (n NetNS) AddAddr(t testing.TB, ifi *net.Interface, addr netip.Prefix) {
	t.Helper()
	if err := n.Do(func() error { return addAddr(ifi.Index, addr) }); err != nil {
		t.Fatal(fmt.Errorf("interface %s: address %s: %w", ifi.Name, addr, err))
	}
}
