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
	// kindHeader is what stands in brackets behind #include.
	kindHeader
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
	// vmlinux is set for the directives of a header of the kernel's types.
	vmlinux bool
	// types has the declarations that name types only, in order. They are left out
	// where no macro is in them.
	types []span
	// records is set when a map that hands records to user space may be declared.
	records bool
}

// A span is some tokens of a file.
type span struct{ start, end int32 }

// findTypes finds the declarations that name types only: typedefs, and structs, unions
// and enums of which nothing is declared. A header may have thousands, and nothing of
// them makes symbols.
func (f *lexed) findTypes() {
	for i := 0; i < len(f.tokens); {
		end, types := f.declarationEnd(i)
		if types {
			f.types = append(f.types, span{int32(i), int32(end)})
		}
		i = end
	}
}

// declarationEnd returns where the declaration or directive at i ends, and reports
// whether it names types only. It may be wrong about the end of what has directives
// within: that is no type then.
func (f *lexed) declarationEnd(i int) (int, bool) {
	begin := &f.tokens[i]
	if begin.isChar('#') && begin.flags&first != 0 {
		for i++; i < len(f.tokens) && f.tokens[i].flags&first == 0; {
			i++
		}
		return i, false
	}
	isTypedef := begin.isIdent("typedef")
	types := isTypedef || isAggregate(begin)
	depth := 0
	for at := i; at < len(f.tokens); at++ {
		switch t := &f.tokens[at]; {
		case t.kind == kindBad, t.isChar('#') && t.flags&first != 0:
			return at + 1, false
		case t.opens():
			// Of a struct, its members only come in brackets.
			types = types && (isTypedef || depth > 0 || t.isChar('{'))
			depth++
		case t.closes():
			depth--
			if depth == 0 && t.isChar('}') && !isTypedef && at+1 < len(f.tokens) && !f.tokens[at+1].isChar(';') {
				return at + 1, false
			}
			if depth < 0 {
				return at + 1, false
			}
		case depth == 0 && t.isChar(';'):
			// struct x y; declares y, struct x; nothing.
			return at + 1, types && (isTypedef || at-i == 2 || f.tokens[at-1].isChar('}'))
		}
	}
	return len(f.tokens), false
}

