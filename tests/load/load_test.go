// Package load_test loads objects that need something of the loader which few objects do:
// types that are the same for maps and programs, functions that nothing calls, memory at
// an address, functions that not all kernels have.
package load_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/conntrack"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/contexts"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/exceptions"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/fixedarena"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/graph"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/jumps"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/kfuncs"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/large"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/naked"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/pages"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/sched"
)

// run runs a program on a packet of a size, and wants a result of it.
func run(t *testing.T, p *skeleton.BaseProgram, size int, want uint32) {
	t.Helper()
	got, _, err := p.Test(make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s returns %d, want %d", p.Name(), got, want)
	}
}

// call is run for programs of type syscall.
func call(t *testing.T, p *skeleton.BaseProgram, want uint32) {
	t.Helper()
	got, err := p.Run(&ebpf.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s returns %d, want %d", p.Name(), got, want)
	}
}

// wantParts checks that an error has some texts in it.
func wantParts(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
}

// Lists and trees of objects, whose heads are in a section and in the value of a map, and
// pointers that a map keeps.
func TestGraph(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 4, "objects that are in several collections")
	skel := bpftest.Load(t, graph.Open)
	push, pop := skel.Progs.Push.Handle(), skel.Progs.Pop.Handle()
	for _, weight := range []uint32{20, 5, 30} {
		skel.Bss.Weight = weight
		run(t, push, 64, 0)
	}
	for _, want := range []struct{ oldest, lightest uint32 }{{20, 5}, {5, 20}, {30, 30}} {
		run(t, pop, 64, 0)
		if b := skel.Bss; b.Oldest != want.oldest || b.Lightest != want.lightest {
			t.Errorf("oldest %d and lightest %d, want %d and %d", b.Oldest, b.Lightest, want.oldest, want.lightest)
		}
	}
	run(t, pop, 64, 1)

	leave, file := skel.Progs.Leave.Handle(), skel.Progs.File.Handle()
	skel.Bss.Text = 40
	run(t, leave, 64, 0)
	run(t, file, 64, 1)
	if err := skel.Maps.Shelves.Put(9, graph.Shelf{}); err != nil {
		t.Fatal(err)
	}
	run(t, file, 64, 0)
	if skel.Bss.Text != 41 {
		t.Errorf("the note is %d, want 41", skel.Bss.Text)
	}
	run(t, file, 64, 2)
	// Another one stays in the map, which frees it.
	run(t, leave, 64, 0)
	run(t, leave, 64, 3)
	shelf, err := skel.Maps.Shelves.Lookup(9)
	if err != nil || shelf.Count != 1 {
		t.Errorf("%d notes were on the shelf (%v), want 1", shelf.Count, err)
	}
}

// Programs end with the function that catches their exceptions.
func TestExceptions(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 7, "exceptions")
	skel := bpftest.Load(t, exceptions.Open)
	skel.Data.Limit = 80
	run(t, skel.Progs.Checked.Handle(), 64, 1)
	run(t, skel.Progs.Checked.Handle(), 100, 200)
	run(t, skel.Progs.Thrower.Handle(), 64, 42)
	run(t, skel.Progs.Uncaught.Handle(), 64, 1)
	run(t, skel.Progs.Uncaught.Handle(), 100, 5)
	if got := skel.Bss.Caught; got != 2 {
		t.Errorf("%d exceptions caught, want 2", got)
	}
}

// User space follows the pointers that programs put into an arena.
func TestArenaPages(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 9, "arenas")
	skel := bpftest.Load(t, pages.Open)
	const n = 5
	for range n {
		call(t, skel.Progs.Push.Handle(), 0)
	}
	type node struct {
		next  *node
		value uint64
	}
	if skel.Bss.Head != skel.Bss.Last {
		t.Errorf("the head is %v, and the last one %v", skel.Bss.Head, skel.Bss.Last)
	}
	want := uint64(40 + n)
	for at := *(**node)(unsafe.Pointer(&skel.Bss.Head)); at != nil; at = at.next {
		if at.value != want {
			t.Errorf("value %d, want %d", at.value, want)
		}
		want--
	}
	if want != 40 || skel.Arena.Pushed != 40+n {
		t.Errorf("%d values, and %d are counted, want %d", 40+n-want, skel.Arena.Pushed-40, n)
	}
	for range n {
		call(t, skel.Progs.Pop.Handle(), 0)
	}
	call(t, skel.Progs.Pop.Handle(), 1)
	// There are 16 pages, one of them for the variables.
	for range 15 {
		call(t, skel.Progs.Push.Handle(), 0)
	}
	call(t, skel.Progs.Push.Handle(), 1)
}

