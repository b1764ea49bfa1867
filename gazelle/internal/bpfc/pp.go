package bpfc

import (
	"fmt"
	pathpkg "path"
	"slices"
	"strconv"
	"strings"
)

// A macro is what #define makes.
type macro struct {
	name   string
	params map[string]int
	body   []token
	// at has which parameter each token of the body is, or -1. pastes is set when
	// there is a ## among them.
	at       []int
	pastes   bool
	function bool
	variadic bool
	// hidden is set while the macro's own expansion is read.
	hidden bool
}

// A frame is a list of tokens that is being read: a file, or an expansion.
type frame struct {
	tokens []token
	at     int
	// macro is the one that is hidden until the frame has been read.
	macro *macro
	// file is set for a file. conds is where its conditionals begin.
	file  *lexed
	conds int
	// types has the spans of the file that are still to come.
	types []span
	// fence ends what may be read: the tokens behind it are not of the argument
	// that is being expanded.
	fence bool
}

// A cond is an open #if.
type cond struct {
	line int32
	// all is set when every group is read.
	all bool
	// reading is set while the group is read, taken when one of its groups was, outer when the
	// #if itself stands in text that is read.
	reading, taken, outer, hadElse bool
}

const (
	maxIncludeDepth = 100
	maxFrames       = 1 << 12
	// maxTokens, plus as many as tokensPerByte for each byte of the files, is how
	// much is read in all. A file of nested macros can ask for any amount.
	maxTokens     = 1 << 18
	tokensPerByte = 16
)

type preprocessor struct {
	scanner *Scanner
	file    *File
	// prelude has the macros that the file begins with.
	prelude map[string]*macro
	// macros has nil for the ones that were undefined.
	macros  map[string]*macro
	frames  []frame
	conds   []cond
	depth   int // of includes
	budget  int
	counter int
	once    map[*lexed]bool
	seen    map[*lexed]bool
	stop    bool
	// known is where macros are put.
	known []macro
	// names has all that may be the name of a macro.
	names words
	// includes is where those of the file are put.
	includes []Include
	// space is where expansions are put.
	space []token
	// argTokens and argLists have the arguments of the macro calls that are being
	// expanded, one within the other.
	argTokens []token
	argLists  [][]token
}

func newPreprocessor() *preprocessor {
	return &preprocessor{
		macros: make(map[string]*macro),
		once:   make(map[*lexed]bool),
		seen:   make(map[*lexed]bool),
	}
}

// begin makes the preprocessor ready for a file, whatever it has read before.
func (p *preprocessor) begin(s *Scanner, file *File, prelude *macros) {
	clear(p.macros)
	clear(p.once)
	clear(p.seen)
	*p = preprocessor{
		scanner: s,
		file:    file,
		prelude: prelude.by,
		macros:  p.macros,
		frames:  p.frames[:0],
		conds:   p.conds[:0],
		budget:  maxTokens,
		once:    p.once,
		seen:    p.seen,
		names:   prelude.names,
		space:   p.space[:0],
		known:   p.known[:0],

		includes:  p.includes[:0],
		argTokens: p.argTokens[:0],
		argLists:  p.argLists[:0],
	}
}

// room returns an empty list with room for n tokens.
func (p *preprocessor) room(n int) []token {
	if cap(p.space)-len(p.space) < n {
		p.space = make([]token, 0, max(n, 512))
	}
	start := len(p.space)
	p.space = p.space[:start+n]
	return p.space[start : start : start+n]
}

// newMacro returns room for a macro.
func (p *preprocessor) newMacro() *macro {
	if len(p.known) == cap(p.known) {
		// Pointers to the earlier ones stay valid.
		p.known = make([]macro, 0, 32)
	}
	p.known = p.known[:len(p.known)+1]
	return &p.known[len(p.known)-1]
}

// macro returns the macro of a name, or nil.
func (p *preprocessor) macro(name string) *macro {
	if !p.names.mayHave(name) {
		return nil
	}
	m, known := p.macros[name]
	if !known {
		if shared := p.prelude[name]; shared != nil {
			m = p.newMacro()
			*m = *shared
			p.macros[name] = m
		}
	}
	return m
}

