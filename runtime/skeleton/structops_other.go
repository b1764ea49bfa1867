//go:build !linux

package skeleton

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// No other system has struct_ops maps.

func findOpsType(string, *btf.Cache) (*opsType, error) { return nil, ebpf.ErrNotSupported }

func createOpsMap(*opsType, string, bool) (*ebpf.Map, error) { return nil, ebpf.ErrNotSupported }

func unregisterOps(*ebpf.Map) error { return ebpf.ErrNotSupported }

func updateOpsLink(int, *ebpf.Map) error { return ebpf.ErrNotSupported }
