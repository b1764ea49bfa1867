package linker

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// pseudoCall is what the source register of a call of a function of the program holds.
const pseudoCall = 1

// unresolvedCall is what a call of a weak function that does not exist calls: no
// helper function has this ID, so that the verifier rejects the program if it can
// get there. libbpf has IDs with meanings of their own.
const unresolvedCall = 0x0bad0000

// srcReg returns the source register of an instruction. Which half of the
// byte it is depends on the byte order.
func srcReg(insn []byte, order binary.ByteOrder) byte {
	if order == binary.BigEndian {
		return insn[1] & 0xf
	}
	return insn[1] >> 4
}

// findReferences finds out which names are referred to.
func (l *linker) findReferences() {
	for _, obj := range l.objects {
		for _, p := range obj.order {
			for _, r := range p.sec.Relocs {
				u := obj.refs[r.Symbol]
				if u == nil {
					continue
				}
				g := l.globals[u.sym.Name]
				if p.isCut(r.Offset) || p.duplicate {
					g.unreachable = true
				} else if g.reachable == nil {
					g.reachable = &reference{p, r.Offset}
				}
			}
		}
	}
}

// undefined fails when a name is defined nowhere and must be.
func (l *linker) undefined() error {
	l.findReferences()
	if l.opts.Partial {
		return nil
	}
	remedy := cmp.Or(l.opts.Remedy, "link the file that defines it too (with Bazel: add its bpf_library to deps), declare it __weak, __kconfig or __ksym, or let it through with -allow-undefined (allow_undefined) for a loader of your own")
	var errs []error
	for g := range l.all {
		if g.def == nil && g.externSection == "" && g.reachable != nil && !g.weak(false) && !l.allows(g.name) {
			errs = append(errs, g.missing(remedy))
		}
	}
	return errors.Join(errs...)
}

// missing is the error for a name that is not defined. It ends with what to do.
func (g *globalSymbol) missing(remedy string) error {
	at := ""
	if p := g.reachable.input; p.sec.IsCode() {
		if line := p.obj.line(p.sec.Name, g.reachable.off); line != "" {
			at = " (used at " + line + ")"
		}
	}
	also := ""
	for _, u := range g.refs {
		if u.obj == g.reachable.input.obj {
			continue
		}
		if also == "" {
			also = ", and in "
		} else {
			also += ", "
		}
		also += u.obj.name
	}
	return fmt.Errorf("%s: %s: is declared here%s%s, and no file defines it: %s", g.reachable.input.obj.name, quote.Name(g.name), at, also, remedy)
}

// relocate copies the relocations, and moves the offsets that go with them.
func (l *linker) relocate() error {
	for _, sec := range l.sections {
		for _, p := range sec.inputs {
			if err := l.relocateInput(p); err != nil {
				return fmt.Errorf("%s: section %s: %w", p.obj.name, quote.Name(sec.Name), err)
			}
		}
	}
	return nil
}

func (l *linker) relocateInput(p *inputSection) error {
	relocated := make(map[uint64]bool)
	for _, r := range p.sec.Relocs {
		relocated[r.Offset] = true
		if p.isCut(r.Offset) {
			continue
		}
		// The file's own section is read to find damage; the addend to change is that of
		// the result.
		if _, err := elfobj.ReadAddend(p.sec, r, l.order()); err != nil {
			return err
		}
		moved := r
		moved.Offset = uint64(p.resultOffset(int64(r.Offset)))
		a, err := elfobj.ReadAddend(p.out.Section, moved, l.order())
		if err != nil {
			return err
		}
		if moved.Symbol, err = l.target(p, r, a); err != nil {
			return err
		}
		if err := l.moveTable(p, r.Symbol); err != nil {
			return err
		}
		if moved.Symbol == nil {
			if r.Type == elfobj.R_BPF_64_32 {
				// The call of a helper function. Both registers are 0.
				insn := p.out.Data[moved.Offset:]
				insn[1] = 0
				l.order().PutUint32(insn[4:], unresolvedCall)
			}
			continue
		}
		p.out.Relocs = append(p.out.Relocs, moved)
	}
	if len(p.cuts) == 0 {
		return nil
	}
	for at, target := range p.directCalls(relocated, l.order()) {
		if p.isCut(at) {
			continue
		}
		from, to := p.resultOffset(int64(at)), p.resultOffset(int64(target))
		if err := elfobj.CallAddend(p.out.Data[from:], l.order()).Set(to-from, l.order()); err != nil {
			return err
		}
	}
	return nil
}

