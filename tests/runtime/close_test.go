package runtime_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/runtime/progs/edges"
)

func closeEdges(t testing.TB, skel *edges.Skeleton) {
	t.Helper()
	if err := skel.Close(); err != nil {
		t.Error(err)
	}
}

// packet is enough of one for a socket filter.
var packet = make([]byte, 64)

// A call that is in flight when the skeleton is closed does not come to the descriptor
// of another skeleton that gets the same number.
func TestCloseWaitsForCalls(t *testing.T) {
	const key = 0xdead
	end := time.Now().Add(2 * time.Second)
	for round := 0; round < 500 && time.Now().Before(end); round++ {
		first := openEdges(t)
		first.Progs.Filter.SetAutoload(true)
		if err := first.Load(); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		use := func(call func() error) {
			wg.Go(func() {
				for {
					if err := call(); err != nil {
						if !errors.Is(err, skeleton.ErrClosed) {
							t.Errorf("a call during Close: %v", err)
						}
						return
					}
				}
			})
		}
		for range 2 {
			use(func() error { return first.Maps.Seen.Put(key, 1) })
		}
		use(func() error {
			for _, err := range first.Maps.Seen.All() {
				if err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
					return err
				}
			}
			return nil
		})
		use(func() error {
			_, _, err := first.Progs.Filter.Test(packet)
			return err
		})
		time.Sleep(200 * time.Microsecond)
		closeEdges(t, first)
		second := loadEdges(t)
		wg.Wait()
		if _, err := second.Maps.Seen.Lookup(key); !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Fatalf("round %d: what was put into the map of the closed skeleton is in that of another: %v", round, err)
		}
		closeEdges(t, second)
	}
}

// Close does not wait for a range: it may be called in its body.
func TestCloseInsideRange(t *testing.T) {
	ranges := map[string]func(skel *edges.Skeleton, body func()) error{
		"All": func(skel *edges.Skeleton, body func()) error {
			for _, err := range skel.Maps.Seen.All() {
				if err != nil {
					return err
				}
				body()
			}
			return nil
		},
		"LookupBatches": func(skel *edges.Skeleton, body func()) error {
			for _, err := range skeleton.LookupBatches(skel.Maps.Seen, 1) {
				if err != nil {
					return err
				}
				body()
			}
			return nil
		},
	}
	for name, entries := range ranges {
		t.Run(name, func(t *testing.T) {
			skel := loadEdges(t)
			for i := range uint32(100) {
				if err := skel.Maps.Seen.Put(i, 1); err != nil {
					t.Fatal(err)
				}
			}
			bodies := 0
			err := entries(skel, func() {
				bodies++
				if bodies == 2 {
					closeEdges(t, skel)
				}
			})
			if errors.Is(err, ebpf.ErrNotSupported) && bodies == 0 {
				closeEdges(t, skel)
				t.Skip("needs a kernel with batches (5.6)")
			}
			if bodies != 2 || !errors.Is(err, skeleton.ErrClosed) {
				t.Errorf("after %d entries: %v", bodies, err)
			}
		})
	}

	// And from another goroutine, while the body waits.
	skel := loadEdges(t)
	for i := range uint32(2) {
		if err := skel.Maps.Seen.Put(i, 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range skel.Maps.Seen.All() {
		if errors.Is(err, skeleton.ErrClosed) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			closeEdges(t, skel)
			close(done)
		}()
		<-done
	}
	t.Error("the range ended without an error")
}

// Close wakes readers that wait for records.
func TestCloseWakesReaders(t *testing.T) {
	skel := loadEdges(t)
	ring, err := skeleton.NewRingReader[uint64](skel.Maps.Events)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := skeleton.NewPerfReader[uint64](skel.Maps.Samples, 4096)
	if err != nil {
		t.Fatal(err)
	}
	ranged, err := skeleton.NewRingReader[uint64](skel.Maps.Events)
	if err != nil {
		t.Fatal(err)
	}
	before, err := skeleton.NewRingReader[uint64](skel.Maps.Events)
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Close(); err != nil {
		t.Error(err)
	}
	if _, err := before.Read(); !errors.Is(err, ringbuf.ErrClosed) || errors.Is(err, skeleton.ErrClosed) {
		t.Errorf("Read of a reader that was closed: %v", err)
	}

	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := ring.Read(); !errors.Is(err, skeleton.ErrClosed) || !errors.Is(err, ringbuf.ErrClosed) {
			t.Errorf("Read of the ring buffer: %v", err)
		}
	})
	wg.Go(func() {
		if _, err := samples.Read(); !errors.Is(err, skeleton.ErrClosed) || !errors.Is(err, perf.ErrClosed) {
			t.Errorf("Read of the perf event array: %v", err)
		}
	})
	wg.Go(func() {
		for _, err := range ranged.All() {
			t.Errorf("a record of a program that is not attached: %v", err)
		}
	})
	time.Sleep(20 * time.Millisecond)
	closeEdges(t, skel)
	wg.Wait()
	for _, reader := range []interface{ Close() error }{ring, samples, ranged} {
		if err := reader.Close(); err != nil {
			t.Errorf("Close of a reader after that of the skeleton: %v", err)
		}
	}
	if _, err := skeleton.NewRingReader[uint64](skel.Maps.Events); !errors.Is(err, skeleton.ErrClosed) {
		t.Errorf("NewRingReader after Close: %v", err)
	}
}

