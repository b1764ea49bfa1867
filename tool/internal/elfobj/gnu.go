package elfobj

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// GNU's assembler before version 2.42 (GCC 12 and 13 come with one) wrote addends
// that count from the start of the symbol's section, not from the symbol, counted
// those of calls in bytes, and had relocation types of its own for data. No loader
// supports that, and some of it goes unnoticed: the symbol's address is added twice.
//
// countFromSymbols brings the addends of such a file into the form of the ABI. The file
// names its compiler, not its assembler, so the addends decide. Few of them are other
// than zero: where one is less than the symbol's address in its section, they count from
// the symbol.
func (f *File) countFromSymbols() {
	comment := slices.IndexFunc(f.Sections, func(sec *Section) bool { return sec.Name == ".comment" })
	if comment < 0 {
		return
	}
	if v := gccVersion(f.Sections[comment].Data); v == 0 || v >= 14 {
		return
	}
	type place struct {
		a   Addend
		sym *Symbol
		// off is the addend in bytes from the symbol.
		off int64
	}
	var places []place
	for _, sec := range f.Sections {
		if isUnlinked(sec) {
			continue
		}
		// The contents are the caller's.
		sec.Data = slices.Clone(sec.Data)
		for i := range sec.Relocs {
			r := &sec.Relocs[i]
			if r.Type == gnuData64 {
				r.Type = R_BPF_64_ABS64
			}
			// An error is for those to report who need the addend.
			a, err := ReadAddend(sec, *r, f.Order)
			if err != nil || r.Symbol == nil {
				continue
			}
			p := place{a, r.Symbol, a.Off}
			if a.call {
				p.off = a.Off / InsnSize
			}
			if p.off -= int64(r.Symbol.Value); p.off < 0 {
				return
			}
			places = append(places, p)
		}
	}
	for _, p := range places {
		// An addend for which the new offset is too large stays as it is.
		_ = p.a.Set(p.off, f.Order)
	}
	// Without .comment, which names GCC, they are not converted a second time.
	f.Sections = slices.Delete(f.Sections, comment, comment+1)
}

// gccVersion returns the major version of GCC in the contents of section .comment,
// which are strings like "GCC: (Debian 12.2.0-14) 12.2.0", 0 if it does not have one.
func gccVersion(comment []byte) int {
	for s := range bytes.SplitSeq(comment, []byte{0}) {
		text, ok := strings.CutPrefix(string(s), "GCC: ")
		if !ok {
			continue
		}
		major, _, _ := strings.Cut(text[strings.LastIndexByte(text, ' ')+1:], ".")
		if v, err := strconv.Atoi(major); err == nil {
			return v
		}
	}
	return 0
}
