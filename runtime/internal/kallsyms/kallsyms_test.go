package kallsyms

import (
	"errors"
	"io/fs"
	"iter"
	"maps"
	"os"
	"testing"
)

func list(lines ...string) iter.Seq2[Symbol, error] {
	return func(yield func(Symbol, error) bool) {
		for _, line := range lines {
			if !yield(parse([]byte(line)), nil) {
				return
			}
		}
	}
}

func TestFind(t *testing.T) {
	// A symbol at zero is one, as others are not.
	symbols := map[string]uint64{"zero": 1, "last": 0, "missing": 0, "of_module": 0, "static": 0, "text": 0}
	err := find(symbols, list("0 A zero", "1 T first", "ff d last", "aa t of_module\t[some]", "bb d static.llvm.123", "cc t text.llvm.1", ""))
	if want := (map[string]uint64{"zero": 0, "last": 0xff, "of_module": 0xaa, "static": 0xbb}); !maps.Equal(symbols, want) || err != nil {
		t.Errorf("addresses %v (%v), want %v", symbols, err, want)
	}
	if err := find(map[string]uint64{"one": 0}, list("0 t one", "0 t other")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("of a kernel that hides addresses: %v", err)
	}
	if err := find(map[string]uint64{"missing": 0}, list("0 t one", "0 t other")); err != nil {
		t.Errorf("of a symbol that is not there: %v", err)
	}
	for _, other := range []string{"2 t twice", "0 t twice"} {
		if err := find(map[string]uint64{"twice": 0}, list("1 t twice", other)); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("of two symbols of one name: %v", err)
		}
	}
	if err := find(map[string]uint64{"same": 0}, list("1 t same", "1 t same")); err != nil {
		t.Errorf("of two names of one place: %v", err)
	}
	if err := find(map[string]uint64{"bad": 0}, list("x t bad")); err == nil {
		t.Error("an address that is no number is taken")
	}
}

func TestKernel(t *testing.T) {
	if _, err := os.Stat(Path); err != nil {
		t.Skipf("needs %s: %v", Path, err)
	}
	if !HasFunction("vfs_read") || HasFunction("no_such_function_in_any_kernel") {
		t.Error("the kernel has vfs_read, and no other")
	}
	names := map[string]bool{"vfs_read": false, "vfs_write": false, "no_such_function_in_any_kernel": false}
	if err := Functions(names); err != nil || !names["vfs_read"] || !names["vfs_write"] || names["no_such_function_in_any_kernel"] {
		t.Errorf("%v, %v", names, err)
	}
}
