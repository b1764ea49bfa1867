package fakemap

import (
	"container/list"
	"sync"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// hash has entries in the order in which they were put, which for an LRU hash is that in
// which they are dropped. The kernel drops others than the oldest at times, and before the
// map is full.
type hash struct {
	base
	mu      sync.Mutex
	entries map[string]*list.Element // of *entry
	order   list.List
	// puts counts entries.
	puts uint64
}

type entry struct {
	key   string
	value []byte
	// number is greater than those of the entries before it in the order.
	number uint64
}

func newHash(b base) *hash { return &hash{base: b, entries: make(map[string]*list.Element)} }

func (h *hash) isLRU() bool { return h.spec.Type == ebpf.LRUHash || h.spec.Type == ebpf.LRUCPUHash }

func (h *hash) Elem(cmd sys.Cmd, key, value []byte, flags uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.entries[string(key)]
	switch cmd {
	case sys.MapUpdateElemCmd:
		return h.put(at, key, value, flags)
	case sys.MapGetNextKeyCmd:
		// A key that is not there makes the kernel start over.
		next := h.order.Front()
		if key != nil && at != nil {
			next = at.Next()
		}
		if next == nil {
			return syscall.ENOENT
		}
		copy(value, next.Value.(*entry).key)
		return nil
	case sys.MapLookupElemCmd, sys.MapLookupAndDeleteElemCmd:
		if err := checkLookup(flags); err != nil {
			return err
		}
	case sys.MapDeleteElemCmd:
	default:
		return sys.ENOTSUPP
	}
	if at == nil {
		return syscall.ENOENT
	}
	copy(value, at.Value.(*entry).value)
	if cmd != sys.MapLookupElemCmd {
		h.remove(at)
	}
	return nil
}

// put sets the value of a key, whose entry is at, nil when it has none.
func (h *hash) put(at *list.Element, key, value []byte, flags uint64) error {
	noExist, exist, err := checkUpdate(flags)
	switch {
	case err != nil:
		return err
	case noExist && at != nil:
		return syscall.EEXIST
	case exist && at == nil:
		return syscall.ENOENT
	case at != nil && !h.isLRU():
		copy(at.Value.(*entry).value, value)
		return nil
	case at != nil:
		h.remove(at)
	case len(h.entries) < int(h.spec.MaxEntries):
	case h.isLRU():
		h.remove(h.order.Front())
	default:
		return syscall.E2BIG
	}
	h.puts++
	e := &entry{key: string(key), value: append([]byte(nil), value...), number: h.puts}
	h.entries[e.key] = h.order.PushBack(e)
	return nil
}

func (h *hash) remove(at *list.Element) {
	delete(h.entries, at.Value.(*entry).key)
	h.order.Remove(at)
}

func (h *hash) LookupBatch(at *uint64, keys, values []byte, deleting bool) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	room, n := len(keys)/int(h.spec.KeySize), 0
	next := h.order.Front()
	for next != nil && n < room {
		this, e := next, next.Value.(*entry)
		next = next.Next()
		if e.number <= *at {
			continue
		}
		copy(h.keyAt(keys, n), e.key)
		copy(h.valueAt(values, n), e.value)
		*at = e.number
		if deleting {
			h.remove(this)
		}
		n++
	}
	if next == nil {
		return n, syscall.ENOENT
	}
	return n, nil
}

func (h *hash) ChangeBatch(keys, values []byte) (int, error) { return h.changeBatch(h, keys, values) }
