package skeleton

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/features"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/refusal"
)

// explainLoad turns the loader's error into one with what the user needs to
// know of it.
func (o *object) explainLoad(err error) error {
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
			if e.Map.Type == ebpf.Arena {
				e.Err = refusal.Advise(e.Err, refusal.WhyNoArena(e.Err))
			}
			errs = append(errs, fmt.Errorf("map %s: %w", e.Map.Name, refusal.Advise(e.Err, o.whyRefused(e.Err, refusal.MapCaps(e.Map.Type)))))
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

// explainPrograms explains why programs were not loaded. Of several, it names a cause that they
// have in common once.
func (o *object) explainPrograms(failed loader.ProgramErrors) error {
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
func (o *object) explainProgram(e *loader.ProgramError) error {
	if features.IsLack(e.Err) {
		// The log's last instruction is not what is wrong.
		e.Log, e.Source, e.Hint = nil, "", ""
	}
	if missing := missingTarget(e); missing != nil {
		return missing
	}
	if len(e.Log) == 0 {
		if why := refusal.WhyNoTrampoline(e.Err, e.Program.Type, e.Program.AttachType); why != "" {
			e.Err = refusal.Advise(fmt.Errorf("%w: %w", e.Err, ebpf.ErrNotSupported), why)
		}
		e.Err = refusal.Advise(e.Err, o.whyRefused(e.Err, refusal.ProgramCaps(e.Program.Type)))
		return e
	}
	if e.Hint == "" {
		e.Hint = refusal.OfVerifier(e.Log, e.Code, nativeOrder)
	}
	if refusal.LacksJIT(e.Log) {
		e.Err = fmt.Errorf("%w: %w", e.Err, ebpf.ErrNotSupported)
	}
	return &VerifierError{
		Program: e.Program.Name,
		Section: e.Program.Section,
		Source:  e.Source,
		Hint:    e.Hint,
		Err:     &ebpf.VerifierError{Cause: e.Err, Log: e.Log},
	}
}

// explainRest explains a load that failed because the kernel refused something other than a map
// or a program, such as BTF.
func (o *object) explainRest(err error) error {
	var btf *loader.BTFError
	if errors.As(err, &btf) && features.IsForbidden(btf.Err) {
		return refusal.Advise(err, refusal.WhyForbidden(o.caps(), o.loader.Token))
	}
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		return err
	}
	return refusal.Advise(err, o.whyRefused(err, o.caps()))
}

// caps returns the capabilities that all maps and programs of the object need.
func (o *object) caps() []privilege.Cap {
	needed := [][]privilege.Cap{{privilege.BPF}}
	for _, m := range o.loader.Maps {
		needed = append(needed, refusal.MapCaps(m.Type))
	}
	for _, p := range o.loader.Programs {
		if p.Autoload {
			needed = append(needed, refusal.ProgramCaps(p.Type))
		}
	}
	return refusal.Union(needed...)
}

// whyRefused returns why the kernel refuses a map or a program of the object that needs
// these capabilities, empty when its answer says enough.
func (o *object) whyRefused(err error, needed []privilege.Cap) string {
	return refusal.WhyLoad(err, needed, o.caps(), o.loader.Token)
}
