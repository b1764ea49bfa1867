// Package maps_test checks the kinds of maps that are no plain containers, in the
// running kernel: what a program puts into them Go reads, and the other way round.
package maps_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/cgroups"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/commands"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/filters"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/inodes"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/kinds"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/tasks"
)

// open opens the skeleton of what all kernels have, with the programs that choose returns and no others.
func open(t *testing.T, choose func(p *kinds.Progs) []*skeleton.BaseProgram) *kinds.Skeleton {
	t.Helper()
	skel := bpftest.Open(t, kinds.Open)
	p := &skel.Progs
	for _, prog := range []*skeleton.BaseProgram{
		p.Renamed.Handle(), p.Created.Handle(), p.Connecting.Handle(), p.Caller.Handle(), p.Callee.Handle(), p.OfMaps.Handle(),
		p.RedirectDevice.Handle(), p.RedirectHashed.Handle(), p.RedirectCpu.Handle(), p.RedirectXsk.Handle(), p.FindSockets.Handle(), p.Choose.Handle(), p.Fill.Handle(),
	} {
		prog.SetAutoload(false)
	}
	for _, prog := range choose(p) {
		prog.SetAutoload(true)
	}
	return skel
}

// load is open and Load.
func load(t *testing.T, choose func(p *kinds.Progs) []*skeleton.BaseProgram) *kinds.Skeleton {
	t.Helper()
	skel := open(t, choose)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	return skel
}

// run runs a program on a packet and returns its result.
func run(t *testing.T, p *skeleton.BaseProgram) int32 {
	t.Helper()
	result, _, err := p.Test(make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	return int32(result)
}

// counted is what programs make of a value.
func counted(s kinds.Stats) kinds.Stats {
	s.Packets++
	s.Last = 7
	s.Name[0] = 'c'
	return s
}

func openFD(t *testing.T, name string) int {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

// rename makes the kernel say that this process has another name.
func rename(t *testing.T) {
	t.Helper()
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/proc/self/comm", name, 0); err != nil {
		t.Fatal(err)
	}
}

// checkStorage checks that a program has added to what Go put there, and then what
// Go alone does.
func checkStorage[V comparable](t *testing.T, m *skeleton.StorageMap[V], fd int, want V) {
	t.Helper()
	if got, err := m.Lookup(fd); err != nil || got != want {
		t.Errorf("Lookup: %+v, %v, want %+v", got, err, want)
	}
	if err := m.Put(fd, want, ebpf.UpdateNoExist); !errors.Is(err, ebpf.ErrKeyExist) {
		t.Errorf("UpdateNoExist: %v", err)
	}
	if err := m.Delete(fd); err != nil {
		t.Error(err)
	}
	if _, err := m.Lookup(fd); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("Lookup after Delete: %v", err)
	}
	if err := m.Delete(fd); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("second Delete: %v", err)
	}
	if err := m.Put(-1, want); err == nil || !strings.Contains(err.Error(), "map "+m.UntypedMap.Name()) {
		t.Errorf("Put with what is no file descriptor: %v", err)
	}
}

func TestTaskStorage(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 11, "storage of tasks")
	skel := bpftest.Load(t, tasks.Open)
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	skel.Bss.Pid = uint32(os.Getpid())
	if err := skel.Maps.OfTasks.Put(fd, tasks.Stats{Packets: 40, Name: [12]byte{'x', 'y'}}); err != nil {
		t.Fatal(err)
	}
	rename(t)
	rename(t)
	checkStorage(t, skel.Maps.OfTasks, fd, tasks.Stats{Packets: 42, Last: 7, Name: [12]byte{'c', 'y'}})
	rename(t)
	checkStorage(t, skel.Maps.OfTasks, fd, tasks.Stats{Packets: 1, Last: 7, Name: [12]byte{'c'}})
}

