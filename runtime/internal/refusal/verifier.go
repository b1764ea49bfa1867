package refusal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/rules-bpf/rules_bpf/internal/verifierlog"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// An instructionNeed is a group of instructions that not all kernels have.
type instructionNeed struct {
	what string
	// major and minor are the version of Linux that brought it.
	major, minor uint32
	// remedy is how to do without it.
	remedy string
}

const (
	useV2 = `compile it with copts = ["-mcpu=v2"]`
	useV3 = `compile it with copts = ["-mcpu=v3"]`
)

// needOf returns what an instruction needs, its zero value when every kernel has it.
func needOf(op asm.OpCode) instructionNeed {
	switch class := op.Class(); class {
	case asm.Jump32Class:
		if op.JumpOp() == asm.Ja {
			return instructionNeed{"a long jump (-mcpu=v4)", 6, 6, useV3}
		}
		return instructionNeed{"a comparison of 32 bits (-mcpu=v3)", 5, 1, useV2}
	case asm.StXClass, asm.LdXClass:
		switch {
		case op.Mode() == asm.MemSXMode:
			return instructionNeed{"a load with sign extension (-mcpu=v4)", 6, 6, useV3}
		case op.Mode() != asm.AtomicMode || op.AtomicOp() == asm.AddAtomic:
		case op.AtomicOp() >= 1<<16:
			return instructionNeed{"a load-acquire or a store-release (-mcpu=v4)", 6, 15, `use __sync_fetch_and_add and its kin instead`}
		default:
			// For an addition whose result is unused, clang before 20 writes the old
			// instruction, and later versions do so for -mcpu=v2 only.
			return instructionNeed{"an atomic instruction (-mcpu=v3)", 5, 12, useV2}
		}
	case asm.ALUClass, asm.ALU64Class:
		switch alu := op.ALUOp(); {
		case alu == asm.SDiv, alu == asm.SMod, alu == asm.MovSX8, alu == asm.MovSX16, alu == asm.MovSX32, alu == asm.Swap && class == asm.ALU64Class:
			return instructionNeed{"a signed division, a move with sign extension or a byte swap (-mcpu=v4)", 6, 6, useV3}
		}
	}
	return instructionNeed{}
}

// tooNew names instructions of the program that a kernel of this version, as in
// LINUX_VERSION_CODE, does not have. It is empty when it has them all.
func tooNew(insns asm.Instructions, version uint32) string {
	var worst instructionNeed
	for _, ins := range insns {
		need := needOf(ins.OpCode)
		// What comes first in the table needs the lowest -mcpu.
		if version >= need.major<<16|need.minor<<8 || worst.remedy == useV2 {
			continue
		}
		worst = need
	}
	if worst.what == "" {
		return ""
	}
	return fmt.Sprintf("the program has %s, which Linux %d.%d brought and this kernel, %d.%d, does not have: %s",
		worst.what, worst.major, worst.minor, version>>16, version>>8&0xff, worst.remedy)
}

// ofLockdown returns what to do where the kernel, which is locked down as mode says, keeps
// helpers from programs: the verifier says that it does not know them, or that programs of
// the type cannot use them.
func ofLockdown(end, mode string) string {
	if mode == "" || !strings.Contains(end, "unknown func bpf_probe_") && !strings.Contains(end, "cannot use helper bpf_probe_") {
		return ""
	}
	because := fmt.Sprintf("the kernel is locked down (/sys/kernel/security/lockdown says %s), and ", mode)
	if strings.Contains(end, "bpf_probe_write_user") {
		return because + "does not allow programs to write to the memory of processes: boot without lockdown="
	}
	if mode != "confidentiality" {
		return ""
	}
	return because + "does not allow programs to read its memory by address (bpf_probe_read_kernel, BPF_CORE_READ): follow the pointers of tp_btf and fentry programs (task->pid), which the verifier checks, or boot with lockdown=integrity"
}

// complaints are what the verifier says of instructions that it does not support.
var complaints = []string{"uses reserved fields", "unknown opcode", "unknown insn class", "invalid atomic operand", "invalid BPF_ATOMIC"}

// Ending returns the last lines of a log, without figures. It is empty when the verifier has
// logged nothing, as for a program that the kernel refuses before it looks at instructions.
func Ending(log []string) string {
	log = verifierlog.WithoutFigures(log)
	return strings.Join(log[max(0, len(log)-4):], "\n")
}

// LacksJIT reports whether the verifier rejects a program because the kernel was built without
// a JIT compiler: those that call kfuncs, or have callbacks.
func LacksJIT(log []string) bool {
	return strings.Contains(Ending(log), "JIT") && !HasJIT()
}

// OfVerifier returns what to do about a rejection of the verifier, as far as the end of its log
// and the instructions show that. code has the instructions that were passed to the kernel, in
// the machine's byte order. The result is empty when neither
// does.
func OfVerifier(log []string, code []byte, order binary.ByteOrder) string {
	end := Ending(log)
	for _, c := range complaints {
		if !strings.Contains(end, c) {
			continue
		}
		insns, err := asm.AppendInstructions(nil, bytes.NewReader(code), order, "")
		if err != nil {
			return ""
		}
		return tooNew(insns, sys.KernelVersion())
	}
	switch {
	case strings.Contains(end, "in ldimm64 isn't KIND_VAR"):
		return "the program takes the address of a kfunc, as bpf_ksym_exists does, for which Linux 6.4 is the first: call SetAutoload(false) on this program, or remove the check from it"
	case strings.Contains(end, "bpf_probe_read"), strings.Contains(end, "bpf_probe_write_user"):
		return ofLockdown(end, lockdown())
	case strings.Contains(end, "JIT"):
		return WhyNoJIT()
	}
	return ""
}
