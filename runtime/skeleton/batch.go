package skeleton

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
)

// Batch is entries of a map, of which the kernel hands out many in one call:
// Values[i] is the value of Keys[i].
type Batch[K, V any] struct {
	Keys   []K
	Values []V
}

// LookupBatches ranges over the entries of the map as [Map.All] does, with a system
// call for as many of them as size says instead of two for each:
//
//	for batch, err := range m.LookupBatches(1000) {
//		if err != nil {
//			return err
//		}
//		for i, key := range batch.Keys {
//			fmt.Println(key, batch.Values[i])
//		}
//	}
//
// A batch is valid until the next one comes, and may have fewer entries. The kernel
// takes hashes bucket by bucket: when one has more entries than size, the batches
// are larger. Hashes and arrays know it since Linux 5.6, tries since 5.17; the
// other kinds of maps and older kernels end the range with [ebpf.ErrNotSupported],
// and All is what works there.
func (m *Map[K, V]) LookupBatches(size int) iter.Seq2[Batch[K, V], error] {
	return m.batches("look up batches of", (*ebpf.Map).BatchLookup, size)
}

// LookupAndDeleteBatches is [Map.LookupBatches] that removes from the map what it
// hands out. All entries of a batch are removed when it comes: leave the range only
// after using the whole batch. Hashes know it since Linux 5.6.
func (m *Map[K, V]) LookupAndDeleteBatches(size int) iter.Seq2[Batch[K, V], error] {
	return m.batches("look up and delete batches of", (*ebpf.Map).BatchLookupAndDelete, size)
}

func (m *Map[K, V]) batches(op string, call batchLookup, size int) iter.Seq2[Batch[K, V], error] {
	return func(yield func(Batch[K, V], error) bool) {
		var values []V
		lookupBatches(&m.UntypedMap, op, call, size, func(size int) any {
			values = make([]V, size)
			return elements(values)
		}, func(keys []K) bool {
			return yield(Batch[K, V]{keys, values[:len(keys)]}, nil)
		}, func(err error) { yield(Batch[K, V]{}, err) })
	}
}

// PutBatch sets the values of keys, values[i] that of keys[i], whether the map
// holds them or not. It returns how many it has set, of the first keys, which is
// fewer than all only with an error. Hashes and arrays know it since Linux 5.6,
// tries since 5.17; otherwise it fails with [ebpf.ErrNotSupported], and Put is what
// works.
func (m *Map[K, V]) PutBatch(keys []K, values []V) (int, error) {
	if len(keys) != len(values) {
		return 0, m.fail("put a batch into", fmt.Errorf("%d keys and %d values", len(keys), len(values)))
	}
	return changeBatch(&m.UntypedMap, "put a batch into", keys, func(km *ebpf.Map, raw any) (int, error) {
		return km.BatchUpdate(raw, elements(values), nil)
	})
}

// DeleteBatch removes keys. It returns how many it has removed, of the first keys,
// which is fewer than all only with an error; [ebpf.ErrKeyNotExist] says that the
// map does not hold the next one. For kernels see [Map.PutBatch]; nothing can be
// removed from an array.
func (m *Map[K, V]) DeleteBatch(keys []K) (int, error) {
	return deleteBatch(&m.UntypedMap, keys)
}

// LookupBatches is [Map.LookupBatches]; every key has a value for each possible
// CPU. Per-CPU arrays know it since Linux 5.13.
func (m *PerCPUMap[K, V]) LookupBatches(size int) iter.Seq2[Batch[K, []V], error] {
	return m.batches("look up batches of", (*ebpf.Map).BatchLookup, size)
}

// LookupAndDeleteBatches is [Map.LookupAndDeleteBatches]; every key has a value
// for each possible CPU.
func (m *PerCPUMap[K, V]) LookupAndDeleteBatches(size int) iter.Seq2[Batch[K, []V], error] {
	return m.batches("look up and delete batches of", (*ebpf.Map).BatchLookupAndDelete, size)
}

func (m *PerCPUMap[K, V]) batches(op string, call batchLookup, size int) iter.Seq2[Batch[K, []V], error] {
	return func(yield func(Batch[K, []V], error) bool) {
		fail := func(err error) { yield(Batch[K, []V]{}, err) }
		cpus, err := ebpf.PossibleCPU()
		if err != nil {
			fail(m.fail(op, err))
			return
		}
		perKey := cpus * m.stride()
		var raw []byte
		lookupBatches(&m.UntypedMap, op, call, size, func(size int) any {
			raw = make([]byte, size*perKey)
			return rawElements(unsafe.Pointer(unsafe.SliceData(raw)), perKey, size)
		}, func(keys []K) bool {
			values := make([][]V, len(keys))
			for i := range values {
				values[i] = m.decode(raw[i*perKey : (i+1)*perKey])
			}
			return yield(Batch[K, []V]{keys, values}, nil)
		}, fail)
	}
}

