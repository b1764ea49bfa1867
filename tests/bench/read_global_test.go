// Package bench_test measures what users would measure: the skeleton against
// the other ways to do the same thing, in one run.
package bench_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/tests/runtime/progs/lifecycle"
)

// sink keeps the reads from being optimised away.
var sink uint64

// BenchmarkReadGlobal reads a u64 global variable of a loaded object in the
// three ways that there are: through the skeleton, with ebpf.Variable.Get, and
// with a lookup in the section's map.
func BenchmarkReadGlobal(b *testing.B) {
	bpftest.NeedsBPF(b)
	skel, err := lifecycle.Open()
	if err != nil {
		b.Fatal(err)
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		b.Fatal(err)
	}
	coll := loadWithoutSkeleton(b)
	defer coll.Close()

	b.Run("skeleton", func(b *testing.B) {
		for b.Loop() {
			sink += skel.Bss.Calls
		}
	})
	b.Run("Variable.Get", func(b *testing.B) {
		calls := coll.Variables["calls"]
		var value uint64
		for b.Loop() {
			if err := calls.Get(&value); err != nil {
				b.Fatal(err)
			}
			sink += value
		}
	})
	b.Run("Map.Lookup", func(b *testing.B) {
		bss := coll.Maps[".bss"]
		value := make([]byte, bss.ValueSize())
		for b.Loop() {
			if err := bss.Lookup(uint32(0), value); err != nil {
				b.Fatal(err)
			}
			sink += uint64(value[0])
		}
	})
}

// loadWithoutSkeleton loads the skeleton's object as a user of cilium/ebpf would.
func loadWithoutSkeleton(b *testing.B) *ebpf.Collection {
	b.Helper()
	path, err := runfiles.Rlocation(os.Getenv("LIFECYCLE_OBJECT"))
	if err != nil {
		b.Fatal(err)
	}
	object, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		b.Fatal(err)
	}
	// It would load the optional programs too, one of which the verifier rejects.
	for name, prog := range spec.Programs {
		if strings.HasPrefix(prog.SectionName, "?") {
			delete(spec.Programs, name)
		}
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		b.Fatal(err)
	}
	return coll
}
