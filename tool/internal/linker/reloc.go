package linker

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/rawbtf"
)

// The types of relocations, by their numbers in the ABI.
const (
	relLoad   = 1  // R_BPF_64_64: the immediate of a load of 64 bits
	relAbs64  = 2  // R_BPF_64_ABS64: 8 bytes of data
	relAbs32  = 3  // R_BPF_64_ABS32: 4 bytes of data
	relNoDyld = 4  // R_BPF_64_NODYLD32: 4 bytes of data that only linkers read
	relCall   = 10 // R_BPF_64_32: the target of a call
)

// Of instructions.
const (
	insnSize    = 8
	opLoadImm64 = 0x18
	opCall      = 0x85
	pseudoCall  = 1 // in the source register: the call of a function of the program
)

// unresolvedCall is what a call of a weak function that does not exist calls: no
// helper function has the number, so that the verifier rejects the program if it can
// get there. libbpf has numbers with meanings of their own.
const unresolvedCall = 0x0bad0000

// srcReg returns the source register of an instruction. The two registers change
// places with the byte order.
func srcReg(insn []byte, order binary.ByteOrder) byte {
	if order == binary.BigEndian {
		return insn[1] & 0xf
	}
	return insn[1] >> 4
}

// addend is what a relocated place holds: where it points to, counted from the
// symbol.
type addend struct {
	// off is in bytes.
	off int64
	// bytes is where it is, of as many bytes as the number has.
	bytes []byte
	call  bool
}

// readAddend returns the addend of a relocation. It fails when there is no room for
// one.
func readAddend(sec *elfobj.Section, r elfobj.Reloc, order binary.ByteOrder) (addend, error) {
	from, n, need := r.Offset, uint64(4), uint64(0)
	switch r.Type {
	case relLoad:
		from, need = r.Offset+4, 2*insnSize
	case relCall:
		from, need = r.Offset+4, insnSize
	case relAbs64:
		n, need = 8, 8
	case relAbs32, relNoDyld:
		need = 4
	default:
		return addend{}, fmt.Errorf("has a relocation of type %d, which loaders do not know: build the file again", r.Type)
	}
	size := uint64(len(sec.Data))
	code := r.Type == relLoad || r.Type == relCall
	if r.Offset > size || need > size-r.Offset || code != isCode(sec) || code && r.Offset%insnSize != 0 {
		return addend{}, errors.New("has a relocation of something that is not there: the file is damaged: build it again")
	}
	op := sec.Data[r.Offset]
	if r.Type == relLoad && op != opLoadImm64 || r.Type == relCall && op != opCall {
		return addend{}, errors.New("has a relocation of another instruction than a load or a call: the file is damaged: build it again")
	}
	a := addend{bytes: sec.Data[from : from+n], call: r.Type == relCall}
	switch {
	case n == 8:
		a.off = int64(order.Uint64(a.bytes))
	case a.call:
		// Calls count instructions, from the one after.
		a.off = (int64(int32(order.Uint32(a.bytes))) + 1) * insnSize
	default:
		a.off = int64(int32(order.Uint32(a.bytes)))
	}
	return a, nil
}

// target is the place in the symbol's section that the addend points to.
func (a addend) target(sym *elfobj.Symbol) int64 { return int64(sym.Value) + a.off }

// set writes another offset.
func (a addend) set(off int64, order binary.ByteOrder) error {
	if a.call {
		off = off/insnSize - 1
	}
	if len(a.bytes) == 8 {
		order.PutUint64(a.bytes, uint64(off))
		return nil
	}
	if off < math.MinInt32 || off > math.MaxUint32 {
		return errors.New("is too large for what refers to it: make its variables smaller")
	}
	order.PutUint32(a.bytes, uint32(off))
	return nil
}

// undefined finds out who refers to which name, and fails when a name is defined
// nowhere and must be.
func (l *linker) undefined() error {
	for _, obj := range l.objects {
		for _, p := range obj.order {
			for _, r := range p.sec.Relocs {
				u := obj.uses[r.Symbol]
				if u == nil {
					continue
				}
				g := l.globals[u.sym.Name]
				if p.isCut(r.Offset) || p.again {
					g.dead = true
				} else if g.live == nil {
					g.live = &place{p, r.Offset}
				}
			}
		}
	}
	if l.opts.Partial {
		return nil
	}
	var errs []error
	for g := range l.all {
		if g.def == nil && g.home == "" && g.live != nil && !g.weak(false) {
			errs = append(errs, g.missing())
		}
	}
	return errors.Join(errs...)
}

