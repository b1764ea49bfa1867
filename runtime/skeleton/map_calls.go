package skeleton

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// The calls that typed handles make. Only the methods that users call have type parameters:
// each passes the addresses of its arguments and results to a function of this file, which is
// compiled once.
//
// The system calls on elements are made here and not by the methods of ebpf.Map: these take
// keys and values as interfaces, so that what they point to is allocated on the heap, and make
// a new error for most failures.

// mapOp is what a call does to an element, for errors and for the kernel.
type mapOp uint8

const (
	opLookup mapOp = iota
	opLookupAndDelete
	opUpdate
	opDelete
	opPush
	opPop
	opPeek
	opAdd
	opLookInto
	mapOps // how many there are
)

var mapOpText = [mapOps]string{"lookup", "lookup and delete", "update", "delete", "push to", "pop from", "peek into", "add to", "look into"}

var mapOpCmd = [mapOps]sys.Cmd{
	sys.MapLookupElemCmd, sys.MapLookupAndDeleteElemCmd, sys.MapUpdateElemCmd, sys.MapDeleteElemCmd,
	sys.MapUpdateElemCmd, sys.MapLookupAndDeleteElemCmd, sys.MapLookupElemCmd, sys.MapUpdateElemCmd, sys.MapLookupElemCmd,
}

// keyError reports that a map has a key, or does not have it. These errors are made once for each
// handle and kind of call, as a key that is not there is an ordinary result.
type keyError struct {
	text string
	// is what errors.Is finds: the error of package ebpf, and the kernel's.
	is [2]error
}

func (e *keyError) Error() string   { return e.text }
func (e *keyError) Unwrap() []error { return e.is[:] }

// keyErrors are the errors of a handle that have been made.
type keyErrors struct {
	absent, present [mapOps]keyErrorPointer
}

// failElem returns the error that op fails with for err, which the kernel has returned.
func (m *UntypedMap) failElem(op mapOp, err error) error {
	switch err {
	case syscall.ENOENT:
		return m.keyError(&m.keyErrors.absent[op], op, ebpf.ErrKeyNotExist, err)
	case syscall.EEXIST:
		return m.keyError(&m.keyErrors.present[op], op, ebpf.ErrKeyExist, err)
	case syscall.E2BIG:
		err = fmt.Errorf("the map is full, or the key is beyond its end: see SetMaxEntries: %w", err)
	case sys.ENOTSUPP:
		err = fmt.Errorf("%w (%w)", ebpf.ErrNotSupported, err)
	}
	return m.fail(mapOpText[op], err)
}

func (m *UntypedMap) keyError(made *keyErrorPointer, op mapOp, is, errno error) error {
	if err := made.Load(); err != nil {
		return err
	}
	err := &keyError{mapOpText[op] + " map " + m.name + ": " + is.Error(), [2]error{is, errno}}
	made.Store(err)
	return err
}

// zeroPadding clears what lies between the fields of a key, which is the caller's copy.
// Hashes compare all bytes of a key, and Go does not promise to copy these.
func (m *UntypedMap) zeroPadding(key unsafe.Pointer) {
	for _, gap := range m.types.Padding {
		clear(unsafe.Slice((*byte)(unsafe.Add(key, gap.Start)), gap.End-gap.Start))
	}
}

// call makes the system call for op as it is. A key may be NULL.
func (m *UntypedMap) call(cmd sys.Cmd, key, value unsafe.Pointer, flags uint64) error {
	km, err := m.beginElements()
	if err == errFake {
		return m.callFake(cmd, key, value, flags)
	}
	if err != nil {
		return err
	}
	err = sys.MapElem(cmd, km.FD(), key, value, flags)
	m.end()
	return err
}

// element does op with the element of key, which is the caller's copy.
func (m *UntypedMap) element(op mapOp, key, value unsafe.Pointer, flags uint64) error {
	if key != nil {
		m.zeroPadding(key)
	}
	err := m.call(mapOpCmd[op], key, value, flags)
	if err == nil {
		return nil
	}
	if key != nil && err == syscall.EINVAL {
		err = m.prefixError(key, err)
	}
	return m.failElem(op, err)
}

func (m *UntypedMap) lookupElement(key, value unsafe.Pointer, flags []ebpf.MapLookupFlags) error {
	var all uint64
	for _, f := range flags {
		all |= uint64(f)
	}
	return m.element(opLookup, key, value, all)
}

func (m *UntypedMap) putElement(key, value unsafe.Pointer, flags []ebpf.MapUpdateFlags) error {
	return m.element(opUpdate, key, value, updateFlags(flags))
}

func (m *UntypedMap) deleteElement(key unsafe.Pointer) error {
	return m.element(opDelete, key, nil, 0)
}

func updateFlags(flags []ebpf.MapUpdateFlags) (all uint64) {
	for _, f := range flags {
		all |= uint64(f)
	}
	return all
}

