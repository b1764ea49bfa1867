package linker

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// layOut gives every input section an offset in a section of the result.
func (l *linker) layOut() error {
	for _, obj := range l.objects {
		l.cutLosers(obj)
	}
	var errs []error
	for _, obj := range l.objects {
		for _, p := range obj.order {
			if err := l.addInput(p); err != nil {
				errs = append(errs, fmt.Errorf("%s: section %s: %w", obj.name, quote.Name(p.sec.Name), err))
			}
		}
	}
	return errors.Join(errs...)
}

// cutLosers finds what of a file is left out: definitions that lost.
func (l *linker) cutLosers(obj *object) {
	lost := make(map[*elfobj.Section][]*symbolRef)
	for _, sym := range obj.file.Symbols {
		u := obj.refs[sym]
		if u == nil || !u.defines() || l.globals[sym.Name].def == u || isSingleton(sym.Section.Name) {
			continue
		}
		lost[sym.Section] = append(lost[sym.Section], u)
	}
	if len(lost) == 0 {
		return
	}
	needed := obj.needed(lost, l)
	for _, p := range obj.order {
		for _, u := range lost[p.sec] {
			u.static = needed[u]
		}
		p.cutAll(lost[p.sec])
	}
}

// cutAll leaves out the bytes of definitions that nothing needs.
func (p *inputSection) cutAll(lost []*symbolRef) {
	slices.SortStableFunc(lost, func(a, b *symbolRef) int { return cmp.Compare(a.sym.Value, b.sym.Value) })
	align := max(p.sec.Align, 1)
	end := uint64(0)
	for _, u := range lost {
		from := max(u.sym.Value, end)
		to := u.sym.Value + u.sym.Size
		if u.static || to <= from {
			continue
		}
		// What follows keeps its alignment, whatever it is.
		to = from + (to-from)/align*align
		if to > from {
			p.cuts = append(p.cuts, cut{from, to})
			end = to
		}
	}
}

// needed returns which of the definitions that lost must stay: something reaches
// them in another way than by their names.
func (obj *object) needed(lost map[*elfobj.Section][]*symbolRef, l *linker) map[*symbolRef]bool {
	needed := make(map[*symbolRef]bool)
	// reach marks the definition that lost and covers offset off of the section, unless
	// the reference, at offset at of from, is in that definition too.
	reach := func(sec *elfobj.Section, off uint64, from *elfobj.Section, at uint64) {
		for _, u := range lost[sec] {
			in := func(off uint64) bool { return u.sym.Value <= off && off-u.sym.Value < u.sym.Size }
			if in(off) && !(from == sec && in(at)) {
				needed[u] = true
			}
		}
	}
	for _, p := range obj.order {
		direct := make(map[uint64]bool)
		for _, r := range p.sec.Relocs {
			direct[r.Offset] = true
			if r.Symbol == nil || r.Symbol.Section == nil || obj.refs[r.Symbol] != nil {
				continue
			}
			off := r.Symbol.Value
			if addend, err := elfobj.ReadAddend(p.sec, r, l.order()); err == nil && addend.Target(r.Symbol) >= 0 {
				off = uint64(addend.Target(r.Symbol))
			}
			reach(r.Symbol.Section, off, p.sec, r.Offset)
		}
		for at, target := range p.directCalls(direct, l.order()) {
			reach(p.sec, target, p.sec, at)
		}
	}
	// What overlaps with something that stays, as an alias does.
	for _, sym := range obj.file.Symbols {
		u := obj.refs[sym]
		stays := u != nil && l.globals[sym.Name].def == u || u == nil && (sym.Type == elf.STT_FUNC || sym.Type == elf.STT_OBJECT)
		if !stays || sym.Section == nil {
			continue
		}
		for _, other := range lost[sym.Section] {
			a, b := sym, other.sym
			if a.Value < b.Value+b.Size && b.Value < a.Value+a.Size {
				needed[other] = true
			}
		}
	}
	return needed
}

// directCalls yields the calls in an input section that have no relocation, and where
// in it they go.
func (p *inputSection) directCalls(relocated map[uint64]bool, order binary.ByteOrder) func(yield func(at, target uint64) bool) {
	return func(yield func(at, target uint64) bool) {
		if !p.sec.IsCode() {
			return
		}
		for at := uint64(0); at < uint64(len(p.sec.Data)); at += elfobj.InsnSize {
			insn := p.sec.Data[at:]
			if insn[0] == elfobj.OpLoadImm64 {
				at += elfobj.InsnSize
				continue
			}
			if insn[0] != elfobj.OpCall || srcReg(insn, order) != pseudoCall || relocated[at] {
				continue
			}
			target := int64(at) + elfobj.CallAddend(insn, order).Off
			if target >= 0 && target < int64(len(p.sec.Data)) && !yield(at, uint64(target)) {
				return
			}
		}
	}
}

// maxFilled bounds the zeros that are written out, in all sections together, when
// one file has contents in a section and another has none; and maxSection the size of
// sections.
const (
	maxFilled  = 64 << 20
	maxSection = math.MaxUint32
)

