package traffic

import (
	"testing"
	"unsafe"
)

func TestEntries(t *testing.T) {
	large, small, err := Entries()
	if err != nil || large != 64 || small != 1 {
		t.Errorf("entries %d and %d, %v, want 64 and 1", large, small, err)
	}
	if size := unsafe.Sizeof(counterEvent{}); size != 16 || size != unsafe.Sizeof(smallEvent{}) {
		t.Errorf("an event has %d bytes, want 16", size)
	}
}