// missing is the error for a name that is defined nowhere.
func (g *global) missing() error {
	at := ""
	if p := g.live.part; isCode(p.sec) {
		if line := p.obj.line(p.sec.Name, g.live.off); line != "" {
			at = " (used at " + line + ")"
		}
	}
	also := ""
	for _, u := range g.uses {
		if u.obj == g.live.part.obj {
			continue
		}
		if also == "" {
			also = ", and in "
		} else {
			also += ", "
		}
		also += u.obj.name
	}
	return fmt.Errorf("%s: %s: is declared here%s%s, and no file defines it: add the bpf_library that defines it to deps, or declare it __weak, __kconfig or __ksym",
		g.live.part.obj.name, elfobj.Quote(g.name), at, also)
}

// relocate copies the relocations, and moves the offsets that go with them.
func (l *linker) relocate() error {
	for _, sec := range l.sections {
		for _, p := range sec.parts {
			if err := l.relocatePart(p); err != nil {
				return fmt.Errorf("%s: section %s: %w", p.obj.name, elfobj.Quote(sec.Name), err)
			}
		}
	}
	return nil
}

func (l *linker) relocatePart(p *part) error {
	relocated := make(map[uint64]bool)
	for _, r := range p.sec.Relocs {
		relocated[r.Offset] = true
		if p.isCut(r.Offset) {
			continue
		}
		// What is wrong is found in the file's own section; the contents are those of
		// the result.
		if _, err := readAddend(p.sec, r, l.order()); err != nil {
			return err
		}
		moved := r
		moved.Offset = uint64(p.place(int64(r.Offset)))
		a, err := readAddend(p.out.Section, moved, l.order())
		if err != nil {
			return err
		}
		if moved.Symbol, err = l.target(p, r, a); err != nil {
			return err
		}
		if moved.Symbol == nil {
			if r.Type == relCall {
				// The call of a helper function. Both registers are 0.
				p.out.Data[moved.Offset+1] = 0
				l.order().PutUint32(a.bytes, unresolvedCall)
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
		from, to := p.place(int64(at)), p.place(int64(target))
		a := addend{bytes: p.out.Data[from+4 : from+8], call: true}
		if err := a.set(to-from, l.order()); err != nil {
			return err
		}
	}
	return nil
}

// isQuestion says whether a relocation asks if a function exists, and one does: it is
// defined, or another file counts on it.
func (l *linker) isQuestion(g *global, u *use, r elfobj.Reloc) bool {
	return r.Type == relLoad && !u.defines() && u.weak() && u.obj.btf.Kind(u.id) == rawbtf.Func &&
		g.home == "" && !g.hidden() && (g.def != nil || !g.weak(true))
}

// target returns the symbol of the result that a relocation refers to, and moves
// the addend when it counts from a section's start. It returns nil for what is a
// number now and needs no relocation.
func (l *linker) target(p *part, r elfobj.Reloc, a addend) (*elfobj.Symbol, error) {
	sym := r.Symbol
	if sym == nil {
		return nil, errors.New("has a relocation without a symbol: the file is damaged: build it again")
	}
	if u := p.obj.uses[sym]; u != nil {
		g := l.globals[sym.Name]
		if l.isQuestion(g, u, r) {
			return nil, a.set(1, l.order())
		}
		// Nil for a name that is dropped.
		return g.sym, nil
	}
	to := p.obj.parts[sym.Section]
	if to == nil {
		return nil, fmt.Errorf("refers to %s, which is in no section that loaders read", elfobj.Quote(sym.Name))
	}
	if sym.Type != elf.STT_SECTION {
		if out := p.obj.locals[sym]; out != nil {
			return out, nil
		}
		return nil, fmt.Errorf("refers to %s, which is left out: the file is damaged: build it again", elfobj.Quote(sym.Name))
	}
	target := a.target(sym)
	// Loaders look for the functions in data by symbols alone.
	if !isCode(p.sec) {
		if f := p.obj.function(sym.Section, target); f != nil && p.obj.locals[f] != nil {
			return p.obj.locals[f], a.set(0, l.order())
		}
	}
	return l.start(to.out), a.set(to.place(target), l.order())
}

// function returns the static function at a place of a section of code.
func (obj *object) function(sec *elfobj.Section, off int64) *elfobj.Symbol {
	if !isCode(sec) {
		return nil
	}
	for _, sym := range obj.file.Symbols {
		if sym.Section == sec && sym.Type == elf.STT_FUNC && sym.Bind == elf.STB_LOCAL && int64(sym.Value) == off {
			return sym
		}
	}
	return nil
}
