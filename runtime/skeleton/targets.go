package skeleton

import (
	"errors"
	"fmt"

	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
)

// MissingTargetError reports that what a program attaches to, or the type of a struct_ops map,
// is not there.
type MissingTargetError struct {
	// Program is the name of the program, empty for a struct_ops map.
	Program string
	// Map is the name of the struct_ops map, empty for a program.
	Map string
	// Section is the argument of SEC().
	Section string
	// Target is what was looked for: what the section or SetTarget names, or the name of the
	// struct_ops type.
	Target string
	// Err is what is missing and what to do about it. It wraps [fs.ErrNotExist] or, where
	// another kernel would have it, [ebpf.ErrNotSupported].
	Err error
}

// Error names the program or the map, and what is missing.
func (e *MissingTargetError) Error() string {
	if e.Program == "" {
		return fmt.Sprintf("map %s, SEC(%q): %v", e.Map, e.Section, e.Err)
	}
	return fmt.Sprintf("program %s, SEC(%q): %v", e.Program, e.Section, e.Err)
}

// Unwrap returns Err.
func (e *MissingTargetError) Unwrap() error { return e.Err }

// MissingTargets returns what is missing of that which Load and Attach need, as the skeleton is
// now set: the functions, tracepoints, hooks and iterators of the kernel, the functions and USDTs
// of user space, and the types and members of struct_ops maps. Programs that Load leaves out,
// or that Attach does, do not count. To do without them, call SetAutoload(false) for what is
// returned, and load the rest:
//
//	missing, err := skel.MissingTargets()
//	for _, m := range missing {
//		if m.Program == "trace_new_function" {
//			skel.Progs.TraceNewFunction.SetAutoload(false)
//		}
//	}
//
// After Load it returns what Attach needs. It loads and attaches nothing. The error is for
// what cannot be looked at, such as a tracefs that this process may not read, and for what
// else is wrong with programs before they are loaded; what is missing apart from that is
// returned all the same. It fails with [ErrClosed] after Close.
func (o *Object) MissingTargets() ([]*MissingTargetError, error) {
	if !isOpen(o) {
		return nil, fmt.Errorf("missing targets: %w", ErrNotOpen)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	missing, err := (*object)(o).missingTargets()
	if err != nil {
		return missing, fmt.Errorf("missing targets of %s: %w", o.name, err)
	}
	return missing, nil
}

func (o *object) missingTargets() (missing []*MissingTargetError, err error) {
	var errs []error
	switch o.state {
	case closed:
		return nil, ErrClosed
	case opened, prepared:
		if err := o.setTables(LoadOptions{}); err != nil {
			return nil, err
		}
		eachError(o.loader.MissingTargets(), func(err error) {
			var failed loader.ProgramErrors
			if errors.As(err, &failed) {
				for _, e := range failed {
					errs = append(errs, e)
				}
				return
			}
			errs = append(errs, err)
		})
	}
	var progs []*BaseProgram
	for _, p := range o.progs {
		if p.autoload() && !p.slotInUse() && p.leftOut() == "" {
			progs = append(progs, p)
		}
	}
	errs = append(errs, findTargets(progs)...)
	var others []error
	for _, err := range errs {
		if e := missingTarget(err); e != nil {
			missing = append(missing, e)
		} else {
			others = append(others, err)
		}
	}
	return missing, errors.Join(others...)
}

// missingTarget returns an error of the loader, or one of findTargets, as one that says what
// is missing, nil when it is about something else.
func missingTarget(err error) *MissingTargetError {
	var own *MissingTargetError
	if errors.As(err, &own) {
		return own
	}
	var target *loader.TargetError
	if !errors.As(err, &target) {
		return nil
	}
	var prog *loader.ProgramError
	if errors.As(err, &prog) {
		return &MissingTargetError{Program: prog.Program.Name, Section: prog.Program.Section, Target: target.Target, Err: target.Err}
	}
	var ops *loader.StructOpsError
	if errors.As(err, &ops) {
		return &MissingTargetError{Map: ops.StructOps.Name, Section: ops.StructOps.Section, Target: target.Target, Err: target.Err}
	}
	return nil
}

// targetError completes why a program was not attached to its target: with an error that says
// so when that is not there.
func (p *BaseProgram) targetError(target string, err error) error {
	if attach.IsMissing(err) {
		return &MissingTargetError{Program: p.name, Section: p.section, Target: target, Err: err}
	}
	return fmt.Errorf("program %s, SEC(%q): %w", p.name, p.section, err)
}

// findTargets looks for the targets that the programs attach to by their sections, except
// for those that are passed to the kernel at load. It returns an error for each that is not
// there.
func findTargets(progs []*BaseProgram) (errs []error) {
	targets := make([]attach.Target, len(progs))
	for i, p := range progs {
		form, target := p.form()
		targets[i] = attach.Target{Auto: form.Auto, Name: target}
	}
	for i, err := range attach.Find(targets) {
		if err != nil {
			errs = append(errs, progs[i].targetError(targets[i].Name, err))
		}
	}
	return errs
}
