// Package gogenerate reads the lines of Go files by which go generate runs a program.
package gogenerate

import (
	"bytes"
	"errors"
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
}

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
		words := split(rest)
		expand(words, map[string]string{"GOPACKAGE": pkg, "GOFILE": path.Base(file), "DOLLAR": "$", "PWD": "."})
		if len(words) > 2 && words[0] == "-command" {
			aliases[words[1]] = words[2:]
			continue
		}
		if len(words) > 0 && aliases[words[0]] != nil {
			words = slices.Concat(aliases[words[0]], words[1:])
		}
		if args, ok := arguments(words, program); ok {
			out = append(out, Line{number, pkg, args})
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
func split(line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " \t") {
		if line[0] == '"' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil
			}
			word, err := strconv.Unquote(quoted)
			if err != nil {
				return nil
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
	return words
}

// expand replaces the variables that go generate sets. All others stay.
func expand(words []string, values map[string]string) {
	for i, word := range words {
		for name, value := range values {
			word = strings.ReplaceAll(word, "${"+name+"}", value)
			if at := strings.Index(word, "$"+name); at >= 0 {
				end := at + 1 + len(name)
				if end == len(word) || !isNamePart(word[end]) {
					word = word[:at] + value + word[end:]
				}
			}
		}
		words[i] = word
	}
}

func isNamePart(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// arguments returns what follows the program's name.
func arguments(words []string, program string) ([]string, bool) {
	for i, word := range words {
		name, _, _ := strings.Cut(word, "@")
		if path.Base(name) == program {
			return words[i+1:], true
		}
		// sh -c "..."
		if i > 0 && strings.HasPrefix(words[i-1], "-") && strings.Contains(word, " ") {
			if inner, ok := arguments(split(word), program); ok {
				return inner, true
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
		return nil, errors.New("has a quote without its other end: close it, or put a backslash in front of it")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
