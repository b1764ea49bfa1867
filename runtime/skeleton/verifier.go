package skeleton

import (
	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
)

// VerifierError is the rejection of a program by the verifier, with the line of C.
type VerifierError struct {
	// Program and Section are the program's name and that of its section.
	Program, Section string
	// Source is the line of C, "file.bpf.c:12: text", that the verifier was at
	// last. It is empty for an object without line info.
	Source string
	// Hint is what to do about it, empty where the runtime does not know.
	Hint string
	// Err has the kernel's answer and the whole log.
	Err *ebpf.VerifierError
}

// Error names the program and the line, and shows the end of the log. Format Err
// with %+v to see all of the log.
func (e *VerifierError) Error() string {
	program := &loader.Program{Name: e.Program, Section: e.Section}
	return (&loader.ProgramError{Program: program, Err: e.Err.Cause, Log: e.Err.Log, Source: e.Source, Hint: e.Hint}).Error()
}

// Unwrap returns Err.
func (e *VerifierError) Unwrap() error { return e.Err }
