package loader

import (
	"encoding/binary"

	"github.com/rules-bpf/rules_bpf/internal/image"
)

// insn is an instruction as it is in memory, struct bpf_insn, that of a 64-bit load with
// its second half.
type insn []byte

// Parts of instructions: linux/bpf.h.
const (
	insnSize = image.InstructionSize

	opLoad64 = 0x18
	opCall   = 0x85
	// The values of the source register that say what a call or a 64-bit load refers to:
	// BPF_PSEUDO_*.
	pseudoMapFD    = 1
	pseudoMapValue = 2
	pseudoBTFID    = 3
	pseudoFunc     = 4
	pseudoCall     = 1
	pseudoKfunc    = 2
)

// littleEndian is the byte order of this machine, and so of its kernel.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// insnAt returns the instruction at an index in code, which has it.
func insnAt(code []byte, index uint32) insn {
	at := insnSize * int(index)
	size := insnSize
	if code[at] == opLoad64 && len(code)-at >= 2*insnSize {
		size = 2 * insnSize
	}
	return code[at : at+size : at+size]
}

func (i insn) op() uint8     { return i[0] }
func (i insn) setOp(v uint8) { i[0] = v }

// src is a register, or a number BPF_PSEUDO_*.
func (i insn) src() uint8 {
	if littleEndian {
		return i[1] >> 4
	}
	return i[1] & 0xf
}

func (i insn) setSrc(v uint8) {
	if littleEndian {
		i[1] = i[1]&0xf | v<<4
	} else {
		i[1] = i[1]&0xf0 | v
	}
}

func (i insn) off() int16     { return int16(binary.NativeEndian.Uint16(i[2:])) }
func (i insn) setOff(v int16) { binary.NativeEndian.PutUint16(i[2:], uint16(v)) }
func (i insn) imm() int32     { return int32(binary.NativeEndian.Uint32(i[4:])) }
func (i insn) setImm(v int32) { binary.NativeEndian.PutUint32(i[4:], uint32(v)) }

// isLoad64 reports whether the instruction is a 64-bit load with both of its halves.
func (i insn) isLoad64() bool { return len(i) == 2*insnSize }

// next returns the second half of a 64-bit load.
func (i insn) next() insn { return i[insnSize:] }

// imm64 is the number that a 64-bit load loads.
func (i insn) imm64() uint64 { return uint64(uint32(i.imm())) | uint64(i.next().imm())<<32 }

func (i insn) setImm64(v uint64) {
	i.setImm(int32(v))
	i.next().setImm(int32(v >> 32))
}

// poison makes the instruction a call of a helper that does not exist, which the
// verifier refuses when it can be reached. A 64-bit load becomes two, as its second half
// alone is not an instruction.
func (i insn) poison(number int32) {
	for ; len(i) > 0; i = i[insnSize:] {
		i[0], i[1] = opCall, 0
		i.setOff(0)
		i.setImm(number)
	}
}

// Numbers of helpers that do not exist, which are libbpf's. Each is the first of a range for
// something that the kernel lacks, or that was not made; an index is added to it.
const (
	// poisonCORE plus the index of a CO-RE relocation.
	poisonCORE = 0xbad2310
	// poisonMap plus the index of a map.
	poisonMap = 2001000000
	// poisonKfunc plus the index of an extern.
	poisonKfunc = 2002000000
)
