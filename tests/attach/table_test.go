// Package attach_test attaches a program of every form of section name, on
// whatever kernel it runs on, and sees it fire.
package attach_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/attach/progs/forms"
)

// A row is a form of section name.
type row struct {
	// form is the section's name in general.
	form string
	prog func(*forms.Progs) *skeleton.BaseProgram
	// since is the version of the kernel that brought what the row attaches to, when it
	// is later than the one that brought the form.
	since string
	// prepare is called before Load.
	prepare func(*testing.T, *forms.Skeleton)
	// attach attaches by hand; nil means Attach does.
	attach func(*testing.T, *forms.Skeleton) error
	// fire makes the program run.
	fire func(*testing.T, *forms.Skeleton)
	// detached, if any, is called after Detach, before the program is to stay quiet.
	detached func(*testing.T, *forms.Skeleton)
}

// def returns what the table of forms says of the row's program.
func (r *row) def(t *testing.T, progs *forms.Progs) *secdef.Form {
	t.Helper()
	section := r.prog(progs).Section()
	def, _, ok := secdef.Find(section)
	if !ok {
		t.Fatalf("no form is SEC(%q)", section)
	}
	return def
}

// versions returns which kernels the row needs, the latest first.
func (r *row) versions(def *secdef.Form) []string {
	list := []string{def.Since}
	if r.attach != nil && def.CallsSince != "" {
		list = append(list, def.CallsSince)
	}
	if r.since != "" {
		list = append(list, r.since)
	}
	slices.Reverse(list)
	return list
}

func getsid(*testing.T, *forms.Skeleton) { _, _ = unix.Getsid(os.Getppid()) }

// rename gives this thread a name.
func rename(t *testing.T, _ *forms.Skeleton) {
	name := []byte("attach-test\x00")
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
}

func openFile(*testing.T, *forms.Skeleton) { _, _ = os.ReadFile("/proc/self/stat") }

// victimRuns runs the program for probes. A row that uses it is attached after
// it is in place.
func victimRuns(t *testing.T, _ *forms.Skeleton) {
	if err := exec.Command(victimName).Run(); err != nil {
		t.Fatal(err)
	}
}

func libraryRuns(t *testing.T, _ *forms.Skeleton) {
	path := filepath.Join(os.Getenv("LD_LIBRARY_PATH"), victimLibrary)
	if err := exec.Command(path).Run(); err != nil {
		t.Fatal(err)
	}
}

// testRun runs a program on a packet, which passes bpf_test_finish.
func testRun(t *testing.T, s *forms.Skeleton) {
	if _, _, err := s.Progs.Replaced.Test(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
}

func loadReplaced(_ *testing.T, s *forms.Skeleton) { s.Progs.Replaced.SetAutoload(true) }

// loadFentry loads a tracing program that stays unattached: running it calls the
// kernel's functions for tests.
func loadFentry(_ *testing.T, s *forms.Skeleton) {
	s.Progs.Fentry.SetAutoload(true)
	s.Progs.Fentry.SetAutoattach(false)
}

func runFentry(t *testing.T, s *forms.Skeleton) {
	if _, err := s.Progs.Fentry.Run(&ebpf.RunOptions{}); err != nil {
		t.Fatal(err)
	}
}

// other is a second skeleton, for programs on programs.
func other(t *testing.T) *forms.Skeleton {
	t.Helper()
	s, err := forms.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.Progs.Replaced.SetAutoload(true)
	if err := s.Load(); err != nil {
		t.Fatal(err)
	}
	return s
}

// onProgram sets a target, and returns what makes the target run.
type onProgram struct{ target *forms.Skeleton }

func (o *onProgram) prepare(prog func(*forms.Progs) *skeleton.BaseProgram) func(*testing.T, *forms.Skeleton) {
	return func(t *testing.T, s *forms.Skeleton) {
		o.target = other(t)
		prog(&s.Progs).SetTarget(o.target.Progs.Replaced.Program(), "replaceable")
	}
}

func (o *onProgram) fire(t *testing.T, _ *forms.Skeleton) { testRun(t, o.target) }

var freplace, fentryProg, fsessionProg onProgram

const loopback = 1

// overIPv4 and overIPv6 return what makes traffic with an address of the loopback
// interface.
func overIPv4(fire func(*testing.T, net.IP)) func(*testing.T, *forms.Skeleton) {
	return func(t *testing.T, _ *forms.Skeleton) { fire(t, net.IPv4(127, 0, 0, 1)) }
}

func overIPv6(fire func(*testing.T, net.IP)) func(*testing.T, *forms.Skeleton) {
	return func(t *testing.T, _ *forms.Skeleton) {
		if all, err := os.ReadFile("/proc/net/if_inet6"); err != nil || len(all) == 0 {
			t.Skip("needs an address of IPv6 for the loopback interface")
		}
		fire(t, net.IPv6loopback)
	}
}

// udp sends a packet over the loopback interface to a port that the caller
// listens on.
func udp(t *testing.T, s *forms.Skeleton) {
	t.Helper()
	overIPv4(udpOn)(t, s)
}

func udpOn(t *testing.T, ip net.IP) {
	t.Helper()
	conn := listenUDPOn(t, ip)
	defer conn.Close()
	sendTo(t, conn)
	buf := make([]byte, 16)
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _, _ = conn.ReadFrom(buf)
}

func listenUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	return listenUDPOn(t, net.IPv4(127, 0, 0, 1))
}

func listenUDPOn(t *testing.T, ip net.IP) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func sendTo(t *testing.T, conn *net.UDPConn) {
	t.Helper()
	out, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := out.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
}

