// Package measure is Go code whose lines `bazel coverage` is to count, beside those of a
// generated file in the same package, which it is not.
package measure

import (
	"errors"

	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// Packets runs a program for a packet of each size, and returns how many it has seen of
// each.
func Packets(sizes ...int) (map[uint32]uint64, error) {
	if len(sizes) == 0 {
		return nil, errors.New("no sizes")
	}
	skel, err := Open()
	if err != nil {
		return nil, err
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		return nil, err
	}
	for _, size := range sizes {
		if _, _, err := skel.Progs.Measure.Program().Test(make([]byte, size)); err != nil {
			return nil, err
		}
	}
	return Read(skel.Maps.Sizes)
}

// Read returns what is in the program's map.
func Read(sizes *skeleton.Map[uint32, uint64]) (map[uint32]uint64, error) {
	seen := make(map[uint32]uint64)
	for e, err := range sizes.All() {
		if err != nil {
			return nil, err
		}
		seen[e.Key] = e.Value
	}
	return seen, nil
}
