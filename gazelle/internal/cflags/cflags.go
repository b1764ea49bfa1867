// Package cflags splits a C compiler's flags into names and values.
package cflags

import (
	"slices"
	"strings"
)

// Flags with a value, which stands in the same word, or is the next one.
var joined = []string{"-D", "-U", "-iquote", "-isystem", "-idirafter", "-include", "-imacros", "-I"}

// Flags whose value is the next word.
var separate = []string{"-include-pch", "-target", "--target", "-x", "-Xclang", "-mllvm"}

// long has flags with a second spelling: two dashes, and an equals sign or the next word.
var long = []string{"-include", "-imacros"}

// A Flag is one flag, or a word that is not a flag.
type Flag struct {
	// Name is the flag without its value, and the whole word of one that has none as
	// far as this package knows.
	Name, Value string
	// Words are how it was written.
	Words []string
}

// IsSearch reports whether the value is a directory to search for headers.
func (f *Flag) IsSearch() bool {
	return f.Name == "-I" || f.Name == "-iquote" || f.Name == "-isystem" || f.Name == "-idirafter"
}

// IsForced reports whether the value is a file that is included before the first line.
func (f *Flag) IsForced() bool { return f.Name == "-include" || f.Name == "-imacros" }

// Split returns the flags in their order. Of one whose value is missing, it is empty.
func Split(words []string) []Flag {
	var out []Flag
	for i := 0; i < len(words); i++ {
		f := Flag{Words: words[i : i+1]}
		var wants bool
		f.Name, f.Value, wants = cut(words[i])
		if wants && i+1 < len(words) {
			f.Value, f.Words = words[i+1], words[i:i+2]
			i++
		}
		out = append(out, f)
	}
	return out
}

// cut splits a word, and reports whether the value is the next one.
func cut(word string) (name, value string, wants bool) {
	if slices.Contains(separate, word) {
		return word, "", true
	}
	for _, name := range long {
		switch rest, ok := strings.CutPrefix(word, "-"+name); {
		case ok && rest == "":
			return name, "", true
		case ok && rest[0] == '=':
			return name, rest[1:], false
		}
	}
	for _, name := range joined {
		if value, ok := strings.CutPrefix(word, name); ok {
			return name, value, value == ""
		}
	}
	return word, "", false
}
