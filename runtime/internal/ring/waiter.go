package ring

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// The states of a waiter: who uses the memory. closed is added to them.
const (
	idle int32 = iota
	// inside is a call in which nothing of the caller's runs.
	inside
	// lent is a range, whose body may have a record.
	lent
	closed = 1 << 8
)

// waiter waits for descriptors and knows who uses the memory that goes with them.
type waiter struct {
	state atomic.Int32
	// file is the epoll instance, and raw gives access to its descriptor.
	file *os.File
	raw  syscall.RawConn
	// done is closed by the call for which Close waits.
	done chan struct{}
	// free frees all but the file, once.
	free func() error
}

// begin begins a call or a range, for which own is the state.
func (w *waiter) begin(own int32) error {
	if w.state.CompareAndSwap(idle, own) {
		return nil
	}
	if w.isClosed() {
		return os.ErrClosed
	}
	return ErrInUse
}

// end ends what begin has begun, and frees the memory when Close was called meanwhile.
func (w *waiter) end(own int32) {
	if w.state.CompareAndSwap(own, idle) {
		return
	}
	// Close has returned already, so there is no one to take the error.
	_ = w.free()
	close(w.done)
}

// isClosed reports whether Close was called.
func (w *waiter) isClosed() bool { return w.state.Load()&closed != 0 }

// wait returns when ready reports true, and fails with [os.ErrClosed] or
// [os.ErrDeadlineExceeded]. ready is the same function for all calls, so that none is
// allocated.
func (w *waiter) wait(own int32, ready func(uintptr) bool) error {
	// Close does not wait for the body of a range, and must wait for this.
	if own == lent && !w.state.CompareAndSwap(lent, inside) {
		return os.ErrClosed
	}
	err := w.raw.Read(ready)
	if own == lent && !w.state.CompareAndSwap(inside, lent) {
		// Close is waiting for the range to end. Until then nothing of the caller's runs, as
		// all that the range asks for is closed.
		return os.ErrClosed
	}
	switch {
	case w.isClosed():
		return os.ErrClosed
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	}
	return err
}

// setDeadline makes wait fail from a time on.
func (w *waiter) setDeadline(t time.Time) {
	// It fails when the file is closed, and so does all else then.
	_ = w.file.SetDeadline(t)
}

// close ends all waiting and frees the memory, or leaves that to the last user of it.
func (w *waiter) close() error {
	before := w.state.Or(closed)
	if before&closed != 0 {
		return nil
	}
	err := w.file.Close()
	switch before {
	case idle:
		err = errors.Join(err, w.free())
	case inside:
		<-w.done
	}
	return err
}
