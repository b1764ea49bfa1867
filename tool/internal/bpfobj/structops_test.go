package bpfobj_test

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

var (
	callback = Ptr(&btf.FuncProto{Return: S32})
	opsType  = Struct("ops",
		M("number", U32),
		M("call", callback),
		M("inner", Struct("inner", M("call", callback))),
		M("data", Ptr(U8)),
		M("last", Const(Typedef("callback_t", callback))),
	)
	opsProgram = Program{Name: "on_call", Section: "struct_ops/on_call"}
)

func ops(vars ...Var) *File {
	return &File{Programs: []Program{opsProgram, {Name: "second", Section: "?struct_ops.s"}, {Name: "filter", Section: "xdp"}, {Name: "helper", Section: ".text"}}, Vars: vars}
}

func TestStructOps(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, linked := range []bool{false, true} {
			f := ops(
				Var{Section: ".struct_ops.link", Name: "first", Type: opsType, Refs: []Ref{{Offset: 8, Name: "on_call"}}},
				Var{Section: ".struct_ops.link", Name: "second_map", Type: opsType, Refs: []Ref{{Offset: 8, Name: "on_call"}, {Offset: 32, Name: "second"}}},
				Var{Section: "?.struct_ops", Name: "hidden", Type: Const(opsType), Visibility: elf.STV_HIDDEN},
			)
			f.Order, f.Linked = order, linked
			obj, err := bpfobj.Read("ops.bpf.o", f.Build())
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, m := range obj.StructOps {
				fmt.Fprintf(&b, "%s %s %s %d %v\n", m.Section, m.Name, m.Type.Name, m.Size, m.Funcs)
			}
			const want = `.struct_ops.link first ops 40 [{call 8 on_call} {last 32 }]
.struct_ops.link second_map ops 40 [{call 8 on_call} {last 32 second}]
?.struct_ops hidden ops 40 [{call 8 } {last 32 }]
`
			if got := b.String(); got != want {
				t.Errorf("%v linked=%t: got:\n%s\nwant:\n%s", order, linked, got, want)
			}
			if len(obj.Sections) != 0 || len(obj.Maps) != 0 {
				t.Errorf("has sections %v and maps %v", obj.Sections, obj.Maps)
			}
		}
	}
}

// A section's symbol stands for its first byte, which is that of its first program.
func TestStructOpsOfSectionSymbol(t *testing.T) {
	obj, err := bpfobj.Read("ops.bpf.o", ops(Var{Section: ".struct_ops", Name: "m", Type: opsType, Refs: []Ref{{Offset: 8, Name: "struct_ops/on_call"}}}).Build())
	if err != nil {
		t.Fatal(err)
	}
	if got := obj.StructOps[0].Funcs[0].Program; got != "on_call" {
		t.Errorf("got %q", got)
	}
}

func TestStructOpsErrors(t *testing.T) {
	packed := &btf.Struct{Name: "packed", Size: 16, Members: []btf.Member{
		{Name: "flag", Type: U8}, {Name: "call", Type: callback, Offset: 8},
	}}
	m := Var{Section: ".struct_ops", Name: "m", Type: opsType}
	with := func(change func(*Var)) *File {
		v := m
		change(&v)
		return ops(v)
	}
	static := with(func(v *Var) { v.Refs = []Ref{{Offset: 8, Name: "quiet"}} })
	static.Programs = append(static.Programs, Program{Name: "quiet", Section: "struct_ops/on_call", Static: true})
	uses := ops(m)
	uses.Programs[2].Refs = []string{"m"}
	for _, tt := range []struct {
		name string
		file *File
		want string
	}{
		{"static", with(func(v *Var) { v.Static = true }), "m: is a static struct_ops map, which nothing can refer to by its name: remove the word static"},
		{"no struct", with(func(v *Var) { v.Type = U32 }), "m: is in section .struct_ops and is not of a struct with a name"},
		{"no name", with(func(v *Var) { v.Type = Struct("", M("call", callback)) }), "m: is in section .struct_ops and is not of a struct with a name"},
		{"size", with(func(v *Var) { v.BTFSize, v.SymbolSize = -8, -8 }), "m: has 32 bytes and its type 40: build the object again"},
		{"packed", with(func(v *Var) { v.Type = packed }), "m: member call is a function pointer at bit 8 of 16 bytes"},
		{"no contents", &File{Programs: []Program{opsProgram}, Vars: []Var{m}, SectionHeader: func(name string, h *elf.Section64) {
			if name == ".struct_ops" {
				h.Type = uint32(elf.SHT_NOBITS)
			}
		}}, "section .struct_ops: has no contents"},
		{"no BTF", &File{Programs: []Program{opsProgram}, Sections: []Section{{Name: ".struct_ops", Type: elf.SHT_PROGBITS, Data: make([]byte, 8)}}}, "section .struct_ops: BTF does not have its variables: compile with clang -g"},
		{"program of another type", with(func(v *Var) { v.Refs = []Ref{{Offset: 8, Name: "filter"}} }), `m: member call is the program filter of SEC("xdp"): declare the program with SEC("struct_ops")`},
		{"function that is not a program", with(func(v *Var) { v.Refs = []Ref{{Offset: 8, Name: "helper"}} }), "m: member call is helper, which is not a program"},
		{"static function", static, "m: member call is quiet, which is not a program"},
		{"address of data", with(func(v *Var) { v.Refs = []Ref{{Offset: 24, Name: "m"}} }), "section .struct_ops: refers to m, a struct_ops map, which the kernel keeps from programs"},
		{"program as data", with(func(v *Var) { v.Refs = []Ref{{Offset: 24, Name: "on_call"}} }), "m: has the address of on_call in a member that is not a function pointer"},
		{"program in a nested struct", with(func(v *Var) { v.Refs = []Ref{{Offset: 16, Name: "on_call"}} }), "m: has the address of on_call in a member that is not a function pointer"},
		{"beyond all", with(func(v *Var) { v.Refs = []Ref{{Offset: 400, Name: "on_call"}} }), "section .struct_ops: refers to on_call at offset 400, where there is no variable"},
		{"used by a program", uses, "section xdp: refers to m, a struct_ops map, which the kernel keeps from programs: keep what programs need in a global variable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := bpfobj.Read("x.bpf.o", tt.file.Build())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
