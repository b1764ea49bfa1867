//go:build !linux

package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
)

func mapArena(int, uintptr, int) (*Arena, error) {
	return nil, fmt.Errorf("arenas: %w", ebpf.ErrNotSupported)
}

// leftover is memory that an arena has left.
type leftover struct{}

// discard does nothing, because mapArena never succeeds.
func (a *Arena) discard() error { return nil }

// Release does nothing: there are no arenas.
func (a *Arena) Release() error { return nil }
