package skeleton

import (
	"errors"
	"fmt"
	"reflect"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/internal/fakemap"
	"github.com/rules-bpf/rules_bpf/runtime/internal/ring"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Fakes are maps in memory behind the handles, for tests without a kernel: package bpftest/fake
// makes them. They are looked for only where begin finds no map in the kernel, so that calls on
// maps in the kernel take no longer for them.

// errFake is returned for all that a fake cannot do.
var errFake = errors.New("a fake has nothing in the kernel: test this with package bpftest")

func init() {
	fakemap.Skeleton = fakemap.Hooks[UntypedMap, Any]{
		Handle: func(m *UntypedMap, name string, types binding.MapTypes, f fakemap.Map) {
			m.init(name, types)
			m.fake = f
		},
		Load:        loadFakes,
		Of:          func(m *UntypedMap) fakemap.Map { return m.origin().fake },
		HasPointers: hasPointers,
	}
}

// isFake reports whether the map is a fake, or of a skeleton whose maps are.
func (m *UntypedMap) isFake() bool { return m.fake != nil || m.owner != nil && m.owner.fake }

// loadFakes makes the maps of an open skeleton fakes. Sections stay what they are before Load,
// Go's memory, and maps of types that have no fakes fail in all calls.
func loadFakes(obj Any, newFake func(fakemap.Spec) (fakemap.Map, error)) error {
	o := obj.object()
	if !isOpen(o) {
		return ErrNotOpen
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.state {
	case prepared, loaded:
		return ErrLoaded
	case closed:
		return ErrClosed
	}
	if err := (*object)(o).refusals(); err != nil {
		return err
	}
	made := make([]fakemap.Map, len(o.maps))
	for i, m := range o.maps {
		if m.def.Kind != image.DeclaredMap || !m.def.Autocreate {
			continue
		}
		entries, err := m.def.Entries()
		if err != nil {
			return fmt.Errorf("map %s: %w", m.name, err)
		}
		f, err := newFake(fakemap.Spec{Type: m.def.Type, KeySize: m.def.KeySize, ValueSize: m.def.ValueSize, MaxEntries: entries})
		if err != nil && !errors.Is(err, ebpf.ErrNotSupported) {
			return fmt.Errorf("map %s: %w", m.name, err)
		}
		made[i] = f
	}
	for i, m := range o.maps {
		m.fake, m.shared = made[i], nil
	}
	o.fake, o.state = true, loaded
	return nil
}

// beginFake returns the fake for one call: Close waits until end is called.
func (m *UntypedMap) beginFake() (fakemap.Map, error) {
	f := m.origin().fake
	if f == nil {
		return nil, fmt.Errorf("maps of type %v have no fakes: test this with package bpftest", m.Type())
	}
	if made := f.Spec().Type; made != m.declared && m.declared != 0 {
		if err := m.checkType(made); err != nil {
			return nil, err
		}
	}
	if !m.origin().calls.enter() {
		return nil, ErrClosed
	}
	return f, nil
}

// callFake is call for a fake. The fake gets copies: if it got the caller's memory, the
// compiler would allocate that on the heap for calls on the kernel's maps too.
func (m *UntypedMap) callFake(cmd sys.Cmd, key, value unsafe.Pointer, flags uint64) error {
	f, err := m.beginFake()
	if err != nil {
		return err
	}
	defer m.end()
	spec := f.Spec()
	size := spec.ElementSize(f.CPUs())
	if cmd == sys.MapGetNextKeyCmd {
		size = int(spec.KeySize)
	}
	var keyBytes, valueBytes []byte
	if key != nil {
		keyBytes = append(keyBytes, unsafe.Slice((*byte)(key), spec.KeySize)...)
	}
	if value != nil {
		valueBytes = append(valueBytes, unsafe.Slice((*byte)(value), size)...)
	}
	if err := f.Elem(cmd, keyBytes, valueBytes, flags); err != nil {
		return err
	}
	if value != nil && cmd != sys.MapUpdateElemCmd {
		copy(unsafe.Slice((*byte)(value), size), valueBytes)
	}
	return nil
}

// fakeBatch is batch for a fake.
func (m *UntypedMap) fakeBatch(deleting bool, at *uint64, keys, values any) (int, error) {
	f, err := m.beginFake()
	if err != nil {
		return 0, err
	}
	defer m.end()
	n, err := f.LookupBatch(at, memoryOf(keys), memoryOf(values), deleting)
	return n, batchError(err)
}

// fakeChange is change for a fake.
func (m *UntypedMap) fakeChange(size int, keys, values any) (int, error) {
	f, err := m.beginFake()
	if err != nil {
		return 0, err
	}
	defer m.end()
	if size == 0 {
		return 0, nil
	}
	var memory []byte
	if values != nil {
		memory = memoryOf(values)
	}
	n, err := f.ChangeBatch(memoryOf(keys), memory)
	return n, batchError(err)
}

// memoryOf undoes rawElements.
func memoryOf(elements any) []byte {
	v := reflect.ValueOf(elements)
	return unsafe.Slice((*byte)(v.UnsafePointer()), v.Len()*int(v.Type().Elem().Size()))
}

// batchError turns an error of a fake into the one that ebpf.Map returns for batches of the
// kernel's maps.
func batchError(err error) error {
	switch err {
	case syscall.ENOENT:
		return fmt.Errorf("%w (%w)", ebpf.ErrKeyNotExist, err)
	case sys.ENOTSUPP:
		return fmt.Errorf("%w (%w)", ebpf.ErrNotSupported, err)
	}
	return err
}

// openFakeRing adds a fake to a reader.
func (m *RingBuffer) openFakeRing(reader *ring.Reader, id int) error {
	if f, ok := m.origin().fake.(fakemap.Readable); ok {
		return f.AddTo(reader, id)
	}
	return errFake
}
