package sys

import (
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// The attributes are where the kernel reads them.
func TestLayout(t *testing.T) {
	var m MapCreateAttr
	var p ProgLoadAttr
	var b BTFLoadAttr
	var i MapInfo
	var e elemAttr
	var o objAttr
	for name, at := range map[string][2]uintptr{
		"map_extra":          {unsafe.Offsetof(m.Extra), 64},
		"map_token_fd":       {unsafe.Offsetof(m.TokenFD), 76},
		"prog insns":         {unsafe.Offsetof(p.Insns), 8},
		"prog_name":          {unsafe.Offsetof(p.Name), 48},
		"excl_prog_hash":     {unsafe.Offsetof(m.ProgHash), 80},
		"prog_btf_fd":        {unsafe.Offsetof(p.BTFFD), 72},
		"line_info":          {unsafe.Offsetof(p.LineInfo), 96},
		"attach_btf_id":      {unsafe.Offsetof(p.AttachBTFID), 108},
		"fd_array":           {unsafe.Offsetof(p.FDArray), 120},
		"log_true_size":      {unsafe.Offsetof(p.LogTrueSize), 140},
		"fd_array_cnt":       {unsafe.Offsetof(p.FDArrayCount), 148},
		"btf_size":           {unsafe.Offsetof(b.Size), 16},
		"btf_token_fd":       {unsafe.Offsetof(b.TokenFD), 36},
		"bpf_map_info":       {unsafe.Offsetof(i.Extra), 80},
		"element's value":    {unsafe.Offsetof(e.value), 16},
		"path of an object":  {unsafe.Offsetof(o.path), 0},
		"flags of an object": {unsafe.Offsetof(o.flags), 12},
		"pointer":            {unsafe.Sizeof(Pointer{}), 8},
	} {
		if at[0] != at[1] {
			t.Errorf("%s is at %d, want %d", name, at[0], at[1])
		}
	}
}

func newArray(t *testing.T) int {
	t.Helper()
	bpftest.NeedsBPF(t)
	fd, err := MapCreate(&MapCreateAttr{Type: Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Name: Name("array")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(fd) })
	return fd
}

func TestMap(t *testing.T) {
	fd := newArray(t)
	var key uint32
	want, got := uint64(0x1122334455667788), uint64(0)
	if err := MapUpdate(fd, PointerTo(&key), PointerTo(&want), 0); err != nil {
		t.Fatal(err)
	}
	const mapLookupElem Cmd = 1
	if _, err := bpf(mapLookupElem, &elemAttr{fd: uint32(fd), key: PointerTo(&key), value: PointerTo(&got)}); err != nil || got != want {
		t.Errorf("%#x, %v", got, err)
	}
	var info MapInfo
	if err := GetInfoByFD(fd, &info); err != nil {
		t.Fatal(err)
	}
	if info.Type != Array || info.ValueSize != 8 || Text(info.Name[:]) != "array" {
		t.Errorf("%+v", info)
	}
	again, err := GetFDByID(MapFDByIDCmd, info.ID)
	if err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(uintptr(again), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
	if err := Close(again); err != nil {
		t.Error(err)
	}
}

func TestPin(t *testing.T) {
	fd := newArray(t)
	dir := bpftest.PinDir(t)
	path := filepath.Join(dir, "m")
	if err := ObjPin(fd, path); err != nil {
		t.Fatal(err)
	}
	if err := ObjPin(fd, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	again, err := ObjGet(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	Close(again)
	if _, err := ObjGet(path+"none", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A program that keeps the verifier busy for long is loaded whatever the collector wants of
// the goroutine meanwhile: the first call is interrupted, and the next one is not.
func TestInterruptedVerifier(t *testing.T) {
	bpftest.NeedsBPF(t)
	// That of 6.12 does not end with this loop in ten minutes on a machine that is emulated.
	bpftest.NeedsKernel(t, 6, 18, "a verifier that goes through long loops in seconds")
	type insn struct {
		op, regs byte
		off      int16
		imm      int32
	}
	const loops = 250_000
	code := []insn{
		{op: 0xb7},                      // r0 = 0
		{op: 0x07, imm: 1},              // r0 += 1
		{op: 0xa5, off: -2, imm: loops}, // if r0 < loops goto the addition
		{op: 0xb7},                      // r0 = 0
		{op: 0x95},
	}
	const socketFilter = 1
	attr := ProgLoadAttr{
		Type: socketFilter, Insns: PointerToSlice(code), InsnCount: uint32(len(code)), License: CString("GPL"),
	}
	calls := 0
	restore := SetFault(func(Cmd) error { calls++; return nil })
	defer restore()
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			default:
				runtime.GC()
			}
		}
	}()
	fd, err := ProgLoad(&attr, true)
	close(done)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	if err := Close(fd); err != nil {
		t.Error(err)
	}
	if calls < 2 {
		t.Error("nothing has interrupted the verifier")
	}
}

// Standard descriptors that are closed are not given to objects.
func TestLowDescriptors(t *testing.T) {
	if !kerneltest.Again(t, nil) {
		return
	}
	unix.Close(0)
	fd, err := MapCreate(&MapCreateAttr{Type: Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	if fd < 3 {
		t.Errorf("descriptor %d", fd)
	}
	if _, err := unix.FcntlInt(0, unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("descriptor 0: %v", err)
	}
}

func TestFault(t *testing.T) {
	var calls []Cmd
	restore := SetFault(func(c Cmd) error {
		calls = append(calls, c)
		return unix.EMFILE
	})
	_, err := MapCreate(&MapCreateAttr{Type: Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	restore()
	if err != unix.EMFILE || len(calls) != 1 || calls[0] != MapCreateCmd {
		t.Errorf("%v, %v", calls, err)
	}
}
