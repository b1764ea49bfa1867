package fake_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest/fake"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func TestMap(t *testing.T) {
	m := fake.NewMap(t, map[uint32]string2{1: {'a'}, 2: {'b'}}, &fake.Options{MaxEntries: 3})
	if v, err := m.Lookup(2); err != nil || v != (string2{'b'}) {
		t.Errorf("%q, %v", v, err)
	}
	if _, err := m.Lookup(3); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Error(err)
	}
	if err := errors.Join(m.Put(3, string2{}), m.Put(3, string2{'c'}, ebpf.UpdateExist)); err != nil {
		t.Error(err)
	}
	if err := m.Put(4, string2{}); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("put into a full map: %v", err)
	}
	// The entry that came may be deleted.
	var keys []uint32
	for e, err := range m.All() {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Key)
		if err := m.Delete(e.Key); err != nil {
			t.Error(err)
		}
	}
	if slices.Sort(keys); !slices.Equal(keys, []uint32{1, 2, 3}) {
		t.Errorf("All: %v", keys)
	}
	if m.Map() != nil {
		t.Error("a fake has a map in the kernel")
	}
}

type string2 [2]byte

func TestArray(t *testing.T) {
	m := fake.NewMap(t, map[uint32]uint64{1: 10}, &fake.Options{Type: ebpf.Array, MaxEntries: 3})
	var got []uint64
	for e, err := range m.All() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Value)
	}
	if !slices.Equal(got, []uint64{0, 10, 0}) {
		t.Errorf("All: %v", got)
	}
	if err := m.Delete(1); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Delete: %v", err)
	}
}

