package loader

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sort"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/features"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// code is the code of all functions that are loaded. What is the same in every program is
// filled in: the descriptors of maps, and the IDs and addresses of what the kernel has. Offsets
// of calls are not, as functions are at other offsets in each program.
type code struct {
	object *Object
	insns  []byte
	// modules are descriptors of the BTF of modules, by the offsets of calls of their
	// functions (fd_array). The first is not used, as that offset stands for the kernel.
	modules []int32
	// withInfo is true when programs are loaded with function and line info.
	withInfo bool
}

// assemble makes the code of the functions that are loaded.
func (l *load) assemble() (*code, error) {
	img := l.object.Image
	c := &code{object: l.object, insns: bytes.Clone(img.Code), withInfo: l.btf >= 0}
	if len(l.externs) > 0 {
		c.modules = append(make([]int32, 0, 1+len(l.externs)), 0)
	}
	var errs []error
	for f, used := range l.functions {
		if !used {
			continue
		}
		from, to := relocationsOf(img, uint32(f))
		for i := from; i < to; i++ {
			if err := l.relocate(c, image.At(img.Relocations, i)); err != nil {
				errs = append(errs, l.inFunction(uint32(f), image.At(img.Relocations, i).Instruction, err))
			}
		}
	}
	if sys.KernelVersion() < 5<<16|5<<8 {
		errs = append(errs, l.useOldHelpers(c.insns))
	}
	// Last, since it may turn 64-bit loads into calls.
	return c, errors.Join(append(errs, l.relocateCORE(c.insns))...)
}

// oldHelpers are the helpers of kernels before 5.5 that stand for two of later ones each:
// bpf_probe_read and bpf_probe_read_str for those that read the memory of processes or of
// the kernel.
var oldHelpers = map[int32]int32{112: 4, 113: 4, 114: 45, 115: 45}

// useOldHelpers replaces calls of helpers that the kernel lacks by calls of the older ones, as
// libbpf does. Some kernels of such versions have the new ones all the same.
func (l *load) useOldHelpers(code []byte) error {
	if yes, err := l.has(features.ProbeReadKernel); yes || err != nil {
		return err
	}
	replaceHelpers(code)
	return nil
}

func replaceHelpers(code []byte) {
	for at := range uint32(len(code) / insnSize) {
		ins := insnAt(code, at)
		if old := oldHelpers[ins.imm()]; old != 0 && ins.op() == opCall && ins.src() == 0 {
			ins.setImm(old)
		}
	}
}

// relocate makes an instruction refer to a map or to what the kernel has.
func (l *load) relocate(c *code, r image.Relocation) error {
	ins := insnAt(c.insns, r.Instruction)
	switch r.Kind {
	case image.MapFD:
		l.useMap(ins, r.Target, pseudoMapFD)
	case image.MapValue:
		if l.useMap(ins, r.Target, pseudoMapValue) {
			ins.next().setImm(int32(r.Addend))
		}
	case image.ArenaValue:
		arena := l.object.Image.Arena.Map
		if l.useMap(ins, arena, pseudoMapValue) {
			ins.next().setImm(int32(r.Addend) + int32(l.object.Maps[arena].Arena.Offset))
		}
	case image.ExternCall:
		return l.callExtern(c, ins, r.Target)
	case image.ExternAddress:
		l.loadExtern(ins, r.Target)
	}
	return nil
}

// useMap makes a 64-bit load refer to a map, or poisons it when the map was not made. It
// reports whether it was made.
func (l *load) useMap(ins insn, index uint32, pseudo uint8) bool {
	def := l.object.Maps[index]
	m := def.Map
	if m == nil && l.hashing && def.Exclusive != nil && l.creates(def) {
		// It is going to be made.
		ins.setSrc(pseudo)
		return false
	}
	if m == nil {
		ins.poison(int32(poisonMap + index))
		return false
	}
	ins.setSrc(pseudo)
	ins.setImm(int32(m.FD()))
	return true
}

