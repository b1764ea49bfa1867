package skeleton

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
)

func TestRingMux(t *testing.T) {
	x, err := NewRingMux()
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	_, err = x.Consume()
	kerneltest.WantError(t, err, "call AddRing")

	first, second := newChannel(t, ebpf.RingBuf, 1<<16, 0), newChannel(t, ebpf.RingBuf, 1<<16, 0)
	var came [2]uint64
	stop := errors.New("stop")
	var errFirst error
	if err := AddRing(x, first.ring(), func(s *sent, tail []byte) error {
		came[0]++
		s.check(t, s.Seq, tail)
		return errFirst
	}); err != nil {
		t.Fatal(err)
	}
	// All of the record as one array, and nothing behind it.
	if err := AddRing(x, second.ring(), func(s *[4]uint64, tail []byte) error {
		if came[1]++; s[0] != ^s[1] || len(tail) != 0 {
			t.Errorf("%x and %x", *s, tail)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	first.run(t, 3)
	second.run(t, 4)
	if n, err := x.Consume(); n != 7 || err != nil || came != [2]uint64{3, 4} {
		t.Errorf("%d, %v, and came %v", n, err, came)
	}

	// An error of a function ends it behind the record.
	first.run(t, 2)
	errFirst = stop
	if err := x.Run(t.Context()); err != stop || came[0] != 4 {
		t.Errorf("%v after %d records", err, came[0])
	}
	errFirst = nil
	if n, err := x.Consume(); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}

	// Both at full speed, until the context ends.
	ctx, cancel := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	for _, c := range []channel{first, second} {
		wg.Go(func() { c.run(t, 20_000) })
	}
	go func() {
		wg.Wait()
		cancel(stop)
	}()
	if err := x.Run(ctx); !errors.Is(err, stop) {
		t.Errorf("when the context ends: %v", err)
	}
	for i, c := range []channel{first, second} {
		if tried, refused := c.counted(t); came[i]+refused != tried {
			t.Errorf("ring buffer %d: %d came, and %d of %d were refused", i, came[i], refused, tried)
		}
	}

	// Close, also of a skeleton, is not an error of Run.
	done := make(chan error)
	go func() { done <- x.Run(t.Context()) }()
	if err := second.o.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run when a skeleton is closed: %v", err)
	}
	if _, err := x.Consume(); !errors.Is(err, os.ErrClosed) || !errors.Is(err, ErrClosed) {
		t.Errorf("Consume after that: %v", err)
	}
}

func TestRingMuxShortRecord(t *testing.T) {
	c := newChannel(t, ebpf.RingBuf, uint32(os.Getpagesize()), 0)
	x, err := NewRingMux()
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if err := AddRing(x, c.ring(), func(*[40]byte, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	c.run(t, 1)
	_, err = x.Consume()
	if !errors.Is(err, ErrRecordSize) {
		t.Error(err)
	}
	kerneltest.WantError(t, err, "read map events: record is shorter than its type: 32 bytes, [40]uint8 has 40")
	if err := x.SetDebug(true); err != nil {
		t.Error(err)
	}
}
