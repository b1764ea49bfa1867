package skeleton

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// VerifierError says which program the verifier rejected, and where.
type VerifierError struct {
	// Program and Section are the program's name and that of its section.
	Program, Section string
	// Source is the line of C, "file.bpf.c:12: text", that the verifier was at
	// last. It is empty for an object without line info.
	Source string
	// Err is the loader's error, with the whole log.
	Err *ebpf.VerifierError
}

// verifierLogLines is how many lines at the end of the verifier's log an error
// shows. The last is the complaint, those before it are the instructions that led
// there with the state of their registers.
const verifierLogLines = 6

// Error names the program and the line, and shows the end of the log. Format Err
// with %+v to see all of the log.
func (e *VerifierError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "program %s, SEC(%q): rejected by the verifier: %v", e.Program, e.Section, e.Err.Cause)
	if e.Source != "" {
		fmt.Fprintf(&b, "\n\tat %s", e.Source)
	}
	log := e.Err.Log
	if n := len(log); n > 0 && strings.HasPrefix(log[n-1], "processed ") {
		log = log[:n-1] // statistics
	}
	if omitted := len(log) - verifierLogLines; omitted > 0 {
		fmt.Fprintf(&b, "\n\t(%d lines before)", omitted)
		log = log[omitted:]
	}
	for _, line := range log {
		fmt.Fprintf(&b, "\n\t%s", strings.TrimRight(line, " \t\n"))
	}
	return b.String()
}

// Unwrap returns Err.
func (e *VerifierError) Unwrap() error { return e.Err }

// explainLoad turns the loader's error into one that says what the user needs to
// know of it.
func (o *Object) explainLoad(err error) error {
	var verr *ebpf.VerifierError
	if !errors.As(err, &verr) {
		return err
	}
	for _, p := range o.progs {
		// The loader has the name in the text only, and what the kernel did not take.
		what, ok := strings.CutPrefix(err.Error(), "program "+p.name+": ")
		switch {
		case !ok:
		case strings.HasPrefix(what, "load program: "):
			return p.rejected(verr)
		default:
			return fmt.Errorf("program %s, SEC(%q): %w", p.name, p.spec.SectionName, errors.Unwrap(err))
		}
	}
	return err
}

// rejected says where in the program the verifier was at last.
func (p *Program) rejected(err *ebpf.VerifierError) *VerifierError {
	return &VerifierError{p.name, p.spec.SectionName, sourceOf(p.spec.Instructions, err.Log), err}
}

// sourceOf returns the line of C of the last instruction that the log shows.
func sourceOf(insns asm.Instructions, log []string) string {
	index := -1
	for _, line := range log {
		// "12: (61) r0 = *(u32 *)(r1 +100000)"
		number, rest, ok := strings.Cut(strings.TrimSpace(line), ": (")
		if !ok || rest == "" {
			continue
		}
		if n, err := strconv.Atoi(number); err == nil {
			index = n
		}
	}
	if index < 0 {
		return ""
	}
	// Line info is there for the first instruction of each line.
	var last *btf.Line
	for it := insns.Iterate(); it.Next() && int(it.Offset) <= index; {
		if line, ok := it.Ins.Source().(*btf.Line); ok && line != nil {
			last = line
		}
	}
	if last == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d: %s", last.FileName(), last.LineNumber(), strings.TrimSpace(last.Line()))
}