// A program asks for the cgroup and the stack of the task.
func TestCgroupArrayAndStacks(t *testing.T) {
	root := bpftest.CgroupRoot(t)
	skel := load(t, func(p *kinds.Progs) []*skeleton.BaseProgram { return []*skeleton.BaseProgram{p.Renamed.Handle()} })
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	skel.Bss.Pid = uint32(os.Getpid())
	rename(t)
	if got := skel.Data.BelowCgroup; got != -int32(unix.EAGAIN) {
		t.Errorf("without a cgroup in the map: %d", got)
	}
	if err := skel.Maps.Cgroups.Put(2, openFD(t, root)); err != nil {
		t.Fatal(err)
	}
	rename(t)
	if got := skel.Data.BelowCgroup; got != 1 {
		t.Errorf("below the root of all cgroups: %d", got)
	}
	if err := skel.Maps.Cgroups.Delete(2); err != nil {
		t.Error(err)
	}

	if skel.Bss.StackId == 0 {
		t.Fatal("the program got no stack")
	}
	id := skel.Bss.StackId - 1
	stack, err := skel.Maps.Stacks.Lookup(id)
	if err != nil || len(stack) < 2 || slices.Contains(stack, 0) {
		t.Errorf("stack %d: %x, %v", id, stack, err)
	}
	n := 0
	for e, err := range skel.Maps.Stacks.All() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; e.Key == id && !slices.Equal(e.Value, stack) {
			t.Errorf("stack %d is another one", id)
		}
	}
	if n == 0 {
		t.Error("All has no stacks")
	}
}

func TestCgroupStorage(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 2, "storage of cgroups")
	root := bpftest.CgroupRoot(t)
	skel := bpftest.Load(t, cgroups.Open)
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	skel.Bss.Pid = uint32(os.Getpid())
	dir, err := os.MkdirTemp(root, "maps_test_")
	if err != nil {
		t.Skipf("needs the right to make cgroups: %v", err)
	}
	defer os.Remove(dir)
	fd := openFD(t, dir)
	checkStorage(t, skel.Maps.OfCgroups, fd, cgroups.Stats{Packets: 1, Last: 7, Name: [12]byte{'c'}})
	if err := skel.Maps.OfCgroups.Put(fd, cgroups.Stats{Packets: 5}); err != nil {
		t.Fatal(err)
	}
	checkStorage(t, skel.Maps.OfCgroups, fd, cgroups.Stats{Packets: 5})
}

func TestSocketStorage(t *testing.T) {
	root := bpftest.CgroupRoot(t)
	skel := load(t, func(p *kinds.Progs) []*skeleton.BaseProgram {
		return []*skeleton.BaseProgram{p.Created.Handle(), p.Connecting.Handle()}
	})
	for _, a := range []struct {
		prog *skeleton.BaseProgram
		typ  ebpf.AttachType
		slot *link.Link
	}{
		{skel.Progs.Created.Handle(), ebpf.AttachCGroupInetSockCreate, &skel.Links.Created},
		{skel.Progs.Connecting.Handle(), ebpf.AttachCGroupInet4Connect, &skel.Links.Connecting},
	} {
		l, err := link.AttachCgroup(link.CgroupOptions{Path: root, Attach: a.typ, Program: a.prog.Program()})
		if err != nil {
			t.Fatal(err)
		}
		*a.slot = l
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	m := skel.Maps.OfSockets
	if got, err := m.Lookup(fd); err != nil || got != counted(kinds.Stats{}) {
		t.Errorf("Lookup: %+v, %v", got, err)
	}
	value := kinds.Stats{Packets: 21, Last: 3, Name: [12]byte{'s'}}
	if err := m.Put(fd, value); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	value.Packets *= 2
	checkStorage(t, m, fd, value)
}

func TestInodeStorage(t *testing.T) {
	bpftest.NeedsBPF(t)
	start := func(t *testing.T, autoload bool) *inodes.Skeleton {
		skel, err := inodes.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { skel.Close() })
		skel.Progs.FileOpen.SetAutoload(autoload)
		if err := skel.Load(); err != nil {
			bpftest.SkipIfRefused(t, "LSM programs", err)
			if !kerneltest.Config(t, "CONFIG_BPF_LSM") {
				t.Skipf("needs a kernel with CONFIG_BPF_LSM: %v", err)
			}
			if errors.Is(err, unix.EINVAL) && !autoload {
				t.Skipf("needs a kernel with CONFIG_BPF_LSM: %v", err)
			}
			t.Fatal(err)
		}
		return skel
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	fd := openFD(t, name)
	t.Run("from Go", func(t *testing.T) {
		m := start(t, false).Maps.Opened
		if _, err := m.Lookup(fd); !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Errorf("Lookup: %v", err)
		}
		if err := m.Put(fd, 5); err != nil {
			t.Fatal(err)
		}
		// Another descriptor of the same file.
		if n, err := m.Lookup(openFD(t, name)); n != 5 || err != nil {
			t.Errorf("Lookup: %d, %v", n, err)
		}
		if err := m.Delete(fd); err != nil {
			t.Error(err)
		}
	})
	t.Run("from a program", func(t *testing.T) {
		skel := start(t, true)
		if err := skel.Attach(); err != nil {
			bpftest.SkipIfRefused(t, "LSM programs", err)
			if !kerneltest.Config(t, "CONFIG_BPF_LSM") {
				t.Skipf("needs a kernel with CONFIG_BPF_LSM: %v", err)
			}
			t.Fatal(err)
		}
		if err := skel.Maps.Opened.Put(fd, 5); err != nil {
			t.Fatal(err)
		}
		openFD(t, name)
		if n, err := skel.Maps.Opened.Lookup(fd); n != 6 || err != nil {
			t.Errorf("after opening the file: %d, %v, want 6", n, err)
		}
	})
}

