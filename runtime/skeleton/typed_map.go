package skeleton

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
)

// Map is a handle on a map with keys and values: a hash, an LRU hash, an array, a
// trie and the like. Where the values are what user space knows by file
// descriptors, as in maps of sockets, it stores a descriptor and reads the number
// by which the kernel knows the same.
//
// Its methods may be called from several goroutines, and before Close, which does not
// wait for them. They fail before Load, with [ErrNotLoaded], and after Close. Padding in keys is zero, as it must be in the
// keys that programs use.
type Map[K, V any] struct {
	UntypedMap
	scratch pool[entryBuffer[K, V]]
}

func (m *Map[K, V]) sizes() (key, value uintptr) { return sizeOf[K](), sizeOf[V]() }
func (m *Map[K, V]) keyType() reflect.Type       { return reflect.TypeFor[K]() }

// entryBuffer is memory that the kernel reads keys and values from and writes
// them to. It comes from a pool, as the compiler cannot see that the kernel does
// not keep it, and would allocate one for every call.
type entryBuffer[K, V any] struct {
	key   K
	value V
}

// pool is a sync.Pool of *T.
type pool[T any] struct{ p sync.Pool }

func (p *pool[T]) get() *T {
	if t, ok := p.p.Get().(*T); ok {
		return t
	}
	return new(T)
}

func (p *pool[T]) put(t *T) { p.p.Put(t) }

// Lookup returns the value of key. It fails with [ebpf.ErrKeyNotExist] when the
// map does not hold the key.
func (m *Map[K, V]) Lookup(key K) (V, error) {
	return m.LookupWithFlags(key, 0)
}

// LookupWithFlags is Lookup with flags of the kernel, such as
// [ebpf.LookupLock].
func (m *Map[K, V]) LookupWithFlags(key K, flags ebpf.MapLookupFlags) (value V, err error) {
	return lookup(&m.UntypedMap, &m.scratch, key, flags)
}

func lookup[K, V any](m *UntypedMap, scratch *pool[entryBuffer[K, V]], key K, flags ebpf.MapLookupFlags) (value V, err error) {
	km, err := m.get()
	if err != nil {
		return value, m.fail("lookup", err)
	}
	buf := scratch.get()
	defer scratch.put(buf)
	setKey(m, &buf.key, key)
	if err := km.LookupWithFlags(unsafe.Pointer(&buf.key), unsafe.Pointer(&buf.value), flags); err != nil {
		return value, m.fail("lookup", err)
	}
	return buf.value, nil
}

// LookupAndDelete returns the value of key and removes both from the map. It
// fails with [ebpf.ErrKeyNotExist] when the map does not hold the key. Hashes
// know it since Linux 5.14.
func (m *Map[K, V]) LookupAndDelete(key K) (value V, err error) {
	km, err := m.get()
	if err != nil {
		return value, m.fail("lookup and delete", err)
	}
	buf := m.scratch.get()
	defer m.scratch.put(buf)
	setKey(&m.UntypedMap, &buf.key, key)
	if err := km.LookupAndDelete(unsafe.Pointer(&buf.key), unsafe.Pointer(&buf.value)); err != nil {
		return value, m.fail("lookup and delete", err)
	}
	return buf.value, nil
}

// Put sets the value of key, whether the map holds the key or not.
func (m *Map[K, V]) Put(key K, value V) error {
	return m.Update(key, value, ebpf.UpdateAny)
}

// Update sets the value of key. With [ebpf.UpdateNoExist] it fails with
// [ebpf.ErrKeyExist] when the map holds the key, with [ebpf.UpdateExist] with
// [ebpf.ErrKeyNotExist] when it does not.
func (m *Map[K, V]) Update(key K, value V, flags ebpf.MapUpdateFlags) error {
	return update(&m.UntypedMap, &m.scratch, key, value, flags)
}

func update[K, V any](m *UntypedMap, scratch *pool[entryBuffer[K, V]], key K, value V, flags ebpf.MapUpdateFlags) error {
	km, err := m.get()
	if err != nil {
		return m.fail("update", err)
	}
	buf := scratch.get()
	defer scratch.put(buf)
	setKey(m, &buf.key, key)
	buf.value = value
	return m.fail("update", km.Update(unsafe.Pointer(&buf.key), unsafe.Pointer(&buf.value), flags))
}

