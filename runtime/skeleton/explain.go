package skeleton

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// advised is an error with what it means here and what to do about it.
type advised struct {
	err    error
	advice string
}

func (e *advised) Error() string { return e.err.Error() + ": " + e.advice }
func (e *advised) Unwrap() error { return e.err }

// advise adds advice to an error, unless it is empty or the error has some.
func advise(err error, advice string) error {
	var has *advised
	if err == nil || advice == "" || errors.As(err, &has) {
		return err
	}
	return &advised{err, advice}
}

// explainLoad turns the loader's error into one that says what the user needs to
// know of it.
func (o *Object) explainLoad(err error) error {
	var failed loader.ProgramErrors
	var errs []error
	eachError(err, func(err error) {
		switch e := err.(type) {
		case *loader.ProgramError:
			failed = append(failed, e)
		case loader.ProgramErrors:
			failed = append(failed, e...)
		case *loader.StructOpsError:
			if missing := missingTarget(e); missing != nil {
				err = missing
			}
			errs = append(errs, o.explainRest(err))
		case *loader.MapError:
			errs = append(errs, fmt.Errorf("map %s: %w", e.Map.Name, advise(e.Err, o.whyRefused(e.Err, mapCaps(e.Map.Type)))))
		default:
			errs = append(errs, o.explainRest(err))
		}
	})
	if len(failed) > 0 {
		errs = append([]error{o.explainPrograms(failed)}, errs...)
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// eachError calls do with each of the errors that are joined in err, whose text has
// nothing but theirs.
func eachError(err error, do func(error)) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || err.Error() != errors.Join(joined.Unwrap()...).Error() {
		do(err)
		return
	}
	for _, err := range joined.Unwrap() {
		eachError(err, do)
	}
}

// programErrors are the errors of several programs.
type programErrors struct {
	loader.ProgramErrors
	errs []error
}

func (e *programErrors) Unwrap() []error { return e.errs }

// explainPrograms says why programs were not loaded. Of several, it says a cause that they
// have in common once.
func (o *Object) explainPrograms(failed loader.ProgramErrors) error {
	errs := make([]error, len(failed))
	for i, e := range failed {
		errs[i] = o.explainProgram(e)
	}
	if len(failed) == 1 {
		return errs[0]
	}
	return &programErrors{failed, errs}
}

// explainProgram completes why a program was not loaded, and returns it: as a
// [*VerifierError] when the verifier has rejected it.
func (o *Object) explainProgram(e *loader.ProgramError) error {
	if isLack(e.Err) {
		// It is not the last instruction that is wrong.
		e.Log, e.Source, e.Hint = nil, "", ""
	}
	if missing := missingTarget(e); missing != nil {
		return missing
	}
	if len(e.Log) == 0 {
		e.Err = advise(e.Err, o.whyRefused(e.Err, programCaps(e.Program.Type)))
		return e
	}
	if e.Hint == "" {
		e.Hint = hintOf(e)
	}
	return &VerifierError{
		Program: e.Program.Name,
		Section: e.Program.Section,
		Source:  e.Source,
		Hint:    e.Hint,
		Err:     &ebpf.VerifierError{Cause: e.Err, Log: e.Log},
	}
}

// An instructionNeed is a part of the instruction set that not all kernels have.
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
			// clang before 20 makes the old instruction of an addition whose result
			// nobody uses, later ones do so for -mcpu=v2 only.
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

// tooNew says what of the program's instructions a kernel of this version, as in
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

// complaints are what the verifier says of instructions that it does not know.
var complaints = []string{"uses reserved fields", "unknown opcode", "unknown insn class", "invalid atomic operand", "invalid BPF_ATOMIC"}

// hintOf returns what to do about a rejection, where the log tells.
func hintOf(e *loader.ProgramError) string {
	end := strings.Join(e.Log[max(0, len(e.Log)-4):], "\n")
	for _, c := range complaints {
		if !strings.Contains(end, c) {
			continue
		}
		insns, err := asm.AppendInstructions(nil, bytes.NewReader(e.Code), nativeOrder, "")
		if err != nil {
			return ""
		}
		return tooNew(insns, sys.KernelVersion())
	}
	switch {
	case strings.Contains(end, "in ldimm64 isn't KIND_VAR"):
		return "the program takes the address of a kfunc, as bpf_ksym_exists does, for which Linux 6.4 is the first: call SetAutoload(false) on this program, or take the question out of it"
	case strings.Contains(end, "JIT"):
		return whyNoJIT()
	}
	return ""
}
