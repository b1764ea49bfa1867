//go:build !linux

package ring

import (
	"unsafe"

	"github.com/cilium/ebpf"
)

// No other system has these.

func (w *waiter) open() error { return ebpf.ErrNotSupported }

func (w *waiter) watch(int, bool) error { return ebpf.ErrNotSupported }

func mapRing(_, _ int) (*buffer, error) { return nil, ebpf.ErrNotSupported }

func mapUserRing(_, _ int) (*buffer, error) { return nil, ebpf.ErrNotSupported }

func unmap([][]byte) error { return nil }

func closeAll([]int) error { return nil }

// NewPerfReader fails.
func NewPerfReader(_, _, _, _ int) (*Reader, error) { return nil, ebpf.ErrNotSupported }

type guard struct{}

func newGuard() (*guard, error) { return nil, ebpf.ErrNotSupported }

func (*guard) lend(unsafe.Pointer, uint32) (unsafe.Pointer, error) { return nil, ebpf.ErrNotSupported }

func (*guard) takeBack() {}

func (*guard) free() error { return nil }
