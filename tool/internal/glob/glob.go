// Package glob matches the patterns that users write for names of C and of sections.
package glob

import "strings"

// Match reports whether all of name is what the pattern says: a "*" stands for any characters,
// also for none and for slashes, a "?" for one character. At the beginning, "?" is itself: it
// begins the names of sections.
func Match(pattern, name string) bool {
	// What is left of both when the last "*" has to stand for more.
	var restPattern, restName string
	star, first := false, true
	for {
		switch {
		case strings.HasPrefix(pattern, "*"):
			pattern = pattern[1:]
			restPattern, restName, star = pattern, name, true
			first = false
			continue
		case pattern == "" && name == "":
			return true
		case pattern != "" && name != "" && (pattern[0] == name[0] || pattern[0] == '?' && !first):
			pattern, name = pattern[1:], name[1:]
			first = false
			continue
		}
		if !star || restName == "" {
			return false
		}
		restName = restName[1:]
		pattern, name = restPattern, restName
	}
}

// MatchAny reports whether one of the patterns matches.
func MatchAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if Match(pattern, name) {
			return true
		}
	}
	return false
}
