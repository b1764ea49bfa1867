// Package fakemap has maps in memory that do what the kernel's do, for tests without a kernel.
//
// A fake stands where the system call does: it takes the commands of bpf(2) on the elements
// of a map, with keys and values as bytes in the form that the kernel has them, and fails
// with the kernel's errors. All that package skeleton makes of these calls is the same for
// both, so a handle on a fake differs from one on a map in what only a kernel has: programs,
// file descriptors, pins.
//
// Its types of maps are hashes, arrays, both with values for each CPU, hashes that drop the
// least recently used entry, queues, stacks, and ring buffers, which are a [Ring].
//
// Package skeleton knows the interfaces only, so that a program that has no fakes, which is
// any but a test, does not have their code either.
package fakemap

import (
	"errors"
	"fmt"
	"reflect"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/internal/ring"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Spec is what a map is made of.
type Spec struct {
	Type                           ebpf.MapType
	KeySize, ValueSize, MaxEntries uint32
}

// ElementSize returns how many bytes a value has in calls: those for all CPUs, each at a
// multiple of 8 bytes, where the map has one for each.
func (s Spec) ElementSize(cpus int) int {
	if s.isPerCPU() {
		return cpus * int((s.ValueSize+7)&^7)
	}
	return int(s.ValueSize)
}

func (s Spec) isPerCPU() bool {
	return s.Type == ebpf.PerCPUHash || s.Type == ebpf.LRUCPUHash || s.Type == ebpf.PerCPUArray
}

// Map is a fake. Its methods may be called by several goroutines.
type Map interface {
	// Spec returns what the map is made of.
	Spec() Spec
	// CPUs returns how many values there are in maps with one for each CPU.
	CPUs() int
	// Elem does what a command on an element does. The key is nil where the kernel takes
	// NULL. value has the size of an element, or of a key for the command that finds the next
	// one, and gets what was found. Errors are the kernel's numbers.
	Elem(cmd sys.Cmd, key, value []byte, flags uint64) error
	// LookupBatch copies the next entries to keys and values, as many as there is room for,
	// removes them where deleting says so, and returns how many came. It fails with ENOENT,
	// and the last entries or none, at the end. at is zero at the beginning.
	LookupBatch(at *uint64, keys, values []byte, deleting bool) (int, error)
	// ChangeBatch sets or, without values, deletes elements in order, and returns how many it
	// has changed.
	ChangeBatch(keys, values []byte) (int, error)
}

// Readable is a fake that can be read as a ring buffer.
type Readable interface {
	// AddTo adds it to a reader, which knows it by id.
	AddTo(r *ring.Reader, id int) error
}

// Hooks are the functions of package skeleton that put fakes in place of what is in the
// kernel. M and A are types of that package, which imports this one: UntypedMap and Any.
type Hooks[M, A any] struct {
	// Handle makes m, an empty handle, that of a fake.
	Handle func(m *M, name string, types binding.MapTypes, f Map)
	// Load makes the maps of an open skeleton fakes, those for which new fails with
	// [ebpf.ErrNotSupported] without elements.
	Load func(obj A, new func(Spec) (Map, error)) error
	// Of returns the fake behind a handle, nil for other handles.
	Of func(m *M) Map
	// HasPointers reports whether values of a type hold Go pointers.
	HasPointers func(reflect.Type) bool
}

// Skeleton is the Hooks of package skeleton, which sets it.
var Skeleton any

// New makes a fake for a machine with so many possible CPUs. It fails for what the kernel
// does not make either, and with [ebpf.ErrNotSupported] for types that have no fakes.
func New(spec Spec, cpus int) (Map, error) {
	b := base{spec: spec, cpus: cpus}
	if spec.MaxEntries == 0 && hasFakes(spec.Type) {
		return nil, errors.New("the map has room for no entries: say how many with max_entries")
	}
	switch spec.Type {
	case ebpf.Hash, ebpf.PerCPUHash, ebpf.LRUHash, ebpf.LRUCPUHash:
		if spec.KeySize == 0 || spec.ValueSize == 0 {
			return nil, fmt.Errorf("keys of %d and values of %d bytes: neither may be 0", spec.KeySize, spec.ValueSize)
		}
		return newHash(b), nil
	case ebpf.Array, ebpf.PerCPUArray:
		if spec.KeySize != 4 || spec.ValueSize == 0 {
			return nil, fmt.Errorf("keys of %d and values of %d bytes: an array has keys of 4 bytes, and its values may not be 0", spec.KeySize, spec.ValueSize)
		}
		return newArray(b), nil
	case ebpf.Queue, ebpf.Stack:
		if spec.KeySize != 0 || spec.ValueSize == 0 {
			return nil, fmt.Errorf("keys of %d and values of %d bytes: queues and stacks have no keys, and their values may not be 0", spec.KeySize, spec.ValueSize)
		}
		return &queue{base: b}, nil
	case ebpf.RingBuf:
		return newRing(b)
	}
	return nil, fmt.Errorf("maps of type %v have no fakes: %w", spec.Type, ebpf.ErrNotSupported)
}

func hasFakes(t ebpf.MapType) bool {
	switch t {
	case ebpf.Hash, ebpf.PerCPUHash, ebpf.LRUHash, ebpf.LRUCPUHash, ebpf.Array, ebpf.PerCPUArray, ebpf.Queue, ebpf.Stack, ebpf.RingBuf:
		return true
	}
	return false
}

// base is what fakes of all types have.
type base struct {
	spec Spec
	cpus int
}

func (b *base) Spec() Spec { return b.spec }
func (b *base) CPUs() int  { return b.cpus }

func (b *base) Elem(sys.Cmd, []byte, []byte, uint64) error { return sys.ENOTSUPP }

func (b *base) LookupBatch(*uint64, []byte, []byte, bool) (int, error) { return 0, sys.ENOTSUPP }

func (b *base) ChangeBatch([]byte, []byte) (int, error) { return 0, sys.ENOTSUPP }

// valueAt returns the value with an index in the values of a batch.
func (b *base) valueAt(values []byte, i int) []byte {
	size := b.spec.ElementSize(b.cpus)
	return values[i*size : (i+1)*size]
}

// keyAt returns the key with an index in those of a batch.
func (b *base) keyAt(keys []byte, i int) []byte {
	size := int(b.spec.KeySize)
	return keys[i*size : (i+1)*size]
}

// changeBatch is ChangeBatch by the calls for single elements.
func (b *base) changeBatch(m Map, keys, values []byte) (int, error) {
	n := len(keys) / int(b.spec.KeySize)
	for i := range n {
		var err error
		if values == nil {
			err = m.Elem(sys.MapDeleteElemCmd, b.keyAt(keys, i), nil, 0)
		} else {
			err = m.Elem(sys.MapUpdateElemCmd, b.keyAt(keys, i), b.valueAt(values, i), 0)
		}
		if err != nil {
			return i, err
		}
	}
	return n, nil
}

// checkUpdate checks the flags of an update as hashes and arrays do. It allows BPF_F_LOCK,
// which the kernel takes for values with a spin lock.
func checkUpdate(flags uint64) (noExist, exist bool, err error) {
	flags &^= uint64(ebpf.UpdateLock)
	if flags > uint64(ebpf.UpdateExist) {
		return false, false, syscall.EINVAL
	}
	return flags == uint64(ebpf.UpdateNoExist), flags == uint64(ebpf.UpdateExist), nil
}

// checkLookup checks the flags of a look-up as hashes and arrays do.
func checkLookup(flags uint64) error {
	if flags&^uint64(ebpf.LookupLock) != 0 {
		return syscall.EINVAL
	}
	return nil
}
