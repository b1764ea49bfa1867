package bpftest_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// What a test sends at one end of a pair arrives at the other, in another namespace, for
// addresses of both families.
func TestNetNS(t *testing.T) {
	here, there := bpftest.NewNetNS(t), bpftest.NewNetNS(t)
	a, b := here.NewVeth(t, "a", there, "b")
	if a.Name != "a" || b.Name != "b" || a.Flags&net.FlagUp == 0 || b.Flags&net.FlagUp == 0 {
		t.Errorf("ends %+v and %+v, want a and b, up", a, b)
	}
	if _, err := net.InterfaceByName("a"); err == nil {
		t.Error("the end is in this namespace too")
	}
	for _, network := range []struct{ here, there, bits string }{{"192.0.2.1", "192.0.2.2", "/24"}, {"2001:db8::1", "2001:db8::2", "/64"}} {
		if _, err := os.Stat("/proc/net/if_inet6"); err != nil && network.bits == "/64" {
			continue // a kernel without IPv6
		}
		here.AddAddr(t, a, netip.MustParsePrefix(network.here+network.bits))
		there.AddAddr(t, b, netip.MustParsePrefix(network.there+network.bits))
		var l net.Listener
		if err := there.Do(func() (err error) {
			l, err = net.Listen("tcp", net.JoinHostPort(network.there, "0"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := here.Do(func() error {
			conn, err := net.DialTimeout("tcp", l.Addr().String(), 10*time.Second)
			if err != nil {
				return err
			}
			return conn.Close()
		}); err != nil {
			t.Errorf("from %s to %s: %v", network.here, network.there, err)
		}
	}
	// The loopback interface is up, and Do returns the error of its function.
	err := here.Do(func() error {
		conn, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			return err
		}
		conn.Close()
		return io.ErrUnexpectedEOF
	})
	if err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
}

// Enter moves the test itself.
func TestEnter(t *testing.T) {
	ns := bpftest.NewNetNS(t)
	ns.NewVeth(t, "inside", ns, "other")
	ns.Enter(t)
	if _, err := net.InterfaceByName("inside"); err != nil {
		t.Error(err)
	}
}

func TestPinDir(t *testing.T) {
	var dir string
	t.Run("use", func(t *testing.T) {
		dir = bpftest.PinDir(t)
		if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
			t.Error(err)
		}
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil || st.Type != unix.BPF_FS_MAGIC {
			t.Errorf("%s is on a file system of type %#x, %v", dir, st.Type, err)
		}
	})
	if _, err := os.Stat(dir); dir != "" && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s after the test: %v", dir, err)
	}
}

func TestNewCgroup(t *testing.T) {
	var dir string
	t.Run("use", func(t *testing.T) {
		dir = bpftest.NewCgroup(t)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(dir); dir != "" && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s after the test: %v", dir, err)
	}
}

// A kernel that is not there yet, and one that all have.
func TestNeedsKernel(t *testing.T) {
	bpftest.NeedsKernel(t, 3, 18, "bpf")
	skipped := true
	t.Run("future", func(t *testing.T) {
		t.Cleanup(func() { skipped = t.Skipped() })
		bpftest.NeedsKernel(t, 99, 0, "what nobody has thought of")
	})
	if !skipped {
		t.Error("the kernel is taken for Linux 99.0")
	}
}

func TestTransferTCP(t *testing.T) {
	if !bpftest.HasCongestionControl(t, "available", "reno") || bpftest.HasCongestionControl(t, "available", "no such") {
		t.Error("the kernel's list is not what is read")
	}
	bpftest.TransferTCP(t, "reno")
}

func TestExecutable(t *testing.T) {
	path := bpftest.Executable(t, "child")
	if filepath.Base(path) != "child" {
		t.Error(path)
	}
	bpftest.Run(t, path, "an argument")
}

func TestBuffer(t *testing.T) {
	var b bpftest.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		_, _ = io.WriteString(&b, "half a ")
		_, _ = io.WriteString(&b, "line\n")
	}()
	b.WaitFor(ctx, regexp.MustCompile("a line\n"))
	if b.String() != "half a line\n" {
		t.Errorf("%q", b.String())
	}
	cancel()
	b.WaitFor(ctx, regexp.MustCompile("never"))
}

// In a container, a test is root of a user namespace of its own, and has the bpffs.
func TestInContainer(t *testing.T) {
	if !bpftest.InContainer(t, bpftest.Delegation{"delegate_progs": "xdp"}) {
		return
	}
	if os.Getuid() != 0 {
		t.Errorf("uid is %d, want 0", os.Getuid())
	}
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	if fields := strings.Fields(string(users)); len(fields) != 3 || fields[2] != "1" {
		t.Errorf("uid_map is %q, want one user", users)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\S+ /sys/fs/bpf bpf \S*delegate_progs=xdp`).Match(mounts) {
		t.Errorf("no such bpffs at /sys/fs/bpf: %s", mounts)
	}
}