// tcp makes a connection over the loopback interface and sends something.
func tcp(t *testing.T, _ *forms.Skeleton) {
	t.Helper()
	client, server := tcpPair(t)
	defer client.Close()
	defer server.Close()
	_, _ = client.Write([]byte("hello"))
	buf := make([]byte, 16)
	_ = server.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _ = server.Read(buf)
	_ = client.RemoteAddr()
}

func tcpPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	return tcpPairOn(t, net.IPv4(127, 0, 0, 1))
}

func tcpPairOn(t *testing.T, ip net.IP) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: ip})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), s
}

// socketState is what a row's attach keeps for its fire.
var socketState struct {
	udp            *net.UDPConn
	client, server *net.TCPConn
}

func onSocket(attach func(*forms.Skeleton, *net.UDPConn) error) func(*testing.T, *forms.Skeleton) error {
	return func(t *testing.T, s *forms.Skeleton) error {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		}}
		conn, err := lc.ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		socketState.udp = conn.(*net.UDPConn)
		t.Cleanup(func() { conn.Close() })
		return attach(s, socketState.udp)
	}
}

func toSocket(t *testing.T, _ *forms.Skeleton) { sendTo(t, socketState.udp) }

// onSockMap puts both ends of a connection into the map.
func onSockMap(attach func(*forms.Skeleton, *ebpf.Map) error) func(*testing.T, *forms.Skeleton) error {
	return func(t *testing.T, s *forms.Skeleton) error {
		m := s.Maps.Sockets.Map()
		if err := attach(s, m); err != nil {
			return err
		}
		socketState.client, socketState.server = tcpPair(t)
		t.Cleanup(func() {
			socketState.client.Close()
			socketState.server.Close()
		})
		for i, conn := range []*net.TCPConn{socketState.client, socketState.server} {
			raw, err := conn.SyscallConn()
			if err != nil {
				return err
			}
			var failed error
			if err := raw.Control(func(fd uintptr) { failed = m.Put(uint32(i), uint64(fd)) }); err != nil || failed != nil {
				return errors.Join(err, failed)
			}
		}
		return nil
	}
}

// emptySockMap takes the sockets out of the map: as long as they are there, they
// keep the programs that it had when they came.
func emptySockMap(t *testing.T, s *forms.Skeleton) {
	for i := range uint32(2) {
		if err := s.Maps.Sockets.Map().Delete(i); err != nil {
			t.Fatal(err)
		}
	}
}

func throughSockMap(t *testing.T, _ *forms.Skeleton) {
	_, _ = socketState.client.Write([]byte("hello"))
	buf := make([]byte, 16)
	_ = socketState.server.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = socketState.server.Read(buf)
}

// cgroup makes a cgroup and puts this process into it for the rest of the test.
func cgroup(t *testing.T) string {
	t.Helper()
	root := bpftest.CgroupRoot(t)
	dir, err := os.MkdirTemp(root, "rules-bpf-")
	if err != nil {
		t.Skipf("needs a cgroup2 file system to make groups in: %v", err)
	}
	before, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	back := root
	for line := range strings.Lines(string(before)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			back = filepath.Join(root, strings.TrimSpace(path))
		}
	}
	move := func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Appendf(nil, "%d", os.Getpid()), 0)
	}
	if err := move(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := move(back); err != nil {
			t.Error(err)
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// errOf returns the error of a call that returns a link, too.
func errOf(_ link.Link, err error) error { return err }

func onCgroup(prog func(*forms.Progs) *skeleton.CgroupProgram) (func(*forms.Progs) *skeleton.BaseProgram, func(*testing.T, *forms.Skeleton) error) {
	return func(p *forms.Progs) *skeleton.BaseProgram { return prog(p).Handle() },
		func(t *testing.T, s *forms.Skeleton) error { return errOf(prog(&s.Progs).AttachCgroup(cgroup(t), nil)) }
}

func cgroupRow(form string, prog func(*forms.Progs) *skeleton.CgroupProgram, fire func(*testing.T, *forms.Skeleton)) row {
	p, attach := onCgroup(prog)
	return row{form: form, prog: p, attach: attach, fire: fire}
}

func unixSocket(t *testing.T, _ *forms.Skeleton) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		_, _ = unix.Getpeername(int(fd))
		_, _ = unix.Getsockname(int(fd))
	})
}

// unixDatagram sends a message from a socket without a peer to one that has a name.
func unixDatagram(t *testing.T, _ *forms.Skeleton) {
	dir := t.TempDir()
	listen := func(name string) *net.UnixConn {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := listen("a"), listen("b")
	defer a.Close()
	defer b.Close()
	if _, err := a.WriteTo([]byte("hello"), b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	_ = b.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _, _ = b.ReadFrom(make([]byte, 16))
}

func sysctl(*testing.T, *forms.Skeleton) { _, _ = os.ReadFile("/proc/sys/kernel/ostype") }

func device(*testing.T, *forms.Skeleton) {
	if f, err := os.Open("/dev/null"); err == nil {
		f.Close()
	}
}

func sockopts(t *testing.T, _ *forms.Skeleton) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 1)
	_, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY)
}

// peers asks the kernel for both addresses of a connection.
func peers(t *testing.T, ip net.IP) {
	client, server := tcpPairOn(t, ip)
	defer client.Close()
	defer server.Close()
	raw, err := client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		_, _ = unix.Getpeername(int(fd))
		_, _ = unix.Getsockname(int(fd))
	})
}

