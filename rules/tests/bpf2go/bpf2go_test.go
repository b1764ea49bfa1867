package bpf2go

import (
	"testing"

	"github.com/cilium/ebpf"
)

// One source with other macros is another object, and both are in one package.
func TestVariants(t *testing.T) {
	for name, c := range map[string]struct {
		load func() (*ebpf.CollectionSpec, error)
		want uint32
	}{
		"small": {Small, 16},
		"large": {Large, 4096},
	} {
		spec, err := c.load()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []string{"by_cpu", "by_port"} {
			if got := spec.Maps[m].MaxEntries; got != c.want {
				t.Errorf("%s: %s has %d entries, want %d", name, m, got, c.want)
			}
		}
	}
}

// What cilium/ebpf takes by the beginning of a section's name has its type.
func TestSections(t *testing.T) {
	spec, err := Small()
	if err != nil {
		t.Fatal(err)
	}
	var specs smallSpecs
	if err := spec.Assign(&specs); err != nil {
		t.Fatal(err)
	}
	if specs.CountPackets.Type != ebpf.SocketFilter || specs.Drop.Type != ebpf.XDP {
		t.Errorf("types are %s and %s", specs.CountPackets.Type, specs.Drop.Type)
	}
	if err := specs.Step.Set(uint32(7)); err != nil {
		t.Error(err)
	}
}

// A function that is declared alone is for Go code to define.
func TestExtern(t *testing.T) {
	spec, err := Small()
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, ins := range spec.Programs["count_packets"].Instructions {
		if ins.IsFunctionCall() {
			calls = append(calls, ins.Reference())
		}
	}
	if len(calls) != 1 || calls[0] != "weight" {
		t.Errorf("the program calls %q, want weight", calls)
	}
}

// The object of a test's own, of two files.
func TestEmbeddedInTest(t *testing.T) {
	spec, err := loadDoubled()
	if err != nil {
		t.Fatal(err)
	}
	if spec.Programs["doubled"] == nil || spec.Variables["seen"] == nil {
		t.Errorf("programs %v, variables %v", spec.Programs, spec.Variables)
	}
}
