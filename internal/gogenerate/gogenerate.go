// Package gogenerate reads the lines of Go files by which go generate runs a program.
package gogenerate

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Line is one that runs the program.
type Line struct {
	// Number counts from 1.
	Number int
	// Package is the name in the file's package clause.
	Package string
	// Args are what follows the program's name. The variables that go generate sets
	// itself are expanded, others are left as they are.
	Args []string
	// Err is why go generate refuses the line, whose Args are not known then.
	Err error
}

// errQuote is of lines and flags that cannot be split into words.
var errQuote = errors.New("has a quote without its other end: close it, or put a backslash in front of it")

const marker = "//go:generate"

// Lines returns the lines of a Go file that run the program. Before its name may stand
// what runs it: the environment, go tool, go run with a version. file is the file's name.
func Lines(file string, content []byte, program string) []Line {
	// Most files have none.
	if !bytes.Contains(content, []byte(program)) || !bytes.Contains(content, []byte(marker)) {
		return nil
	}
	pkg := packageName(content)
	aliases := make(map[string][]string)
	var out []Line
	number := 0
	for line := range bytes.Lines(content) {
		number++
		rest, ok := strings.CutPrefix(string(line), marker)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '\t' {
			continue
		}
		words, err := split(rest)
		if err != nil {
			// It is not certain that the line runs the program.
			if slices.ContainsFunc(strings.Fields(rest), func(word string) bool { return names(word, program) }) {
				out = append(out, Line{Number: number, Package: pkg, Err: err})
			}
			continue
		}
		expand(words, map[string]string{"GOPACKAGE": pkg, "GOFILE": path.Base(file), "DOLLAR": "$", "PWD": "."})
		if len(words) > 2 && words[0] == "-command" {
			aliases[words[1]] = words[2:]
			continue
		}
		if len(words) > 0 && aliases[words[0]] != nil {
			words = slices.Concat(aliases[words[0]], words[1:])
		}
		if args, ok := arguments(words, program); ok {
			out = append(out, Line{Number: number, Package: pkg, Args: args})
		}
	}
	return out
}

// packageName returns the name in a file's package clause.
func packageName(content []byte) string {
	for line := range bytes.Lines(content) {
		if name, ok := bytes.CutPrefix(line, []byte("package ")); ok {
			if fields := strings.Fields(string(name)); len(fields) > 0 {
				return strings.TrimSuffix(fields[0], ";")
			}
		}
	}
	return ""
}

// split splits a line as go generate does: at spaces, but not within a quoted word.
func split(line string) ([]string, error) {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " \t") {
		if line[0] == '"' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, errQuote
			}
			word, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("has %s, which is not a string of Go", quoted)
			}
			words = append(words, word)
			line = line[len(quoted):]
			continue
		}
		end := strings.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		words = append(words, line[:end])
		line = line[end:]
	}
	return words, nil
}

// expand replaces the variables that go generate sets, once: what they stand for is not looked
// at. All others stay.
func expand(words []string, values map[string]string) {
	for i, word := range words {
		var out strings.Builder
		for {
			before, rest, found := strings.Cut(word, "$")
			out.WriteString(before)
			if !found {
				break
			}
			name, after := variable(rest)
			if value, ok := values[name]; ok {
				out.WriteString(value)
				word = after
				continue
			}
			out.WriteByte('$')
			word = rest
		}
		words[i] = out.String()
	}
}

// variable returns the name that follows a $, with or without braces, and what is behind it.
func variable(text string) (name, rest string) {
	if inner, ok := strings.CutPrefix(text, "{"); ok {
		if name, rest, ok = strings.Cut(inner, "}"); ok {
			return name, rest
		}
		return "", text
	}
	end := 0
	for end < len(text) && isNamePart(text[end]) {
		end++
	}
	return text[:end], text[end:]
}

func isNamePart(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// names reports whether a word names the program, which may have a path and a version.
func names(word, program string) bool {
	name, _, _ := strings.Cut(word, "@")
	return path.Base(name) == program
}

// arguments returns what follows the program's name.
func arguments(words []string, program string) ([]string, bool) {
	for i, word := range words {
		if names(word, program) {
			return words[i+1:], true
		}
		// sh -c "..."
		if i > 0 && strings.HasPrefix(words[i-1], "-") && strings.Contains(word, " ") {
			if inner, err := split(word); err == nil {
				if args, ok := arguments(inner, program); ok {
					return args, true
				}
			}
		}
	}
	return nil, false
}

// Fields splits text into words as a shell does: at spaces, unless quotes keep them
// together or a backslash stands in front. Within single quotes a backslash is itself,
// and within double quotes it is unless ", \, $ or ` follows. Nothing else means
// anything: there are no variables. It fails when a quote does not end.
func Fields(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, inWord := byte(0), false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(text) && (quote == 0 || strings.IndexByte("\"\\$`", text[i+1]) >= 0):
			i++
			word.WriteByte(text[i])
			inWord = true
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && strings.IndexByte(" \t\r\n", c) >= 0:
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errQuote
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
