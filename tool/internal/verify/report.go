// Package verify reports what a kernel's verifier makes of the programs of BPF objects: whether
// each of them loads, and how far it is from the limits.
//
// # Model
//
// [Run] loads each program of each object by itself, in the running kernel, and returns a
// [Report]: one [Result] for each program and [Preset]. The report goes to people as a table
// ([Report.Text]) and as a page ([Page]), to programs as JSON, and to build systems as cases
// of a test ([JUnit]). Reports of several kernels become one ([Merge]), and those of two
// versions are compared ([Compare]).
//
// Figures are those that veristat of the kernel's tree has under the same names: what the
// verifier says at the end of its log, and what the kernel says of the loaded program. The
// kernel does the same work for equal programs, so all but the time are equal from run to
// run of one kernel.
//
// # Not applicable
//
// A program may not load because the kernel lacks what it is for: a type of programs or maps, a
// helper, a kfunc, a function to attach to. That is no fault of the program, and a verdict of
// its own ([NotApplicable]). The runtime's explanation of an error and the table of
// package kernelversion distinguish the two. A field of a kernel's struct that is missing is a
// fault: the program can check for it (bpf_core_field_exists).
package verify

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// Version is that of the form of reports. It rises when a reader of older ones would
// misunderstand a new one; new fields are no reason.
const Version = 1

// The names of a test's outputs.
const (
	JSONFile = "verifier.json"
	PageFile = "verifier.html"
)

// Report is what the verifier made of programs, in one kernel or in several.
type Report struct {
	// Version is that of the form.
	Version int `json:"version"`
	// Results are in the order of objects, programs, presets and kernels.
	Results []Result `json:"results"`
	// Notes are for people: what was done otherwise than the objects say, and what is not
	// needed any more.
	Notes []string `json:"notes,omitempty"`
}

// Verdict is what came of a program.
type Verdict string

const (
	// Loaded: the kernel took it.
	Loaded Verdict = "loaded"
	// Rejected: the kernel did not take it.
	Rejected Verdict = "rejected"
	// NotApplicable: the kernel lacks what the program is for.
	NotApplicable Verdict = "not applicable"
	// Failed: the kernel was not asked, or could not answer, for a reason other than the
	// program: a target that is missing from the options, no memory.
	Failed Verdict = "failed"
)

// Result is what the verifier made of one program in one kernel. What the kernel does not
// say is 0.
type Result struct {
	// Object is the object's file, as it was given.
	Object string `json:"object"`
	// Program is the name of the C function, Section the argument of SEC().
	Program string `json:"program"`
	Section string `json:"section"`
	// Kernel is what people call the kernel, "6.12", and Release what uname -r says.
	Kernel  string `json:"kernel"`
	Release string `json:"release"`
	// CPU is that of the kernel, named as in Bazel's @platforms: x86_64, arm64, s390x.
	CPU string `json:"cpu"`
	// Preset is the name of the values that the object's constants had, empty for its own.
	Preset  string  `json:"preset"`
	Verdict Verdict `json:"verdict"`
	// Reason is why it is not loaded, Source the line of C that the verifier was at last.
	Reason string `json:"reason,omitempty"`
	Source string `json:"source,omitempty"`
	// Insns is how many instructions the verifier went through, those of a branch again for
	// each state, and InsnsLimit how many it goes through at most.
	Insns      uint64 `json:"insns"`
	InsnsLimit uint64 `json:"insns_limit,omitempty"`
	// States is how many states it has seen, PeakStates how many it had at a time, and
	// MaxStatesPerInsn how many at one instruction.
	States           uint64 `json:"states"`
	PeakStates       uint64 `json:"peak_states"`
	MaxStatesPerInsn uint64 `json:"max_states_per_insn"`
	// Stack is the sum of the stacks of the program's functions in bytes, each rounded as
	// the verifier does. The kernel's limit, 512, is of one chain of calls.
	Stack uint64 `json:"stack"`
	// Jited is the size of the machine's code in bytes.
	Jited uint64 `json:"jited"`
	// NS is how long the verifier worked, in nanoseconds: it says microseconds.
	NS uint64 `json:"ns"`
	// Memory is what the kernel has allocated for the maps that the program uses, in bytes.
	Memory uint64 `json:"memory"`
	// Limits are those that the user has set, by the names of the fields above, and Over
	// says which of them the program is over.
	Limits map[string]uint64 `json:"limits,omitempty"`
	Over   []string          `json:"over,omitempty"`
	// MayFail is the reason that the user gives for a program that need not load, nor keep
	// its limits.
	MayFail string `json:"may_fail,omitempty"`
	// Log is the end of the verifier's log.
	Log []string `json:"log"`
}

