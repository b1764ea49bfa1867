package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
)

// loaded is a watch in the kernel.
func loaded(t *testing.T) *Watch {
	t.Helper()
	_ = rlimit.RemoveMemlock()
	w, err := Open(20)
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("loading BPF programs is not permitted: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func TestCount(t *testing.T) {
	w := loaded(t)
	for _, size := range []int{64, 64, 128, 14} {
		if _, _, err := w.objs.CountPackets.Test(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	for size, want := range map[uint32][2]uint64{64: {2, 128}, 128: {1, 128}, 14: {0, 0}} {
		packets, n, err := w.Traffic(size)
		if err != nil {
			t.Fatal(err)
		}
		if packets != want[0] || n != want[1] {
			t.Errorf("size %d: %d packets of %d bytes, want %d of %d", size, packets, n, want[0], want[1])
		}
	}
	if small, err := w.Small(); err != nil || small != 1 {
		t.Errorf("%d small packets, %v, want 1", small, err)
	}
}

// Fields are where this kernel has them, not where vmlinux.h does.
func TestReport(t *testing.T) {
	w := loaded(t)
	reader, err := ringbuf.NewReader(w.objs.Events)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := w.objs.Report.Run(&ebpf.RunOptions{Context: make([]byte, 16)}); err != nil {
		t.Fatal(err)
	}
	reader.SetDeadline(time.Now().Add(10 * time.Second))
	record, err := reader.Read()
	if err != nil {
		t.Fatal(err)
	}
	var e watchEvent
	if err := binary.Read(bytes.NewReader(record.RawSample), binary.NativeEndian, &e); err != nil {
		t.Fatal(err)
	}
	if pid := uint32(os.Getpid()); e.Tgid != pid || e.Leader != pid {
		t.Errorf("the event is %+v, want process %d", e, pid)
	}
}

func TestVariants(t *testing.T) {
	small, big, err := Entries()
	if err != nil {
		t.Fatal(err)
	}
	if small != 16 || big != 4096 {
		t.Errorf("room for %d and %d, want 16 and 4096", small, big)
	}
	_ = BigWatchObjects{}
}
