package image

import (
	"errors"
	"fmt"
)

// InstructionSize is what an instruction takes, in bytes. A 64-bit load takes two.
const InstructionSize = 8

// The first bytes of the instructions that relocations change.
const (
	opLoad64 = 0x18
	opCall   = 0x85
)

// checks are those of the parts of an object. They stand here, and not in check, so that
// they cost no memory.
var checks = [...]func(*Object) error{
	(*Object).checkFunctions, (*Object).checkPrograms, (*Object).checkMaps, (*Object).checkKconfig,
	(*Object).checkElements, (*Object).checkStructOps, (*Object).checkArena, (*Object).checkVariables,
	(*Object).checkExterns, (*Object).checkJumpTables, (*Object).checkRelocations,
}

// check reports what in the object refers to something that is not in it, or is not in
// its order.
func check(o *Object) error {
	for _, f := range checks {
		if err := f(o); err != nil {
			return err
		}
	}
	if err := checkOrder(o, "CO-RE relocation", o.CORE, coreAt); err != nil {
		return err
	}
	if err := checkOrder(o, "function", o.FuncInfo, funcInfoAt); err != nil {
		return err
	}
	return checkOrder(o, "line", o.LineInfo, lineInfoAt)
}

func coreAt(r CORE) uint32         { return r.Instruction }
func funcInfoAt(r FuncInfo) uint32 { return r.Instruction }
func lineInfoAt(r LineInfo) uint32 { return r.Instruction }

// instructions returns how many instructions the object has.
func (o *Object) instructions() uint32 { return uint32(len(o.Code) / InstructionSize) }

// instructionSize returns how many instructions the one at i counts for, 0 when it is not
// in the functions from *f on, which it moves to the one that has it. Calls are in the
// order of instructions.
func (o *Object) instructionSize(f *int, i uint32) uint32 {
	for *f < len(o.Functions) && i >= o.Functions[*f].First+o.Functions[*f].Count {
		*f++
	}
	if *f == len(o.Functions) || i < o.Functions[*f].First {
		return 0
	}
	n := uint32(1)
	if o.Code[InstructionSize*i] == opLoad64 {
		n = 2
	}
	if i+n > o.Functions[*f].First+o.Functions[*f].Count {
		return 0
	}
	return n
}

// isIndex reports whether an optional index is none or that of one of n.
func isIndex(i uint32, n int) bool { return i == NoIndex || uint64(i) < uint64(n) }

// within reports whether n things from at on are among all.
func within(at, n, all uint32) bool { return uint64(at)+uint64(n) <= uint64(all) }

func (o *Object) checkFunctions() error {
	if len(o.Code)%InstructionSize != 0 {
		return errors.New("a part of an instruction is missing")
	}
	end := uint32(0)
	for i := range o.Functions {
		f := &o.Functions[i]
		if f.First < end || f.Count == 0 || !within(f.First, f.Count, o.instructions()) {
			return fmt.Errorf("function %q has no code of its own", f.Name)
		}
		end = f.First + f.Count
		if !isIndex(f.ExceptionCallback, len(o.Functions)) {
			return fmt.Errorf("function %q has an exception callback that is missing", f.Name)
		}
	}
	return nil
}

func (o *Object) checkPrograms() error {
	for i := range o.Programs {
		if p := &o.Programs[i]; uint64(p.Function) >= uint64(len(o.Functions)) {
			return fmt.Errorf("program %q has no function", p.Name)
		}
	}
	return nil
}

func (o *Object) checkMaps() error {
	for i := range o.Maps {
		m := &o.Maps[i]
		if m.Kind > InnerMap || i > 0 && o.Maps[i-1].Kind == InnerMap && m.Kind != InnerMap {
			return fmt.Errorf("map %q is of a kind that is not in order", m.Name)
		}
		if n := uint64(len(m.Contents)); n > 0 && n != uint64(m.ValueSize) {
			return fmt.Errorf("map %q has %d bytes of contents for a value of %d", m.Name, n, m.ValueSize)
		}
		if m.Inner == NoIndex {
			continue
		}
		if m.Kind != DeclaredMap || uint64(m.Inner) >= uint64(len(o.Maps)) || o.Maps[m.Inner].Kind != InnerMap {
			return fmt.Errorf("map %q has a definition of inner maps that is missing", m.Name)
		}
	}
	return nil
}

// created returns how many maps the loader creates: definitions of inner maps come last.
func (o *Object) created() int {
	n := len(o.Maps)
	for n > 0 && o.Maps[n-1].Kind == InnerMap {
		n--
	}
	return n
}

