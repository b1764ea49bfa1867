// Package normalise_test loads objects into the running kernel that the loader does
// not take as clang writes them, and maps of every kind that has Go types.
package normalise_test

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/normalise/progs/kconfig"
	"github.com/rules-bpf/rules_bpf/tests/normalise/progs/refused"
	"github.com/rules-bpf/rules_bpf/tests/normalise/progs/sections"
	"github.com/rules-bpf/rules_bpf/tests/normalise/progs/typedmaps"
)

// closer is a skeleton.
type closer interface {
	Load() error
	Close() error
}

// load loads a skeleton that is open, and closes it at the end of the test.
func load(t *testing.T, skel closer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := skel.Close(); err != nil {
			t.Error(err)
		}
	})
	bpftest.NeedsBPF(t)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
}

// run runs a program on a packet and returns its result.
func run(t *testing.T, p *skeleton.BaseProgram) uint32 {
	t.Helper()
	result, _, err := p.Test(make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestSections(t *testing.T) {
	skel, err := sections.Open()
	if err != nil {
		t.Fatal(err)
	}
	// Written before Load, read by the program.
	skel.BssCounters.Runs = 10
	skel.DataASectionWhoseNameIsLongerThanTheKernelHasRoomFor.Start = 100
	skel.RodataASectionWhoseNameIsLongerThanTheKernelHasRoomFor.Step = 3
	load(t, skel, err)
	if err := skel.Maps.WeakMap.Put(0, 5); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		if got, want := run(t, skel.Progs.Count.Handle()), uint32(i+1); got != want {
			t.Errorf("the hidden counter is %d, want %d", got, want)
		}
	}
	n, err := skel.Maps.WeakMap.Lookup(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name      string
		got, want uint64
	}{
		{"plain", skel.Bss.Plain, 3},
		{"runs", skel.BssCounters.Runs, 13},
		{"of_weak", uint64(skel.BssCounters.OfWeak), 9},
		{"last", uint64(skel.BssASectionWhoseNameIsLongerThanTheKernelHasRoomFor.Last), 113},
		{"value of the weak map", n, 8},
	} {
		if v.got != v.want {
			t.Errorf("%s is %d, want %d", v.name, v.got, v.want)
		}
	}
	// The same memory in the other direction.
	skel.BssCounters.Runs = 50
	run(t, skel.Progs.Count.Handle())
	if got := skel.BssCounters.Runs; got != 51 {
		t.Errorf("runs is %d, want 51", got)
	}
}

func TestKsyms(t *testing.T) {
	skel, err := sections.Open()
	load(t, skel, err)
	symbols, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		t.Skipf("needs /proc/kallsyms: %v", err)
	}
	want := uint32(0)
	if strings.Contains(string(symbols), " bpf_prog_put\n") {
		want = 1
	}
	if got := run(t, skel.Progs.Symbols.Handle()); got != want {
		t.Errorf("got %d, want %d: bit 0 is a symbol that kernels have, bit 1 one that none has", got, want)
	}
}

func TestKconfig(t *testing.T) {
	skel, err := kconfig.Open()
	if err != nil {
		t.Fatal(err)
	}
	if skel.Kconfig.LinuxKernelVersion != 0 || skel.Bss != nil && skel.Bss.Version != 0 {
		t.Error("kconfig is not zero before Load")
	}
	load(t, skel, err)
	run(t, skel.Progs.Copy.Handle())
	k, bss, data := skel.Kconfig, skel.Bss, skel.Data
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	if k.LinuxKernelVersion != version {
		t.Errorf("LINUX_KERNEL_VERSION is %x, want %x", k.LinuxKernelVersion, version)
	}
	// What nobody has is zero.
	if k.ConfigNobodyHasThis != 0 || k.SomeDayThereIsThis || data.Nobody != 0 || data.SomeDay {
		t.Errorf("settings that do not exist are %d and %v, and %d and %v for the program", k.ConfigNobodyHasThis, k.SomeDayThereIsThis, data.Nobody, data.SomeDay)
	}
	for _, v := range []struct {
		name       string
		goes, prog any
	}{
		{"LINUX_KERNEL_VERSION", k.LinuxKernelVersion, bss.Version},
		{"LINUX_HAS_BPF_COOKIE", k.LinuxHasBpfCookie, bss.Cookie},
		{"CONFIG_HZ", k.ConfigHz, bss.Hz},
		{"CONFIG_NR_CPUS", k.ConfigNrCpus, bss.Cpus},
		{"CONFIG_BPF", k.ConfigBpf, bss.Bpf},
		{"CONFIG_NET", uint32(k.ConfigNet), bss.Net},
		{"CONFIG_BPF_SYSCALL", k.ConfigBpfSyscall, bss.BpfSyscall},
		{"CONFIG_DEFAULT_HOSTNAME", k.ConfigDefaultHostname, bss.Hostname},
	} {
		if v.goes != v.prog {
			t.Errorf("%s is %v, and %v for the program", v.name, v.goes, v.prog)
		}
	}
}

