//go:build !linux

package skeleton

import (
	"math"
	"unsafe"
)

// share does nothing: mapOver never replaces the pages.
func (m *memory) share(int, bool) bool { return false }

type aliasOf struct{}

func (m *memory) alias() aliasOf          { return aliasOf{} }
func (aliasOf) of(*region) unsafe.Pointer { return nil }
func (aliasOf) close()                    {}

// holds is true: nobody can tell.
func (r *region) holds(int) bool { return true }

// mapOver always fails: only Linux maps the memory of BPF maps.
func (r *region) mapOver(int, bool, *snapshot, unsafe.Pointer) error { return errNotMappable }

// release does nothing, because mapOver never succeeds.
func (r *region) release(int) error { return nil }

// machineMemory returns a number that is more than any machine has.
func machineMemory() uint64 { return math.MaxUint64 }
