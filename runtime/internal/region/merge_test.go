package region

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf/btf"
)

func TestMergeWord(t *testing.T) {
	u64 := &btf.Int{Name: "__u64", Size: 8}
	u32 := &btf.Typedef{Name: "__u32", Type: &btf.Int{Name: "unsigned int", Size: 4}}
	u16 := &btf.Int{Name: "short", Size: 2, Encoding: btf.Signed}
	flag := &btf.Int{Name: "bool", Size: 1, Encoding: btf.Bool}
	enum := &btf.Enum{Name: "mode", Size: 4, Values: []btf.EnumValue{{Name: "A"}}}
	pair := &btf.Struct{Name: "pair", Size: 16, Members: []btf.Member{
		{Name: "count", Type: u64},
		{Name: "short", Type: u16, Offset: 64},
		{Name: "flag", Type: flag, Offset: 80},
		{Name: "mode", Type: enum, Offset: 96},
	}}
	var section btf.Datasec
	for _, v := range []struct {
		offset, size uint32
		typ          btf.Type
	}{
		{0, 8, &btf.Volatile{Type: u64}},
		{8, 12, &btf.Array{Index: u32, Type: u32, Nelems: 3}},
		// Nothing from 20 to 24.
		{24, 32, &btf.Array{Index: u32, Type: pair, Nelems: 2}},
		{56, 8, &btf.Pointer{Target: u64}},
	} {
		section.Vars = append(section.Vars, btf.VarSecinfo{Type: &btf.Var{Type: v.typ}, Offset: v.offset, Size: v.size})
	}

	word := func(low, high uint32) uint64 {
		var b [8]byte
		binary.NativeEndian.PutUint32(b[:], low)
		binary.NativeEndian.PutUint32(b[4:], high)
		return binary.NativeEndian.Uint64(b[:])
	}
	halves := func(low, high uint16, rest uint32) uint64 {
		var b [8]byte
		binary.NativeEndian.PutUint16(b[:], low)
		binary.NativeEndian.PutUint16(b[2:], high)
		binary.NativeEndian.PutUint32(b[4:], rest)
		return binary.NativeEndian.Uint64(b[:])
	}
	for _, tc := range []struct {
		name                       string
		offset                     uint32
		before, now, current, want uint64
	}{
		{"adds to both", 0, 100, 103, 110, 113},
		{"a carry into the upper half", 0, 1<<32 - 2, 1<<32 - 1, 1<<32 - 1, 1 << 32},
		{"subtractions", 0, 10, 8, 9, 7},
		{"two counters of 4 bytes", 8, word(1, 1), word(3, 1), word(2, 5), word(4, 5)},
		{"the first wraps, and leaves the second alone", 8, word(1<<32-2, 7), word(1<<32-1, 7), word(1<<32-1, 7), word(0, 7)},
		{"a counter and bytes of no variable", 16, word(1, 1), word(2, 9), word(5, 7), word(6, 7)},
		{"bytes of no variable, written before", 16, word(1, 1), word(1, 9), word(5, 1), word(5, 9)},
		{"a counter in an array of structs", 40, 1, 2, 4, 5},
		{"members that are no counters keep the later value", 48, halves(1, 1, 1), halves(2, 1, 2), halves(3, 1, 4), halves(3, 1, 4)},
		{"each for itself", 48, halves(1, 1, 1), halves(2, 1, 1), halves(1, 1, 4), halves(2, 1, 4)},
		{"a pointer", 56, 1, 2, 4, 4},
		{"past the end", 64, 1, 2, 4, 4},
	} {
		if got := mergeWord(&section, tc.offset, tc.before, tc.now, tc.current); got != tc.want {
			t.Errorf("%s: %#x, want %#x", tc.name, got, tc.want)
		}
	}
	if got := mergeWord(nil, 0, 1, 2, 4); got != 4 {
		t.Errorf("without types: %d, want the later value", got)
	}
}
