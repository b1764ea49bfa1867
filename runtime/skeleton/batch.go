package skeleton

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Batch is entries of a map, of which the kernel hands out many in one call:
// Values[i] is the value of Keys[i].
type Batch[K, V any] struct {
	Keys   []K
	Values []V
}

// LookupBatches ranges over the entries of a map as [Map.All] does, with a system
// call for as many of them as size instead of two for each:
//
//	for batch, err := range skeleton.LookupBatches(m, 1000) {
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
// are larger. Hashes and arrays support it since Linux 5.6, tries since 5.17; the
// other kinds of maps and older kernels end the range with [ebpf.ErrNotSupported],
// and All is what works there.
func LookupBatches[K, V any](m *Map[K, V], size int) iter.Seq2[Batch[K, V], error] {
	return batches(m, "look up batches of", false, size)
}

// LookupAndDeleteBatches is [LookupBatches] that removes from the map what it
// hands out. All entries of a batch are removed when it comes: leave the range only
// after using the whole batch. Hashes support it since Linux 5.6.
func LookupAndDeleteBatches[K, V any](m *Map[K, V], size int) iter.Seq2[Batch[K, V], error] {
	return batches(m, "look up and delete batches of", true, size)
}

func batches[K, V any](m *Map[K, V], op string, deleting bool, size int) iter.Seq2[Batch[K, V], error] {
	return func(yield func(Batch[K, V], error) bool) {
		var values []V
		lookupBatches(&m.UntypedMap, op, deleting, size, func(size int) any {
			values = make([]V, size)
			return elements(values)
		}, func(keys []K) bool {
			return yield(Batch[K, V]{keys, values[:len(keys)]}, nil)
		}, func(err error) { yield(Batch[K, V]{}, err) })
	}
}

// PutBatch sets the values of keys, values[i] that of keys[i], whether the map holds them or
// not. It returns how many it has set, the first ones of keys; when that is not all, there is
// an error. Hashes and arrays support it since Linux 5.6, tries since 5.17; otherwise it fails
// with [ebpf.ErrNotSupported], and Put is what works.
func PutBatch[K, V any](m *Map[K, V], keys []K, values []V) (int, error) {
	if len(keys) != len(values) {
		return 0, m.UntypedMap.fail("put a batch into", fmt.Errorf("%d keys and %d values", len(keys), len(values)))
	}
	return changeBatch(&m.UntypedMap, "put a batch into", keys, elements(values))
}

// DeleteBatch removes keys. It returns how many it has removed, the first ones of keys; when
// that is not all, there is an error, which is [ebpf.ErrKeyNotExist] when the map does not hold
// the next one. For kernels see [PutBatch]; nothing can be removed from an array.
func DeleteBatch[K, V any](m *Map[K, V], keys []K) (int, error) {
	return deleteBatch(&m.UntypedMap, keys)
}

// LookupPerCPUBatches is [LookupBatches]; every key has a value for each possible
// CPU. Per-CPU arrays support it since Linux 5.13.
func LookupPerCPUBatches[K, V any](m *PerCPUMap[K, V], size int) iter.Seq2[Batch[K, []V], error] {
	return perCPUBatches(m, "look up batches of", false, size)
}

// LookupAndDeletePerCPUBatches is [LookupAndDeleteBatches]; every key has a value
// for each possible CPU.
func LookupAndDeletePerCPUBatches[K, V any](m *PerCPUMap[K, V], size int) iter.Seq2[Batch[K, []V], error] {
	return perCPUBatches(m, "look up and delete batches of", true, size)
}

func perCPUBatches[K, V any](m *PerCPUMap[K, V], op string, deleting bool, size int) iter.Seq2[Batch[K, []V], error] {
	return func(yield func(Batch[K, []V], error) bool) {
		fail := func(err error) { yield(Batch[K, []V]{}, err) }
		cpus, err := m.UntypedMap.possibleCPUs()
		if err != nil {
			fail(m.UntypedMap.fail(op, err))
			return
		}
		perKey := cpus * stride(sizeOf[V]())
		var (
			raw    []byte
			all    []V   // one after the other
			values [][]V // those of each key, in all
		)
		lookupBatches(&m.UntypedMap, op, deleting, size, func(size int) any {
			raw, all, values = make([]byte, size*perKey), make([]V, size*cpus), make([][]V, size)
			for i := range values {
				values[i] = all[i*cpus : (i+1)*cpus : (i+1)*cpus]
			}
			return rawElements(unsafe.Pointer(unsafe.SliceData(raw)), perKey, size)
		}, func(keys []K) bool {
			copyCPUValues(unsafe.Pointer(unsafe.SliceData(all)), raw[:len(keys)*perKey], sizeOf[V]())
			return yield(Batch[K, []V]{keys, values[:len(keys)]}, nil)
		}, fail)
	}
}

