package elfobj_test

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// TestGNUAddends: addends that count from the start of the section are made to count
// from the symbol, in files of the compilers whose assembler writes such, and where
// no addend says that it does not.
func TestGNUAddends(t *testing.T) {
	const old, clang = "GCC: (12.2.0-14+deb12u1+) 12.2.0", ""
	for _, tt := range []struct {
		comment string
		// imms are those of a load of a at 0, a load of b at 64, a call of f at 40 and
		// one of the section of f.
		imms, want []int32
	}{
		{old, []int32{20, 64 + 12, 39, 79}, []int32{20, 12, -1, 9}},
		{old, []int32{0, 64, 39, -1}, []int32{0, 0, -1, -1}},
		// A newer assembler.
		{old, []int32{20, 12, 39, 9}, []int32{20, 12, 39, 9}},
		{old, []int32{20, 64, -1, 9}, []int32{20, 64, -1, 9}},
		{"GCC: (GNU) 14.2.0", []int32{20, 64 + 12, 39, 79}, []int32{20, 64 + 12, 39, 79}},
		{clang, []int32{20, 64 + 12, 39, 79}, []int32{20, 64 + 12, 39, 79}},
		{"GCC: of no version", []int32{20, 76, 39, 79}, []int32{20, 76, 39, 79}},
	} {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			t.Run(fmt.Sprint(tt.comment, tt.imms, order), func(t *testing.T) {
				data := &elfobj.Section{Name: ".data", Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_WRITE, Data: make([]byte, 128)}
				text := &elfobj.Section{Name: ".text", Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, Data: make([]byte, 160)}
				code := &elfobj.Section{Name: "tc", Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, Data: make([]byte, 48)}
				symbols := []*elfobj.Symbol{
					{Name: "a", Bind: elf.STB_GLOBAL, Type: elf.STT_OBJECT, Section: data, Size: 64},
					{Name: "b", Bind: elf.STB_GLOBAL, Type: elf.STT_OBJECT, Section: data, Value: 64, Size: 64},
					{Name: "f", Bind: elf.STB_GLOBAL, Type: elf.STT_FUNC, Section: text, Value: 40, Size: 120},
					{Type: elf.STT_SECTION, Section: text},
				}
				places := []uint64{0, 16, 32, 40}
				for i, at := range places {
					typ := uint32(elfobj.R_BPF_64_64)
					code.Data[at] = elfobj.OpLoadImm64
					if i >= 2 {
						typ, code.Data[at] = elfobj.R_BPF_64_32, elfobj.OpCall
					}
					order.PutUint32(code.Data[at+4:], uint32(tt.imms[i]))
					code.Relocs = append(code.Relocs, elfobj.Reloc{Offset: at, Type: typ, Symbol: symbols[i]})
				}
				f := &elfobj.File{Order: order, Sections: []*elfobj.Section{data, text, code}, Symbols: symbols}
				if tt.comment != "" {
					f.Sections = append(f.Sections, &elfobj.Section{Name: ".comment", Type: elf.SHT_PROGBITS, Data: append([]byte(tt.comment), 0)})
				}
				object, err := f.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				// A second time changes nothing.
				for range 2 {
					parsed, err := elfobj.Parse(object)
					if err != nil {
						t.Fatal(err)
					}
					var got []int32
					for _, at := range places {
						got = append(got, int32(order.Uint32(parsed.Section("tc").Data[at+4:])))
					}
					if !slices.Equal(got, tt.want) {
						t.Errorf("got %d, want %d", got, tt.want)
					}
					if object, err = parsed.Bytes(); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}