func (p *preprocessor) problem(f *lexed, line int32, format string, args ...any) {
	const enough = 20
	if len(p.file.Problems) >= enough {
		return
	}
	p.file.Problems = append(p.file.Problems, Problem{
		Pos:  Pos{File: f.name, Line: int(line)},
		Text: fmt.Sprintf(format, args...),
	})
}

// push makes the tokens the next to be read.
func (p *preprocessor) push(f frame) {
	if len(p.frames) >= maxFrames {
		p.giveUp()
		return
	}
	if f.macro != nil {
		f.macro.hidden = true
	}
	p.frames = append(p.frames, f)
}

func (p *preprocessor) pushFile(f *lexed) {
	if !p.seen[f] {
		p.seen[f] = true
		p.file.Records = p.file.Records || f.records
		p.budget += f.size * tokensPerByte
		if f.problem != "" {
			p.problem(f, f.problemLine, "%s", f.problem)
		}
	}
	p.depth++
	p.push(frame{tokens: f.tokens, file: f, conds: len(p.conds), types: f.types})
}

// skipTypes leaves out the declarations that come next and name types only, as long as
// no macro is in them.
func (p *preprocessor) skipTypes() {
	for !p.stop && len(p.frames) > 0 {
		f := &p.frames[len(p.frames)-1]
		for len(f.types) > 0 && int(f.types[0].start) < f.at {
			f.types = f.types[1:]
		}
		if len(f.types) == 0 || int(f.types[0].start) != f.at || !p.reading() {
			return
		}
		for i := f.types[0].start; i < f.types[0].end; i++ {
			if t := &f.tokens[i]; t.kind == kindIdent && p.names.mayHaveCode(t.code) && (p.macro(t.text) != nil || isDynamic(t.text)) {
				return
			}
		}
		p.skipped(int(f.types[0].end) - f.at)
		if p.budget < 0 {
			p.giveUp()
		}
	}
}

// giveUp ends the input.
func (p *preprocessor) giveUp() {
	if p.stop {
		return
	}
	p.stop = true
	p.file.Problems = append(p.file.Problems, Problem{
		Pos:  Pos{File: p.file.Name, Line: 1},
		Text: "macros or includes grow without end",
	})
}

// raw returns the next token without expanding it. It follows directives.
func (p *preprocessor) raw() (token, bool) {
	for !p.stop && len(p.frames) > 0 {
		f := &p.frames[len(p.frames)-1]
		if f.at >= len(f.tokens) {
			if f.fence {
				return token{}, false
			}
			p.pop()
			continue
		}
		t := f.tokens[f.at]
		f.at++
		p.budget--
		if p.budget < 0 {
			p.giveUp()
			break
		}
		if f.file != nil && t.isChar('#') && t.flags&first != 0 {
			p.directive(f, t)
			continue
		}
		if f.file != nil && !p.reading() {
			p.skip(f)
			continue
		}
		if t.kind == kindBad {
			p.problem(t.file, t.line, "a quote is not closed")
		}
		return t, true
	}
	return token{}, false
}

func (p *preprocessor) pop() {
	f := p.frames[len(p.frames)-1]
	p.frames = p.frames[:len(p.frames)-1]
	if f.macro != nil {
		f.macro.hidden = false
	}
	if f.file != nil {
		for _, c := range p.conds[f.conds:] {
			p.problem(f.file, c.line, "a conditional has no #endif")
		}
		p.conds = p.conds[:f.conds]
		p.depth--
	}
}

// peek returns the next token without taking it.
func (p *preprocessor) peek() (token, bool) {
	t, ok := p.raw()
	if ok {
		f := &p.frames[len(p.frames)-1]
		f.at--
		p.budget++
	}
	return t, ok
}

func (p *preprocessor) reading() bool {
	return len(p.conds) == 0 || p.conds[len(p.conds)-1].reading
}

// skip leaves out what a conditional hides, to the next directive.
func (p *preprocessor) skip(f *frame) {
	start := f.at
	for f.at < len(f.tokens) && !(f.tokens[f.at].isChar('#') && f.tokens[f.at].flags&first != 0) {
		f.at++
	}
	p.budget -= f.at - start
}

