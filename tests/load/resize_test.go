package load_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/resized"
)

// An array at the end of a section has as many elements as it is given before Load, with
// those of the object first, and is the kernel's memory after it.
func TestResize(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 5, "sections that can be mapped")
	const count = 900
	skel := bpftest.Open(t, resized.Open)
	skel.DataValues.Values[0] = 70
	values, err := skel.ResizeDataValues(count)
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := skel.ResizeData(count + 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(values) != count || len(pairs) != count+1 || values[0] != 70 || values[1] != 0 || pairs[1].First != 3 || skel.Data.Before != 5 {
		t.Fatalf("%d values from %d, %d pairs from %+v", len(values), values[:2], len(pairs), pairs[:2])
	}
	if &values[0] != &skel.DataValues.Values[0] || &pairs[0] != &skel.Data.Pairs[0] {
		t.Error("the skeleton's fields point to where the arrays were")
	}
	var want, wantPairs uint64 = 70, 2 + 12
	for i := 1; i < count; i++ {
		values[i] = uint64(i) << 20
		want += values[i]
	}
	for i := 2; i <= count; i++ {
		pairs[i] = resized.Pair{First: uint32(i), Second: uint8(i)}
		wantPairs += uint64(i) * uint64(uint8(i))
	}
	skel.Rodata.Count = count
	skel.Data.Before = 6
	v, ok := skel.FindVariable("values")
	if !ok || v.Size() != 8*count || len(v.Bytes()) != 8*count || len(v.Section().Bytes()) != 8*count {
		t.Errorf("variable values has %d bytes", v.Size())
	}
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	run := func() {
		t.Helper()
		if got, _, err := skel.Progs.Add.Test(make([]byte, 64)); err != nil || got != 6 {
			t.Fatalf("the program returns %d, %v", got, err)
		}
		if skel.Bss.Sum != want || skel.Bss.OfPairs != wantPairs {
			t.Errorf("sums %d and %d, want %d and %d", skel.Bss.Sum, skel.Bss.OfPairs, want, wantPairs)
		}
	}
	run()
	if values[count-1] != (count-1)<<20+1 {
		t.Errorf("the last value is %d", values[count-1])
	}
	values[count-1] = 0
	// Each was added to once, and the last is gone.
	want = want + count - 1 - uint64(count-1)<<20
	run()
	info, err := skel.Maps.DataValues.Map().Info()
	if err != nil {
		t.Fatal(err)
	}
	if _, typed := info.BTFID(); !typed || info.ValueSize != 8*count {
		t.Errorf("the map has values of %d bytes, types: %t", info.ValueSize, typed)
	}
	if _, err := skel.ResizeDataValues(2); !errors.Is(err, skeleton.ErrLoaded) {
		t.Errorf("after Load: %v", err)
	}
	if err := skel.Close(); err != nil {
		t.Fatal(err)
	}
	if values[1] != 1<<20+2 {
		t.Errorf("after Close, a value is %d", values[1])
	}
	if _, err := skel.ResizeDataValues(2); !errors.Is(err, skeleton.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestResizeErrors(t *testing.T) {
	skel := bpftest.Open(t, resized.Open)
	for _, tt := range []struct {
		n    int
		want string
	}{
		{1, "it is declared with 2: give it as many or more"}, {0, "give it as many or more"}, {-1, "give it as many or more"}, {math.MaxInt, "memory for sections of"}, {math.MaxInt32/8 + 1, "memory for sections of"},
	} {
		if _, err := skel.ResizeData(tt.n); err == nil || !strings.Contains(err.Error(), "resize variable pairs: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%d elements: %v", tt.n, err)
		}
	}
	for name, want := range map[string]string{
		"before": "resize variable before: pairs follows it in section .data",
		"count":  "resize variable count: it is not an array",
	} {
		v, ok := skel.FindVariable(name)
		if !ok {
			t.Fatalf("no variable %s", name)
		}
		if err := v.ResizeArray(10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := (skeleton.Variable{}).ResizeArray(1); !errors.Is(err, skeleton.ErrNotOpen) {
		t.Errorf("no variable: %v", err)
	}
	skel.Data = nil
	if _, err := skel.ResizeData(3); err == nil || !strings.Contains(err.Error(), "set to nil") {
		t.Errorf("without its struct: %v", err)
	}
}
