package elfobj

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The types of relocations, by their names and numbers in the ABI.
const (
	R_BPF_64_64       = 1  // the immediate of a load of 64 bits
	R_BPF_64_ABS64    = 2  // 8 bytes of data
	R_BPF_64_ABS32    = 3  // 4 bytes of data
	R_BPF_64_NODYLD32 = 4  // 4 bytes of data that only linkers read
	R_BPF_64_32       = 10 // the target of a call
)

// The relocation types for data of GNU's assembler before version 2.42, first and last. The
// last is R_BPF_64_ABS64.
const (
	gnuData8  = 8
	gnuData64 = 12
)

// Of instructions.
const (
	InsnSize    = 8
	OpLoadImm64 = 0x18
	OpCall      = 0x85
)

// IsCode reports whether the section holds instructions. A section that is nil does
// not.
func (sec *Section) IsCode() bool {
	return sec != nil && sec.Flags&elf.SHF_EXECINSTR != 0
}

// Addend is the value of the relocated bytes: the offset of the target from the
// symbol.
type Addend struct {
	// Off is in bytes.
	Off int64
	// bytes is where it is, of as many bytes as the number has.
	bytes []byte
	call  bool
}

// ReadAddend returns the addend of a relocation. It fails when there is no room for
// one.
func ReadAddend(sec *Section, r Reloc, order binary.ByteOrder) (Addend, error) {
	from, n, need := r.Offset, uint64(4), uint64(0)
	switch r.Type {
	case R_BPF_64_64:
		from, need = r.Offset+4, 2*InsnSize
	case R_BPF_64_32:
		from, need = r.Offset+4, InsnSize
	case R_BPF_64_ABS64:
		n, need = 8, 8
	case R_BPF_64_ABS32, R_BPF_64_NODYLD32:
		need = 4
	default:
		if r.Type >= gnuData8 && r.Type <= gnuData64 {
			return Addend{}, fmt.Errorf("has a relocation of type %d, as GNU's assembler wrote them before version 2.42: compile with clang, or with GCC 14 and binutils 2.42 or newer", r.Type)
		}
		return Addend{}, fmt.Errorf("has a relocation of type %d, which loaders do not know: build the file again", r.Type)
	}
	size := uint64(len(sec.Data))
	code := r.Type == R_BPF_64_64 || r.Type == R_BPF_64_32
	if r.Offset > size || need > size-r.Offset || code != sec.IsCode() || code && r.Offset%InsnSize != 0 {
		return Addend{}, errors.New("has a relocation of something that is not there: the file is damaged: build it again")
	}
	op := sec.Data[r.Offset]
	if r.Type == R_BPF_64_64 && op != OpLoadImm64 || r.Type == R_BPF_64_32 && op != OpCall {
		return Addend{}, errors.New("has a relocation of another instruction than a load or a call: the file is damaged: build it again")
	}
	a := Addend{bytes: sec.Data[from : from+n], call: r.Type == R_BPF_64_32}
	switch {
	case n == 8:
		a.Off = int64(order.Uint64(a.bytes))
	case a.call:
		// Calls count instructions, from the one after.
		a.Off = (int64(int32(order.Uint32(a.bytes))) + 1) * InsnSize
	default:
		a.Off = int64(int32(order.Uint32(a.bytes)))
	}
	return a, nil
}

// CallAddend is the addend of a call that has no relocation, which counts from the
// call itself.
func CallAddend(insn []byte, order binary.ByteOrder) Addend {
	imm := insn[4:8]
	return Addend{Off: (int64(int32(order.Uint32(imm))) + 1) * InsnSize, bytes: imm, call: true}
}

// Target is the offset in the symbol's section that the addend points to.
func (a Addend) Target(sym *Symbol) int64 { return int64(sym.Value) + a.Off }

// Set writes another offset.
func (a Addend) Set(off int64, order binary.ByteOrder) error {
	if a.call {
		off = off/InsnSize - 1
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
