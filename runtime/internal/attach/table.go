package attach

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Table connects a struct_ops map of section .struct_ops.link: the kernel takes the table for
// as long as the link lives.
func Table(m *ebpf.Map) (link.Link, error) {
	l, err := link.AttachStructOps(link.StructOpsOptions{Map: m})
	if err != nil {
		return nil, fmt.Errorf("%w: the kernel may have a table of the same name already", err)
	}
	return l, nil
}

// UpdateTable puts m into a link that Table has made, in place of its map.
func UpdateTable(linkFD int, m *ebpf.Map) error {
	attr := struct{ linkFD, newMapFD, flags, oldMapFD uint32 }{linkFD: uint32(linkFD), newMapFD: uint32(m.FD())}
	_, err := sys.Bpf(sys.LinkUpdateCmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(m)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("the kernel does not let this map follow that of the link: they must be of one type that can be updated, and have the same name there if it has names: %w", err)
	}
	return err
}

// RegisterTable connects a struct_ops map of section .struct_ops, for which the kernel has no
// link: the kernel takes the table when the value is put into the map, once for each map, until
// it is deleted. name is that of the map.
func RegisterTable(m *ebpf.Map, name string, value []byte) (link.Link, error) {
	// The link outlives the skeleton if the user takes it out of its slot.
	m, err := m.Clone()
	if err != nil {
		return nil, err
	}
	if err := m.Put(uint32(0), value); err != nil {
		err = fmt.Errorf("the kernel does not take this table: give it the members that its type requires, and leave at zero or nil those that the kernel does not take from programs (its log may say which): %w", err)
		return nil, errors.Join(err, m.Close())
	}
	l := &registration{name: name}
	l.registered.Store(m)
	return l, nil
}

// registration is the link of a map that has none in the kernel.
type registration struct {
	// Link is nil: it is there for the method that keeps others from implementing
	// the interface.
	link.Link
	// name is that of the map, and registered the map until the link is closed.
	name       string
	registered atomic.Pointer[ebpf.Map]
}

func (r *registration) unsupported(what string) error {
	return fmt.Errorf("%s map %s: a map of section .struct_ops has no link in the kernel: put it into .struct_ops.link: %w", what, r.name, link.ErrNotSupported)
}

func (r *registration) Update(*ebpf.Program) error { return r.unsupported("update") }
func (r *registration) Pin(string) error           { return r.unsupported("pin") }
func (r *registration) Unpin() error               { return r.unsupported("unpin") }
func (r *registration) Info() (*link.Info, error)  { return nil, r.unsupported("info on") }

func (r *registration) Closed() bool { return r.registered.Load() == nil }

// Detach takes the table from the kernel.
func (r *registration) Detach() error { return r.Close() }

// Close takes the table from the kernel.
func (r *registration) Close() error {
	registered := r.registered.Swap(nil)
	if registered == nil {
		return nil
	}
	err := registered.Delete(uint32(0))
	// Another call was faster.
	if errors.Is(err, syscall.EINPROGRESS) || errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	return errors.Join(err, registered.Close())
}