// moveTable adjusts the targets in a jump table to where the code that uses it has moved.
func (l *linker) moveTable(p *inputSection, sym *elfobj.Symbol) error {
	in := p.obj.inputs[sym.Section]
	if in == nil || in.sec.Name != bpfobj.JumpTables || !p.sec.IsCode() {
		return nil
	}
	const entry = 8
	if sym.Value > uint64(len(in.sec.Data)) || sym.Size > uint64(len(in.sec.Data))-sym.Value || sym.Size == 0 || sym.Size%entry != 0 {
		return fmt.Errorf("refers to %s, which is not a jump table: the file is damaged: build it again", quote.Name(sym.Name))
	}
	if l.tables[sym] == p {
		return nil
	}
	if l.tables[sym] != nil {
		return fmt.Errorf("refers to the jump table %s, as another section does, and one table cannot follow both: compile with -fno-jump-tables", quote.Name(sym.Name))
	}
	l.tables[sym] = p
	for off := sym.Value; off < sym.Value+sym.Size; off += entry {
		from := l.order().Uint64(in.sec.Data[off:])
		if from >= uint64(len(p.sec.Data)) {
			return fmt.Errorf("has the jump table %s, with a target outside of the section: the file is damaged: build it again", quote.Name(sym.Name))
		}
		if !in.isCut(off) {
			l.order().PutUint64(in.out.Data[in.resultOffset(int64(off)):], uint64(p.resultOffset(int64(from))))
		}
	}
	return nil
}

// isExistenceCheck reports whether a relocation is for "if (f)" on a weak function that
// exists: it is defined, or another file requires it.
func (l *linker) isExistenceCheck(g *globalSymbol, u *symbolRef, r elfobj.Reloc) bool {
	return r.Type == elfobj.R_BPF_64_64 && !u.defines() && u.weak() && u.obj.btf.At(u.id).Kind() == rawbtf.Func &&
		g.externSection == "" && !g.hidden() && !(g.def == nil && l.allows(g.name)) && (g.def != nil || !g.weak(true))
}

// target returns the symbol of the result that a relocation refers to, and moves
// the addend when it counts from a section's start. It returns nil where a constant
// has replaced the relocation.
func (l *linker) target(p *inputSection, r elfobj.Reloc, a elfobj.Addend) (*elfobj.Symbol, error) {
	sym := r.Symbol
	if u := p.obj.refs[sym]; u != nil {
		g := l.globals[sym.Name]
		if l.isExistenceCheck(g, u, r) {
			return nil, a.Set(1, l.order())
		}
		// Nil for a name that is dropped.
		return g.sym, nil
	}
	to := p.obj.inputs[sym.Section]
	if to == nil {
		return nil, fmt.Errorf("refers to %s, whose section loaders do not read", quote.Name(sym.Name))
	}
	if sym.Type != elf.STT_SECTION {
		if out := p.obj.locals[sym]; out != nil {
			return out, nil
		}
		return nil, fmt.Errorf("refers to %s, which the link leaves out: the file is damaged: build it again", quote.Name(sym.Name))
	}
	target := a.Target(sym)
	// Loaders look for the functions in data by symbols alone.
	if !p.sec.IsCode() {
		if f := p.obj.function(sym.Section, target); f != nil && p.obj.locals[f] != nil {
			return p.obj.locals[f], a.Set(0, l.order())
		}
	}
	return l.start(to.out), a.Set(to.resultOffset(target), l.order())
}

// function returns the static function that starts at an offset of a section of code.
func (obj *object) function(sec *elfobj.Section, off int64) *elfobj.Symbol {
	if !sec.IsCode() {
		return nil
	}
	for _, sym := range obj.file.Symbols {
		if sym.Section == sec && sym.Type == elf.STT_FUNC && sym.Bind == elf.STB_LOCAL && int64(sym.Value) == off {
			return sym
		}
	}
	return nil
}
