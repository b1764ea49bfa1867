package bpfc

import (
	"slices"
	"strings"
)

// A decl is all that the declarations of one name say together.
type decl struct {
	name    string
	section string
	label   string // the symbol's name when asm() gives another one
	text    string // the first string of the initialiser
	pos     Pos
	refs    []ref
	usedAt  Pos

	function, defined, static, extern, weak, hidden bool
	// inline is set when a declaration has the keyword, plain when one has not or
	// has extern too: then the definition is an external one.
	inline, plain bool
	// keep is set by __attribute__((used)).
	keep, used bool
	// maybe is set when only associations of _Generic lead to it.
	maybe bool
}

// A ref is a name that a body or an initialiser mentions.
type ref struct {
	name string
	file *lexed
	line int32
	code uint16
	// maybe is set in an association of _Generic: which one the compiler takes
	// depends on types.
	maybe bool
}

// inlineOnly reports whether C makes no function of the definition by itself.
func (d *decl) inlineOnly() bool { return d.function && d.inline && !d.plain && !d.keep }

// root reports whether the object has the symbol whoever uses it.
func (d *decl) root() bool {
	return d.defined && (d.keep || !d.static && !d.inlineOnly())
}

// object reports whether the declaration is of something that can be a symbol.
// asm("llvm...") stands for instructions.
func (d *decl) object() bool { return !strings.HasPrefix(d.label, "llvm.") }

// A unit is a translation unit that is being parsed.
type unit struct {
	pp    *preprocessor
	file  *File
	decls map[string]*decl
	order []*decl
	// declared has the names of decls.
	declared words

	// Memory that one file leaves to the next.
	tokens, toks []token
	open         []int
	one          [1]token
	known        []decl
	queue        []*decl
	// refs is what is left of allRefs.
	refs, allRefs []ref
}

// begin makes the unit ready for a file, whatever it has parsed before.
func (u *unit) begin(s *Scanner, file *File) {
	u.pp.begin(s, file)
	u.file = file
	clear(u.decls)
	u.declared = words{}
	u.order = u.order[:0]
	u.known = u.known[:0]
	u.refs = u.allRefs[:0]
}

// add makes the declaration of a name that there was none of.
func (u *unit) add(name string, pos Pos) *decl {
	if len(u.known) == cap(u.known) {
		// The ones before stay where they are.
		u.known = make([]decl, 0, 64)
	}
	u.known = append(u.known, decl{name: name, pos: pos})
	d := &u.known[len(u.known)-1]
	u.decls[name] = d
	u.declared.add(name)
	u.order = append(u.order, d)
	return d
}

// Keywords are never the names of what is declared, and never refer to anything.
var keywords = map[string]bool{
	"auto": true, "break": true, "case": true, "char": true, "const": true, "continue": true,
	"default": true, "do": true, "double": true, "else": true, "enum": true, "extern": true,
	"float": true, "for": true, "goto": true, "if": true, "inline": true, "int": true, "long": true,
	"register": true, "restrict": true, "return": true, "short": true, "signed": true, "sizeof": true,
	"static": true, "struct": true, "switch": true, "typedef": true, "union": true, "unsigned": true,
	"void": true, "volatile": true, "while": true, "_Bool": true, "_Complex": true, "__int128": true,
	"__inline": true, "__inline__": true, "__const": true, "__volatile__": true, "__volatile": true,
	"__restrict": true, "__restrict__": true, "__extension__": true, "__signed__": true, "_Noreturn": true,
	"_Thread_local": true, "__thread": true, "_Float16": true, "__bf16": true,
}

// Keywords that end a type: another name behind them is the declared one.
var typeWords = map[string]bool{
	"char": true, "double": true, "float": true, "int": true, "long": true, "short": true, "signed": true,
	"unsigned": true, "void": true, "_Bool": true, "__int128": true, "__signed__": true, "_Float16": true,
}

// Operators with an operand in parentheses.
var operandWords = map[string]bool{
	"__attribute__": true, "__attribute": true, "typeof": true, "__typeof__": true, "__typeof": true,
	"typeof_unqual": true, "_Alignas": true, "_Atomic": true, "__declspec": true, "asm": true, "__asm__": true,
	"__asm": true, "_Static_assert": true, "static_assert": true,
}

// isReserved reports whether a token may be a name that the language gives a
// meaning.
func isReserved(t *token) bool { return t.kind == kindIdent && reserved.mayHaveCode(t.code) }

