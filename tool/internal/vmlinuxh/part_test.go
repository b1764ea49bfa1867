package vmlinuxh

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// The header of some types is the same, whether it is made of them and what they need or of
// all of a kernel's.
func TestPart(t *testing.T) {
	data, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Skipf("needs the BTF of the kernel (5.4): %v", err)
	}
	kernel, err := Load(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, id := range kernel.roots() {
		typ := kernel.raw.At(id)
		if name := typ.Name(); name != "" {
			names = append(names, name)
		} else if typ.Vlen() > 0 {
			value, _ := typ.Value(0)
			names = append(names, value)
		}
	}
	for name := range kernel.kfuncs {
		names = append(names, name)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		var some []string
		for range 1 + r.IntN(8) {
			some = append(some, names[r.IntN(len(names))])
		}
		got, err := kernel.generate(some)
		if err != nil {
			t.Fatalf("%q: %v", some, err)
		}
		wanted, missing := make(map[string]bool), make(map[string]bool)
		for _, name := range append(some, always...) {
			wanted[name] = true
		}
		types, err := kernel.decode(kernel.search(wanted, missing))
		if err != nil {
			t.Fatal(err)
		}
		var functions []string
		for _, name := range slices.Compact(slices.Sorted(slices.Values(some))) {
			if kernel.kfuncs[name] != 0 {
				functions = append(functions, name)
			}
		}
		kfuncs, err := kernel.functions(functions)
		if err != nil {
			t.Fatal(err)
		}
		want, err := generateOf(types, kfuncs, kernel.ptrSize)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.out, want.out) {
			t.Errorf("%q: the header differs", some)
		}
	}
}