// plain returns the next tokens that stand for themselves: no directive and no
// name that may be a macro's is among them. They are still to be read.
func (p *preprocessor) plain() []token {
	if p.stop || len(p.frames) == 0 {
		return nil
	}
	f := &p.frames[len(p.frames)-1]
	if f.file != nil && !p.reading() {
		return nil
	}
	// What the caller does not take is looked at again, so a bound keeps that linear.
	const enough = 256
	toks := f.tokens[f.at:]
	if n := min(enough, max(p.budget, 0)); len(toks) > n {
		toks = toks[:n]
	}
	for i := range toks {
		t := &toks[i]
		switch {
		case t.kind == kindIdent:
			if !p.names.mayHaveCode(t.code) || p.macro(t.text) == nil && !isDynamic(t.text) {
				continue
			}
		case t.kind == kindBad, t.isChar('#') && t.flags&first != 0:
		default:
			continue
		}
		return toks[:i]
	}
	return toks
}

// skipped says that tokens of plain were read, unread that some of the last ones
// were not.
func (p *preprocessor) skipped(n int) {
	p.frames[len(p.frames)-1].at += n
	p.budget -= n
}

func (p *preprocessor) unread(n int) {
	if n > 0 {
		p.skipped(-n)
	}
}

// next returns the next token after macro expansion.
func (p *preprocessor) next() (token, bool) {
	for {
		t, ok := p.raw()
		if !ok {
			return t, false
		}
		if t.kind != kindIdent || t.flags&painted != 0 || !p.names.mayHaveCode(t.code) {
			return t, true
		}
		if t.text == "_Pragma" {
			if after, ok := p.peek(); ok && after.isChar('(') {
				p.raw()
				tokens, lists := len(p.argTokens), len(p.argLists)
				p.arguments(t)
				p.argTokens, p.argLists = p.argTokens[:tokens], p.argLists[:lists]
			}
			continue
		}
		if expanded := p.expand(&t); !expanded {
			return t, true
		}
	}
}

// expand puts the expansion of t before what follows. It reports whether t was a
// macro call.
func (p *preprocessor) expand(t *token) bool {
	m := p.macro(t.text)
	if m == nil {
		return p.dynamic(t)
	}
	if m.hidden {
		t.flags |= painted
		return false
	}
	if !m.function {
		p.push(frame{tokens: p.substitute(m, nil, t), macro: m})
		return true
	}
	if after, ok := p.peek(); !ok || !after.isChar('(') {
		return false
	}
	p.raw()
	tokens, lists := len(p.argTokens), len(p.argLists)
	if args, ok := p.arguments(*t); ok {
		p.push(frame{tokens: p.substitute(m, args, t), macro: m})
	}
	p.argTokens, p.argLists = p.argTokens[:tokens], p.argLists[:lists]
	return true
}

// dynamic has the names that have a meaning for the preprocessor and no macro.
var dynamic = []string{"__COUNTER__", "__LINE__", "__FILE__", "__BASE_FILE__", "__FILE_NAME__", "_Pragma"}

func isDynamic(name string) bool { return slices.Contains(dynamic, name) }

// dynamic expands the macros whose value changes.
func (p *preprocessor) dynamic(t *token) bool {
	var text string
	k := kindNumber
	switch t.text {
	case "__COUNTER__":
		text = strconv.Itoa(p.counter)
		p.counter++
	case "__LINE__":
		text = strconv.Itoa(int(t.line))
	case "__FILE__", "__BASE_FILE__", "__FILE_NAME__":
		text, k = strconv.Quote(t.file.name), kindString
	default:
		return false
	}
	p.push(frame{tokens: []token{{text: text, kind: k, file: t.file, line: t.line, flags: t.flags & space}}})
	return true
}