func isAttribute(t *token) bool {
	return isReserved(t) && (t.text == "__attribute__" || t.text == "__attribute")
}

func isTypeof(t *token) bool {
	return isReserved(t) &&
		(t.text == "typeof" || t.text == "__typeof__" || t.text == "__typeof" || t.text == "typeof_unqual")
}

func isAsm(t *token) bool {
	return isReserved(t) && (t.text == "asm" || t.text == "__asm__" || t.text == "__asm")
}

func isAggregate(t *token) bool {
	return isReserved(t) && (t.text == "struct" || t.text == "union" || t.text == "enum")
}

// parse reads all external declarations. It returns the memory that it was given.
func (u *unit) parse(toks []token) []token {
	for {
		some, ok := u.external(toks[:0])
		if len(some) > 0 {
			u.declaration(some, nil)
			toks = some
		}
		if !ok {
			return toks
		}
	}
}

// external collects the tokens of one external declaration: to its semicolon, or
// to the end of its body.
func (u *unit) external(toks []token) ([]token, bool) {
	// aggregate is set behind struct, union or enum and their tag: a brace there
	// begins a list of members. params is set behind the parameters of a function:
	// a brace there begins a body.
	aggregate, tagged, params, initializer, operand := false, false, false, false, false
	for {
		next, ok := u.pp.next()
		if !ok {
			return toks, false
		}
		toks = append(toks, next)
		body := false
		switch t := &toks[len(toks)-1]; {
		case t.isChar(';'):
			return toks, true
		case t.isChar('='):
			initializer = true
		case isAggregate(t):
			aggregate, tagged = true, false
		case isReserved(t) && operandWords[t.text]:
			operand = true
		case t.kind == kindIdent && aggregate && !tagged:
			tagged = true
		case t.isChar('{') && !aggregate && !initializer && params:
			body = true
		case t.isChar('('):
			params = params || !operand
			if !operand {
				aggregate = false
			}
			operand = false
		case t.isChar('{'):
			aggregate = false
		case t.closes():
			u.pp.problem(t.file, t.line, "%q closes nothing", t.text)
			return nil, true
		default:
			aggregate = false
		}
		if !next.opens() {
			continue
		}
		if toks, ok = u.group(toks); body || toks == nil {
			return toks, ok
		}
	}
}

// group collects the tokens to the bracket that closes the last one. It returns
// nil when there is none.
func (u *unit) group(toks []token) ([]token, bool) {
	// The brackets that are open, as places among the tokens.
	open := append(u.open[:0], len(toks)-1)
	defer func() { u.open = open }()
	for {
		// Most tokens stand for themselves.
		run := u.pp.plain()
		if len(run) == 0 {
			t, ok := u.pp.next()
			if !ok {
				if last := &toks[open[len(open)-1]]; !u.pp.stop {
					u.pp.problem(last.file, last.line, "%q is not closed", last.text)
				}
				return nil, false
			}
			u.one[0] = t
			run = u.one[:]
		} else {
			u.pp.skipped(len(run))
		}
		start := len(toks)
		toks = append(toks, run...)
		for i := start; i < len(toks); i++ {
			switch t := &toks[i]; {
			case t.opens():
				open = append(open, i)
			case t.closes():
				last := &toks[open[len(open)-1]]
				if !match(last, t) {
					u.pp.unread(len(toks) - i - 1)
					u.pp.problem(t.file, t.line, "%q does not close the %q of line %d", t.text, last.text, last.line)
					return nil, true
				}
				if open = open[:len(open)-1]; len(open) == 0 {
					u.pp.unread(len(toks) - i - 1)
					return toks[:i+1], true
				}
			}
		}
	}
}

// attrs is what attributes say.
type attrs struct {
	section, label     string
	weak, hidden, keep bool
}

func (a *attrs) merge(b attrs) {
	if b.section != "" {
		a.section = b.section
	}
	a.weak = a.weak || b.weak
	a.hidden = a.hidden || b.hidden
	a.keep = a.keep || b.keep
}

