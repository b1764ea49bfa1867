package skeleton

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"github.com/rules-bpf/rules_bpf/runtime/internal/ring"
)

// ErrRingFull is returned for a record for which programs have not made room yet.
var ErrRingFull = errors.New("ring buffer is full")

// ErrWriterClosed is returned for a record after Close.
var ErrWriterClosed = errors.New("writer is closed")

// UserRingWriter sends values of type T, with any number of bytes behind them, to the programs
// that drain a user ring buffer with bpf_user_ringbuf_drain, as libbpf's struct
// user_ring_buffer does. For records of any size, T may be struct{}. Its methods may be
// called from several goroutines. Programs get records in the order in which they were reserved
// or written.
type UserRingWriter[T any] struct {
	m      *UntypedMap
	writer *ring.Writer
}

// NewUserRingWriter returns a writer to m, which must be closed after use; the
// skeleton's Close closes it too. A map has
// one writer at a time: two would write over each other's records. It fails when not
// even the empty ring buffer has room for a record. libbpf: user_ring_buffer__new.
func NewUserRingWriter[T any](m *UserRingBuffer) (*UserRingWriter[T], error) {
	km, err := m.begin()
	if err != nil {
		return nil, m.fail("write to", err)
	}
	defer m.end()
	if err := checkRecordType[T](); err != nil {
		return nil, m.fail("write to", err)
	}
	writer, err := ring.NewWriter(km.FD(), km.MaxEntries())
	if err != nil {
		return nil, m.fail("write to", err)
	}
	if err := writer.Fits(int(sizeOf[T]())); err != nil {
		return nil, errors.Join(m.fail("write to", err), writer.Close())
	}
	if err := m.origin().readers.add(writer); err != nil {
		return nil, m.fail("write to", err)
	}
	return &UserRingWriter[T]{m: &m.UntypedMap, writer: writer}, nil
}

// UserRecord is a record in the ring buffer that is not sent yet. Submit or Discard it:
// until then, programs get neither it nor what was sent after it, and its memory stays,
// also after Close.
type UserRecord[T any] struct {
	// Value is in the ring buffer, as is Tail, the bytes behind it. Both have what was there
	// before, and are not valid after Submit or Discard.
	Value *T
	Tail  []byte

	w *UserRingWriter[T]
}

// Reserve makes room for a value with a tail of so many bytes, to be written in place. It does
// not wait: it fails with [ErrRingFull] when there is no room, and with [ErrWriterClosed] after
// Close, and with [ErrClosed] as well after that of the skeleton. A record that is larger than
// the ring buffer or than 16 MiB, which is all that programs read, is another error. libbpf:
// user_ring_buffer__reserve.
func (w *UserRingWriter[T]) Reserve(tail int) (UserRecord[T], error) {
	return w.reserve(tail, w.writer.Reserve)
}

// ReserveBlocking is Reserve that waits for programs to make room, and fails with
// [os.ErrDeadlineExceeded] when there is none at the deadline. Programs that drain with
// BPF_RB_NO_WAKEUP do not end the wait. libbpf: user_ring_buffer__reserve_blocking.
func (w *UserRingWriter[T]) ReserveBlocking(tail int) (UserRecord[T], error) {
	return w.reserve(tail, w.writer.ReserveBlocking)
}

func (w *UserRingWriter[T]) reserve(tail int, reserve func(int) (unsafe.Pointer, error)) (record UserRecord[T], err error) {
	if tail < 0 {
		return record, w.fail(errors.New("the length of the tail is negative"))
	}
	p, err := reserve(int(sizeOf[T]()) + tail)
	if err != nil {
		return record, w.fail(err)
	}
	return UserRecord[T]{(*T)(p), unsafe.Slice((*byte)(unsafe.Add(p, sizeOf[T]())), tail), w}, nil
}

// fail adds to an error of the writer which map it is of.
func (w *UserRingWriter[T]) fail(err error) error {
	switch {
	case errors.Is(err, ring.ErrFull):
		err = ErrRingFull
	case errors.Is(err, os.ErrClosed):
		err = w.m.origin().readers.explain(ErrWriterClosed)
	}
	return w.m.fail("write to", err)
}

// Submit sends the record: it is there for the next program that drains the ring buffer. libbpf:
// user_ring_buffer__submit.
func (r *UserRecord[T]) Submit() error { return r.commit(false) }

// Discard gives the record up: programs skip it. libbpf: user_ring_buffer__discard.
func (r *UserRecord[T]) Discard() error { return r.commit(true) }

func (r *UserRecord[T]) commit(discard bool) error {
	if r.w == nil {
		return errors.New("the record was submitted or discarded before, or never reserved")
	}
	w, p := r.w, unsafe.Pointer(r.Value)
	*r = UserRecord[T]{}
	return w.m.fail("write to", w.writer.Commit(p, discard))
}

// Write sends a value without a tail. It does not wait: its errors are those of Reserve.
func (w *UserRingWriter[T]) Write(value T) error {
	p, err := w.writer.Reserve(int(sizeOf[T]()))
	if err != nil {
		return w.fail(err)
	}
	*(*T)(p) = value
	return w.fail(w.writer.Commit(p, false))
}

// SetDeadline makes ReserveBlocking, calls that are waiting included, fail once t has passed and
// there is no room. The zero time waits for ever.
func (w *UserRingWriter[T]) SetDeadline(t time.Time) { w.writer.SetDeadline(t) }

// Close ends waiting and frees the writer. What it has sent stays in the ring buffer, and
// records that are reserved can be submitted.
func (w *UserRingWriter[T]) Close() error {
	w.m.origin().readers.remove(w.writer)
	return w.writer.Close()
}