// callExtern makes a call instruction call a function of the kernel.
func (l *load) callExtern(c *code, ins insn, index uint32) error {
	e := l.externs[index]
	if !e.found {
		ins.poison(int32(poisonKfunc + index))
		return nil
	}
	at := 0
	if e.module != 0 {
		for at = 1; at < len(c.modules) && c.modules[at] != int32(e.module); at++ {
		}
		if at == len(c.modules) {
			c.modules = append(c.modules, int32(e.module))
		}
	}
	if at > math.MaxInt16 {
		return errors.New("calls functions of more modules than instructions can name: call SetAutoload(false) on some programs")
	}
	ins.setSrc(pseudoKfunc)
	ins.setOff(int16(at))
	ins.setImm(int32(e.id))
	return nil
}

// loadExtern makes a 64-bit load one of the address of an extern, which is zero for a weak one
// that the kernel lacks.
func (l *load) loadExtern(ins insn, index uint32) {
	e := l.externs[index]
	switch {
	case !e.found:
		ins.setImm64(0)
	case l.object.Image.Externs[index].Kind == image.KsymAddress:
		ins.setImm64(e.address)
	default:
		ins.setSrc(pseudoBTFID)
		ins.setImm(int32(e.id))
		ins.next().setImm(int32(e.module))
	}
}

// inFunction adds to an error where in an object it is: the line of C of an instruction,
// when that is known, and the program.
func (l *load) inFunction(function, instruction uint32, err error) error {
	return l.inLine(function, l.object.sourceLine(function, instruction), err)
}

func (l *load) inLine(function uint32, line string, err error) error {
	if line != "" {
		err = fmt.Errorf("%s: %w", line, err)
	}
	for _, p := range l.selected {
		if p.function == function {
			if old := p.tooNew(sys.KernelVersion()); old != nil {
				// The version of the kernel is why it lacks the type or function.
				err = fmt.Errorf("%w (%w)", old, err)
			}
			return &ProgramError{Program: p, Err: err}
		}
	}
	return fmt.Errorf("function %s: %w", l.object.Image.Functions[function].Name, err)
}

// linker puts together the code of programs, one after the other.
type linker struct {
	code *code
	// at is one more than where in the program a function is, 0 for one that is not in it.
	at []uint32
	// order has the functions of the program in the order of their code, the program's own
	// first.
	order []uint32
	// insns is the code. It is that of all programs for one that is a single function.
	insns []byte
	// copied is the memory of insns otherwise.
	copied []byte
	// funcs and lines are as the kernel takes them. withoutFunc and withoutLine say that one
	// of the functions has none, and so the program cannot have them.
	funcs                    []image.FuncInfo
	lines                    []image.LineInfo
	withoutFunc, withoutLine bool
	// tables are the relocations against jump tables.
	tables []tableUse
}

// tableUse is an instruction that loads the address of a jump table.
type tableUse struct {
	// at is where the instruction is in the program.
	at, table uint32
}

// link makes the code of a program. What the linker holds is valid until the next call.
func (k *linker) link(p *Program) {
	img := k.code.object.Image
	if k.at == nil {
		k.at = make([]uint32, len(img.Functions))
	}
	for _, f := range k.order {
		k.at[f] = 0
	}
	k.order, k.funcs, k.lines, k.tables = k.order[:0], k.funcs[:0], k.lines[:0], k.tables[:0]
	k.copied = k.copied[:0]
	k.withoutFunc, k.withoutLine = !k.code.withInfo, !k.code.withInfo

	if p.Instructions != nil {
		// The function and line info of the object is for other code.
		k.insns, k.withoutFunc, k.withoutLine = p.Instructions, true, true
		return
	}
	main := p.function
	f := &img.Functions[main]
	if f.ExceptionCallback == image.NoIndex && !k.placed(main) {
		k.order, k.at[main] = append(k.order, main), 1
		k.insns = k.code.insns[insnSize*f.First : insnSize*(f.First+f.Count)]
		k.info(f, 0)
		return
	}
	k.add(main)
	if f.ExceptionCallback != image.NoIndex && k.at[f.ExceptionCallback] == 0 {
		k.add(f.ExceptionCallback)
	}
	k.insns = k.copied
}

