package verify

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/internal/verifierlog"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tool/internal/kernelversion"
)

// version is that of a kernel, two numbers.
type version [2]int

func parseVersion(text string) (v version) {
	// What has no second number has 0.
	_, _ = fmt.Sscanf(text, "%d.%d", &v[0], &v[1])
	return v
}

func (v version) String() string { return fmt.Sprintf("%d.%d", v[0], v[1]) }

func (v version) before(other version) bool {
	return v[0] < other[0] || v[0] == other[0] && v[1] < other[1]
}

// judge sets the verdict for the error of a load.
func (r *runner) judge(result *Result, err error) {
	var rejected *skeleton.VerifierError
	var missing *skeleton.MissingTargetError
	var setting errSetting
	var lacks errLacks
	switch {
	case err == nil:
		result.Verdict = Loaded
		return
	case errors.As(err, &lacks):
		result.Verdict, result.Reason = NotApplicable, reason(err)
		return
	case errors.As(err, &setting):
		result.Verdict, result.Reason = Failed, reason(err)
		return
	// For lack of a JIT compiler the kernel cannot make a trampoline, and answers that it has
	// no memory.
	case (isLack(err) || errors.Is(err, syscall.EPERM)) && !errors.Is(err, ebpf.ErrNotSupported):
		result.Verdict, result.Reason = Failed, reason(err)
		return
	case errors.As(err, &rejected):
		result.Verdict, result.Source = Rejected, rejected.Source
		result.Reason = complaint(rejected.Err.Log)
		if rejected.Hint != "" {
			result.Reason += ": " + rejected.Hint
		}
		lack := r.lackingHelper(rejected.Err.Log)
		if lack == "" {
			lack = r.lackingCallbacks(rejected.Err.Log)
		}
		switch {
		case lack != "":
			result.Verdict, result.Reason = NotApplicable, lack
		case errors.Is(err, ebpf.ErrNotSupported):
			result.Verdict = NotApplicable
		}
	case errors.As(err, &missing):
		result.Verdict, result.Reason = NotApplicable, reason(missing.Err)
	case errors.Is(err, ebpf.ErrNotSupported):
		result.Verdict, result.Reason = NotApplicable, reason(err)
	default:
		result.Verdict, result.Reason = Rejected, reason(err)
		if errors.Is(err, syscall.EINVAL) && errors.Is(features.HaveProgramType(r.typ), ebpf.ErrNotSupported) {
			result.Verdict = NotApplicable
			result.Reason = fmt.Sprintf("this kernel has no programs of type %v: it is too old, or was built without them", r.typ)
		}
	}
	if lack := r.lackingForm(result.Section); lack != "" && result.Verdict == Rejected {
		result.Verdict, result.Reason = NotApplicable, lack
	}
}

// lackingForm returns which version of Linux has programs of a section, empty when this kernel is
// as new.
func (r *runner) lackingForm(section string) string {
	form, _, ok := secdef.Find(section)
	if !ok || !r.version.before(parseVersion(form.Since)) {
		return ""
	}
	return fmt.Sprintf("Linux %s is the first with programs of SEC(%q), and this is %s", form.Since, form.Name(), r.version)
}

// isLack reports whether the kernel has run out of something.
func isLack(err error) bool {
	for _, errno := range []syscall.Errno{syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// prefixes are what the runtime begins an error with, and a result says elsewhere.
var prefixes = regexp.MustCompile(`^(load \S+: )?(program \S+, SEC\(".*?"\): )?(load program: )?`)

// reason is an error on one line, without what the result says elsewhere.
func reason(err error) string {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		parts = append(parts, strings.TrimSpace(line))
	}
	text := strings.TrimSuffix(strings.Join(parts, "; "), ": "+ebpf.ErrNotSupported.Error())
	return text[len(prefixes.FindString(text)):]
}

// complaint returns the last message of the verifier, without its figures.
func complaint(log []string) string {
	if log = verifierlog.WithoutFigures(log); len(log) > 0 {
		return strings.TrimSpace(log[len(log)-1])
	}
	return "the verifier says nothing"
}

// unknownHelper is what the verifier says of a helper that it does not know, or not for the
// program's type.
var unknownHelper = regexp.MustCompile(`(?:invalid func|unknown func|cannot use helper) [a-z0-9_]+#(\d+)`)

// lackingHelper names the helper that the program calls and the kernel does not have, empty
// when that is not what the verifier complains of. A helper that the kernel has, but not for
// programs of this type, is a fault of the program.
func (r *runner) lackingHelper(log []string) string {
	m := unknownHelper.FindStringSubmatch(complaint(log))
	if m == nil {
		return ""
	}
	number, err := strconv.Atoi(m[1])
	if err != nil {
		return ""
	}
	fact, ok := kernelversion.Find(kernelversion.Helper, number)
	if !ok || !r.version.before(parseVersion(fact.Since)) {
		return ""
	}
	return fmt.Sprintf("Linux %s is the first with the helper %s, and this is %s", fact.Since, fact.Name, r.version)
}

// callbacks is the first version of Linux that takes the address of a function
// (BPF_PSEUDO_FUNC), as helpers with callbacks need it.
var callbacks = version{5, 13}

// lackingCallbacks is lackingHelper for programs that hand a function of theirs to a helper.
// An older kernel does not see that function, and counts one less than there are.
func (r *runner) lackingCallbacks(log []string) string {
	if !r.callbacks || !r.version.before(callbacks) {
		return ""
	}
	said := complaint(log)
	for _, text := range []string{"number of funcs in func_info doesn't match", "bpf_ld_imm64 insn"} {
		if strings.Contains(said, text) {
			return fmt.Sprintf("Linux %s is the first in which a program can hand one of its functions to a helper, and this is %s", callbacks, r.version)
		}
	}
	return ""
}
