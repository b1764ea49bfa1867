//go:build linux

package kerneltest

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Trivial returns a program of a section that does nothing.
func Trivial(typ ebpf.ProgramType, section string) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Name: "p", Type: typ, SectionName: section, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}}
}

// Count returns instructions that add one to the element of an array of 8-byte values whose
// index is in a register, and return a result.
func Count(array string, index asm.Register, result int32) asm.Instructions {
	return asm.Instructions{
		asm.StoreMem(asm.RFP, -4, index, asm.Word),
		asm.LoadMapPtr(asm.R1, 0).WithReference(array),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, result).WithSymbol("end"),
		asm.Return(),
	}
}

// WantError checks that an error has some texts in it, and lacks others, which begin
// with "!".
func WantError(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", texts)
		return
	}
	for _, text := range texts {
		text, not := strings.CutPrefix(text, "!")
		if strings.Contains(err.Error(), text) == not {
			t.Errorf("error %q: contains %q: %t", err, text, not)
		}
	}
}
