//go:build !windows

package skeleton

import (
	"fmt"
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
	name   string
}

// NewPerfReader returns a reader of m, which must be closed after use, with a
// buffer of perCPUBuffer bytes for each CPU. For T see [NewRingReader].
func NewPerfReader[T any](m *PerfEventArray, perCPUBuffer int) (*PerfReader[T], error) {
	km, err := m.get()
	if err != nil {
		return nil, m.fail("read", err)
	}
	if err := checkRecordType[T](); err != nil {
		return nil, m.fail("read", err)
	}
	reader, err := perf.NewReader(km, perCPUBuffer)
	if err != nil {
		return nil, m.fail("read", err)
	}
	return &PerfReader[T]{reader: reader, name: m.name}, nil
}

// Read waits for a record and returns it. It fails with [perf.ErrClosed] after
// Close, with [os.ErrDeadlineExceeded] when the deadline passes, with a
// [*LostRecordsError] when records were lost and with [ErrRecordSize] when the
// record is shorter than T; after the last two, the next call goes on.
func (r *PerfReader[T]) Read() (value T, err error) {
	if err := r.reader.ReadInto(&r.record); err != nil {
		return value, fmt.Errorf("read map %s: %w", r.name, err)
	}
	if n := r.record.LostSamples; n > 0 {
		return value, fmt.Errorf("read map %s: %w", r.name, &LostRecordsError{r.record.CPU, n})
	}
	return value, decode(&value, r.record.RawSample, r.name)
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
func (r *PerfReader[T]) Close() error { return r.reader.Close() }