// placed reports whether the code of a function depends on the program that it is in.
func (k *linker) placed(function uint32) bool {
	img := k.code.object.Image
	from, to := relocationsOf(img, function)
	for i := from; i < to; i++ {
		switch image.At(img.Relocations, i).Kind {
		case image.Call, image.FuncAddress, image.JumpTable:
			return true
		}
	}
	return false
}

// add appends a function, and behind it those that it refers to and that are not in the
// program yet: libbpf's order.
func (k *linker) add(function uint32) {
	img := k.code.object.Image
	f := &img.Functions[function]
	start := uint32(len(k.copied) / insnSize)
	k.order, k.at[function] = append(k.order, function), start+1
	k.copied = append(k.copied, k.code.insns[insnSize*f.First:insnSize*(f.First+f.Count)]...)
	k.info(f, start)
	from, to := relocationsOf(img, function)
	for i := from; i < to; i++ {
		r := image.At(img.Relocations, i)
		at := start + r.Instruction - f.First
		switch r.Kind {
		case image.JumpTable:
			k.tables = append(k.tables, tableUse{at, r.Target})
		case image.Call, image.FuncAddress:
			if k.at[r.Target] == 0 {
				k.add(r.Target)
			}
			ins := insnAt(k.copied, at)
			ins.setSrc(pseudoCall)
			if r.Kind == image.FuncAddress {
				ins.setSrc(pseudoFunc)
			}
			ins.setImm(int32(k.at[r.Target]-1) - int32(at) - 1)
		}
	}
}

// info appends the function and line info of a function that starts in the program at an
// instruction.
func (k *linker) info(f *image.Function, start uint32) {
	img := k.code.object.Image
	if !k.withoutFunc {
		id := funcType(img, f.First)
		k.withoutFunc = id == 0
		k.funcs = append(k.funcs, image.FuncInfo{Instruction: start, Type: id})
	}
	if k.withoutLine {
		return
	}
	i, end := search(img.LineInfo, f.First, lineInfoAt), search(img.LineInfo, f.First+f.Count, lineInfoAt)
	k.withoutLine = i == end || image.At(img.LineInfo, i).Instruction != f.First
	for ; i < end; i++ {
		line := image.At(img.LineInfo, i)
		line.Instruction += start - f.First
		k.lines = append(k.lines, line)
	}
}

// funcType returns the ID of the FUNC of the function that starts at an instruction, 0
// when it has none.
func funcType(img *image.Object, instruction uint32) uint32 {
	i := search(img.FuncInfo, instruction, funcInfoAt)
	if i == image.Len(img.FuncInfo) || image.At(img.FuncInfo, i).Instruction != instruction {
		return 0
	}
	return image.At(img.FuncInfo, i).Type
}

// relocationsOf returns the indices of a function's relocations, from the first to that
// after the last.
func relocationsOf(img *image.Object, function uint32) (from, to int) {
	f := &img.Functions[function]
	return search(img.Relocations, f.First, relocationAt), search(img.Relocations, f.First+f.Count, relocationAt)
}

func relocationAt(r image.Relocation) uint32 { return r.Instruction }
func coreAt(r image.CORE) uint32             { return r.Instruction }
func funcInfoAt(r image.FuncInfo) uint32     { return r.Instruction }
func lineInfoAt(r image.LineInfo) uint32     { return r.Instruction }

// search returns the index of the first record of an instruction or of one behind it.
func search[R image.Record](t image.Table[R], instruction uint32, at func(R) uint32) int {
	return sort.Search(image.Len(t), func(i int) bool { return at(image.At(t, i)) >= instruction })
}
