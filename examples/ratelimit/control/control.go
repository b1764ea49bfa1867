// Package control is the user-space side of the rate limiter. It knows nothing of
// the objects that the limiter is linked into.
package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/examples/ratelimit/limiter"
)

// maxPerSecond is a token per nanosecond, in which the limiter counts.
const maxPerSecond = 1_000_000_000

// Limiter controls the rate limiter of an object.
type Limiter struct {
	lib *limiter.Subskeleton
}

// New returns the control of a limiter, in an object that is open or loaded.
func New(lib *limiter.Subskeleton) Limiter {
	return Limiter{lib}
}

// SetRate sets how many tokens each address gets per second, and how many it can
// save. A rate of 0 is no limit. It has its effect at once.
func (l Limiter) SetRate(perSecond, burst uint64) error {
	if perSecond > maxPerSecond {
		return fmt.Errorf("rate of %d per second: more than %d", perSecond, maxPerSecond)
	}
	if perSecond > 0 && burst == 0 {
		return fmt.Errorf("rate of %d per second: without a burst of at least 1, nothing passes", perSecond)
	}
	rate := l.lib.Data.LimiterRate
	atomic.StoreUint64(&rate.Burst, burst)
	atomic.StoreUint64(&rate.PerSecond, perSecond)
	return nil
}

// Counts returns how many packets passed, and how many did not.
func (l Limiter) Counts() (allowed, denied uint64) {
	return atomic.LoadUint64(l.lib.Bss.LimiterAllowed), atomic.LoadUint64(l.lib.Bss.LimiterDenied)
}

// Forget gives an IPv4 address all of its tokens back.
func (l Limiter) Forget(addr netip.Addr) error {
	ip := addr.As4()
	// The key is the address as it is in a packet.
	err := l.lib.Maps.LimiterFull.Delete(binary.NativeEndian.Uint32(ip[:]))
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}
