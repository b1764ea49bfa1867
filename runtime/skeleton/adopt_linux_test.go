package skeleton

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// openAdopting opens an object that takes over what is pinned in dir, and loads it.
func openAdopting(t *testing.T, dir string, specs []*ebpf.MapSpec, programs ...*ebpf.ProgramSpec) *Object {
	t.Helper()
	o := newTestObject(t, specs, programs...)
	t.Cleanup(func() { o.Close() })
	if err := o.AdoptPinned(dir); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	return o
}

// pinsIn returns the names of what is pinned below a directory.
func pinsIn(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for _, sub := range []string{"links", "maps"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, sub+"/"+e.Name())
		}
	}
	return names
}

func wantPins(t *testing.T, dir string, want ...string) {
	t.Helper()
	if have := pinsIn(t, dir); !slices.Equal(have, want) {
		t.Errorf("pinned are %v, want %v", have, want)
	}
}

// inNetNS returns the end of the names of pins of links on interfaces of the present network
// namespace.
func inNetNS(t *testing.T) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("-netns-%d", st.Ino)
}

// frameType is the EtherType of the frames of send, in the order of the network.
var frameType = int32(binary.NativeEndian.Uint16([]byte{0x88, 0xb5}))

// countFrames counts the frames of send in element index of the map "packets".
func countFrames(name string, xdp bool, index, result int32) *ebpf.ProgramSpec {
	insns := asm.Instructions{asm.LoadMem(asm.R2, asm.R1, 16, asm.Word)} // __sk_buff.protocol
	if xdp {
		insns = asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // data
			asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), // data_end
			asm.Mov.Reg(asm.R4, asm.R2),
			asm.Add.Imm(asm.R4, 14),
			asm.JGT.Reg(asm.R4, asm.R3, "end"),
			asm.LoadMem(asm.R2, asm.R2, 12, asm.Half),
		}
	}
	insns = append(insns, asm.JNE.Imm(asm.R2, frameType, "end"), asm.Mov.Imm(asm.R2, index))
	spec := newTestProgram(name, append(insns, kerneltest.Count("packets", asm.R2, result)...)...)
	if !xdp {
		spec.Type, spec.SectionName = ebpf.SchedCLS, "tc"
	}
	return spec
}

// The environment of a process that TestTurns starts: the directory, and the index of the
// interface.
const (
	turnDir = "RULES_BPF_TEST_DIR"
	turnOn  = "RULES_BPF_TEST_IFINDEX"
)

// Where the programs of a turn count.
var turnCounts = []string{"XDP", "TCX or clsact", "clsact"}