func TestBloomFilter(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 16, "Bloom filters")
	skel := bpftest.Load(t, filters.Open)
	m := skel.Maps.Bloom
	if has, err := m.MayContain(filters.Name{Kind: 1, Id: 10}); has || err != nil {
		t.Errorf("an empty filter: %v, %v", has, err)
	}
	if err := m.Add(filters.Name{Kind: 1, Id: 10}); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.Filter.Handle()); got != 1 {
		t.Errorf("the program found %b, want 1: bit 0 is the value that Go added, bit 1 another", got)
	}
	for v, want := range map[filters.Name]bool{{Kind: 1, Id: 10}: true, {Kind: 2, Id: 20}: true, {Kind: 2, Id: 10}: false} {
		if has, err := m.MayContain(v); has != want || err != nil {
			t.Errorf("%+v: %v, %v, want %v", v, has, err, want)
		}
	}
}

func TestProgArray(t *testing.T) {
	skel := load(t, func(p *kinds.Progs) []*skeleton.BaseProgram {
		return []*skeleton.BaseProgram{p.Caller.Handle(), p.Callee.Handle()}
	})
	m := skel.Maps.TailCalls
	if got := run(t, skel.Progs.Caller.Handle()); got != 1 {
		t.Errorf("without a program to call: %d", got)
	}
	if err := m.Put(3, skel.Progs.Callee.Program()); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.Caller.Handle()); got != 42 {
		t.Errorf("with a program to call: %d", got)
	}
	if err := m.Put(4, skel.Progs.Callee.Program()); err == nil {
		t.Error("Put beyond the end succeeded")
	}
	if err := m.Delete(3); err != nil {
		t.Error(err)
	}
	if err := m.Delete(3); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("second Delete: %v", err)
	}
	if got := run(t, skel.Progs.Caller.Handle()); got != 1 {
		t.Errorf("after Delete: %d", got)
	}
}

func TestUserRingBuffer(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 1, "ring buffers that user space writes to")
	kerneltest.NeedsJIT(t) // for callbacks
	skel := bpftest.Load(t, commands.Open)
	w, err := skeleton.NewUserRingWriter[commands.Command](skel.Maps.Commands)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	// More than once around, in rounds that end nowhere near its end.
	var want uint64
	for round := range uint64(50) {
		for i := range uint64(7) {
			if err := w.Write(commands.Command{Id: uint32(i), Value: round}); err != nil {
				t.Fatal(err)
			}
			want += i * round
		}
		if got := run(t, skel.Progs.Drain.Handle()); got != 7 {
			t.Fatalf("round %d: the program got %d records, want 7", round, got)
		}
		if got := skel.Bss.Sum; got != want {
			t.Fatalf("round %d: the program has %d, want %d", round, got, want)
		}
	}
	// Until it is full: 24 bytes for each record of 16.
	n := 0
	for err = nil; err == nil; n++ {
		err = w.Write(commands.Command{})
	}
	if room := int(skel.Maps.Commands.Map().MaxEntries()) / 24; !errors.Is(err, skeleton.ErrRingFull) || n-1 != room {
		t.Errorf("after %d records: %v, want %d and ErrRingFull", n-1, err, room)
	}
	if got := run(t, skel.Progs.Drain.Handle()); got != int32(n-1) {
		t.Errorf("the program got %d records, want %d", got, n-1)
	}
	if err := w.Write(commands.Command{}); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := w.Write(commands.Command{}); !errors.Is(err, skeleton.ErrWriterClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	if _, err := skeleton.NewUserRingWriter[*int](skel.Maps.Commands); err == nil {
		t.Error("a writer of Go pointers")
	}
	// With its header, one that is as large as all of the memory does not fit.
	if _, err := skeleton.NewUserRingWriter[[64 << 10]byte](skel.Maps.Commands); err == nil || !strings.Contains(err.Error(), "raise max_entries") {
		t.Errorf("a writer of records that never fit: %v", err)
	}
}

