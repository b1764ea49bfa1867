//go:build !linux

package ring

import "github.com/cilium/ebpf"

// Memory is a ring buffer without a kernel's map, which only Linux has.
type Memory struct{}

// NewMemory fails.
func NewMemory(uint32) (*Memory, error) { return nil, ebpf.ErrNotSupported }

// Output fails.
func (*Memory) Output([]byte) error { return ebpf.ErrNotSupported }

// AddMemory fails.
func (*Reader) AddMemory(*Memory, int) error { return ebpf.ErrNotSupported }