// udpUnconnected uses a socket without a peer, whose messages name it.
func udpUnconnected(t *testing.T, ip net.IP) {
	a, b := listenUDPOn(t, ip), listenUDPOn(t, ip)
	defer a.Close()
	defer b.Close()
	if _, err := a.WriteTo([]byte("hello"), b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	_ = b.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _, _ = b.ReadFrom(make([]byte, 16))
}

// lookup connects to a port that nobody listens on, for which the kernel looks.
func lookup(*testing.T, *forms.Skeleton) {
	if c, err := net.DialTimeout("tcp4", "127.0.0.1:1", time.Second); err == nil {
		c.Close()
	}
}

// flowHash receives packets on sockets that share them by flow.
func flowHash(t *testing.T, s *forms.Skeleton) {
	etherTypeAll := htons(unix.ETH_P_ALL)
	for range 2 {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(etherTypeAll))
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: etherTypeAll, Ifindex: loopback}); err != nil {
			t.Fatal(err)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, 0x77|unix.PACKET_FANOUT_HASH<<16); err != nil {
			t.Fatal(err)
		}
	}
	udp(t, s)
}

// spin uses a CPU for a while: by its own clock, as a busy machine has others to run meanwhile.
func spin(t *testing.T, _ *forms.Skeleton) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() int64 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
			t.Fatal(err)
		}
		return now.Nano()
	}
	for end := used() + (100 * time.Millisecond).Nanoseconds(); used() < end; {
	}
}

// errNoNetkit is the error where the kernel can have interfaces of kind netkit, and
// its module is not there.
var errNoNetkit = errors.New("no interfaces of kind netkit")

// netkit makes a pair of interfaces of kind netkit.
func netkit(attach func(*forms.Skeleton, int) error) func(*testing.T, *forms.Skeleton) error {
	return func(t *testing.T, s *forms.Skeleton) error {
		if err := kerneltest.AddNetkit("nkbpf0", "nkbpf1"); errors.Is(err, unix.EOPNOTSUPP) {
			return errNoNetkit
		} else if err != nil {
			return err
		}
		t.Cleanup(func() { _ = kerneltest.DeleteLinkNamed("nkbpf0") })
		if _, err := kerneltest.SetUp("nkbpf1"); err != nil {
			return err
		}
		ifindex, err := kerneltest.SetUp("nkbpf0")
		if err != nil {
			return err
		}
		return attach(s, ifindex)
	}
}

// htons returns a number whose bytes are in network order.
func htons(n uint16) uint16 {
	return binary.NativeEndian.Uint16([]byte{byte(n >> 8), byte(n)})
}

// overNetkit sends a packet out of each end.
func overNetkit(t *testing.T, _ *forms.Skeleton) {
	for _, name := range []string{"nkbpf0", "nkbpf1"} {
		l, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		packet := make([]byte, 28)
		packet[0], packet[3], packet[8], packet[9] = 0x45, 28, 64, 17
		_ = unix.Sendto(fd, packet, 0, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: l.Index})
		unix.Close(fd)
	}
}