// Records are written in place, of any size, and sent in the order in which they were reserved.
func TestUserRingReserve(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 1, "ring buffers that user space writes to")
	kerneltest.NeedsJIT(t) // for callbacks
	skel := bpftest.Load(t, commands.Open)
	w, err := skeleton.NewUserRingWriter[commands.Command](skel.Maps.Commands)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, tail := range []int{1, 7, 8, 1000, 4000} {
		r, err := w.Reserve(tail)
		if err != nil {
			t.Fatal(err)
		}
		*r.Value = commands.Command{Id: 1000, Value: uint64(tail)}
		for i := range r.Tail {
			r.Tail[i] = byte(i)
		}
		r.Tail[tail-1] = byte(tail) | 1
		if got := run(t, skel.Progs.Drain.Handle()); got != 0 {
			t.Errorf("the program got %d records before Submit", got)
		}
		if err := r.Submit(); err != nil {
			t.Fatal(err)
		}
		if got := run(t, skel.Progs.Drain.Handle()); got != 1 || skel.Bss.Last != byte(tail)|1 {
			t.Errorf("with a tail of %d: the program got %d records, and %d", tail, got, skel.Bss.Last)
		}
		if err := r.Submit(); err == nil {
			t.Error("a record is sent twice")
		}
	}

	// A record that is reserved stops those behind it, one that is discarded is skipped.
	first, err1 := w.Reserve(0)
	second, err2 := w.Reserve(0)
	if err := errors.Join(err1, err2, w.Write(commands.Command{Id: 1, Value: 5})); err != nil {
		t.Fatal(err)
	}
	*second.Value = commands.Command{Id: 1, Value: 3}
	if err := second.Submit(); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.Drain.Handle()); got != 0 {
		t.Errorf("the program got %d records behind one that is reserved", got)
	}
	if err := first.Discard(); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.Drain.Handle()); got != 2 || skel.Bss.Sum != 8 {
		t.Errorf("the program got %d records and has %d, want 2 and 8", got, skel.Bss.Sum)
	}

	for tail, want := range map[int]string{-1: "negative", 4096: "raise max_entries", 1 << 24: "programs read 16777215 at most"} {
		if _, err := w.Reserve(tail); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with a tail of %d: %v, want %q", tail, err, want)
		}
	}

	// What is reserved can be written to after Close.
	r, err := w.Reserve(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	*r.Value = commands.Command{Id: 1, Value: 1}
	if err := r.Submit(); err != nil {
		t.Error(err)
	}
	if got := run(t, skel.Progs.Drain.Handle()); got != 1 || skel.Bss.Sum != 9 {
		t.Errorf("after Close, the program got %d records and has %d", got, skel.Bss.Sum)
	}
	if _, err := w.ReserveBlocking(0); !errors.Is(err, skeleton.ErrWriterClosed) {
		t.Errorf("Reserve after Close: %v", err)
	}
}

