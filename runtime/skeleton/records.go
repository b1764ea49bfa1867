package skeleton

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/ring"
)

// RingBuffer is a handle on a ring buffer (BPF_MAP_TYPE_RINGBUF). Read it with
// [NewRingReader] or a [RingMux].
type RingBuffer struct{ UntypedMap }

// PerfEventArray is a handle on a perf event array, through which programs send
// records with bpf_perf_event_output. Read it with [NewPerfReader].
type PerfEventArray struct{ UntypedMap }

// RingReader reads the records of one or several ring buffers as values of type T, as
// libbpf's ring_buffer__poll and ring_buffer__consume do. One goroutine at a time may
// read, with Read or in a range; SetDeadline and Close may be called from others
// meanwhile, and from the body of a range. A ring buffer has one reader at a time.
type RingReader[T any] struct{ RecordReader[T] }

// NewRingReader returns a reader of m, and of more ring buffers with records of the same
// type, which wake it together. It must be closed after use; the skeleton's
// Close closes it too. T is what
// programs put into the ring buffer, usually a type of the skeleton's package: name
// the C type in the attribute types of bpf_skeleton. T must not contain Go
// pointers. It fails for a ring buffer with BPF_F_RB_OVERWRITE.
func NewRingReader[T any](m *RingBuffer, more ...*RingBuffer) (*RingReader[T], error) {
	r := new(RingReader[T])
	if err := checkRecordType[T](); err != nil {
		return nil, m.fail("read", err)
	}
	reader, err := ring.NewReader()
	if err != nil {
		return nil, m.fail("read", err)
	}
	r.reader = reader
	for _, m := range append([]*RingBuffer{m}, more...) {
		if err := addRing(reader, m, len(r.maps)); err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.maps = append(r.maps, &m.UntypedMap)
	}
	return r, nil
}

// addRing adds a ring buffer to a reader, which the skeleton closes from now on.
func addRing(reader *ring.Reader, m *RingBuffer, id int) error {
	if err := openRing(reader, m, id); err != nil {
		return m.fail("read", err)
	}
	if err := m.origin().readers.add(reader); err != nil {
		return m.fail("read", err)
	}
	return nil
}

func openRing(reader *ring.Reader, m *RingBuffer, id int) error {
	km, err := m.begin()
	if err == errFake {
		return m.openFakeRing(reader, id)
	}
	if err != nil {
		return err
	}
	defer m.end()
	if km.Type() != ebpf.RingBuf {
		return fmt.Errorf("it was made as a map of type %v", km.Type())
	}
	return reader.Add(km.FD(), km.MaxEntries(), km.Flags(), id)
}

// Map returns the ring buffer, of several, that the current record is from: the record in the
// body of a range, or the last one that Read has returned.
func (r *RingReader[T]) Map() *UntypedMap { return r.maps[r.reader.ID()] }

// PerfReader reads the records of a perf event array as values of type T, as libbpf's
// perf_buffer__poll does. The rules for concurrent calls are those of [RingReader].
type PerfReader[T any] struct{ RecordReader[T] }

// NewPerfReader returns a reader of m, which must be closed after use, with a
// buffer of perCPUBuffer bytes, rounded up to pages in a power of 2, for each CPU that is
// online; the skeleton's Close closes it too. For T see [NewRingReader].
//
// The kernel pads records, so that Tail may have up to 7 bytes more than were sent. When a
// CPU's buffer is full, it drops records and counts them: reading then fails once with a
// [*LostRecordsError], and goes on.
func NewPerfReader[T any](m *PerfEventArray, perCPUBuffer int) (*PerfReader[T], error) {
	km, err := m.begin()
	if err != nil {
		return nil, m.fail("read", err)
	}
	defer m.end()
	if err := checkRecordType[T](); err != nil {
		return nil, m.fail("read", err)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, m.fail("read", err)
	}
	reader, err := ring.NewPerfReader(km.FD(), min(cpus, int(km.MaxEntries())), perCPUBuffer, reflect.TypeFor[T]().Align())
	if err != nil {
		return nil, m.fail("read", err)
	}
	if err := m.origin().readers.add(reader); err != nil {
		return nil, m.fail("read", err)
	}
	return &PerfReader[T]{RecordReader[T]{reader: reader, maps: []*UntypedMap{&m.UntypedMap}}}, nil
}

// CPU returns the CPU that sent the current record: the one in the body of a range, or the last
// one that Read has returned.
func (r *PerfReader[T]) CPU() int { return r.reader.ID() }

// InPlace differs from [RecordReader.InPlace] in one way: the memory of several records is given
// back to programs at once. Up to a sixteenth of a buffer stays taken by records whose bodies
// have ended.
func (r *PerfReader[T]) InPlace() iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		// The two types of functions are called in the same way: a *T is passed as an unsafe.Pointer.
		samplesInPlace(r.reader, &r.RecordReader, uint32(sizeOf[T]()), *(*func(unsafe.Pointer, error) bool)(unsafe.Pointer(&yield)))
	}
}