// An arena that asks for its address gets it as often as it is opened, but not twice at a
// time.
func TestFixedArena(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 9, "arenas")
	var kept []*uint64
	for n := range 3 {
		skel := bpftest.Load(t, fixedarena.Open)
		call(t, skel.Progs.Count.Handle(), 6)
		at := &skel.Arena.Counter
		if where := skel.Bss.Where; where != uint64(uintptr(unsafe.Pointer(at))) || where>>44 != 2 {
			t.Errorf("the program has the variable at %#x, user space at %p", where, at)
		}
		second := bpftest.Open(t, fixedarena.Open)
		if err := second.Load(); !errors.Is(err, unix.EEXIST) {
			t.Errorf("a second one: %v, want %v", err, unix.EEXIST)
		} else {
			wantParts(t, err, "map memory: ", "0x200000000000", "an arena that is still open", "declare another address")
		}
		kept = append(kept, at)
		*at = uint64(100 + n)
		if err := skel.Close(); err != nil {
			t.Fatal(err)
		}
		// Pointers outlive the skeleton.
		for _, p := range kept {
			if *p != uint64(100+n) {
				t.Errorf("after Close %d is left, want %d", *p, 100+n)
			}
		}
	}
}

// symbols returns the addresses of symbols that are there once, as the kernel shows them.
func symbols(t *testing.T, names ...string) map[string]uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]uint64)
	for _, name := range names {
		// "ffffffff81000000 T name", with a tab and the module behind it for those of modules.
		for _, end := range []string{"\n", "\t"} {
			before, _, ok := strings.Cut(string(text), " "+name+end)
			if !ok {
				continue
			}
			address, _, _ := strings.Cut(before[strings.LastIndex(before, "\n")+1:], " ")
			if found[name], err = strconv.ParseUint(address, 16, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	return found
}

// Of several prototypes of a function, the kernel's is there, and its address is that of the
// function.
func TestKfuncs(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 4, "addresses of kfuncs")
	skel := bpftest.Load(t, kfuncs.Open)
	call(t, skel.Progs.Choose.Handle(), 0)
	if skel.Bss.Exist != 2 || skel.Bss.Called != 2 {
		t.Errorf("prototypes %#b exist, and %#b is called, want 0b10", skel.Bss.Exist, skel.Bss.Called)
	}
	call(t, skel.Progs.Addresses.Handle(), 0)
	const lock, read = "bpf_rcu_read_lock", "vfs_read"
	want := symbols(t, lock, read)
	b := skel.Bss
	if b.LockAddress != want[lock] || b.ReadAddress != want[read] || b.LockAddress == 0 {
		t.Errorf("%s at %#x and %s at %#x, want %#x and %#x", lock, b.LockAddress, read, b.ReadAddress, want[lock], want[read])
	}
	if b.OtherAddress != 0 || b.MissingAddress != 0 {
		t.Errorf("a function with another prototype is at %#x, one that is missing at %#x, want 0", b.OtherAddress, b.MissingAddress)
	}

	for _, c := range []struct {
		program func(*kfuncs.Progs) *skeleton.BaseProgram
		want    []string
	}{
		{func(p *kfuncs.Progs) *skeleton.BaseProgram { return p.Unguarded },
			[]string{"program unguarded", "calls the weak kfunc bpf_no_such_function, which the kernel does not have", "bpf_ksym_exists", "kfuncs.bpf.c:"}},
		{func(p *kfuncs.Progs) *skeleton.BaseProgram { return p.Declared },
			[]string{"program declared", "calls the weak kfunc bpf_task_release, which has other parameters or results in the kernel", "define struct task_struct", "kfuncs.bpf.c:"}},
	} {
		unguarded := bpftest.Open(t, kfuncs.Open)
		if err := c.program(&unguarded.Progs).SetAutoload(true); err != nil {
			t.Fatal(err)
		}
		err := unguarded.Load()
		var verr *skeleton.VerifierError
		if !errors.As(err, &verr) {
			t.Errorf("%v, want a *VerifierError", err)
		}
		wantParts(t, err, c.want...)
	}
}

// Functions of a module are called where the module is there.
func TestConntrack(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 0, "functions of nf_conntrack for programs")
	bpftest.NeedsBPF(t)
	const release = "bpf_ct_release"
	address := symbols(t, release)[release]
	if address == 0 {
		t.Skip("needs a kernel with nf_conntrack")
	}
	if version, err := features.LinuxVersionCode(); err != nil {
		t.Fatal(err)
	} else if version < 6<<16|4<<8 {
		wantParts(t, bpftest.Open(t, conntrack.Open).Load(), "program look_up", "takes the address of a kfunc", "6.4")
		return
	}
	skel := bpftest.Load(t, conntrack.Open)
	run(t, skel.Progs.LookUp.Handle(), 64, 1)
	if skel.Data.Error != -int32(unix.ENOENT) || skel.Bss.OtherExists != 0 || skel.Bss.Address != address {
		t.Errorf("error %d, want %d; other prototype %d, want 0; address %#x, want %#x",
			skel.Data.Error, -int32(unix.ENOENT), skel.Bss.OtherExists, skel.Bss.Address, address)
	}
}

