package skeleton

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/bpflib"
)

// MapDesc ties a map of the object to the field of the skeleton that holds its
// handle. Generated code makes it with [MapField].
type MapDesc struct {
	name string
	// open makes the handle, puts it into its field and returns both the handle
	// and the part of it that all have.
	open func() (handle any, base *UntypedMap)
}

// MapField describes the map called name, whose handle, of one of the map types
// of this package, belongs in *field. For a data section the name is the
// section's.
func MapField[M any, P interface {
	*M
	handle() *UntypedMap
}](name string, field **M) MapDesc {
	return MapDesc{name, func() (any, *UntypedMap) {
		m := P(new(M))
		*field = m
		return m, m.handle()
	}}
}

// UntypedMap is a handle on a map of the object whose keys and values have no
// type in its BTF, and the part that the handles of typed maps share.
type UntypedMap struct {
	name string
	spec *ebpf.MapSpec
	// decl is the definition in the object, whatever was made of spec.
	decl bpflib.MapDef
	// typed is the handle that this is a part of, if it has Go types.
	typed typedMap
	// keyGaps is where the padding of its keys is.
	keyGaps []span
	// of is the skeleton's handle on the map, when this is a subskeleton's. It has
	// all that may change.
	of *UntypedMap
	// shared are the subskeletons' handles that were opened before Load.
	shared []*UntypedMap
	reuse  *ebpf.Map
	loaded atomic.Pointer[ebpf.Map]
}

func (m *UntypedMap) handle() *UntypedMap { return m }

// origin returns the handle that has the map's state.
func (m *UntypedMap) origin() *UntypedMap {
	if m.of != nil {
		return m.of
	}
	return m
}

// init gives the handle, of which m is a part, its name.
func (m *UntypedMap) init(handle any, name string) {
	m.name = name
	m.typed, _ = handle.(typedMap)
	if m.typed != nil {
		m.keyGaps = gaps(nil, m.typed.keyType(), 0)
	}
}

// Name returns the map's name in the object.
func (m *UntypedMap) Name() string { return m.name }

// Spec returns the definition from which Load creates the map. Change it before
// Load, for example to resize or to pin the map; later changes do nothing. The
// Contents of a data section's map are replaced by Load with those of the
// section's struct. It is nil for a map that is not of a skeleton.
func (m *UntypedMap) Spec() *ebpf.MapSpec { return m.origin().spec }

// Map returns the map in the kernel, nil before Load. It belongs to the
// skeleton: Close closes it. Clone it to keep it longer.
func (m *UntypedMap) Map() *ebpf.Map { return m.origin().loaded.Load() }

// Reuse makes Load use other instead of creating a map. Its type, sizes, number
// of entries and flags must be those of Spec, or Load fails with
// [ebpf.ErrMapIncompatible]. The skeleton takes a reference of its own in Load;
// other must stay open until then. nil takes the call back.
func (m *UntypedMap) Reuse(other *ebpf.Map) { m.origin().reuse = other }

// get returns the map in the kernel, for operations on it.
func (m *UntypedMap) get() (*ebpf.Map, error) {
	if loaded := m.origin().loaded.Load(); loaded != nil {
		return loaded, nil
	}
	return nil, ErrNotLoaded
}

// fail adds the map's name to an error, nil included.
func (m *UntypedMap) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s map %s: %w", op, m.name, err)
}

// typedMap is implemented by handles whose key and value are Go types: the kernel
// writes as many bytes as the map's sizes say into values of these types.
type typedMap interface {
	// sizes returns the sizes in bytes, 0 for a map without keys.
	sizes() (key, value uintptr)
	// keyType returns the type of the keys; it has no bytes in a map without keys.
	keyType() reflect.Type
}

// span is the bytes from start up to end.
type span struct{ start, end uintptr }

// gaps appends where the blank fields of t are, which lies at offset. In the types
// of generated code these are all of the padding.
func gaps(spans []span, t reflect.Type, offset uintptr) []span {
	switch t.Kind() {
	case reflect.Array:
		if len(gaps(nil, t.Elem(), 0)) == 0 {
			return spans // mostly: text and the like, of any length
		}
		for i := range t.Len() {
			spans = gaps(spans, t.Elem(), offset+uintptr(i)*t.Elem().Size())
		}
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			switch start := offset + f.Offset; {
			case f.Name != "_":
				spans = gaps(spans, f.Type, start)
			case f.Type.Size() > 0:
				spans = append(spans, span{start, start + f.Type.Size()})
			}
		}
	}
	return spans
}

// setKey sets *dst, which the kernel reads, to key. Hashes compare all bytes of a
// key, and Go does not promise to copy those of blank fields: they become zero.
func setKey[K any](m *UntypedMap, dst *K, key K) {
	*dst = key
	for _, gap := range m.keyGaps {
		clear(bytesOf(dst)[gap.start:gap.end])
	}
}

// checkSizes compares the sizes of a typed handle with those of the map that it
// is for. They differ when Spec was changed, or when the map is not what its
// declaration says.
func (m *UntypedMap) checkSizes(keySize, valueSize uint32) error {
	if m.typed == nil {
		return nil
	}
	if key, value := m.typed.sizes(); uintptr(keySize) != key || uintptr(valueSize) != value {
		return fmt.Errorf("map %s: keys of %d and values of %d bytes do not fit the Go types of %d and %d bytes: leave KeySize and ValueSize as they are", m.name, keySize, valueSize, key, value)
	}
	return nil
}

func sizeOf[T any]() uintptr {
	var zero T
	return unsafe.Sizeof(zero)
}