// Reserving waits for programs to drain, until the deadline or Close.
func TestUserRingBlocking(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 1, "ring buffers that user space writes to")
	kerneltest.NeedsJIT(t) // for callbacks
	skel := bpftest.Load(t, commands.Open)
	w, err := skeleton.NewUserRingWriter[commands.Command](skel.Maps.Commands)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	// Several writers, of 50 times what there is room for.
	const writers, each = 3, 3000
	failed := make(chan error, writers)
	for range writers {
		go func() {
			for range each {
				r, err := w.ReserveBlocking(0)
				if err != nil {
					failed <- err
					return
				}
				*r.Value = commands.Command{Id: 1, Value: 1}
				if err := r.Submit(); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for end := time.Now().Add(time.Minute); skel.Bss.Sum < writers*each && time.Now().Before(end); {
		run(t, skel.Progs.Drain.Handle())
	}
	if got := skel.Bss.Sum; got != writers*each {
		t.Fatalf("%d records came, of %d", got, writers*each)
	}
	for range writers {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}

	for err = nil; err == nil; {
		err = w.Write(commands.Command{})
	}
	if !errors.Is(err, skeleton.ErrRingFull) {
		t.Error(err)
	}
	w.SetDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := w.ReserveBlocking(0); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("at the deadline: %v", err)
	}
	w.SetDeadline(time.Time{})
	go func() {
		_, err := w.ReserveBlocking(0)
		failed <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := skel.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, skeleton.ErrWriterClosed) || !errors.Is(err, skeleton.ErrClosed) {
		t.Errorf("when the skeleton is closed: %v", err)
	}
}

func TestArrayOfMaps(t *testing.T) {
	skel := load(t, func(p *kinds.Progs) []*skeleton.BaseProgram { return []*skeleton.BaseProgram{p.OfMaps.Handle()} })
	if got := run(t, skel.Progs.OfMaps.Handle()); got != 1 {
		t.Errorf("without an inner map: %d", got)
	}
	inner, err := skel.Maps.InnerMaps.NewInner()
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Map().Close()
	if err := skel.Maps.InnerMaps.Put(1, inner.Map()); err != nil {
		t.Fatal(err)
	}
	m, err := skel.Maps.InnerMaps.Lookup(1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Map().Close()
	start := kinds.Stats{Packets: 9, Name: [12]byte{'i', 'n'}}
	if err := m.Put(5, start); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.OfMaps.Handle()); got != 0 {
		t.Fatalf("with an inner map: %d", got)
	}
	if got, err := m.Lookup(5); err != nil || got != counted(start) {
		t.Errorf("key 5: %+v, %v", got, err)
	}
	if got, err := m.Lookup(6); err != nil || skeleton.String(got.Name[:]) != "made" || got.Packets != 100 {
		t.Errorf("key 6: %+v, %v", got, err)
	}
}

const xdpRedirect = 4

func TestDeviceMaps(t *testing.T) {
	skel := load(t, func(p *kinds.Progs) []*skeleton.BaseProgram {
		return []*skeleton.BaseProgram{p.RedirectDevice.Handle(), p.RedirectHashed.Handle()}
	})
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("needs the interface lo: %v", err)
	}
	index := uint32(lo.Index)
	for _, p := range []*skeleton.BaseProgram{skel.Progs.RedirectDevice.Handle(), skel.Progs.RedirectHashed.Handle()} {
		if got := run(t, p); got != 0 {
			t.Errorf("%s without a device: %d", p.Name(), got)
		}
	}
	// Descriptor 0 is none here, as the kernel's header says.
	value := skeleton.DevMapVal{Ifindex: index}
	if err := errors.Join(skel.Maps.Devices.Put(2, value), skel.Maps.DevicesByHash.Put(1000, value)); err != nil {
		t.Fatal(err)
	}
	if got, err := skel.Maps.Devices.Lookup(2); err != nil || got != value {
		t.Errorf("devices: %+v, %v", got, err)
	}
	if got, err := skel.Maps.DevicesByHash.Lookup(1000); err != nil || got != value {
		t.Errorf("devices_by_hash: %+v, %v", got, err)
	}
	for e, err := range skel.Maps.DevicesByHash.All() {
		if err != nil || e.Key != 1000 || e.Value != value {
			t.Errorf("All: %+v, %v", e, err)
		}
	}
	// Values of 4 bytes are a device and no program.
	if err := skel.Maps.DevicesByHash.Put(1000, skeleton.DevMapVal{Ifindex: index, Prog: 5}); err == nil || !strings.Contains(err.Error(), "struct bpf_devmap_val") {
		t.Errorf("Put of a program where there is no place: %v", err)
	}
	for _, p := range []*skeleton.BaseProgram{skel.Progs.RedirectDevice.Handle(), skel.Progs.RedirectHashed.Handle()} {
		if got := run(t, p); got != xdpRedirect {
			t.Errorf("%s: %d, want %d", p.Name(), got, xdpRedirect)
		}
	}
	if err := skel.Maps.DevicesByHash.Delete(1000); err != nil {
		t.Error(err)
	}
}

