package bpfc

import (
	"bytes"
	"strings"
)

type kind uint8

const (
	kindEOF kind = iota
	kindIdent
	kindNumber
	kindString
	kindChar
	kindPunct
	// kindBad is a literal without its closing quote. It is an error only where
	// the compiler looks at it: not in a skipped group, nor behind #error.
	kindBad
)

type token struct {
	text string
	file *lexed
	line int32
	// code is the character of a kindPunct with one, and of a kindIdent what words
	// look it up by. It is 0 of others, so that it says by itself which of them
	// a token is.
	code  uint16
	kind  kind
	flags flags
}

// flags say more of a token.
type flags uint8

const (
	// first is set when the token begins a line, space when white space precedes.
	first flags = 1 << iota
	space
	// painted is set for the name of a macro met in its own expansion: it is
	// never expanded again.
	painted
)

func (t *token) is(text string) bool {
	return t.text == text && t.kind == kindPunct
}

// isChar is is for an operator with one character.
func (t *token) isChar(c byte) bool { return t.code == uint16(c) }

func (t *token) isIdent(name string) bool {
	return t.text == name && t.kind == kindIdent
}

// opens and closes report whether the token is a bracket.
func (t *token) opens() bool { return t.code == '(' || t.code == '[' || t.code == '{' }

func (t *token) closes() bool { return t.code == ')' || t.code == ']' || t.code == '}' }

// match reports whether one bracket closes another.
func match(opening, closing *token) bool {
	switch opening.code {
	case '(':
		return closing.code == ')'
	case '[':
		return closing.code == ']'
	}
	return closing.code == '}'
}

// lexed is a file as tokens. It is not changed after it was made.
type lexed struct {
	name   string
	tokens []token
	size   int
	// problem is set when a comment has no end.
	problem     string
	problemLine int32
}

// splices removes backslashes before line ends. It returns the offsets in the
// result at which one was.
func splices(src string) (string, []int) {
	if !strings.Contains(src, "\\\n") && !strings.Contains(src, "\\\r\n") {
		return src, nil
	}
	var b strings.Builder
	b.Grow(len(src))
	var at []int
	for {
		i := strings.IndexByte(src, '\\')
		if i < 0 {
			break
		}
		rest := src[i+1:]
		switch {
		case strings.HasPrefix(rest, "\n"):
			b.WriteString(src[:i])
			at = append(at, b.Len())
			src = rest[1:]
		case strings.HasPrefix(rest, "\r\n"):
			b.WriteString(src[:i])
			at = append(at, b.Len())
			src = rest[2:]
		default:
			b.WriteString(src[:i+1])
			src = rest
		}
	}
	b.WriteString(src)
	return b.String(), at
}

// Longest first among those with a common beginning. Operators that neither the
// preprocessor nor the parser looks at come as single characters.
var operators = []string{"...", "##", "->", "&&", "||", "==", "!=", "<=", ">=", "<<", ">>"}

func lex(name string, content []byte) *lexed { return lexInto(nil, name, content) }

// lexInto is lex with the room for the tokens.
func lexInto(tokens []token, name string, content []byte) *lexed {
	f := &lexed{name: name, size: len(content), tokens: tokens}
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) {
		f.problem, f.problemLine = "the file is in UTF-16, and a compiler reads UTF-8", 1
		return f
	}
	src, spliced := splices(strings.TrimPrefix(string(content), "\ufeff"))
	line, before := int32(1), first
	if tokens == nil {
		// A file has a token for about every four bytes.
		f.tokens = make([]token, 0, len(src)/4)
	}
	at := 0
	emit := func(k kind, code uint16, end int) {
		// A removed splice was a line end, too.
		for len(spliced) > 0 && spliced[0] <= at {
			spliced = spliced[1:]
			line++
		}
		f.tokens = append(f.tokens, token{
			text: src[at:end], file: f, line: line, code: code, kind: k, flags: before,
		})
		before = 0
		at = end
	}
	for at < len(src) {
		c := src[at]
		switch classes[c] {
		case classLineEnd:
			before = first
			line++
			at++
			continue
		case classSpace:
			before |= space
			at++
			continue
		case classIdent:
			end := at + 1
			for end < len(src) && isIdentPart(src[end]) {
				end++
			}
			if end < len(src) && (src[end] == '"' || src[end] == '\'') && isEncoding(src[at:end]) {
				k, end := quoted(src, end)
				emit(k, 0, end)
				continue
			}
			emit(kindIdent, wordCode(src[at:end]), end)
			continue
		case classQuote:
			k, end := quoted(src, at)
			emit(k, 0, end)
			continue
		}
		switch {
		case c == '/' && strings.HasPrefix(src[at:], "//"):
			if end := strings.IndexByte(src[at:], '\n'); end >= 0 {
				at += end
			} else {
				at = len(src)
			}
			before |= space
		case c == '/' && strings.HasPrefix(src[at:], "/*"):
			end := strings.Index(src[at+2:], "*/")
			if end < 0 {
				f.problem, f.problemLine = "a comment is not closed", line
				at = len(src)
			} else {
				line += int32(strings.Count(src[at:at+2+end], "\n"))
				at += 2 + end + 2
			}
			before |= space
		case isDigit(c) || c == '.' && at+1 < len(src) && isDigit(src[at+1]):
			end := at + 1
			for end < len(src) {
				switch c := src[end]; {
				case (c == '+' || c == '-') && strings.IndexByte("eEpP", src[end-1]) >= 0:
				case isIdentPart(c) || c == '.':
				default:
					goto number
				}
				end++
			}
		number:
			emit(kindNumber, 0, end)
		default:
			code, end := uint16(c), at+1
			if strings.IndexByte(".#-&|=!<>", c) >= 0 {
				for _, op := range operators {
					if strings.HasPrefix(src[at:], op) {
						code, end = 0, at+len(op)
						break
					}
				}
			}
			emit(kindPunct, code, end)
		}
	}
	return f
}

// What a token that begins with a character may be.
const (
	classOther = iota
	classLineEnd
	classSpace
	classIdent
	classQuote
)

var classes = func() (classes [256]uint8) {
	for c := range classes {
		switch c := byte(c); {
		case c == '\n':
			classes[c] = classLineEnd
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v' || c == 0:
			classes[c] = classSpace
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '$' || c >= 0x80:
			classes[c] = classIdent
		case c == '"' || c == '\'':
			classes[c] = classQuote
		}
	}
	return classes
}()

// quoted returns what kind of token the literal with its quote at offset at is,
// and where it ends.
func quoted(src string, at int) (kind, int) {
	quote := src[at]
	for end := at + 1; end < len(src); end++ {
		switch src[end] {
		case '\\':
			if end+1 < len(src) && src[end+1] != '\n' {
				end++
			}
		case '\n':
			return kindBad, end
		case quote:
			if quote == '"' {
				return kindString, end + 1
			}
			return kindChar, end + 1
		}
	}
	return kindBad, len(src)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isIdentPart(c byte) bool { return classes[c] == classIdent || isDigit(c) }

func isEncoding(prefix string) bool {
	return prefix == "L" || prefix == "u8" || prefix == "u" || prefix == "U"
}

// unquote returns the text of a string literal, or "" for another token. Escapes
// are left as they are: names of sections have none.
func unquote(t token) string {
	if t.kind != kindString {
		return ""
	}
	text := t.text[strings.IndexByte(t.text, '"'):]
	return text[1 : len(text)-1]
}
