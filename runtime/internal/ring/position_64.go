//go:build !386 && !arm && !mips && !mipsle

package ring

import (
	"sync/atomic"
	"unsafe"
)

// position is a position in the shared memory: an unsigned long of the kernel, or a __u64 in
// perf buffers, which are the same here.
type position struct{ p *uint64 }

// positionAt returns the position at an address.
func positionAt(p unsafe.Pointer) position { return position{(*uint64)(p)} }

// perfPositionAt returns the position of a perf buffer at an address.
func perfPositionAt(p unsafe.Pointer) position { return position{(*uint64)(p)} }

// first returns the position when no earlier value of it is known.
func (p position) first() uint64 { return atomic.LoadUint64(p.p) }

// load returns the position. A 32-bit process needs one not far away for it.
func (p position) load(uint64) uint64 { return atomic.LoadUint64(p.p) }

// store sets it, with a full barrier.
func (p position) store(v uint64) { atomic.StoreUint64(p.p, v) }

// release sets the position after all that was read and written before.
func (p position) release(v uint64) { storeRelease(p.p, v) }