// PutBatch is [Map.PutBatch]; values[i] has the values of keys[i], one for each
// possible CPU in the order of the CPUs, and those of CPUs beyond its end become
// zero. Per-CPU arrays know it since Linux 5.13.
func (m *PerCPUMap[K, V]) PutBatch(keys []K, values [][]V) (int, error) {
	const op = "put a batch into"
	if len(keys) != len(values) {
		return 0, m.fail(op, fmt.Errorf("%d keys and values of %d", len(keys), len(values)))
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return 0, m.fail(op, err)
	}
	all := make([]V, len(keys)*cpus)
	for i, v := range values {
		if len(v) > cpus {
			return 0, m.fail(op, fmt.Errorf("%d values of the key with index %d, there are %d possible CPUs", len(v), i, cpus))
		}
		copy(all[i*cpus:], v)
	}
	return changeBatch(&m.UntypedMap, op, keys, func(km *ebpf.Map, raw any) (int, error) {
		return km.BatchUpdate(raw, elements(all), nil)
	})
}

// DeleteBatch is [Map.DeleteBatch].
func (m *PerCPUMap[K, V]) DeleteBatch(keys []K) (int, error) {
	return deleteBatch(&m.UntypedMap, keys)
}

type batchLookup func(km *ebpf.Map, cursor *ebpf.MapBatchCursor, keys, values any, opts *ebpf.BatchOptions) (int, error)

// lookupBatches calls the kernel until it has no more entries. allocate returns
// memory for the values of so many keys, yield gets the keys whose values are in
// it, and fail the error that ended it.
func lookupBatches[K any](m *UntypedMap, op string, call batchLookup, size int, allocate func(size int) any, yield func([]K) bool, fail func(error)) {
	km, err := m.get()
	if err == nil && size < 1 {
		err = fmt.Errorf("size is %d: give 1 or more", size)
	}
	if err != nil {
		fail(m.fail(op, err))
		return
	}
	// No batch is larger than the map, and the memory need not be either.
	limit := int(capacity(km))
	size = min(size, max(1, limit))
	keys, values := make([]K, size), allocate(size)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := call(km, &cursor, elements(keys), values, nil)
		// ErrKeyNotExist comes with the last batch.
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if errors.Is(err, syscall.ENOSPC) && size < limit {
			// The next bucket does not fit, and the cursor is still before it.
			size = min(2*size, limit)
			keys, values = make([]K, size), allocate(size)
			continue
		}
		if err != nil && !last {
			fail(m.fail(op, err))
			return
		}
		if n > 0 && !yield(keys[:n]) || last {
			return
		}
	}
}

// changeBatch hands keys to the kernel, without what is in their padding.
func changeBatch[K any](m *UntypedMap, op string, keys []K, call func(km *ebpf.Map, keys any) (int, error)) (int, error) {
	km, err := m.get()
	if err != nil {
		return 0, m.fail(op, err)
	}
	if len(keys) == 0 {
		return 0, nil
	}
	if len(m.keyGaps) > 0 {
		clean := make([]K, len(keys))
		for i := range keys {
			setKey(m, &clean[i], keys[i])
		}
		keys = clean
	}
	n, err := call(km, elements(keys))
	if err != nil && n == len(keys) {
		// The kernel sets the number when it has done the first or failed at it; an
		// error before that leaves the number that it was given.
		n = 0
	}
	return n, m.fail(op, err)
}

func deleteBatch[K any](m *UntypedMap, keys []K) (int, error) {
	return changeBatch(m, "delete a batch from", keys, func(km *ebpf.Map, raw any) (int, error) {
		return km.BatchDelete(raw, nil)
	})
}

// elements returns the memory of s as a slice of as many arrays of bytes, which the
// loader passes to the kernel as it is. From other types it would make copies, and
// refuse some.
func elements[T any](s []T) any {
	return rawElements(unsafe.Pointer(unsafe.SliceData(s)), int(sizeOf[T]()), len(s))
}

func rawElements(p unsafe.Pointer, size, n int) any {
	return reflect.SliceAt(reflect.ArrayOf(size, reflect.TypeFor[byte]()), p, n).Interface()
}
