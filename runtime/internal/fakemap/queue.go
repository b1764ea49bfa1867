package fakemap

import (
	"sync"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// queue is a queue or a stack: values, the oldest first.
type queue struct {
	base
	mu     sync.Mutex
	values [][]byte
}

func (q *queue) Elem(cmd sys.Cmd, key, value []byte, flags uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case key != nil:
		return syscall.EINVAL
	case cmd == sys.MapUpdateElemCmd:
		return q.push(value, flags)
	case cmd != sys.MapLookupElemCmd && cmd != sys.MapLookupAndDeleteElemCmd, flags != 0:
		return syscall.EINVAL
	case len(q.values) == 0:
		return syscall.ENOENT
	}
	next := 0
	if q.spec.Type == ebpf.Stack {
		next = len(q.values) - 1
	}
	copy(value, q.values[next])
	if cmd == sys.MapLookupAndDeleteElemCmd {
		q.values = append(q.values[:next], q.values[next+1:]...)
	}
	return nil
}

// push adds a value, in place of the oldest one of a full map when flags say so.
func (q *queue) push(value []byte, flags uint64) error {
	switch {
	case flags != 0 && flags != uint64(ebpf.UpdateExist):
		return syscall.EINVAL
	case len(q.values) < int(q.spec.MaxEntries):
	case flags == 0:
		return syscall.E2BIG
	default:
		q.values = q.values[1:]
	}
	q.values = append(q.values, append([]byte(nil), value...))
	return nil
}
