package maps_test

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/optional"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/sizes"
)

// sizedMaps has the maps with the types that they must have: a key of 4 bytes is a uint32 where
// the kernel takes no other key, and where the kernel says what a value is, the declaration
// need not. Where nobody does, the map has no Go types.
type sizedMaps struct {
	slots               *skeleton.Map[uint32, sizes.Slot]
	scratch             *skeleton.PerCPUMap[uint32, sizes.Slot]
	raw                 *skeleton.UntypedMap
	stacks              *skeleton.StackTraceMap
	ports, withPrograms *skeleton.DevMap
	cpus                *skeleton.CPUMap
	queues              *skeleton.XSKMap
	outer               *skeleton.MapOfMaps[uint32, skeleton.Map[uint32, uint64]]
}

// loadSizes loads the object, and returns its maps.
func loadSizes(t *testing.T) (*sizes.Skeleton, sizedMaps) {
	t.Helper()
	skel := bpftest.Open(t, sizes.Open)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	m := &skel.Maps
	return skel, sizedMaps{m.Slots, m.Scratch, m.Raw, m.Stacks, m.Ports, m.PortsWithPrograms, m.Cpus, m.Queues, m.Outer}
}

// Programs and Go find the same elements by these keys.
func TestKeysBySize(t *testing.T) {
	skel, maps := loadSizes(t)
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := maps.outer.Put(1, m); err != nil {
		t.Fatal(err)
	}
	want := sizes.Slot{Hits: 40, Last: 1}
	if err := errors.Join(maps.slots.Put(1, want), m.Put(uint32(1), uint64(40))); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.Count.Handle()); got != 2 {
		t.Fatalf("the program returns %d", got)
	}
	want = sizes.Slot{Hits: 41, Last: 7}
	if got, err := maps.slots.Lookup(1); err != nil || got != want {
		t.Errorf("array: %+v, %v, want %+v", got, err, want)
	}
	var got uint64
	if err := m.Lookup(uint32(1), &got); err != nil || got != 41 {
		t.Errorf("inner array: %d, %v, want 41", got, err)
	}
	perCPU, err := maps.scratch.Lookup(1)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := maps.raw.Map().LookupBytes(uint32(1))
	if err != nil {
		t.Fatal(err)
	}
	var hits uint64
	for _, s := range perCPU {
		hits += s.Hits
	}
	if hits != 1 || len(bytes) != len(perCPU)*16 {
		t.Errorf("%d hits in %d CPUs' values, and %d bytes without a type", hits, len(perCPU), len(bytes))
	}
	if _, err := maps.slots.Lookup(4); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("behind the last: %v", err)
	}
}

// So it is where what is in the map is the kernel's: devices, CPUs, sockets and stacks.
func TestTargetsBySize(t *testing.T) {
	skel, maps := loadSizes(t)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("needs the interface lo: %v", err)
	}
	value := skeleton.DevMapVal{Ifindex: uint32(lo.Index)}
	if err := errors.Join(maps.ports.Put(1, value), maps.withPrograms.Put(1, value), maps.cpus.Put(0, skeleton.CPUMapVal{Qsize: 64})); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[*skeleton.BaseProgram]bool{
		skel.Progs.ToPort.Handle():            true,
		skel.Progs.ToPortWithProgram.Handle(): true,
		skel.Progs.ToCpu.Handle():             true,
		skel.Progs.ToQueue.Handle():           false, // which has no socket
	} {
		if got := run(t, p); (got == xdpRedirect) != want {
			t.Errorf("%s: %d, redirects: want %t", p.Name(), got, want)
		}
	}
	for _, m := range []*skeleton.DevMap{maps.ports, maps.withPrograms} {
		if got, err := m.Lookup(1); err != nil || got.Ifindex != value.Ifindex {
			t.Errorf("map %s: %+v, %v, want %+v", m.UntypedMap.Name(), got, err, value)
		}
	}
	// A value of 4 bytes has no place for a program.
	if err := maps.ports.Put(1, skeleton.DevMapVal{Ifindex: value.Ifindex, Prog: 5}); err == nil || !strings.Contains(err.Error(), "struct bpf_devmap_val") {
		t.Errorf("a program without a place: %v", err)
	}
	if err := maps.queues.Put(1, openFD(t, os.DevNull)); err == nil || !strings.Contains(err.Error(), "map queues") {
		t.Errorf("what is not a socket: %v", err)
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	skel.Bss.Pid = uint32(os.Getpid())
	rename(t)
	if skel.Bss.Stack < 0 {
		t.Fatalf("the program got no stack: %d", skel.Bss.Stack)
	}
	if stack, err := maps.stacks.Lookup(uint32(skel.Bss.Stack)); err != nil || len(stack) == 0 || len(stack) > 16 {
		t.Errorf("stack: %x, %v", stack, err)
	}
}

// A map that only a program uses which is left out can be left out too, which is what a kernel
// without such maps needs.
func TestOptionalMap(t *testing.T) {
	hasBloom := kernelHasBloom(t)
	skel := bpftest.Open(t, optional.Open)
	if skel.Progs.Remember.Autoload() || !skel.Progs.Count.Autoload() || !skel.Maps.Seen.UntypedMap.Autocreate() {
		t.Fatal("the question mark is not taken as libbpf does")
	}
	// As libbpf, Load makes the map, whether or not a program needs it.
	err := skel.Load()
	switch {
	case hasBloom && err != nil:
		t.Fatal(err)
	case hasBloom:
		if err := skel.Maps.Seen.Add(5); err != nil {
			t.Error(err)
		}
		if err := skel.Close(); err != nil {
			t.Fatal(err)
		}
		skel = bpftest.Open(t, optional.Open)
	case err == nil || !strings.Contains(err.Error(), "map seen: ") || !strings.Contains(err.Error(), "SetAutocreate(false)") || !errors.Is(err, ebpf.ErrNotSupported):
		t.Errorf("a map that the kernel does not have: %v", err)
	}
	// A program that uses it says what is missing.
	if err := errors.Join(skel.Maps.Seen.UntypedMap.SetAutocreate(false), skel.Progs.Remember.SetAutoload(true)); err != nil {
		t.Fatal(err)
	}
	if err := skel.Load(); err == nil || !strings.Contains(err.Error(), "program remember") || !strings.Contains(err.Error(), "map seen") {
		t.Errorf("a program without its map: %v", err)
	}
	if err := skel.Progs.Remember.SetAutoload(false); err != nil {
		t.Fatal(err)
	}
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.Count.Handle()); got != 1 || skel.Bss.Runs != 1 {
		t.Errorf("the program returns %d, and has run %d times", got, skel.Bss.Runs)
	}
	if err := skel.Maps.Seen.Add(5); !errors.Is(err, skeleton.ErrNotLoaded) {
		t.Errorf("the map that was left out: %v", err)
	}
	if skel.Maps.Seen.Map() != nil || skel.Progs.Remember.Program() != nil {
		t.Error("what was left out is in the kernel")
	}
}

// kernelHasBloom reports whether the kernel has bloom filters, which came with 5.16.
func kernelHasBloom(t *testing.T) bool {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.BloomFilter, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return false
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	return true
}
