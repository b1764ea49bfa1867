//go:build !386 && !arm && !mips && !mipsle

package loader

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// arenaImage returns an image with an arena of 10 pages at an address, and a variable.
func arenaImage(address uint64) *image.Object {
	img := mapsOf(image.Map{Name: "memory", Type: uint32(ebpf.Arena), MaxEntries: 10, Flags: unix.BPF_F_MMAPABLE, Extra: address})
	img.Arena = image.Arena{Map: 0, Contents: []byte{5, 0, 0, 0, 0, 0, 0, 0}, Size: 8}
	return img
}

func needArenas(t *testing.T) {
	t.Helper()
	bpftest.NeedsKernel(t, 6, 9, "arenas")
	bpftest.NeedsBPF(t)
	kerneltest.NeedsJIT(t)
}

// counter is the variable of an arena.
func counter(a *Arena) *uint64 { return (*uint64)(a.Variables()) }

func TestArena(t *testing.T) {
	needArenas(t)
	o := loadMaps(t, arenaImage(0), Options{})
	a := o.Maps[0].Arena
	if page := os.Getpagesize(); a.Base == nil || a.Size != 10*page || a.Offset != 9*page || a.Data != page {
		t.Fatalf("%+v", a)
	}
	p := counter(a)
	if *p != 5 {
		t.Errorf("%d", *p)
	}
	*p = 7
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Release(); err != nil {
		t.Fatal(err)
	}
	if *p != 7 || a.Base != nil {
		t.Errorf("after Release: %d", *p)
	}
	if err := a.Release(); err != nil {
		t.Error(err)
	}
}

const fixed = 1 << 44

// An arena at a fixed address can be opened and closed again and again. Pointers to an
// earlier one stay valid.
func TestFixedArena(t *testing.T) {
	needArenas(t)
	var first *uint64
	for n := range 5 {
		img := arenaImage(fixed)
		if n > 2 {
			// A larger one needs what is beside.
			img.Maps[0].MaxEntries = 20
		}
		o := loadMaps(t, img, Options{})
		a := o.Maps[0].Arena
		if uintptr(a.Base) != fixed {
			t.Fatalf("at %p", a.Base)
		}
		p := counter(a)
		if *p != 5 {
			t.Errorf("%d: %d", n, *p)
		}
		if first == nil {
			first = p
		}
		*p = uint64(100 + n)
		*first = uint64(200 + n)
		// A second one finds the place taken.
		other := Open(arenaImage(fixed))
		err := other.Load(Options{})
		if !errors.Is(err, unix.EEXIST) {
			t.Fatalf("%v", err)
		}
		wantParts(t, err, "map memory: map it at 0x100000000000, the address in map_extra", "an arena that is still open")
		if err := errors.Join(o.Close(), a.Release()); err != nil {
			t.Fatal(err)
		}
		if *first != uint64(200+n) {
			t.Errorf("%d: the first one's variable is %d", n, *first)
		}
	}
}

// A load that fails gives the memory back, with what an earlier arena has left there.
func TestDiscardedArena(t *testing.T) {
	needArenas(t)
	const at = fixed + 1<<40
	stop := errors.New("stop")
	failing := Options{Done: func() error { return stop }}
	o := Open(arenaImage(at))
	if err := o.Load(failing); !errors.Is(err, stop) || strings.Contains(err.Error(), "\n") {
		t.Fatal(err)
	}
	if o.Maps[0].Arena != nil {
		t.Error("there is an arena")
	}
	o = loadMaps(t, arenaImage(at), Options{})
	a := o.Maps[0].Arena
	p := counter(a)
	*p = 9
	if err := errors.Join(o.Close(), a.Release()); err != nil {
		t.Fatal(err)
	}
	if err := Open(arenaImage(at)).Load(failing); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if *p != 9 {
		t.Errorf("%d", *p)
	}
	// Memory of others is not touched.
	mem, err := unix.MmapPtr(-1, 0, unsafe.Add(nil, uintptr(at)), 4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.MunmapPtr(mem, 4096)
	if err := Open(arenaImage(at)).Load(Options{}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("%v", err)
	}
}

func TestArenaLayout(t *testing.T) {
	for _, c := range []struct {
		pages, flags uint32
		data         int
		offset       int
		err          string
	}{
		{10, 0, 5000, 8 * 4096, ""},
		{10, 0, 0, 10 * 4096, ""},
		{1 << 20, 0, 8, 0, ""},
		{1, 0, 5000, 0, "its variables take 2 pages, and it has 1: raise max_entries"},
		{0, 0, 0, 0, "it has no pages"},
		{10, 1 << 17, 8, 0, "BPF_F_SEGV_ON_FAULT"},
		{10, 1 << 17, 0, 10 * 4096, ""},
	} {
		m := &Map{MaxEntries: c.pages, Flags: c.flags, arenaData: c.data}
		a, err := m.layOut(4096)
		if c.err != "" {
			wantParts(t, err, c.err)
		} else if err != nil || a.Offset != c.offset {
			t.Errorf("%+v: %+v, %v", c, a, err)
		}
	}
}