// prefixError explains why the kernel refuses a key of a longest-prefix-match trie whose prefix
// is too long: its own error does not say so.
func (m *UntypedMap) prefixError(key unsafe.Pointer, err error) error {
	if !errors.Is(err, syscall.EINVAL) || m.Type() != ebpf.LPMTrie || m.KeySize() < 4 {
		return err
	}
	// struct bpf_lpm_trie_key: the length in bits, then the data.
	bits := binary.NativeEndian.Uint32(unsafe.Slice((*byte)(key), 4))
	most := 8 * (m.KeySize() - 4)
	if bits <= most {
		return err
	}
	return fmt.Errorf("the key's prefix has %d bits, and the map's keys have %d: set prefixlen to %d or less: %w", bits, most, most, err)
}

// walk is the state of a range over a map.
type walk struct {
	started bool
	// limit is how many keys the map can hold, and n how many came.
	limit, n uint32
	// err is what asking for the following key ended with.
	err error
}

// nextKey copies the next key of the range to key, of so many bytes, and the one that
// follows to next. It reports false at the end.
//
// The following key is asked for before one is handed out, so that the latter may be deleted.
// If the following key was deleted all the same, the kernel starts over; the range gives up
// after as many keys as the map can hold. No call is in flight when a key is handed out: the
// caller may close the skeleton.
func (m *UntypedMap) nextKey(w *walk, key, next unsafe.Pointer, size uintptr) (bool, error) {
	if !w.started {
		w.started = true
		if w.limit, w.err = m.capacity(); w.err == nil {
			w.err = m.call(sys.MapGetNextKeyCmd, nil, next, 0)
		}
	}
	switch {
	case w.err == syscall.ENOENT:
		return false, nil
	case w.err != nil:
		return true, m.fail("iterate over", w.err)
	case w.n >= w.limit:
		// A map that is full of other keys by now ends here as well.
		return true, m.fail("iterate over", ebpf.ErrIterationAborted)
	}
	w.n++
	copy(unsafe.Slice((*byte)(key), size), unsafe.Slice((*byte)(next), size))
	w.err = m.call(sys.MapGetNextKeyCmd, key, next, 0)
	return true, nil
}

// nextEntry is nextKey that copies the value too. With an error, key and value are zero.
func (m *UntypedMap) nextEntry(w *walk, key, next, value unsafe.Pointer, keySize, valueSize uintptr) (bool, error) {
	for {
		more, err := m.nextKey(w, key, next, keySize)
		if !more {
			return false, nil
		}
		if err == nil {
			err = m.call(sys.MapLookupElemCmd, key, value, 0)
			switch err {
			case nil:
				return true, nil
			case syscall.ENOENT:
				continue // deleted since
			}
			err = m.fail("iterate over", err)
		}
		clear(unsafe.Slice((*byte)(key), keySize))
		clear(unsafe.Slice((*byte)(value), valueSize))
		return true, err
	}
}

// noCommonLRU is the kernel's BPF_F_NO_COMMON_LRU.
const noCommonLRU = 1 << 1

// capacity returns how many entries a map can hold. For LRU hashes with a list for
// each CPU, the kernel makes the number a multiple of that of the possible CPUs
// (htab_map_alloc in kernel/bpf/hashtab.c), and the handle does not have it.
func (m *UntypedMap) capacity() (uint32, error) {
	km, err := m.begin()
	if err == errFake {
		return m.definition().MaxEntries, nil
	}
	if err != nil {
		return 0, err
	}
	defer m.end()
	if km.Flags()&noCommonLRU != 0 {
		if info, err := km.Info(); err == nil {
			return info.MaxEntries, nil
		}
	}
	return km.MaxEntries(), nil
}

// cpuValues are the values of a key for all possible CPUs, as the kernel has them: each
// begins at a multiple of 8 bytes.
type cpuValues struct {
	raw  []byte
	cpus int
}

var cpuValuesPool sync.Pool

// stride returns the distance between the values of two CPUs.
func stride(size uintptr) int { return (int(size) + 7) &^ 7 }

// possibleCPUs returns how many values a key has in a map with one for each CPU.
func (m *UntypedMap) possibleCPUs() (int, error) {
	if f := m.origin().fake; f != nil {
		return f.CPUs(), nil
	}
	return ebpf.PossibleCPU()
}

// newCPUValues returns memory for values of size bytes. give gives it back.
func (m *UntypedMap) newCPUValues(size uintptr) (*cpuValues, error) {
	cpus, err := m.possibleCPUs()
	if err != nil {
		return nil, err
	}
	v, ok := cpuValuesPool.Get().(*cpuValues)
	if !ok {
		v = new(cpuValues)
	}
	v.cpus = cpus
	if n := cpus * stride(size); cap(v.raw) < n {
		v.raw = make([]byte, n)
	} else {
		v.raw = v.raw[:n]
	}
	return v, nil
}

func (v *cpuValues) give() { cpuValuesPool.Put(v) }

