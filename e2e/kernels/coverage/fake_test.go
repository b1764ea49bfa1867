package measure

import (
	"maps"
	"testing"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest/fake"

	"example.com/kernels/sizes"
)

func TestRead(t *testing.T) {
	skel := fake.Load(t, sizes.Open)
	if err := skel.Maps.Sizes.Put(60, 3); err != nil {
		t.Fatal(err)
	}
	got, err := Read(skel.Maps.Sizes)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[uint32]uint64{60: 3}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestNoPackets(t *testing.T) {
	if _, err := Packets(); err == nil {
		t.Error("no error without sizes")
	}
}
