package ring

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// Reader is the consumer of one or several rings, which wake it together. One goroutine at a
// time reads, between Begin and End.
type Reader struct {
	waiter
	rings []*buffer
	// cur is the ring that is read, rings[at].
	cur *buffer
	at  int
	own int32

	perf bool
	// direct is true when spans may be read: not when the reader has a guard, when its records
	// must be copied for their alignment, or when it is closed.
	direct atomic.Bool
	// failed is what Next has met in place of a record.
	failed error
	// ready is anyReady, made once.
	ready func(uintptr) bool
	// last and length are those of the last record, of perf buffers and with a guard.
	last   unsafe.Pointer
	length uint32
	// scratch is where perf records are copied that cannot be read where they are.
	scratch []uint64
	realign bool
	guard   *guard
	cleanup runtime.Cleanup
	// events are the descriptors of perf buffers.
	events []int
}

// NewReader returns a reader of no rings yet.
func NewReader() (*Reader, error) {
	r := new(Reader)
	r.waiter.free = r.free
	r.ready = r.anyReady
	if err := r.waiter.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// Add adds a BPF ring buffer, by the map's descriptor, number of entries and flags. It
// must not be called while records are read. The reader keeps the ring buffer, not the descriptor.
func (r *Reader) Add(fd int, size, flags uint32, id int) error {
	if flags&Overwrite != 0 {
		return errors.New("programs overwrite records that are not read yet (BPF_F_RB_OVERWRITE), which no reader can follow: leave the flag out of map_flags")
	}
	if bits.OnesCount32(size) != 1 {
		return fmt.Errorf("its size of %d bytes is not a power of 2", size)
	}
	return r.addRing(id, func() (*buffer, error) { return mapRing(fd, int(size)) }, fd)
}

// addRing adds the ring that open maps, which wakes who waits by a descriptor.
func (r *Reader) addRing(id int, open func() (*buffer, error), fd int) error {
	if err := r.Begin(false); err != nil {
		return err
	}
	defer r.End()
	b, err := open()
	if err != nil {
		return err
	}
	b.id = id
	b.pos = b.consumer.first()
	b.look()
	if err := r.watch(fd, false); err != nil {
		return errors.Join(err, unmap(b.maps))
	}
	r.add(b)
	return nil
}

// add adds a ring that is mapped.
func (r *Reader) add(b *buffer) {
	r.cleanup.Stop()
	r.rings = append(r.rings, b)
	r.setDirect()
	r.cur, r.at = r.rings[0], 0
	var all [][]byte
	for _, b := range r.rings {
		all = append(all, b.maps...)
	}
	events := r.events
	// The cleanup is for a reader that is never closed.
	r.cleanup = runtime.AddCleanup(r, func(maps [][]byte) {
		_ = unmap(maps)
		_ = closeAll(events)
	}, all)
}

func (r *Reader) free() error {
	r.cleanup.Stop()
	var errs []error
	for _, b := range r.rings {
		errs = append(errs, unmap(b.maps))
	}
	if r.guard != nil {
		errs = append(errs, r.guard.free())
	}
	errs = append(errs, closeAll(r.events))
	return errors.Join(errs...)
}

// Close ends waiting, with [os.ErrClosed]. A second call does nothing.
func (r *Reader) Close() error {
	r.direct.Store(false)
	return r.close()
}

// SetDeadline makes Wait fail with [os.ErrDeadlineExceeded] from a time on when there is no
// record. The zero time is none.
func (r *Reader) SetDeadline(t time.Time) { r.setDeadline(t) }

// Begin begins reading: a call, or a range, whose body is handed records. It fails with
// [os.ErrClosed] and [ErrInUse].
func (r *Reader) Begin(ranging bool) error {
	own := inside
	if ranging {
		own = lent
	}
	if err := r.begin(own); err != nil {
		return err
	}
	r.own = own
	if b := r.cur; b != nil && b.consumer.load(b.pos) != b.pos {
		// Another reader may have moved the positions.
		b.look()
	}
	return nil
}

// End ends reading, and releases the record that is lent.
func (r *Reader) End() {
	if b := r.cur; b != nil {
		if b.lent != 0 {
			_, b.next = b.sample(b.lent - 1)
			b.lent = 0
		}
		if b.next != b.pos {
			r.Release()
		}
	}
	if r.guard != nil {
		r.guard.takeBack()
	}
	r.end(r.own)
}

// Record returns the record that is not released, nil when there is none.
func (r *Reader) Record() (record unsafe.Pointer, length uint32) {
	b := r.cur
	switch {
	case b.lent != 0:
		length, _ = b.sample(b.lent - 1)
		return unsafe.Add(b.data, (b.lent-1)&b.mask+sampleHeader), length
	case b.next == b.pos:
		return nil, 0
	case r.perf || r.guard != nil:
		return r.last, r.length
	}
	p := b.header()
	return unsafe.Add(p, headerSize), atomic.LoadUint32((*uint32)(p)) & lengthMask
}

// Span returns what is known to be in the BPF ring buffer that is read, nothing for a perf
// buffer, and the position behind the record that is lent. [Span.Record] reads the span without
// the reader.
func (r *Reader) Span() (s Span, next uint64) {
	s = r.cur.span()
	if r.perf || !r.direct.Load() {
		s.end = 0
	}
	return s, r.cur.next
}

// Lend is [Reader.Next] for the record before a position, which [Span.Record] has read. It does
// nothing, and reports false, when the reader was closed.
func (r *Reader) Lend(next uint64) bool {
	if !r.direct.Load() {
		return false
	}
	r.cur.next = next
	return true
}

// More waits for the next record, lends it, and returns it with the position behind it and a new
// span. It is called when a span has no more records. That span must not be used after the call,
// which may have moved on to another ring, even when it fails. The errors are those of Wait.
func (r *Reader) More() (s Span, record unsafe.Pointer, length uint32, next uint64, err error) {
	for {
		if record, length = r.Next(); record != nil {
			s, next = r.Span()
			return s, record, length, next, nil
		}
		if err := r.Wait(); err != nil {
			s, _ = r.Span()
			return s, nil, 0, 0, err
		}
	}
}

// Next returns the next record that is there, and its length. It is valid until Release, which
// must come before the next call. It returns nil when there is none yet or an error: Wait
// returns which.
func (r *Reader) Next() (record unsafe.Pointer, length uint32) {
	if r.guard != nil {
		r.guard.takeBack()
	}
	if r.isClosed() {
		return nil, 0
	}
	b := r.cur
	for range len(r.rings) + 1 {
		if b.pos != b.end {
			if r.perf {
				record, length = r.nextSample(b)
			} else {
				record, length = r.nextRecord(b)
			}
			if record != nil && r.guard != nil {
				record = r.lend(record, length)
			}
			if record != nil || r.failed != nil {
				return record, length
			}
		}
		if r.at++; r.at == len(r.rings) {
			r.at = 0
		}
		b = r.rings[r.at]
		r.cur = b
		b.look()
	}
	return nil, 0
}

// nextRecord returns the next record of a BPF ring buffer, nil when it has none that is
// committed.
func (r *Reader) nextRecord(b *buffer) (unsafe.Pointer, uint32) {
	for b.pos != b.end {
		p := b.header()
		word := atomic.LoadUint32((*uint32)(p))
		if word&busyBit != 0 {
			return nil, 0
		}
		length := word & lengthMask
		size := footprint(uint64(length))
		if size > b.end-b.pos {
			r.failed = fmt.Errorf("damaged ring buffer: a record of %d bytes, and %d are written", size, b.end-b.pos)
			return nil, 0
		}
		if word&discardBit != 0 {
			b.skip(b.pos + size)
			continue
		}
		b.next = b.pos + size
		return unsafe.Add(p, headerSize), length
	}
	return nil, 0
}

// Release gives the last record's memory back to programs. A guard's copy is freed by the next
// call of Next or End.
func (r *Reader) Release() {
	b := r.cur
	b.skip(b.next)
}

// ReleaseTo is Release of the record before a position.
func (r *Reader) ReleaseTo(next uint64) { r.cur.skip(next) }

// ID returns which ring the last record is of.
func (r *Reader) ID() int { return r.cur.id }

// pending reports whether the ring has something to read, and busy that its first record is not
// committed.
func (r *Reader) pending(b *buffer) (pending, busy bool) {
	b.look()
	if b.pos == b.end {
		return false, false
	}
	if r.perf {
		return true, false
	}
	busy = atomic.LoadUint32((*uint32)(b.header()))&busyBit != 0
	return !busy, busy
}

// anyReady reports whether Next may have something to return.
func (r *Reader) anyReady(uintptr) bool {
	for _, b := range r.rings {
		if pending, busy := r.pending(b); pending || busy {
			return true
		}
	}
	return false
}

// Mark remembers how far the ring buffers are filled now. It must not be called while records
// are read.
func (r *Reader) Mark() {
	for _, b := range r.rings {
		b.mark = b.producer.load(b.pos)
	}
}

// PastMark reports whether all is read that was there at Mark.
func (r *Reader) PastMark() bool {
	for _, b := range r.rings {
		if b.pos < b.mark {
			return false
		}
	}
	return true
}

// Wait waits until there is a record, after Next has returned none. It fails with the error
// that Next has found, such as [*Lost]; with [os.ErrClosed]; and with [os.ErrDeadlineExceeded],
// when there is no record.
func (r *Reader) Wait() error {
	if err := r.failed; err != nil {
		r.failed = nil
		return err
	}
	for _, b := range r.rings {
		b.consumer.store(b.pos)
	}
	for pause := time.Duration(0); ; {
		err := r.wait(r.own, r.ready)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		for _, b := range r.rings {
			if pending, _ := r.pending(b); pending {
				return nil
			}
		}
		if err != nil {
			return err
		}
		// A program is writing the first record. When it commits, only some programs wake the
		// reader.
		if pause == 0 {
			runtime.Gosched()
		} else {
			time.Sleep(pause)
		}
		pause = min(2*pause+20*time.Microsecond, time.Millisecond)
	}
}

// SetDebug makes Next return copies, which fault when they are used after Release.
func (r *Reader) SetDebug(on bool) error {
	if err := r.Begin(false); err != nil {
		return err
	}
	defer r.End()
	defer r.setDirect()
	switch {
	case on && r.guard == nil:
		g, err := newGuard()
		if err != nil {
			return err
		}
		r.guard = g
	case !on && r.guard != nil:
		g := r.guard
		r.guard = nil
		return g.free()
	}
	return nil
}

// lend returns a copy of a record that faults later, nil when there is no memory for it.
func (r *Reader) lend(p unsafe.Pointer, length uint32) unsafe.Pointer {
	r.last, r.failed = r.guard.lend(p, length)
	r.length = length
	return r.last
}

// setDirect sets whether a span may be read.
func (r *Reader) setDirect() {
	direct := !r.realign && r.guard == nil
	for _, b := range r.rings {
		// Spans take the bits of a header for a part of the length, which must then be more
		// than a record can have.
		direct = direct && (r.perf || b.mask < discardBit)
	}
	r.direct.Store(direct)
}