func (o *Object) checkKconfig() error {
	size, found := uint32(0), 0
	for i := range o.Maps {
		if o.Maps[i].Kind == KconfigMap {
			size = o.Maps[i].ValueSize
			found++
		}
	}
	if found > 1 {
		return errors.New("there are several maps of Kconfig options")
	}
	for i := range o.Kconfig {
		v := &o.Kconfig[i]
		if !within(v.Offset, v.Size, size) {
			return fmt.Errorf("variable %q of .kconfig is not in its map", v.Name)
		}
		if v.Kind < KconfigInt || v.Kind > KconfigString || v.Size == 0 || v.Kind != KconfigString && v.Size > 8 {
			return fmt.Errorf("variable %q of .kconfig has a kind that options do not have", v.Name)
		}
	}
	return nil
}

func (o *Object) checkElements() error {
	for i, e := range o.Elements {
		targets := o.created()
		if e.IsProgram {
			targets = len(o.Programs)
		}
		if uint64(e.Map) >= uint64(o.created()) || uint64(e.Target) >= uint64(targets) {
			return fmt.Errorf("element %d of maps refers to something that is missing", i)
		}
	}
	return nil
}

func (o *Object) checkStructOps() error {
	for i := range o.StructOps {
		s := &o.StructOps[i]
		end := uint32(0)
		for _, f := range s.Funcs {
			if f.Offset < end || !within(f.Offset, 8, uint32(len(s.Contents))) || uint64(f.Program) >= uint64(len(o.Programs)) {
				return fmt.Errorf("struct_ops map %q has a member that is not in it", s.Name)
			}
			end = f.Offset + 8
		}
	}
	return nil
}

func (o *Object) checkArena() error {
	if a := &o.Arena; !isIndex(a.Map, o.created()) || len(a.Contents) > 0 && uint64(len(a.Contents)) != uint64(a.Size) || a.Map == NoIndex && a.Size > 0 {
		return errors.New("the arena has a map or a size that does not fit")
	}
	return nil
}

func (o *Object) checkVariables() error {
	for i := range o.Variables {
		v := &o.Variables[i]
		if !isIndex(v.Map, len(o.Maps)) || v.Map != NoIndex && !o.Maps[v.Map].Kind.IsSection() || v.Map == NoIndex && o.Arena.Map == NoIndex {
			return fmt.Errorf("variable %q has no map", v.Name)
		}
		size := o.Arena.Size
		if v.Map != NoIndex {
			size = o.Maps[v.Map].ValueSize
		}
		if !within(v.Offset, v.Size, size) {
			return fmt.Errorf("variable %q is not in its section", v.Name)
		}
	}
	return nil
}

func (o *Object) checkExterns() error {
	for i := range o.Externs {
		if e := &o.Externs[i]; e.Kind > Kfunc {
			return fmt.Errorf("extern %q has a kind that externs do not have", e.Name)
		}
	}
	return nil
}

func (o *Object) checkJumpTables() error {
	for i := range o.JumpTables {
		t := &o.JumpTables[i]
		if uint64(t.Function) >= uint64(len(o.Functions)) {
			return fmt.Errorf("jump table %d has no function", i)
		}
		for _, at := range t.Instructions {
			if at >= o.Functions[t.Function].Count {
				return fmt.Errorf("jump table %d has a target outside of its function", i)
			}
		}
	}
	return nil
}

func (o *Object) checkRelocations() error {
	next, f := uint32(0), 0
	for i := range Len(o.Relocations) {
		r := At(o.Relocations, i)
		targets, op := 0, byte(opLoad64)
		switch r.Kind {
		case MapFD, MapValue:
			targets = o.created()
		case ArenaValue:
			if o.Arena.Map == NoIndex || r.Target != 0 {
				return fmt.Errorf("relocation %d refers to an arena that is missing", i)
			}
			targets = 1
		case Call:
			targets, op = len(o.Functions), opCall
		case FuncAddress:
			targets = len(o.Functions)
		case ExternCall:
			targets, op = len(o.Externs), opCall
		case ExternAddress:
			targets = len(o.Externs)
		case JumpTable:
			targets = len(o.JumpTables)
		}
		if uint64(r.Target) >= uint64(targets) {
			return fmt.Errorf("relocation %d refers to something that is missing", i)
		}
		size := o.instructionSize(&f, r.Instruction)
		if r.Instruction < next || size == 0 || o.Code[InstructionSize*r.Instruction] != op {
			return fmt.Errorf("relocation %d is not on an instruction that it can change", i)
		}
		next = r.Instruction + size
	}
	return nil
}

// checkOrder reports records that are not of an instruction, or not in order.
func checkOrder[R Record](o *Object, what string, table Table[R], at func(R) uint32) error {
	last, f := uint32(0), 0
	for i := range Len(table) {
		n := at(At(table, i))
		if n < last || o.instructionSize(&f, n) == 0 {
			return fmt.Errorf("%s %d is not on an instruction of a function, or not in order", what, i)
		}
		last = n
	}
	return nil
}