func TestCPUMap(t *testing.T) {
	skel := load(t, func(p *kinds.Progs) []*skeleton.BaseProgram { return []*skeleton.BaseProgram{p.RedirectCpu.Handle()} })
	if got := run(t, skel.Progs.RedirectCpu.Handle()); got != 0 {
		t.Errorf("without a CPU: %d", got)
	}
	if err := skel.Maps.Cpus.Put(0, skeleton.CPUMapVal{Qsize: 192}); err != nil {
		t.Fatal(err)
	}
	if got, err := skel.Maps.Cpus.Lookup(0); err != nil || got.Qsize != 192 {
		t.Errorf("Lookup: %+v, %v", got, err)
	}
	if got := run(t, skel.Progs.RedirectCpu.Handle()); got != xdpRedirect {
		t.Errorf("with a CPU: %d", got)
	}
}

func TestXSKMap(t *testing.T) {
	skel := load(t, func(p *kinds.Progs) []*skeleton.BaseProgram { return []*skeleton.BaseProgram{p.RedirectXsk.Handle()} })
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW, 0)
	if err != nil {
		t.Skipf("needs a kernel with CONFIG_XDP_SOCKETS: %v", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_XDP, unix.XDP_RX_RING, 64); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.RedirectXsk.Handle()); got != 0 {
		t.Errorf("without a socket: %d", got)
	}
	if err := skel.Maps.Xsk.Put(1, fd); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.RedirectXsk.Handle()); got != xdpRedirect {
		t.Errorf("with a socket: %d", got)
	}
	if err := skel.Maps.Xsk.Delete(1); err != nil {
		t.Error(err)
	}
}

// fdOf returns the file descriptor of a connection, which stays open.
func fdOf(t *testing.T, c syscall.Conn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	if err := raw.Control(func(f uintptr) { fd = int(f) }); err != nil {
		t.Fatal(err)
	}
	return fd
}

func cookie(t *testing.T, fd int) uint64 {
	t.Helper()
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSocketMaps(t *testing.T) {
	skel := load(t, func(p *kinds.Progs) []*skeleton.BaseProgram { return []*skeleton.BaseProgram{p.FindSockets.Handle()} })
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Skipf("needs the address 127.0.0.1: %v", err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fd := fdOf(t, conn.(*net.TCPConn))
	key := kinds.Name{Kind: 3, Id: 30}
	if got := run(t, skel.Progs.FindSockets.Handle()); got != 0 {
		t.Errorf("without sockets: %b", got)
	}
	if err := skel.Maps.Sockets.Put(1, fd); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.FindSockets.Handle()); got != 1 {
		t.Errorf("with a socket in the array: %b", got)
	}
	if err := skel.Maps.SocketsByName.Put(key, fd); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.FindSockets.Handle()); got != 3 {
		t.Errorf("with a socket in both: %b", got)
	}
	// What is read is not the descriptor.
	want := cookie(t, fd)
	if got, err := skel.Maps.Sockets.Lookup(1); err != nil || got != want {
		t.Errorf("sockets: %d, %v, want %d", got, err, want)
	}
	if got, err := skel.Maps.SocketsByName.Lookup(key); err != nil || got != want {
		t.Errorf("sockets_by_name: %d, %v, want %d", got, err, want)
	}
	if err := errors.Join(skel.Maps.Sockets.Delete(1), skel.Maps.SocketsByName.Delete(key)); err != nil {
		t.Error(err)
	}
}

func TestReuseport(t *testing.T) {
	skel := load(t, func(p *kinds.Progs) []*skeleton.BaseProgram { return []*skeleton.BaseProgram{p.Choose.Handle()} })
	var conns []*net.UDPConn
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		ctlErr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(ctlErr, err)
	}}
	addr := "127.0.0.1:0"
	for range 2 {
		c, err := config.ListenPacket(t.Context(), "udp4", addr)
		if err != nil {
			t.Skipf("needs the address 127.0.0.1: %v", err)
		}
		defer c.Close()
		addr = c.LocalAddr().String()
		conns = append(conns, c.(*net.UDPConn))
	}
	if err := unix.SetsockoptInt(fdOf(t, conns[0]), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, skel.Progs.Choose.Program().FD()); err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i, c := range conns {
		fd := fdOf(t, c)
		if err := skel.Maps.Reuseport.Put(1, fd); err != nil {
			t.Fatal(err)
		}
		if got, err := skel.Maps.Reuseport.Lookup(1); err != nil || got != cookie(t, fd) {
			t.Errorf("Lookup: %d, %v, want %d", got, err, cookie(t, fd))
		}
		if _, err := client.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1)
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil || buf[0] != byte(i) {
			t.Errorf("socket %d got %v, %v", i, buf, err)
		}
		if got := skel.Bss.Runs; got != uint32(i)+1 {
			t.Errorf("the program has chosen %d times, want %d", got, i+1)
		}
		// A socket is in the map once.
		if err := skel.Maps.Reuseport.Delete(1); err != nil {
			t.Fatal(err)
		}
	}
}

