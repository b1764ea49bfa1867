package skeleton

import (
	"sync/atomic"

	"github.com/cilium/ebpf"
)

// MapDesc ties a map of the object to the field of the skeleton that holds its
// handle.
type MapDesc struct {
	// Name is the map's name in the object; for a data section, the section's.
	Name string
	// Map is where the handle goes.
	Map **UntypedMap
}

// UntypedMap is a handle on a map of the object.
type UntypedMap struct {
	name   string
	spec   *ebpf.MapSpec
	loaded atomic.Pointer[ebpf.Map]
}

// Name returns the map's name in the object.
func (m *UntypedMap) Name() string { return m.name }

// Spec returns the definition from which Load creates the map. Change it before
// Load, for example to resize or to pin the map; later changes do nothing. The
// Contents of a data section's map are replaced by Load with those of the
// section's struct.
func (m *UntypedMap) Spec() *ebpf.MapSpec { return m.spec }

// Map returns the map in the kernel, nil before Load. It belongs to the
// skeleton: Close closes it. Clone it to keep it longer.
func (m *UntypedMap) Map() *ebpf.Map { return m.loaded.Load() }