// Without the module, or without the right to see it, the functions are missing.
func TestConntrackMissing(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/btf/nf_conntrack"); err != nil {
		// There is no module, and there may be the functions.
		bpftest.NeedsBPF(t)
		if symbols(t, "bpf_ct_release")["bpf_ct_release"] != 0 {
			t.Skip("needs a kernel with nf_conntrack as a module, or without")
		}
	} else if !kerneltest.WithModules(t, nil) {
		return
	}
	skel := bpftest.Load(t, conntrack.Open)
	run(t, skel.Progs.LookUp.Handle(), 64, 2)
	if skel.Data.Error != 1 || skel.Bss.OtherExists != 0 || skel.Bss.Address != 0 {
		t.Errorf("error %d, want 1; other prototype %d, address %#x, want 0", skel.Data.Error, skel.Bss.OtherExists, skel.Bss.Address)
	}
}

// A global function is that of programs of several types, each with its own context.
func TestContexts(t *testing.T) {
	skel := bpftest.Load(t, contexts.Open)
	run(t, skel.Progs.Classify.Handle(), 64, 7)
	run(t, skel.Progs.Filter.Handle(), 64, 3)
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	_ = unix.Getppid()
	if skel.Bss.Traced != 5 {
		t.Errorf("the tracepoint's program has %d, want 5", skel.Bss.Traced)
	}
}

// Types that the kernel refuses are left out, and named where something may need them.
func TestNaked(t *testing.T) {
	skel := bpftest.Load(t, naked.Open)
	run(t, skel.Progs.Pass.Handle(), 64, 11)
	run(t, skel.Progs.Count.Handle(), 64, 1)
	n, err := skel.Maps.Counts.Lookup(0)
	if err != nil || n != 1 || skel.Bss.Packets != 1 {
		t.Errorf("%d packets in the map (%v), %d in the variable, want 1", n, err, skel.Bss.Packets)
	}

	rejected := bpftest.Open(t, naked.Open)
	rejected.Progs.Rejected.SetAutoload(true)
	err = rejected.Load()
	var verr *skeleton.VerifierError
	if !errors.As(err, &verr) || verr.Program != "rejected" {
		t.Errorf("%v, want a *VerifierError", err)
	}
	wantParts(t, err, "invalid bpf_context access", "this may be for lack of the object's BTF, which the kernel has refused: invalid argument", "Invalid arg#1")
}

// The verifier's log is there whatever error the kernel ends with.
func TestJumps(t *testing.T) {
	err := bpftest.Open(t, jumps.Open).Load()
	var verr *skeleton.VerifierError
	if !errors.As(err, &verr) || verr.Program != "jump" {
		t.Fatalf("%v, want a *VerifierError", err)
	}
	wantParts(t, err, "The sequence of 8193 jumps is too complex", "jumps.bpf.c:")
}

// peak returns the most memory that the process has had, in bytes.
func peak(t *testing.T) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var kilobytes int64
	_, line, _ := strings.Cut(string(data), "\nVmHWM:")
	if _, err := fmt.Sscan(line, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// A large section that is zero costs no more memory than it has.
func TestLarge(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 11, "map values of 64 MiB")
	if !kerneltest.Again(t, nil) {
		return
	}
	before := peak(t)
	skel := bpftest.Load(t, large.Open)
	if n := peak(t) - before; n > 11*int64(len(skel.Bss.Bytes))/10 {
		t.Errorf("Open and Load take %d bytes", n)
	}
	skel.Bss.Bytes[len(skel.Bss.Bytes)-1] = 9
	run(t, skel.Progs.Touch.Handle(), 64, 9)
	if skel.Bss.Calls != 1 || skel.Bss.Bytes[100] != 1 {
		t.Errorf("%d calls, %d in the middle, want 1", skel.Bss.Calls, skel.Bss.Bytes[100])
	}
}

// A scheduler schedules until it is closed.
func TestScheduler(t *testing.T) {
	const root = "/sys/kernel/sched_ext"
	bpftest.NeedsBPF(t)
	state := func() string {
		data, err := os.ReadFile(filepath.Join(root, "state"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	}
	if _, err := os.Stat(root); err != nil {
		t.Skipf("needs a kernel with sched_ext (6.12): %v", err)
	}
	if s := state(); s != "disabled" {
		t.Skipf("needs a machine without another scheduler: the state is %s", s)
	}
	skel := bpftest.Load(t, sched.Open)
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); skel.Bss.Enqueued < 100 && time.Since(begin) < 5*time.Second; {
		time.Sleep(time.Millisecond)
	}
	if s := state(); s != "enabled" {
		t.Errorf("the state is %s, want enabled", s)
	}
	b := skel.Bss
	if b.Enqueued < 100 || b.Dispatched == 0 || b.Inits != 1 || b.Exits != 0 {
		t.Errorf("%d tasks enqueued, %d dispatched, %d inits, %d exits", b.Enqueued, b.Dispatched, b.Inits, b.Exits)
	}
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); state() != "disabled" && time.Since(begin) < 5*time.Second; {
		time.Sleep(time.Millisecond)
	}
	// SCX_EXIT_UNREG
	if s := state(); s != "disabled" || b.Exits != 1 || b.ExitKind != 64 {
		t.Errorf("after Detach the state is %s, %d exits of kind %d, want disabled, 1 and 64", s, b.Exits, b.ExitKind)
	}
}
