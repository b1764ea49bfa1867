package ring

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// perfHeader is struct perf_event_header, and perfLost struct PERF_RECORD_LOST without
// sample_id.
type (
	perfHeader struct {
		kind uint32
		misc uint16
		size uint16
	}
	perfLost struct {
		header   perfHeader
		id, lost uint64
	}
)

// Types of records: PERF_RECORD_* of linux/perf_event.h.
const (
	recordLost   = 2
	recordSample = 9
)

// sampleHeader is what is before the data of a sample: the header and PERF_SAMPLE_RAW's size.
const sampleHeader = 12

// Sample returns the first record of a perf buffer's span and the position behind it. It is nil
// when there is none, or one that only [Reader.Next] can handle.
func (s Span) Sample() (sample unsafe.Pointer, length uint32, next uint64) {
	start := s.pos & s.mask
	p := unsafe.Add(s.data, start)
	size := uint64((*perfHeader)(p).size)
	next = s.pos + size
	if start+size > s.mask+1 || next > s.end || (*perfHeader)(p).kind != recordSample {
		return nil, 0, 0
	}
	if length = *(*uint32)(unsafe.Add(p, unsafe.Sizeof(perfHeader{}))); uint64(length)+sampleHeader > size {
		return nil, 0, 0
	}
	return unsafe.Add(p, sampleHeader), length, next
}

// Samples is Span for a perf buffer, whose records [Span.Sample] reads.
func (r *Reader) Samples() Span {
	s := r.cur.span()
	if !r.direct.Load() {
		s.end = 0
	}
	return s
}

// LendSample is [Reader.Lend] for the first record of a perf buffer's span. It must be followed
// by [Reader.Pass] or End.
func (r *Reader) LendSample(s Span) bool {
	if !r.direct.Load() {
		return false
	}
	r.cur.lent = s.pos + 1
	return true
}

// Pass notes that the samples before a span are done with. It gives their memory back once they
// are a certain part of the buffer, as each time costs as much as reading a record.
func (r *Reader) Pass(s Span) {
	if b := r.cur; s.pos-b.pos > b.mask/passedParts {
		r.passAll(s)
	}
}

// passedParts bounds the memory that is read and not given back: one part of so many of a
// perf buffer.
const passedParts = 16

// passAll gives back the memory of all samples before a span.
func (r *Reader) passAll(s Span) {
	r.cur.lent = 0
	r.cur.skip(s.pos)
}

// MoreSamples is [Reader.More] for a reader of perf buffers. The samples before the old span
// are done with.
func (r *Reader) MoreSamples(old Span) (s Span, record unsafe.Pointer, length uint32, next uint64, err error) {
	r.passAll(old)
	_, record, length, next, err = r.More()
	return r.Samples(), record, length, next, err
}

// sample returns the length of the plain sample at a position, and the position behind it.
func (b *buffer) sample(pos uint64) (length uint32, next uint64) {
	p := unsafe.Add(b.data, pos&b.mask)
	return *(*uint32)(unsafe.Add(p, unsafe.Sizeof(perfHeader{}))), pos + uint64((*perfHeader)(p).size)
}

// nextSample returns the next record of a perf buffer, nil when the record is not a sample.
func (r *Reader) nextSample(b *buffer) (unsafe.Pointer, uint32) {
	if !r.realign {
		if p, length, next := b.span().Sample(); p != nil {
			b.next = next
			r.last, r.length = p, length
			return p, length
		}
	}
	return r.otherSample(b)
}

// otherSample is nextSample for a record that crosses the end of the buffer, is not aligned as
// it must be, or is not a sample. Records that are not samples are done with.
func (r *Reader) otherSample(b *buffer) (unsafe.Pointer, uint32) {
	header := (*perfHeader)(b.header())
	kind, size := header.kind, uint64(header.size)
	if size < uint64(unsafe.Sizeof(perfHeader{})) || size > b.end-b.pos {
		r.failed = fmt.Errorf("damaged perf buffer: a record of %d bytes, and %d are written", size, b.end-b.pos)
		b.skip(b.end)
		return nil, 0
	}
	next := b.pos + size
	p := r.copyOf(b, b.pos&b.mask, size)
	switch {
	case kind == recordSample && size >= sampleHeader:
		length := *(*uint32)(unsafe.Add(p, unsafe.Sizeof(perfHeader{})))
		if uint64(length)+sampleHeader <= size {
			b.next = next
			r.last, r.length = unsafe.Add(p, sampleHeader), length
			return r.last, length
		}
		r.failed = fmt.Errorf("damaged perf buffer: a sample of %d bytes in a record of %d", length, size)
	case kind == recordLost && size >= uint64(unsafe.Sizeof(perfLost{})):
		// The copy is not aligned for words.
		r.failed = &Lost{b.id, binary.NativeEndian.Uint64(unsafe.Slice((*byte)(p), size)[unsafe.Offsetof(perfLost{}.lost):])}
	default:
		r.failed = fmt.Errorf("perf buffer: unknown record of type %d and %d bytes", kind, size)
	}
	b.skip(next)
	return nil, 0
}

// copyOf copies a record so that the data of a sample are aligned as a Go value is.
func (r *Reader) copyOf(b *buffer, start, size uint64) unsafe.Pointer {
	// The data begin at 12, and are to begin at 16.
	const before = 16 - sampleHeader
	if need := int(before+size+7) / 8; len(r.scratch) < need {
		r.scratch = make([]uint64, need)
	}
	record := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(r.scratch)), before)), size)
	ring := unsafe.Slice((*byte)(b.data), b.mask+1)
	n := copy(record, ring[start:])
	copy(record[n:], ring)
	return unsafe.Pointer(unsafe.SliceData(record))
}