func rows() []row {
	type P = *forms.Progs
	type S = *forms.Skeleton
	type K = *skeleton.BaseProgram
	list := []row{
		{form: "kprobe/<sym>", prog: func(p P) K { return p.Kprobe.Handle() }, fire: getsid},
		{form: "kprobe/<sym>+<off>", prog: func(p P) K { return p.KprobeOffset.Handle() }, fire: getsid},
		{form: "kretprobe/<sym>", prog: func(p P) K { return p.Kretprobe.Handle() }, fire: getsid},
		{form: "kprobe.multi/<glob>", prog: func(p P) K { return p.KprobeMulti.Handle() }, fire: getsid},
		{form: "kretprobe.multi/<glob>", prog: func(p P) K { return p.KretprobeMulti.Handle() }, fire: getsid},
		{form: "kprobe.session/<glob>", prog: func(p P) K { return p.KprobeSession.Handle() }, fire: getsid},
		{form: "ksyscall/<name>", prog: func(p P) K { return p.Ksyscall.Handle() }, fire: getsid},
		{form: "kretsyscall/<name>", prog: func(p P) K { return p.Kretsyscall.Handle() }, fire: getsid},
		{form: "fentry/<func>", prog: func(p P) K { return p.Fentry.Handle() }, fire: getsid},
		{form: "fexit/<func>", prog: func(p P) K { return p.Fexit.Handle() }, fire: getsid},
		{form: "fmod_ret/<func>", prog: func(p P) K { return p.FmodRet.Handle() }, fire: getsid},
		{form: "fentry.s/<func>", since: "6.3", prog: func(p P) K { return p.FentryS.Handle() }, prepare: loadFentry, fire: runFentry},
		{form: "fexit.s/<func>", since: "6.3", prog: func(p P) K { return p.FexitS.Handle() }, prepare: loadFentry, fire: runFentry},
		{form: "fmod_ret.s/<func>", since: "6.3", prog: func(p P) K { return p.FmodRetS.Handle() }, prepare: loadFentry, fire: runFentry},
		{form: "fsession/<func>", prog: func(p P) K { return p.Fsession.Handle() }, fire: getsid},
		{form: "fsession.s/<func>", prog: func(p P) K { return p.FsessionS.Handle() }, prepare: loadFentry, fire: runFentry},
		{form: "fentry/<func> of a program", prog: func(p P) K { return p.FentryProg.Handle() }, prepare: fentryProg.prepare(func(p P) K { return p.FentryProg.Handle() }), fire: fentryProg.fire},
		{form: "fsession/<func> of a program", prog: func(p P) K { return p.FsessionProg.Handle() }, prepare: fsessionProg.prepare(func(p P) K { return p.FsessionProg.Handle() }), fire: fsessionProg.fire},
		{form: "freplace/<func>", prog: func(p P) K { return p.Freplace.Handle() }, prepare: freplace.prepare(func(p P) K { return p.Freplace.Handle() }), fire: freplace.fire},
		{form: "lsm/<hook>", prog: func(p P) K { return p.Lsm.Handle() }, fire: getsid},
		{form: "lsm.s/<hook>", since: "5.11", prog: func(p P) K { return p.LsmS.Handle() }, fire: openFile},
		{form: "tp/<category>/<name>", prog: func(p P) K { return p.Tp.Handle() }, fire: rename},
		{form: "tracepoint/<category>/<name>", prog: func(p P) K { return p.Tracepoint.Handle() }, fire: getsid},
		{form: "tp.s/<category>/<name>", prog: func(p P) K { return p.TpS.Handle() }, fire: getsid},
		{form: "tracepoint.s/<category>/<name>", prog: func(p P) K { return p.TracepointS.Handle() }, fire: getsid},
		{form: "raw_tp/<name>", prog: func(p P) K { return p.RawTp.Handle() }, fire: rename},
		{form: "raw_tracepoint/<name>", prog: func(p P) K { return p.RawTracepoint.Handle() }, fire: rename},
		{form: "raw_tp.s/<name>", prog: func(p P) K { return p.RawTpS.Handle() }, fire: getsid},
		{form: "raw_tracepoint.s/<name>", prog: func(p P) K { return p.RawTracepointS.Handle() }, fire: getsid},
		{form: "raw_tp.w/<name>", prog: func(p P) K { return p.RawTpW.Handle() }, prepare: loadReplaced, fire: testRun},
		{form: "raw_tracepoint.w/<name>", prog: func(p P) K { return p.RawTracepointW.Handle() }, prepare: loadReplaced, fire: testRun},
		{form: "tp_btf/<name>", prog: func(p P) K { return p.TpBtf.Handle() }, fire: rename},
		{form: "tp_btf.s/<name>", prog: func(p P) K { return p.TpBtfS.Handle() }, fire: getsid},
		{form: "uprobe/<path>:<sym>", prog: func(p P) K { return p.Uprobe.Handle() }, fire: victimRuns},
		{form: "uprobe/<path>:<sym>+<off>", prog: func(p P) K { return p.UprobeOffset.Handle() }, fire: victimRuns},
		{form: "uprobe/<library>:<sym>", prog: func(p P) K { return p.UprobeLibrary.Handle() }, fire: libraryRuns},
		{form: "uprobe.s/<path>:<sym>", prog: func(p P) K { return p.UprobeS.Handle() }, fire: victimRuns},
		{form: "uretprobe/<path>:<sym>", prog: func(p P) K { return p.Uretprobe.Handle() }, fire: victimRuns},
		{form: "uretprobe.s/<path>:<sym>", prog: func(p P) K { return p.UretprobeS.Handle() }, fire: victimRuns},
		{form: "uprobe.multi/<path>:<glob>", prog: func(p P) K { return p.UprobeMulti.Handle() }, fire: victimRuns},
		{form: "uprobe.multi.s/<path>:<glob>", prog: func(p P) K { return p.UprobeMultiS.Handle() }, fire: victimRuns},
		{form: "uretprobe.multi/<path>:<glob>", prog: func(p P) K { return p.UretprobeMulti.Handle() }, fire: victimRuns},
		{form: "uretprobe.multi.s/<path>:<glob>", prog: func(p P) K { return p.UretprobeMultiS.Handle() }, fire: victimRuns},
		{form: "uprobe.session/<path>:<glob>", prog: func(p P) K { return p.UprobeSession.Handle() }, fire: victimRuns},
		{form: "uprobe.session.s/<path>:<glob>", prog: func(p P) K { return p.UprobeSessionS.Handle() }, fire: victimRuns},
		{form: "usdt/<path>:<provider>:<name>", prog: func(p P) K { return p.Usdt.Handle() }, fire: usdtArgs},
		{form: "usdt with a semaphore", prog: func(p P) K { return p.UsdtSemaphore.Handle() }, fire: victimRuns},
		{form: "usdt.s/<path>:<provider>:<name>", prog: func(p P) K { return p.UsdtS.Handle() }, fire: victimRuns},
		{form: "iter/<kind>", prog: func(p P) K { return p.Iter.Handle() }, fire: func(t *testing.T, s S) { readIter(t, s.Progs.Iter) }},
		{form: "iter.s/<kind>", prog: func(p P) K { return p.IterS.Handle() }, fire: func(t *testing.T, s S) { readIter(t, s.Progs.IterS) }},

		{form: "iter/bpf_map_elem", prog: func(p P) K { return p.IterMap.Handle() },
			attach: func(_ *testing.T, s S) error {
				return errOf(s.Progs.IterMap.AttachIter(&skeleton.IterOptions{Map: s.Maps.Three.Map()}))
			},
			fire: func(t *testing.T, s S) { readIter(t, s.Progs.IterMap) }},
		{form: "iter/cgroup", since: "6.1", prog: func(p P) K { return p.IterCgroup.Handle() },
			attach: func(t *testing.T, s S) error {
				return errOf(s.Progs.IterCgroup.AttachIter(&skeleton.IterOptions{Cgroup: cgroup(t)}))
			},
			fire: func(t *testing.T, s S) { readIter(t, s.Progs.IterCgroup) }},
		{form: "iter/task of a process", since: "6.1", prog: func(p P) K { return p.Iter.Handle() },
			attach: func(_ *testing.T, s S) error {
				return errOf(s.Progs.Iter.AttachIter(&skeleton.IterOptions{PID: os.Getpid()}))
			},
			fire: func(t *testing.T, s S) { readIter(t, s.Progs.Iter) }},
		{form: "xdp", prog: func(p P) K { return p.Xdp.Handle() }, attach: func(_ *testing.T, s S) error {
			return errOf(s.Progs.Xdp.AttachXDP(loopback, &skeleton.XDPOptions{Mode: skeleton.XDPGeneric}))
		}, fire: udp},
		{form: "xdp.frags", prog: func(p P) K { return p.XdpFrags.Handle() }, attach: func(_ *testing.T, s S) error {
			return errOf(s.Progs.XdpFrags.AttachXDP(loopback, &skeleton.XDPOptions{Mode: skeleton.XDPGeneric}))
		}, fire: udp},
		{form: "tc, ingress", prog: func(p P) K { return p.Tc.Handle() }, attach: func(_ *testing.T, s S) error { return errOf(s.Progs.Tc.AttachTC(loopback, skeleton.TCIngress, nil)) }, fire: udp},
		{form: "classifier, egress", prog: func(p P) K { return p.Classifier.Handle() }, attach: func(_ *testing.T, s S) error {
			return errOf(s.Progs.Classifier.AttachTC(loopback, skeleton.TCEgress, nil))
		}, fire: udp},
		{form: "tc/ingress", prog: func(p P) K { return p.TcIngress.Handle() }, attach: func(_ *testing.T, s S) error {
			return errOf(s.Progs.TcIngress.AttachTC(loopback, skeleton.TCBySection, nil))
		}, fire: udp},
		{form: "tc/egress", prog: func(p P) K { return p.TcEgress.Handle() }, attach: func(_ *testing.T, s S) error {
			return errOf(s.Progs.TcEgress.AttachTC(loopback, skeleton.TCBySection, nil))
		}, fire: udp},
		{form: "tcx/ingress", prog: func(p P) K { return p.TcxIngress.Handle() }, attach: func(_ *testing.T, s S) error {
			return errOf(s.Progs.TcxIngress.AttachTC(loopback, skeleton.TCBySection, &skeleton.TCOptions{Before: &skeleton.Anchor{}, Priority: 1}))
		}, fire: udp},
		{form: "tcx/egress", prog: func(p P) K { return p.TcxEgress.Handle() }, attach: func(_ *testing.T, s S) error {
			return errOf(s.Progs.TcxEgress.AttachTC(loopback, skeleton.TCBySection, &skeleton.TCOptions{After: &skeleton.Anchor{}, Priority: 2}))
		}, fire: udp},
		{form: "netkit/primary", prog: func(p P) K { return p.NetkitPrimary.Handle() }, attach: netkit(func(s S, i int) error {
			return errOf(s.Progs.NetkitPrimary.AttachNetkit(i, skeleton.NetkitBySection, nil))
		}), fire: overNetkit},
		{form: "netkit/peer", prog: func(p P) K { return p.NetkitPeer.Handle() }, attach: netkit(func(s S, i int) error {
			return errOf(s.Progs.NetkitPeer.AttachNetkit(i, skeleton.NetkitBySection, nil))
		}), fire: overNetkit},
		{form: "socket", prog: func(p P) K { return p.Socket.Handle() }, attach: onSocket(func(s S, c *net.UDPConn) error { return errOf(s.Progs.Socket.AttachSocket(c)) }), fire: toSocket},
		{form: "sk_reuseport", prog: func(p P) K { return p.SkReuseport.Handle() }, attach: onSocket(func(s S, c *net.UDPConn) error { return errOf(s.Progs.SkReuseport.AttachReuseport(c)) }), fire: toSocket},
		{form: "sk_reuseport/migrate", prog: func(p P) K { return p.SkReuseportMigrate.Handle() }, attach: onSocket(func(s S, c *net.UDPConn) error { return errOf(s.Progs.SkReuseportMigrate.AttachReuseport(c)) }), fire: toSocket},
		{form: "sk_lookup", prog: func(p P) K { return p.SkLookup.Handle() }, attach: func(_ *testing.T, s S) error { return errOf(s.Progs.SkLookup.AttachNetNS("/proc/self/ns/net")) }, fire: lookup},
		{form: "flow_dissector", prog: func(p P) K { return p.FlowDissector.Handle() }, attach: func(_ *testing.T, s S) error { return errOf(s.Progs.FlowDissector.AttachNetNS("/proc/self/ns/net")) }, fire: flowHash},
		{form: "sk_skb/stream_verdict", prog: func(p P) K { return p.SkSkbStreamVerdict.Handle() }, attach: onSockMap(func(s S, m *ebpf.Map) error { return errOf(s.Progs.SkSkbStreamVerdict.AttachSockMap(m)) }), fire: throughSockMap, detached: emptySockMap},
		{form: "sk_skb/verdict", prog: func(p P) K { return p.SkSkbVerdict.Handle() }, attach: onSockMap(func(s S, m *ebpf.Map) error { return errOf(s.Progs.SkSkbVerdict.AttachSockMap(m)) }), fire: throughSockMap, detached: emptySockMap},
		{form: "sk_skb/stream_parser", prog: func(p P) K { return p.SkSkbParser.Handle() },
			// A verdict that lets pass makes Debian's kernel 5.10 wait for itself forever.
			prepare: func(_ *testing.T, s S) { s.Progs.SkSkbDrop.SetAutoload(true) },
			attach: onSockMap(func(s S, m *ebpf.Map) error {
				return errors.Join(errOf(s.Progs.SkSkbParser.AttachSockMap(m)), errOf(s.Progs.SkSkbDrop.AttachSockMap(m)))
			}), fire: throughSockMap, detached: emptySockMap},
		{form: "sk_msg", prog: func(p P) K { return p.SkMsg.Handle() }, attach: onSockMap(func(s S, m *ebpf.Map) error { return errOf(s.Progs.SkMsg.AttachSockMap(m)) }), fire: throughSockMap, detached: emptySockMap},
		{form: "netfilter", prog: func(p P) K { return p.Netfilter.Handle() }, attach: func(_ *testing.T, s S) error {
			return errOf(s.Progs.Netfilter.AttachNetfilter(skeleton.NetfilterIPv4, skeleton.NetfilterLocalOut, &skeleton.NetfilterOptions{Priority: -100}))
		}, fire: udp},
		{form: "perf_event, sampling", prog: func(p P) K { return p.PerfEvent.Handle() }, attach: func(_ *testing.T, s S) error {
			return errOf(s.Progs.PerfEvent.AttachSampling(500, nil))
		}, fire: spin},
		{form: "perf_event, event of one's own", prog: func(p P) K { return p.PerfEvent.Handle() }, attach: onPerfEvent, fire: spin},
		{form: "cgroup/skb", prog: func(p P) K { return p.CgroupSkb.Handle() }, attach: func(t *testing.T, s S) error { return errOf(s.Progs.CgroupSkb.AttachCgroupEgress(cgroup(t), nil)) }, fire: udp},

		{form: "xdp/devmap", prog: func(p P) K { return p.XdpDevmap.Handle() }},
		{form: "xdp.frags/devmap", prog: func(p P) K { return p.XdpFragsDevmap.Handle() }},
		{form: "xdp/cpumap", prog: func(p P) K { return p.XdpCpumap.Handle() }},
		{form: "xdp.frags/cpumap", prog: func(p P) K { return p.XdpFragsCpumap.Handle() }},
		{form: "sk_skb", prog: func(p P) K { return p.SkSkb.Handle() }},
		{form: "fentry.multi/<glob>", prog: func(p P) K { return p.FentryMulti.Handle() }},
		{form: "fentry.multi.s/<glob>", prog: func(p P) K { return p.FentryMultiS.Handle() }},
		{form: "fexit.multi/<glob>", prog: func(p P) K { return p.FexitMulti.Handle() }},
		{form: "fexit.multi.s/<glob>", prog: func(p P) K { return p.FexitMultiS.Handle() }},
		{form: "fsession.multi/<glob>", prog: func(p P) K { return p.FsessionMulti.Handle() }},
		{form: "fsession.multi.s/<glob>", prog: func(p P) K { return p.FsessionMultiS.Handle() }},
		{form: "lirc_mode2", prog: func(p P) K { return p.LircMode2.Handle() }},
		{form: "action", prog: func(p P) K { return p.Action.Handle() }},
		{form: "lwt_in", prog: func(p P) K { return p.LwtIn.Handle() }},
		{form: "lwt_out", prog: func(p P) K { return p.LwtOut.Handle() }},
		{form: "lwt_xmit", prog: func(p P) K { return p.LwtXmit.Handle() }},
		{form: "lwt_seg6local", prog: func(p P) K { return p.LwtSeg6local.Handle() }},
		{form: "syscall", prog: func(p P) K { return p.SyscallProg.Handle() }},
	}
	type C = *skeleton.CgroupProgram
	return append(list,
		cgroupRow("cgroup_skb/ingress", func(p P) C { return p.CgroupSkbIngress }, udp),
		cgroupRow("cgroup_skb/egress", func(p P) C { return p.CgroupSkbEgress }, udp),
		cgroupRow("cgroup/sock", func(p P) C { return p.CgroupSock }, udp),
		cgroupRow("cgroup/sock_create", func(p P) C { return p.CgroupSockCreate }, udp),
		cgroupRow("cgroup/sock_release", func(p P) C { return p.CgroupSockRelease }, udp),
		cgroupRow("cgroup/post_bind4", func(p P) C { return p.CgroupPostBind4 }, udp),
		cgroupRow("cgroup/post_bind6", func(p P) C { return p.CgroupPostBind6 }, overIPv6(udpOn)),
		cgroupRow("cgroup/bind4", func(p P) C { return p.CgroupBind4 }, udp),
		cgroupRow("cgroup/bind6", func(p P) C { return p.CgroupBind6 }, overIPv6(udpOn)),
		cgroupRow("cgroup/connect4", func(p P) C { return p.CgroupConnect4 }, udp),
		cgroupRow("cgroup/connect6", func(p P) C { return p.CgroupConnect6 }, overIPv6(udpOn)),
		cgroupRow("cgroup/connect_unix", func(p P) C { return p.CgroupConnectUnix }, unixSocket),
		cgroupRow("cgroup/sendmsg4", func(p P) C { return p.CgroupSendmsg4 }, overIPv4(udpUnconnected)),
		cgroupRow("cgroup/sendmsg6", func(p P) C { return p.CgroupSendmsg6 }, overIPv6(udpUnconnected)),
		cgroupRow("cgroup/sendmsg_unix", func(p P) C { return p.CgroupSendmsgUnix }, unixDatagram),
		cgroupRow("cgroup/recvmsg4", func(p P) C { return p.CgroupRecvmsg4 }, overIPv4(udpUnconnected)),
		cgroupRow("cgroup/recvmsg6", func(p P) C { return p.CgroupRecvmsg6 }, overIPv6(udpUnconnected)),
		cgroupRow("cgroup/recvmsg_unix", func(p P) C { return p.CgroupRecvmsgUnix }, unixDatagram),
		cgroupRow("cgroup/getpeername4", func(p P) C { return p.CgroupGetpeername4 }, overIPv4(peers)),
		cgroupRow("cgroup/getpeername6", func(p P) C { return p.CgroupGetpeername6 }, overIPv6(peers)),
		cgroupRow("cgroup/getpeername_unix", func(p P) C { return p.CgroupGetpeernameUnix }, unixSocket),
		cgroupRow("cgroup/getsockname4", func(p P) C { return p.CgroupGetsockname4 }, overIPv4(peers)),
		cgroupRow("cgroup/getsockname6", func(p P) C { return p.CgroupGetsockname6 }, overIPv6(peers)),
		cgroupRow("cgroup/getsockname_unix", func(p P) C { return p.CgroupGetsocknameUnix }, unixSocket),
		cgroupRow("cgroup/sysctl", func(p P) C { return p.CgroupSysctl }, sysctl),
		cgroupRow("cgroup/getsockopt", func(p P) C { return p.CgroupGetsockopt }, sockopts),
		cgroupRow("cgroup/setsockopt", func(p P) C { return p.CgroupSetsockopt }, sockopts),
		cgroupRow("cgroup/dev", func(p P) C { return p.CgroupDev }, device),
		cgroupRow("sockops", func(p P) C { return p.Sockops }, tcp),
		cgroupRow("lsm_cgroup/<hook>", func(p P) C { return p.LsmCgroup }, udp),
	)
}

