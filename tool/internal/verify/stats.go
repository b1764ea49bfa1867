package verify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// setStats takes the figures from the end of a verifier's log: those that veristat takes.
func (r *Result) setStats(log []string) {
	// What a program prints is not in the log, but names of its own are: the last of each
	// kind is the verifier's.
	for _, line := range log {
		var max uint64
		var insns, limit, states, peak uint64
		if n, _ := fmt.Sscanf(line, "processed %d insns (limit %d) max_states_per_insn %d total_states %d peak_states %d", &insns, &limit, &max, &states, &peak); n == 5 {
			r.Insns, r.InsnsLimit, r.MaxStatesPerInsn, r.States, r.PeakStates = insns, limit, max, states, peak
		}
		if text, ok := strings.CutPrefix(line, "verification time "); ok {
			if text, ok := strings.CutSuffix(text, " usec"); ok {
				if usec, err := strconv.ParseUint(text, 10, 64); err == nil {
					r.NS = usec * 1000
				}
			}
		}
		if text, ok := strings.CutPrefix(line, "stack depth "); ok {
			if stack, ok := sumStacks(text); ok {
				r.Stack = stack
			}
		}
	}
}

// sumStacks returns the sum of the stacks of functions, "32+0+16". Newer kernels may say
// more behind a space.
func sumStacks(text string) (sum uint64, ok bool) {
	text, _, _ = strings.Cut(text, " ")
	for part := range strings.SplitSeq(text, "+") {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return 0, false
		}
		sum += n
	}
	return sum, true
}

// logEnd is how many lines at the end of a log a report keeps.
const logEnd = 80

// setLog keeps the end of a log. Where lines are left out, the first line says how many.
func (r *Result) setLog(log []string) {
	if before := len(log) - logEnd; before > 0 {
		log = append([]string{fmt.Sprintf("(%d lines before)", before)}, log[before:]...)
	}
	r.Log = slices.Clone(log)
}

// lines returns the lines of a log.
func lines(log string) []string {
	log = strings.TrimRight(log, "\n\x00")
	if log == "" {
		return nil
	}
	return strings.Split(log, "\n")
}

// limited are the figures that can be limited, in the order of the columns.
var limited = []string{"insns", "states", "peak_states", "max_states_per_insn", "stack", "jited", "ns", "memory"}

// field returns a figure by its name in JSON, nil when there is none.
func (r *Result) field(name string) *uint64 {
	switch name {
	case "insns":
		return &r.Insns
	case "states":
		return &r.States
	case "peak_states":
		return &r.PeakStates
	case "max_states_per_insn":
		return &r.MaxStatesPerInsn
	case "stack":
		return &r.Stack
	case "jited":
		return &r.Jited
	case "ns":
		return &r.NS
	case "memory":
		return &r.Memory
	}
	return nil
}
