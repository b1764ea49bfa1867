package skeleton

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"unsafe"

	"github.com/cilium/ebpf"
)

// The compiler makes the methods of a handle anew for each type of its keys and values, and
// once more for the form that types of the same layout share, promoted methods included, and
// whether they are called or not. A method costs half a millisecond to a millisecond of CPU
// time in each package that has such a map, so with 40 methods and 40 types it was several
// seconds. A core that takes pointers would be compiled once for all types, but its methods
// could not return a value. So the handles have the methods that most programs call, all of
// them thin. The rest is methods of UntypedMap, which is compiled once, and functions such as
// LookupBatches, which are compiled when they are called.

// BaseMap is the part that the handles of maps with types share. Its settings are methods of
// the field UntypedMap:
//
//	skel.Maps.Counts.SetMaxEntries(1 << 20)
//	skel.Maps.Counts.UntypedMap.SetPinPath("/sys/fs/bpf/counts")
type BaseMap struct {
	// UntypedMap is the handle without the types, with all settings of the map.
	UntypedMap UntypedMap
}

// Map is [UntypedMap.Map].
func (m *BaseMap) Map() *ebpf.Map { return m.UntypedMap.Map() }

// SetMaxEntries is [UntypedMap.SetMaxEntries].
func (m *BaseMap) SetMaxEntries(n uint32) error { return m.UntypedMap.SetMaxEntries(n) }

// Map is a handle on a map with keys and values: a hash, an LRU hash, an array, a
// trie and the like.
//
// Its methods may be called from several goroutines, also while the skeleton loads and
// closes. They fail before Load with [ErrNotLoaded], and after Close with [ErrClosed].
// Close waits for the system call that is in flight, not for the end of a range; the
// range goes on with that error. Padding in keys is zero, as it must be in the keys that
// programs use. A call allocates nothing, whether the map has the key or not.
//
// What fewer programs need are functions: [LookupAndDelete], [LookupBatches],
// [LookupAndDeleteBatches], [PutBatch] and [DeleteBatch]. For settings see [BaseMap].
type Map[K, V any] struct{ BaseMap }

// Lookup returns the value of key. With [ebpf.LookupLock] in flags, the value of a map with a
// spin lock is copied while the lock is held. It fails with [ebpf.ErrKeyNotExist] when the map
// does not hold the key.
func (m *Map[K, V]) Lookup(key K, flags ...ebpf.MapLookupFlags) (value V, err error) {
	err = m.UntypedMap.lookupElement(unsafe.Pointer(&key), unsafe.Pointer(&value), flags)
	return value, err
}

// Put sets the value of key, whether the map holds the key or not. With
// [ebpf.UpdateNoExist] it fails with [ebpf.ErrKeyExist] when the map holds the key, with
// [ebpf.UpdateExist] with [ebpf.ErrKeyNotExist] when it does not.
func (m *Map[K, V]) Put(key K, value V, flags ...ebpf.MapUpdateFlags) error {
	return m.UntypedMap.putElement(unsafe.Pointer(&key), unsafe.Pointer(&value), flags)
}

// Delete removes a key. It fails with [ebpf.ErrKeyNotExist] when the map does
// not hold it.
func (m *Map[K, V]) Delete(key K) error {
	return m.UntypedMap.deleteElement(unsafe.Pointer(&key))
}

// LookupAndDelete returns the value of key and removes both from the map. It
// fails with [ebpf.ErrKeyNotExist] when the map does not hold the key. Hashes
// support it since Linux 5.14.
func LookupAndDelete[K, V any](m *Map[K, V], key K) (value V, err error) {
	err = m.UntypedMap.element(opLookupAndDelete, unsafe.Pointer(&key), unsafe.Pointer(&value), 0)
	return value, err
}

// Entry is a key of a map and its value.
type Entry[K, V any] struct {
	// Entries have no ==, which would be compiled for all types.
	_ [0]func()

	Key   K
	Value V
}