// usdtArgs sees that the program was given the arguments of the probe.
func usdtArgs(t *testing.T, s *forms.Skeleton) {
	victimRuns(t, s)
	if s.Bss == nil || atomic.LoadUint64(&s.Bss.Hits) == 0 {
		return // after Detach
	}
	if s.Bss.UsdtCount != int32(len(plainValues)) || s.Bss.UsdtArgs != plainValues {
		t.Errorf("%d arguments %v, want %v", s.Bss.UsdtCount, s.Bss.UsdtArgs, plainValues)
	}
}

// readIter runs an iterator; there is none any more after Detach.
func readIter(t *testing.T, p *skeleton.IterProgram) {
	t.Helper()
	if _, err := p.Read(); err != nil && !strings.Contains(err.Error(), "is not attached") {
		t.Fatal(err)
	}
}

func onPerfEvent(t *testing.T, s *forms.Skeleton) error {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK, Sample: 500, Bits: unix.PerfBitFreq}
	fd, err := unix.PerfEventOpen(&attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	t.Cleanup(func() {
		runtime.UnlockOSThread()
		unix.Close(fd)
	})
	return errOf(s.Progs.PerfEvent.AttachPerfEvent(fd, nil))
}

// older reports whether the running kernel is older than a version.
func older(t *testing.T, version string) bool {
	t.Helper()
	code, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return code < major<<16|minor<<8
}