// PutPerCPUBatch is [PutBatch]; values[i] has the values of keys[i], one for each
// possible CPU in the order of the CPUs, and those of CPUs beyond its end become
// zero. Per-CPU arrays support it since Linux 5.13.
func PutPerCPUBatch[K, V any](m *PerCPUMap[K, V], keys []K, values [][]V) (int, error) {
	const op = "put a batch into"
	if len(keys) != len(values) {
		return 0, m.UntypedMap.fail(op, fmt.Errorf("%d keys and values for %d keys", len(keys), len(values)))
	}
	cpus, err := m.UntypedMap.possibleCPUs()
	if err != nil {
		return 0, m.UntypedMap.fail(op, err)
	}
	perKey := cpus * stride(sizeOf[V]())
	raw := make([]byte, len(keys)*perKey)
	for i, v := range values {
		if len(v) > cpus {
			return 0, m.UntypedMap.fail(op, fmt.Errorf("%d values of the key with index %d, there are %d possible CPUs", len(v), i, cpus))
		}
		spreadCPUValues(raw[i*perKey:], unsafe.Pointer(unsafe.SliceData(v)), len(v), sizeOf[V]())
	}
	return changeBatch(&m.UntypedMap, op, keys, rawElements(unsafe.Pointer(unsafe.SliceData(raw)), perKey, len(keys)))
}

// DeletePerCPUBatch is [DeleteBatch].
func DeletePerCPUBatch[K, V any](m *PerCPUMap[K, V], keys []K) (int, error) {
	return deleteBatch(&m.UntypedMap, keys)
}

// batchCursor is the state of a range over batches, in the kernel's map or in a fake.
type batchCursor struct {
	kernel ebpf.MapBatchCursor
	fake   uint64
}

// lookupBatches calls the kernel until it has no more entries. allocate returns
// memory for the values of so many keys, yield gets the keys whose values are in
// it, and fail the error that ended it.
func lookupBatches[K any](m *UntypedMap, op string, deleting bool, size int, allocate func(size int) any, yield func([]K) bool, fail func(error)) {
	entries, err := m.capacity()
	if err == nil && size < 1 {
		err = fmt.Errorf("size is %d: give 1 or more", size)
	}
	if err != nil {
		fail(m.fail(op, err))
		return
	}
	// No batch is larger than the map, and the memory need not be either.
	limit := int(entries)
	size = min(size, max(1, limit))
	keys, values := make([]K, size), allocate(size)
	var cursor batchCursor
	for {
		n, err := m.batch(deleting, &cursor, elements(keys), values)
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

// batch makes one call, which removes what it returns when deleting says so. None is in
// flight while a batch is used.
func (m *UntypedMap) batch(deleting bool, cursor *batchCursor, keys, values any) (int, error) {
	km, err := m.beginElements()
	if err == errFake {
		return m.fakeBatch(deleting, &cursor.fake, keys, values)
	}
	if err != nil {
		return 0, err
	}
	defer m.end()
	if deleting {
		return km.BatchLookupAndDelete(&cursor.kernel, keys, values, nil)
	}
	return km.BatchLookup(&cursor.kernel, keys, values, nil)
}

// changeBatch hands keys to the kernel, without what is in their padding, to be given the
// values, or to be deleted when these are nil.
func changeBatch[K any](m *UntypedMap, op string, keys []K, values any) (int, error) {
	if len(m.types.Padding) > 0 {
		clean := make([]K, len(keys))
		for i := range keys {
			clean[i] = keys[i]
			m.zeroPadding(unsafe.Pointer(&clean[i]))
		}
		keys = clean
	}
	n, err := m.change(len(keys), elements(keys), values)
	if n < len(keys) {
		err = m.prefixError(unsafe.Pointer(&keys[n]), err)
	}
	return n, m.fail(op, err)
}

// change makes the call of changeBatch.
func (m *UntypedMap) change(size int, keys, values any) (n int, err error) {
	km, err := m.beginElements()
	if err == errFake {
		return m.fakeChange(size, keys, values)
	}
	if err != nil {
		return 0, err
	}
	defer m.end()
	switch {
	case size == 0:
	case values == nil:
		n, err = km.BatchDelete(keys, nil)
	case isPerCPU(km.Type()):
		// ebpf.Map would make a copy for each key.
		n, err = sys.MapUpdateBatch(km.FD(), memoryAt(keys), memoryAt(values), size)
		runtime.KeepAlive(km)
		if errors.Is(err, syscall.EINVAL) && sys.OlderThan("5.6") {
			err = sys.ENOTSUPP // no batches at all
		}
		err = batchError(err)
	default:
		n, err = km.BatchUpdate(keys, values, nil)
	}
	if err != nil && n == size {
		// The kernel sets the number when it has done the first or failed at it; an
		// error before that leaves the number that it was given.
		n = 0
	}
	return n, err
}

func deleteBatch[K any](m *UntypedMap, keys []K) (int, error) {
	return changeBatch(m, "delete a batch from", keys, nil)
}

// elements returns the memory of s as a slice of as many arrays of bytes, which the
// loader passes to the kernel as it is. From other types it would make copies, and
// refuse some.
func elements[T any](s []T) any {
	return rawElements(unsafe.Pointer(unsafe.SliceData(s)), int(sizeOf[T]()), len(s))
}

// memoryAt returns where the memory of elements begins.
func memoryAt(elements any) unsafe.Pointer { return reflect.ValueOf(elements).UnsafePointer() }

func rawElements(p unsafe.Pointer, size, n int) any {
	return reflect.SliceAt(reflect.ArrayOf(size, reflect.TypeFor[byte]()), p, n).Interface()
}