// Bad reports whether the program is to fail a test.
func (r *Result) Bad() bool {
	return r.MayFail == "" && r.fails()
}

// fails reports whether the program fails a test unless it may.
func (r *Result) fails() bool {
	return r.Verdict == Rejected || r.Verdict == Failed || len(r.Over) > 0
}

// Name names the program among those of a report: "edge.bpf.o: xdp_main [small]".
func (r *Result) Name() string {
	name := quote.Text(r.Object) + ": " + quote.Name(r.Program)
	if r.Preset != "" {
		name += " [" + quote.Text(r.Preset) + "]"
	}
	return name
}

// In returns which kernel it is: "kernel 6.12 (arm64)".
func (r *Result) In() string {
	return fmt.Sprintf("kernel %s (%s)", quote.Text(r.Kernel), quote.Text(r.CPU))
}

// share returns how much of a limit the program takes, of that of which it takes most.
func (r *Result) share() float64 {
	share := 0.0
	if r.InsnsLimit > 0 {
		share = float64(r.Insns) / float64(r.InsnsLimit)
	}
	for name, limit := range r.Limits {
		share = max(share, float64(*r.field(name))/float64(max(limit, 1)))
	}
	return share
}

// key is what one result of a report has for itself.
type key struct{ object, program, preset, kernel, cpu string }

func (r *Result) key() key { return key{r.Object, r.Program, r.Preset, r.Kernel, r.CPU} }

// Problems returns what fails a test, a line each: "file: symbol: what, and what to do".
func (r *Report) Problems() []string {
	var problems []string
	for i := range r.Results {
		res := &r.Results[i]
		if !res.Bad() {
			continue
		}
		if res.Verdict == Rejected || res.Verdict == Failed {
			text := fmt.Sprintf("%s: %s in %s: %s", res.Name(), res.Verdict, res.In(), quote.Text(res.Reason))
			if res.Source != "" {
				text += ", at " + quote.Text(res.Source)
			}
			problems = append(problems, text)
		}
		for _, over := range res.Over {
			problems = append(problems, fmt.Sprintf("%s: %s in %s: make the program lighter, or raise the limit", res.Name(), quote.Text(over), res.In()))
		}
	}
	return problems
}

// JSON returns the report for programs, indented. Equal reports give equal bytes.
func (r *Report) JSON() ([]byte, error) {
	shown := *r
	if shown.Results == nil {
		// An empty list, and not null.
		shown.Results = []Result{}
	}
	data, err := json.MarshalIndent(&shown, "", "\t")
	return append(data, '\n'), err
}

// ReadFile reads a report.
func ReadFile(file string) (*Report, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	report, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quote.Text(file), err)
	}
	return report, nil
}

// readFile is os.ReadFile with errors in the form "file: what".
func readFile(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quote.Text(file), quote.Cause(err))
	}
	return data, nil
}

// Decode reads a report from JSON.
func Decode(data []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("want a report of the verifier in JSON: %w: write one with bpfgen verify -json", err)
	}
	switch {
	case r.Version == 0:
		return nil, errors.New("want a report of the verifier, and it has no version: write one with bpfgen verify -json")
	case r.Version > Version:
		return nil, fmt.Errorf("has version %d of a report's form, and this program knows %d: use a newer one", r.Version, Version)
	}
	for i := range r.Results {
		res := &r.Results[i]
		for _, part := range []struct{ name, value string }{{"object", res.Object}, {"program", res.Program}, {"kernel", res.Kernel}, {"cpu", res.CPU}} {
			if part.value == "" {
				return nil, fmt.Errorf("result %d: has no %s: write the report anew with bpfgen verify -json", i, part.name)
			}
		}
		if !slices.Contains([]Verdict{Loaded, Rejected, NotApplicable, Failed}, res.Verdict) {
			return nil, fmt.Errorf("result %d: verdict %s is unknown to this program: use a newer one", i, quote.Name(string(res.Verdict)))
		}
		for name := range res.Limits {
			if res.field(name) == nil {
				return nil, fmt.Errorf("result %d: %s cannot be limited by this program: use a newer one", i, quote.Name(name))
			}
		}
	}
	return &r, nil
}

