package imagegen

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// span is where a function is in its section, in bytes.
type span struct {
	from, to uint64
	function uint32
}

// textSection has the functions that programs call, and no program.
const textSection = ".text"

// The source registers of instructions that have a meaning of their own.
const (
	pseudoCall = 1
	pseudoFunc = 4
)

// readCode reads the functions of all sections of code.
func (b *builder) readCode() error {
	functions := make(map[*elfobj.Section][]*elfobj.Symbol)
	for _, sym := range b.file.Symbols {
		if sym.Section.IsCode() && sym.Type == elf.STT_FUNC {
			functions[sym.Section] = append(functions[sym.Section], sym)
		}
	}
	for _, sec := range b.file.Sections {
		if !sec.IsCode() || sec.Type != elf.SHT_PROGBITS {
			continue
		}
		symbols := functions[sec]
		slices.SortStableFunc(symbols, func(a, b *elfobj.Symbol) int { return cmp.Compare(a.Value, b.Value) })
		for _, sym := range symbols {
			if err := b.addFunction(sec, sym); err != nil {
				return fmt.Errorf("%s: %w", quote.Name(sym.Name), err)
			}
		}
	}
	return nil
}

// addFunction adds the function that a symbol names, and the program that it is.
func (b *builder) addFunction(sec *elfobj.Section, sym *elfobj.Symbol) error {
	const whole = elfobj.InsnSize
	n := uint64(len(sec.Data))
	if sym.Value > n || sym.Size > n-sym.Value || sym.Size == 0 || sym.Value%whole != 0 || sym.Size%whole != 0 {
		return fmt.Errorf("is not a whole function of section %s: the file is damaged: build it again", quote.Name(sec.Name))
	}
	places := b.functions[sec]
	p := span{sym.Value, sym.Value + sym.Size, uint32(len(b.out.Functions))}
	switch {
	case len(places) == 0 || places[len(places)-1].to <= p.from:
		b.functions[sec] = append(places, p)
		b.out.Functions = append(b.out.Functions, image.Function{
			Name:              sym.Name,
			First:             uint32(len(b.out.Code) / whole),
			Count:             uint32(sym.Size / whole),
			ExceptionCallback: image.NoIndex,
			Global:            isVisible(sym),
		})
		b.out.Code = append(b.out.Code, sec.Data[p.from:p.to]...)
	case places[len(places)-1].from == p.from && places[len(places)-1].to == p.to:
		// Another name of the same function.
		p.function--
	default:
		return fmt.Errorf("overlaps another function in section %s: the file is damaged: build it again", quote.Name(sec.Name))
	}
	if sec.Name == textSection || sym.Bind == elf.STB_LOCAL {
		return nil
	}
	if sym.Name == "" {
		return errors.New("is a program without a name: the file is damaged: build it again")
	}
	b.programs[p.function] = uint32(len(b.out.Programs))
	b.out.Programs = append(b.out.Programs, image.Program{Name: sym.Name, Section: sec.Name, Function: p.function})
	return nil
}

// isVisible reports whether a symbol is visible to other files, and to loaders.
func isVisible(sym *elfobj.Symbol) bool { return sym.Bind != elf.STB_LOCAL && !isHidden(sym) }

func isHidden(sym *elfobj.Symbol) bool {
	v := elf.ST_VISIBILITY(sym.Other)
	return v == elf.STV_HIDDEN || v == elf.STV_INTERNAL
}

// functionAt returns the function at an offset of a section, and the index of the
// instruction there.
func (b *builder) functionAt(sec *elfobj.Section, off uint64) (p span, instruction uint32, ok bool) {
	places := b.functions[sec]
	i, _ := slices.BinarySearchFunc(places, off, func(p span, off uint64) int {
		if p.to <= off {
			return -1
		}
		return 1
	})
	if i == len(places) || off < places[i].from {
		return span{}, 0, false
	}
	p = places[i]
	return p, b.out.Functions[p.function].First + uint32((off-p.from)/elfobj.InsnSize), true
}

// functionThat returns the function that starts at an offset.
func (b *builder) functionThat(sec *elfobj.Section, off int64) (uint32, bool) {
	if off < 0 {
		return 0, false
	}
	p, _, ok := b.functionAt(sec, uint64(off))
	return p.function, ok && p.from == uint64(off)
}

// sourceRegister returns that of an instruction.
func (b *builder) sourceRegister(insn []byte) byte {
	var order [2]byte
	if b.order.PutUint16(order[:], 1); order[0] == 1 {
		return insn[1] >> 4
	}
	return insn[1] & 0xf
}

// relocations resolves what instructions refer to.
func (b *builder) relocations() error {
	var all []image.Relocation
	for _, sec := range b.file.Sections {
		if len(b.functions[sec]) == 0 {
			continue
		}
		found, err := b.sectionRelocations(sec)
		if err != nil {
			return fmt.Errorf("section %s: %w", quote.Name(sec.Name), err)
		}
		all = append(all, found...)
	}
	// Of a section they are in the order of the file, which need not be that of code.
	slices.SortStableFunc(all, func(a, b image.Relocation) int { return cmp.Compare(a.Instruction, b.Instruction) })
	for i := 1; i < len(all); i++ {
		if all[i].Instruction == all[i-1].Instruction {
			return errors.New("an instruction refers to two things: the file is damaged: build it again")
		}
	}
	b.out.Relocations = image.NewTable(all)
	return nil
}

