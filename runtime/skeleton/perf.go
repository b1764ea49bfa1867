//go:build !windows

package skeleton

import (
	"iter"
	"time"

	"github.com/cilium/ebpf/perf"
)

// PerfReader reads the records of a perf event array as values of type T. One
// goroutine at a time may call Read, All, CPU and Tail; SetDeadline and Close may be
// called from others meanwhile.
type PerfReader[T any] struct {
	reader *perf.Reader
	record perf.Record
	m      *UntypedMap
}

// NewPerfReader returns a reader of m, which must be closed after use, with a
// buffer of perCPUBuffer bytes for each CPU; the skeleton's Close closes it too. For T
// see [NewRingReader].
func NewPerfReader[T any](m *PerfEventArray, perCPUBuffer int) (*PerfReader[T], error) {
	km, err := m.begin()
	if err != nil {
		return nil, m.fail("read", err)
	}
	defer m.end()
	if err := checkRecordType[T](); err != nil {
		return nil, m.fail("read", err)
	}
	reader, err := perf.NewReader(km, perCPUBuffer)
	if err != nil {
		return nil, m.fail("read", err)
	}
	if err := m.origin().readers.add(reader); err != nil {
		return nil, m.fail("read", err)
	}
	return &PerfReader[T]{reader: reader, m: &m.UntypedMap}, nil
}

// Read waits for a record and returns it. It fails with [perf.ErrClosed] after
// Close, and with [ErrClosed] as well after that of the skeleton, with
// [os.ErrDeadlineExceeded] when the deadline passes, with a
// [*LostRecordsError] when records were lost and with [ErrRecordSize] when the
// record is shorter than T; after the last two, the next call goes on.
func (r *PerfReader[T]) Read() (value T, err error) {
	if err := r.reader.ReadInto(&r.record); err != nil {
		return value, r.m.failRead(err)
	}
	if n := r.record.LostSamples; n > 0 {
		return value, r.m.fail("read", &LostRecordsError{r.record.CPU, n})
	}
	return value, decode(&value, r.record.RawSample, r.m.name)
}

// CPU returns the CPU that sent the record that Read returned last.
func (r *PerfReader[T]) CPU() int { return r.record.CPU }

// Tail is that of [RingReader]; the kernel pads records, so that there may be up
// to 7 bytes more than were sent.
func (r *PerfReader[T]) Tail() []byte { return tail[T](r.record.RawSample) }

// SetDeadline is that of [RingReader].
func (r *PerfReader[T]) SetDeadline(t time.Time) { r.reader.SetDeadline(t) }

// All ranges over the records as they come, until the reader is closed or its
// deadline passes. Lost records, and such as are shorter than T, come as errors,
// and the range goes on.
func (r *PerfReader[T]) All() iter.Seq2[T, error] { return all(r.Read, perf.ErrClosed) }

// Close ends Read and frees the reader.
func (r *PerfReader[T]) Close() error {
	r.m.origin().readers.remove(r.reader)
	return r.reader.Close()
}