// Merge returns one report of several, each of which has other kernels or programs.
func Merge(reports ...*Report) (*Report, error) {
	merged := &Report{Version: Version, Results: []Result{}}
	seen := make(map[key]bool)
	for _, r := range reports {
		for _, res := range r.Results {
			if seen[res.key()] {
				return nil, fmt.Errorf("%s: two of the reports have it in %s: give one of them", res.Name(), res.In())
			}
			seen[res.key()] = true
			merged.Results = append(merged.Results, res)
		}
		for _, note := range r.Notes {
			// That of one report need not hold for all.
			if !slices.Contains(merged.Notes, note) && !strings.HasSuffix(note, nowhere) {
				merged.Notes = append(merged.Notes, note)
			}
		}
	}
	merged.sort()
	merged.noteNowhere()
	return merged, nil
}

// nowhere is the end of a note about a program that is not applicable in any kernel.
const nowhere = ": applies to none of the kernels: see whether its SEC() is misspelt, or take a kernel that has what it is for"

// noteNowhere notes the programs that no kernel has looked at: the fault may be theirs.
func (r *Report) noteNowhere() {
	name := func(res *Result) string { return quote.Text(res.Object) + ": " + quote.Name(res.Program) }
	applies := make(map[string]bool)
	for i := range r.Results {
		if res := &r.Results[i]; res.Verdict != NotApplicable {
			applies[name(res)] = true
		}
	}
	for i := range r.Results {
		if name := name(&r.Results[i]); !applies[name] {
			applies[name] = true
			r.Notes = append(r.Notes, name+nowhere)
		}
	}
}

// sort orders the results by objects, programs and presets, as they come first, and by
// kernels.
func (r *Report) sort() {
	orders := [3]map[string]int{{}, {}, {}}
	rank := func(of int, name string) {
		if _, ok := orders[of][name]; !ok {
			orders[of][name] = len(orders[of])
		}
	}
	program := func(r *Result) string { return r.Object + "\x00" + r.Program }
	for i := range r.Results {
		rank(0, r.Results[i].Object)
		rank(1, program(&r.Results[i]))
		rank(2, r.Results[i].Preset)
	}
	slices.SortStableFunc(r.Results, func(a, b Result) int {
		return cmp.Or(
			cmp.Compare(orders[0][a.Object], orders[0][b.Object]),
			cmp.Compare(orders[1][program(&a)], orders[1][program(&b)]),
			cmp.Compare(orders[2][a.Preset], orders[2][b.Preset]),
			compareKernels(kernel{a.Kernel, a.CPU}, kernel{b.Kernel, b.CPU}),
		)
	})
}

// kernel is a column of the matrix.
type kernel struct{ name, cpu string }

// kernels returns the kernels of the report, in order.
func (r *Report) kernels() []kernel {
	var all []kernel
	for i := range r.Results {
		if k := (kernel{r.Results[i].Kernel, r.Results[i].CPU}); !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, compareKernels)
	return all
}

func compareKernels(a, b kernel) int {
	return cmp.Or(compareNatural(a.name, b.name), -cmp.Compare(rankCPU(a.cpu), rankCPU(b.cpu)), cmp.Compare(a.cpu, b.cpu))
}

// rankCPU puts the cpu that most people have first.
func rankCPU(cpu string) int {
	if cpu == "x86_64" {
		return 1
	}
	return 0
}

// compareNatural compares names with numbers in them: 5.10 comes after 5.9.
func compareNatural(a, b string) int {
	digits := func(s string) int {
		n := 0
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		return n
	}
	for a != "" && b != "" {
		n, m := digits(a), digits(b)
		if n > 0 && m > 0 {
			x, _ := strconv.ParseUint(a[:n], 10, 64)
			y, _ := strconv.ParseUint(b[:m], 10, 64)
			if c := cmp.Compare(x, y); c != 0 {
				return c
			}
			a, b = a[n:], b[m:]
			continue
		}
		if a[0] != b[0] {
			break
		}
		a, b = a[1:], b[1:]
	}
	return strings.Compare(a, b)
}