// addInput appends an input section to its section of the result.
func (l *linker) addInput(p *inputSection) error {
	sec := l.byName[p.sec.Name]
	if sec == nil {
		sec = &section{Section: &elfobj.Section{
			Name:    p.sec.Name,
			Type:    elf.SHT_NOBITS,
			Flags:   p.sec.Flags,
			Align:   1,
			Entsize: p.sec.Entsize,
		}}
		l.byName[p.sec.Name] = sec
		l.sections = append(l.sections, sec)
		l.out.Sections = append(l.out.Sections, sec.Section)
	} else {
		first := sec.inputs[0]
		if isSingleton(p.sec.Name) {
			p.duplicate, p.out, p.cuts = true, sec, nil
			if !slices.Equal(first.sec.Data, p.sec.Data) {
				return fmt.Errorf("is %q here and %q in %s: one object has one: make them the same", contents(p.sec), contents(first.sec), first.obj.name)
			}
			return nil
		}
		if p.sec.Flags != sec.Flags {
			return fmt.Errorf("has the flags %s here and %s in %s: make all that is in it const in both files, or in neither", p.sec.Flags, sec.Flags, first.obj.name)
		}
		if p.sec.Entsize != sec.Entsize {
			return fmt.Errorf("has entries of %d bytes here and of %d in %s: give one of the sections another name", p.sec.Entsize, sec.Entsize, first.obj.name)
		}
	}
	p.out = sec
	sec.inputs = append(sec.inputs, p)
	if p.sec.Type == elf.SHT_PROGBITS {
		sec.Type = elf.SHT_PROGBITS
	}
	align := max(p.sec.Align, 1)
	sec.Align = max(sec.Align, align)
	// Size counts for both kinds of sections until contents are copied.
	p.base = (sec.Size + align - 1) / align * align
	size := p.size()
	if p.base > maxSection || size > maxSection-p.base {
		return fmt.Errorf("is larger than 4 GB together with that of the other files: no map can hold it: make its variables smaller")
	}
	sec.Size = p.base + size
	return nil
}

// contents returns what a section holds for an error message.
func contents(sec *elfobj.Section) string {
	const most = 64
	data := sec.Data
	if n := len(data); n > 0 && data[n-1] == 0 {
		data = data[:n-1]
	}
	return string(data[:min(len(data), most)])
}

// contents copies the input sections into the sections of the result.
func (l *linker) contents() error {
	filled := uint64(0)
	for _, sec := range l.sections {
		if sec.Type == elf.SHT_NOBITS {
			continue
		}
		for _, p := range sec.inputs {
			if p.sec.Type == elf.SHT_NOBITS {
				filled += p.sec.Size
			}
			if filled > maxFilled {
				return fmt.Errorf("%s: section %s: has %d bytes of zeros here and contents in other files, so that all zeros would have to be written out: put the large variables into a section of their own", p.obj.name, quote.Name(sec.Name), filled)
			}
		}
		sec.Data = make([]byte, sec.Size)
		sec.Size = 0
		for _, p := range sec.inputs {
			from, to := uint64(0), p.base
			for _, c := range append(p.cuts, cut{from: uint64(len(p.sec.Data)), to: uint64(len(p.sec.Data))}) {
				if p.sec.Type == elf.SHT_NOBITS {
					break
				}
				to += uint64(copy(sec.Data[to:], p.sec.Data[from:c.from]))
				from = c.to
			}
		}
	}
	return nil
}

// symbols makes the symbol table.
func (l *linker) symbols() error {
	referenced := make(map[*elfobj.Symbol]bool)
	for _, obj := range l.objects {
		for _, p := range obj.order {
			for _, r := range p.sec.Relocs {
				if !p.isCut(r.Offset) {
					referenced[r.Symbol] = true
				}
			}
		}
	}
	for _, obj := range l.objects {
		for _, sym := range obj.file.Symbols {
			l.addLocal(obj, sym, referenced[sym])
		}
	}
	for g := range l.all {
		if l.dropped(g) {
			continue
		}
		g.sym = &elfobj.Symbol{Name: g.name, Bind: elf.STB_GLOBAL, Type: elf.STT_NOTYPE}
		if g.weak(l.opts.Partial) {
			g.sym.Bind = elf.STB_WEAK
		}
		if g.hidden() {
			g.sym.Other = byte(elf.STV_HIDDEN)
		}
		if u := g.def; u != nil {
			g.sym.Type = u.sym.Type
			g.sym.Size = u.sym.Size
			l.define(g.sym, u.input(), u.sym)
		}
		l.out.Symbols = append(l.out.Symbols, g.sym)
	}
	return nil
}

// define gives a symbol of the result the address of the file's symbol.
func (l *linker) define(out *elfobj.Symbol, p *inputSection, sym *elfobj.Symbol) {
	out.Section = p.out.Section
	out.Value = uint64(p.resultOffset(int64(sym.Value)))
}

// addLocal adds a symbol that is a file's own, if the result needs it.
func (l *linker) addLocal(obj *object, sym *elfobj.Symbol, referenced bool) {
	p := obj.inputs[sym.Section]
	if p == nil {
		return
	}
	if u := obj.refs[sym]; u != nil && !u.static {
		return
	}
	if !referenced && (p.duplicate || p.isCut(sym.Value)) {
		return
	}
	switch sym.Type {
	case elf.STT_SECTION, elf.STT_FILE:
		return
	case elf.STT_NOTYPE:
		// A label in a function.
		if sym.Section.IsCode() && !referenced {
			return
		}
	}
	out := &elfobj.Symbol{Name: sym.Name, Bind: elf.STB_LOCAL, Type: sym.Type, Other: sym.Other, Size: sym.Size}
	l.define(out, p, sym)
	obj.locals[sym] = out
	l.out.Symbols = append(l.out.Symbols, out)
}

// start returns the symbol for the start of a section of the result.
func (l *linker) start(sec *section) *elfobj.Symbol {
	if sec.symbol == nil {
		sec.symbol = &elfobj.Symbol{Bind: elf.STB_LOCAL, Type: elf.STT_SECTION, Section: sec.Section}
		l.out.Symbols = append(l.out.Symbols, sec.symbol)
	}
	return sec.symbol
}