// arguments reads the arguments of a macro call behind its opening parenthesis.
// They are good until the caller takes argTokens and argLists back to the lengths
// that they had.
func (p *preprocessor) arguments(name token) ([][]token, bool) {
	first, start := len(p.argLists), len(p.argTokens)
	end := func() {
		p.argLists = append(p.argLists, slices.Clip(p.argTokens[start:]))
		start = len(p.argTokens)
	}
	depth := 0
	for {
		t, ok := p.raw()
		if !ok {
			if !p.stop {
				p.problem(name.file, name.line, "the arguments of macro %s have no closing parenthesis", name.text)
			}
			return nil, false
		}
		switch {
		case t.isChar('(') || t.isChar('[') || t.isChar('{'):
			// Only parentheses keep commas together, but no header has others open.
			if t.isChar('(') {
				depth++
			}
		case t.isChar(')'):
			if depth == 0 {
				end()
				return p.argLists[first:], true
			}
			depth--
		case t.isChar(',') && depth == 0:
			end()
			continue
		}
		// A macro that was hidden where the argument stands stays so.
		if t.kind == kindIdent && t.flags&painted == 0 && p.names.mayHaveCode(t.code) {
			if m := p.macro(t.text); m != nil && m.hidden {
				t.flags |= painted
			}
		}
		p.argTokens = append(p.argTokens, t)
	}
}

// expanded returns an argument after macro expansion, by itself.
func (p *preprocessor) expanded(arg []token) []token {
	if len(arg) == 0 {
		return nil
	}
	if !p.calls(arg) {
		return arg
	}
	mark := len(p.frames)
	p.push(frame{tokens: arg, fence: true})
	if p.stop {
		return nil
	}
	var out []token
	for {
		t, ok := p.next()
		if !ok {
			break
		}
		out = append(out, t)
	}
	for len(p.frames) > mark {
		p.pop()
	}
	return out
}

// calls reports whether there is a macro's name among the tokens.
func (p *preprocessor) calls(toks []token) bool {
	p.budget -= len(toks)
	for i := range toks {
		t := &toks[i]
		if t.kind == kindIdent && p.names.mayHaveCode(t.code) ||
			t.kind == kindBad {
			return true
		}
	}
	return false
}

// argument returns the argument that stands for a token of a macro's body.
func (p *preprocessor) argument(m *macro, args [][]token, at int) ([]token, bool) {
	if at >= len(m.at) || m.at[at] < 0 {
		return nil, false
	}
	switch i := m.at[at]; {
	case m.variadic && i == len(m.params)-1:
		all := variadic(args, i)
		p.budget -= len(all)
		return all, true
	case i < len(args):
		return args[i], true
	}
	return nil, true
}

// substitute returns a macro's body with its arguments in it.
func (p *preprocessor) substitute(m *macro, args [][]token, call *token) []token {
	var out []token
	if !m.function && !m.pastes {
		out = append(p.room(len(m.body)), m.body...)
	} else {
		out = p.replace(m, args)
	}
	for i := range out {
		// Where the call stands is what a reader looks for.
		out[i].file, out[i].line = call.file, call.line
		out[i].flags &^= first
	}
	if len(out) > 0 {
		out[0].spaceLike(call)
	}
	p.budget -= len(out)
	return out
}

func (p *preprocessor) replace(m *macro, args [][]token) []token {
	size := len(m.body)
	for _, arg := range args {
		size += len(arg)
	}
	out := p.room(size)
	// By parameter, once needed.
	var few [4][]token
	var expansions [][]token
	holes := false
	body := m.body
	for i := 0; i < len(body); i++ {
		if p.stop || len(out) > p.budget {
			p.giveUp()
			return nil
		}
		t := body[i]
		switch {
		case m.function && t.isChar('#') && i+1 < len(body):
			if arg, ok := p.argument(m, args, i+1); ok {
				text := stringize(arg, t)
				p.budget -= len(text.text)
				out = append(out, text)
				i++
				continue
			}
			out = append(out, t)
		case t.is("##") && len(out) > 0 && i+1 < len(body):
			i++
			out = p.pasteTo(out, m, args, i)
		default:
			arg, ok := p.argument(m, args, i)
			if !ok {
				out = append(out, t)
				continue
			}
			if i+1 < len(body) && body[i+1].is("##") {
				if len(arg) == 0 {
					// Something to paste to, that leaves nothing.
					holes = true
					out = append(out, token{kind: kindEOF, file: t.file})
				}
				out = append(out, arg...)
				continue
			}
			var expansion []token
			if len(arg) > 0 {
				if expansions == nil {
					// A name that stands twice among the parameters counts twice.
					if n := len(m.params) + 1; n <= len(few) {
						expansions = few[:n]
					} else {
						expansions = make([][]token, n)
					}
				}
				at := m.at[i]
				if expansions[at] == nil {
					if expansions[at] = p.expanded(arg); expansions[at] == nil {
						expansions[at] = []token{}
					}
				}
				expansion = expansions[at]
			}
			start := len(out)
			out = append(out, expansion...)
			if start < len(out) {
				out[start].spaceLike(&t)
			}
		}
	}
	if !holes {
		return out
	}
	return slices.DeleteFunc(out, func(t token) bool { return t.kind == kindEOF })
}

