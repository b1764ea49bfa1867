package skeleton

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/internal/fakemap"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
)

// UntypedMap is a handle on a map of the object whose keys and values have no
// type in its BTF, and the part that the handles of typed maps share.
type UntypedMap struct {
	name string
	// owner is the object that the map is of, nil for a map that is not of a skeleton.
	owner *object
	// def is the definition that Load makes the map from, and decl that of the object, before
	// any setting. A struct_ops map has no decl.
	def  *loader.Map
	decl *image.Map
	// types are the Go types of its keys and values.
	types binding.MapTypes
	// declared is the map's type in C, which the methods of its handle are for, and 0 for a map
	// that has none there.
	declared ebpf.MapType
	// of is the skeleton's handle on the map, when this is a subskeleton's. It has
	// all that may change.
	of *UntypedMap
	// shared are the subskeletons' handles that were opened before Load.
	shared []*UntypedMap
	// pinningSet reports whether the user has set whether and where the map is pinned.
	pinningSet bool
	loaded     mapPointer
	// fake has the elements in place of the kernel: see fake.go.
	fake fakemap.Map
	// calls are those on loaded that are in flight.
	calls calls
	// keyErrors are those that calls have failed with.
	keyErrors keyErrors
	// readers are those of the object, nil for a map that is not of a skeleton.
	readers *readers
}

// origin returns the handle that has the map's state.
func (m *UntypedMap) origin() *UntypedMap {
	if m.of != nil {
		return m.of
	}
	return m
}

// init makes an empty handle that of a map.
func (m *UntypedMap) init(name string, types binding.MapTypes) { m.name, m.types = name, types }

// initInner makes an empty handle that of an inner map of m, a map of maps.
func (m *UntypedMap) initInner(h *UntypedMap, name string) {
	var types binding.MapTypes
	if m.types.Inner != nil {
		types = *m.types.Inner
	}
	h.init(name, types)
	if m = m.origin(); m.decl != nil && m.decl.Inner != image.NoIndex {
		h.declared = ebpf.MapType(m.owner.loader.Image.Maps[m.decl.Inner].Type)
	}
}

// Name returns the map's name in the object.
func (m *UntypedMap) Name() string { return m.name }

// Map returns the map in the kernel, nil before Load. It belongs to the
// skeleton: Close closes it, and does not wait for calls of its methods, as it does for
// those of the handle. Clone it to use it while another goroutine may call Close, or
// longer than that.
func (m *UntypedMap) Map() *ebpf.Map { return m.origin().loaded.Load() }

// begin returns the map in the kernel, for one system call: Close waits until end is
// called. Nothing of the user's may run between.
func (m *UntypedMap) begin() (*ebpf.Map, error) {
	m = m.origin()
	if !m.calls.enter() {
		return nil, ErrClosed
	}
	if loaded := m.loaded.Load(); loaded != nil {
		return loaded, nil
	}
	m.calls.leave()
	if m.isFake() {
		return nil, errFake
	}
	return nil, ErrNotLoaded
}

// beginElements is begin for a call on elements of the map, which reads and writes as much
// of Go's memory as the kernel's map says.
func (m *UntypedMap) beginElements() (*ebpf.Map, error) {
	km, err := m.begin()
	if err != nil || km.Type() == m.declared || m.declared == 0 {
		return km, err
	}
	if err := m.checkType(km.Type()); err != nil {
		m.end()
		return nil, err
	}
	return km, nil
}

// end ends what begin, without an error, has begun.
func (m *UntypedMap) end() { m.origin().calls.leave() }

// fail adds the map's name to an error, nil included.
func (m *UntypedMap) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s map %s: %w", op, m.name, err)
}

// checkType refuses a map whose type has elements of another size than the declared type, for
// which the methods of the handle are. Where there are Go types, checkSizes has compared the
// sizes, and only a value for each CPU makes a difference.
func (m *UntypedMap) checkType(made ebpf.MapType) error {
	if m.types.Key|m.types.Value != 0 && isPerCPU(made) == isPerCPU(m.declared) {
		return nil
	}
	for _, alike := range [][]ebpf.MapType{{ebpf.DevMap, ebpf.DevMapHash}, {ebpf.SockMap, ebpf.ReusePortSockArray}} {
		if slices.Contains(alike, made) && slices.Contains(alike, m.declared) {
			return nil
		}
	}
	return fmt.Errorf("it was made as a map of type %v, and the handle is for the declared type %v: use what Map returns", made, m.declared)
}

// isPerCPU reports whether maps of a type have a value for each possible CPU.
func isPerCPU(typ ebpf.MapType) bool {
	switch typ {
	case ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUCPUHash, ebpf.PerCPUCGroupStorage:
		return true
	}
	return false
}

// checkSizes compares the sizes of a typed handle with those of the map that it is for. They
// differ when the map is not what its declaration says.
func (m *UntypedMap) checkSizes(keySize, valueSize uint32) error {
	if m.types.Key|m.types.Value == 0 {
		return nil
	}
	if keySize != m.types.Key || valueSize != m.types.Value {
		return fmt.Errorf("map %s: keys of %d and values of %d bytes do not fit the Go types of %d and %d bytes: leave the sizes as they are", m.name, keySize, valueSize, m.types.Key, m.types.Value)
	}
	return nil
}
