package skeleton

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"
)

// ErrRingFull is returned for a record for which programs have not made room yet.
var ErrRingFull = errors.New("ring buffer is full")

// ErrWriterClosed is returned by Write after Close.
var ErrWriterClosed = errors.New("writer is closed")

// UserRingWriter sends values of type T to the programs that drain a user ring
// buffer. Its methods may be called from several goroutines.
//
// The memory is laid out as the kernel's bpf_ringbuf.c says: a page with the
// position up to which programs have read, a page with that up to which user space
// has written, and the records, twice, so that one that goes over the end goes on.
type UserRingWriter[T any] struct {
	m    *UntypedMap
	mask uint64

	mu       sync.Mutex
	consumer []byte
	producer []byte // with the records after its first page
	records  []byte
}

// NewUserRingWriter returns a writer to m, which must be closed after use; the
// skeleton's Close closes it too. A map has
// one writer at a time: two would write over each other's records. It fails when not
// even the empty ring buffer has room for a record.
func NewUserRingWriter[T any](m *UserRingBuffer) (*UserRingWriter[T], error) {
	km, err := m.begin()
	if err != nil {
		return nil, m.fail("write to", err)
	}
	defer m.end()
	if err := checkRecordType[T](); err != nil {
		return nil, m.fail("write to", err)
	}
	page, size := os.Getpagesize(), int(km.MaxEntries())
	if total := recordSize[T](); total > uint64(size) {
		var zero T
		return nil, m.fail("write to", fmt.Errorf("a record of %T takes %d bytes, and the ring buffer has %d: raise max_entries", zero, total, size))
	}
	consumer, producer, err := mapUserRing(km.FD(), page, size)
	if err != nil {
		return nil, m.fail("write to", fmt.Errorf("mmap: %w", err))
	}
	w := &UserRingWriter[T]{m: &m.UntypedMap, mask: uint64(size) - 1, consumer: consumer, producer: producer, records: producer[page:]}
	if err := m.origin().readers.add(w); err != nil {
		return nil, m.fail("write to", err)
	}
	return w, nil
}

// recordHeader is what each record begins with, in bytes: its length.
const recordHeader = 8

// recordSize returns how many bytes of the ring buffer a record takes.
func recordSize[T any]() uint64 { return (uint64(sizeOf[T]()) + recordHeader + 7) &^ 7 }

// Write sends a value, which is there for the next program that drains the ring
// buffer. It does not wait: it fails with [ErrRingFull] when there is no room, and
// with [ErrWriterClosed] after Close, and with [ErrClosed] as well after that of the
// skeleton.
func (w *UserRingWriter[T]) Write(value T) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.producer == nil {
		return w.m.fail("write to", w.m.origin().readers.explain(ErrWriterClosed))
	}
	total := recordSize[T]()
	written := position(w.producer)
	start := written.Load()
	if room := w.mask + 1 - (start - position(w.consumer).Load()); room < total {
		return w.m.fail("write to", ErrRingFull)
	}
	record := w.records[start&w.mask:]
	*(*[2]uint32)(unsafe.Pointer(&record[0])) = [2]uint32{uint32(sizeOf[T]())}
	copy(record[recordHeader:], bytesOf(&value))
	// Programs see nothing of it before.
	written.Store(start + total)
	return nil
}

// position is the number at the beginning of a page.
func position(page []byte) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&page[0]))
}

// Close frees the writer. What it has sent stays in the ring buffer.
func (w *UserRingWriter[T]) Close() error {
	w.m.origin().readers.remove(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.producer == nil {
		return nil
	}
	err := unmapUserRing(w.consumer, w.producer)
	w.consumer, w.producer, w.records = nil, nil, nil
	return err
}
