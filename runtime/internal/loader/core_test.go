package loader

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/image"
)

// rawTypes returns BTF with the types, whose IDs start at 1.
func rawTypes(t testing.TB, types ...btf.Type) []byte {
	t.Helper()
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// offsetOf returns the offset of a text in the strings of BTF.
func offsetOf(t testing.TB, raw []byte, text string) uint32 {
	t.Helper()
	strs := raw[bytes.Index(raw, []byte("\x00int\x00")):]
	at := bytes.Index(strs, []byte("\x00"+text+"\x00"))
	if at < 0 {
		t.Fatalf("no text %q", text)
	}
	return uint32(at + 1)
}

var (
	intType   = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	longType  = &btf.Int{Name: "long", Size: 8}
	shortType = &btf.Int{Name: "short", Size: 2}
)

// text is a type that stands for its name among the strings of BTF.
func text(s string) btf.Type { return &btf.Typedef{Name: s, Type: intType} }

// coreImage returns an image of one program with instructions, of which the first has a
// CO-RE relocation of struct s, and the second line of a file of its own.
func coreImage(t testing.TB, insns asm.Instructions, kind core.Kind, access string) *image.Object {
	t.Helper()
	members := []btf.Member{{Name: "a", Type: longType}, {Name: "b", Type: intType, Offset: 64}, {Name: "gone", Type: intType, Offset: 96}}
	local := &btf.Struct{Name: "s___mine", Size: 16, Members: members}
	img := testImage(t, []function{{name: "main", insns: insns}}, map[string]string{"main": "socket"})
	img.BTF = rawTypes(t, intType, local, text(access), text("file.bpf.c"), text("return s->gone;"), shortType, longType)
	img.FuncInfo = image.Table[image.FuncInfo]{}
	img.LineInfo = image.NewTable([]image.LineInfo{{
		File: offsetOf(t, img.BTF, "file.bpf.c"), Line: offsetOf(t, img.BTF, "return s->gone;"), Column: 7<<10 | 2,
	}})
	img.CORE = image.NewTable([]image.CORE{{Type: 2, Kind: uint32(kind), Access: offsetOf(t, img.BTF, access)}})
	return img
}

// kernelTypes has another struct s.
func kernelTypes(t testing.TB) []byte {
	s := &btf.Struct{Name: "s", Size: 24, Members: []btf.Member{{Name: "b", Type: intType}, {Name: "a", Type: shortType, Offset: 40}}}
	return rawTypes(t, intType, s)
}

// CO-RE relocations change instructions in each of their forms.
func TestCORE(t *testing.T) {
	load64 := func(v int64) asm.Instruction { return asm.LoadImm(asm.R0, v, asm.DWord) }
	for _, c := range []struct {
		name   string
		kind   core.Kind
		access string
		ins    asm.Instruction
		want   func(insn) bool
	}{
		{"offset of a load, which is narrowed", core.FieldByteOffset, "0:0", asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord),
			func(i insn) bool {
				return i.off() == 5 && i.op() == uint8(asm.LoadMem(asm.R0, asm.R1, 0, asm.Half).OpCode)
			}},
		{"offset of a store", core.FieldByteOffset, "0:1", asm.StoreMem(asm.R1, 8, asm.R0, asm.Word),
			func(i insn) bool { return i.off() == 0 }},
		{"offset as a number", core.FieldByteOffset, "0:1", asm.Mov.Imm(asm.R0, 8),
			func(i insn) bool { return i.imm() == 0 }},
		{"size", core.FieldByteSize, "0:0", asm.Mov.Imm(asm.R0, 8),
			func(i insn) bool { return i.imm() == 2 }},
		{"exists", core.FieldExists, "0:0", asm.Mov.Imm(asm.R0, 1),
			func(i insn) bool { return i.imm() == 1 }},
		{"exists not", core.FieldExists, "0:2", asm.Mov.Imm(asm.R0, 1),
			func(i insn) bool { return i.imm() == 0 }},
		{"size of the type", core.TypeSize, "0", asm.Mov.Imm(asm.R0, 16),
			func(i insn) bool { return i.imm() == 24 }},
		{"ID of the kernel's type", core.TypeIDTarget, "0", load64(2),
			func(i insn) bool { return i.isLoad64() && i.imm64() == 2 }},
		{"ID of the local type", core.TypeIDLocal, "0", load64(2),
			func(i insn) bool { return i.isLoad64() && i.imm64() == 2 }},
		{"poison", core.FieldByteOffset, "0:2", asm.LoadMem(asm.R0, asm.R1, 12, asm.Word),
			func(i insn) bool { return i.op() == opCall && i.src() == 0 && i.imm() == 0xbad2310 }},
		{"poison of a 64-bit load", core.FieldByteOffset, "0:2", load64(12),
			func(i insn) bool { return i.op() == opCall && i.imm() == 0xbad2310 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := coreImage(t, asm.Instructions{c.ins, asm.Return()}, c.kind, c.access)
			l := &load{object: Open(img), opts: Options{KernelTypes: kernelTypes(t)}, btf: -1}
			if err := l.selectPrograms(); err != nil {
				t.Fatal(err)
			}
			code, err := l.assemble()
			if err != nil {
				t.Fatal(err)
			}
			if ins := insnAt(code.insns, 0); !c.want(ins) {
				t.Errorf("%x", []byte(ins))
			}
			if strings.HasSuffix(c.name, "64-bit load") {
				if ins := insnAt(code.insns, 1); ins.op() != opCall || ins.imm() != 0xbad2310 {
					t.Errorf("second half %x", []byte(ins))
				}
			}
		})
	}
}

// What cannot be applied is named: the type, the field, the line of C.
func TestCOREErrors(t *testing.T) {
	img := coreImage(t, asm.Instructions{asm.Mov.Imm(asm.R0, 99), asm.Return()}, core.FieldByteOffset, "0:1")
	o := Open(img)
	err := o.Load(Options{KernelTypes: kernelTypes(t)})
	want := `program main, SEC("socket"): file.bpf.c:7: return s->gone;: CO-RE relocation of field b of struct s___mine: the instruction has 99, and the type says 8: is damaged: build the object again`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	if err := o.Load(Options{KernelTypes: []byte("no BTF")}); err == nil || !strings.Contains(err.Error(), "types of the kernel that the options give: is not BTF") {
		t.Errorf("%v", err)
	}
}
