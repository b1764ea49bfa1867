package skeleton

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// A map for one program is for no other, even of the same skeleton.
func TestExclusiveProgram(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 18, "maps for one program")
	specs := append(packetsMap(), &ebpf.MapSpec{Name: "shared", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	o := newTestObject(t, specs, newCounter("plain"), countFrames("other", true, 0, 2))
	m, first, other := o.maps[0], o.progs[0], o.progs[1]
	if err := m.SetExclusiveProgram(first); err != nil {
		t.Fatal(err)
	}
	if m.ExclusiveProgram() != first || o.maps[1].ExclusiveProgram() != nil {
		t.Errorf("it is for %v", m.ExclusiveProgram())
	}
	err := o.Load()
	var refused *VerifierError
	if !errors.As(err, &refused) || refused.Program != "other" || strings.Contains(err.Error(), "program plain") {
		t.Errorf("with another program: %v", err)
	}
	if err := other.SetAutoload(false); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if result, err := first.Run(&ebpf.RunOptions{Data: make([]byte, 64)}); err != nil || result != 2 {
		t.Errorf("run: %d, %v", result, err)
	}
	if err := m.SetExclusiveProgram(nil); !errors.Is(err, ErrLoaded) {
		t.Errorf("after Load: %v", err)
	}
	// What is not of the skeleton is refused, too.
	stranger := newTestObject(t, packetsMap(), countFrames("stranger", true, 1, 2))
	if err := stranger.maps[0].Reuse(m.Map()); err != nil {
		t.Fatal(err)
	}
	if err := stranger.Load(); err == nil {
		t.Error("another skeleton uses the map")
		stranger.Close()
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// A map for one program is not handed on: the program of the next version has other code.
func TestAdoptExclusiveProgram(t *testing.T) {
	bpftest.NeedsKernel(t, 6, 18, "maps for one program")
	dir := filepath.Join(bpftest.PinDir(t), "exclusive")
	openAdopting(t, dir, packetsMap(), newCounter("plain")).Close()
	wantPins(t, dir, "maps/packets")
	for version, program := range []*ebpf.ProgramSpec{newCounter("plain"), countFrames("plain", true, 0, 2)} {
		o := newTestObject(t, packetsMap(), program)
		defer o.Close()
		if err := errors.Join(o.AdoptPinned(dir), o.maps[0].SetExclusiveProgram(o.progs[0]), o.Load()); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if version == 0 {
			removed, err := o.RemoveStale()
			if err != nil || len(removed) != 1 || !strings.HasSuffix(removed[0], "/maps/packets") {
				t.Errorf("removed %v, %v", removed, err)
			}
		}
		wantPins(t, dir)
	}
	// Where one is pinned by its path, the kernel refuses other code.
	path := filepath.Join(dir, "maps", "chosen")
	for version, program := range []*ebpf.ProgramSpec{newCounter("plain"), countFrames("plain", true, 0, 2)} {
		o := newTestObject(t, packetsMap(), program)
		defer o.Close()
		err := errors.Join(o.AdoptPinned(dir), o.maps[0].SetPinPath(path), o.maps[0].SetExclusiveProgram(o.progs[0]), o.Load())
		if (err == nil) != (version == 0) {
			t.Errorf("pinned by path, version %d: %v", version, err)
		}
	}
}

func TestWrongExclusiveProgram(t *testing.T) {
	o := newTestObject(t, packetsMap(), newCounter("plain"))
	other := newTestObject(t, packetsMap(), newCounter("other"))
	err := o.maps[0].SetExclusiveProgram(other.progs[0])
	kerneltest.WantError(t, err, "set exclusive program of map packets: program other is of another skeleton: give one of this skeleton")
	if err := o.maps[0].SetExclusiveProgram(o.progs[0]); err != nil {
		t.Fatal(err)
	}
	if err := o.progs[0].SetAutoload(false); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err == nil || !strings.Contains(err.Error(), "map packets: it is for program plain, which is not to be loaded") {
		t.Errorf("error %v", err)
	}
	if err := o.maps[0].SetExclusiveProgram(nil); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	o.Close()
}
