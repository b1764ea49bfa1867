package skeleton

import (
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
)

// calls counts the system calls in flight on a file descriptor, and lets Close wait for them:
// once a descriptor is closed, its number may become that of another file before a late call
// reaches the kernel.
type calls struct {
	// n is the number of calls, and negative once Close was called.
	n atomic.Int64
	// done is closed by the last call that Close waits for.
	done chan struct{}
}

// noMore is added to the number of calls to refuse further ones.
const noMore = math.MinInt64

// enter counts a call, and reports false after end.
func (c *calls) enter() bool {
	for {
		n := c.n.Load()
		if n < 0 {
			return false
		}
		if c.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave ends a call for which enter has reported true.
func (c *calls) leave() {
	if c.n.Add(-1) == noMore {
		close(c.done)
	}
}

// end refuses further calls, and returns when those in flight have ended. It is called once.
func (c *calls) end() {
	if c.n.CompareAndSwap(0, noMore) {
		return
	}
	c.done = make(chan struct{})
	if c.n.Add(noMore) != noMore {
		<-c.done
	}
}

// readers are the open readers and writers of an object's ring buffers. Close closes
// them, as nothing else wakes a reader that waits.
type readers struct {
	mu     sync.Mutex
	open   map[io.Closer]struct{}
	closed bool
}

// add adds a reader, or closes it after Close. r is nil for a map that is not of a skeleton,
// whose readers nothing but their own Close closes.
func (r *readers) add(reader io.Closer) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	closed := r.closed
	if !closed {
		if r.open == nil {
			r.open = make(map[io.Closer]struct{})
		}
		r.open[reader] = struct{}{}
	}
	r.mu.Unlock()
	if closed {
		// Not with the lock, as Close of some removes them.
		_ = reader.Close()
		return ErrClosed
	}
	return nil
}

// remove forgets a reader that is closed.
func (r *readers) remove(reader io.Closer) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, reader)
}

// close closes all readers, and those that are added from now on.
func (r *readers) close() []error {
	r.mu.Lock()
	open := r.open
	r.open, r.closed = nil, true
	r.mu.Unlock()
	var errs []error
	for reader := range open {
		errs = append(errs, reader.Close())
	}
	return errs
}

// explain adds to err, with which a closed reader fails, that it was the skeleton that
// closed it.
func (r *readers) explain(err error) error {
	if r == nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}
