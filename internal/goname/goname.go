// Package goname has what the generator and Gazelle must agree on about the names in
// generated packages: how a name becomes a Go name, and which Go names are taken. What
// happens to names of C that have one Go name is the generator's matter alone.
package goname

import (
	"strings"
	"unicode"
)

// The names of the API that packages of skeletons have or may get. Those with variants have
// the third ones besides.
var (
	API      = []string{"Skeleton", "Maps", "Progs", "Links", "Open", "StructOps", "Subskeletons"}
	Sections = []string{"Data", "Rodata", "Bss", "Kconfig", "Arena"}
	Variants = []string{"Variant", "Variants"}
)

// Export returns the Go name for the C name c, by the rule that docs/names.md has.
func Export(c string) string {
	if !hasLower(c) {
		c = strings.ToLower(c)
	}
	var b strings.Builder
	b.Grow(len(c) + 1)
	start := true
	for _, r := range c {
		// U+FFFD stands for bytes that are not UTF-8; it is not a letter.
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