// rangeErrors is what a range over records of any type does with errors.
type rangeErrors interface {
	refuse(error, func(error))
	report(error, func(error) bool) bool
	short(uint32) error
}

// samplesInPlace is the loop of [PerfReader.InPlace], for records of at least size bytes. It is not
// generic, because the compiler inlines the span's methods in this package only: a generic loop
// is compiled in the user's package, calls them, and takes twice as long for a record.
func samplesInPlace(r *ring.Reader, errs rangeErrors, size uint32, yield func(unsafe.Pointer, error) bool) {
	if err := r.Begin(true); err != nil {
		errs.refuse(err, func(err error) { yield(nil, err) })
		return
	}
	defer r.End()
	for span := r.Samples(); ; {
		p, n, next := span.Sample()
		if p == nil || !r.LendSample(span) {
			var err error
			if span, p, n, next, err = r.MoreSamples(span); err != nil {
				if !errs.report(err, func(err error) bool { return yield(nil, err) }) {
					return
				}
				continue
			}
		}
		if n >= size {
			if !yield(p, nil) {
				return
			}
		} else if !yield(nil, errs.short(n)) {
			return
		}
		span = span.After(next)
		r.Pass(span)
	}
}

// RecordReader is what a [RingReader] and a [PerfReader] have in common: the ways to read. It is
// a part of these, and of no use by itself.
type RecordReader[T any] struct {
	reader *ring.Reader
	maps   []*UntypedMap
	// tail is what follows T in the last record that was copied.
	tail []byte
}

// InPlace ranges over the records as they come, without copying them, until the reader is
// closed or its deadline has passed and there is none:
//
//	for event, err := range reader.InPlace() {
//
// event points to the kernel's memory, which is valid in the body only: the record's space
// is given back to programs when the body has ended, by break, return or panic as well. Copy
// what is to stay. The memory is read-only: a write is a fault that ends the process. See
// SetDebug for how to find a pointer that stays. While the body runs, programs cannot reuse
// the space of this record and of the records after it.
//
// A record that is shorter than T comes as an [ErrRecordSize] and nil, lost records of a perf
// event array as a [*LostRecordsError], and the range goes on; it ends after any other error.
func (r *RecordReader[T]) InPlace() iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) { r.inPlace(yield) }
}

// inPlace is the loop of InPlace. It is a method, not a function literal: the compiler inlines
// InPlace into its caller, and would then inline nothing into the literal.
func (r *RecordReader[T]) inPlace(yield func(*T, error) bool) {
	if err := r.reader.Begin(true); err != nil {
		r.refuse(err, func(err error) { yield(nil, err) })
		return
	}
	// Gives the record's space back, after break, return and panic.
	defer r.reader.End()
	for span, _ := r.reader.Span(); ; {
		p, n, next := span.Record()
		if p == nil || !r.reader.Lend(next) {
			var err error
			if span, p, n, next, err = r.reader.More(); err != nil {
				if !r.report(err, func(err error) bool { return yield(nil, err) }) {
					return
				}
				continue
			}
		}
		if n >= uint32(sizeOf[T]()) {
			if !yield((*T)(p), nil) {
				return
			}
		} else if !yield(nil, r.short(n)) {
			return
		}
		r.reader.ReleaseTo(next)
		span = span.After(next)
	}
}

// All ranges over copies of the records as they come, until the reader is closed or its
// deadline has passed and there is none:
//
//	for event, err := range reader.All() {
//
// The record's space is given back to programs before the body begins. Errors are those of
// [RingReader.InPlace].
func (r *RecordReader[T]) All() iter.Seq2[T, error] {
	return func(yield func(T, error) bool) { r.all(yield) }
}

// all is the loop of All, a method for the reason that inPlace is one.
func (r *RecordReader[T]) all(yield func(T, error) bool) {
	var zero T
	if err := r.reader.Begin(true); err != nil {
		r.refuse(err, func(err error) { yield(zero, err) })
		return
	}
	defer r.reader.End()
	for span, _ := r.reader.Span(); ; {
		p, n, next := span.Record()
		if p == nil || !r.reader.Lend(next) {
			var err error
			if span, p, n, next, err = r.reader.More(); err != nil {
				if !r.report(err, func(err error) bool { return yield(zero, err) }) {
					return
				}
				continue
			}
		}
		if n < uint32(sizeOf[T]()) {
			r.tail = r.tail[:0]
			r.reader.ReleaseTo(next)
			span = span.After(next)
			if !yield(zero, r.short(n)) {
				return
			}
			continue
		}
		value := *(*T)(p)
		r.keepTail(p, n)
		r.reader.ReleaseTo(next)
		span = span.After(next)
		if !yield(value, nil) {
			return
		}
	}
}