// All ranges over the entries of the map, in no particular order:
//
//	for e, err := range m.All() {
//		if err != nil {
//			return err
//		}
//		fmt.Println(e.Key, e.Value)
//	}
//
// Entries that are there all the time come at least once; programs and other processes may
// change the map meanwhile. The entry that was just received may be deleted. An error ends the
// range: [ebpf.ErrIterationAborted] when keys were deleted so fast that the kernel kept
// starting over.
func (m *Map[K, V]) All() iter.Seq2[Entry[K, V], error] {
	return func(yield func(Entry[K, V], error) bool) {
		var (
			at   walk
			next K
			e    Entry[K, V]
		)
		for {
			more, err := m.UntypedMap.nextEntry(&at, unsafe.Pointer(&e.Key), unsafe.Pointer(&next), unsafe.Pointer(&e.Value), unsafe.Sizeof(e.Key), unsafe.Sizeof(e.Value))
			if !more || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// PerCPUMap is a handle on a map that has a value for every possible CPU behind
// each key: per-CPU hashes, LRU hashes, arrays and storage maps. See [Map] for what
// holds for it as well; its batches are those of [LookupPerCPUBatches],
// [LookupAndDeletePerCPUBatches], [PutPerCPUBatch] and [DeletePerCPUBatch].
type PerCPUMap[K, V any] struct{ BaseMap }

// Lookup returns the values of key, one for every possible CPU, in the order of
// the CPUs. It fails with [ebpf.ErrKeyNotExist] when the map does not hold the
// key.
func (m *PerCPUMap[K, V]) Lookup(key K) ([]V, error) {
	var v *V
	found, err := m.UntypedMap.lookupCPUs(unsafe.Pointer(&key), unsafe.Sizeof(*v))
	if err != nil {
		return nil, err
	}
	values := make([]V, found.cpus)
	found.take(unsafe.Pointer(unsafe.SliceData(values)), unsafe.Sizeof(*v))
	return values, nil
}

// LookupInto is Lookup that puts the values into the caller's slice, and allocates
// nothing. The slice has an element for each possible CPU: see [ebpf.PossibleCPU].
func (m *PerCPUMap[K, V]) LookupInto(key K, values []V) error {
	return m.UntypedMap.lookupCPUsInto(unsafe.Pointer(&key), unsafe.Pointer(unsafe.SliceData(values)), len(values), unsafe.Sizeof(*unsafe.SliceData(values)))
}

// Put sets the values of key, one for every possible CPU in the order of the
// CPUs; the values of CPUs beyond the end of values become zero. For flags see [Map.Put].
func (m *PerCPUMap[K, V]) Put(key K, values []V, flags ...ebpf.MapUpdateFlags) error {
	return m.UntypedMap.putCPUs(unsafe.Pointer(&key), unsafe.Pointer(unsafe.SliceData(values)), len(values), unsafe.Sizeof(*unsafe.SliceData(values)), flags)
}

// Delete removes a key with its values. It fails with [ebpf.ErrKeyNotExist] when
// the map does not hold it.
func (m *PerCPUMap[K, V]) Delete(key K) error {
	return m.UntypedMap.deleteElement(unsafe.Pointer(&key))
}

// All ranges over the entries of the map, as [Map.All] does. The values are the caller's.
func (m *PerCPUMap[K, V]) All() iter.Seq2[Entry[K, []V], error] {
	return func(yield func(Entry[K, []V], error) bool) {
		var (
			at   walk
			next K
			e    Entry[K, []V]
		)
		for {
			more, err := m.UntypedMap.nextKey(&at, unsafe.Pointer(&e.Key), unsafe.Pointer(&next), unsafe.Sizeof(next))
			if err == nil && more {
				e.Value, err = m.Lookup(e.Key)
				if errors.Is(err, ebpf.ErrKeyNotExist) {
					continue // deleted since
				}
			}
			if !more || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Queue is a handle on a queue, which hands out the oldest value first, or on a
// stack, which hands out the newest.
type Queue[V any] struct{ BaseMap }

// Push adds a value. A full map fails with E2BIG, unless flags has BPF_EXIST,
// which [ebpf.UpdateExist] is: then the oldest value makes room.
func (q *Queue[V]) Push(value V, flags ...ebpf.MapUpdateFlags) error {
	return q.UntypedMap.element(opPush, nil, unsafe.Pointer(&value), updateFlags(flags))
}

// Pop removes the next value and returns it. It fails with
// [ebpf.ErrKeyNotExist] when the map is empty.
func (q *Queue[V]) Pop() (value V, err error) {
	err = q.UntypedMap.element(opPop, nil, unsafe.Pointer(&value), 0)
	return value, err
}

// Peek returns the next value and leaves it in the map. It fails with
// [ebpf.ErrKeyNotExist] when the map is empty.
func (q *Queue[V]) Peek() (value V, err error) {
	err = q.UntypedMap.element(opPeek, nil, unsafe.Pointer(&value), 0)
	return value, err
}

// MapOfMaps is a handle on a hash or an array of maps. M is the type of the
// handles of the inner maps, such as Map[uint32, Counts].
type MapOfMaps[K, M any] struct{ BaseMap }

// Put stores a map under key; the kernel keeps it alive from now on. Its type and
// sizes must be those of the inner map's definition: see NewInner. For flags see [Map.Put].
func (m *MapOfMaps[K, M]) Put(key K, inner *ebpf.Map, flags ...ebpf.MapUpdateFlags) error {
	return m.UntypedMap.putInner(unsafe.Pointer(&key), inner, flags)
}

// Inner returns a handle on the definition of the inner maps, for settings before Load:
// it is not a map of its own. It is nil where the declaration does not have them.
func (m *MapOfMaps[K, M]) Inner() *M {
	h := new(M)
	if base, err := m.UntypedMap.part(h); err != nil || !m.UntypedMap.inner(base) {
		return nil
	}
	return h
}

// NewInner makes a map of the definition of the inner maps, to be stored with Put. The
// map is the caller's: close it with Map().Close(), also when it is stored. NewInner fails
// with [ErrNotLoaded] before Load and with [ErrClosed] after Close.
func (m *MapOfMaps[K, M]) NewInner() (*M, error) {
	h := new(M)
	if err := m.UntypedMap.newInner(h); err != nil {
		return nil, err
	}
	return h, nil
}

// Lookup returns a handle on the map under key. The handle is the caller's:
// close it with Map().Close(). It fails with [ebpf.ErrKeyNotExist] when nothing
// is stored under the key.
func (m *MapOfMaps[K, M]) Lookup(key K) (*M, error) {
	h := new(M)
	if err := m.UntypedMap.lookupInner(unsafe.Pointer(&key), h); err != nil {
		return nil, err
	}
	return h, nil
}

// Delete removes what is stored under key. It fails with [ebpf.ErrKeyNotExist]
// when that is nothing.
func (m *MapOfMaps[K, M]) Delete(key K) error {
	return m.UntypedMap.deleteElement(unsafe.Pointer(&key))
}

// part returns the UntypedMap of handle, which points to a handle on an inner map of m. It is
// looked for by name, as a method that returns it would have to be compiled for all types.
func (m *UntypedMap) part(handle any) (*UntypedMap, error) {
	if h, ok := handle.(*UntypedMap); ok {
		return h, nil
	}
	if v := reflect.ValueOf(handle).Elem(); v.Kind() == reflect.Struct {
		if part := v.FieldByName("UntypedMap"); part.IsValid() && part.CanAddr() {
			if h, ok := part.Addr().Interface().(*UntypedMap); ok {
				return h, nil
			}
		}
	}
	return nil, fmt.Errorf("%T is not a pointer to a type of map handles", handle)
}

// sizeOf returns the size of a T without making one: a section may be large.
func sizeOf[T any]() uintptr {
	var t *T
	return unsafe.Sizeof(*t)
}

// bytesOf returns the memory of a value. T must not contain Go pointers; the
// types of generated code do not.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), sizeOf[T]())
}
