//go:build !amd64 && !386 && !arm && !mips && !mipsle

package ring

import "sync/atomic"

// storeRelease stores after all that was read and written before.
func storeRelease(p *uint64, v uint64) { atomic.StoreUint64(p, v) }
