package skeleton

import (
	"errors"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// newPreparable returns an object with an array that a program for XDP counts in.
func newPreparable(t *testing.T) *Object {
	t.Helper()
	o := newTestObject(t, []*ebpf.MapSpec{{Name: "packets", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: maxInterfaces}}, newCounter("counter"))
	t.Cleanup(func() { o.Close() })
	return o
}

// After Prepare maps can be filled and programs are not there; after Load they find what is
// in the maps.
func TestPrepare(t *testing.T) {
	o := newPreparable(t)
	packets, counter := o.maps[0], o.progs[0]
	if err := o.Prepare(); err != nil {
		t.Fatal(err)
	}
	key, value := uint32(3), uint64(40)
	if err := packets.putElement(unsafe.Pointer(&key), unsafe.Pointer(&value), nil); err != nil {
		t.Fatal(err)
	}
	made := packets.Map()
	if made == nil || counter.Program() != nil {
		t.Fatalf("map %v, program %v", made, counter.Program())
	}
	for name, err := range map[string]error{
		"max entries":    packets.SetMaxEntries(1),
		"autoload":       counter.SetAutoload(false),
		"Prepare":        o.Prepare(),
		"Load's options": o.LoadWithOptions(LoadOptions{LogLevel: 1}),
		"resizing":       (*object)(o).resizeArray(nil, 0, 1),
	} {
		if !errors.Is(err, ErrLoaded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{"Attach": o.Attach(), "stats": errorOf(o.Stats())} {
		if !errors.Is(err, ErrNotLoaded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A Load that fails leaves what Prepare has made.
	restore := sys.SetFault(func(cmd sys.Cmd) error {
		if cmd == sys.ProgLoadCmd {
			return unix.ENOMEM
		}
		return nil
	})
	err := o.Load()
	restore()
	if !errors.Is(err, unix.ENOMEM) || packets.Map() != made || counter.Program() != nil {
		t.Fatalf("Load: %v, map %v, program %v", err, packets.Map(), counter.Program())
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if packets.Map() != made || counter.Program() == nil {
		t.Fatalf("map %v, program %v", packets.Map(), counter.Program())
	}
	if err := packets.lookupElement(unsafe.Pointer(&key), unsafe.Pointer(&value), nil); err != nil || value != 40 {
		t.Errorf("%d, %v", value, err)
	}
	if err := errors.Join(errorOf(o.Stats()), o.Close()); err != nil {
		t.Error(err)
	}
	if err := o.Prepare(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func errorOf[T any](_ T, err error) error { return err }

// Close frees what Prepare has made, and leaves pins.
func TestClosePrepared(t *testing.T) {
	dir := bpftest.PinDir(t)
	o := newPreparable(t)
	if err := o.maps[0].SetPinning(ebpf.PinByName); err != nil {
		t.Fatal(err)
	}
	if err := o.PrepareWithOptions(LoadOptions{PinRoot: dir}); err != nil {
		t.Fatal(err)
	}
	fd := o.maps[0].Map().FD()
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the map's descriptor: %v", err)
	}
	pinned, err := ebpf.LoadPinnedMap(filepath.Join(dir, "packets"), nil)
	if err != nil {
		t.Fatal(err)
	}
	pinned.Close()
	if err := o.Load(); !errors.Is(err, ErrClosed) {
		t.Errorf("Load: %v", err)
	}
}
