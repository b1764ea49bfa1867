package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/examples/upgrade/guard"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// asAgent makes the test's own file the agent.
const asAgent = "UPGRADE_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// agent is a process of the agent's.
type agent struct {
	cmd *exec.Cmd
	out bpftest.Buffer
}

func startAgent(t *testing.T, pins string, version int, args ...string) *agent {
	t.Helper()
	a := &agent{cmd: exec.Command("/proc/self/exe", append([]string{"-pins", pins, "-version", fmt.Sprint(version)}, args...)...)}
	a.cmd.Env = []string{asAgent + "=1"}
	a.cmd.Stdout, a.cmd.Stderr = &a.out, &a.out
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.cmd.Process.Kill() })
	return a
}

// guards waits until the agent has taken over.
func (a *agent) guards(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(a.out.String(), "guards lo\n"); time.Sleep(time.Millisecond) {
		if strings.Contains(a.out.String(), "ENOPROTOOPT") || strings.Contains(a.out.String(), unix.ENOPROTOOPT.Error()) {
			t.Skipf("needs a kernel with TCX, or with clsact and filters of kind bpf: %s", a.out.String())
		}
		if time.Now().After(end) || strings.Contains(a.out.String(), "interface lo: ") {
			t.Fatalf("the agent does not guard:\n%s", a.out.String())
		}
	}
}

func (a *agent) end(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := a.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Wait(); err != nil && signal != os.Kill {
		t.Fatalf("%v:\n%s", err, a.out.String())
	}
}

