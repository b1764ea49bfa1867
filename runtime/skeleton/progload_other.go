//go:build !linux

package skeleton

import "github.com/cilium/ebpf"

// No other system has these programs.

func (c *progCode) load(*ebpf.ProgramSpec, ebpf.ProgramOptions) (*ebpf.Program, error) {
	return nil, ebpf.ErrNotSupported
}

func kernelAddresses(map[string]uint64) error { return ebpf.ErrNotSupported }
