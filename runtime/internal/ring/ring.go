// Package ring reads and writes the memory that BPF programs and user space share: BPF ring
// buffers in both directions, and perf buffers.
//
// # BPF ring buffers
//
// A ring buffer (kernel/bpf/ringbuf.c) is a page with the consumer's position, a page with
// the producer's, and the records. Positions count bytes since the beginning and never go
// back; a record lies at its position modulo the size. The records are mapped twice, one
// behind the other, so that a record that goes over the end goes on in the second mapping:
// every record is contiguous, and none is put together.
//
// A record is a header of 8 bytes and its data, padded to 8 bytes. The first word of the
// header has the length of the data, and two bits. The busy bit is set by reserve, which also
// moves the producer's position, and cleared by submit and discard; the discard bit says that
// there is nothing in it. Memory order:
//
//   - The consumer loads the producer's position (acquire), then the header (acquire), which
//     the producer has written last (xchg): a header without the busy bit comes with its data.
//   - The consumer is done with the data, then stores its position (release). From then on
//     the kernel puts other records there.
//   - Before it waits, the consumer stores its position with a full barrier and looks at the
//     producer's again. The kernel writes the header with one, and then looks at the
//     consumer's position. So one of them sees the other.
//
// The last is what wake-ups need, which are adaptive: with no flags, commit wakes the consumer
// only when its position is that of the record, that is when it has read all that was before.
// BPF_RB_NO_WAKEUP and BPF_RB_FORCE_WAKEUP are up to the program. A consumer that finds a busy
// record first must come back by itself, as that record and those behind it may be committed
// without a wake-up: it is a matter of microseconds, and [Reader.Wait] keeps looking.
//
// In user ring buffers the sides change: user space reserves and commits, and writes the
// headers and the producer's position; programs read, move the consumer's position, and wake
// those who wait for room unless they use BPF_RB_NO_WAKEUP. A busy record stops them. See
// [Writer].
//
// # Perf buffers
//
// A perf buffer (kernel/events/ring_buffer.c) is one CPU's: a page with the positions, and
// records of 8 bytes' alignment, which are there once the head has moved past them. They are
// mapped once, so one that goes over the end is copied. The kernel drops records when there is
// no room, and says how many before the next one that fits.
//
// # Waiting, deadlines, Close
//
// The descriptors of a [Reader] are in an epoll instance, which is a file in the network poller
// of the Go runtime: a goroutine that waits blocks no thread, deadlines are the file's, and
// closing the file wakes those who wait for it. The poller is edge-triggered, so the epoll
// instance is never read: rings are looked at after the poller was armed and before it waits.
//
// Memory is unmapped by Close, or, when Close comes while a range over records has lent one to
// its body, by the end of that range: Close may be called in the body, and by others meanwhile.
// It waits for a goroutine that waits or reads, in which nothing of the caller's runs.
package ring

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// The header of a record of a BPF ring buffer: BPF_RINGBUF_* of linux/bpf.h.
const (
	headerSize = 8
	busyBit    = 1 << 31
	discardBit = 1 << 30
	lengthMask = discardBit - 1
)

// Overwrite is BPF_F_RB_OVERWRITE (6.19): the flag of ring buffers whose producers overwrite
// records that the consumer has not read.
const Overwrite = 1 << 19

// ErrInUse is returned for a reader while another call on it has not returned.
var ErrInUse = errors.New("the reader is in use: one goroutine reads, and not in the body of a range over the same reader")

// Lost reports that a CPU's buffer was full and records were lost.
type Lost struct {
	CPU   int
	Count uint64
}

func (l *Lost) Error() string { return fmt.Sprintf("%d records of CPU %d were lost", l.Count, l.CPU) }

// buffer is the consumer's side of one ring.
type buffer struct {
	consumer, producer position
	data               unsafe.Pointer
	mask               uint64
	// pos is the consumer's position, and next that behind the record which is lent, or pos. end
	// is the producer's position when it was looked at last.
	pos, next, end uint64
	// lent is 1 more than the position of the sample that is lent by LendSample, 0 when none is.
	lent uint64
	// mark is the producer's position at Mark.
	mark uint64
	// id is how the reader's user identifies the ring.
	id int
	// maps are the mappings to be unmapped at the end.
	maps [][]byte
}

// Span is a range of a ring that holds records. It is a value of four words, which the compiler
// keeps in registers: a position that is stored for one record and loaded for the next costs as
// much as all else.
type Span struct {
	data           unsafe.Pointer
	mask, pos, end uint64
}

// Record returns the first record of a span and the position behind it. It is nil when there is
// none, or one that only [Reader.Next] can handle.
func (s Span) Record() (record unsafe.Pointer, length uint32, next uint64) {
	p := unsafe.Add(s.data, s.pos&s.mask)
	length = atomic.LoadUint32((*uint32)(p))
	// A length with one of the header's bits is far behind the end.
	if next = s.pos + footprint(uint64(length)); next > s.end {
		return nil, 0, 0
	}
	return unsafe.Add(p, headerSize), length, next
}

// After returns the span from a position on.
func (s Span) After(next uint64) Span {
	s.pos = next
	return s
}

// footprint returns how many bytes of a ring buffer a record with so many bytes of data takes.
func footprint(length uint64) uint64 { return (length + headerSize + 7) &^ 7 }

// header returns where the record at the position begins.
func (b *buffer) header() unsafe.Pointer { return unsafe.Add(b.data, b.pos&b.mask) }

// span returns what is known to be in the ring.
func (b *buffer) span() Span { return Span{b.data, b.mask, b.pos, b.end} }

// look loads the positions.
func (b *buffer) look() {
	b.pos = b.consumer.load(b.pos)
	b.next = b.pos
	b.end = b.producer.load(b.pos)
}

// skip releases what is before a position.
func (b *buffer) skip(next uint64) {
	b.pos, b.next = next, next
	b.consumer.release(next)
}
