package libbpf_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/libbpf"
)

// Where the program cannot be made, Bazel has a text in its place.
func TestMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reference")
	if err := os.WriteFile(path, []byte("no clang"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := libbpf.Open(path); !errors.Is(err, libbpf.ErrMissing) {
		t.Errorf("the error is %v", err)
	}
}

func TestParseTimes(t *testing.T) {
	spent, peak, err := libbpf.ParseTimes("1000 2000\n3 4\n512\n")
	if err != nil || len(spent) != 2 || spent[1].Wall != 4 || spent[0].CPU != 1000 || peak != 512<<10 {
		t.Errorf("%v, %d, %v", spent, peak, err)
	}
	if _, _, err := libbpf.ParseTimes("x\n"); err == nil {
		t.Error("what is no time is one")
	}
}
