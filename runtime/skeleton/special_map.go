package skeleton

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
)

// StorageMap is a handle on a map that holds a value for each of the kernel's
// objects of one kind, and loses it with the object: a socket, task, inode or
// cgroup (BPF_MAP_TYPE_SK_STORAGE, TASK_STORAGE, INODE_STORAGE, CGRP_STORAGE).
//
// Its keys are file descriptors of the caller that stand for such objects: of a
// socket; of a task, a pidfd (pidfd_open(2)); of an inode, any file descriptor of
// the file; of a cgroup, one of its directory. The kernel keeps the object, not the
// descriptor. User space cannot find out which objects have values.
type StorageMap[V any] struct{ BaseMap }

// Lookup returns the value of the object that fd stands for. It fails with
// [ebpf.ErrKeyNotExist] when it has none.
func (m *StorageMap[V]) Lookup(fd int) (value V, err error) {
	key := int32(fd)
	err = m.UntypedMap.lookupElement(unsafe.Pointer(&key), unsafe.Pointer(&value), nil)
	return value, err
}

// Put sets the value of the object that fd stands for, whether it has one or not. For
// flags see [Map.Put].
func (m *StorageMap[V]) Put(fd int, value V, flags ...ebpf.MapUpdateFlags) error {
	key := int32(fd)
	return m.UntypedMap.putElement(unsafe.Pointer(&key), unsafe.Pointer(&value), flags)
}

// Delete removes the value of the object that fd stands for. It fails with
// [ebpf.ErrKeyNotExist] when it has none.
func (m *StorageMap[V]) Delete(fd int) error {
	key := int32(fd)
	return m.UntypedMap.deleteElement(unsafe.Pointer(&key))
}

// BloomFilter is a handle on a bloom filter: a set whose only certain answer is that it
// does not have a value.
type BloomFilter[V any] struct{ BaseMap }

// Add adds a value, for good.
func (f *BloomFilter[V]) Add(value V) error {
	// The kernel compares all bytes of values, as it does with keys.
	f.UntypedMap.zeroPadding(unsafe.Pointer(&value))
	return f.UntypedMap.element(opAdd, nil, unsafe.Pointer(&value), 0)
}

// MayContain is false when the value was never added, and true when it was, or when it has
// the hashes of others that were.
func (f *BloomFilter[V]) MayContain(value V) (bool, error) {
	f.UntypedMap.zeroPadding(unsafe.Pointer(&value))
	err := f.UntypedMap.element(opLookInto, nil, unsafe.Pointer(&value), 0)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ProgArray is a handle on an array of programs, for tail calls.
type ProgArray struct{ UntypedMap }

// SetContents sets which programs Load puts into the array, by their indices, in place of
// those of the declaration: nil for none. They must be of the same skeleton, and be loaded.
// It fails with [ErrLoaded] after Load: see [ProgArray.Put].
func (a *ProgArray) SetContents(programs map[uint32]*BaseProgram) error {
	return a.set("contents", func(def *loader.Map) error {
		elements := make([]loader.Element, 0, len(programs))
		for _, index := range slices.Sorted(maps.Keys(programs)) {
			p := programs[index]
			switch {
			case p == nil:
				return fmt.Errorf("element %d is nil: leave it out", index)
			case p.owner != a.origin().owner:
				return fmt.Errorf("element %d is program %s of another skeleton: put it there after Load", index, p.name)
			case index >= def.MaxEntries:
				return fmt.Errorf("element %d: the array has %d: call SetMaxEntries before", index, def.MaxEntries)
			}
			elements = append(elements, loader.Element{Key: index, Program: p.def})
		}
		def.Elements = elements
		return nil
	})
}

// Put stores a program at an index; the kernel keeps it while the skeleton's own
// map is open or pinned. It must be of the type of the programs that call it.
func (a *ProgArray) Put(index uint32, prog *ebpf.Program) error {
	fd := -1
	if prog != nil {
		fd = prog.FD()
	}
	err := a.putFD(unsafe.Pointer(&index), fd, nil)
	runtime.KeepAlive(prog)
	return err
}

// Delete removes the program at an index: tail calls to it fail from now on. It
// fails with [ebpf.ErrKeyNotExist] when there is none.
func (a *ProgArray) Delete(index uint32) error { return a.deleteElement(unsafe.Pointer(&index)) }

// UserRingBuffer is a handle on a ring buffer through which user space sends
// records to programs (BPF_MAP_TYPE_USER_RINGBUF). Write to it with
// [NewUserRingWriter].
type UserRingBuffer struct{ UntypedMap }