// pasteTo appends the token at i of a macro's body, or what stands for it, to what
// comes before ##.
func (p *preprocessor) pasteTo(out []token, m *macro, args [][]token, i int) []token {
	right := []token{m.body[i]}
	arg, isParam := p.argument(m, args, i)
	if isParam {
		right = arg
	}
	left := out[len(out)-1]
	switch {
	case isParam && left.isChar(',') && m.variadic && m.at[i] == len(m.params)-1:
		// GNU: the comma goes when there is nothing behind it.
		if len(right) == 0 {
			return out[:len(out)-1]
		}
		return append(out, p.expanded(right)...)
	case len(right) == 0:
		return out
	case left.kind == kindEOF:
		return append(out[:len(out)-1], right...)
	}
	p.budget -= len(left.text) + len(right[0].text)
	out = append(out[:len(out)-1], paste(left, right[0])...)
	return append(out, right[1:]...)
}

// variadic returns the arguments from the one at i, with the commas between them.
func variadic(args [][]token, i int) []token {
	var out []token
	for n := i; n < len(args); n++ {
		if n > i {
			out = append(out, token{text: ",", code: ',', kind: kindPunct})
		}
		out = append(out, args[n]...)
	}
	return out
}

// spaceLike makes a token have space before it where another has.
func (t *token) spaceLike(other *token) { t.flags = t.flags&^space | other.flags&space }

func stringize(arg []token, at token) token {
	var b strings.Builder
	for i, t := range arg {
		if i > 0 && t.flags&space != 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
	}
	text := b.String()
	if strings.ContainsAny(text, "\"\\") {
		text = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
	}
	return token{text: `"` + text + `"`, kind: kindString, file: at.file, line: at.line, flags: at.flags & space}
}

func paste(a, b token) []token {
	joined := lex("", []byte(a.text+b.text)).tokens
	for i := range joined {
		joined[i].file, joined[i].line = a.file, a.line
		joined[i].flags &^= first
	}
	if len(joined) > 0 {
		joined[0].spaceLike(&a)
	}
	return joined
}

// directive follows the directive whose # was read last.
func (p *preprocessor) directive(f *frame, hash token) {
	start := f.at
	for f.at < len(f.tokens) && f.tokens[f.at].flags&first == 0 {
		f.at++
	}
	line := f.tokens[start:f.at]
	p.budget -= len(line)
	if len(line) == 0 {
		return
	}
	name, line := line[0].text, line[1:]

	switch name {
	case "if", "ifdef", "ifndef":
		c := cond{line: hash.line, outer: p.reading()}
		if c.outer {
			c.all = f.file.vmlinux && asksForArch(line)
			c.reading = c.all || p.condition(name, hash, line)
		}
		c.taken = c.reading
		p.conds = append(p.conds, c)
		return
	case "elif", "elifdef", "elifndef", "else", "endif":
		if len(p.conds) == f.conds {
			p.problem(hash.file, hash.line, "#%s without #if", name)
			return
		}
		c := &p.conds[len(p.conds)-1]
		switch {
		case name == "endif":
			p.conds = p.conds[:len(p.conds)-1]
		case c.hadElse:
			p.problem(hash.file, hash.line, "#%s behind #else", name)
		case name == "else":
			c.hadElse = true
			c.reading = c.outer && (c.all || !c.taken)
			c.taken = true
		case c.all:
			// Each architecture's.
			c.reading = c.outer
		default:
			c.reading = c.outer && !c.taken && p.condition(strings.TrimPrefix(name, "el"), hash, line)
			c.taken = c.taken || c.reading
		}
		return
	}
	if !p.reading() {
		return
	}
	switch name {
	case "define":
		p.define(line)
	case "undef":
		if len(line) > 0 {
			p.macros[line[0].text] = nil
		}
	case "include", "include_next", "import":
		p.include(hash, line, name == "include_next")
	case "pragma":
		if len(line) > 0 && line[0].text == "once" {
			p.once[f.file] = true
		}
	case "error":
		if f.file.vmlinux {
			// Of each architecture's groups, others than the compiler's are read, too.
			return
		}
		n := len(p.file.Problems)
		p.problem(hash.file, hash.line, "#error %s", spell(line))
		if n < len(p.file.Problems) {
			p.file.Problems[n].Rejected = true
		}
	}
}

