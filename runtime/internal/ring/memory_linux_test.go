package ring

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// producer reserves and commits records as programs do, where [Memory.Output] does both.
type producer struct {
	*Memory
}

// newRing returns a ring of a page, and what writes to it.
func newRing(t *testing.T) producer {
	t.Helper()
	m, err := NewMemory(uint32(os.Getpagesize()))
	if err != nil {
		t.Fatal(err)
	}
	return producer{m}
}

// reserve makes a record that is busy, with data that all are one byte, and returns its header.
func (p producer) reserve(length int, fill byte) *uint32 {
	b := p.b
	header := unsafe.Add(b.data, b.next&b.mask)
	atomic.StoreUint32((*uint32)(header), uint32(length)|busyBit)
	for i := range length {
		*(*byte)(unsafe.Add(header, headerSize+i)) = fill
	}
	b.next += footprint(uint64(length))
	b.producer.store(b.next)
	return (*uint32)(header)
}

func submit(header *uint32)  { atomic.StoreUint32(header, *header&^busyBit) }
func discard(header *uint32) { atomic.StoreUint32(header, *header&^busyBit|discardBit) }

// newTestReader returns a reader of rings, whose IDs are their indexes.
func newTestReader(t *testing.T, rings ...producer) *Reader {
	t.Helper()
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	for i, p := range rings {
		if err := r.AddMemory(p.Memory, i); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// begin begins reading until the test ends.
func begin(t *testing.T, r *Reader, ranging bool) {
	t.Helper()
	if err := r.Begin(ranging); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.End)
}

// short reads the next record by the short way, that of a range, and returns nil when it is not
// for the record.
func short(r *Reader) (record unsafe.Pointer, length uint32) {
	span, _ := r.Span()
	record, length, next := span.Record()
	if record == nil || !r.Lend(next) {
		return nil, 0
	}
	return record, length
}

// next returns the next record's bytes, nil when there is none, and releases it. It reads by
// the short way if that gives the record.
func next(t *testing.T, r *Reader) []byte {
	t.Helper()
	p, n := short(r)
	if p == nil {
		p, n = r.Next()
	}
	if p == nil {
		return nil
	}
	if record, length := r.Record(); record != p || length != n {
		t.Errorf("record is %v of %d bytes, want %v of %d", record, length, p, n)
	}
	record := append([]byte{}, unsafe.Slice((*byte)(p), n)...)
	r.Release()
	return record
}

// A busy record stops the reader, also before those behind it that are committed; one that was
// discarded is not there.
func TestBusyAndDiscarded(t *testing.T) {
	ring := newRing(t)
	r := newTestReader(t, ring)
	begin(t, r, false)
	first, second, third, fourth := ring.reserve(4, 1), ring.reserve(0, 2), ring.reserve(9, 3), ring.reserve(1, 4)
	submit(second)
	submit(fourth)
	if got := next(t, r); got != nil {
		t.Fatalf("before the first is committed: %v", got)
	}
	if pending, busy := r.pending(r.cur); pending || !busy {
		t.Errorf("a busy record: pending %t, busy %t", pending, busy)
	}
	submit(first)
	if got := next(t, r); !slices.Equal(got, []byte{1, 1, 1, 1}) {
		t.Errorf("first record is %v", got)
	}
	// Which was there when the reader looked: the short way has it.
	if p, n := short(r); p == nil || n != 0 {
		t.Errorf("the empty record is %v of %d bytes", p, n)
	}
	r.Release()
	if p, _ := short(r); p != nil {
		t.Error("the short way takes a busy record")
	}
	discard(third)
	if p, _ := short(r); p != nil {
		t.Error("the short way takes a record that was discarded")
	}
	if got := next(t, r); !slices.Equal(got, []byte{4}) {
		t.Errorf("after the one that was discarded: %v", got)
	}
	if got := next(t, r); got != nil {
		t.Errorf("after all: %v", got)
	}
	if want := footprint(4) + footprint(0) + footprint(9) + footprint(1); r.cur.consumer.first() != want {
		t.Errorf("consumer's position is %d, want %d", r.cur.consumer.first(), want)
	}
}

// Records of all sizes, many times around: none is put together, and the short way and the
// other one give the same.
func TestWrapAround(t *testing.T) {
	ring := newRing(t)
	r := newTestReader(t, ring)
	begin(t, r, false)
	rnd := rand.New(rand.NewPCG(1, 2))
	var want [][]byte
	over, bytes := 0, 0
	for bytes < 50*ring.size {
		for {
			record := make([]byte, rnd.IntN(300))
			for i := range record {
				record[i] = byte(rnd.Uint32())
			}
			start := ring.b.next & ring.b.mask
			err := ring.Output(record)
			if err == syscall.EAGAIN {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if start+footprint(uint64(len(record))) > ring.b.mask+1 {
				over++
			}
			want = append(want, record)
			bytes += len(record)
		}
		for n := 1 + rnd.IntN(len(want)); n > 0; n-- {
			if got := next(t, r); got == nil || !slices.Equal(got, want[0]) {
				t.Fatalf("record is %v, want %v", got, want[0])
			}
			want = want[1:]
		}
	}
	if over < 10 {
		t.Errorf("%d records went over the end", over)
	}
}

// A record with a length that goes behind what is written is no record.
func TestDamagedRecord(t *testing.T) {
	ring := newRing(t)
	r := newTestReader(t, ring)
	begin(t, r, false)
	header := ring.reserve(8, 1)
	atomic.StoreUint32(header, 100)
	for range 2 {
		if got := next(t, r); got != nil {
			t.Fatalf("record is %v", got)
		}
		if err := r.Wait(); err == nil || !strings.Contains(err.Error(), "damaged ring buffer: a record of 112 bytes, and 16 are written") {
			t.Errorf("%v", err)
		}
	}
}

// A second reader continues where the first one stopped.
func TestReaderAfterAnother(t *testing.T) {
	ring := newRing(t)
	first, second := newTestReader(t, ring), newTestReader(t, ring)
	for i := range byte(3) {
		if err := ring.Output([]byte{i}); err != nil {
			t.Fatal(err)
		}
	}
	for want, r := range []*Reader{first, second, first} {
		if err := r.Begin(false); err != nil {
			t.Fatal(err)
		}
		if got := next(t, r); !slices.Equal(got, []byte{byte(want)}) {
			t.Errorf("record is %v, want %d", got, want)
		}
		r.End()
	}
}

// A record that is not released is when reading ends.
func TestEndReleases(t *testing.T) {
	ring := newRing(t)
	r := newTestReader(t, ring)
	if err := ring.Output([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := r.Begin(true); err != nil {
		t.Fatal(err)
	}
	if p, _ := r.Next(); p == nil {
		t.Fatal("no record")
	}
	if at := r.cur.consumer.first(); at != 0 {
		t.Errorf("the position is %d while the record is in use", at)
	}
	r.End()
	if at := r.cur.consumer.first(); at != footprint(1) {
		t.Errorf("the position is %d after reading", at)
	}
}

// One reader of several rings is woken by each, and tells which it has read.
func TestSeveralRings(t *testing.T) {
	rings := []producer{newRing(t), newRing(t), newRing(t)}
	r := newTestReader(t, rings...)
	begin(t, r, false)
	for i, ring := range rings {
		go func() {
			time.Sleep(time.Millisecond)
			_ = ring.Output([]byte{byte(i)})
		}()
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		if got := next(t, r); !slices.Equal(got, []byte{byte(i)}) || r.ID() != i {
			t.Errorf("record %v of ring %d, want %d", got, r.ID(), i)
		}
	}
}

// Waiting ends by a record, by a deadline, and by Close. A busy record is waited for without
// being woken.
func TestWait(t *testing.T) {
	t.Run("deadline", func(t *testing.T) {
		ring := newRing(t)
		r := newTestReader(t, ring)
		begin(t, r, false)
		r.SetDeadline(time.Now().Add(-time.Second))
		if err := r.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
		// A record that is there comes before it.
		if err := ring.Output(nil); err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(); err != nil {
			t.Errorf("with a record: %v", err)
		}
		next(t, r)
		r.SetDeadline(time.Time{})
		go func() {
			time.Sleep(time.Millisecond)
			_ = ring.Output(nil)
		}()
		if err := r.Wait(); err != nil {
			t.Errorf("without a deadline: %v", err)
		}
	})
	t.Run("busy", func(t *testing.T) {
		ring := newRing(t)
		r := newTestReader(t, ring)
		begin(t, r, false)
		header := ring.reserve(1, 7)
		go func() {
			time.Sleep(5 * time.Millisecond)
			submit(header) // and nobody is woken
		}()
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		if got := next(t, r); !slices.Equal(got, []byte{7}) {
			t.Errorf("record is %v", got)
		}
		// One that stays busy does not outlast a deadline.
		ring.reserve(1, 8)
		r.SetDeadline(time.Now().Add(5 * time.Millisecond))
		if err := r.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
	t.Run("close", func(t *testing.T) {
		for _, ranging := range []bool{false, true} {
			r := newTestReader(t, newRing(t))
			if err := r.Begin(ranging); err != nil {
				t.Fatal(err)
			}
			closed := make(chan error)
			go func() {
				time.Sleep(time.Millisecond)
				closed <- r.Close()
			}()
			if err := r.Wait(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("ranging %t: %v", ranging, err)
			}
			if p, _ := r.Next(); p != nil {
				t.Error("a record after Close")
			}
			r.End()
			if err := <-closed; err != nil {
				t.Error(err)
			}
			if err := r.Begin(ranging); !errors.Is(err, os.ErrClosed) {
				t.Errorf("Begin after Close: %v", err)
			}
		}
	})
}

// One goroutine reads: another, or the body of a range, is refused.
func TestInUse(t *testing.T) {
	r := newTestReader(t, newRing(t))
	begin(t, r, true)
	for _, ranging := range []bool{false, true} {
		if err := r.Begin(ranging); !errors.Is(err, ErrInUse) {
			t.Errorf("%v", err)
		}
	}
	if err := r.SetDebug(true); !errors.Is(err, ErrInUse) {
		t.Errorf("SetDebug: %v", err)
	}
	if err := r.AddMemory(newRing(t).Memory, 1); !errors.Is(err, ErrInUse) {
		t.Errorf("AddMemory: %v", err)
	}
}

// Close waits for a call, in which nothing of the caller's runs, and not for a range, which
// frees the memory when it ends.
func TestCloseWhileReading(t *testing.T) {
	for _, ranging := range []bool{false, true} {
		ring := newRing(t)
		r, err := NewReader()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.AddMemory(ring.Memory, 0); err != nil {
			t.Fatal(err)
		}
		var freed atomic.Int32
		free := r.waiter.free
		r.waiter.free = func() error { freed.Add(1); return free() }
		if err := ring.Output([]byte{5}); err != nil {
			t.Fatal(err)
		}
		if err := r.Begin(ranging); err != nil {
			t.Fatal(err)
		}
		record, _ := r.Next()
		closed := make(chan error, 1)
		go func() { closed <- r.Close() }()
		if ranging {
			if err := <-closed; err != nil {
				t.Error(err)
			}
		} else {
			for !r.isClosed() {
				runtime.Gosched()
			}
			select {
			case <-closed:
				t.Error("Close has not waited for the call")
			case <-time.After(5 * time.Millisecond):
			}
		}
		if n := freed.Load(); n != 0 || *(*byte)(record) != 5 {
			t.Errorf("ranging %t: freed %d times while the record is in use", ranging, n)
		}
		r.End()
		if !ranging {
			if err := <-closed; err != nil {
				t.Error(err)
			}
		}
		if err := r.Close(); err != nil || freed.Load() != 1 {
			t.Errorf("ranging %t: Close again: %v, freed %d times", ranging, err, freed.Load())
		}
	}
}

// Readers, a producer and Close at once, for the race detector.
func TestConcurrently(t *testing.T) {
	for range 20 {
		ring := newRing(t)
		r := newTestReader(t, ring)
		stop := make(chan struct{})
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for i := byte(0); ; {
				select {
				case <-stop:
					return
				default:
				}
				if ring.Output([]byte{i, i, i}) == nil {
					i++
				}
			}
		}()
		if err := r.Begin(true); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(2*time.Millisecond, func() {
			r.SetDeadline(time.Time{})
			_ = r.Close()
		})
		want := byte(0)
		err := each(r, func(_ int, got []byte) bool {
			if !slices.Equal(got, []byte{want, want, want}) {
				t.Fatalf("record is %v, want %d", got, want)
			}
			want++
			return true
		})
		if !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		r.End()
		close(stop)
		<-stopped
	}
}

func TestMemoryRefuses(t *testing.T) {
	for _, size := range []uint32{0, 1, uint32(os.Getpagesize()) * 3, uint32(os.Getpagesize()) / 2} {
		if _, err := NewMemory(size); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	ring := newRing(t)
	// As the kernel, it has room for less than its size.
	if err := ring.Output(make([]byte, ring.size-headerSize)); err != syscall.EAGAIN {
		t.Errorf("a record of all: %v", err)
	}
	if err := ring.Output(make([]byte, ring.size-2*headerSize)); err != nil {
		t.Errorf("a record of all but one: %v", err)
	}
}

// A guard lends copies on pages of their own, in turn, and takes room for records that are
// larger than all of it.
func TestGuard(t *testing.T) {
	g, err := newGuard()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.free(); err != nil {
			t.Error(err)
		}
	}()
	page := os.Getpagesize()
	lend := func(record []byte) uintptr {
		t.Helper()
		p, err := g.lend(unsafe.Pointer(unsafe.SliceData(record)), uint32(len(record)))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(unsafe.Slice((*byte)(p), len(record)), record) {
			t.Error("the copy is another")
		}
		g.takeBack()
		g.takeBack()
		return uintptr(p)
	}
	first, second := lend([]byte{1, 2, 3}), lend(make([]byte, page+1))
	if second != first+uintptr(page) || lend(nil) != second+2*uintptr(page) {
		t.Errorf("records are at %#x and %#x", first, second)
	}
	g.at = arenaSize
	if again := lend([]byte{4}); again != first {
		t.Errorf("after the last page comes %#x, want %#x", again, first)
	}
	lend(make([]byte, arenaSize+1))
	if len(g.arena) < arenaSize+1 {
		t.Errorf("arena has %d bytes", len(g.arena))
	}
}

// Debug mode turns the short way off and on, and its copies are the records.
func TestDebug(t *testing.T) {
	ring := newRing(t)
	r := newTestReader(t, ring)
	for _, on := range []bool{true, true, false, false} {
		if err := r.SetDebug(on); err != nil {
			t.Fatal(err)
		}
		if r.direct.Load() == on {
			t.Errorf("debug %t: direct is %t", on, on)
		}
		if err := ring.Output([]byte{9}); err != nil {
			t.Fatal(err)
		}
		if err := r.Begin(false); err != nil {
			t.Fatal(err)
		}
		if got := next(t, r); !slices.Equal(got, []byte{9}) {
			t.Errorf("debug %t: %v", on, got)
		}
		r.End()
	}
}

// newTestWriter returns a writer to the memory of a ring, and what a program does that reads.
func newTestWriter(t *testing.T) (*Writer, func() []byte) {
	t.Helper()
	ring := newRing(t)
	b, err := mapMemory(ring.fd, ring.size)
	if err != nil {
		t.Fatal(err)
	}
	w := &Writer{b: b}
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	if err := w.watch(ring.eventFD, true); err != nil {
		t.Fatal(err)
	}
	// The programs' view.
	view := ring.b
	read := func() []byte {
		view.look()
		for view.pos != view.end {
			p := view.header()
			word := atomic.LoadUint32((*uint32)(p))
			if word&busyBit != 0 {
				return nil
			}
			record := append([]byte{}, unsafe.Slice((*byte)(unsafe.Add(p, headerSize)), word&lengthMask)...)
			view.skip(view.pos + footprint(uint64(word&lengthMask)))
			// Wakes who waits for room, as the kernel does.
			one := [8]byte{1}
			_, _ = unix.Write(ring.eventFD, one[:])
			_, _ = unix.Read(ring.eventFD, one[:])
			if word&discardBit == 0 {
				return record
			}
		}
		return nil
	}
	return w, read
}

// write reserves and commits a record of one byte.
func write(t *testing.T, w *Writer, size int, fill byte) {
	t.Helper()
	p, err := w.Reserve(size)
	if err != nil {
		t.Fatal(err)
	}
	for i := range size {
		*(*byte)(unsafe.Add(p, i)) = fill
	}
	if err := w.Commit(p, false); err != nil {
		t.Fatal(err)
	}
}

// A program sees the records in the order of Reserve, none before it is committed.
func TestWriter(t *testing.T) {
	w, read := newTestWriter(t)
	defer w.Close()
	first, err := w.Reserve(2)
	if err != nil {
		t.Fatal(err)
	}
	*(*[2]byte)(first) = [2]byte{1, 2}
	write(t, w, 3, 7)
	if got := read(); got != nil {
		t.Errorf("before the first is committed: %v", got)
	}
	if err := w.Commit(first, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]byte{{1, 2}, {7, 7, 7}, nil} {
		if got := read(); !slices.Equal(got, want) {
			t.Errorf("record is %v, want %v", got, want)
		}
	}
	p, err := w.Reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(p, true); err != nil {
		t.Fatal(err)
	}
	write(t, w, 1, 9)
	if got := read(); !slices.Equal(got, []byte{9}) {
		t.Errorf("after one that was discarded: %v", got)
	}
	for size, want := range map[int]string{
		-1:                     "a record of -1 bytes",
		maxUserRecord + 1:      "programs read 16777215 at most",
		int(w.b.mask) + 1:      "raise max_entries",
		int(w.b.mask) + 1 - 7:  "raise max_entries",
		int(w.b.mask) + 1 - 8:  "",
		int(w.b.mask) + 1 - 16: "",
	} {
		if err := w.Fits(size); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v, want %q", size, err, want)
		}
		if _, err := w.Reserve(size); want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Reserve of %d bytes: %v, want %q", size, err, want)
		}
	}
}

// A writer that waits for room gets it when a program has read, and gives up at the deadline and at Close.
func TestWriterWaits(t *testing.T) {
	w, read := newTestWriter(t)
	half := int(w.b.mask+1)/2 - headerSize
	write(t, w, half, 1)
	write(t, w, half, 2)
	if _, err := w.Reserve(half); !errors.Is(err, ErrFull) {
		t.Fatalf("%v", err)
	}
	w.SetDeadline(time.Now().Add(time.Millisecond))
	if _, err := w.ReserveBlocking(half); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	w.SetDeadline(time.Time{})
	go func() {
		time.Sleep(time.Millisecond)
		read()
	}()
	p, err := w.ReserveBlocking(half)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(p, true); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(time.Millisecond, func() { _ = w.Close() })
	if _, err := w.ReserveBlocking(half); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := w.Reserve(1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// The memory of a closed writer stays while records are reserved.
func TestWriterClosesLast(t *testing.T) {
	w, _ := newTestWriter(t)
	p, err := w.Reserve(4)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	*(*[4]byte)(p) = [4]byte{1, 2, 3, 4}
	if err := w.Commit(p, false); err != nil {
		t.Fatal(err)
	}
	if err := unmap(w.b.maps); err == nil {
		t.Error("the memory is still mapped")
	}
}

// each is the loop of a range, which keeps a span, and ends it when f reports false.
func each(r *Reader, f func(id int, record []byte) bool) error {
	for span, _ := r.Span(); ; {
		p, n, next := span.Record()
		if p == nil || !r.Lend(next) {
			var err error
			if span, p, n, next, err = r.More(); err != nil {
				return err
			}
		}
		if !f(r.ID(), unsafe.Slice((*byte)(p), n)) {
			return nil
		}
		r.ReleaseTo(next)
		span = span.After(next)
	}
}

// A record is committed while the reader waits, having looked at another ring last.
func TestSpanOfAnotherRing(t *testing.T) {
	first, second := newRing(t), newRing(t)
	r := newTestReader(t, first, second)
	submit(first.reserve(1, 1))
	busy := first.reserve(2, 2)
	if err := r.Begin(true); err != nil {
		t.Fatal(err)
	}
	defer r.End()
	time.AfterFunc(5*time.Millisecond, func() { submit(busy) })
	var got []string
	err := each(r, func(id int, record []byte) bool {
		got = append(got, fmt.Sprint(id, record))
		if len(got) == 2 {
			r.SetDeadline(time.Unix(1, 0))
		}
		return len(got) < 5
	})
	if want := []string{"0 [1]", "0 [2 2]"}; !slices.Equal(got, want) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("records %q, %v, want %q", got, err, want)
	}
}

// The last record that was known is discarded, and where it lay another one is written before the
// reader looks again.
func TestSpanAfterDiscard(t *testing.T) {
	ring := newRing(t)
	r := newTestReader(t, ring)
	submit(ring.reserve(1, 1))
	busy := ring.reserve(1, 2)
	if err := r.Begin(true); err != nil {
		t.Fatal(err)
	}
	defer r.End()
	time.AfterFunc(5*time.Millisecond, func() {
		discard(busy)
		// What fills the ring comes when the reader has released all.
		for n := byte(3); n < 3+byte(2*os.Getpagesize()/16%256); {
			if ring.Output([]byte{n, n, n, n, n, n, n, n, n}) == nil {
				n++
			}
		}
		submit(ring.reserve(1, 255))
	})
	last := byte(0)
	err := each(r, func(_ int, record []byte) bool {
		if want := max(last+1, 1); record[0] != 255 && record[0] != want && !(last == 1 && record[0] == 3) {
			t.Errorf("record %v after %d", record, last)
			return false
		}
		last = record[0]
		return last != 255
	})
	if err != nil || last != 255 {
		t.Errorf("last record is %d, %v", last, err)
	}
}

// Close in the body leaves what is behind the record to the next reader.
func TestCloseLosesNothing(t *testing.T) {
	ring := newRing(t)
	for i := byte(1); i <= 3; i++ {
		submit(ring.reserve(1, i))
	}
	for want := byte(1); want <= 3; want++ {
		r := newTestReader(t, ring)
		if err := r.Begin(true); err != nil {
			t.Fatal(err)
		}
		var got []byte
		err := each(r, func(_ int, record []byte) bool {
			got = append(got, record[0])
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			return true
		})
		r.End()
		if !slices.Equal(got, []byte{want}) || !errors.Is(err, os.ErrClosed) {
			t.Errorf("records %v, %v, want %d alone", got, err, want)
		}
	}
}

// samplesInPlace hands out the samples that are there, as a range over them does, until f says no.
func samplesInPlace(r *Reader, f func(p unsafe.Pointer, n uint32) bool) error {
	if err := r.Begin(true); err != nil {
		return err
	}
	defer r.End()
	for span := r.Samples(); ; {
		p, n, next := span.Sample()
		if p == nil || !r.LendSample(span) {
			var err error
			if span, p, n, next, err = r.MoreSamples(span); err != nil {
				return err
			}
		}
		if !f(p, n) {
			return nil
		}
		span = span.After(next)
		r.Pass(span)
	}
}

// A span of samples is read without the reader, which knows the record of the body all the same.
// The memory of those that are done with is given back in parts of the buffer, and all of it at
// the end: after a break, with the record that the body had.
func TestSamplesInPlace(t *testing.T) {
	const size = 1024
	past := time.Unix(1, 0)
	for _, broken := range []bool{false, true} {
		r, err := NewReader()
		if err != nil {
			t.Fatal(err)
		}
		b, records, _, producer := testBuffer(size)
		ring := &perfRing{records, producer}
		r.perf = true
		r.add(b)
		r.SetDeadline(past)
		seen := uint32(0)
		for lap := range uint32(100) {
			const inLap = 30 // of 24 bytes each
			for i := range uint32(inLap) {
				ring.sample(lap*inLap+i, 7, 8)
			}
			for done := false; !done; {
				bodies := 0
				err := samplesInPlace(r, func(p unsafe.Pointer, n uint32) bool {
					if got := wordsOf(p, n); !slices.Equal(got, []uint32{seen, 7, 8}) {
						t.Fatalf("sample %d is %v", seen, got)
					}
					if again, m := r.Record(); again != p || m != n {
						t.Fatalf("sample %d: the record is %v of %d bytes, want %v of %d", seen, again, m, p, n)
					}
					if start := uint64(seen) * 24; b.consumer.first() > start || start-b.consumer.first() > size/passedParts+24 {
						t.Fatalf("sample %d begins at %d, and memory is given back up to %d", seen, start, b.consumer.first())
					}
					seen++
					bodies++
					return !broken || bodies < 5
				})
				if done = err != nil; done && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				if want := uint64(seen) * 24; b.consumer.first() != want {
					t.Fatalf("after %d samples, memory is given back up to %d, want %d", seen, b.consumer.first(), want)
				}
				if p, _ := r.Record(); p != nil {
					t.Fatal("a record after the end of the range")
				}
			}
			if seen != (lap+1)*inLap {
				t.Fatalf("read %d samples of %d", seen, (lap+1)*inLap)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