// Read waits for a record and returns a copy of it. It fails with [os.ErrClosed] after
// Close, one that is waiting included, and with [ErrClosed] as well after that of the
// skeleton; with [os.ErrDeadlineExceeded] when the deadline has passed and there is no
// record; with a [*LostRecordsError] when records of a perf event array were lost; and with
// [ErrRecordSize] when the record is shorter than T. After the last two, the next call goes on.
func (r *RecordReader[T]) Read() (value T, err error) {
	if err := r.reader.Begin(false); err != nil {
		return value, r.fail(err)
	}
	p, n := r.reader.Next()
	for p == nil {
		if err := r.reader.Wait(); err != nil {
			r.reader.End()
			return value, r.fail(err)
		}
		p, n = r.reader.Next()
	}
	if n < uint32(sizeOf[T]()) {
		err = r.short(n)
		r.tail = r.tail[:0]
	} else {
		value = *(*T)(p)
		r.keepTail(p, n)
	}
	r.reader.Release()
	r.reader.End()
	return value, err
}

// Tail returns the bytes that follow T in the record, for records that end in an array of any
// length. In the body of a range of InPlace it is the kernel's memory, as the record is. Else
// it is a copy, which is valid until the next record.
func (r *RecordReader[T]) Tail() []byte {
	if p, n := r.reader.Record(); p != nil {
		size := uint32(sizeOf[T]())
		if n < size {
			return nil
		}
		return unsafe.Slice((*byte)(unsafe.Add(p, size)), n-size)
	}
	return r.tail
}

// keepTail copies what follows T in a record.
func (r *RecordReader[T]) keepTail(p unsafe.Pointer, n uint32) {
	if size := uint32(sizeOf[T]()); n != size || len(r.tail) != 0 {
		r.tail = append(r.tail[:0], unsafe.Slice((*byte)(unsafe.Add(p, size)), n-size)...)
	}
}

// SetDeadline makes Read and ranges, those that are waiting included, end once t has passed
// and there is no record: Read fails with [os.ErrDeadlineExceeded]. With a time in the past, they
// take what is there and do not wait. The zero time waits for ever.
func (r *RecordReader[T]) SetDeadline(t time.Time) { r.reader.SetDeadline(t) }

// SetDebug makes InPlace, from its next call on, hand out each record as a copy on a page of its
// own, which is taken away when the body has ended: a pointer that was kept then faults where it
// is used, instead of showing another record. It is slow, and for tests. It fails while
// another call has not returned, and without memory.
func (r *RecordReader[T]) SetDebug(on bool) error { return r.fail(r.reader.SetDebug(on)) }

// Close ends Read and ranges, and frees the reader: at once, or at the end of a range's body
// that is using a record.
func (r *RecordReader[T]) Close() error {
	for _, m := range r.maps {
		m.origin().readers.remove(r.reader)
	}
	return r.reader.Close()
}

// fail adds to an error which map it is of, and who closed the reader.
func (r *RecordReader[T]) fail(err error) error { return failRead(r.maps, r.reader, err) }

// failRead is fail for a reader of maps.
func failRead(maps []*UntypedMap, reader *ring.Reader, err error) error {
	if err == nil {
		return nil
	}
	m := maps[0]
	if errors.Is(err, os.ErrClosed) {
		for _, m := range maps {
			if explained := m.origin().readers.explain(err); explained != err {
				return m.fail("read", explained)
			}
		}
		return m.fail("read", err)
	}
	var lost *ring.Lost
	if errors.As(err, &lost) {
		err = &LostRecordsError{lost.CPU, lost.Count}
	} else if len(maps) > 1 {
		m = maps[reader.ID()]
	}
	return m.fail("read", err)
}

// refuse hands out the error for which a range does not begin, unless the reader is closed.
func (r *RecordReader[T]) refuse(err error, yield func(error)) {
	if !errors.Is(err, os.ErrClosed) {
		yield(r.fail(err))
	}
}

// report hands out an error in a range, and reports whether the range goes on.
func (r *RecordReader[T]) report(err error, yield func(error) bool) bool {
	if errors.Is(err, os.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	var lost *ring.Lost
	return yield(r.fail(err)) && errors.As(err, &lost)
}

// short returns the error of a record that is too short.
func (r *RecordReader[T]) short(n uint32) error {
	var value T
	return r.fail(fmt.Errorf("%w: %d bytes, %T has %d", ErrRecordSize, n, value, sizeOf[T]()))
}

// LostRecordsError reports that a CPU's buffer was full and records were lost.
type LostRecordsError struct {
	CPU   int
	Count uint64
}

// Error returns how many records were lost, and on which CPU.
func (e *LostRecordsError) Error() string {
	return fmt.Sprintf("%d records of CPU %d were lost: read faster, or use a larger buffer", e.Count, e.CPU)
}

// ErrRecordSize is returned for a record that is shorter than the type it is to
// be read as.
var ErrRecordSize = errors.New("record is shorter than its type")

// checkRecordType refuses types that hold Go pointers: the garbage collector would follow what
// a record has in their place.
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
