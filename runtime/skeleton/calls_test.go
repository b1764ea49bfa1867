package skeleton

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCalls(t *testing.T) {
	var idle calls
	idle.end() // nothing to wait for
	if idle.enter() {
		t.Error("a call is let in after the end")
	}

	for range 200 {
		var c calls
		var inside, ended atomic.Int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				<-start
				for c.enter() {
					inside.Add(1)
					if ended.Load() != 0 {
						t.Error("a call is in flight after the end")
					}
					inside.Add(-1)
					c.leave()
				}
			})
		}
		close(start)
		time.Sleep(20 * time.Microsecond)
		c.end()
		ended.Store(1)
		if n := inside.Load(); n != 0 {
			t.Errorf("%d calls are in flight after the end", n)
		}
		wg.Wait()
	}

	var c calls
	for range 2 {
		if !c.enter() {
			t.Fatal("calls are not let in")
		}
	}
	done := make(chan struct{})
	go func() {
		c.end()
		close(done)
	}()
	for c.enter() {
		c.leave()
	}
	c.leave()
	select {
	case <-done:
		t.Error("the end did not wait for the second call")
	case <-time.After(5 * time.Millisecond):
	}
	c.leave()
	<-done
}

type closeCounter struct{ n int }

func (c *closeCounter) Close() error {
	c.n++
	return nil
}

// removing is removed by its Close.
type removing struct{ r *readers }

func (c *removing) Close() error {
	c.r.remove(c)
	return nil
}

func TestReaders(t *testing.T) {
	var r readers
	open, removed, late := new(closeCounter), new(closeCounter), new(closeCounter)
	for _, c := range []io.Closer{open, removed} {
		if err := r.add(c); err != nil {
			t.Error(err)
		}
	}
	r.remove(removed)
	if err := r.explain(io.EOF); err != io.EOF {
		t.Errorf("before Close: %v", err)
	}
	if err := errors.Join(r.close()...); err != nil {
		t.Error(err)
	}
	if err := r.add(late); !errors.Is(err, ErrClosed) {
		t.Errorf("a reader that comes after Close: %v", err)
	}
	if open.n != 1 || removed.n != 0 || late.n != 1 {
		t.Errorf("closed %d, %d and %d times", open.n, removed.n, late.n)
	}
	if err := r.explain(io.EOF); !errors.Is(err, ErrClosed) || !errors.Is(err, io.EOF) {
		t.Errorf("after Close: %v", err)
	}

	// One whose Close removes it.
	if err := r.add(&removing{&r}); !errors.Is(err, ErrClosed) {
		t.Errorf("one that removes itself comes after Close: %v", err)
	}

	// Those of a map that is not of a skeleton.
	var none *readers
	if err := none.add(open); err != nil || none.explain(io.EOF) != io.EOF {
		t.Error("a map that is not of a skeleton has no Close")
	}
	none.remove(open)
}