// take copies the values to an array of them, and gives v back.
func (v *cpuValues) take(values unsafe.Pointer, size uintptr) {
	copyCPUValues(values, v.raw, size)
	v.give()
}

// copyCPUValues copies values as the kernel has them to an array that has them one after
// the other.
func copyCPUValues(values unsafe.Pointer, raw []byte, size uintptr) {
	if size == 0 {
		return
	}
	step := stride(size)
	to := unsafe.Slice((*byte)(values), len(raw)/step*int(size))
	for ; len(raw) > 0; raw, to = raw[step:], to[size:] {
		copy(to[:size], raw)
	}
}

// spreadCPUValues copies an array of n values to where the kernel has them.
func spreadCPUValues(raw []byte, values unsafe.Pointer, n int, size uintptr) {
	from := unsafe.Slice((*byte)(values), n*int(size))
	for i := range n {
		copy(raw[i*stride(size):], from[i*int(size):(i+1)*int(size)])
	}
}

// lookupCPUs returns the values of key, each of size bytes.
func (m *UntypedMap) lookupCPUs(key unsafe.Pointer, size uintptr) (*cpuValues, error) {
	v, err := m.newCPUValues(size)
	if err != nil {
		return nil, m.fail("lookup", err)
	}
	if err := m.element(opLookup, key, unsafe.Pointer(unsafe.SliceData(v.raw)), 0); err != nil {
		v.give()
		return nil, err
	}
	return v, nil
}

// lookupCPUsInto copies the values of key to an array of n.
func (m *UntypedMap) lookupCPUsInto(key, values unsafe.Pointer, n int, size uintptr) error {
	v, err := m.lookupCPUs(key, size)
	if err != nil {
		return err
	}
	if n < v.cpus {
		v.give()
		return m.fail("lookup", fmt.Errorf("room for %d values, and there are %d possible CPUs: make it as long as ebpf.PossibleCPU says", n, v.cpus))
	}
	v.take(values, size)
	return nil
}

// putCPUs sets the values of key to those of an array of n.
func (m *UntypedMap) putCPUs(key, values unsafe.Pointer, n int, size uintptr, flags []ebpf.MapUpdateFlags) error {
	v, err := m.newCPUValues(size)
	if err != nil {
		return m.fail("update", err)
	}
	defer v.give()
	if n > v.cpus {
		return m.fail("update", fmt.Errorf("%d values, and there are %d possible CPUs", n, v.cpus))
	}
	clear(v.raw)
	spreadCPUValues(v.raw, values, n, size)
	return m.element(opUpdate, key, unsafe.Pointer(unsafe.SliceData(v.raw)), updateFlags(flags))
}

// newInner makes handle, which points to an empty one, that of a map that is inner to m.
func (m *UntypedMap) newInner(handle any) error {
	h, err := m.part(handle)
	if err == nil {
		err = m.origin().makeInner(h)
	}
	if err != nil {
		return m.fail("make an inner map of", err)
	}
	m.initInner(h, m.name)
	return nil
}

// lookupInner makes handle, which points to an empty one, that of the map under key.
func (m *UntypedMap) lookupInner(key unsafe.Pointer, handle any) error {
	h, err := m.part(handle)
	if err != nil {
		return m.fail("lookup", err)
	}
	km, err := m.beginElements()
	if err != nil {
		return m.fail("lookup", err)
	}
	m.zeroPadding(key)
	var inner *ebpf.Map
	err = km.Lookup(key, &inner)
	m.end()
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return m.failElem(opLookup, syscall.ENOENT)
	}
	if err != nil {
		return m.fail("lookup", err)
	}
	m.initInner(h, m.name)
	if err := h.checkSizes(inner.KeySize(), inner.ValueSize()); err != nil {
		_ = inner.Close()
		return m.fail("lookup", err)
	}
	h.loaded.Store(inner)
	return nil
}

// putInner stores a map under key.
func (m *UntypedMap) putInner(key unsafe.Pointer, inner *ebpf.Map, flags []ebpf.MapUpdateFlags) error {
	fd := -1
	if inner != nil {
		fd = inner.FD()
	}
	err := m.putFD(key, fd, flags)
	runtime.KeepAlive(inner)
	return err
}

// putFD stores what a descriptor refers to, in maps whose values the kernel takes as
// descriptors. A value has 4 or 8 bytes, as the declaration says.
func (m *UntypedMap) putFD(key unsafe.Pointer, fd int, flags []ebpf.MapUpdateFlags) error {
	if fd < 0 && m.Map() != nil {
		return m.fail("update", fmt.Errorf("the file descriptor is %d: give an open one", fd))
	}
	narrow, wide := uint32(fd), uint64(fd)
	value := unsafe.Pointer(&narrow)
	if m.ValueSize() == 8 {
		value = unsafe.Pointer(&wide)
	}
	return m.putElement(key, value, flags)
}