// The cells of the table in docs/attach.md, beside versions and Kconfig options.
const (
	cellYes     = "yes"
	cellByHand  = "by hand"
	cellRefused = "root may not"
	cellModule  = "no module"
)

const (
	configJIT = "CONFIG_BPF_JIT"
	// configDirect is what arm64 has had since 6.4 only.
	configDirect = "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS"
)

// TestForms is the table: each form is loaded, attached, fired and detached. Run
// it with -test.v to see it for the kernel that it runs on; docs/attach.md has it
// for all kernels that the project is tested on.
func TestForms(t *testing.T) {
	bpftest.NeedsBPF(t)
	placeVictim(t)
	results := make(map[string]string)
	list := rows()
	all, err := forms.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	for _, r := range list {
		def := r.def(t, &all.Progs)
		t.Run(strings.ReplaceAll(r.form, "/", ":"), func(t *testing.T) {
			defer func() {
				switch {
				case t.Failed():
					results[r.form] = cellFails
				case t.Skipped():
				case def.Note != "":
					results[r.form] = cellByHand
				default:
					results[r.form] = cellYes
				}
			}()
			lack := func(cell, reason string) {
				t.Helper()
				results[r.form] = cell
				t.Skip("needs " + reason)
			}
			for _, since := range r.versions(def) {
				if older(t, since) {
					lack(since, "kernel "+since)
				}
			}
			if def.Config != "" && !kerneltest.Config(t, def.Config) {
				if def.Config == configJIT {
					wantNoJIT(t, r, def)
				}
				lack(def.Config, "a kernel with "+def.Config)
			}
			testForm(t, r, def, lack)
		})
	}
	release := kerneltest.Release(t)
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, "%-34s %s\n", r.form, results[r.form])
	}
	t.Logf("forms on kernel %s:\n%s", release, b.String())

	// The columns are for kernels of Debian's cloud images, and of what it has for CPUs without
	// these. What others can depends on their settings.
	if !strings.Contains(release, "cloud") && !strings.HasSuffix(release, "-s390x") {
		return
	}
	version := strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' })
	if len(version) < 2 {
		t.Fatalf("release %q has no version", release)
	}
	kernel := version[0] + "." + version[1]
	want, ok := documented(t, documentation, kernel)
	if runtime.GOARCH != "amd64" {
		// What is not as on x86-64.
		kernel = runtime.GOARCH + " " + kernel
		others, hasColumn := documented(t, otherCPUs, kernel)
		ok = ok && hasColumn
		maps.Copy(want, others)
	}
	if !ok {
		t.Errorf("%s and %s have no column for kernel %s", documentation, otherCPUs, kernel)
		return
	}
	for _, r := range list {
		got := results[r.form]
		// Empty when -test.run chose others.
		if cell, ok := want[r.form]; ok && cell != got && got != "" && got != cellFails {
			t.Errorf("the documentation says %q of %s on kernel %s, the test %q", cell, r.form, kernel, got)
		}
	}
}