// splices removes backslashes before line ends. It returns the offsets in the
// result at which one was.
func splices(src string) (string, []int) {
	if strings.IndexByte(src, '\\') < 0 || !strings.Contains(src, "\\\n") && !strings.Contains(src, "\\\r\n") {
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

func lex(name string, content []byte) *lexed {
	f := &lexed{name: name}
	f.read(nil, content)
	return f
}

// read makes tokens of what the file has, with the room for them or nil.
func (f *lexed) read(tokens []token, content []byte) {
	f.size, f.tokens = len(content), tokens
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) {
		f.problem, f.problemLine = "the file is in UTF-16, and a compiler reads UTF-8", 1
		return
	}
	src, spliced := splices(strings.TrimPrefix(string(content), "\ufeff"))
	if tokens == nil {
		// A file has a token for about every four bytes.
		tokens = make([]token, 0, len(src)/4)
	}
	// This loop is most of the work for a small file, so what it needs is in variables of
	// its own, and the tokens that there are most of are read here.
	line, before := int32(1), first
	for at := 0; at < len(src); {
		class := classes[src[at]]
		switch class {
		case classLineEnd:
			before = first
			line++
			at++
			continue
		case classSpace:
			before |= space
			at++
			continue
		case classSlash:
			if end := commentEnd(src, at); end != 0 {
				if end < 0 {
					f.problem, f.problemLine = "a comment is not closed", line
					end = len(src)
				} else {
					line += int32(strings.Count(src[at:end], "\n"))
				}
				at = end
				before |= space
				continue
			}
		}
		// A removed splice was a line end, too.
		for len(spliced) > 0 && spliced[0] <= at {
			spliced = spliced[1:]
			line++
		}
		k, code, end := kindPunct, uint16(src[at]), at+1
		switch class {
		case classPunct:
		case classIdent:
			for end < len(src) && identParts[src[end]] {
				end++
			}
			if end < len(src) && classes[src[end]] == classQuote && isEncoding(src[at:end]) {
				k, code, end = scanOther(tokens, src, at)
				break
			}
			k, code = kindIdent, wordCode(src[at:end])
			// The end of _RINGBUF and _PERF_EVENT_ARRAY.
			if last := src[end-1]; (last == 'F' || last == 'Y') && isRecords(src[at:end]) {
				f.records = true
			}
		default:
			k, code, end = scanOther(tokens, src, at)
		}
		tokens = append(tokens, token{text: src[at:end], file: f, line: line, code: code, kind: k, flags: before})
		before = 0
		at = end
	}
	f.tokens = tokens
}

// scanOther returns what token begins at an offset that is neither a name nor a character
// which begins no longer operator, its code, and where it ends.
func scanOther(before []token, src string, at int) (kind, uint16, int) {
	switch c := src[at]; classes[c] {
	case classIdent:
		// The prefix for the encoding of a literal's characters.
		k, end := quoted(src, at+strings.IndexAny(src[at:], `"'`))
		return k, 0, end
	case classQuote:
		k, end := quoted(src, at)
		return k, 0, end
	case classDigit:
		return kindNumber, 0, numberEnd(src, at)
	default:
		if c == '.' && at+1 < len(src) && isDigit(src[at+1]) {
			return kindNumber, 0, numberEnd(src, at)
		}
		if c == '<' && isInclude(before) {
			if end := headerEnd(src, at); end > 0 {
				return kindHeader, 0, end
			}
			return kindPunct, '<', at + 1
		}
		code, end := operator(src, at)
		return kindPunct, code, end
	}
}

// commentEnd returns where the comment at an offset ends, 0 when none begins there, and
// -1 when it does not end.
func commentEnd(src string, at int) int {
	switch {
	case strings.HasPrefix(src[at:], "//"):
		if end := strings.IndexByte(src[at:], '\n'); end >= 0 {
			return at + end
		}
		return len(src)
	case strings.HasPrefix(src[at:], "/*"):
		if end := strings.Index(src[at+2:], "*/"); end >= 0 {
			return at + 2 + end + 2
		}
		return -1
	}
	return 0
}

// isRecords reports whether a name is of a type of maps that hand records to user
// space, or of something like it.
func isRecords(name string) bool {
	return strings.HasSuffix(name, "_RINGBUF") || strings.HasSuffix(name, "_PERF_EVENT_ARRAY")
}

// isInclude reports whether the last tokens are # and include.
func isInclude(tokens []token) bool {
	n := len(tokens)
	if n < 2 || !tokens[n-2].isChar('#') || tokens[n-2].flags&first == 0 {
		return false
	}
	switch tokens[n-1].text {
	case "include", "include_next", "import":
		return true
	}
	return false
}

// headerEnd returns where the name of a header ends that begins at an offset with <, or
// 0 when none does.
func headerEnd(src string, at int) int {
	line, _, _ := strings.Cut(src[at:], "\n")
	if end := strings.IndexByte(line, '>'); end > 1 {
		return at + end + 1
	}
	return 0
}

// numberEnd returns where the number at an offset ends.
func numberEnd(src string, at int) int {
	end := at + 1
	for end < len(src) {
		switch c := src[end]; {
		case (c == '+' || c == '-') && strings.IndexByte("eEpP", src[end-1]) >= 0:
		case isIdentPart(c) || c == '.':
		default:
			return end
		}
		end++
	}
	return end
}

// operator returns the code of the operator at an offset, and where it ends. Operators
// that neither the preprocessor nor the parser looks at come as single characters.
func operator(src string, at int) (uint16, int) {
	c := src[at]
	if at+1 < len(src) {
		next := src[at+1]
		long := false
		switch c {
		case '.':
			if next == '.' && at+2 < len(src) && src[at+2] == '.' {
				return 0, at + 3
			}
		case '#', '&', '|':
			long = next == c
		case '-':
			long = next == '>'
		case '=', '!':
			long = next == '='
		case '<', '>':
			long = next == c || next == '='
		}
		if long {
			return 0, at + 2
		}
	}
	return uint16(c), at + 1
}

// What a token that begins with a character may be.
const (
	classOther = iota
	classLineEnd
	classSpace
	classSlash
	classIdent
	classQuote
	classDigit
	// classPunct is of characters that begin no longer operator.
	classPunct
)

var classes = func() (classes [256]uint8) {
	for c := range classes {
		switch c := byte(c); {
		case c == '\n':
			classes[c] = classLineEnd
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v' || c == 0:
			classes[c] = classSpace
		case c == '/':
			classes[c] = classSlash
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '$' || c >= 0x80:
			classes[c] = classIdent
		case c == '"' || c == '\'':
			classes[c] = classQuote
		case isDigit(c):
			classes[c] = classDigit
		case strings.IndexByte("(){}[];,:?~^%*+", c) >= 0:
			classes[c] = classPunct
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

func isIdentPart(c byte) bool { return identParts[c] }

// identParts has the characters that a name may go on with.
var identParts = func() (parts [256]bool) {
	for c := range parts {
		parts[c] = classes[c] == classIdent || isDigit(byte(c))
	}
	return parts
}()

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