// What is written before Load does not count, and what the options give does.
func TestKconfigWritten(t *testing.T) {
	bpftest.NeedsBPF(t)
	for _, c := range []struct {
		given          string
		hz, nobody     uint64
		hostname, fail string
	}{
		{given: "CONFIG_HZ=77\n", hz: 77},
		{given: "CONFIG_HZ=77\nCONFIG_NOBODY_HAS_THIS=5\nCONFIG_DEFAULT_HOSTNAME=\"test\"\n", hz: 77, nobody: 5, hostname: "test"},
		{given: "CONFIG_HZ=77\n# CONFIG_NOBODY_HAS_THIS is not set\n", hz: 77},
		{given: "CONFIG_NOBODY_HAS_THIS=five\n", fail: "CONFIG_NOBODY_HAS_THIS=five"},
	} {
		skel, err := kconfig.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer skel.Close()
		k := skel.Kconfig
		k.ConfigHz, k.ConfigNobodyHasThis, k.SomeDayThereIsThis, k.LinuxKernelVersion = 9, 9, true, 9
		err = skel.LoadWithOptions(skeleton.LoadOptions{Kconfig: c.given})
		if c.fail != "" {
			if err == nil || !strings.Contains(err.Error(), c.fail) {
				t.Errorf("%q: %v, want %q", c.given, err, c.fail)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%q: %v", c.given, err)
		}
		run(t, skel.Progs.Copy.Handle())
		k = skel.Kconfig
		b, d := skel.Bss, skel.Data
		if b.Hz != c.hz || d.Nobody != c.nobody || d.SomeDay || b.Version == 9 || c.hostname != "" && skeleton.String(b.Hostname[:]) != c.hostname {
			t.Errorf("%q: the program has CONFIG_HZ=%d, %d of nobody, %t some day, version %#x, host %q", c.given, b.Hz, d.Nobody, d.SomeDay, b.Version, b.Hostname)
		}
		if k.ConfigHz != b.Hz || k.ConfigNobodyHasThis != d.Nobody || k.SomeDayThereIsThis != d.SomeDay || k.LinuxKernelVersion != b.Version {
			t.Errorf("%q: user space has %+v", c.given, *k)
		}
	}
}

func TestKconfigFile(t *testing.T) {
	skel, err := kconfig.Open()
	load(t, skel, err)
	k := skel.Kconfig
	if k.ConfigHz == 0 {
		t.Skip("needs the kernel's configuration in /boot or /proc/config.gz")
	}
	if !slices.Contains([]uint64{100, 250, 300, 1000}, k.ConfigHz) {
		t.Errorf("CONFIG_HZ is %d", k.ConfigHz)
	}
	// Without them this test does not get here.
	if !k.ConfigBpf || k.ConfigNet != kconfig.TriYes || k.ConfigBpfSyscall != 'y' {
		t.Errorf("CONFIG_BPF is %v, CONFIG_NET %v, CONFIG_BPF_SYSCALL %d", k.ConfigBpf, k.ConfigNet, k.ConfigBpfSyscall)
	}
	if k.ConfigDefaultHostname[len(k.ConfigDefaultHostname)-1] != 0 {
		t.Errorf("CONFIG_DEFAULT_HOSTNAME is %q, without an end", k.ConfigDefaultHostname)
	}
}

func TestVerifierErrorNamesLine(t *testing.T) {
	skel, err := refused.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	bpftest.NeedsBPF(t)
	err = skel.Load()
	var verr *skeleton.VerifierError
	if !errors.As(err, &verr) {
		t.Fatalf("got %v, want a *skeleton.VerifierError", err)
	}
	if verr.Program != "reads_beyond_the_packet" || !strings.Contains(verr.Source, "refused.bpf.c:13: return packet[7];") {
		t.Errorf("the error is of %s, at %s", verr.Program, verr.Source)
	}
	if log := strings.Join(verr.Err.Log, "\n"); !strings.Contains(log, "; return packet[7];") {
		t.Errorf("the log does not show the line:\n%s", log)
	}
}

func TestMaps(t *testing.T) {
	skel, err := typedmaps.Open()
	load(t, skel, err)
	var (
		key    = typedmaps.Key{Id: 42, Port: 80}
		prefix = typedmaps.Prefix{Bits: 8, Address: [4]uint8{10}}
		stats  = typedmaps.Stats{Packets: 3, Bytes: 1 << 40, Name: [8]byte{'a', 'b'}}
		want   = typedmaps.Stats{Packets: 6, Bytes: 2 << 40, Name: [8]byte{'b', 'b'}, Seen: true}
		m      = &skel.Maps
	)
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Repeat([]typedmaps.Stats{stats}, cpus)
	inner, err := m.OfMaps.NewInner()
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Map().Close()
	if err := m.OfMaps.Put(key, inner.Map()); err != nil {
		t.Fatal(err)
	}
	typedInner, err := m.OfMaps.Lookup(key)
	if err != nil {
		t.Fatal(err)
	}
	defer typedInner.Map().Close()
	for name, err := range map[string]error{
		"hash":      m.Hash.Put(key, stats),
		"lru":       m.Lru.Put(key, stats),
		"array":     m.Array.Put(1, stats),
		"trie":      m.Trie.Put(prefix, stats),
		"cpu_hash":  m.CpuHash.Put(key, all),
		"cpu_lru":   m.CpuLru.Put(key, all),
		"cpu_array": m.CpuArray.Put(1, all),
		"inner map": typedInner.Put(0, stats),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	run(t, skel.Progs.Run.Handle())
	if got := skel.Bss.Doubled; got != 8 {
		t.Errorf("the program found %d values, want 8", got)
	}

	check := func(name string, got typedmaps.Stats, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
	got, err := m.Hash.Lookup(key)
	check("hash", got, err)
	got, err = m.Lru.Lookup(key)
	check("lru", got, err)
	got, err = m.Array.Lookup(1)
	check("array", got, err)
	got, err = m.Trie.Lookup(prefix)
	check("trie", got, err)
	got, err = typedInner.Lookup(0)
	check("inner map", got, err)
	// The program ran on one CPU.
	checkOne := func(name string, values []typedmaps.Stats, err error) {
		t.Helper()
		if err != nil || len(values) != cpus {
			t.Fatalf("%s: got %d values, %v, want one for each of %d CPUs", name, len(values), err, cpus)
		}
		i := slices.Index(values, want)
		if i < 0 {
			t.Fatalf("%s: no CPU has %+v: %+v", name, want, values)
		}
		if rest := slices.Delete(slices.Clone(values), i, i+1); slices.ContainsFunc(rest, func(s typedmaps.Stats) bool { return s != stats }) {
			t.Errorf("%s: other CPUs have %+v, want %+v", name, rest, stats)
		}
	}
	values, err := m.CpuHash.Lookup(key)
	checkOne("cpu_hash", values, err)
	values, err = m.CpuLru.Lookup(key)
	checkOne("cpu_lru", values, err)
	values, err = m.CpuArray.Lookup(1)
	checkOne("cpu_array", values, err)

	// What the program made.
	made := typedmaps.Stats{Packets: 1, Bytes: 100, Name: [8]byte{'m', 'a', 'd', 'e'}}
	key.Id = 43
	if got, err := m.Hash.Lookup(key); err != nil || got != made {
		t.Errorf("hash: got %+v, %v, want %+v", got, err, made)
	}
	if values, err := m.CpuHash.Lookup(key); err != nil || !slices.Contains(values, made) {
		t.Errorf("cpu_hash: got %+v, %v, want %+v in one of them", values, err, made)
	}
	if got, err := m.Queue.Pop(); err != nil || got != made {
		t.Errorf("queue: got %+v, %v, want %+v", got, err, made)
	}
	if got, err := m.Stack.Pop(); err != nil || got != made {
		t.Errorf("stack: got %+v, %v, want %+v", got, err, made)
	}
	n := 0
	for e, err := range m.Hash.All() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; e.Key != key && e.Key.Id != 42 {
			t.Errorf("hash has the key %+v", e.Key)
		}
	}
	if n != 2 {
		t.Errorf("hash has %d keys, want 2", n)
	}

	// The other way round.
	if err := errors.Join(
		m.Queue.Push(typedmaps.Stats{Packets: 7, Name: [8]byte{'q'}}, 0),
		m.Stack.Push(typedmaps.Stats{Packets: 8, Name: [8]byte{'s'}}, 0),
	); err != nil {
		t.Fatal(err)
	}
	if got := run(t, skel.Progs.Take.Handle()); got != 0 {
		t.Errorf("the program got other values from the queue (1) or the stack (2): %d", got)
	}
}

func TestRecords(t *testing.T) {
	skel, err := typedmaps.Open()
	load(t, skel, err)
	ring, err := skeleton.NewRingReader[typedmaps.Event](skel.Maps.Events)
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	perf, err := skeleton.NewPerfReader[typedmaps.Event](skel.Maps.PerfEvents, os.Getpagesize())
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("needs a kernel with perf events: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer perf.Close()
	ring.SetDeadline(time.Now().Add(10 * time.Second))
	perf.SetDeadline(time.Now().Add(10 * time.Second))
	if got := run(t, skel.Progs.Send.Handle()); got != 0 {
		t.Fatalf("the program returned %d", int32(got))
	}
	want := typedmaps.Event{Sequence: 5, Key: typedmaps.Key{Id: 6, Port: 7}, Text: [8]byte{'p', 'e', 'r', 'f'}}
	if got, err := perf.Read(); err != nil || got != want {
		t.Errorf("perf: got %+v, %v, want %+v", got, err, want)
	}
	want.Text[0] = 'r'
	if got, err := ring.Read(); err != nil || got != want {
		t.Errorf("ring: got %+v, %v, want %+v", got, err, want)
	}
}
