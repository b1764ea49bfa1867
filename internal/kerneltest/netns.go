package kerneltest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A NetNS is a network namespace. It ends with the test that made it, and with it
// the interfaces that are in it.
type NetNS struct {
	file *os.File
}

// NewNetNS is BPF for tests that need interfaces of their own: it makes a network
// namespace as well.
func NewNetNS(t testing.TB) NetNS {
	t.Helper()
	BPF(t)
	var ns NetNS
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		ns.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if errors.Is(err, unix.EPERM) {
		t.Skipf("needs the right to make a network namespace: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.file.Close() })
	return ns
}

// Enter moves the calling goroutine, which must be that of the test, to the
// namespace for good. Goroutines that it starts are not in it.
func (n NetNS) Enter(t testing.TB) {
	t.Helper()
	// Never unlocked: the thread ends with the goroutine.
	runtime.LockOSThread()
	if err := n.set(); err != nil {
		t.Fatal(err)
	}
}

// Run runs f in the namespace, in a goroutine of its own, and returns what f does.
func (n NetNS) Run(f func() error) error {
	return onThread(func() error {
		if err := n.set(); err != nil {
			return err
		}
		return f()
	})
}

// set moves this thread to the namespace.
func (n NetNS) set() error {
	return os.NewSyscallError("setns", unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET))
}

// onThread runs f on a thread that ends with it, and may be changed at will.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- f()
	}()
	return <-result
}

// Veth makes a veth pair, its end "a" in one namespace, "b" in the other or the
// same. Both are up.
func Veth(t testing.TB, nsA, nsB NetNS) (a, b netlink.Link) {
	t.Helper()
	err := nsA.Run(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: "a"},
			PeerName:      "b",
			PeerNamespace: netlink.NsFd(nsB.file.Fd()),
		})
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("needs a kernel with veth: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	up := func(ns NetNS, name string) (l netlink.Link) {
		t.Helper()
		if err := ns.Run(func() (err error) {
			if l, err = netlink.LinkByName(name); err != nil {
				return err
			}
			return netlink.LinkSetUp(l)
		}); err != nil {
			t.Fatal(fmt.Errorf("interface %s: %w", name, err))
		}
		return l
	}
	return up(nsA, "a"), up(nsB, "b")
}