// Close in the body of a range over records, which goes on coming.
func TestCloseInsideRecords(t *testing.T) {
	skel := loadEdges(t)
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	reader, err := skeleton.NewRingReader[uint64](skel.Maps.Events)
	if err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			fires(&skel.Bss.Calls)
		}
	})
	for _, err := range reader.All() {
		if err != nil {
			t.Error(err)
		}
		closeEdges(t, skel)
	}
	stop.Store(true)
	wg.Wait()
}

// All that needs the kernel says in which state the skeleton is.
func TestStatesOfHandles(t *testing.T) {
	skel := openEdges(t)
	calls := map[string]func() error{
		"Lookup": func() error { _, err := skel.Maps.Seen.Lookup(1); return err },
		"Put":    func() error { return skel.Maps.Seen.Put(1, 1) },
		"Delete": func() error { return skel.Maps.Seen.Delete(1) },
		"LookupAndDelete": func() error {
			_, err := skeleton.LookupAndDelete(skel.Maps.Seen, 1)
			return err
		},
		"All": func() error {
			for _, err := range skel.Maps.Seen.All() {
				return err
			}
			return nil
		},
		"LookupBatches": func() error {
			for _, err := range skeleton.LookupBatches(skel.Maps.Seen, 1) {
				return err
			}
			return nil
		},
		"PutBatch":      func() error { _, err := skeleton.PutBatch(skel.Maps.Seen, []uint32{1}, []uint64{1}); return err },
		"DeleteBatch":   func() error { _, err := skeleton.DeleteBatch(skel.Maps.Seen, []uint32{1}); return err },
		"NewRingReader": func() error { _, err := skeleton.NewRingReader[uint64](skel.Maps.Events); return err },
		"NewPerfReader": func() error { _, err := skeleton.NewPerfReader[uint64](skel.Maps.Samples, 1); return err },
		"Test":          func() error { _, _, err := skel.Progs.OnEnter.Test(packet); return err },
		"Run":           func() error { _, err := skel.Progs.OnEnter.Run(&ebpf.RunOptions{}); return err },
	}
	want := func(state string, wanted error) {
		for name, call := range calls {
			if err := call(); !errors.Is(err, wanted) {
				t.Errorf("%s %s: %v, want %v", name, state, err, wanted)
			}
		}
	}
	want("before Load", skeleton.ErrNotLoaded)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	closeEdges(t, skel)
	want("after Close", skeleton.ErrClosed)
	skel = openEdges(t)
	closeEdges(t, skel)
	want("after Open and Close", skeleton.ErrClosed)
}
