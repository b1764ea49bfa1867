package fakemap

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/ring"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

func newMap(t *testing.T, spec Spec) Map {
	t.Helper()
	m, err := New(spec, 2)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func number(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func put(t *testing.T, m Map, keys ...uint32) {
	t.Helper()
	for _, k := range keys {
		if err := m.Elem(sys.MapUpdateElemCmd, number(k), number(10*k), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// What is deleted and added between two batches of a range costs it no other entries.
func TestChangesBetweenBatches(t *testing.T) {
	m := newMap(t, Spec{ebpf.Hash, 4, 4, 10})
	put(t, m, 1, 2, 3, 4)
	var at uint64
	keys, values := make([]byte, 8), make([]byte, 8)
	if n, err := m.LookupBatch(&at, keys, values, true); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if err := m.Elem(sys.MapDeleteElemCmd, number(3), nil, 0); err != nil {
		t.Fatal(err)
	}
	put(t, m, 1, 5)
	got := map[uint32]uint32{}
	for err := error(nil); err == nil; {
		var n int
		n, err = m.LookupBatch(&at, keys, values, false)
		for i := range n {
			got[binary.NativeEndian.Uint32(keys[4*i:])] = binary.NativeEndian.Uint32(values[4*i:])
		}
		if err != nil && err != syscall.ENOENT {
			t.Fatal(err)
		}
	}
	if len(got) != 3 || got[4] != 40 || got[1] != 10 || got[5] != 50 {
		t.Errorf("%v", got)
	}
}

// A key that was deleted makes a range start over, as in the kernel.
func TestNextKeyOfAbsentKey(t *testing.T) {
	m := newMap(t, Spec{ebpf.Hash, 4, 4, 10})
	put(t, m, 1, 2)
	next := number(0)
	if err := m.Elem(sys.MapGetNextKeyCmd, number(7), next, 0); err != nil || next[0]|next[3] != 1 {
		t.Errorf("%v, %v", next, err)
	}
}

// An array takes memory for the elements that were set only.
func TestLargeArray(t *testing.T) {
	m := newMap(t, Spec{ebpf.Array, 4, 4, 1 << 31})
	put(t, m, 1<<31-1)
	value := number(1)
	if err := m.Elem(sys.MapLookupElemCmd, number(5), value, 0); err != nil || value[0]|value[3] != 0 {
		t.Errorf("%v, %v", value, err)
	}
	if err := m.Elem(sys.MapUpdateElemCmd, number(1<<31), value, 0); err != syscall.E2BIG {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, spec := range []Spec{
		{ebpf.Hash, 0, 4, 1}, {ebpf.Hash, 4, 0, 1}, {ebpf.Hash, 4, 4, 0},
		{ebpf.Array, 8, 4, 1}, {ebpf.Queue, 4, 4, 1}, {ebpf.Stack, 0, 0, 1}, {ebpf.RingBuf, 0, 0, 0},
	} {
		if _, err := New(spec, 1); err == nil || errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("%v: %v", spec, err)
		}
	}
	if _, err := New(Spec{ebpf.SkStorage, 4, 4, 1}, 1); !errors.Is(err, ebpf.ErrNotSupported) {
		t.Error(err)
	}
}

// Records come in order, whatever their sizes, and leave room for others when they are read.
func TestRing(t *testing.T) {
	fake := newMap(t, Spec{ebpf.RingBuf, 0, 0, uint32(os.Getpagesize())}).(*Ring)
	reader, err := ring.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	if err := fake.AddTo(reader, 0); err != nil {
		t.Fatal(err)
	}
	const records = 10_000
	go func() {
		for i := range uint32(records) {
			for fake.Output(append(number(i), make([]byte, i%100)...)) == syscall.EAGAIN {
				runtime.Gosched()
			}
		}
	}()
	if err := reader.Begin(false); err != nil {
		t.Fatal(err)
	}
	for want := uint32(0); want < records; {
		p, n := reader.Next()
		if p == nil {
			if err := reader.Wait(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got := *(*uint32)(p); got != want || n != 4+want%100 {
			t.Fatalf("record %d of %d bytes, want %d", got, n, want)
		}
		reader.Release()
		want++
	}
	reader.End()
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
	// As the kernel, it has room for less than its size.
	full := 0
	for fake.Output(make([]byte, 8)) == nil {
		full++
	}
	if want := os.Getpagesize()/16 - 1; full != want {
		t.Errorf("room for %d records, want %d", full, want)
	}
}