// takeTurn is a process of TestTurns: it attaches three programs to an interface, says so, and
// ends when it is killed, or when there is no more input.
func takeTurn(t *testing.T, dir string) {
	t.Helper()
	ifindex, err := strconv.Atoi(os.Getenv(turnOn))
	if err != nil {
		t.Fatal(err)
	}
	// Frames of ours pass to the next program.
	o := openAdopting(t, dir, packetsMap(), countFrames("xdp", true, 0, 2), countFrames("tcx", false, 1, -1), countFrames("clsact", false, 2, -1))
	if _, err := (&XDPProgram{o.progs[0]}).AttachXDP(ifindex, &XDPOptions{Mode: XDPGeneric}); err != nil {
		t.Fatal(err)
	}
	if _, err := (&TCProgram{o.progs[1]}).AttachTC(ifindex, TCIngress, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := (&TCProgram{o.progs[2]}).AttachTC(ifindex, TCIngress, &TCOptions{Mode: TCClsact}); err != nil {
		t.Fatal(err)
	}
	if removed, err := o.RemoveStale(); err != nil || len(removed) > 0 {
		t.Fatalf("stale: %v, %v", removed, err)
	}
	if turnHasOps(t) {
		ops := opsObject(t, turnControl, ".struct_ops.link", 2)
		if err := errors.Join(ops.AdoptPinned(dir+opsDir), ops.Load(), ops.Attach()); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("attached")
	if _, err := io.ReadAll(os.Stdin); err != nil {
		t.Fatal(err)
	}
}

// The congestion control of the turns, and the end of the directory for its pins.
const (
	turnControl = "rbpf_turns"
	opsDir      = "-ops"
)

// turnHasOps reports whether the kernel has links of struct_ops maps.
func turnHasOps(t *testing.T) bool {
	return !sys.OlderThan("6.4") && kerneltest.Config(t, "CONFIG_BPF_JIT")
}

// turn is a process that takeTurn runs in.
type turn struct {
	cmd *exec.Cmd
	in  io.Closer
	out bpftest.Buffer
}

func startTurn(t *testing.T, dir string, ifindex int) *turn {
	t.Helper()
	p := &turn{cmd: exec.Command("/proc/self/exe", "-test.run=^TestTurns$", "-test.v")}
	p.cmd.Env = []string{turnDir + "=" + dir, turnOn + "=" + strconv.Itoa(ifindex), "TMPDIR=" + t.TempDir()}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in = in
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// attached waits until the process has attached its programs.
func (p *turn) attached(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(p.out.String(), "attached\n"); time.Sleep(time.Millisecond) {
		if strings.Contains(p.out.String(), "\nFAIL") || time.Now().After(end) {
			t.Fatalf("the process has not attached its programs:\n%s", p.out.String())
		}
	}
}

// end ends the process as one that is replaced ends.
func (p *turn) end(t *testing.T) {
	t.Helper()
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%v:\n%s", err, p.out.String())
	}
}

func (p *turn) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// Processes take turns, and are killed at any point, while frames come, and while connections
// use their congestion control. Each frame is seen by one program in each place.
func TestTurns(t *testing.T) {
	if dir := os.Getenv(turnDir); dir != "" {
		takeTurn(t, dir)
		return
	}
	bpftest.NewNetNS(t).Enter(t)
	receivers, senders := pairs(t, 1)
	probe := loadTestObject(t, packetsMap(), countFrames("probe", false, 0, -1))
	_, err := (&TCProgram{probe.progs[0]}).AttachTC(1, TCIngress, &TCOptions{Mode: TCClsact})
	if errors.Is(err, unix.ENOPROTOOPT) {
		t.Skipf("needs a kernel with clsact and filters of kind bpf: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(bpftest.PinDir(t), "turns")
	first := startTurn(t, dir, receivers[0])
	first.attached(t)

	var stop atomic.Bool
	sent := make(chan uint64)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer unix.Close(fd)
		frame := make([]byte, 60)
		copy(frame, "\xff\xff\xff\xff\xff\xff")
		frame[12], frame[13] = 0x88, 0xb5
		n := uint64(0)
		for ; !stop.Load(); n++ {
			if n%32 == 0 {
				time.Sleep(20 * time.Microsecond)
			}
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: senders[0]}); err != nil {
				t.Error(err)
				break
			}
		}
		sent <- n
	}()

	transfers := make(chan int, 1)
	go func() {
		n := 0
		defer func() { transfers <- n }()
		for turnHasOps(t) && !stop.Load() {
			// It fails when there is no congestion control for a moment.
			bpftest.TransferTCP(t, turnControl)
			n++
		}
	}()

	last := first
	began := time.Now()
	for range 3 {
		next := startTurn(t, dir, receivers[0])
		next.attached(t)
		last.end(t)
		last = next
	}
	whole := time.Since(began) / 3
	random := rand.New(rand.NewPCG(1, 2))
	killed := kerneltest.Rounds(20)
	for range killed {
		next := startTurn(t, dir, receivers[0])
		if random.IntN(2) == 0 {
			// There is no earlier process by then.
			last.kill()
		}
		time.Sleep(time.Duration(random.Int64N(int64(whole))))
		next.kill()
	}
	last.kill()
	next := startTurn(t, dir, receivers[0])
	next.attached(t)
	next.end(t)
	// Without any process.
	time.Sleep(10 * time.Millisecond)
	stop.Store(true)
	want, n := <-sent, <-transfers

	suffix := fmt.Sprintf("%d-ingress", receivers[0])
	links := []string{fmt.Sprintf("links/xdp-xdp-%d", receivers[0]) + inNetNS(t), "maps/packets"}
	if tcMode(t) {
		links = slices.Insert(links, 0, "links/tcx-tc-"+suffix+inNetNS(t))
	}
	wantPins(t, dir, links...)
	packets, err := ebpf.LoadPinnedMap(filepath.Join(dir, "maps", "packets"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	for i, what := range turnCounts {
		var n uint64
		if err := packets.Lookup(uint32(i), &n); err != nil {
			t.Fatal(err)
		}
		if n != want {
			t.Errorf("%s: %d of %d frames were seen", what, n, want)
		}
	}
	t.Logf("%d frames, %d transfers of TCP, %d processes", want, n, killed+5)
	if turnHasOps(t) {
		wantPins(t, dir+opsDir, "links/control-struct_ops")
		if err := RemovePinned(dir + opsDir); err != nil {
			t.Fatal(err)
		}
	}

	if err := RemovePinned(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
	if names := filtersOf(t, receivers[0]); len(names) > 0 {
		t.Errorf("filters are left: %v", names)
	}
	if err := RemovePinned(dir); err != nil {
		t.Errorf("for the second time: %v", err)
	}
}

// tcMode reports whether AttachTC comes to TCX.
func tcMode(t *testing.T) (tcx bool) {
	t.Helper()
	_, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXIngress})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, ebpf.ErrNotSupported) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

// filtersOf returns the names of the filters of an interface.
func filtersOf(t *testing.T, ifindex int) []string {
	t.Helper()
	filters, err := kerneltest.Filters(ifindex, kerneltest.Ingress)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range filters {
		if f.Kind == "bpf" {
			names = append(names, f.Name)
		}
	}
	return names
}

// Links keep their numbers from one skeleton to the next, and get its programs; what the next
// one does not have is stale.
func TestAdoptLinks(t *testing.T) {
	bpftest.NewNetNS(t).Enter(t)
	dir := filepath.Join(bpftest.PinDir(t), "links")
	cgroup := bpftest.NewCgroup(t)
	specs := func(i int32) []*ebpf.ProgramSpec {
		return []*ebpf.ProgramSpec{
			countFrames("on_xdp", true, i, 2),
			newTestProgramOf(ebpf.CGroupSKB, "cgroup_skb/egress", "on_cgroup", 1),
			newTestProgramOf(ebpf.SkLookup, "sk_lookup", "on_netns", 1),
		}
	}
	attach := func(o *Object) []link.Link {
		t.Helper()
		xdp, err := (&XDPProgram{o.progs[0]}).AttachXDP(1, &XDPOptions{Mode: XDPGeneric})
		if err != nil {
			t.Fatal(err)
		}
		group, err := (&CgroupProgram{o.progs[1]}).AttachCgroup(cgroup, nil)
		if err != nil {
			t.Fatal(err)
		}
		ns, err := (&NetNSProgram{o.progs[2]}).AttachNetNS("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		return []link.Link{xdp, group, ns}
	}
	var before []link.ID
	for i := range int32(3) {
		o := openAdopting(t, dir, packetsMap(), specs(i)...)
		links := attach(o)
		var ids []link.ID
		for j, l := range links {
			info, err := l.Info()
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, info.ID)
			prog, err := o.progs[j].Program().Info()
			if err != nil {
				t.Fatal(err)
			}
			if id, _ := prog.ID(); info.Program != id {
				t.Errorf("turn %d: link %d has program %d, want %d", i, j, info.Program, id)
			}
		}
		if before != nil && !slices.Equal(ids, before) {
			t.Errorf("turn %d: links %v, want %v", i, ids, before)
		}
		before = ids
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}

	o := openAdopting(t, dir, packetsMap(), specs(0)[0])
	l, err := (&XDPProgram{o.progs[0]}).AttachXDP(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	removed, err := o.RemoveStale()
	if err != nil || len(removed) != 2 || !strings.Contains(removed[0], "/links/on_cgroup-cgroup-") || !strings.Contains(removed[1], "/links/on_netns-netns-") {
		t.Errorf("removed %v, %v", removed, err)
	}
	wantPins(t, dir, "links/on_xdp-xdp-1"+inNetNS(t), "maps/packets")
	group := openDir(t, cgroup)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		// The kernel does it a moment later.
		queried, err := link.QueryPrograms(link.QueryOptions{Target: group, Attach: ebpf.AttachCGroupInetEgress})
		if err == nil && len(queried.Programs) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the cgroup has %v, %v", queried, err)
		}
	}
	// A link that is taken out of the directory ends with the process.
	if err := l.Unpin(); err != nil {
		t.Fatal(err)
	}
	wantPins(t, dir, "maps/packets")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		attached, err := kerneltest.HasXDP(1)
		if err == nil && !attached {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("the program is attached: %v", err)
		}
	}
}