// socket returns a UDP socket that receives on the loopback interface.
func socket(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func port(c *net.UDPConn) uint16 { return c.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// received counts what a socket receives until it is closed.
func received(c *net.UDPConn) *atomic.Uint64 {
	n := new(atomic.Uint64)
	go func() {
		for buf := make([]byte, 16); ; n.Add(1) {
			if _, _, err := c.ReadFrom(buf); err != nil {
				return
			}
		}
	}()
	return n
}

// upgrade has agents take turns in the test's network namespace, some of which are killed,
// while packets come for a port that is blocked and for one that is not.
func upgrade(t *testing.T, pins string) {
	t.Helper()
	from, blocked, open := socket(t), socket(t), socket(t)
	gotBlocked, gotOpen := received(blocked), received(open)
	a := startAgent(t, pins, 1, "-block", fmt.Sprint(port(blocked)))
	a.guards(t)

	var stop atomic.Bool
	done := make(chan error, 1)
	var sent uint64
	go func() {
		for ; !stop.Load(); sent++ {
			for _, to := range []*net.UDPConn{blocked, open} {
				if _, err := from.WriteTo([]byte("x"), to.LocalAddr()); err != nil {
					done <- err
					return
				}
			}
			time.Sleep(50 * time.Microsecond)
		}
		done <- nil
	}()
	// An upgrade as it should be.
	next := startAgent(t, pins, 2)
	next.guards(t)
	a.end(t, unix.SIGTERM)
	if !strings.Contains(a.out.String(), fmt.Sprintf("port %d: ", port(blocked))) {
		t.Errorf("version 1 has printed\n%s", a.out.String())
	}
	// One after a crash.
	next.end(t, unix.SIGKILL)
	a = startAgent(t, pins, 3)
	a.guards(t)
	// Crashes at any point of the next one's start, with and without the one before.
	for i := range 6 {
		next := startAgent(t, pins, 4)
		time.Sleep(time.Duration(i) * 10 * time.Millisecond)
		next.end(t, unix.SIGKILL)
		if i == 3 {
			a.end(t, unix.SIGKILL)
		}
	}
	a = startAgent(t, pins, 5)
	a.guards(t)
	time.Sleep(10 * time.Millisecond)
	stop.Store(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	a.end(t, unix.SIGTERM)

	// No packet came through, and none that may was lost.
	for end := time.Now().Add(10 * time.Second); gotOpen.Load() < sent && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if n := gotBlocked.Load(); n != 0 {
		t.Errorf("%d of %d packets for the blocked port have come through", n, sent)
	}
	if n := gotOpen.Load(); n != sent {
		t.Errorf("%d of %d packets for the other port have arrived", n, sent)
	}
	// And the counts are of all versions.
	if want := fmt.Sprintf("port %d: %d packets dropped\n", port(blocked), sent); !strings.Contains(a.out.String(), want) {
		t.Errorf("printed\n%s\nwant %s", a.out.String(), want)
	}
	for _, version := range []string{"version 1: ", "version 3: ", "version 5: "} {
		if !strings.Contains(a.out.String(), version) {
			t.Errorf("printed\n%s\nwithout %s", a.out.String(), version)
		}
	}
	t.Logf("%d packets each way:\n%s", sent, a.out.String())

	// The last one has left its program in place.
	if _, err := from.WriteTo([]byte("x"), blocked.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	if n := gotBlocked.Load(); n != 0 {
		t.Error("the port is open after the end of the agent")
	}
	remove := startAgent(t, pins, 5, "-remove")
	if err := remove.cmd.Wait(); err != nil {
		t.Fatalf("%v:\n%s", err, remove.out.String())
	}
	if _, err := os.Stat(pins); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the pins: %v", err)
	}
	for end := time.Now().Add(10 * time.Second); gotBlocked.Load() == 0; time.Sleep(time.Millisecond) {
		if _, err := from.WriteTo([]byte("x"), blocked.LocalAddr()); err != nil || time.Now().After(end) {
			t.Fatalf("the port is closed after -remove: %v", err)
		}
	}
}

func TestUpgrade(t *testing.T) {
	bpftest.NewNetNS(t).Enter(t)
	upgrade(t, filepath.Join(bpftest.PinDir(t), "upgrade"))
}

// In a container: a user namespace, whose manager has set up a bpffs for it, and a network
// namespace.
func TestContainer(t *testing.T) {
	if !bpftest.InContainer(t, bpftest.DelegateAll()) {
		return
	}
	// Never unlocked: the thread ends with the goroutine.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(os.NewSyscallError("unshare", err))
	}
	if err := loopbackUp(); err != nil {
		t.Fatal(err)
	}
	upgrade(t, "/sys/fs/bpf/upgrade")
}

// loopbackUp takes the loopback interface of a new network namespace up.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return os.NewSyscallError("ioctl", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
}

// A version whose map is another one is refused, and the one before goes on.
func TestOtherMap(t *testing.T) {
	bpftest.NewNetNS(t).Enter(t)
	pins := filepath.Join(bpftest.PinDir(t), "upgrade")
	s := settings{iface: "lo", pins: pins, version: 1, block: []uint16{7}}
	skel, err := start(s)
	if errors.Is(err, unix.ENOPROTOOPT) {
		t.Skipf("needs a kernel with TCX, or with clsact and filters of kind bpf: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	other := bpftest.Open(t, guard.Open)
	if err := other.AdoptPinned(pins); err != nil {
		t.Fatal(err)
	}
	if err := other.Maps.Blocked.SetMaxEntries(2048); err != nil {
		t.Fatal(err)
	}
	if err := other.Load(); err == nil || !strings.Contains(err.Error(), "it has max_entries 1024 and not 2048") {
		t.Errorf("error %v", err)
	}
	if n, err := skel.Maps.Blocked.Lookup(7); err != nil || n != 0 {
		t.Errorf("port 7: %d, %v", n, err)
	}
}

func TestNoInterface(t *testing.T) {
	var out bpftest.Buffer
	if err := run(t.Context(), &out, settings{iface: "nosuch"}); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("interface that is not there: %v", err)
	}
}

func TestPorts(t *testing.T) {
	if list, err := ports("53,8080"); err != nil || len(list) != 2 || list[1] != 8080 {
		t.Errorf("%v, %v", list, err)
	}
	for _, list := range []string{"", "0", "53,", "70000"} {
		if _, err := ports(list); err == nil {
			t.Errorf("%q is taken", list)
		}
	}
}
