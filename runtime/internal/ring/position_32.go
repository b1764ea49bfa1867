//go:build 386 || arm || mips || mipsle

package ring

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// position is one in the shared memory: an unsigned long of the kernel, which may be one of 64
// bits below a process of 32, or a __u64 in perf buffers. Its low word is read alone, as there
// may be something else behind it. There is nothing behind one that user space writes.
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

// first returns the position when nothing is known of it. It must be one that user space
// writes.
func (p position) first() uint64 {
	if littleEndian {
		return atomic.LoadUint64((*uint64)(p.p))
	}
	return uint64(atomic.LoadUint32((*uint32)(p.p)))
}

// load returns the position, which is near another one.
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

// release sets it after all that was read and written before.
func (p position) release(v uint64) { p.store(v) }