func fill(p *kinds.Progs) []*skeleton.BaseProgram { return []*skeleton.BaseProgram{p.Fill.Handle()} }

func TestResize(t *testing.T) {
	for _, entries := range []uint32{4, 8, 32} {
		skel := open(t, fill)
		if got := skel.Maps.Plain.UntypedMap.MaxEntries(); got != 4 {
			t.Errorf("the map is declared for %d entries, want 4", got)
		}
		if err := skel.Maps.Plain.SetMaxEntries(entries); err != nil {
			t.Fatal(err)
		}
		if err := skel.Load(); err != nil {
			t.Fatal(err)
		}
		if got := run(t, skel.Progs.Fill.Handle()); got != int32(entries) {
			t.Errorf("the program put %d entries into a map of %d", got, entries)
		}
		if got := skel.Maps.Plain.Map().MaxEntries(); got != entries {
			t.Errorf("the map has room for %d entries, want %d", got, entries)
		}
	}
}

func TestPin(t *testing.T) {
	dir := bpftest.PinDir(t)
	opts := skeleton.LoadOptions{PinRoot: dir}
	start := func(entries uint32) (*kinds.Skeleton, error) {
		skel := open(t, fill)
		if err := errors.Join(skel.Maps.Plain.UntypedMap.SetPinning(ebpf.PinByName), skel.Maps.Plain.SetMaxEntries(entries)); err != nil {
			t.Fatal(err)
		}
		return skel, skel.LoadWithOptions(opts)
	}
	first, err := start(6)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, first.Progs.Fill.Handle()); got != 6 {
		t.Errorf("the program put %d entries into a map of 6", got)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// The map has outlived the skeleton, and the next one takes it.
	second, err := start(6)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range second.Maps.Plain.All() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 6 {
		t.Errorf("the pinned map has %d entries, want 6", n)
	}
	if got := run(t, second.Progs.Fill.Handle()); got != 0 {
		t.Errorf("the program found room for %d entries in the full map", got)
	}
	if _, err := start(7); !errors.Is(err, ebpf.ErrMapIncompatible) {
		t.Errorf("a map of another size in the place of the pinned one: %v", err)
	}
	// By hand, and after Load.
	name := filepath.Join(dir, "again")
	if err := second.Maps.Plain.Map().Pin(name); err != nil {
		t.Fatal(err)
	}
	pinned, err := ebpf.LoadPinnedMap(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	pinned.Close()
}

func TestReuse(t *testing.T) {
	first := load(t, fill)
	second := open(t, fill)
	if err := second.Maps.Plain.UntypedMap.Reuse(first.Maps.Plain.Map()); err != nil {
		t.Fatal(err)
	}
	if err := second.Load(); err != nil {
		t.Fatal(err)
	}
	if got := run(t, first.Progs.Fill.Handle()); got != 4 {
		t.Errorf("the first program put %d entries, want 4", got)
	}
	if got := run(t, second.Progs.Fill.Handle()); got != 0 {
		t.Errorf("the second program found room for %d entries in the same map", got)
	}
	value := kinds.Stats{Packets: 77}
	if err := first.Maps.Plain.Put(1, value); err != nil {
		t.Fatal(err)
	}
	// Each skeleton has a reference of its own.
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := second.Maps.Plain.Lookup(1); err != nil || got != value {
		t.Errorf("Lookup: %+v, %v", got, err)
	}

	third := open(t, fill)
	if err := errors.Join(third.Maps.Plain.SetMaxEntries(5), third.Maps.Plain.UntypedMap.Reuse(second.Maps.Plain.Map())); err != nil {
		t.Fatal(err)
	}
	if err := third.Load(); !errors.Is(err, ebpf.ErrMapIncompatible) {
		t.Errorf("a map of another size: %v", err)
	}
	if err := third.Maps.Plain.UntypedMap.Reuse(nil); err != nil {
		t.Fatal(err)
	}
	if err := third.Load(); err != nil {
		t.Errorf("after taking Reuse back: %v", err)
	}
}
