// Package gonames turns the names of C into exported Go names.
//
// The rule, the same for every kind of name:
//
//  1. The name is cut into parts at underscores and at every character that Go
//     does not allow in an identifier. The cuts are dropped.
//  2. A name without any lower-case letter is lower-cased first.
//  3. The first letter of each part is made upper-case, and the parts are joined.
//  4. A result that does not start with an upper-case letter (a digit, a letter
//     of a script without case, nothing at all) gets the prefix X.
//
// So min_duration_ns is MinDurationNs, MODE_OFF is ModeOff, .data.counters is
// DataCounters, 802_1q is X8021q and _ is X. No result is a Go keyword or a
// predeclared identifier: these start with a lower-case letter.
//
// Different C names can have one Go name. A [Scope] keeps them apart: names are
// given out in a fixed order, and one that is taken already gets a trailing
// underscore, two if that is taken too, and so on.
package gonames

import (
	"strconv"
	"strings"
	"unicode"
)

// Export returns the Go name for the C name c, by the rule of this package.
func Export(c string) string {
	if !hasLower(c) {
		c = strings.ToLower(c)
	}
	var b strings.Builder
	b.Grow(len(c) + 1)
	start := true
	for _, r := range c {
		// U+FFFD stands for bytes that are not UTF-8; it is no letter.
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			start = true
			continue
		}
		if start {
			r = unicode.ToUpper(r)
			start = false
		}
		if b.Len() == 0 && !unicode.IsUpper(r) {
			b.WriteByte('X')
		}
		b.WriteRune(r)
	}
	if b.Len() == 0 {
		return "X"
	}
	return b.String()
}

func hasLower(s string) bool {
	return strings.IndexFunc(s, unicode.IsLower) >= 0
}

// maxUnderscores bounds how long a name grows in a scope with very many equal
// names: from then on a number follows the underscore.
const maxUnderscores = 8

// Scope gives out names that differ from each other: those of one Go package,
// or of the fields of one struct.
type Scope struct {
	used map[string]bool
	// tried is, per name, how many suffixes were given out, so that the thousandth
	// equal name does not start from the first one again.
	tried map[string]int
}

// NewScope returns a scope in which the names reserved are taken.
func NewScope(reserved ...string) *Scope {
	s := &Scope{used: make(map[string]bool, len(reserved)), tried: make(map[string]int)}
	s.Reserve(reserved...)
	return s
}

// Reserve marks names as taken, whether or not they are already.
func (s *Scope) Reserve(names ...string) {
	for _, name := range names {
		s.used[name] = true
	}
}

// Export takes and returns the Go name for the C name c.
func (s *Scope) Export(c string) string {
	return s.Take(Export(c))
}

// Take takes and returns name, with a suffix when it is taken already.
func (s *Scope) Take(name string) string {
	unique := name
	for s.used[unique] {
		s.tried[name]++
		if n := s.tried[name]; n <= maxUnderscores {
			unique = name + strings.Repeat("_", n)
		} else {
			unique = name + "_" + strconv.Itoa(n)
		}
	}
	s.used[unique] = true
	return unique
}