func openDir(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

// A pinned link whose interface has gone is replaced by one for the interface that has its
// index now.
func TestAdoptDeadLink(t *testing.T) {
	bpftest.NewNetNS(t).Enter(t)
	dir := filepath.Join(bpftest.PinDir(t), "dead")
	add := func() int {
		t.Helper()
		if err := kerneltest.AddVeth("one", "two", 77); err != nil {
			t.Skipf("needs a kernel with veth: %v", err)
		}
		return 77
	}
	var before link.ID
	for i := range 2 {
		ifindex := add()
		o := openAdopting(t, dir, packetsMap(), countFrames("on_xdp", true, 0, 2))
		l, err := (&XDPProgram{o.progs[0]}).AttachXDP(ifindex, &XDPOptions{Mode: XDPGeneric})
		if err != nil {
			t.Fatal(err)
		}
		if id := linkID(t, l); i > 0 && id == before {
			t.Errorf("the link of the interface that has gone was taken over")
		} else {
			before = id
		}
		if attached, err := kerneltest.HasXDP(ifindex); err != nil || !attached {
			t.Errorf("interface %d has no program: %v", i, err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if err := kerneltest.DeleteLink(ifindex); err != nil {
			t.Fatal(err)
		}
		wantPins(t, dir, "links/on_xdp-xdp-77"+inNetNS(t), "maps/packets")
	}
}

// netnsTurn is a process, as it were, in each of two network namespaces with the same directory:
// it attaches to interface 1, by XDP, TCX and to the namespace, and returns the IDs of the links.
func netnsTurn(t *testing.T, dir string, ns bpftest.NetNS) (o *Object, ids []link.ID) {
	t.Helper()
	o = newTestObject(t, packetsMap(), countFrames("on_xdp", true, 0, 2), newTestProgramOf(ebpf.SkLookup, "sk_lookup", "on_netns", 1), countFrames("on_tc", false, 1, -1))
	t.Cleanup(func() { o.Close() })
	if err := errors.Join(o.AdoptPinned(dir), o.Load()); err != nil {
		t.Fatal(err)
	}
	err := ns.Do(func() error {
		var links []link.Link
		l, err := (&XDPProgram{o.progs[0]}).AttachXDP(1, &XDPOptions{Mode: XDPGeneric})
		if err != nil {
			return err
		}
		links = append(links, l)
		if l, err = (&NetNSProgram{o.progs[1]}).AttachNetNS("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		links = append(links, l)
		if tcMode(t) {
			if l, err = (&TCProgram{o.progs[2]}).AttachTC(1, TCIngress, nil); err != nil {
				return err
			}
			links = append(links, l)
		}
		for _, l := range links {
			info, err := l.Info()
			if err != nil {
				return err
			}
			ids = append(ids, info.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return o, ids
}

// Interfaces of different network namespaces have the same indexes: what is pinned for one is
// not for the other, and is not stale there while it is attached.
func TestAdoptInNetNS(t *testing.T) {
	dir := filepath.Join(bpftest.PinDir(t), "pods")
	first, second := bpftest.NewNetNS(t), bpftest.NewNetNS(t)
	programs := func(o *Object) {
		t.Helper()
		for i, p := range o.progs[:2] {
			info, err := p.Program().Info()
			if err != nil {
				t.Fatal(err)
			}
			id, _ := info.ID()
			l, err := p.Links()[0].Info()
			if err != nil {
				t.Fatal(err)
			}
			if l.Program != id {
				t.Errorf("link of program %d has program %d, want %d", i, l.Program, id)
			}
		}
	}
	a, ofA := netnsTurn(t, dir, first)
	b, ofB := netnsTurn(t, dir, second)
	for i := range ofA {
		if ofA[i] == ofB[i] {
			t.Errorf("link %d of another network namespace is taken over", i)
		}
	}
	programs(a)
	programs(b)
	pins := pinsIn(t, dir)
	if want := 2*len(ofA) + 1; len(pins) != want {
		t.Errorf("pinned are %v, want %d", pins, want)
	}
	removeStale := func(o *Object, ns bpftest.NetNS, want int) {
		t.Helper()
		var removed []string
		err := ns.Do(func() (err error) {
			removed, err = o.RemoveStale()
			return err
		})
		if err != nil || len(removed) != want {
			t.Errorf("removed %v, %v, want %d", removed, err, want)
		}
	}
	removeStale(b, second, 0)

	// The process in the same network namespace goes on with its links.
	a.Close()
	a, again := netnsTurn(t, dir, first)
	if !slices.Equal(again, ofA) {
		t.Errorf("links %v, want %v", again, ofA)
	}
	removeStale(a, first, 0)
	wantPins(t, dir, pins...)

	// Called in the namespace, it removes those of the namespace.
	a.Close()
	removeStale(b, first, len(ofA))
	b.Close()
	if err := RemovePinned(dir); err != nil {
		t.Error(err)
	}
}

// Links of a network namespace that has ended are stale.
func TestAdoptEndedNetNS(t *testing.T) {
	dir := filepath.Join(bpftest.PinDir(t), "ended")
	present := bpftest.NewNetNS(t)
	var links int
	t.Run("ended", func(t *testing.T) {
		// It ends with the test.
		o, ids := netnsTurn(t, dir, bpftest.NewNetNS(t))
		links = len(ids)
		o.Close()
	})
	o, _ := netnsTurn(t, dir, present)
	removed := 0
	for end := time.Now().Add(10 * time.Second); removed < links; time.Sleep(time.Millisecond) {
		// The kernel ends it a moment later.
		err := present.Do(func() error {
			paths, err := o.RemoveStale()
			removed += len(paths)
			return err
		})
		if err != nil || time.Now().After(end) {
			t.Fatalf("%d of %d are removed: %v", removed, links, err)
		}
	}
}

// An interface that is moved to another network namespace takes its link along, which is not
// taken over where the interface was.
func TestAdoptMovedInterface(t *testing.T) {
	dir := filepath.Join(bpftest.PinDir(t), "moved")
	here, there := bpftest.NewNetNS(t), bpftest.NewNetNS(t)
	end, _ := here.NewVeth(t, "here", here, "peer")
	here.Enter(t)
	attach := func() (*Object, error) {
		o := openAdopting(t, dir, packetsMap(), countFrames("on_xdp", true, 0, 2))
		_, err := (&XDPProgram{o.progs[0]}).AttachXDP(end.Index, &XDPOptions{Mode: XDPGeneric})
		return o, err
	}
	o, err := attach()
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	var fd int
	if err := there.Do(func() (err error) {
		fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := kerneltest.MoveLink(end.Index, fd); err != nil {
		t.Fatal(err)
	}
	_, err = attach()
	kerneltest.WantError(t, err, "there is no network interface with the index")
}

// Links that cannot be updated are made anew before the old ones go.
func TestAdoptTracing(t *testing.T) {
	dir := filepath.Join(bpftest.PinDir(t), "tracing")
	spec := testSection("renamed", ebpf.RawTracepoint, "raw_tp/task_rename")
	first := openAdopting(t, dir, nil, spec)
	if err := first.Attach(); err != nil {
		t.Fatal(err)
	}
	wantPins(t, dir, "links/renamed-auto")
	id := linkID(t, *first.progs[0].link)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// That of a process which has ended in between.
	left, err := link.LoadPinnedLink(filepath.Join(dir, "links/renamed-auto"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	if fd, ok := left.(interface{ FD() int }); !ok || linkID(t, left) != id {
		t.Fatalf("%T", left)
	} else if err := sys.ObjPin(fd.FD(), filepath.Join(dir, "links/renamed-auto-new")); err != nil {
		t.Fatal(err)
	}
	second := openAdopting(t, dir, nil, spec)
	if err := second.Attach(); err != nil {
		t.Fatal(err)
	}
	wantPins(t, dir, "links/renamed-auto")
	if now := linkID(t, *second.progs[0].link); now == id {
		t.Error("the old link was kept")
	}
	// The same program twice on the same tracepoint has two pins.
	if _, err := (&RawTracepointProgram{second.progs[0]}).AttachRawTracepoint("task_rename", nil); err == nil {
		wantPins(t, dir, "links/renamed-auto", "links/renamed-raw_tp-task_rename")
	}
	// The one that was replaced does not remove the pin of the other.
	if err := (*second.progs[0].link).Unpin(); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(pinsIn(t, dir), "links/renamed-auto") {
		t.Error("the link is pinned after Unpin")
	}
}

// An Attach that fails takes back what was attached for the first time, and no more.
func TestAdoptFailedAttach(t *testing.T) {
	dir := filepath.Join(bpftest.PinDir(t), "failed")
	good := testSection("good", ebpf.RawTracepoint, "raw_tp/task_rename")
	bad := testSection("bad", ebpf.RawTracepoint, "raw_tp/no_such_tracepoint")
	for range 2 {
		o := openAdopting(t, dir, nil, good, bad)
		if err := o.Attach(); err == nil {
			t.Fatal("attached")
		}
		wantPins(t, dir)
		o.Close()
	}
	o := openAdopting(t, dir, nil, good)
	if err := o.Attach(); err != nil {
		t.Fatal(err)
	}
	o.Close()
	o = openAdopting(t, dir, nil, good, bad)
	if err := o.Attach(); err == nil {
		t.Fatal("attached")
	}
	wantPins(t, dir, "links/good-auto")
}

// What cannot be pinned is an error, unless the user has said that it need not be.
func TestAdoptUnpinnable(t *testing.T) {
	dir := filepath.Join(bpftest.PinDir(t), "unpinnable")
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	o := openAdopting(t, dir, nil, newTestProgramOf(ebpf.SocketFilter, "socket", "filter", 1))
	p := SocketProgram{o.progs[0]}
	_, err = p.AttachSocket(conn.(*net.UDPConn))
	if !errors.Is(err, ebpf.ErrNotSupported) || !strings.Contains(err.Error(), "call SetPinLinks(false)") {
		t.Errorf("attach: %v", err)
	}
	if err := p.SetPinLinks(false); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AttachSocket(conn.(*net.UDPConn)); err != nil {
		t.Error(err)
	}
	wantPins(t, dir)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.SetPinLinks(true); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A link that is pinned where another one belongs is refused.
func TestAdoptOtherLink(t *testing.T) {
	bpftest.NewNetNS(t).Enter(t)
	dir := filepath.Join(bpftest.PinDir(t), "other")
	receivers, _ := pairs(t, 1)
	o := openAdopting(t, dir, packetsMap(), countFrames("on_xdp", true, 0, 2))
	if _, err := (&XDPProgram{o.progs[0]}).AttachXDP(receivers[0], &XDPOptions{Mode: XDPGeneric}); err != nil {
		t.Fatal(err)
	}
	o.Close()
	links := filepath.Join(dir, "links")
	pin := filepath.Join(links, "on_xdp-xdp-1"+inNetNS(t))
	if err := os.Rename(filepath.Join(links, fmt.Sprintf("on_xdp-xdp-%d", receivers[0])+inNetNS(t)), pin); err != nil {
		t.Fatal(err)
	}
	o = openAdopting(t, dir, packetsMap(), countFrames("on_xdp", true, 0, 2))
	_, err := (&XDPProgram{o.progs[0]}).AttachXDP(1, &XDPOptions{Mode: XDPGeneric})
	if want := fmt.Sprintf("take over the link that is pinned at %s: it is a link of type 6 on xdp-%d, and this is for xdp-1: remove the pin to start over", pin, receivers[0]); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	// A map in its place.
	if err := os.Remove(pin); err != nil {
		t.Fatal(err)
	}
	m, err := o.maps[0].Map().Clone()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Pin(pin); err != nil {
		t.Fatal(err)
	}
	if _, err := (&XDPProgram{o.progs[0]}).AttachXDP(1, &XDPOptions{Mode: XDPGeneric}); err == nil || !strings.Contains(err.Error(), "is not a Link") {
		t.Errorf("a map: %v", err)
	}
}

// Maps that are not as the object declares them are refused.
func TestAdoptOtherMap(t *testing.T) {
	dir := filepath.Join(bpftest.PinDir(t), "maps")
	value := func(second string) *btf.Struct {
		u32 := &btf.Int{Name: "unsigned int", Size: 4}
		return &btf.Struct{Name: "counters", Size: 8, Members: []btf.Member{{Name: "first", Type: u32}, {Name: second, Type: u32, Offset: 32}}}
	}
	newObject := func(entries uint32, v *btf.Struct) *Object {
		t.Helper()
		o := newTestObject(t, []*ebpf.MapSpec{{Name: "state", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: entries}})
		t.Cleanup(func() { o.Close() })
		var types btf.Builder
		key, err := types.Add(v.Members[0].Type)
		if err != nil {
			t.Fatal(err)
		}
		id, err := types.Add(v)
		if err != nil {
			t.Fatal(err)
		}
		if o.loader.Image.BTF, err = types.Marshal(nil, nil); err != nil {
			t.Fatal(err)
		}
		o.loader.Maps[0].KeyType, o.loader.Maps[0].ValueType = uint32(key), uint32(id)
		if err := o.AdoptPinned(dir); err != nil {
			t.Fatal(err)
		}
		return o
	}
	first := newObject(4, value("second"))
	if err := first.Load(); err != nil {
		t.Fatal(err)
	}
	if err := first.maps[0].Map().Put(uint32(1), [2]uint32{2, 3}); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	same := newObject(4, value("second"))
	if err := same.Load(); err != nil {
		t.Fatal(err)
	}
	var have [2]uint32
	if err := same.maps[0].Map().Lookup(uint32(1), &have); err != nil || have != [2]uint32{2, 3} {
		t.Errorf("it has %v, %v", have, err)
	}
	for _, tc := range []struct {
		o    *Object
		want string
	}{
		{newObject(5, value("second")), "it has max_entries 4 and not 5"},
		{newObject(4, value("another")), "its values are struct counters with second at offset 4, and the object's are struct counters with another at offset 4: remove the pin"},
	} {
		if err := tc.o.Load(); !errors.Is(err, ebpf.ErrMapIncompatible) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
		// It can have one for itself.
		if err := tc.o.maps[0].SetPinning(ebpf.PinNone); err != nil {
			t.Fatal(err)
		}
		if err := tc.o.Load(); err != nil {
			t.Error(err)
		}
	}
	wantPins(t, dir, "maps/state")
}

// The directory must be one of a bpffs.
func TestAdoptWrongDirectory(t *testing.T) {
	bpftest.NeedsBPFFS(t)
	o := newTestObject(t, nil, newTestProgram("empty", asm.Mov.Imm(asm.R0, 0), asm.Return()))
	defer o.Close()
	for path, want := range map[string]string{
		t.TempDir():           "is not of a bpffs: choose a directory below /sys/fs/bpf",
		"/sys/fs/bpf/one.two": "a bpffs has no names with dots",
	} {
		if err := o.AdoptPinned(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	// As any setting that is refused.
	if err := o.Load(); err == nil {
		t.Error("loads")
	}
	if err := RemovePinned(t.TempDir()); err == nil || !strings.Contains(err.Error(), "AdoptPinned has not made it") {
		t.Errorf("remove: %v", err)
	}
	if err := o.AdoptPinned(filepath.Join(bpftest.PinDir(t), "right")); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if err := o.AdoptPinned(bpftest.PinDir(t)); !errors.Is(err, ErrLoaded) {
		t.Errorf("after Load: %v", err)
	}
	other := loadTestObject(t, nil, newTestProgram("empty", asm.Mov.Imm(asm.R0, 0), asm.Return()))
	if _, err := other.RemoveStale(); err == nil || !strings.Contains(err.Error(), "AdoptPinned was not called") {
		t.Errorf("stale: %v", err)
	}
}

// opsObject returns an object with a congestion control, whose ssthresh returns a number.
func opsObject(t *testing.T, name, section string, ssthresh int32) *Object {
	t.Helper()
	returns := func(member string, n int32) *ebpf.ProgramSpec {
		return &ebpf.ProgramSpec{Name: member, Type: ebpf.StructOps, SectionName: "struct_ops/" + member, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, n), asm.Return()}}
	}
	bpftest.NeedsBPF(t)
	kerneltest.NeedsJIT(t)
	img := newTestImage(t, nil, returns("ssthresh", ssthresh), returns("undo_cwnd", 3), returns("cong_avoid", 0))
	fn := &btf.Pointer{Target: &btf.FuncProto{Return: &btf.Void{}}}
	ops := &btf.Struct{Name: "tcp_congestion_ops", Size: 40, Members: []btf.Member{
		{Name: "ssthresh", Type: fn}, {Name: "undo_cwnd", Type: fn, Offset: 64}, {Name: "cong_avoid", Type: fn, Offset: 128},
		{Name: "name", Type: &btf.Array{Index: &btf.Int{Name: "unsigned int", Size: 4}, Type: &btf.Int{Name: "char", Size: 1, Encoding: btf.Char}, Nelems: 16}, Offset: 192},
	}}
	var types btf.Builder
	id, err := types.Add(ops)
	if err != nil {
		t.Fatal(err)
	}
	if img.BTF, err = types.Marshal(nil, nil); err != nil {
		t.Fatal(err)
	}
	table := make([]byte, ops.Size)
	copy(table[24:], name)
	img.StructOps = []image.StructOps{{Name: "control", Section: section, Type: uint32(id), Contents: table,
		Funcs: []image.OpsFunc{{Offset: 0, Program: 0}, {Offset: 8, Program: 1}, {Offset: 16, Program: 2}}}}
	o, err := openImage(img, describe(img))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// A congestion control is replaced in place, and is there at any time.
func TestAdoptStructOps(t *testing.T) {
	dir := filepath.Join(bpftest.PinDir(t), "ops")
	const name = "rbpf_adopted"
	var before link.ID
	for i := range int32(3) {
		o := opsObject(t, name, ".struct_ops.link", 2+i)
		if err := o.AdoptPinned(dir); err != nil {
			t.Fatal(err)
		}
		err := o.Load()
		kerneltest.StructOpsLinks(t, err)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if !bpftest.HasCongestionControl(t, "available", name) {
				t.Error("there is none between two skeletons")
			}
			// Connections have that of one or the other.
			bpftest.TransferTCP(t, name)
		}
		if err := o.Attach(); err != nil {
			t.Fatal(err)
		}
		wantPins(t, dir, "links/control-struct_ops")
		bpftest.TransferTCP(t, name)
		if id := linkID(t, *o.structOps[0].slot); i > 0 && id != before {
			t.Errorf("link %d, want %d", id, before)
		} else {
			before = id
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}

	// Another name is another one.
	o := opsObject(t, "rbpf_another", ".struct_ops.link", 2)
	if err := errors.Join(o.AdoptPinned(dir), o.Load()); err != nil {
		t.Fatal(err)
	}
	if err := o.Attach(); err == nil || !strings.Contains(err.Error(), "have the same name there") {
		t.Errorf("another name: %v", err)
	}
	o.Close()
	if err := RemovePinned(dir); err != nil {
		t.Fatal(err)
	}
	// It is gone a moment later.
	for end := time.Now().Add(10 * time.Second); bpftest.HasCongestionControl(t, "available", name); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is there after all pins were removed")
		}
	}
}

// A program of another kind has one struct_ops map.
func TestAssociate(t *testing.T) {
	o, other := opsObject(t, "rbpf_assoc", ".struct_ops.link", 2), opsObject(t, "rbpf_other", ".struct_ops.link", 2)
	p := newTestObject(t, nil, kerneltest.Trivial(ebpf.XDP, "xdp"))
	defer p.Close()
	m := o.structOps[0]
	kerneltest.WantError(t, m.Associate(nil), "associate map control: the program is nil")
	if err := m.Associate(p.progs[0]); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("before Load of the map: %v", err)
	}
	err := errors.Join(o.Load(), other.Load())
	kerneltest.StructOpsLinks(t, err)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Associate(p.progs[0]); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("before Load of the program: %v", err)
	}
	if err := p.Load(); err != nil {
		t.Fatal(err)
	}
	err = m.Associate(p.progs[0])
	if sys.OlderThan("7.0") {
		if !errors.Is(err, ebpf.ErrNotSupported) || !strings.Contains(err.Error(), "version 7.0 or later") {
			t.Errorf("on an older kernel: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := other.structOps[0].Associate(p.progs[0]); !errors.Is(err, unix.EBUSY) {
		t.Errorf("another map: %v", err)
	}
	kerneltest.WantError(t, m.Associate(o.progs[0]), "program ssthresh: programs of struct_ops have the map that they are in")
	p.Close()
	if err := m.Associate(p.progs[0]); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A table without a link cannot be pinned.
func TestAdoptStructOpsWithoutLink(t *testing.T) {
	o := opsObject(t, "rbpf_nolink", ".struct_ops", 2)
	if err := errors.Join(o.AdoptPinned(filepath.Join(bpftest.PinDir(t), "ops")), o.Load()); err != nil {
		t.Fatal(err)
	}
	if err := o.Attach(); !errors.Is(err, ebpf.ErrNotSupported) || !strings.Contains(err.Error(), "put it into .struct_ops.link") {
		t.Errorf("attach: %v", err)
	}
	if bpftest.HasCongestionControl(t, "available", "rbpf_nolink") {
		t.Error("it is registered")
	}
	if err := o.structOps[0].SetPinLinks(false); err != nil {
		t.Fatal(err)
	}
	if err := o.Attach(); err != nil {
		t.Fatal(err)
	}
}