// A full LRU hash drops what was put the longest time ago.
func TestLRU(t *testing.T) {
	m := fake.NewMap(t, map[uint32]uint64{}, &fake.Options{Type: ebpf.LRUHash, MaxEntries: 2})
	for _, key := range []uint32{1, 2, 1, 3} {
		if err := m.Put(key, 0); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[uint32]bool{1: true, 2: false, 3: true} {
		if _, err := m.Lookup(key); (err == nil) != want {
			t.Errorf("key %d: %v, want that it is there: %t", key, err, want)
		}
	}
}

func TestPerCPUMap(t *testing.T) {
	m := fake.NewPerCPUMap(t, map[uint32][]uint32{7: {1, 2}}, &fake.Options{CPUs: 3})
	if v, err := m.Lookup(7); err != nil || !slices.Equal(v, []uint32{1, 2, 0}) {
		t.Errorf("%v, %v", v, err)
	}
	if err := m.Put(7, make([]uint32, 4)); err == nil || !strings.Contains(err.Error(), "4 values, and there are 3 possible CPUs") {
		t.Error(err)
	}
	for b, err := range skeleton.LookupPerCPUBatches(m, 10) {
		if err != nil || !slices.Equal(b.Values[0], []uint32{1, 2, 0}) {
			t.Errorf("batch: %v, %v", b, err)
		}
	}
	// By default, there are as many as the machine has.
	if v, err := fake.NewPerCPUMap(t, map[uint32][]uint32{1: nil}, nil).Lookup(1); err != nil || len(v) < 1 {
		t.Errorf("%v, %v", v, err)
	}
}

func TestQueue(t *testing.T) {
	q := fake.NewQueue(t, []uint32{1, 2}, nil)
	s := fake.NewQueue(t, []uint32{1, 2}, &fake.Options{Type: ebpf.Stack})
	first, err := q.Pop()
	last, err2 := s.Pop()
	if first != 1 || last != 2 || err != nil || err2 != nil {
		t.Errorf("queue %d, %v, stack %d, %v", first, err, last, err2)
	}
}

type event struct{ Pid, Code uint32 }

func TestRingBuffer(t *testing.T) {
	m := fake.NewRingBuffer(t, nil)
	reader, err := skeleton.NewRingReader[event](m)
	if err != nil {
		t.Fatal(err)
	}
	fake.Output(t, m, event{1, 2})
	fake.Output(t, m, event{3, 4}, []byte("tail")...)
	if e, err := reader.Read(); err != nil || e != (event{1, 2}) || len(reader.Tail()) != 0 {
		t.Errorf("%v, %q, %v", e, reader.Tail(), err)
	}
	if e, err := reader.Read(); err != nil || e != (event{3, 4}) || string(reader.Tail()) != "tail" {
		t.Errorf("%v, %q, %v", e, reader.Tail(), err)
	}
	reader.SetDeadline(time.Now().Add(time.Millisecond))
	if _, err := reader.Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	// What is there is read, whatever the deadline.
	fake.Output(t, m, event{5, 6})
	if e, err := reader.Read(); err != nil || e.Pid != 5 {
		t.Errorf("%v, %v", e, err)
	}
	// A reader that waits is woken.
	for _, tc := range []struct {
		wake func()
		want error
	}{
		{func() { fake.Output(t, m, event{7, 8}) }, nil},
		{func() { reader.SetDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded},
		{func() { reader.Close() }, os.ErrClosed},
	} {
		reader.SetDeadline(time.Time{})
		done := make(chan error)
		go func() {
			_, err := reader.Read()
			done <- err
		}()
		time.Sleep(5 * time.Millisecond)
		tc.wake()
		if err := <-done; !errors.Is(err, tc.want) {
			t.Errorf("%v, want %v", err, tc.want)
		}
	}
	if _, err := reader.Read(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// failure records what a test fails with.
type failure struct {
	testing.TB
	text string
}

func (f *failure) Helper() {}

func (f *failure) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(f)
}

// What cannot be made fails the test, with a reason.
func TestFailures(t *testing.T) {
	type withPointer struct{ P *int }
	for want, call := range map[string]func(t testing.TB){
		"holds Go pointers":                     func(t testing.TB) { fake.NewMap(t, map[string]uint32{}, nil) },
		"withPointer holds Go pointers":         func(t testing.TB) { fake.NewMap(t, map[uint32]withPointer{}, nil) },
		"the map is full":                       func(t testing.TB) { fake.NewMap(t, map[uint32]uint32{1: 1, 2: 2}, &fake.Options{MaxEntries: 1}) },
		"an array has keys of 4":                func(t testing.TB) { fake.NewMap(t, map[uint64]uint32{}, &fake.Options{Type: ebpf.Array}) },
		"keys of 0 and values of 4 bytes":       func(t testing.TB) { fake.NewMap(t, map[struct{}]uint32{}, nil) },
		"LPMTrie have no fakes":                 func(t testing.TB) { fake.NewMap(t, map[uint64]uint32{}, &fake.Options{Type: ebpf.LPMTrie}) },
		"PerCPUHash has a handle of another":    func(t testing.TB) { fake.NewMap(t, map[uint32]uint32{}, &fake.Options{Type: ebpf.PerCPUHash}) },
		"ring buffer  is not a fake":            func(t testing.TB) { fake.Output(t, new(skeleton.RingBuffer), event{}) },
		"8 bytes is not a power of 2, or not":   func(t testing.TB) { fake.NewRingBuffer(t, &fake.Options{MaxEntries: 8}) },
		"no room for a record of 1048584 bytes": func(t testing.TB) { fake.Output(t, fake.NewRingBuffer(t, nil), event{}, make([]byte, 1<<20)...) },
		"string holds Go pointers, which a rec": func(t testing.TB) { fake.Output(t, fake.NewRingBuffer(t, nil), "text") },
	} {
		f := &failure{TB: t}
		func() {
			defer func() {
				if r := recover(); r != nil && r != f {
					panic(r)
				}
			}()
			call(f)
		}()
		if !strings.Contains(f.text, want) {
			t.Errorf("failed with %q, want %q", f.text, want)
		}
	}
}

// A key's padding does not count, wherever it is.
func TestPadding(t *testing.T) {
	type inner struct {
		A uint8
		B uint16
	}
	type key struct {
		A uint8
		_ [3]byte
		I [2]inner
		B uint64
	}
	m := fake.NewMap(t, map[key]uint32{}, nil)
	for _, dirt := range []byte{0, 0xff} {
		var k key
		memory := unsafe.Slice((*byte)(unsafe.Pointer(&k)), unsafe.Sizeof(k))
		for i := range memory {
			memory[i] = dirt
		}
		k.A, k.B, k.I = 1, 2, [2]inner{}
		for i := range k.I {
			k.I[i].A, k.I[i].B = 3, 4
		}
		if err := m.Put(k, uint32(dirt)); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for e, err := range m.All() {
		if n++; err != nil || e.Value != 0xff {
			t.Errorf("%v, %v", e.Value, err)
		}
	}
	if n != 1 {
		t.Errorf("%d entries of one key", n)
	}
}
