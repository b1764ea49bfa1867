//go:build !linux

package region

import "math"

// share does nothing: MapOver never replaces the pages.
func (m *Memory) share(int, bool) bool { return false }

// Alias is a second mapping of the shared pages of a memory, of which there are none.
type Alias struct{}

// Alias returns none.
func (m *Memory) Alias() Alias { return Alias{} }

// Close does nothing.
func (Alias) Close() {}

// holds is true, as this cannot be found out.
func (r *Region) holds(int) bool { return true }

// MapOver always fails with [ErrNotMappable]: only Linux maps the memory of BPF maps.
func (r *Region) MapOver(int, bool, *Snapshot, Alias) error { return ErrNotMappable }

// Release does nothing, because MapOver never succeeds.
func (r *Region) Release(int) error { return nil }

// machineMemory returns a number that is more than any machine has.
func machineMemory() uint64 { return math.MaxUint64 }
