package tc

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// loopback is the index of "lo" in a new network namespace.
const loopback = 1

// newProgram loads a program that lets packets pass, until the test ends.
func newProgram(t *testing.T) Program {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "pass", Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	info, err := prog.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return Program{prog.FD(), uint32(id)}
}

// inNetNS moves the test to a new network namespace.
func inNetNS(t *testing.T) {
	t.Helper()
	ns := bpftest.NewNetNS(t)
	ns.Enter(t)
}

func location(priority uint16, handle uint32) Location {
	return Location{Ifindex: loopback, Priority: priority, Handle: handle}
}

// attach attaches a program, which must work.
func attach(t *testing.T, location Location, name string, prog Program) *Filter {
	t.Helper()
	f, err := Attach(location, name, prog)
	if errors.Is(err, unix.ENOPROTOOPT) {
		t.Skipf("needs a kernel with clsact and filters of kind bpf: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func closeFilter(t *testing.T, f *Filter) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// wantFilters compares the filters that the interface has, and that we see, with those that
// there should be, "name program", in their order.
func wantFilters(t *testing.T, egress bool, want ...string) {
	t.Helper()
	filters, err := kerneltest.Filters(loopback, parentOf(egress))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := List(loopback, egress)
	if err != nil {
		t.Fatal(err)
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return e.Handle == 0 })
	var have, own []string
	for i, f := range filters {
		if f.Kind != "bpf" {
			t.Fatalf("filter %d is of kind %s", i, f.Kind)
		}
		if !f.DirectAction || f.Protocol != unix.ETH_P_ALL {
			t.Errorf("filter %+v: want direct action and all protocols", f)
		}
		have = append(have, fmt.Sprintf("%s %d", f.Name, f.Program))
		if i < len(entries) && (f.Priority != entries[i].Priority || f.Handle != entries[i].Handle) {
			t.Errorf("filter %d: priority %d, handle %#x, and we see %v", i, f.Priority, f.Handle, entries[i])
		}
	}
	for _, e := range entries {
		own = append(own, fmt.Sprintf("%s %d", e.Name, e.ProgramID))
	}
	if !slices.Equal(have, want) {
		t.Errorf("filters are %q, want %q", have, want)
	}
	if !slices.Equal(own, have) {
		t.Errorf("we see %q of the filters %q", own, have)
	}
}

// qdiscKind returns the kind of the qdisc that holds filters, empty when there is none.
func qdiscKind(t *testing.T) string {
	t.Helper()
	kind, err := kerneltest.QdiscKind(loopback)
	if err != nil {
		t.Fatal(err)
	}
	return kind
}

func wantQdisc(t *testing.T, want string) {
	t.Helper()
	if kind := qdiscKind(t); kind != want {
		t.Errorf("the interface has qdisc %q, want %q", kind, want)
	}
}

func addQdisc(t *testing.T, kind string) {
	t.Helper()
	if err := kerneltest.AddQdisc(loopback, kind); err != nil {
		t.Skipf("needs a kernel with %s: %v", kind, err)
	}
}

func TestOrder(t *testing.T) {
	inNetNS(t)
	p := newProgram(t)
	first := attach(t, location(100, 1), "one", p)
	wantQdisc(t, "clsact")
	second := attach(t, location(100, 2), "two", p)
	before := attach(t, location(7, 0x7fffffff), "before", p)
	egress := attach(t, Location{loopback, true, 100, 1}, "out", p)
	id := func(name string) string { return fmt.Sprintf("%s %d", name, p.ID) }
	wantFilters(t, false, id("before"), id("two"), id("one"))
	wantFilters(t, true, id("out"))
	for _, f := range []*Filter{first, before, second} {
		closeFilter(t, f)
		wantQdisc(t, "clsact")
	}
	wantFilters(t, false)
	closeFilter(t, egress)
	wantQdisc(t, "")
	if len(qdiscs.known) != 0 {
		t.Errorf("%d qdiscs are known without a filter", len(qdiscs.known))
	}
}

func TestUpdate(t *testing.T) {
	inNetNS(t)
	p, q := newProgram(t), newProgram(t)
	f := attach(t, location(1, 1), "f", p)
	if err := f.Update(q); err != nil {
		t.Fatal(err)
	}
	wantFilters(t, false, fmt.Sprintf("f %d", q.ID))
	f.Share()
	closeFilter(t, f)
	wantFilters(t, false, fmt.Sprintf("f %d", q.ID))
	closeFilter(t, f)
	wantFilters(t, false)
	wantQdisc(t, "")
}

// The qdisc of somebody else stays, and so does ours with a filter of somebody else.
func TestOthersQdisc(t *testing.T) {
	inNetNS(t)
	p := newProgram(t)
	addQdisc(t, "clsact")
	closeFilter(t, attach(t, location(1, 1), "f", p))
	wantQdisc(t, "clsact")
	if err := kerneltest.DeleteQdisc(loopback); err != nil {
		t.Fatal(err)
	}
	f := attach(t, location(1, 1), "f", p)
	other := kerneltest.Filter{Kind: "bpf", Handle: 1, Priority: 5, Name: "other"}
	if err := kerneltest.AddFilter(loopback, egressParent, other, p.FD); err != nil {
		t.Fatal(err)
	}
	closeFilter(t, f)
	wantQdisc(t, "clsact")
	wantFilters(t, true, fmt.Sprintf("other %d", p.ID))
	filters, err := kerneltest.Filters(loopback, egressParent)
	if err != nil || len(filters) != 1 {
		t.Errorf("%d filters, %v", len(filters), err)
	}
}

// A filter that is kept stays when its owner closes it, and the next owner replaces it whether
// the one before lives or not.
func TestKeep(t *testing.T) {
	inNetNS(t)
	var last *Filter
	var prog Program
	keep := func() {
		t.Helper()
		prog = newProgram(t)
		f, err := Keep(location(100, 1), "kept@here", prog)
		if errors.Is(err, unix.ENOPROTOOPT) {
			t.Skipf("needs a kernel with clsact: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		last = f
		wantFilters(t, false, fmt.Sprintf("kept@here %d", prog.ID))
	}
	keep()
	first := last
	keep()
	if err := first.Update(newProgram(t)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("update by the one that was replaced: %v", err)
	}
	closeFilter(t, first)
	closeFilter(t, last)
	wantFilters(t, false, fmt.Sprintf("kept@here %d", prog.ID))
	wantQdisc(t, "clsact")

	// A filter of this name alone.
	attached := attach(t, location(100, 2), "other@here", prog)
	removed, err := RemoveAll(func(e Entry) bool { return e.Name == "kept@here" })
	if err != nil || len(removed) != 1 || removed[0].Location != location(100, 1) {
		t.Errorf("removed %v, %v", removed, err)
	}
	wantFilters(t, false, fmt.Sprintf("other@here %d", prog.ID))
	closeFilter(t, attached)

	// One that is not kept any more goes with its owner.
	keep()
	if !last.Release() || last.Release() {
		t.Error("it was kept once")
	}
	closeFilter(t, last)
	wantFilters(t, false)
	wantQdisc(t, "clsact")
}

// Somebody else's filter is never touched.
func TestOthersFilter(t *testing.T) {
	inNetNS(t)
	p := newProgram(t)
	addQdisc(t, "clsact")
	other := kerneltest.Filter{Kind: "bpf", Handle: 1, Priority: 5, Name: "other"}
	if err := kerneltest.AddFilter(loopback, ingressParent, other, p.FD); err != nil {
		t.Fatal(err)
	}
	_, err := Attach(location(5, 1), "f", newProgram(t))
	want := fmt.Sprintf(`there is a filter of kind bpf, priority 5, handle 0x1, "other", program %d, which is not of this program`, p.ID)
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	wantFilters(t, false, fmt.Sprintf("other %d", p.ID))

	// Nor is one that has come into the place of ours.
	f := attach(t, location(6, 1), "f", p)
	other.Priority = 6
	if err := kerneltest.ReplaceFilter(loopback, ingressParent, other, p.FD); err != nil {
		t.Fatal(err)
	}
	if err := f.Update(newProgram(t)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Update: %v, want %v", err, unix.ENOENT)
	}
	closeFilter(t, f)
	wantFilters(t, false, fmt.Sprintf("other %d", p.ID), fmt.Sprintf("other %d", p.ID))
}

// A priority is for filters of one kind.
func TestOtherKind(t *testing.T) {
	inNetNS(t)
	addQdisc(t, "clsact")
	if err := kerneltest.AddFilter(loopback, ingressParent, kerneltest.Filter{Kind: "matchall", Handle: 1, Priority: 5}, -1); err != nil {
		t.Skipf("needs a kernel with cls_matchall: %v", err)
	}
	_, err := Attach(location(5, 2), "f", newProgram(t))
	if err == nil || !strings.Contains(err.Error(), "the priority has a filter of kind matchall, priority 5") {
		t.Errorf("%v, want one that names the filter of kind matchall", err)
	}
}

// A qdisc of kind ingress has no list for packets that are sent.
func TestQdiscIngress(t *testing.T) {
	inNetNS(t)
	p := newProgram(t)
	addQdisc(t, "ingress")
	_, err := Attach(Location{loopback, true, 1, 1}, "f", p)
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "qdisc of kind ingress") {
		t.Errorf("%v, want an error about the qdisc", err)
	}
	f := attach(t, location(1, 1), "f", p)
	wantFilters(t, false, fmt.Sprintf("f %d", p.ID))
	closeFilter(t, f)
	wantQdisc(t, "ingress")
}

func TestNoInterface(t *testing.T) {
	inNetNS(t)
	_, err := Attach(Location{99999, false, 1, 1}, "f", newProgram(t))
	if !errors.Is(err, unix.ENODEV) {
		t.Errorf("%v, want %v", err, unix.ENODEV)
	}
}

// An interface that is gone, with its filters.
func TestInterfaceGone(t *testing.T) {
	inNetNS(t)
	if kerneltest.AddVeth("gone", "peer", 0) != nil {
		if err := kerneltest.AddDummy("gone"); err != nil {
			t.Skipf("needs a kernel with veth or dummy interfaces: %v", err)
		}
	}
	l, err := net.InterfaceByName("gone")
	if err != nil {
		t.Fatal(err)
	}
	p := newProgram(t)
	f := attach(t, Location{int32(l.Index), false, 1, 1}, "f", p)
	if err := kerneltest.DeleteLink(l.Index); err != nil {
		t.Fatal(err)
	}
	if err := f.Update(p); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Update: %v, want %v", err, unix.ENOENT)
	}
	closeFilter(t, f)
	if len(qdiscs.known) != 0 {
		t.Errorf("%d qdiscs are known without a filter", len(qdiscs.known))
	}
}

// A filter is changed from any thread, in its network namespace.
func TestOtherThread(t *testing.T) {
	ns, p := bpftest.NewNetNS(t), newProgram(t)
	var f *Filter
	if err := ns.Do(func() (err error) {
		f, err = Attach(location(1, 1), "f", p)
		return err
	}); errors.Is(err, unix.ENOPROTOOPT) {
		t.Skipf("needs a kernel with clsact and filters of kind bpf: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := f.Update(newProgram(t)); err != nil {
		t.Error(err)
	}
	closeFilter(t, f)
	if err := ns.Do(func() error {
		entries, err := List(loopback, false)
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("there is still %v", entries)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// owner is another process that attaches a program, which lives until stop or kill.
type owner struct {
	cmd   *exec.Cmd
	stdin interface{ Close() error }
}

const ownerVariable = "RULES_BPF_TEST_TC_OWNER"

// startOwner starts an owner of the place in this network namespace.
func startOwner(t *testing.T) *owner {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestStale$")
	cmd.Env = append(os.Environ(), ownerVariable+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &owner{cmd, stdin}
	t.Cleanup(o.kill)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "attached\n" {
		t.Fatalf("the other process: %q, %v", line, err)
	}
	return o
}

func (o *owner) kill() {
	_ = o.cmd.Process.Signal(syscall.SIGKILL)
	_ = o.cmd.Wait()
}

// beOwner is what the other process does.
func beOwner(t *testing.T) {
	t.Helper()
	if _, err := Attach(location(1, 1), "f", newProgram(t)); err != nil {
		t.Fatal(err)
	}
	fmt.Println("attached")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// The filter of a process that has crashed is replaced, that of one that lives is not.
func TestStale(t *testing.T) {
	if os.Getenv(ownerVariable) != "" {
		beOwner(t)
		return
	}
	inNetNS(t)
	p := newProgram(t)
	closeFilter(t, attach(t, location(1, 1), "f", p)) // skips where it must
	o := startOwner(t)
	_, err := Attach(location(1, 1), "f", p)
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "of a process that is running") {
		t.Errorf("while the owner lives: %v", err)
	}
	o.kill()
	entries, err := List(loopback, false)
	if err != nil || len(entries) == 0 {
		t.Fatalf("the owner's filter is gone with it: %v", err)
	}
	_, err = Attach(location(1, 1), "g", p)
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "not of this program") {
		t.Errorf("by another name: %v", err)
	}
	f := attach(t, location(1, 1), "f", p)
	wantFilters(t, false, fmt.Sprintf("f %d", p.ID))
	closeFilter(t, f)
	wantFilters(t, false)
	// The other process has made it, and nobody knows.
	wantQdisc(t, "clsact")
}

// In one process too, a place has one owner.
func TestTwice(t *testing.T) {
	inNetNS(t)
	p := newProgram(t)
	f := attach(t, location(1, 1), "f", p)
	defer closeFilter(t, f)
	if _, err := Attach(location(1, 1), "f", p); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a second time: %v, want %v", err, unix.EEXIST)
	}
	wantFilters(t, false, fmt.Sprintf("f %d", p.ID))
}

// The socket of a user without rights is no owner.
func TestForeignMark(t *testing.T) {
	inNetNS(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	// The thread of this test ends with it.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 65534, ^uintptr(0)); errno != 0 {
		t.Fatal(errno)
	}
	fd, err := setMark(location(1, 1))
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0)); errno != 0 {
		t.Fatal(errno)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	closeFilter(t, attach(t, location(1, 1), "f", newProgram(t)))
}

func TestDefaultHandle(t *testing.T) {
	seen := make(map[uint32]bool)
	for _, name := range []string{"", "rules_bpf/a/b", "rules_bpf/a/c", "rules_bpf/b/b"} {
		h := DefaultHandle(name)
		if h == 0 || h > 0x7fffffff || seen[h] {
			t.Errorf("%q has handle %#x", name, h)
		}
		seen[h] = true
	}
}
