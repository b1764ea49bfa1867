//go:build !linux

package skeleton

import "github.com/cilium/ebpf"

// No other system has user ring buffers.

func mapUserRing(_, _, _ int) (consumer, producer []byte, err error) {
	return nil, nil, ebpf.ErrNotSupported
}

func unmapUserRing(_, _ []byte) error { return nil }
