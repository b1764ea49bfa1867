package fakemap

import (
	"encoding/binary"
	"sync"
	"syscall"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// array has the elements that were set. The others are zero.
type array struct {
	base
	mu     sync.Mutex
	values map[uint32][]byte
}

func newArray(b base) *array { return &array{base: b, values: make(map[uint32][]byte)} }

func (a *array) Elem(cmd sys.Cmd, key, value []byte, flags uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	// As in the kernel, NULL stands for the index before the first.
	index := uint32(0xffffffff)
	if key != nil {
		index = binary.NativeEndian.Uint32(key)
	}
	inside := index < a.spec.MaxEntries
	switch cmd {
	case sys.MapLookupElemCmd:
		if err := checkLookup(flags); err != nil {
			return err
		}
		if !inside {
			return syscall.ENOENT
		}
		a.copyTo(value, index)
		return nil
	case sys.MapUpdateElemCmd:
		noExist, _, err := checkUpdate(flags)
		switch {
		case err != nil:
			return err
		case !inside:
			return syscall.E2BIG
		case noExist:
			return syscall.EEXIST
		}
		a.values[index] = append(a.values[index][:0], value...)
		return nil
	case sys.MapGetNextKeyCmd:
		next := uint32(0)
		if inside {
			next = index + 1
		}
		if next >= a.spec.MaxEntries {
			return syscall.ENOENT
		}
		binary.NativeEndian.PutUint32(value, next)
		return nil
	case sys.MapDeleteElemCmd:
		return syscall.EINVAL
	}
	return sys.ENOTSUPP
}

func (a *array) copyTo(value []byte, index uint32) {
	if stored, ok := a.values[index]; ok {
		copy(value, stored)
	} else {
		clear(value)
	}
}

func (a *array) LookupBatch(at *uint64, keys, values []byte, deleting bool) (int, error) {
	if deleting {
		return 0, sys.ENOTSUPP
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	room, n := len(keys)/4, 0
	for ; n < room && *at < uint64(a.spec.MaxEntries); n++ {
		binary.NativeEndian.PutUint32(a.keyAt(keys, n), uint32(*at))
		a.copyTo(a.valueAt(values, n), uint32(*at))
		*at++
	}
	if *at >= uint64(a.spec.MaxEntries) {
		return n, syscall.ENOENT
	}
	return n, nil
}

func (a *array) ChangeBatch(keys, values []byte) (int, error) {
	if values == nil {
		return 0, sys.ENOTSUPP
	}
	return a.changeBatch(a, keys, values)
}
