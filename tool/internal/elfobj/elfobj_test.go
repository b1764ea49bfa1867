package elfobj_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// made is a file made of nothing, as a linker makes one. Its symbols are not in
// ELF's order.
func made(order binary.ByteOrder) *elfobj.File {
	code := &elfobj.Section{Name: "xdp", Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, Align: 8, Data: make([]byte, 24)}
	bss := &elfobj.Section{Name: ".bss", Type: elf.SHT_NOBITS, Flags: elf.SHF_ALLOC | elf.SHF_WRITE, Align: 8, Size: 1 << 20}
	prog := &elfobj.Symbol{Name: "prog", Bind: elf.STB_GLOBAL, Type: elf.STT_FUNC, Section: code, Size: 24}
	counter := &elfobj.Symbol{Name: "counter", Bind: elf.STB_WEAK, Type: elf.STT_OBJECT, Other: byte(elf.STV_HIDDEN), Section: bss, Value: 8, Size: 8}
	static := &elfobj.Symbol{Bind: elf.STB_LOCAL, Type: elf.STT_SECTION, Section: bss}
	undefined := &elfobj.Symbol{Name: "xdp", Bind: elf.STB_GLOBAL}
	code.Relocs = []elfobj.Reloc{{0, 1, counter}, {8, 1, static}, {16, 10, undefined}, {20, 0, nil}}
	return &elfobj.File{
		Order:    order,
		Flags:    3,
		Sections: []*elfobj.Section{code, bss},
		Symbols:  []*elfobj.Symbol{prog, counter, static, undefined},
	}
}

func TestWrite(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		t.Run(order.String(), func(t *testing.T) {
			data, err := made(order).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			f, err := elf.NewFile(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if f.ByteOrder != order || f.Machine != elf.EM_BPF || f.Type != elf.ET_REL {
				t.Errorf("the header is %+v", f.FileHeader)
			}
			symbols, err := f.Symbols()
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, sym := range symbols {
				names = append(names, sym.Name)
			}
			if got := strings.Join(names, " "); got != " prog counter xdp" {
				t.Errorf("symbols are %q, local ones must be first", got)
			}
			if sym := symbols[2]; sym.Section != 2 || sym.Value != 8 || sym.Size != 8 || elf.ST_VISIBILITY(sym.Other) != elf.STV_HIDDEN || elf.ST_BIND(sym.Info) != elf.STB_WEAK {
				t.Errorf("counter is %+v", sym)
			}
			if symtab := f.SectionByType(elf.SHT_SYMTAB); symtab.Info != 2 {
				t.Errorf("the symbol table says that symbol %d is the first that is not local, want 2", symtab.Info)
			}
			if bss := f.Section(".bss"); bss.Size != 1<<20 || bss.Type != elf.SHT_NOBITS {
				t.Errorf(".bss is %+v", bss.SectionHeader)
			}
			rels, err := f.Section(".relxdp").Data()
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []uint64{3<<32 | 1, 1<<32 | 1, 4<<32 | 10, 0} {
				if got := order.Uint64(rels[16*i+8:]); got != want {
					t.Errorf("relocation %d is %#x, want %#x", i, got, want)
				}
			}
			again, err := elfobj.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if second, err := again.Bytes(); err != nil || !bytes.Equal(second, data) {
				t.Errorf("what was written is not written again the same: %v", err)
			}
		})
	}
}

func TestWriteErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*elfobj.File)
		want   string
	}{
		"symbol of another section": {func(f *elfobj.File) { f.Sections = f.Sections[:1] }, "is in section .bss, which is not in the file"},
		"relocation of nothing":     {func(f *elfobj.File) { f.Symbols = f.Symbols[:3] }, "section xdp: a relocation refers to symbol xdp, which is not in the file"},
		"symbol twice":              {func(f *elfobj.File) { f.Symbols = append(f.Symbols, f.Symbols[0]) }, "has a symbol twice"},
		"group":                     {func(f *elfobj.File) { f.Sections[0].Type = elf.SHT_GROUP }, "section xdp: is of type SHT_GROUP"},
	} {
		t.Run(name, func(t *testing.T) {
			f := made(binary.LittleEndian)
			tt.change(f)
			if _, err := f.Bytes(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got the error %v, want %q", err, tt.want)
			}
		})
	}
}
