package skeleton

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
)

// StackTraceMap is a handle on a map of stack traces (BPF_MAP_TYPE_STACK_TRACE), which
// programs fill with bpf_get_stackid.
type StackTraceMap struct{ UntypedMap }

// flagStackBuildID is BPF_F_STACK_BUILD_ID of linux/bpf.h.
const flagStackBuildID = 1 << 5

// Lookup returns the addresses of the stack trace that bpf_get_stackid has returned id for,
// the innermost function's first. It fails with [ebpf.ErrKeyNotExist] when there is none:
// a program may have put another trace in its place, and then id gives that.
//
// It fails too for a map whose traces are build IDs and offsets (BPF_F_STACK_BUILD_ID).
func (m *StackTraceMap) Lookup(id uint32) ([]uint64, error) {
	frames, err := m.frames()
	if err != nil {
		return nil, m.fail("lookup", err)
	}
	trace := make([]uint64, frames)
	if err := m.element(opLookup, unsafe.Pointer(&id), unsafe.Pointer(unsafe.SliceData(trace)), 0); err != nil {
		return nil, err
	}
	return withoutZeros(trace), nil
}

// frames returns how many addresses a trace has at most.
func (m *StackTraceMap) frames() (uint32, error) {
	size := m.ValueSize()
	switch {
	case m.Flags()&flagStackBuildID != 0:
		return 0, errors.New("its traces are build IDs and offsets, no addresses: read struct bpf_stack_build_id with Map().Lookup")
	case size == 0 && m.Map() == nil:
		return 0, ErrNotLoaded
	case size%8 != 0:
		return 0, fmt.Errorf("its values of %d bytes are no addresses of 8 bytes", size)
	}
	return size / 8, nil
}

// withoutZeros takes off the zeros that the kernel fills a trace up with.
func withoutZeros(trace []uint64) []uint64 {
	if end := slices.Index(trace, 0); end >= 0 {
		return trace[:end]
	}
	return trace
}

// All ranges over the IDs and addresses of the stack traces, as [Map.All] does.
func (m *StackTraceMap) All() iter.Seq2[Entry[uint32, []uint64], error] {
	return func(yield func(Entry[uint32, []uint64], error) bool) {
		var (
			at   walk
			next uint32
			e    Entry[uint32, []uint64]
		)
		for {
			more, err := m.nextKey(&at, unsafe.Pointer(&e.Key), unsafe.Pointer(&next), 4)
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

// Delete removes a stack trace, so that another may take its place. It fails with
// [ebpf.ErrKeyNotExist] when there is none.
func (m *StackTraceMap) Delete(id uint32) error { return m.deleteElement(unsafe.Pointer(&id)) }
