// Package watch counts packets, in two sizes.
package watch

import (
	"errors"

	"github.com/cilium/ebpf"
)

//go:generate go tool bpf2go -tags linux -target amd64,arm64 -type event watch watch.c -- -I../headers -Wno-unused-function
//go:generate go tool bpf2go -tags linux -no-global-types -output-stem big -cflags "-O2 -DENTRIES=4096" BigWatch watch.c -- -I../headers

// Watch is what is loaded.
type Watch struct {
	objs watchObjects
}

// Open loads the programs, which drop packets of fewer bytes.
func Open(minBytes uint32) (*Watch, error) {
	spec, err := loadWatch()
	if err != nil {
		return nil, err
	}
	if err := spec.Variables["min_bytes"].Set(minBytes); err != nil {
		return nil, err
	}
	w := &Watch{}
	if err := spec.LoadAndAssign(&w.objs, nil); err != nil {
		return nil, err
	}
	return w, nil
}

// Close takes the programs out of the kernel.
func (w *Watch) Close() error { return w.objs.Close() }

// Traffic returns what is known of packets of a size.
func (w *Watch) Traffic(size uint32) (packets, bytes uint64, err error) {
	var t watchTraffic
	err = w.objs.BySize.Lookup(size, &t)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, 0, nil
	}
	return t.Packets, t.Bytes, err
}

// Small returns how many packets were dropped.
func (w *Watch) Small() (n uint64, err error) {
	err = w.objs.Small.Get(&n)
	return n, err
}

// Entries returns how many sizes each variant has room for.
func Entries() (small, big uint32, err error) {
	smallSpec, err := loadWatch()
	if err != nil {
		return 0, 0, err
	}
	bigSpec, err := LoadBigWatch()
	if err != nil {
		return 0, 0, err
	}
	return smallSpec.Maps["by_size"].MaxEntries, bigSpec.Maps["by_size"].MaxEntries, nil
}
