package bpfobj

import (
	"fmt"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// JumpTables is the section of the jump tables that clang makes of switch statements, from
// version 22 on with -mcpu=v4. A table is a symbol, to which the function that jumps refers,
// and its entries of 8 bytes are offsets in the section of the function.
const JumpTables = ".jumptables"

// CheckRelocs returns an error when a section that loaders read refers to one that they do
// not: when that is dropped, the reference would have no target.
func CheckRelocs(file *elfobj.File) error {
	for _, sec := range file.Sections {
		// Those of BTF are for linkers, which find the same by names.
		if !IsLoaded(sec) || sec.Name == ".BTF" || sec.Name == ".BTF.ext" {
			continue
		}
		for _, r := range sec.Relocs {
			if r.Symbol == nil {
				return fmt.Errorf("section %s: has a relocation without a symbol: the file is damaged: build it again", quote.Name(sec.Name))
			}
			to := r.Symbol.Section
			if to == nil || IsLoaded(to) {
				continue
			}
			return fmt.Errorf("section %s: refers to %s in section %s, which loaders do not read: put it in .data, .rodata or .bss", quote.Name(sec.Name), quote.Name(r.Symbol.Name), quote.Name(to.Name))
		}
	}
	return nil
}