func spell(line []token) string {
	var b strings.Builder
	for i, t := range line {
		if i > 0 && t.flags&space != 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
	}
	return b.String()
}

func (p *preprocessor) define(line []token) {
	if len(line) == 0 || line[0].kind != kindIdent {
		return
	}
	m := p.newMacro()
	*m = macro{name: line[0].text}
	body := line[1:]
	if len(body) > 0 && body[0].isChar('(') && body[0].flags&space == 0 {
		m.function = true
		m.params = make(map[string]int)
		named := false
		for body = body[1:]; len(body) > 0 && !body[0].isChar(')'); body = body[1:] {
			switch t := body[0]; {
			case t.kind == kindIdent:
				m.params[t.text] = len(m.params)
				named = true
				continue
			case t.is("...") && !m.variadic:
				// args... names what is otherwise __VA_ARGS__.
				if !named {
					m.params["__VA_ARGS__"] = len(m.params)
				}
				m.variadic = true
			}
			named = false
		}
		if len(body) == 0 {
			p.problem(line[0].file, line[0].line, "the parameters of macro %s have no closing parenthesis", m.name)
			return
		}
		body = body[1:]
	}
	m.body = body
	for i := range body {
		m.pastes = m.pastes || body[i].is("##")
	}
	if len(m.params) > 0 {
		m.at = make([]int, len(body))
		for i := range body {
			at, ok := m.params[body[i].text]
			if !ok || body[i].kind != kindIdent {
				at = -1
			}
			m.at[i] = at
		}
	}
	if old := p.macro(m.name); old != nil {
		m.hidden = old.hidden
	}
	p.macros[m.name] = m
	p.names.add(m.name)
}

func (p *preprocessor) include(hash token, line []token, next bool) {
	path, angled, ok := headerName(line)
	if !ok {
		// The name may come from a macro.
		path, angled, ok = headerName(p.expanded(line))
	}
	if !ok {
		p.problem(hash.file, hash.line, "#include names no file")
		return
	}
	inc := Include{
		Path:   path,
		Angled: angled,
		Pos:    Pos{File: hash.file.name, Line: int(hash.line)},
	}
	var file *lexed
	if text, known := libbpfHeaders[path]; known {
		file = p.scanner.lexed("<"+path+">", func() ([]byte, bool) { return []byte(text), true })
	} else if p.scanner.open != nil {
		var name string
		if name, ok = p.scanner.resolve(Lookup{From: hash.file.name, Path: path, Angled: angled, Next: next}); ok {
			file = p.scanner.lexed(name, nil)
			inc.File = file.name
		}
	}
	p.includes = append(p.includes, inc)
	if file == nil && pathpkg.Base(path) == "vmlinux.h" && p.macro("__VMLINUX_H__") == nil {
		// As bpftool writes it.
		p.define(p.scanner.headers.vmlinuxGuard)
	}
	if file == nil || p.once[file] {
		return
	}
	if p.depth >= maxIncludeDepth {
		p.problem(hash.file, hash.line, "%s: files include each other without end", path)
		return
	}
	p.pushFile(file)
}

func headerName(line []token) (path string, angled, ok bool) {
	if len(line) == 0 {
		return "", false, false
	}
	if path := unquote(line[0]); path != "" {
		return path, false, true
	}
	if line[0].kind == kindHeader {
		return line[0].text[1 : len(line[0].text)-1], true, true
	}
	if !line[0].isChar('<') {
		return "", false, false
	}
	for i, t := range line {
		if t.isChar('>') && i > 1 {
			return spell(line[1:i]), true, true
		}
	}
	return "", false, false
}