// cellFails is in no table.
const cellFails = "FAILS"

// The tables for people.
const (
	// documentation has all forms, on x86-64.
	documentation = "../../docs/attach.md"
	// otherCPUs has those that differ elsewhere.
	otherCPUs = "../../docs/kernels.md"
)

// documented returns the cells of a kernel in a table of the documentation, by form, and
// whether it has a column for the kernel.
func documented(t *testing.T, file, kernel string) (cells map[string]string, ok bool) {
	t.Helper()
	kernels, rows := documentedTable(t, file)
	column := slices.Index(kernels, kernel)
	cells = make(map[string]string)
	for form, row := range rows {
		if column >= 0 {
			cells[form] = row[column]
		}
	}
	return cells, column >= 0
}

// documentedTable returns the kernels in the head of a table in the documentation, and
// the cells of each form. A row may be of several forms.
func documentedTable(t *testing.T, file string) (kernels []string, cells map[string][]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "\n| form |")
	if !ok {
		t.Fatalf("%s has no table of forms", file)
	}
	split := func(line string) []string {
		list := strings.Split(strings.Trim(line, "| "), "|")
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		return list
	}
	cells = make(map[string][]string)
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		switch list := split(line); {
		case kernels == nil:
			kernels = list
		case !strings.HasPrefix(line, "|"):
			return kernels, cells
		case strings.HasPrefix(list[0], "---"):
		case len(list) != len(kernels)+1:
			t.Errorf("%s: %d cells for %d kernels: %s", file, len(list)-1, len(kernels), line)
		default:
			for form := range strings.SplitSeq(list[0], "`, `") {
				cells[strings.Trim(form, "`")] = list[1:]
			}
		}
	}
	return kernels, cells
}

