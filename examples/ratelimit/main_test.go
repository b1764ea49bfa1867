package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/examples/ratelimit/control"
	"github.com/rules-bpf/rules_bpf/examples/ratelimit/edge"
	"github.com/rules-bpf/rules_bpf/examples/ratelimit/guard"
	"github.com/rules-bpf/rules_bpf/examples/ratelimit/limiter"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")
)

// packet returns an IPv4 packet of n bytes.
func packet(source, destination netip.Addr, n int) []byte {
	b := make([]byte, n)
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	b[8], b[9] = 64, 17
	s, d := source.As4(), destination.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	return b
}

// frame returns the packet as an interface receives it.
func frame(packet []byte) []byte {
	return append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00}, packet...)
}

// send runs a program on a packet, several times, and returns how often it returned
// pass.
func send(t *testing.T, p *ebpf.Program, data []byte, pass uint32, times int) int {
	t.Helper()
	passed := 0
	for range times {
		ret, _, err := p.Test(data)
		if err != nil {
			t.Fatal(err)
		}
		if ret == pass {
			passed++
		}
	}
	return passed
}

// An object is a final object with the library in it.
type object struct {
	name    string
	open    func(t *testing.T) (lib *limiter.Subskeleton, load func() error, prog func() *ebpf.Program)
	packet  func(addr netip.Addr, n int) []byte
	pass    uint32
	perLong int // tokens that a long packet costs
}

const long = 1100 // bytes

func objects() []object {
	return []object{
		{
			name: "edge",
			open: func(t *testing.T) (*limiter.Subskeleton, func() error, func() *ebpf.Program) {
				skel, err := edge.Open()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { skel.Close() })
				return skel.Subskeletons.Limiter, skel.Load, skel.Progs.Edge.Program
			},
			packet:  func(addr netip.Addr, n int) []byte { return frame(packet(addr, bob, n)) },
			pass:    2, // XDP_PASS
			perLong: 1, // as the library has it
		},
		{
			name: "guard",
			open: func(t *testing.T) (*limiter.Subskeleton, func() error, func() *ebpf.Program) {
				skel, err := guard.Open()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { skel.Close() })
				return skel.Subskeletons.Limiter, skel.Load, skel.Progs.Guard.Program
			},
			packet:  func(addr netip.Addr, n int) []byte { return frame(packet(bob, addr, n)) },
			pass:    1,
			perLong: 3, // its own limiter_cost
		},
	}
}

// One Go package controls the library in two objects, before load and after.
func TestControl(t *testing.T) {
	bpftest.NeedsBPF(t)
	for _, o := range objects() {
		t.Run(o.name, func(t *testing.T) {
			lib, load, prog := o.open(t)
			c := control.New(lib)
			// A second for a token: none comes back while the packets are sent, but on
			// a very busy machine.
			if err := c.SetRate(1, 6); err != nil {
				t.Fatal(err)
			}
			if err := load(); err != nil {
				t.Fatal(err)
			}
			passed := 0
			limited := func(packet []byte, cost int) {
				t.Helper()
				start := time.Now()
				n := send(t, prog(), packet, o.pass, 10)
				if most := (6 + int(time.Since(start)/time.Second)) / cost; n < 6/cost || n > most {
					t.Errorf("%d packets of %d bytes passed, want %d to %d", n, len(packet), 6/cost, most)
				}
				passed += n
			}
			limited(o.packet(alice, 60), 1)
			limited(o.packet(bob, long), o.perLong)
			if err := c.Forget(alice); err != nil {
				t.Error(err)
			}
			if err := c.Forget(alice); err != nil {
				t.Errorf("an address that was forgotten: %v", err)
			}
			if n := send(t, prog(), o.packet(alice, 60), o.pass, 1); n != 1 {
				t.Error("nothing passed after Forget")
			}
			if err := c.SetRate(0, 0); err != nil {
				t.Fatal(err)
			}
			if n := send(t, prog(), o.packet(bob, 60), o.pass, 50); n != 50 {
				t.Errorf("%d packets passed without a limit, want 50", n)
			}
			allowed, denied := c.Counts()
			wantAllowed := uint64(passed + 1 + 50)
			if wantDenied := uint64(20 - passed); allowed != wantAllowed || denied != wantDenied {
				t.Errorf("counted %d and %d, want %d and %d", allowed, denied, wantAllowed, wantDenied)
			}
		})
	}
}

func TestSetRateErrors(t *testing.T) {
	c := control.New(new(limiter.Subskeleton))
	for _, rate := range [][2]uint64{{1, 0}, {2_000_000_000, 1}} {
		if err := c.SetRate(rate[0], rate[1]); err == nil {
			t.Errorf("rate %d, burst %d: no error", rate[0], rate[1])
		}
	}
}

// sendEnv makes this binary send packets, in a process of its own.
const sendEnv = "RATELIMIT_SEND"

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(sendEnv)); err == nil {
		if err := sendPackets(n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// sendPackets sends over the loopback interface, to a port that nobody reads.
func sendPackets(n int) error {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer conn.Close()
	for range n {
		_, err := conn.WriteTo([]byte("hello"), conn.LocalAddr())
		// What the cgroup's program drops.
		if err != nil && !errors.Is(err, syscall.EPERM) {
			return err
		}
	}
	return nil
}

func setRate(l control.Limiter) error { return l.SetRate(1, 3) }

// Real packets meet the limit from the first on: it is set before the program is
// loaded.
func TestInterface(t *testing.T) {
	bpftest.NeedsBPF(t)
	limiter, closer, err := onInterface("lo", setRate)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if err := sendPackets(5); err != nil {
		t.Fatal(err)
	}
	checkCounts(t, limiter)
}

func TestCgroup(t *testing.T) {
	bpftest.NeedsBPF(t)
	cgroup := bpftest.NewCgroup(t)
	limiter, closer, err := onCgroup(cgroup, setRate)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), sendEnv+"=5")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	checkCounts(t, limiter)
}

// checkCounts checks that of at least 5 packets 3 passed. Others may use the
// loopback interface too.
func checkCounts(t *testing.T, limiter control.Limiter) {
	t.Helper()
	allowed, denied := limiter.Counts()
	if allowed != 3 || denied < 2 {
		t.Errorf("%d packets passed and %d did not, want 3 and 2", allowed, denied)
	}
	var out strings.Builder
	report(&out, limiter)
	if want := fmt.Sprintf("%d packets passed, %d did not\n", allowed, denied); out.String() != want {
		t.Errorf("output is %q, want %q", out.String(), want)
	}
}

func TestErrors(t *testing.T) {
	bpftest.NeedsBPF(t)
	bad := func(l control.Limiter) error { return l.SetRate(1, 0) }
	for name, try := range map[string]func() (control.Limiter, io.Closer, error){
		"no such interface": func() (control.Limiter, io.Closer, error) { return onInterface("nosuchinterface", setRate) },
		"no such cgroup":    func() (control.Limiter, io.Closer, error) { return onCgroup("/nosuchcgroup", setRate) },
		"bad rate":          func() (control.Limiter, io.Closer, error) { return onInterface("lo", bad) },
	} {
		if _, closer, err := try(); err == nil {
			closer.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