func (b *builder) sectionRelocations(sec *elfobj.Section) ([]image.Relocation, error) {
	var all []image.Relocation
	relocated := make(map[uint64]bool)
	for _, r := range sec.Relocs {
		p, i, ok := b.functionAt(sec, r.Offset)
		if !ok {
			// In a weak function that another file has overridden.
			continue
		}
		relocated[r.Offset] = true
		size := uint64(elfobj.InsnSize)
		if r.Type == elfobj.R_BPF_64_64 {
			size *= 2
		}
		if r.Offset+size > p.to {
			return nil, errors.New("has a relocation at the end of a function: the file is damaged: build it again")
		}
		rel, err := b.resolve(sec, r)
		if err != nil {
			return nil, err
		}
		rel.Instruction = i
		all = append(all, rel)
	}
	// Calls of static functions in the same section have none.
	for _, p := range b.functions[sec] {
		for off := p.from; off < p.to; off += elfobj.InsnSize {
			insn := sec.Data[off : off+elfobj.InsnSize]
			switch {
			case insn[0] == elfobj.OpLoadImm64:
				if b.sourceRegister(insn) == pseudoFunc && !relocated[off] {
					return nil, fmt.Errorf("%s: has the address of a function without a relocation: build the file again", quote.Name(b.out.Functions[p.function].Name))
				}
				off += elfobj.InsnSize
			case insn[0] == elfobj.OpCall && b.sourceRegister(insn) == pseudoCall && !relocated[off]:
				target, ok := b.functionThat(sec, int64(off)+elfobj.CallAddend(insn, b.order).Off)
				if !ok {
					return nil, fmt.Errorf("%s: calls an address where no function starts: the file is damaged: build it again", quote.Name(b.out.Functions[p.function].Name))
				}
				_, i, _ := b.functionAt(sec, off)
				all = append(all, image.Relocation{Instruction: i, Kind: image.Call, Target: target})
			}
		}
	}
	return all, nil
}

// resolve returns what a relocation of code refers to.
func (b *builder) resolve(sec *elfobj.Section, r elfobj.Reloc) (image.Relocation, error) {
	sym := r.Symbol
	a, err := elfobj.ReadAddend(sec, r, b.order)
	if err != nil {
		return image.Relocation{}, err
	}
	call := r.Type == elfobj.R_BPF_64_32
	if sym.Section == nil {
		return b.resolveExtern(sym, a, call)
	}
	target := a.Target(sym)
	to := sym.Section
	kind, isData := bpfobj.KindOf(to.Name)
	switch {
	case to.IsCode():
		function, ok := b.functionThat(to, target)
		if !ok {
			return image.Relocation{}, fmt.Errorf("refers to an offset in section %s where no function starts: the file is damaged: build it again", quote.Name(to.Name))
		}
		if call {
			return image.Relocation{Kind: image.Call, Target: function}, nil
		}
		return image.Relocation{Kind: image.FuncAddress, Target: function}, nil
	case call:
		return image.Relocation{}, fmt.Errorf("calls %s, which is not a function: the file is damaged: build it again", quote.Name(sym.Name))
	case to.Name == ".maps":
		m, ok := b.declared[uint64(target)]
		if !ok {
			return image.Relocation{}, fmt.Errorf("refers to the byte %d of %s, where no map starts: refer to %[2]s in C", a.Off, quote.Name(sym.Name))
		}
		return image.Relocation{Kind: image.MapFD, Target: m.index}, nil
	case to.Name == "maps":
		return image.Relocation{}, fmt.Errorf("refers to %s in section maps, which is a map in a form that loaders dropped (libbpf 1.0): declare it as a struct of __uint and __type members in SEC(\".maps\"), as docs/maps.md shows", quote.Name(sym.Name))
	case to.Name == bpfobj.JumpTables:
		return b.resolveTable(sec, r, target)
	case isData && kind == bpfobj.Arena:
		return image.Relocation{Kind: image.ArenaValue, Addend: uint32(target)}, nil
	case isData:
		m, ok := b.sections[to]
		if !ok {
			return image.Relocation{}, fmt.Errorf("refers to section %s, which has no contents: give its variables some", quote.Name(to.Name))
		}
		return image.Relocation{Kind: image.MapValue, Target: m, Addend: uint32(target)}, nil
	}
	return image.Relocation{}, fmt.Errorf("refers to %s in section %s, which is not for programs: keep what they need in a global variable", quote.Name(sym.Name), quote.Name(to.Name))
}

// resolveExtern returns what a relocation refers to that is not in the file.
func (b *builder) resolveExtern(sym *elfobj.Symbol, a elfobj.Addend, call bool) (image.Relocation, error) {
	if a.Off != 0 {
		return image.Relocation{}, fmt.Errorf("refers to the byte %d of %s, which loaders take for the start: refer to %[2]s in C", a.Off, quote.Name(sym.Name))
	}
	if off, ok := b.kconfig[sym.Name]; ok && !call {
		return image.Relocation{Kind: image.MapValue, Target: b.kconfigIndex(), Addend: off}, nil
	}
	i, ok := b.externs[sym.Name]
	if !ok {
		return image.Relocation{}, fmt.Errorf("refers to %s, which is not in the file: link the object with the file that defines it (bpfgen link, or deps of a rule), or declare it __kconfig or __ksym", quote.Name(sym.Name))
	}
	if call {
		return image.Relocation{Kind: image.ExternCall, Target: i}, nil
	}
	return image.Relocation{Kind: image.ExternAddress, Target: i}, nil
}