// Every form has a row.
func TestEveryForm(t *testing.T) {
	skel, err := forms.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	tested := map[string]bool{
		// Those of tests/structops.
		"struct_ops": true, "struct_ops.s": true,
	}
	for _, r := range rows() {
		tested[r.def(t, &skel.Progs).Name()] = true
	}
	for _, def := range secdef.Forms() {
		if !tested[def.Name()] {
			t.Errorf("no row is of form %q", def.Name())
		}
	}
}

// The table in the documentation has the forms that are tested, and no others.
func TestDocumentation(t *testing.T) {
	kernels, cells := documentedTable(t, documentation)
	if len(kernels) == 0 {
		t.Fatalf("%s: the table names no kernel", documentation)
	}
	for _, r := range rows() {
		if _, ok := cells[r.form]; !ok {
			t.Errorf("%s lacks %q", documentation, r.form)
		}
		delete(cells, r.form)
	}
	for form := range cells {
		t.Errorf("%s has %q, which is not tested", documentation, form)
	}
	tested := make(map[string]bool)
	for _, r := range rows() {
		tested[r.form] = true
	}
	_, others := documentedTable(t, otherCPUs)
	if len(others) == 0 {
		t.Errorf("%s: the table is empty", otherCPUs)
	}
	for form := range others {
		if !tested[form] {
			t.Errorf("%s has %q, which is not tested", otherCPUs, form)
		}
	}
}

func testForm(t *testing.T, r row, def *secdef.Form, lack func(cell, reason string)) {
	skel, err := forms.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := skel.Close(); err != nil {
			t.Error(err)
		}
	})
	p := r.prog(&skel.Progs)
	p.SetAutoload(true)
	if r.prepare != nil {
		r.prepare(t, skel)
	}
	refused := func(err error) {
		switch {
		case errors.Is(err, unix.EPERM):
			lack(cellRefused, fmt.Sprintf("a kernel that lets root attach %s: %v", r.form, err))
		case errors.Is(err, errNoNetkit):
			lack(cellModule, "a kernel with the module netkit")
		case strings.Contains(err.Error(), configDirect) && !kerneltest.Config(t, configDirect):
			lack(configDirect, "a kernel with "+configDirect)
		}
		t.Fatal(err)
	}
	if err := skel.Load(); err != nil {
		refused(err)
	}
	before := attachmentOf(t, skel, p.Name())
	if err := skel.Attach(); err != nil {
		refused(err)
	}
	a := attachmentOf(t, skel, p.Name())
	if a.State == skeleton.NotAttached && a != before {
		t.Errorf("before Attach: %v, after it: %v", before, a)
	}
	if def.Note != "" {
		if a.State != skeleton.NotAttached || a.Reason != def.Note {
			t.Errorf("%v, want the reason %q", a, def.Note)
		}
		return
	}
	if r.attach != nil {
		if a.State == skeleton.Attached && r.prog(&skel.Progs) != skel.Progs.Iter.Handle() {
			t.Fatalf("attached without a target: %v", a)
		}
		if err := skel.Detach(); err != nil {
			t.Fatal(err)
		}
		if err := r.attach(t, skel); err != nil {
			refused(err)
		}
	}
	if a := attachmentOf(t, skel, p.Name()); a.State != skeleton.Attached || a.Reason != "" {
		t.Fatalf("after attaching: %v", a)
	}
	fired := func() uint64 {
		before := atomic.LoadUint64(&skel.Bss.Hits)
		r.fire(t, skel)
		return atomic.LoadUint64(&skel.Bss.Hits) - before
	}
	if fired() == 0 {
		t.Fatal("does not fire")
	}
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	if r.detached != nil {
		r.detached(t, skel)
	}
	atomic.StoreUint64(&skel.Bss.Hits, 0)
	if n := fired(); n != 0 {
		t.Errorf("fires %d times after Detach", n)
	}
}

// wantNoJIT sees that a kernel which does not compile BPF is said to be one.
func wantNoJIT(t *testing.T, r row, def *secdef.Form) {
	t.Helper()
	skel, err := forms.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { skel.Close() })
	r.prog(&skel.Progs).SetAutoload(true)
	if r.prepare != nil {
		r.prepare(t, skel)
	}
	if err = skel.Load(); err == nil && def.Note == "" {
		err = skel.Attach()
	}
	if err != nil || def.Note == "" {
		kerneltest.WantError(t, err, r.prog(&skel.Progs).Name(), "the kernel has no BPF JIT compiler ("+configJIT+"), which this program needs")
		// What the kernel itself does not call so.
		if (errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EINVAL)) && !errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("%v is not %v", err, ebpf.ErrNotSupported)
		}
	}
}

func attachmentOf(t *testing.T, skel *forms.Skeleton, name string) skeleton.Attachment {
	t.Helper()
	for _, a := range skel.Attachments() {
		if a.Name == name {
			return a
		}
	}
	t.Fatalf("Attachments does not tell of program %s", name)
	return skeleton.Attachment{}
}