// group returns the index behind the bracket that closes the one at i.
func group(toks []token, i int) int {
	depth := 0
	for ; i < len(toks); i++ {
		switch t := &toks[i]; {
		case t.opens():
			depth++
		case t.closes():
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return i
}

// operand returns the index behind the parentheses that follow i.
func operand(toks []token, i int) int {
	if i+1 < len(toks) && toks[i+1].isChar('(') {
		return group(toks, i+1)
	}
	return i + 1
}

// attribute reads the attribute at i.
func attribute(toks []token, i int) (attrs, int) {
	var a attrs
	end := operand(toks, i)
	for ; i < end; i++ {
		if toks[i].kind != kindIdent {
			continue
		}
		argument := ""
		if i+2 < end && toks[i+1].isChar('(') {
			argument = literal(toks[i+2 : end])
		}
		switch toks[i].text {
		case "section", "__section__":
			a.section = argument
		case "weak", "__weak__":
			a.weak = true
		case "visibility", "__visibility__":
			a.hidden = argument == "hidden" || argument == "internal"
		case "used", "__used__":
			a.keep = true
		}
	}
	return a, end
}

// storage is what the specifiers of a declaration say.
type storage struct {
	attrs
	static, extern, inline, typedef bool
}

// declaration parses a declaration, with the body if it has one. within is the
// function that the declaration stands in, or nil.
func (u *unit) declaration(toks []token, within *decl) {
	var s storage
	i, named := 0, false // named: the type has been named
specifiers:
	for i < len(toks) {
		t := toks[i]
		if t.kind != kindIdent {
			break
		}
		switch {
		case t.text == "static":
			s.static = true
		case t.text == "extern":
			s.extern = true
		case t.text == "typedef":
			s.typedef = true
		case t.text == "inline" || t.text == "__inline" || t.text == "__inline__":
			s.inline = true
		case t.text == "_Static_assert" || t.text == "static_assert" || isAsm(&t):
			return
		case isAttribute(&t):
			a, end := attribute(toks, i)
			s.merge(a)
			i = end
			continue
		case isTypeof(&t) || t.text == "_Alignas" || t.text == "_Atomic" || t.text == "__declspec":
			named = named || isTypeof(&t) || t.text == "_Atomic" && i+1 < len(toks) && toks[i+1].isChar('(')
			i = operand(toks, i)
			continue
		case isAggregate(&t):
			named = true
			for i++; i < len(toks) && isAttribute(&toks[i]); {
				_, i = attribute(toks, i)
			}
			if i < len(toks) && toks[i].kind == kindIdent {
				i++
			}
			for i < len(toks) && isAttribute(&toks[i]) {
				var a attrs
				a, i = attribute(toks, i)
				s.merge(a)
			}
			if i < len(toks) && toks[i].isChar('{') {
				i = group(toks, i)
			}
			continue
		case isKeyword(&t):
			named = named || typeWords[t.text]
		default:
			// A name: of a type, of a macro that nobody defined, or the declared one.
			if !u.isSpecifier(toks, i, named) {
				break specifiers
			}
			if i+1 < len(toks) && toks[i+1].isChar('(') && !declaratorFollows(toks, i+1) {
				i = group(toks, i+1)
				continue
			}
			named = true
		}
		i++
	}
	if i >= len(toks) || toks[i].isChar(';') {
		return
	}

	for first := true; ; first = false {
		d, end := u.declarator(toks, i, 0)
		i = end
		a := s.attrs
		a.merge(d.attrs)
		for i < len(toks) {
			if isAttribute(&toks[i]) {
				var more attrs
				more, i = attribute(toks, i)
				a.merge(more)
			} else if isAsm(&toks[i]) {
				end := operand(toks, i)
				if i+2 < end {
					a.label = literal(toks[i+2 : end])
				}
				i = end
			} else if toks[i].isChar(':') {
				// A bit-field's width, of a declaration that went wrong before.
				return
			} else {
				break
			}
		}
		end = i
		defined := false
		var value []token
		if i < len(toks) && toks[i].isChar('=') {
			for end = i + 1; end < len(toks) && !toks[end].isChar(',') && !toks[end].isChar(';'); {
				if toks[end].isChar('(') || toks[end].isChar('[') || toks[end].isChar('{') {
					end = group(toks, end)
				} else {
					end++
				}
			}
			value, defined = toks[i+1:end], true
		} else if first && d.function && i < len(toks) && toks[i].isChar('{') {
			end = len(toks)
			value, defined = toks[i:], true
		}
		if d.name != "" && !s.typedef {
			u.declare(d, s, a, value, defined, within)
		}
		i = end
		if i >= len(toks) || !toks[i].isChar(',') {
			return
		}
		i++
	}
}

// isSpecifier reports whether the name at i is a part of the type, or something
// before it, rather than the declared name.
func (u *unit) isSpecifier(toks []token, i int, named bool) bool {
	if i+1 >= len(toks) {
		return false
	}
	next := toks[i+1]
	switch {
	case next.kind == kindIdent:
		// The declared name may have an attribute or asm("name") behind it.
		if isAttribute(&next) || isAsm(&next) {
			return !named
		}
		return true
	case next.isChar('*'):
		return true
	case next.isChar('('):
		if named {
			return false
		}
		if declaratorFollows(toks, i+1) {
			return true
		}
		// An unknown macro with arguments, before the declaration proper.
		end := group(toks, i+1)
		return end < len(toks) && toks[end].kind == kindIdent && !isAttribute(&toks[end]) && !isAsm(&toks[end])
	}
	return false
}

// declaratorFollows reports whether the parenthesis at i opens a declarator, as
// in the type (*name)(arguments).
func declaratorFollows(toks []token, i int) bool {
	for i++; i < len(toks) && isAttribute(&toks[i]); {
		_, i = attribute(toks, i)
	}
	return i < len(toks) && (toks[i].isChar('*') || toks[i].isChar('^'))
}

// A declarator is a declared name with what stands around it.
type declarator struct {
	attrs
	name     string
	pos      Pos
	function bool
	pointer  bool
	// args are the arguments behind the name.
	args []token
}

func (u *unit) declarator(toks []token, i, depth int) (declarator, int) {
	var d declarator
	if depth > maxNesting {
		return d, len(toks)
	}
prefix:
	for i < len(toks) {
		t := toks[i]
		switch {
		case t.isChar('*') || t.isChar('^'):
			d.pointer = true
			i++
		case isAttribute(&t):
			var a attrs
			a, i = attribute(toks, i)
			d.merge(a)
		case t.kind == kindIdent && isKeyword(&t):
			i++
		default:
			break prefix
		}
	}
	direct := false
	switch {
	case i < len(toks) && toks[i].isChar('('):
		pointer, a := d.pointer, d.attrs
		end := group(toks, i)
		d, _ = u.declarator(toks[:end-1], i+1, depth+1)
		d.merge(a)
		direct = d.name != "" && !d.pointer && !d.function
		d.pointer = d.pointer || pointer
		i = end
	case i < len(toks) && toks[i].kind == kindIdent:
		d.name = toks[i].text
		d.pos = Pos{File: toks[i].file.name, Line: int(toks[i].line)}
		direct = true
		i++
	default:
		return d, i
	}
	for i < len(toks) && (toks[i].isChar('(') || toks[i].isChar('[')) {
		end := group(toks, i)
		if direct && toks[i].isChar('(') {
			d.function = true
			d.args = toks[i+1 : end-1]
		}
		direct = false
		i = end
	}
	return d, i
}

// declare adds a declaration to what is known of its name.
func (u *unit) declare(d declarator, s storage, a attrs, value []token, defined bool, within *decl) {
	name := d.name
	if within != nil {
		if !s.extern && (!d.function || s.static) {
			return
		}
		// An extern of a body has no value.
		defined = false
	}
	if d.function && defined && isUnknownMacro(name) {
		// What defines a function and is not known here has the function's name
		// as its first argument, as the macros of bpf_tracing.h have.
		if len(d.args) > 0 && d.args[0].kind == kindIdent && (len(d.args) == 1 || d.args[1].isChar(',')) {
			name = d.args[0].text
		}
	}
	to := u.decls[name]
	if to == nil {
		to = u.add(name, d.pos)
	}
	if a.label != "" {
		to.label = a.label
	}
	to.function = to.function || d.function
	to.static = to.static || s.static
	to.extern = to.extern || s.extern
	to.weak = to.weak || a.weak
	to.hidden = to.hidden || a.hidden
	to.keep = to.keep || a.keep
	if a.section != "" {
		to.section = a.section
	}
	if d.function {
		to.inline = to.inline || s.inline
		to.plain = to.plain || !s.inline || s.extern
	}
	// A variable without extern is defined, with or without a value.
	if !d.function && !s.extern {
		defined = true
	}
	if !defined {
		return
	}
	if !to.defined {
		to.pos = d.pos
	}
	to.defined = true
	for i, t := range value {
		if t.kind == kindString {
			to.text = literal(value[i:])
			break
		}
	}
	u.references(to, value)
}

// literal returns the string that tokens begin with: literals that stand side by
// side are one.
func literal(toks []token) string {
	if len(toks) == 0 || toks[0].kind != kindString {
		return ""
	}
	if len(toks) == 1 || toks[1].kind != kindString {
		return unquote(toks[0])
	}
	var b strings.Builder
	for _, t := range toks {
		if t.kind != kindString {
			break
		}
		b.WriteString(unquote(t))
	}
	return b.String()
}

// isUnknownMacro reports whether the name looks like one of libbpf's macros.
func isUnknownMacro(name string) bool {
	if len(name) < 5 || name[:4] != "BPF_" {
		return false
	}
	for i := range len(name) {
		if c := name[i]; 'a' <= c && c <= 'z' {
			return false
		}
	}
	return true
}

// Operators whose operand is not evaluated.
var unevaluated = map[string]bool{
	"sizeof": true, "_Alignof": true, "__alignof__": true, "typeof": true, "__typeof__": true, "__typeof": true,
	"typeof_unqual": true, "__builtin_types_compatible_p": true,
}

// prototype returns where the prototype of a function ends that a statement
// consists of, or 0 when the statement at i is something else. Only the first
// tokens are looked at: bodies nest in bodies.
func prototype(toks []token, i int) int {
	const enough = 64
	toks = toks[:min(len(toks), i+enough)]
	names := 0
	for ; i < len(toks); i++ {
		switch t := toks[i]; {
		case t.isChar('*') && names > 0:
		case t.kind != kindIdent:
			if names < 2 || !t.isChar('(') || toks[i-1].kind != kindIdent {
				return 0
			}
			// Other names may follow, but for values, which refer to something.
			end := group(toks, i)
			if end >= len(toks) || !toks[end].isChar(';') && !toks[end].isChar(',') {
				return 0
			}
			for ; end < len(toks) && !toks[end].isChar('='); end++ {
				if toks[end].isChar(';') {
					return end + 1
				}
			}
			return 0
		case t.text == "return" || t.text == "else" || t.text == "goto" || t.text == "case" || t.text == "do" ||
			t.text == "typedef" || t.text == "extern" || operandWords[t.text] || unevaluated[t.text]:
			return 0
		default:
			names++
		}
	}
	return 0
}

// references notes the names that a body or an initialiser mentions.
func (u *unit) references(from *decl, toks []token) {
	isFirst := len(from.refs) == 0
	refs := from.refs
	if isFirst {
		refs = u.refs[len(u.refs):]
	}
	generic := 0 // the end of the _Generic that i stands in
	for i := 0; i < len(toks); i++ {
		t := &toks[i]
		if t.kind != kindIdent {
			continue
		}
		begins := i > 0 && (toks[i-1].isChar(';') || toks[i-1].isChar('{') || toks[i-1].isChar('}'))
		if begins {
			if end := prototype(toks, i); end > i {
				u.declaration(toks[i:end], from)
				i = end - 1
				continue
			}
		}
		switch {
		case begins && i+1 < len(toks) && toks[i+1].isChar(':'), i > 0 && toks[i-1].isIdent("goto"):
			// A label.
		case t.text == "extern":
			// A declaration, to its semicolon.
			end := i
			for end < len(toks) && !toks[end].isChar(';') {
				if toks[end].isChar('(') || toks[end].isChar('[') || toks[end].isChar('{') {
					end = group(toks, end)
				} else {
					end++
				}
			}
			if end < len(toks) {
				end++
			}
			u.declaration(toks[i:end], from)
			i = end - 1
		case isReserved(t) && unevaluated[t.text]:
			if i+1 < len(toks) && toks[i+1].isChar('(') {
				i = group(toks, i+1) - 1
			} else {
				i++
			}
		case isReserved(t) && t.text == "_Generic" && i+1 < len(toks) && toks[i+1].isChar('('):
			// The first operand is not evaluated.
			if i >= generic {
				generic = group(toks, i+1)
			}
			for i += 2; i < len(toks) && !toks[i].isChar(',') && !toks[i].isChar(')'); {
				if toks[i].opens() {
					i = group(toks, i)
				} else {
					i++
				}
			}
			i--
		case isKeyword(t):
		case i > 0 && (toks[i-1].isChar('.') || toks[i-1].is("->")):
		default:
			refs = append(refs, ref{name: t.text, file: t.file, line: t.line, code: t.code, maybe: i < generic})
		}
	}
	if isFirst {
		// Further ones go elsewhere, for the list of the next name begins here.
		u.refs = refs[len(refs):]
		refs = slices.Clip(refs)
	}
	from.refs = refs
}
