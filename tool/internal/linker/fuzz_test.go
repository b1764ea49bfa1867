package linker_test

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker/linkertest"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// global is the type of a function that is not static.
func global(name string) btf.Type {
	return &btf.Func{Name: name, Type: &btf.FuncProto{Return: S32}, Linkage: btf.GlobalFunc}
}

// library and app are two files that share names of each kind.
func library(order binary.ByteOrder) []byte {
	node := Struct("node", M("next", Ptr(U8)), M("value", U64))
	node.Members[0].Type = Ptr(node)
	return (&File{
		Order:   order,
		License: "GPL",
		Vars: []Var{
			{Section: ".data", Name: "limit", Type: U64, Value: []byte{1, 2, 3, 4, 5, 6, 7, 8}, Weak: true},
			{Section: ".data", Name: "own", Type: U32, Static: true},
			{Section: ".bss", Name: "list", Type: node},
			{Section: ".maps", Name: "events", Type: Map(1, 16, U32, U64)},
			{Section: ".kconfig", Name: "CONFIG_HZ", Type: U32, Extern: true},
		},
		Programs: []Program{{Name: "helper", Section: ".text", Refs: []string{"limit", "events", ".data"}}},
		Types:    []btf.Type{global("helper")},
	}).Build()
}

func app(order binary.ByteOrder) []byte {
	return (&File{
		Order:   order,
		License: "GPL",
		Linked:  true,
		Vars: []Var{
			{Section: ".data", Name: "limit", Type: U64},
			{Section: ".bss", Name: "own", Type: U32, Static: true},
			{Section: ".maps", Name: "events", Type: Map(1, 16, U32, U64), Weak: true},
			{Section: ".kconfig", Name: "CONFIG_HZ", Type: U32, Extern: true, Weak: true},
		},
		Programs: []Program{{Name: "prog", Section: "xdp", Refs: []string{"limit", "events", ".bss"}}},
		Types:    []btf.Type{&btf.Fwd{Name: "node"}, global("prog")},
	}).Build()
}

// FuzzLink: no panic, and what is linked can be linked again.
func FuzzLink(f *testing.F) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		f.Add(library(order), app(order), true)
		f.Add(app(order), library(order), false)
	}
	f.Fuzz(func(t *testing.T, a, b []byte, partial bool) {
		data, err := linker.Link([]linker.Input{{Name: "a.o", Data: a}, {Name: "b.o", Data: b}}, linker.Options{Partial: partial})
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if quote.Text(line) != line {
					t.Errorf("the message has what cannot be printed: %q", line)
				}
			}
			return
		}
		if _, err := linker.Link([]linker.Input{{Name: "linked.o", Data: data}}, linker.Options{Partial: partial}); err != nil {
			t.Errorf("what is linked cannot be linked again: %v", err)
		}
		// The inputs can be damaged in what the linker has no need to look at, so only
		// the ways to look are tried.
		_ = linkertest.Check(data, !partial)
	})
}

// TestObjects links the files that the fuzzer starts with.
func TestObjects(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		inputs := []linker.Input{{Name: "library.o", Data: library(order)}, {Name: "app.o", Data: app(order)}}
		if _, err := linker.Link(inputs, linker.Options{}); err != nil {
			t.Error(err)
		}
	}
}

// pointers is a cycle of n pointers, with a struct in it when there is one.
func pointers(n int, s *btf.Struct) btf.Type {
	first := new(btf.Pointer)
	var next btf.Type = first
	if s != nil {
		s.Size = 8
		s.Members = []btf.Member{{Name: "p", Type: first}}
		next = s
	}
	for range n - 1 {
		next = Ptr(next)
	}
	first.Target = next
	return first
}

