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
	// never is set when the compiler leaves no use of it in the object.
	never bool
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
func (d *decl) object() bool { return !strings.HasPrefix(d.label, "llvm.") && (d.defined || !d.never) }

// A unit is a translation unit that is being parsed.
type unit struct {
	pp    *preprocessor
	file  *File
	decls map[string]*decl
	order []*decl
	// declared has the names of decls.
	declared words

	// Memory that one file leaves to the next. main is the file itself.
	main         lexed
	tokens, toks []token
	open         []int
	one          [1]token
	known        []decl
	symbols      []Symbol
	queue        []*decl
	// refs is what is left of allRefs.
	refs, allRefs []ref
}

// begin makes the unit ready for a file, whatever it has parsed before.
func (u *unit) begin(s *Scanner, file *File, prelude *macros) {
	u.pp.begin(s, file, prelude)
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
		// Pointers to the earlier ones stay valid.
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

// isAttribute reports whether an attribute is at i: GNU's, or one in [[ ]].
func isAttribute(toks []token, i int) bool {
	if i >= len(toks) {
		return false
	}
	t := &toks[i]
	return isReserved(t) && (t.text == "__attribute__" || t.text == "__attribute") ||
		t.isChar('[') && i+1 < len(toks) && toks[i+1].isChar('[')
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

// parse reads all external declarations.
func (u *unit) parse() {
	for {
		toks, ok := u.external()
		if len(toks) > 0 {
			u.declaration(toks, nil)
		}
		if !ok {
			return
		}
	}
}

// external returns the tokens of one external declaration: to its semicolon, or to
// the end of its body. They are good until the next call. It reports whether more
// may come.
func (u *unit) external() ([]token, bool) {
	var o outline
	u.open = u.open[:0]
	toks := u.toks[:0]
	defer func() { u.toks = toks[:0] }()
	u.pp.skipTypes()
	for {
		// Most tokens stand for themselves.
		run := u.pp.plain()
		if len(run) > 0 {
			u.pp.skipped(len(run))
		} else {
			t, ok := u.pp.next()
			if !ok {
				return u.end(toks)
			}
			u.one[0] = t
			run = u.one[:]
		}
		// And most declarations are in one piece, which need not be copied.
		all, from := run, len(toks)
		if from > 0 {
			toks = append(toks, run...)
			all = toks
		}
		for i := from; i < len(all); i++ {
			done, ok := false, true
			if len(u.open) == 0 {
				done, ok = u.outer(&o, all, i)
			} else if t := &all[i]; t.opens() {
				u.open = append(u.open, i)
			} else if t.closes() {
				done, ok = u.closed(all, i)
				done = done && o.body
			}
			if done || !ok {
				u.pp.unread(len(all) - i - 1)
				if !ok {
					return nil, true
				}
				return all[:i+1], true
			}
		}
		if from == 0 {
			toks = append(toks, run...)
		}
	}
}

// An outline is what is known of an external declaration from what stands outside of
// its brackets.
type outline struct {
	// aggregate is set behind struct, union or enum and their tag: a brace there
	// begins a list of members. params is set behind the parameters of a function:
	// a brace there begins a body.
	aggregate, tagged, params, initializer, operand bool
	// body is set from the brace of a body on.
	body bool
}

// outer reads the token at i, which stands outside of all brackets. It reports whether
// the declaration ends with it, and false when it cannot stand there.
func (u *unit) outer(o *outline, toks []token, i int) (done, ok bool) {
	t := &toks[i]
	switch {
	case t.kind == kindIdent:
		switch {
		case isAggregate(t):
			o.aggregate, o.tagged = true, false
		case isReserved(t) && operandWords[t.text]:
			o.operand = true
		case o.aggregate && !o.tagged:
			o.tagged = true
		default:
			o.aggregate = false
		}
		return false, true
	case t.isChar(';'):
		return true, true
	case t.isChar('='):
		o.initializer = true
		return false, true
	case t.isChar('{'):
		o.body = !o.aggregate && !o.initializer && o.params
		o.aggregate = false
	case t.isChar('('):
		o.params = o.params || !o.operand
		o.aggregate = o.aggregate && o.operand
		o.operand = false
	case t.closes():
		u.pp.problem(t.file, t.line, "%q closes nothing", t.text)
		return false, false
	default:
		o.aggregate = false
	}
	if t.opens() {
		u.open = append(u.open, i)
	}
	return false, true
}

// closed takes the bracket at i for the one that closes the last one that is open. It
// reports whether none is open any more, and false when it is of another kind.
func (u *unit) closed(toks []token, i int) (done, ok bool) {
	t, last := &toks[i], &toks[u.open[len(u.open)-1]]
	if !match(last, t) {
		u.pp.problem(t.file, t.line, "%q does not close the %q of line %d", t.text, last.text, last.line)
		return false, false
	}
	u.open = u.open[:len(u.open)-1]
	return len(u.open) == 0, true
}

// end returns what there is of a declaration where the file ends: nothing when a
// bracket is open.
func (u *unit) end(toks []token) ([]token, bool) {
	if len(u.open) == 0 {
		return toks, false
	}
	if last := &toks[u.open[len(u.open)-1]]; !u.pp.stop {
		u.pp.problem(last.file, last.line, "%q is not closed", last.text)
	}
	return nil, false
}

// attrs is what attributes say.
type attrs struct {
	section, label string
	// alias is the function or variable that the declared name is another name of.
	alias              string
	weak, hidden, keep bool
	// never is set when the compiler rejects a use that it has not optimised away.
	never bool
}

func (a *attrs) merge(b attrs) {
	if b.section != "" {
		a.section = b.section
	}
	if b.alias != "" {
		a.alias = b.alias
	}
	a.never = a.never || b.never
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
	if toks[i].isChar('[') {
		end = group(toks, i)
	}
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
		case "alias", "__alias__":
			a.alias = argument
		case "error", "__error__":
			a.never = true
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
	s, i := u.specifiers(toks)
	if i >= len(toks) || toks[i].isChar(';') {
		return
	}

	for first := true; ; first = false {
		d, end := u.declarator(toks, i, 0)
		i = end
		a := s.attrs
		a.merge(d.attrs)
		i = a.behind(toks, i)
		if i < len(toks) && toks[i].isChar(':') {
			// A bit-field's width, of a declaration that went wrong before.
			return
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

// specifiers reads what a declaration begins with, before the first declared name.
func (u *unit) specifiers(toks []token) (storage, int) {
	var s storage
	i, named := 0, false // named: the type has been named
	for i < len(toks) {
		t := toks[i]
		if isAttribute(toks, i) {
			a, end := attribute(toks, i)
			s.merge(a)
			i = end
			continue
		}
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
			return s, len(toks)
		case isTypeof(&t) || t.text == "_Alignas" || t.text == "_Atomic" || t.text == "__declspec":
			named = named || isTypeof(&t) || t.text == "_Atomic" && i+1 < len(toks) && toks[i+1].isChar('(')
			i = operand(toks, i)
			continue
		case isAggregate(&t):
			named = true
			i = s.aggregate(toks, i)
			continue
		case isKeyword(&t):
			named = named || typeWords[t.text]
		default:
			// A name: of a type, of an undefined macro, or the declared one.
			if !u.isSpecifier(toks, i, named) {
				return s, i
			}
			if i+1 < len(toks) && toks[i+1].isChar('(') && !declaratorFollows(toks, i+1) {
				i = group(toks, i+1)
				continue
			}
			named = true
		}
		i++
	}
	return s, i
}

// aggregate reads the struct, union or enum at i, with its members.
func (s *storage) aggregate(toks []token, i int) int {
	for i++; isAttribute(toks, i); {
		_, i = attribute(toks, i)
	}
	if i < len(toks) && toks[i].kind == kindIdent {
		i++
	}
	for isAttribute(toks, i) {
		var a attrs
		a, i = attribute(toks, i)
		s.merge(a)
	}
	if i < len(toks) && toks[i].isChar('{') {
		i = group(toks, i)
	}
	return i
}

// behind reads the attributes and the label behind a declarator.
func (a *attrs) behind(toks []token, i int) int {
	for i < len(toks) {
		switch {
		case isAttribute(toks, i):
			var more attrs
			more, i = attribute(toks, i)
			a.merge(more)
		case isAsm(&toks[i]):
			end := operand(toks, i)
			if i+2 < end {
				a.label = literal(toks[i+2 : end])
			}
			i = end
		default:
			return i
		}
	}
	return i
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
		if isAttribute(toks, i+1) || isAsm(&next) {
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
		return end < len(toks) && toks[end].kind == kindIdent && !isAttribute(toks, end) && !isAsm(&toks[end])
	}
	return false
}

// declaratorFollows reports whether the parenthesis at i opens a declarator, as
// in the type (*name)(arguments).
func declaratorFollows(toks []token, i int) bool {
	for i++; isAttribute(toks, i); {
		_, i = attribute(toks, i)
	}
	return i < len(toks) && (toks[i].isChar('*') || toks[i].isChar('^'))
}

// A declarator is a declared name with what stands around it.
type declarator struct {
	attrs
	name     string
	file     *lexed
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
		case isAttribute(toks, i):
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
		d.name, d.file = toks[i].text, toks[i].file
		d.pos = Pos{File: toks[i].file.name, Line: int(toks[i].line)}
		direct = true
		i++
	default:
		return d, i
	}
	for i < len(toks) && (toks[i].isChar('(') || toks[i].isChar('[')) {
		if isAttribute(toks, i) {
			var a attrs
			a, i = attribute(toks, i)
			d.merge(a)
			continue
		}
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
	to.never = to.never || a.never
	if a.section != "" {
		to.section = a.section
	}
	if d.function {
		to.inline = to.inline || s.inline
		to.plain = to.plain || !s.inline || s.extern
	}
	if a.alias != "" && within == nil {
		defined = true
		to.refs = append(slices.Clip(to.refs), ref{name: a.alias, file: d.file, line: int32(d.pos.Line), code: wordCode(a.alias)})
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
	// Macros put parentheses around their arguments.
	for len(toks) > 0 && toks[0].isChar('(') {
		toks = toks[1:]
	}
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
