package features

import (
	"encoding/binary"
	"unsafe"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// tries are what is tried for each feature.
var tries = [count]func() error{
	BTF:             tryBTF(func(*types) {}),
	Func:            tryBTF(func(t *types) { t.function(rawbtf.Static) }),
	DataSec:         tryBTF(func(t *types) { t.section(".data") }),
	EmptyDataSec:    tryBTF(func(t *types) { t.AddDatasec(".data", 4, nil) }),
	GlobalFunc:      tryBTF(func(t *types) { t.function(rawbtf.Global) }),
	Float:           tryBTF(func(t *types) { t.Add(t.Intern("f"), rawbtf.Float, 0, 4) }),
	DeclTag:         tryBTF(func(t *types) { t.Add(t.Intern("a"), rawbtf.DeclTag, 0, t.variable(), ^uint32(0)) }),
	TypeTag:         tryBTF(func(t *types) { t.Add(0, rawbtf.Ptr, 0, t.Add(t.Intern("a"), rawbtf.TypeTag, 0, integer)) }),
	Enum64:          tryBTF(func(t *types) { t.Add(t.Intern("e"), rawbtf.Enum64, 0, 8) }),
	QuestionMark:    tryBTF(func(t *types) { t.section("?.data") }),
	Mmapable:        tryMmapable,
	ArgCtx:          tryArgCtx,
	ProbeReadKernel: tryProbeReadKernel,
}

// types is BTF for a try.
type types struct{ *rawbtf.Builder }

// integer is the ID of the first type of all tries, of 4 bytes and without a name.
const integer = 1

// variable adds the static variable a.
func (t *types) variable() uint32 { return t.AddVar("a", rawbtf.Static, integer) }

// section adds a section that has the variable.
func (t *types) section(name string) {
	t.AddDatasec(name, 4, []rawbtf.Secinfo{{Type: t.variable(), Size: 4}})
}

// proto adds a prototype with the parameter a of a type, that returns a type.
func (t *types) proto(result, param uint32) uint32 {
	return t.Add(0, rawbtf.FuncProto, 1, result, t.Intern("a"), param)
}

// function adds the function f, which has the integer for its parameter and returns nothing.
func (t *types) function(l rawbtf.Linkage) {
	t.Add(t.Intern("f"), rawbtf.Func, uint32(l), t.proto(0, integer))
}

// tryBTF returns a try that gives the kernel the integer, and the types that add adds.
func tryBTF(add func(*types)) func() error {
	return func() error { return closed(loadBTF(add)) }
}

func loadBTF(add func(*types)) (int, error) {
	t := &types{rawbtf.NewBuilder(binary.NativeEndian, nil)}
	t.Add(0, rawbtf.Int, 0, 4, 32)
	add(t)
	data, err := t.Bytes()
	if err != nil {
		return 0, err
	}
	return sys.BTFLoad(&sys.BTFLoadAttr{BTF: sys.PointerToSlice(data), Size: uint32(len(data))})
}

// tryArgCtx loads a program with a function whose tag is all that says that its parameter is
// the context.
func tryArgCtx() error {
	var program, function uint32
	btf, err := loadBTF(func(t *types) {
		pointer := t.Add(0, rawbtf.Ptr, 0, 0)
		// int f(void *a), twice: the program, and the function.
		program = t.Add(t.Intern("f"), rawbtf.Func, uint32(rawbtf.Global), t.proto(integer, pointer))
		function = t.Add(t.Intern("a"), rawbtf.Func, uint32(rawbtf.Global), t.proto(integer, pointer))
		t.Add(t.Intern("arg:ctx"), rawbtf.DeclTag, 0, function, 0)
	})
	if err != nil {
		return err
	}
	defer sys.Close(btf)
	const getSocketCookie = 46
	code := []instruction{
		{op: 0x85, regs: regs(0, 1), imm: 1}, // call the function
		{op: 0x95},
		{op: 0x85, imm: getSocketCookie}, // takes a context only
		{op: 0x95},
	}
	funcs := []uint32{0, program, 2, function}
	const socketFilter = 1
	return closed(sys.ProgLoad(&sys.ProgLoadAttr{
		Type:          socketFilter,
		InsnCount:     uint32(len(code)),
		Insns:         sys.PointerToSlice(code),
		License:       sys.CString("GPL"),
		BTFFD:         uint32(btf),
		FuncInfoSize:  8,
		FuncInfo:      sys.PointerToSlice(funcs),
		FuncInfoCount: uint32(len(funcs) / 2),
	}, false))
}

// tryProbeReadKernel loads a program that calls bpf_probe_read_kernel.
func tryProbeReadKernel() error {
	const probeReadKernel = 113
	code := []instruction{
		{op: 0xbf, regs: regs(1, 10)}, // r1 = r10
		{op: 0x07, regs: regs(1, 0), imm: -8},
		{op: 0xb7, regs: regs(2, 0), imm: 8},
		{op: 0xb7, regs: regs(3, 0), imm: 0},
		{op: 0x85, imm: probeReadKernel},
		{op: 0x95},
	}
	const tracepoint = 5
	return closed(sys.ProgLoad(&sys.ProgLoadAttr{
		Type:      tracepoint,
		InsnCount: uint32(len(code)),
		Insns:     sys.PointerToSlice(code),
		License:   sys.CString("GPL"),
	}, false))
}

// instruction is struct bpf_insn.
type instruction struct {
	op, regs byte
	_        int16
	imm      int32
}

// regs has two registers as this machine's compilers lay bit fields out.
func regs(dst, src byte) byte {
	one := uint16(1)
	if *(*byte)(unsafe.Pointer(&one)) == 0 {
		return dst<<4 | src
	}
	return src<<4 | dst
}
