package fakemap

import (
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cilium/ebpf/ringbuf"
)

// recordHeader is what each record of a ring buffer begins with, in bytes.
const recordHeader = 8

// Ring is a ring buffer: what Output puts into it, a reader gets.
type Ring struct {
	base
	mu sync.Mutex
	// changed wakes readers that wait.
	changed sync.Cond
	records [][]byte
	// used is how much of the ring buffer's memory the records take.
	used int
}

func newRing(b base) *Ring {
	r := &Ring{base: b}
	r.changed.L = &r.mu
	return r
}

// recordSize returns how much memory a record of n bytes takes.
func recordSize(n int) int { return (n + recordHeader + 7) &^ 7 }

// Output does what bpf_ringbuf_output does: it fails with EAGAIN when there is no room.
func (r *Ring) Output(record []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used+recordSize(len(record)) > int(r.spec.MaxEntries) {
		return syscall.EAGAIN
	}
	r.used += recordSize(len(record))
	r.records = append(r.records, append([]byte(nil), record...))
	r.changed.Broadcast()
	return nil
}

// NewReader returns a reader of the ring buffer. As with the kernel's, several take records
// from each other.
func (r *Ring) NewReader() Reader { return &ringReader{ring: r} }

// ringReader has its fields under the ring's lock.
type ringReader struct {
	ring     *Ring
	closed   bool
	deadline time.Time
	timer    *time.Timer
}

// ReadInto waits for a record, as [ringbuf.Reader.ReadInto] does.
func (r *ringReader) ReadInto(to *ringbuf.Record) error {
	r.ring.mu.Lock()
	defer r.ring.mu.Unlock()
	for {
		switch records := r.ring.records; {
		case r.closed:
			return ringbuf.ErrClosed
		case len(records) > 0:
			to.RawSample = append(to.RawSample[:0], records[0]...)
			r.ring.records = records[1:]
			r.ring.used -= recordSize(len(records[0]))
			to.Remaining = r.ring.used
			return nil
		case !r.deadline.IsZero() && !time.Now().Before(r.deadline):
			return os.ErrDeadlineExceeded
		}
		r.ring.changed.Wait()
	}
}

func (r *ringReader) SetDeadline(t time.Time) {
	r.ring.mu.Lock()
	defer r.ring.mu.Unlock()
	r.deadline = t
	r.stopTimer()
	if !t.IsZero() {
		r.timer = time.AfterFunc(time.Until(t), r.wake)
	}
	r.ring.changed.Broadcast()
}

// wake makes readers look at the deadline. It takes the lock, so that none misses it between
// its look and its wait.
func (r *ringReader) wake() {
	r.ring.mu.Lock()
	defer r.ring.mu.Unlock()
	r.ring.changed.Broadcast()
}

func (r *ringReader) stopTimer() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

func (r *ringReader) Close() error {
	r.ring.mu.Lock()
	defer r.ring.mu.Unlock()
	r.closed = true
	r.stopTimer()
	r.ring.changed.Broadcast()
	return nil
}
