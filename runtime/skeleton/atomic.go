package skeleton

import (
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
)

// The types below do what atomic.Pointer does. That one is generic, and handles are part of
// every skeleton: its methods would be compiled again in each generated package, and in each
// package that imports one.

// mapPointer is an atomic pointer to a map, nil when it is zero.
type mapPointer struct{ p unsafe.Pointer }

func (p *mapPointer) Load() *ebpf.Map   { return (*ebpf.Map)(atomic.LoadPointer(&p.p)) }
func (p *mapPointer) Store(m *ebpf.Map) { atomic.StorePointer(&p.p, unsafe.Pointer(m)) }

// programPointer is an atomic pointer to a program, nil when it is zero.
type programPointer struct{ p unsafe.Pointer }

func (p *programPointer) Load() *ebpf.Program      { return (*ebpf.Program)(atomic.LoadPointer(&p.p)) }
func (p *programPointer) Store(prog *ebpf.Program) { atomic.StorePointer(&p.p, unsafe.Pointer(prog)) }

// keyErrorPointer is an atomic pointer to an error, nil when it is zero.
type keyErrorPointer struct{ p unsafe.Pointer }

func (p *keyErrorPointer) Load() *keyError     { return (*keyError)(atomic.LoadPointer(&p.p)) }
func (p *keyErrorPointer) Store(err *keyError) { atomic.StorePointer(&p.p, unsafe.Pointer(err)) }
