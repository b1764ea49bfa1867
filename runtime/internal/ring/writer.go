package ring

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Writer is the producer of a user ring buffer. Its methods may be called from several
// goroutines.
type Writer struct {
	waiter
	mu sync.Mutex
	b  *buffer
	// reserved is how many records are neither submitted nor discarded.
	reserved int
	shut     bool
}

// ErrFull is returned when there is no room until programs have read.
var ErrFull = errors.New("no room")

// maxUserRecord is the largest record that a program can read: the kernel's limit of a dynptr.
const maxUserRecord = 1<<24 - 1

// NewWriter returns a writer to a user ring buffer, by the map's descriptor and number of
// entries.
func NewWriter(fd int, size uint32) (*Writer, error) {
	w := new(Writer)
	b, err := mapUserRing(fd, int(size))
	if err != nil {
		return nil, err
	}
	w.b = b
	b.pos = b.producer.first()
	if err := w.open(); err != nil {
		return nil, errors.Join(err, unmap(b.maps))
	}
	if err := w.watch(fd, true); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Fits returns an error when a record of the size never fits.
func (w *Writer) Fits(size int) error {
	switch {
	case size < 0 || size > maxUserRecord:
		return fmt.Errorf("a record of %d bytes: programs read %d at most", size, maxUserRecord)
	case footprint(uint64(size)) > w.b.mask+1:
		return fmt.Errorf("a record of %d bytes takes %d, and the ring buffer has %d: raise max_entries", size, footprint(uint64(size)), w.b.mask+1)
	}
	return nil
}

// room reports whether a record fits now. The lock is held.
func (w *Writer) room(size int) bool {
	consumed := w.b.consumer.load(w.b.pos)
	return w.b.mask+1-(w.b.pos-consumed) >= footprint(uint64(size))
}

// Reserve makes room for a record. Programs read up to it until Commit. It fails with
// [ErrFull], [os.ErrClosed], and as Fits does.
func (w *Writer) Reserve(size int) (unsafe.Pointer, error) {
	if err := w.Fits(size); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.shut:
		return nil, os.ErrClosed
	case !w.room(size):
		return nil, ErrFull
	}
	p := w.b.header()
	*(*uint32)(unsafe.Add(p, 4)) = 0
	atomic.StoreUint32((*uint32)(p), uint32(size)|busyBit)
	w.b.pos += footprint(uint64(size))
	// After the header, which is written by now.
	w.b.producer.store(w.b.pos)
	w.reserved++
	return unsafe.Add(p, headerSize), nil
}

// ReserveBlocking is Reserve that waits for room, and fails with [os.ErrDeadlineExceeded] when
// there is none at the deadline.
func (w *Writer) ReserveBlocking(size int) (unsafe.Pointer, error) {
	for {
		p, err := w.Reserve(size)
		if !errors.Is(err, ErrFull) {
			return p, err
		}
		// One wake-up at a time: Read keeps out others who wait for less.
		woken := false
		waitErr := w.raw.Read(func(uintptr) bool {
			if woken {
				return true
			}
			woken = true
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.shut || w.room(size)
		})
		if waitErr == nil {
			continue
		}
		// There may be room without a wake-up, or the writer may be closed.
		if p, err = w.Reserve(size); errors.Is(err, ErrFull) {
			err = waitErr
		}
		return p, err
	}
}

// Commit submits or discards a reserved record, after all that was written to it.
func (w *Writer) Commit(record unsafe.Pointer, discard bool) error {
	header := (*uint32)(unsafe.Add(record, -headerSize))
	word := atomic.LoadUint32(header) &^ busyBit
	if discard {
		word |= discardBit
	}
	atomic.StoreUint32(header, word)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reserved--
	if w.shut && w.reserved == 0 {
		return unmap(w.b.maps)
	}
	return nil
}

// SetDeadline makes ReserveBlocking fail from a time on when there is no room.
func (w *Writer) SetDeadline(t time.Time) { w.setDeadline(t) }

// Close ends all waiting. The memory stays until every record that is reserved is submitted or
// discarded.
func (w *Writer) Close() error {
	w.mu.Lock()
	isFirst, isFree := !w.shut, w.reserved == 0
	w.shut = true
	w.mu.Unlock()
	if !isFirst {
		return nil
	}
	// Not under the lock: Close of the file waits for those who wait, and they take the lock.
	err := w.file.Close()
	if isFree {
		err = errors.Join(err, unmap(w.b.maps))
	}
	return err
}
