//go:build !linux

package skeleton

import "unsafe"

func mapArena(int, uintptr, int) (unsafe.Pointer, error) { return nil, errNotLinux }

// discard and release do nothing, because mapArena never succeeds.

func (a *arena) discard() error { return nil }

func (a *arena) release() error { return nil }
