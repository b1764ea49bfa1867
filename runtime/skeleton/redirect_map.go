package skeleton

import (
	"errors"
	"iter"
	"unsafe"

	"github.com/cilium/ebpf"
)

// The maps of this file are what bpf_redirect_map and bpf_sk_redirect_map choose from. Their
// keys are numbers of 4 bytes, whatever their type in the declaration; only a SOCKHASH has
// others.

// DevMap is a handle on a map of network devices (BPF_MAP_TYPE_DEVMAP, DEVMAP_HASH).
type DevMap struct{ UntypedMap }

// DevMapVal is struct bpf_devmap_val: a network device that packets are sent to.
type DevMapVal struct {
	// Ifindex is the index of the device.
	Ifindex uint32
	// Prog is the XDP program that runs before the device sends, 0 for none: its file
	// descriptor for Put, and its ID in what Lookup returns. Maps whose declaration has
	// values of 4 bytes have none.
	Prog uint32
}

// Lookup returns the device at key. It fails with [ebpf.ErrKeyNotExist] when there is none.
func (m *DevMap) Lookup(key uint32) (value DevMapVal, err error) {
	err = m.lookupElement(unsafe.Pointer(&key), unsafe.Pointer(&value), nil)
	return value, err
}

// Put puts a device at key. For flags see [Map.Put].
func (m *DevMap) Put(key uint32, value DevMapVal, flags ...ebpf.MapUpdateFlags) error {
	if value.Prog != 0 && m.ValueSize() < 8 {
		return m.fail("update", errors.New("it has no room for a program: declare it with values of struct bpf_devmap_val"))
	}
	return m.putElement(unsafe.Pointer(&key), unsafe.Pointer(&value), flags)
}

// Delete removes the device at key.
func (m *DevMap) Delete(key uint32) error { return m.deleteElement(unsafe.Pointer(&key)) }

// All ranges over the devices, as [Map.All] does.
func (m *DevMap) All() iter.Seq2[Entry[uint32, DevMapVal], error] {
	return entries[DevMapVal](&m.UntypedMap)
}

// CPUMap is a handle on a map of CPUs that packets are handed to (BPF_MAP_TYPE_CPUMAP).
type CPUMap struct{ UntypedMap }

// CPUMapVal is struct bpf_cpumap_val: the queue of a CPU.
type CPUMapVal struct {
	// Qsize is how many packets wait at most, 0 for an entry that is not there.
	Qsize uint32
	// Prog is the XDP program that runs on the CPU, 0 for none: its file descriptor for Put,
	// and its ID in what Lookup returns. Maps whose declaration has values of 4 bytes have
	// none.
	Prog uint32
}

// Lookup returns the queue of a CPU. It fails with [ebpf.ErrKeyNotExist] when it has none.
func (m *CPUMap) Lookup(cpu uint32) (value CPUMapVal, err error) {
	err = m.lookupElement(unsafe.Pointer(&cpu), unsafe.Pointer(&value), nil)
	return value, err
}

// Put gives a CPU a queue. For flags see [Map.Put].
func (m *CPUMap) Put(cpu uint32, value CPUMapVal, flags ...ebpf.MapUpdateFlags) error {
	if value.Prog != 0 && m.ValueSize() < 8 {
		return m.fail("update", errors.New("it has no room for a program: declare it with values of struct bpf_cpumap_val"))
	}
	return m.putElement(unsafe.Pointer(&cpu), unsafe.Pointer(&value), flags)
}

// Delete removes the queue of a CPU.
func (m *CPUMap) Delete(cpu uint32) error { return m.deleteElement(unsafe.Pointer(&cpu)) }

// All ranges over the CPUs that have queues, as [Map.All] does.
func (m *CPUMap) All() iter.Seq2[Entry[uint32, CPUMapVal], error] {
	return entries[CPUMapVal](&m.UntypedMap)
}

func entries[V any](m *UntypedMap) iter.Seq2[Entry[uint32, V], error] {
	return func(yield func(Entry[uint32, V], error) bool) {
		var (
			at   walk
			next uint32
			e    Entry[uint32, V]
		)
		for {
			more, err := m.nextEntry(&at, unsafe.Pointer(&e.Key), unsafe.Pointer(&next), unsafe.Pointer(&e.Value), 4, sizeOf[V]())
			if !more || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// XSKMap is a handle on a map of AF_XDP sockets (BPF_MAP_TYPE_XSKMAP). User space cannot look
// up what is in it.
type XSKMap struct{ UntypedMap }

// Put puts the socket that fd is of at an index, which is the number of the queue that it is
// bound to where programs use ctx->rx_queue_index. For flags see [Map.Put].
func (m *XSKMap) Put(index uint32, fd int, flags ...ebpf.MapUpdateFlags) error {
	return m.putFD(unsafe.Pointer(&index), fd, flags)
}

// Delete removes the socket at an index.
func (m *XSKMap) Delete(index uint32) error { return m.deleteElement(unsafe.Pointer(&index)) }

// SockMap is a handle on an array of sockets (BPF_MAP_TYPE_SOCKMAP, REUSEPORT_SOCKARRAY).
type SockMap struct{ UntypedMap }

// Put puts the socket that fd is of at an index. The map drops it when it is closed. For
// flags see [Map.Put].
func (m *SockMap) Put(index uint32, fd int, flags ...ebpf.MapUpdateFlags) error {
	return m.putFD(unsafe.Pointer(&index), fd, flags)
}

// Lookup returns the cookie of the socket at an index: see SO_COOKIE in socket(7). Maps
// whose declaration has values of 4 bytes fail with ENOSPC, as the cookie has 8.
func (m *SockMap) Lookup(index uint32) (cookie uint64, err error) {
	err = m.lookupElement(unsafe.Pointer(&index), unsafe.Pointer(&cookie), nil)
	return cookie, err
}

// Delete removes the socket at an index.
func (m *SockMap) Delete(index uint32) error { return m.deleteElement(unsafe.Pointer(&index)) }

// SockHash is a handle on a hash of sockets (BPF_MAP_TYPE_SOCKHASH).
type SockHash[K any] struct{ BaseMap }

// Put puts the socket that fd is of under key. The map drops it when it is closed. For
// flags see [Map.Put].
func (m *SockHash[K]) Put(key K, fd int, flags ...ebpf.MapUpdateFlags) error {
	return m.UntypedMap.putFD(unsafe.Pointer(&key), fd, flags)
}

// Lookup is [SockMap.Lookup].
func (m *SockHash[K]) Lookup(key K) (cookie uint64, err error) {
	err = m.UntypedMap.lookupElement(unsafe.Pointer(&key), unsafe.Pointer(&cookie), nil)
	return cookie, err
}

// Delete removes the socket under key.
func (m *SockHash[K]) Delete(key K) error {
	return m.UntypedMap.deleteElement(unsafe.Pointer(&key))
}

// CgroupArray is a handle on an array of cgroups (BPF_MAP_TYPE_CGROUP_ARRAY), for
// bpf_current_task_under_cgroup. User space cannot look up what is in it.
type CgroupArray struct{ UntypedMap }

// Put puts the cgroup that fd is of, a descriptor of its directory, at an index. For flags
// see [Map.Put].
func (m *CgroupArray) Put(index uint32, fd int, flags ...ebpf.MapUpdateFlags) error {
	return m.putFD(unsafe.Pointer(&index), fd, flags)
}

// Delete removes the cgroup at an index.
func (m *CgroupArray) Delete(index uint32) error { return m.deleteElement(unsafe.Pointer(&index)) }
