package loader

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// MapError is why a map was not made or not taken, filled or pinned.
type MapError struct {
	Map *Map
	// Err is the kernel's answer, or what was found out before. It wraps
	// [ebpf.ErrMapIncompatible] for a map that was to be taken and is of another kind or
	// size.
	Err error
}

func (e *MapError) Error() string { return fmt.Sprintf("map %s: %v", e.Map.Name, e.Err) }
func (e *MapError) Unwrap() error { return e.Err }

// ProgramError is why a program was not loaded.
type ProgramError struct {
	Program *Program
	// Err is the kernel's answer, or what was found out before.
	Err error
	// Log is the verifier's by lines, without their ends. It is empty when the verifier
	// has not looked at the program.
	Log []string
	// Source is the line of C that the verifier was at last, "file.bpf.c:12: text", and
	// empty when that is not known.
	Source string
	// Hint is what the log's last complaint means here and what to do about it, such as the
	// field that a poisoned instruction asks for. It is empty where the loader does not
	// know.
	Hint string
	// Code has the instructions as the kernel got them, when it did.
	Code []byte
}

// StructOpsError is why a struct_ops map was not made.
type StructOpsError struct {
	StructOps *StructOps
	// Err is the kernel's answer, or what was found out before.
	Err error
}

func (e *StructOpsError) Error() string {
	return fmt.Sprintf("map %s, SEC(%q): %v", e.StructOps.Name, e.StructOps.Section, e.Err)
}

func (e *StructOpsError) Unwrap() error { return e.Err }

// TargetError reports that the kernel, or the program given as the target, does not have what a
// program or a struct_ops map is loaded for. It is in a [*ProgramError] or a
// [*StructOpsError].
type TargetError struct {
	// Target is the name of the function, the tracepoint, the hook, the iterator or the type.
	Target string
	// Err is what is missing and what to do.
	Err error
}

func (e *TargetError) Error() string { return e.Err.Error() }
func (e *TargetError) Unwrap() error { return e.Err }

// shownLines is how many lines at the end of the verifier's log an error shows. The last is
// the complaint, those before it are the instructions that led there with the state of
// their registers.
const shownLines = 6

// Error names the program and the line of C, and shows the end of the log.
func (e *ProgramError) Error() string {
	text := fmt.Sprintf("program %s, SEC(%q): %s", e.Program.Name, e.Program.Section, e.cause())
	if len(e.Log) == 0 {
		return text
	}
	var b strings.Builder
	b.WriteString(text)
	if e.Source != "" {
		fmt.Fprintf(&b, "\n\tat %s", e.Source)
	}
	log := e.Log
	if n := len(log); strings.HasPrefix(log[n-1], "processed ") {
		// Statistics.
		log = log[:n-1]
	}
	if before := len(log) - shownLines; before > 0 {
		fmt.Fprintf(&b, "\n\t(%d lines before)", before)
		log = log[before:]
	}
	for _, line := range log {
		fmt.Fprintf(&b, "\n\t%s", line)
	}
	return b.String()
}

// cause returns why, without the program.
func (e *ProgramError) cause() string {
	text := e.Err.Error()
	if len(e.Log) > 0 {
		text = "rejected by the verifier: " + text
	}
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text
}

// Unwrap returns Err.
func (e *ProgramError) Unwrap() error { return e.Err }

// As makes an error with a log an [*ebpf.VerifierError], too.
func (e *ProgramError) As(target any) bool {
	v, ok := target.(**ebpf.VerifierError)
	if ok = ok && len(e.Log) > 0; ok {
		*v = &ebpf.VerifierError{Cause: e.Err, Log: e.Log}
	}
	return ok
}

// ProgramErrors are all programs that were not loaded, in the order of the object.
type ProgramErrors []*ProgramError

// shownLogs is of how many programs the text of an error has the end of the verifier's
// log, and shownNames how many programs it names that have failed for one reason.
const (
	shownLogs  = 10
	shownNames = 3
)

// Error has a text for each program that the verifier rejects, up to a number of them, and
// one for each reason why others failed.
func (e ProgramErrors) Error() string {
	var texts, causes []string
	var more []*ProgramError
	logs := 0
	for i, p := range e {
		if len(p.Log) > 0 {
			if logs++; logs > shownLogs {
				more = append(more, p)
			} else {
				texts = append(texts, p.Error())
			}
			continue
		}
		cause := p.cause()
		if slices.Contains(causes, cause) {
			continue
		}
		causes = append(causes, cause)
		same := []*ProgramError{p}
		for _, other := range e[i+1:] {
			if len(other.Log) == 0 && other.cause() == cause {
				same = append(same, other)
			}
		}
		if len(same) == 1 {
			texts = append(texts, p.Error())
		} else {
			texts = append(texts, fmt.Sprintf("%d programs (%s): %s", len(same), names(same), cause))
		}
	}
	if len(more) > 0 {
		texts = append(texts, fmt.Sprintf("%d more programs are rejected by the verifier (%s)", len(more), names(more)))
	}
	return strings.Join(texts, "\n")
}

// names returns the names of the first of the programs.
func names(programs []*ProgramError) string {
	var names []string
	for _, p := range programs[:min(len(programs), shownNames)] {
		names = append(names, p.Program.Name)
	}
	if len(programs) > shownNames {
		names = append(names, "...")
	}
	return strings.Join(names, ", ")
}

// Unwrap returns the errors.
func (e ProgramErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, p := range e {
		errs[i] = p
	}
	return errs
}

// errNotLoaded is for what needs the object in the kernel.
var errNotLoaded = errors.New("the object is not loaded")
