// Package depfile reads and writes dependency files as clang does with -MD, and
// finds the inputs that a compile did not need.
//
// A dependency file is a makefile with rules and nothing else:
//
//	out.o: main.c lib/a.h \
//	  lib/with\ space.h
//
// A backslash takes the meaning from a space, a tab, a # and the end of the line,
// and $$ is a dollar sign. Any other backslash is itself, as in a path of Windows.
package depfile

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// Parse returns the dependencies of all rules in a dependency file, in order.
func Parse(data []byte) ([]string, error) {
	var deps []string
	for len(data) > 0 {
		var words []string
		words, data = parseLine(data)
		if len(words) == 0 {
			continue
		}
		// The colon stands at the end of a word: paths of Windows have others.
		targets := 0
		for i, w := range words {
			if strings.HasSuffix(w, ":") {
				targets = i + 1
				break
			}
		}
		if targets == 0 {
			return nil, errors.New("has a line without a target")
		}
		deps = append(deps, words[targets:]...)
	}
	return deps, nil
}

// parseLine splits the first logical line into words, and returns what follows it.
func parseLine(data []byte) (words []string, rest []byte) {
	var word []byte
	inWord := false
	end := func() {
		if inWord {
			words = append(words, string(word))
			word, inWord = word[:0], false
		}
	}
	for len(data) > 0 {
		n, text := token(data)
		switch {
		case n == 1 && data[0] == '\n':
			end()
			return words, data[1:]
		case text == nil:
			end()
		default:
			word, inWord = append(word, text...), true
		}
		data = data[n:]
	}
	end()
	return words, nil
}

// token returns the length of the first token, and the text that it stands for,
// nil when it is a gap between words.
func token(data []byte) (n int, text []byte) {
	switch data[0] {
	case ' ', '\t', '\r', '\n':
		return 1, nil
	case '$':
		if bytes.HasPrefix(data, []byte("$$")) {
			return 2, data[:1]
		}
	case '\\':
		return backslashes(data)
	}
	return 1, data[:1]
}

// backslashes is token for data that starts with a backslash. In front of a space
// backslashes come in pairs that stand for one each, and the odd one belongs to
// the space.
func backslashes(data []byte) (n int, text []byte) {
	n = 1
	for n < len(data) && data[n] == '\\' {
		n++
	}
	next := data[n:]
	switch {
	case len(next) > 0 && (next[0] == ' ' || next[0] == '\t'):
		if n%2 == 0 {
			return n, data[:n/2]
		}
		text = append(text, data[:n/2]...)
		return n + 1, append(text, next[0])
	case len(next) > 0 && next[0] == '#':
		text = append(text, data[:n-1]...)
		return n + 1, append(text, '#')
	case bytes.HasPrefix(next, []byte("\n")), bytes.HasPrefix(next, []byte("\r\n")):
		if n == 1 {
			return 2 + bytes.IndexByte(next, '\n'), nil
		}
		return n - 1, data[:n-1]
	}
	return n, data[:n]
}

// Escape returns a path as it stands in a dependency file. A path with a line's end in it
// cannot stand in one, and fails.
func Escape(path string) (string, error) {
	if strings.ContainsAny(path, "\r\n") {
		return "", fmt.Errorf("%q: a dependency file cannot name it: rename it", path)
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; c {
		case ' ', '\t', '#':
			// Backslashes right before come in pairs.
			for j := i - 1; c != '#' && j >= 0 && path[j] == '\\'; j-- {
				b.WriteByte('\\')
			}
			b.WriteByte('\\')
		case '$':
			b.WriteByte('$')
		}
		b.WriteByte(path[i])
	}
	return b.String(), nil
}

// Unused returns those of the inputs that are not among deps, in order and as
// they are spelled. Relative paths start at dir.
//
// In doubt an input is used: a header that is wrongly used costs a rebuild, one
// that is wrongly unused makes a build wrong. So a directory is used when something
// in it is, and upper and lower case are the same, as they are for compilers on
// some systems.
func Unused(inputs, deps []string, dir string) []string {
	used := make(map[string]bool, len(deps))
	for _, dep := range deps {
		for p := key(dep, dir); !used[p]; p = path.Dir(p) {
			used[p] = true
		}
	}
	var unused []string
	for _, input := range inputs {
		if !used[key(input, dir)] {
			unused = append(unused, input)
		}
	}
	return unused
}

// key is what two spellings of a path have in common.
func key(p, dir string) string {
	if filepath.IsAbs(p) {
		if rel, err := filepath.Rel(dir, p); err == nil && filepath.IsLocal(rel) {
			p = rel
		}
	}
	return strings.ToLower(path.Clean(filepath.ToSlash(p)))
}
