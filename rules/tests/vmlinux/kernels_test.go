package vmlinux_test

import (
	"os"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/rules-bpf/rules_bpf/internal/btfarchive"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// The archive has the kernels by the paths of their files, with what the object asks for
// and no more.
func TestKernels(t *testing.T) {
	path, err := runfiles.Rlocation(os.Getenv("KERNELS"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kernels, err := btfarchive.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"first/1/x86_64/5.4.0-1-generic", "second/1/x86_64/5.4.0-1-generic"}
	if len(kernels) != len(want) {
		t.Fatalf("%d kernels", len(kernels))
	}
	for i, k := range kernels {
		if k.Name != want[i] {
			t.Errorf("%s, want %s", k.Name, want[i])
		}
		types, err := rawbtf.Parse(k.Types, nil)
		if err != nil {
			t.Fatal(err)
		}
		typ, ok := types.Find("aligned", rawbtf.Struct)
		if !ok || typ.Vlen() != 1 || typ.Member(0).Name != "i" || typ.Member(0).Offset != 8*64 {
			t.Errorf("%s: struct aligned is %v, with %d members", k.Name, ok, typ.Vlen())
		}
		if _, ok := types.Find("packed", rawbtf.Struct); ok {
			t.Errorf("%s: has struct packed", k.Name)
		}
	}
}
