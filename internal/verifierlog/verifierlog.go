// Package verifierlog knows the form of a verifier's log.
package verifierlog

import "strings"

// figures are what the lines begin with that the verifier writes at the end of its log, in any
// version of Linux (print_verification_stats in kernel/bpf/verifier.c).
var figures = []string{"processed ", "verification time ", "stack depth ", "insns processed "}

// WithoutFigures returns a log without the lines of figures, and the empty ones, at its end. It is
// empty when the verifier has no more to say, as of a program that the kernel refuses before it
// looks at instructions.
func WithoutFigures(log []string) []string {
	for len(log) > 0 && isFigure(strings.TrimSpace(log[len(log)-1])) {
		log = log[:len(log)-1]
	}
	return log
}

func isFigure(line string) bool {
	for _, prefix := range figures {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return line == ""
}
