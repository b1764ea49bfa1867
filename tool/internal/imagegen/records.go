package imagegen

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// records makes the tables of .BTF.ext.
func (b *builder) records() error {
	if b.ext == nil || b.btf == nil {
		return nil
	}
	functions := rebase(b, b.ext.Funcs, func(r rawbtf.FuncInfo) uint32 { return r.Offset },
		func(r rawbtf.FuncInfo, i uint32) image.FuncInfo { return image.FuncInfo{Instruction: i, Type: r.Type} })
	for _, r := range functions {
		f, ok := slices.BinarySearchFunc(b.out.Functions, r.Instruction, func(f image.Function, i uint32) int { return cmp.Compare(f.First, i) })
		if ok {
			b.out.Functions[f].Type = r.Type
		}
	}
	b.out.FuncInfo = image.NewTable(functions)
	b.out.LineInfo = image.NewTable(rebase(b, b.ext.Lines, func(r rawbtf.LineInfo) uint32 { return r.Offset },
		func(r rawbtf.LineInfo, i uint32) image.LineInfo {
			return image.LineInfo{Instruction: i, File: r.File, Line: r.Text, Column: r.Column}
		}))
	b.out.CORE = image.NewTable(rebase(b, b.ext.Relos, func(r rawbtf.CoreRelo) uint32 { return r.Offset },
		func(r rawbtf.CoreRelo, i uint32) image.CORE {
			return image.CORE{Instruction: i, Type: r.Type, Access: r.Access, Kind: r.Kind}
		}))
	return nil
}

