package skeleton

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/fakemap"
)

// RingBuffer is a handle on a ring buffer (BPF_MAP_TYPE_RINGBUF). Read it with
// [NewRingReader].
type RingBuffer struct{ UntypedMap }

// PerfEventArray is a handle on a perf event array, through which programs send
// records with bpf_perf_event_output. Read it with [NewPerfReader].
type PerfEventArray struct{ UntypedMap }

// RingReader reads the records of a ring buffer as values of type T. One goroutine
// at a time may call Read, All and Tail; SetDeadline and Close may be called from
// others meanwhile.
type RingReader[T any] struct {
	reader fakemap.Reader
	record ringbuf.Record
	m      *UntypedMap
}

// NewRingReader returns a reader of m, which must be closed after use; the skeleton's
// Close closes it too. T is what
// programs put into the ring buffer, usually a type of the skeleton's package: name
// the C type in the attribute types of bpf_skeleton. T must not contain Go
// pointers.
func NewRingReader[T any](m *RingBuffer) (*RingReader[T], error) {
	if err := checkRecordType[T](); err != nil {
		return nil, m.fail("read", err)
	}
	reader, err := m.newReader()
	if err != nil {
		return nil, m.fail("read", err)
	}
	return &RingReader[T]{reader: reader, m: &m.UntypedMap}, nil
}

// newReader returns a reader of the ring buffer, which the skeleton's Close closes.
func (m *RingBuffer) newReader() (fakemap.Reader, error) {
	var reader fakemap.Reader
	km, err := m.begin()
	if err == nil {
		reader, err = ringbuf.NewReader(km)
		m.end()
	} else if err == errFake {
		reader, err = m.newFakeReader()
	}
	if err != nil {
		return nil, err
	}
	return reader, m.origin().readers.add(reader)
}

// Read waits for a record and returns it. It fails with [ringbuf.ErrClosed] after
// Close, one that is waiting included, and with [ErrClosed] as well after that of the
// skeleton, with [os.ErrDeadlineExceeded] when the deadline passes and with
// [ErrRecordSize] when the record is shorter than T; the next call reads the next
// record.
func (r *RingReader[T]) Read() (value T, err error) {
	if err := r.reader.ReadInto(&r.record); err != nil {
		return value, r.m.failRead(err)
	}
	return value, decode(&value, r.record.RawSample, r.m.name)
}

// Tail returns the bytes that followed T in the record that Read returned last,
// for records that end in an array of any length. It is valid until the next Read.
func (r *RingReader[T]) Tail() []byte { return tail[T](r.record.RawSample) }

// SetDeadline makes Read, one that is waiting included, fail with
// [os.ErrDeadlineExceeded] once t has passed. The zero time waits for ever.
func (r *RingReader[T]) SetDeadline(t time.Time) { r.reader.SetDeadline(t) }

// All ranges over the records as they come, until the reader is closed or its
// deadline passes:
//
//	for event, err := range reader.All() {
//
// A record that is shorter than T comes as an error, and the range goes on.
func (r *RingReader[T]) All() iter.Seq2[T, error] { return all(r.Read, ringbuf.ErrClosed) }

// Close ends Read and frees the reader.
func (r *RingReader[T]) Close() error {
	r.m.origin().readers.remove(r.reader)
	return r.reader.Close()
}

// failRead adds to an error of a reader of the map whose map it is, and who closed the
// reader.
func (m *UntypedMap) failRead(err error) error {
	if errors.Is(err, os.ErrClosed) {
		err = m.origin().readers.explain(err)
	}
	return m.fail("read", err)
}

// LostRecordsError says that a CPU's buffer was full and records were lost.
type LostRecordsError struct {
	CPU   int
	Count uint64
}

// Error says how many records were lost, and on which CPU.
func (e *LostRecordsError) Error() string {
	return fmt.Sprintf("%d records of CPU %d were lost: read faster, or use a larger buffer", e.Count, e.CPU)
}

// ErrRecordSize is returned for a record that is shorter than the type it is to
// be read as.
var ErrRecordSize = errors.New("record is shorter than its type")

// all ranges over what read returns. It ends without an error when read fails
// with closed or for its deadline, and after any error but those of one record.
func all[T any](read func() (T, error), closed error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			value, err := read()
			if errors.Is(err, closed) || errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			if !yield(value, err) {
				return
			}
			var lost *LostRecordsError
			if err != nil && !errors.Is(err, ErrRecordSize) && !errors.As(err, &lost) {
				return
			}
		}
	}
}

// decode copies a record to a value.
func decode[T any](value *T, record []byte, name string) error {
	if uintptr(len(record)) < sizeOf[T]() {
		return fmt.Errorf("read map %s: %w: %d bytes, %T has %d", name, ErrRecordSize, len(record), *value, sizeOf[T]())
	}
	copy(bytesOf(value), record)
	return nil
}

func tail[T any](record []byte) []byte {
	return record[min(sizeOf[T](), uintptr(len(record))):]
}

// checkRecordType refuses types into which no record may be copied, because the
// garbage collector would follow what the record holds.
func checkRecordType[T any]() error {
	if t := reflect.TypeFor[T](); hasPointers(t) {
		return fmt.Errorf("type %s holds Go pointers: use a type of the skeleton's package, which attribute types of bpf_skeleton generates", t)
	}
	return nil
}

func hasPointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Uintptr, reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return false
	case reflect.Array:
		return t.Len() > 0 && hasPointers(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if hasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	default:
		return true
	}
}
