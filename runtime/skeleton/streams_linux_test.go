package skeleton

import (
	"errors"
	"io"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// A program that has written nothing has nothing to read, which is not an error.
func TestStreams(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 17, "streams of programs")
	o := newTestObject(t, nil, kerneltest.Trivial(ebpf.XDP, "xdp"))
	p := o.progs[0]
	if _, err := p.Stderr().Read(make([]byte, 1)); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("before Load: %v, want %v", err, ErrNotLoaded)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []io.Reader{p.Stdout(), p.Stderr()} {
		if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
			t.Errorf("%q, %v, want nothing", b, err)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stdout().Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want %v", err, ErrClosed)
	}
}

func TestNoStreams(t *testing.T) {
	bpftest.NeedsBPF(t)
	if !sys.OlderThan("6.17") {
		t.Skip("needs a kernel before 6.17")
	}
	o := loadTestObject(t, nil, kerneltest.Trivial(ebpf.XDP, "xdp"))
	_, err := o.progs[0].Stdout().Read(make([]byte, 1))
	if !errors.Is(err, ebpf.ErrNotSupported) {
		t.Errorf("%v, want %v", err, ebpf.ErrNotSupported)
	}
	kerneltest.WantError(t, err, "program p: stdout: programs have streams since kernel 6.17")
}

func TestStats(t *testing.T) {
	maps := []*ebpf.MapSpec{{Name: "m", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1 << 14}}
	o := newTestObject(t, maps, kerneltest.Trivial(ebpf.XDP, "xdp"))
	if _, err := o.Stats(); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("before Load: %v, want %v", err, ErrNotLoaded)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	counting, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		t.Skipf("needs a kernel that counts runs of programs (5.8): %v", err)
	}
	defer counting.Close()
	const runs = 100
	for range runs {
		if _, _, err := o.progs[0].Test(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
	}
	stats, err := o.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if len(stats.Programs) != 1 || len(stats.Maps) != 1 {
		t.Fatalf("stats are %+v", stats)
	}
	p, m := stats.Programs[0], stats.Maps[0]
	if p.Name != "p" || p.Section != "xdp" || p.Type != ebpf.XDP || p.ID != programID(t, o.progs[0]) {
		t.Errorf("program is %+v", p)
	}
	// Not all kernels count runs of BPF_PROG_TEST_RUN.
	if n, err := o.progs[0].Program().Stats(); err != nil || n.RunCount != p.RunCount || n.Runtime != p.RunTime {
		t.Errorf("program has %+v, cilium/ebpf reads %+v, %v", p, n, err)
	}
	if p.TranslatedBytes == 0 || !sys.OlderThan("5.16") && p.VerifiedInstructions == 0 {
		t.Errorf("program is %+v", p)
	}
	if m.Name != "m" || m.Type != ebpf.Array || m.MaxEntries != 1<<14 || m.ID == 0 || m.MemoryBytes < 8<<14 {
		t.Errorf("map is %+v", m)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Stats(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want %v", err, ErrClosed)
	}
}