// rebase returns the records of the instructions that functions have, in their order.
func rebase[From any, To image.Record](b *builder, sections []rawbtf.ExtSection[From], offset func(From) uint32, record func(From, uint32) To) []To {
	type indexed struct {
		i uint32
		r To
	}
	var found []indexed
	for _, s := range sections {
		sec := b.file.Section(b.types.String(s.Name))
		if !sec.IsCode() {
			continue
		}
		for _, r := range s.Records {
			if _, i, ok := b.functionAt(sec, uint64(offset(r))); ok && offset(r)%elfobj.InsnSize == 0 {
				found = append(found, indexed{i, record(r, i)})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b indexed) int { return cmp.Compare(a.i, b.i) })
	records := make([]To, len(found))
	for i, f := range found {
		records[i] = f.r
	}
	return records
}

// variables lists the variables of maps, in their order, and those in the arena.
func (b *builder) variables() error {
	if b.btf == nil {
		return nil
	}
	for i := range b.out.Maps {
		if m := &b.out.Maps[i]; m.Kind.IsSection() {
			b.sectionVariables(uint32(i), m.ValueType)
		}
	}
	if b.out.Arena.Map != image.NoIndex {
		b.sectionVariables(image.NoIndex, b.out.Arena.DataSection)
	}
	return nil
}

func (b *builder) sectionVariables(m, datasec uint32) {
	if datasec == 0 {
		return
	}
	entries := b.btf.At(datasec)
	for i := range entries.Vlen() {
		info := entries.Secinfo(i)
		v := b.btf.At(info.Type)
		b.out.Variables = append(b.out.Variables, image.Variable{
			Name: v.Name(), Map: m, Offset: info.Offset, Size: info.Size, Type: v.Ref(),
			// What is hidden has become static.
			Visible: v.Linkage() == rawbtf.Global,
		})
	}
}

// structOps reads the struct_ops maps.
func (b *builder) structOps() error {
	for _, sec := range b.file.Sections {
		if !secdef.IsStructOps(sec.Name) || !isContents(sec) || size(sec) == 0 {
			continue
		}
		if sec.Type != elf.SHT_PROGBITS {
			return fmt.Errorf("section %s: has no contents in the file: build the object again", quote.Name(sec.Name))
		}
		datasec := b.datasecs[sec.Name]
		if datasec == 0 {
			return fmt.Errorf("section %s: BTF does not have its variables: compile with clang -g", quote.Name(sec.Name))
		}
		for i := range b.btf.At(datasec).Vlen() {
			if err := b.table(sec, b.btf.At(datasec).Secinfo(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// table reads a struct_ops map, a variable of a section.
func (b *builder) table(sec *elfobj.Section, info rawbtf.Secinfo) error {
	name := b.btf.At(info.Type).Name()
	t, ok := b.types.At(b.btf.At(info.Type).Ref()).Skip()
	if !ok || t.Kind() != rawbtf.Struct || t.Name() == "" {
		return fmt.Errorf("%s: is in section %s and is not of a struct with a name, by which the kernel knows it: declare it as, for example, struct tcp_congestion_ops", quote.Name(name), quote.Name(sec.Name))
	}
	if t.ByteSize() != info.Size {
		return fmt.Errorf("%s: has %d bytes and its type %d: build the object again", quote.Name(name), info.Size, t.ByteSize())
	}
	s := image.StructOps{Name: name, Section: sec.Name, Type: t.ID}
	s.Contents = append(s.Contents, sec.Data[info.Offset:info.Offset+info.Size]...)
	for _, r := range sec.Relocs {
		if r.Offset < uint64(info.Offset) || r.Offset >= uint64(info.Offset)+uint64(info.Size) {
			continue
		}
		a, err := elfobj.ReadAddend(sec, r, b.order)
		if err != nil {
			return fmt.Errorf("%s: %w", quote.Name(name), err)
		}
		at := uint32(r.Offset) - info.Offset
		member, ok := functionMember(t, at)
		if !ok {
			return fmt.Errorf("%s: has the address of %s in a member that is not a function pointer: the kernel takes no addresses but those of programs: leave the member out", quote.Name(name), symbolName(r.Symbol))
		}
		function, ok := b.functionThat(r.Symbol.Section, a.Target(r.Symbol))
		if !ok || !b.isProgram(function) {
			return fmt.Errorf("%s: member %s is %s, which is not a program: give it a function with SEC(\"struct_ops\") that is not static", quote.Name(name), quote.Name(member), symbolName(r.Symbol))
		}
		program := b.programs[function]
		if p := b.out.Programs[program]; !bpfobj.IsStructOpsProgram(p.Section) {
			return fmt.Errorf("%s: member %s is the program %s of SEC(%q): declare the program with SEC(\"struct_ops\")", quote.Name(name), quote.Name(member), quote.Name(p.Name), p.Section)
		}
		clear(s.Contents[at : at+8])
		s.Funcs = append(s.Funcs, image.OpsFunc{Offset: at, Program: program})
	}
	slices.SortFunc(s.Funcs, func(a, b image.OpsFunc) int { return cmp.Compare(a.Offset, b.Offset) })
	b.out.StructOps = append(b.out.StructOps, s)
	return nil
}

// functionMember returns the member of a struct that is a pointer to a function and lies
// at an offset.
func functionMember(t rawbtf.Type, at uint32) (name string, ok bool) {
	for i := range t.Vlen() {
		m := t.Member(i)
		if m.Offset != at*8 || m.Bits != 0 || at+8 > t.ByteSize() {
			continue
		}
		p, ok := t.In().At(m.Type).Skip()
		if !ok || p.Kind() != rawbtf.Ptr {
			continue
		}
		if f, ok := p.Elem().Skip(); ok && f.Kind() == rawbtf.FuncProto {
			return m.Name, true
		}
	}
	return "", false
}

// tableKey is a jump table: the function that jumps, and an offset in section .jumptables.
type tableKey struct {
	function uint32
	at       uint64
}

// resolveTable returns the jump table that an instruction loads the address of. Its
// entries are offsets in the section of the function that jumps.
func (b *builder) resolveTable(sec *elfobj.Section, r elfobj.Reloc, target int64) (image.Relocation, error) {
	const entry = 8
	damaged := errors.New("refers to a jump table with a target outside of its function: the file is damaged: build it again")
	p, _, ok := b.functionAt(sec, r.Offset)
	data := r.Symbol.Section.Data
	n := r.Symbol.Size
	if !ok || target != int64(r.Symbol.Value) || target%entry != 0 || n == 0 || n%entry != 0 || uint64(target) > uint64(len(data)) || n > uint64(len(data))-uint64(target) {
		return image.Relocation{}, damaged
	}
	key := tableKey{p.function, uint64(target)}
	if i, ok := b.tables[key]; ok {
		return image.Relocation{Kind: image.JumpTable, Target: i}, nil
	}
	t := image.JumpTableContents{Function: p.function}
	for table := data[target:][:n]; len(table) > 0; table = table[entry:] {
		off := b.order.Uint64(table)
		if off < p.from || off >= p.to || off%elfobj.InsnSize != 0 {
			return image.Relocation{}, damaged
		}
		t.Instructions = append(t.Instructions, uint32((off-p.from)/elfobj.InsnSize))
	}
	i := uint32(len(b.out.JumpTables))
	b.tables[key] = i
	b.out.JumpTables = append(b.out.JumpTables, t)
	return image.Relocation{Kind: image.JumpTable, Target: i}, nil
}
