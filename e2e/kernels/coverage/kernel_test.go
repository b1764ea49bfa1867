package measure

import (
	"maps"
	"testing"
)

func TestPackets(t *testing.T) {
	got, err := Packets(64, 128, 64)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[uint32]uint64{64: 2, 128: 1}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
