//go:build 386 || arm || mips || mipsle

package ring

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// position is a position in the shared memory: an unsigned long of the kernel, which has 64
// bits if the kernel has, or a __u64 in perf buffers. Only its low word is read, as a shorter
// one may have something else behind it. There is nothing behind one that user space writes.
type position struct{ p unsafe.Pointer }

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// positionAt returns the position at an address.
func positionAt(p unsafe.Pointer) position { return position{p} }

// perfPositionAt returns the position of a perf buffer at an address.
func perfPositionAt(p unsafe.Pointer) position {
	if littleEndian {
		return position{p}
	}
	return position{unsafe.Add(p, 4)}
}

// first returns the position when no earlier value of it is known. It must be one that user
// space writes.
func (p position) first() uint64 {
	if littleEndian {
		return atomic.LoadUint64((*uint64)(p.p))
	}
	return uint64(atomic.LoadUint32((*uint32)(p.p)))
}

// load returns the position, whose high word is taken from near, a position not far away.
func (p position) load(near uint64) uint64 {
	return near + uint64(int64(int32(atomic.LoadUint32((*uint32)(p.p))-uint32(near))))
}

// store sets it, with a full barrier.
func (p position) store(v uint64) {
	if littleEndian {
		atomic.StoreUint64((*uint64)(p.p), v)
		return
	}
	atomic.StoreUint32((*uint32)(p.p), uint32(v))
}

// release sets the position after all that was read and written before.
func (p position) release(v uint64) { p.store(v) }
