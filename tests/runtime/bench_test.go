package runtime_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
)

var total uint64

// BenchmarkReadGlobal reads a u64 global variable of a loaded object in the
// three ways that there are.
func BenchmarkReadGlobal(b *testing.B) {
	kerneltest.BPF(b)
	skel := open(b)
	mustLoad(b, skel)

	b.Run("skeleton", func(b *testing.B) {
		calls := &skel.Bss.Calls
		for b.Loop() {
			total += *calls
		}
	})

	b.Run("variable", func(b *testing.B) {
		// The same object through cilium/ebpf alone.
		spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(objectBytes(b)))
		if err != nil {
			b.Fatal(err)
		}
		for name, p := range spec.Programs {
			if p.SectionName[0] == '?' {
				delete(spec.Programs, name)
			}
		}
		coll, err := ebpf.NewCollection(spec)
		if err != nil {
			b.Fatal(err)
		}
		defer coll.Close()
		var v uint64
		for b.Loop() {
			if err := coll.Variables["calls"].Get(&v); err != nil {
				b.Fatal(err)
			}
			total += v
		}
	})

	b.Run("lookup", func(b *testing.B) {
		m := skel.Maps.Bss.Map()
		value := make([]byte, m.ValueSize())
		for b.Loop() {
			if err := m.Lookup(uint32(0), &value); err != nil {
				b.Fatal(err)
			}
			total += uint64(value[0])
		}
	})
}

// objectBytes returns the object of the lifecycle skeleton.
func objectBytes(b *testing.B) []byte {
	path, err := runfiles.Rlocation(os.Getenv("LIFECYCLE_OBJECT"))
	if err != nil {
		b.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	return data
}
