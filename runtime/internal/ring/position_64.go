//go:build !386 && !arm && !mips && !mipsle

package ring

import (
	"sync/atomic"
	"unsafe"
)

// position is one in the shared memory: an unsigned long of the kernel, or a __u64 in perf
// buffers, which are the same.
type position struct{ p *uint64 }

// positionAt returns the position at an address.
func positionAt(p unsafe.Pointer) position { return position{(*uint64)(p)} }

// perfPositionAt returns the position of a perf buffer at an address.
func perfPositionAt(p unsafe.Pointer) position { return position{(*uint64)(p)} }

// first returns the position when nothing is known of it.
func (p position) first() uint64 { return atomic.LoadUint64(p.p) }

// load returns the position, which is near another one.
func (p position) load(uint64) uint64 { return atomic.LoadUint64(p.p) }

// store sets it, with a full barrier.
func (p position) store(v uint64) { atomic.StoreUint64(p.p, v) }

// release sets it after all that was read and written before.
func (p position) release(v uint64) { storeRelease(p.p, v) }
