package skeleton

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/rules-bpf/rules_bpf/runtime/internal/ring"
)

// RingMux reads several ring buffers, whose records are of different types, in one goroutine
// with one wake-up, as libbpf's struct ring_buffer does: [NewRingMux] is ring_buffer__new,
// [AddRing] ring_buffer__add, Run ring_buffer__poll, Consume ring_buffer__consume, and Close
// ring_buffer__free. The ring buffers may be of several skeletons. For ring buffers with
// records of one type see [NewRingReader].
//
// One goroutine at a time may call AddRing, Run and Consume; Close may be called from others
// meanwhile.
type RingMux struct {
	reader *ring.Reader
	// mu guards maps against Close.
	mu   sync.Mutex
	maps []*UntypedMap
	// handle are the functions that take the records of each, by its number.
	handle []func(unsafe.Pointer, uint32) error
}

// NewRingMux returns a RingMux without ring buffers, which must be closed after use.
func NewRingMux() (*RingMux, error) {
	reader, err := ring.NewReader()
	if err != nil {
		return nil, fmt.Errorf("read ring buffers: %w", err)
	}
	return &RingMux{reader: reader}, nil
}

// AddRing adds a ring buffer, with a function that gets its records. They are
// the kernel's memory, which is valid until the function returns, as in the body of a range of
// [RingReader.InPlace]; tail is what follows T in the record. For T see [NewRingReader]. The
// skeleton's Close closes the RingMux too.
func AddRing[T any](x *RingMux, m *RingBuffer, handle func(record *T, tail []byte) error) error {
	if err := checkRecordType[T](); err != nil {
		return m.fail("read", err)
	}
	if err := addRing(x.reader, m, len(x.maps)); err != nil {
		return err
	}
	x.mu.Lock()
	x.maps = append(x.maps, &m.UntypedMap)
	x.mu.Unlock()
	x.handle = append(x.handle, func(p unsafe.Pointer, n uint32) error {
		size := uint32(sizeOf[T]())
		if n < size {
			var value T
			return m.fail("read", fmt.Errorf("%w: %d bytes, %T has %d", ErrRecordSize, n, value, size))
		}
		return handle((*T)(p), unsafe.Slice((*byte)(unsafe.Add(p, size)), n-size))
	})
	return nil
}

// Run gives records to their functions as they come, until ctx ends, with the context's cause
// as its error, or until the RingMux or a skeleton is closed, without an error. Records that are
// there when the context ends are read. It ends with the error of a function, and with
// [ErrRecordSize] for a record that is shorter than its type; that record is done with, and
// another Run goes on behind it.
func (x *RingMux) Run(ctx context.Context) error {
	var ended atomic.Bool
	var stop func() bool
	done := make(chan struct{})
	_, err := x.read(&ended, func() {
		x.reader.SetDeadline(time.Time{})
		stop = context.AfterFunc(ctx, func() {
			defer close(done)
			ended.Store(true)
			x.reader.SetDeadline(time.Unix(1, 0))
		})
	})
	if stop != nil && !stop() {
		// Its deadline is not to be that of the next call.
		<-done
	}
	switch {
	case errors.Is(err, os.ErrClosed):
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// Consume gives the records that are there to their functions, without waiting, and returns how
// many there were. Its errors are those of Run, and [os.ErrClosed] after Close.
func (x *RingMux) Consume() (int, error) {
	var ended atomic.Bool
	ended.Store(true)
	n, err := x.read(&ended, func() { x.reader.SetDeadline(time.Unix(1, 0)) })
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, nil
	}
	return n, err
}

// read reads until there is an error or ended is set, which is treated as a deadline that has
// passed, and returns how many records were read. It calls begun when no other reader is at
// work.
func (x *RingMux) read(ended *atomic.Bool, begun func()) (n int, err error) {
	if len(x.maps) == 0 {
		return 0, errors.New("read ring buffers: none was added: call AddRing")
	}
	if err := x.reader.Begin(true); err != nil {
		return 0, failRead(x.maps, x.reader, err)
	}
	// Gives the record's space back, after an error and a panic.
	defer x.reader.End()
	begun()
	marked := false
	for span, _ := x.reader.Span(); ; {
		switch {
		case !ended.Load():
		case !marked:
			// Records that come later do not count: programs may send as fast as the functions
			// take.
			x.reader.Mark()
			marked = true
		case x.reader.PastMark():
			return n, os.ErrDeadlineExceeded
		}
		p, length, next := span.Record()
		if p == nil || !x.reader.Lend(next) {
			var err error
			if span, p, length, next, err = x.reader.More(); err != nil {
				return n, failRead(x.maps, x.reader, err)
			}
		}
		n++
		if err := x.handle[x.reader.ID()](p, length); err != nil {
			return n, err
		}
		x.reader.ReleaseTo(next)
		span = span.After(next)
	}
}

// SetDebug is that of [RingReader].
func (x *RingMux) SetDebug(on bool) error {
	if err := x.reader.SetDebug(on); err != nil {
		return fmt.Errorf("read ring buffers: %w", err)
	}
	return nil
}

// Close ends Run, and frees what belongs to the RingMux: at once, or when the function that is
// using a record has returned.
func (x *RingMux) Close() error {
	x.mu.Lock()
	maps := x.maps
	x.mu.Unlock()
	for _, m := range maps {
		m.origin().readers.remove(x.reader)
	}
	return x.reader.Close()
}