// Delete removes a key. It fails with [ebpf.ErrKeyNotExist] when the map does
// not hold it.
func (m *Map[K, V]) Delete(key K) error {
	return deleteEntry(&m.UntypedMap, &m.scratch, key)
}

func deleteEntry[K, V any](m *UntypedMap, scratch *pool[entryBuffer[K, V]], key K) error {
	km, err := m.get()
	if err != nil {
		return m.fail("delete", err)
	}
	buf := scratch.get()
	defer scratch.put(buf)
	setKey(m, &buf.key, key)
	return m.fail("delete", km.Delete(unsafe.Pointer(&buf.key)))
}

// Entry is a key of a map and its value.
type Entry[K, V any] struct {
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
// Entries that are there all the time come at least once; programs and other
// processes may change the map meanwhile. The entry that was just received may
// be deleted. An error ends the range: [ebpf.ErrIterationAborted] when keys were
// deleted so fast that the kernel kept starting over.
func (m *Map[K, V]) All() iter.Seq2[Entry[K, V], error] {
	return func(yield func(Entry[K, V], error) bool) {
		var zero Entry[K, V]
		km, err := m.get()
		if err != nil {
			yield(zero, m.fail("iterate over", err))
			return
		}
		buf := m.scratch.get()
		defer m.scratch.put(buf)
		for err := range keys(km, &buf.key) {
			if err == nil {
				err = km.Lookup(unsafe.Pointer(&buf.key), unsafe.Pointer(&buf.value))
				if errors.Is(err, ebpf.ErrKeyNotExist) {
					continue // deleted since
				}
			}
			if err != nil {
				yield(zero, m.fail("iterate over", err))
				return
			}
			if !yield(Entry[K, V]{buf.key, buf.value}, nil) {
				return
			}
		}
	}
}

// keys ranges over the keys of a map: each is in *key while nil comes. The
// following key is asked for before one is handed out, so that it may be deleted;
// a key that was deleted all the same makes the kernel start over, and after as
// many keys as the map can hold that is given up.
func keys[K any](km *ebpf.Map, key *K) iter.Seq[error] {
	return func(yield func(error) bool) {
		limit := capacity(km)
		next := new(K)
		err := km.NextKey(nil, unsafe.Pointer(next))
		for n := uint32(0); ; n++ {
			switch {
			case errors.Is(err, ebpf.ErrKeyNotExist):
				return
			case err != nil:
				yield(err)
				return
			case n >= limit:
				// A map that is full of other keys by now ends here as well.
				yield(ebpf.ErrIterationAborted)
				return
			}
			*key = *next
			err = km.NextKey(unsafe.Pointer(key), unsafe.Pointer(next))
			if !yield(nil) {
				return
			}
		}
	}
}

// noCommonLRU is the kernel's BPF_F_NO_COMMON_LRU.
const noCommonLRU = 1 << 1

// capacity returns how many entries a map can hold. For LRU hashes with a list for
// each CPU, the kernel makes the number a multiple of that of the possible CPUs
// (htab_map_alloc in kernel/bpf/hashtab.c), and the handle does not have it.
func capacity(km *ebpf.Map) uint32 {
	if km.Flags()&noCommonLRU != 0 {
		if info, err := km.Info(); err == nil {
			return info.MaxEntries
		}
	}
	return km.MaxEntries()
}

// PerCPUMap is a handle on a map that has a value for every possible CPU behind
// each key: per-CPU hashes, LRU hashes, arrays and storage maps.
type PerCPUMap[K, V any] struct {
	UntypedMap
	scratch pool[K]
}

func (m *PerCPUMap[K, V]) sizes() (key, value uintptr) { return sizeOf[K](), sizeOf[V]() }
func (m *PerCPUMap[K, V]) keyType() reflect.Type       { return reflect.TypeFor[K]() }

// stride returns the distance between the values of two CPUs, in bytes: the
// kernel rounds it up to 8.
func (m *PerCPUMap[K, V]) stride() int { return (int(sizeOf[V]()) + 7) &^ 7 }

// Lookup returns the values of key, one for every possible CPU, in the order of
// the CPUs. It fails with [ebpf.ErrKeyNotExist] when the map does not hold the
// key.
func (m *PerCPUMap[K, V]) Lookup(key K) ([]V, error) {
	km, err := m.get()
	if err != nil {
		return nil, m.fail("lookup", err)
	}
	buf := m.scratch.get()
	defer m.scratch.put(buf)
	setKey(&m.UntypedMap, buf, key)
	values, err := m.lookup(km, buf)
	return values, m.fail("lookup", err)
}

func (m *PerCPUMap[K, V]) lookup(km *ebpf.Map, key *K) ([]V, error) {
	raw, err := km.LookupBytes(unsafe.Pointer(key))
	if err != nil {
		return nil, err
	}
	if raw == nil { // LookupBytes reports a missing key that way
		return nil, ebpf.ErrKeyNotExist
	}
	return m.decode(raw), nil
}

// decode copies the values of a key, one for every possible CPU.
func (m *PerCPUMap[K, V]) decode(raw []byte) []V {
	values := make([]V, len(raw)/m.stride())
	for i := range values {
		copy(bytesOf(&values[i]), raw[i*m.stride():])
	}
	return values
}

// Put sets the values of key, one for every possible CPU in the order of the
// CPUs; the values of CPUs beyond the end of values become zero.
func (m *PerCPUMap[K, V]) Put(key K, values []V) error {
	return m.Update(key, values, ebpf.UpdateAny)
}

// Update is Put with flags, see [Map.Update].
func (m *PerCPUMap[K, V]) Update(key K, values []V, flags ebpf.MapUpdateFlags) error {
	km, err := m.get()
	if err != nil {
		return m.fail("update", err)
	}
	// One []byte for every CPU needs no encoding.
	raw := make([][]byte, len(values))
	for i := range values {
		raw[i] = bytesOf(&values[i])
	}
	buf := m.scratch.get()
	defer m.scratch.put(buf)
	setKey(&m.UntypedMap, buf, key)
	return m.fail("update", km.Update(unsafe.Pointer(buf), raw, flags))
}

// Delete removes a key with its values. It fails with [ebpf.ErrKeyNotExist] when
// the map does not hold it.
func (m *PerCPUMap[K, V]) Delete(key K) error {
	return deleteKey(&m.UntypedMap, &m.scratch, key)
}

// All ranges over the entries of the map, as [Map.All] does.
func (m *PerCPUMap[K, V]) All() iter.Seq2[Entry[K, []V], error] {
	return func(yield func(Entry[K, []V], error) bool) {
		var zero Entry[K, []V]
		km, err := m.get()
		if err != nil {
			yield(zero, m.fail("iterate over", err))
			return
		}
		key := m.scratch.get()
		defer m.scratch.put(key)
		for err := range keys(km, key) {
			var values []V
			if err == nil {
				values, err = m.lookup(km, key)
				if errors.Is(err, ebpf.ErrKeyNotExist) {
					continue // deleted since
				}
			}
			if err != nil {
				yield(zero, m.fail("iterate over", err))
				return
			}
			if !yield(Entry[K, []V]{*key, values}, nil) {
				return
			}
		}
	}
}

// Queue is a handle on a queue, which hands out the oldest value first, or on a
// stack, which hands out the newest.
type Queue[V any] struct {
	UntypedMap
	scratch pool[V]
}

func (q *Queue[V]) sizes() (key, value uintptr) { return 0, sizeOf[V]() }
func (q *Queue[V]) keyType() reflect.Type       { return reflect.TypeFor[struct{}]() }

// Push adds a value. A full map fails with E2BIG, unless flags has BPF_EXIST,
// which [ebpf.UpdateExist] is: then the oldest value makes room.
func (q *Queue[V]) Push(value V, flags ebpf.MapUpdateFlags) error {
	km, err := q.get()
	if err != nil {
		return q.fail("push to", err)
	}
	buf := q.scratch.get()
	defer q.scratch.put(buf)
	*buf = value
	return q.fail("push to", km.Update(nil, unsafe.Pointer(buf), flags))
}

// Pop removes the next value and returns it. It fails with
// [ebpf.ErrKeyNotExist] when the map is empty.
func (q *Queue[V]) Pop() (value V, err error) {
	km, err := q.get()
	if err != nil {
		return value, q.fail("pop from", err)
	}
	buf := q.scratch.get()
	defer q.scratch.put(buf)
	if err := km.LookupAndDelete(nil, unsafe.Pointer(buf)); err != nil {
		return value, q.fail("pop from", err)
	}
	return *buf, nil
}

// Peek returns the next value and leaves it in the map. It fails with
// [ebpf.ErrKeyNotExist] when the map is empty.
func (q *Queue[V]) Peek() (value V, err error) {
	km, err := q.get()
	if err != nil {
		return value, q.fail("peek into", err)
	}
	buf := q.scratch.get()
	defer q.scratch.put(buf)
	if err := km.Lookup(nil, unsafe.Pointer(buf)); err != nil {
		return value, q.fail("peek into", err)
	}
	return *buf, nil
}

// MapOfMaps is a handle on a hash or an array of maps. M is the type of the
// handles of the inner maps, such as Map[uint32, Counts].
type MapOfMaps[K, M any] struct {
	UntypedMap
	scratch pool[K]
}

// The kernel's values are the numbers of inner maps, 4 bytes each.
func (m *MapOfMaps[K, M]) sizes() (key, value uintptr) { return sizeOf[K](), 4 }
func (m *MapOfMaps[K, M]) keyType() reflect.Type       { return reflect.TypeFor[K]() }

// Put stores a map under key; the kernel keeps it alive from now on. Its type and
// sizes must be those of the inner map in Spec.
func (m *MapOfMaps[K, M]) Put(key K, inner *ebpf.Map) error {
	return m.Update(key, inner, ebpf.UpdateAny)
}

// Update is Put with flags, see [Map.Update].
func (m *MapOfMaps[K, M]) Update(key K, inner *ebpf.Map, flags ebpf.MapUpdateFlags) error {
	km, err := m.get()
	if err != nil {
		return m.fail("update", err)
	}
	buf := m.scratch.get()
	defer m.scratch.put(buf)
	setKey(&m.UntypedMap, buf, key)
	return m.fail("update", km.Update(unsafe.Pointer(buf), inner, flags))
}

// Lookup returns a handle on the map under key. The handle is the caller's:
// close it with Map().Close(). It fails with [ebpf.ErrKeyNotExist] when nothing
// is stored under the key.
func (m *MapOfMaps[K, M]) Lookup(key K) (*M, error) {
	km, err := m.get()
	if err != nil {
		return nil, m.fail("lookup", err)
	}
	buf := m.scratch.get()
	defer m.scratch.put(buf)
	setKey(&m.UntypedMap, buf, key)
	var inner *ebpf.Map
	if err := km.Lookup(unsafe.Pointer(buf), &inner); err != nil {
		return nil, m.fail("lookup", err)
	}
	h := new(M)
	u, ok := any(h).(interface{ handle() *UntypedMap })
	if !ok {
		inner.Close()
		return nil, m.fail("lookup", fmt.Errorf("%T is not a type of maps", *h))
	}
	base := u.handle()
	base.init(h, m.name)
	if err := base.checkSizes(inner.KeySize(), inner.ValueSize()); err != nil {
		inner.Close()
		return nil, m.fail("lookup", err)
	}
	base.loaded.Store(inner)
	return h, nil
}

// Delete removes what is stored under key. It fails with [ebpf.ErrKeyNotExist]
// when that is nothing.
func (m *MapOfMaps[K, M]) Delete(key K) error {
	return deleteKey(&m.UntypedMap, &m.scratch, key)
}

// deleteKey removes a key from a map whose buffers hold keys only.
func deleteKey[K any](m *UntypedMap, scratch *pool[K], key K) error {
	km, err := m.get()
	if err != nil {
		return m.fail("delete", err)
	}
	buf := scratch.get()
	defer scratch.put(buf)
	setKey(m, buf, key)
	return m.fail("delete", km.Delete(unsafe.Pointer(buf)))
}

// bytesOf returns the memory of a value. T must not contain Go pointers; the
// types of generated code do not.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), sizeOf[T]())
}