// What a damaged file can ask for has an end: cycles of types that are compared in as
// many steps as their lengths multiplied, and types that it takes as many rounds to
// tell apart as there are types.
func TestHostileTypes(t *testing.T) {
	object := func(v Var, used bool) []byte {
		v.Name = "v"
		f := File{License: "GPL", Vars: []Var{v}, Programs: []Program{{Name: v.Section[1:], Section: "xdp"}}, Types: []btf.Type{global(v.Section[1:])}}
		if used {
			f.Programs[0].Refs = []string{"v"}
		}
		return f.Build()
	}
	for _, tt := range []struct {
		name string
		a, b Var
		want string
	}{
		{"cycles", Var{Section: ".data", Type: pointers(5003, nil)}, Var{Section: ".rodata", Type: pointers(5009, nil), Weak: true}, "nested too deep"},
		{"rounds", Var{Section: ".data", Type: pointers(20_000, new(btf.Struct))}, Var{Section: ".rodata", Type: pointers(20_001, new(btf.Struct)), Static: true}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inputs := []linker.Input{{Name: "a.o", Data: object(tt.a, true)}, {Name: "b.o", Data: object(tt.b, false)}}
			_, err := linker.Link(inputs, linker.Options{})
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			case err != nil && len(err.Error()) > 2000:
				t.Errorf("is no message to read: %d bytes", len(err.Error()))
			}
		})
	}
}

// zeros is an object with sections of as many zeros, or with contents in them.
func zeros(name string, contents bool) []byte {
	f := File{License: "GPL", Programs: []Program{{Name: name, Section: "xdp"}}, Types: []btf.Type{global(name)}}
	for i := range 4 {
		v := Var{Section: fmt.Sprintf(".data.%d", i), Name: fmt.Sprintf("%s%d", name, i), Type: U64}
		if contents {
			v.Value = []byte{1, 2, 3, 4, 5, 6, 7, 8}
		}
		f.Vars = append(f.Vars, v)
	}
	if !contents {
		f.SectionHeader = func(name string, h *elf.Section64) {
			if strings.HasPrefix(name, ".data.") {
				h.Type, h.Size = uint32(elf.SHT_NOBITS), 40<<20
			}
		}
	}
	return f.Build()
}

func TestZerosOfAllSections(t *testing.T) {
	_, err := linker.Link([]linker.Input{{Name: "a.o", Data: zeros("a", true)}, {Name: "b.o", Data: zeros("b", false)}}, linker.Options{})
	if err == nil || !strings.Contains(err.Error(), "bytes of zeros") {
		t.Errorf("got %v", err)
	}
}

// jumpTable is app with a jump table, as clang makes them from version 22 on.
func jumpTable(t *testing.T, section string, size uint64) []byte {
	file, err := elfobj.Parse(app(binary.LittleEndian))
	if err != nil {
		t.Fatal(err)
	}
	table := &elfobj.Section{Name: section, Type: elf.SHT_PROGBITS, Align: 1, Data: make([]byte, 16)}
	sym := &elfobj.Symbol{Name: "BPF.JT.0.0", Type: elf.STT_NOTYPE, Section: table, Size: size}
	file.Sections = append(file.Sections, table)
	file.Symbols = append(file.Symbols, sym)
	file.Section("xdp").Relocs[0].Symbol = sym
	data, err := file.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What code refers to and loaders do not read is never dropped in silence, neither by
// a link nor where an object is embedded without one. What is not a jump table is refused.
func TestJumpTables(t *testing.T) {
	_, err := linker.Link([]linker.Input{{Name: "a.o", Data: jumpTable(t, ".notes", 16)}}, linker.Options{})
	want := "section xdp: refers to BPF.JT.0.0 in section .notes, which loaders do not read: put it in .data, .rodata or .bss"
	if err == nil || err.Error() != "a.o: "+want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := linkertest.Spec(jumpTable(t, ".notes", 16)); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := linker.Link([]linker.Input{{Name: "a.o", Data: jumpTable(t, ".jumptables", 16)}}, linker.Options{}); err != nil {
		t.Error(err)
	}
	_, err = linker.Link([]linker.Input{{Name: "a.o", Data: jumpTable(t, ".jumptables", 12)}}, linker.Options{})
	if err == nil || !strings.Contains(err.Error(), "a.o: section xdp: refers to BPF.JT.0.0, which is not a jump table: the file is damaged") {
		t.Errorf("got %v", err)
	}
}
