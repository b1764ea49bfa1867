package usdt

import "testing"

func TestIDs(t *testing.T) {
	var ids IDs
	take := func(value string, want uint32, wantNew bool) {
		t.Helper()
		if id, isNew := ids.Take(value); id != want || isNew != wantNew {
			t.Errorf("take(%q) = %d, %v, want %d, %v", value, id, isNew, want, wantNew)
		}
	}
	take("a", 0, true)
	take("b", 1, true)
	take("a", 0, false)
	ids.Drop(0)
	take("c", 2, true)
	ids.Drop(0)
	take("d", 0, true)
	take("a", 3, true)
}
