package skeleton

import (
	"errors"
	"reflect"
	"unsafe"

	"github.com/cilium/ebpf"
)

// StorageMap is a handle on a map that holds a value for each of the kernel's
// objects of one kind, and loses it with the object: a socket, task, inode or
// cgroup (BPF_MAP_TYPE_SK_STORAGE, TASK_STORAGE, INODE_STORAGE, CGRP_STORAGE).
//
// Its keys are file descriptors of the caller that stand for such objects: of a
// socket; of a task, a pidfd (pidfd_open(2)); of an inode, any file descriptor of
// the file; of a cgroup, one of its folder. The kernel keeps the object, not the
// descriptor. User space cannot ask which objects have values.
type StorageMap[V any] struct {
	UntypedMap
	scratch pool[entryBuffer[int32, V]]
}

func (m *StorageMap[V]) sizes() (key, value uintptr) { return 4, sizeOf[V]() }
func (m *StorageMap[V]) keyType() reflect.Type       { return reflect.TypeFor[int32]() }

// Lookup returns the value of the object that fd stands for. It fails with
// [ebpf.ErrKeyNotExist] when it has none.
func (m *StorageMap[V]) Lookup(fd int) (V, error) {
	return lookup(&m.UntypedMap, &m.scratch, int32(fd), 0)
}

// Put sets the value of the object that fd stands for, whether it has one or not.
func (m *StorageMap[V]) Put(fd int, value V) error {
	return m.Update(fd, value, ebpf.UpdateAny)
}

// Update is Put with flags, see [Map.Update].
func (m *StorageMap[V]) Update(fd int, value V, flags ebpf.MapUpdateFlags) error {
	return update(&m.UntypedMap, &m.scratch, int32(fd), value, flags)
}

// Delete removes the value of the object that fd stands for. It fails with
// [ebpf.ErrKeyNotExist] when it has none.
func (m *StorageMap[V]) Delete(fd int) error {
	return deleteEntry(&m.UntypedMap, &m.scratch, int32(fd))
}

// BloomFilter is a handle on a bloom filter: a set that can tell for certain only
// that it does not have a value.
type BloomFilter[V any] struct {
	UntypedMap
	scratch pool[V]
}

func (f *BloomFilter[V]) sizes() (key, value uintptr) { return 0, sizeOf[V]() }

// The kernel compares all bytes of values, as it does with keys.
func (f *BloomFilter[V]) keyType() reflect.Type { return reflect.TypeFor[V]() }

// Add adds a value, for good.
func (f *BloomFilter[V]) Add(value V) error {
	km, err := f.get()
	if err != nil {
		return f.fail("add to", err)
	}
	buf := f.scratch.get()
	defer f.scratch.put(buf)
	setKey(&f.UntypedMap, buf, value)
	return f.fail("add to", km.Update(nil, unsafe.Pointer(buf), ebpf.UpdateAny))
}

// MayContain is false when the value was never added, and true when it was, or
// when others were that look alike.
func (f *BloomFilter[V]) MayContain(value V) (bool, error) {
	km, err := f.get()
	if err != nil {
		return false, f.fail("look into", err)
	}
	buf := f.scratch.get()
	defer f.scratch.put(buf)
	setKey(&f.UntypedMap, buf, value)
	err = km.Lookup(nil, unsafe.Pointer(buf))
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	return err == nil, f.fail("look into", err)
}

// ProgArray is a handle on an array of programs, for tail calls.
type ProgArray struct{ UntypedMap }

// Put stores a program at an index; the kernel keeps it while the skeleton's own
// map is open or pinned. It must be of the type of the programs that call it.
func (a *ProgArray) Put(index uint32, prog *ebpf.Program) error {
	km, err := a.get()
	if err != nil {
		return a.fail("update", err)
	}
	return a.fail("update", km.Put(index, prog))
}

// Delete removes the program at an index: tail calls to it fail from now on. It
// fails with [ebpf.ErrKeyNotExist] when there is none.
func (a *ProgArray) Delete(index uint32) error {
	km, err := a.get()
	if err != nil {
		return a.fail("delete", err)
	}
	return a.fail("delete", km.Delete(index))
}

// UserRingBuffer is a handle on a ring buffer through which user space sends
// records to programs (BPF_MAP_TYPE_USER_RINGBUF). Write to it with
// [NewUserRingWriter].
type UserRingBuffer struct{ UntypedMap }
