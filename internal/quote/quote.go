// Package quote makes what a file says fit for a message or a comment: names and
// texts of an object come from whoever made it, and can hold anything, from line
// ends and escape sequences of terminals to characters that reorder a line or cannot
// be seen.
package quote

import (
	"errors"
	"io/fs"
	"strconv"
)

// Name returns a name that stands in a message of the form "file: symbol: what": as
// it is when C allows it or a section can sensibly have it, and else in quotes, with
// what cannot be printed escaped.
func Name(name string) string {
	if name == "" {
		return `""`
	}
	for _, r := range name {
		if r == ' ' || r == '"' || !isPrint(r) {
			return strconv.Quote(name)
		}
	}
	return name
}

// Text returns a text that is no name, like a type in C or the message of another
// package: as it is when all of it can be printed, and else in quotes, escaped.
func Text(text string) string {
	for _, r := range text {
		if !isPrint(r) {
			return strconv.QuoteToASCII(text)
		}
	}
	return text
}

// isPrint reports whether a character can be seen and keeps its place. Go's rule
// leaves out controls, line and paragraph separators, spaces other than the plain
// one, and what sets the direction of a text.
func isPrint(r rune) bool { return strconv.IsPrint(r) && r != '\ufffd' }

// Cause returns an error of the file system without the file's name, for a message that has the
// name in front.
func Cause(err error) error {
	var inPath *fs.PathError
	if errors.As(err, &inPath) {
		return inPath.Err
	}
	return err
}
