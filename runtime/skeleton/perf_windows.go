package skeleton

import (
	"iter"
	"time"

	"github.com/cilium/ebpf"
)

// PerfReader cannot be made: package perf is not there on Windows.
type PerfReader[T any] struct{}

// NewPerfReader fails: package perf is not there on Windows.
func NewPerfReader[T any](m *PerfEventArray, perCPUBuffer int) (*PerfReader[T], error) {
	return nil, m.fail("read", ebpf.ErrNotSupported)
}

// Read fails.
func (r *PerfReader[T]) Read() (value T, err error) { return value, ebpf.ErrNotSupported }

// CPU returns -1.
func (r *PerfReader[T]) CPU() int { return -1 }

// Tail returns nothing.
func (r *PerfReader[T]) Tail() []byte { return nil }

// SetDeadline does nothing.
func (r *PerfReader[T]) SetDeadline(t time.Time) {}

// All ranges over nothing.
func (r *PerfReader[T]) All() iter.Seq2[T, error] { return func(func(T, error) bool) {} }

// Close does nothing.
func (r *PerfReader[T]) Close() error { return nil }
