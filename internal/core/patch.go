package core

import (
	"fmt"
	"math"
)

// Instruction is an instruction of BPF, ld_imm64 with both of its halves.
type Instruction struct {
	Code, Src uint8
	Offset    int16
	// Imm is extended by its sign, but for that of ld_imm64.
	Imm int64
}

// Parts of an instruction's code: linux/bpf_common.h.
const (
	classMask = 0x07
	classLD   = 0x00
	classLDX  = 0x01
	classST   = 0x02
	classSTX  = 0x03
	classALU  = 0x04
	classALU6 = 0x07

	sizeMask = 0x18
	srcReg   = 0x08
	loadImm  = 0x18
)

// sizeBits are those of an instruction that reads or writes so many bytes.
var sizeBits = map[uint32]uint8{1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}

// Patch puts the result into the instruction. It reports true, and leaves the instruction as it
// is, when that must be poisoned: the kernel lacks what it needs, or has it in a form that the
// instruction would misread.
func (r Result) Patch(ins *Instruction) (poison bool, err error) {
	if r.Poison {
		return true, nil
	}
	switch ins.Code & classMask {
	case classALU, classALU6:
		if ins.Code&srcReg != 0 {
			return false, errMalformed
		}
		if err := r.expect(uint64(ins.Imm), uint64(int64(int32(r.local)))); err != nil {
			return false, err
		}
		// As libbpf, which cuts a value that is too large: what the program was compiled
		// for has no room for more.
		ins.Imm = int64(int32(r.Value))
	case classLD:
		if ins.Code != loadImm || ins.Src != 0 || ins.Offset != 0 {
			return false, errMalformed
		}
		if err := r.expect(uint64(ins.Imm), r.local); err != nil {
			return false, err
		}
		ins.Imm = int64(r.Value)
	case classLDX, classST, classSTX:
		if err := r.expect(uint64(int64(ins.Offset)), r.local); err != nil {
			return false, err
		}
		if r.Value > math.MaxInt16 {
			return false, fmt.Errorf("is at offset %d in the kernel, and instructions reach %d: take its address before, as BPF_CORE_READ does", r.Value, math.MaxInt16)
		}
		if r.unsafe {
			return true, nil
		}
		ins.Offset = int16(r.Value)
		if r.size == r.localSize {
			return false, nil
		}
		if old, ok := sizeBits[r.localSize]; !ok || ins.Code&sizeMask != old {
			return false, errMalformed
		}
		bits, ok := sizeBits[r.size]
		if !ok {
			return false, fmt.Errorf("takes %d bytes in the kernel, which no instruction reads at once: use BPF_CORE_READ", r.size)
		}
		ins.Code = ins.Code&^sizeMask | bits
	default:
		return false, errMalformed
	}
	return false, nil
}

// expect returns an error when an instruction does not have the value of the local type.
func (r Result) expect(have, want uint64) error {
	if r.check && have != want {
		return fmt.Errorf("the instruction has %d, and the type says %d: %w", have, want, errMalformed)
	}
	return nil
}
