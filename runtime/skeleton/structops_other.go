//go:build !linux

package skeleton

import "github.com/cilium/ebpf"

// No other system has struct_ops maps.

func unregisterOps(*ebpf.Map) error { return ebpf.ErrNotSupported }

func updateOpsLink(int, *ebpf.Map) error { return ebpf.ErrNotSupported }
