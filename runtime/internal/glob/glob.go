// Package glob matches names with patterns as libbpf has them (glob_match): * stands for any
// text, ? for any character, and all else for itself. There are no classes and nothing is
// quoted, as names of functions need neither.
package glob

import "strings"

// Match reports whether the pattern matches all of s.
func Match(pattern, s string) bool {
	// The index after the last star in the pattern, and how far the star has matched.
	star, reached := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, reached = i+1, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i++
			j++
		case star >= 0:
			reached++
			i, j = star, reached
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}
