package bpfc

import (
	"bytes"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// A Scanner scans files. It keeps the tokens of the headers that it opened, so
// that many files may include one. It can be used by several goroutines.
type Scanner struct {
	open OpenFunc
	// prelude has the macros that every file begins with.
	prelude *macros
	headers *headers
	brief   bool

	mu sync.Mutex
	// flagged has the preludes with flags that were asked for last.
	flagged []flagged
}

// macros are those that a file begins with. They are not changed.
type macros struct {
	by map[string]*macro
	// names has those of by, and more.
	names words
}

// flagged is the prelude with flags.
type flagged struct {
	flags  []string
	macros *macros
}

// headers has the tokens of headers by their names.
type headers struct {
	// vmlinuxGuard is the definition of __VMLINUX_H__.
	vmlinuxGuard []token

	mu    sync.Mutex
	files map[string]*lexed
}

func newHeaders() *headers {
	return &headers{
		vmlinuxGuard: lex("vmlinux.h", []byte("__VMLINUX_H__\n")).tokens,
		files:        make(map[string]*lexed),
	}
}

// A Lookup asks for the file that an #include names.
type Lookup struct {
	// From is the name of the file with the #include.
	From string
	// Path is what stands between the quotes or brackets.
	Path   string
	Angled bool
	// Next is set for #include_next: the search goes on behind where From was found.
	Next bool
}

// OpenFunc finds the file that a file includes. It returns the file's name,
// which must be the same for the same file however it is included, and a
// function that reads it. It returns false for a file that is not to be opened,
// such as a header of the system.
type OpenFunc func(Lookup) (name string, read func() ([]byte, bool), ok bool)

// NewScanner makes a Scanner. open may be nil: then no header is opened.
func NewScanner(open OpenFunc) *Scanner {
	s := &Scanner{open: open, headers: newHeaders()}
	s.prelude = new(macros)
	s.prelude = s.with(lex("<prelude>", []byte(prelude)))
	for _, name := range dynamic {
		s.prelude.names.add(name)
	}
	return s
}

// with returns the prelude with what a file of directives defines.
func (s *Scanner) with(f *lexed) *macros {
	p := newPreprocessor()
	p.begin(s, new(File), s.prelude)
	p.read(f)
	by := maps.Clone(s.prelude.by)
	if by == nil {
		return &macros{by: p.macros, names: p.names}
	}
	maps.Copy(by, p.macros)
	return &macros{by: by, names: p.names}
}

// With returns a scanner that finds headers in another way. Both have the tokens of
// a header once, so a name must stand for the same file to both.
func (s *Scanner) With(open OpenFunc) *Scanner {
	return &Scanner{open: open, prelude: s.prelude, headers: s.headers}
}

// Brief returns a scanner that leaves Symbols out of what it returns, unless Union
// needs them: many thousand files are remembered by their definitions and externs.
func (s *Scanner) Brief() *Scanner {
	brief := s.With(s.open)
	brief.brief = true
	return brief
}

// A Pos is a position in a file. Line counts from 1.
type Pos struct {
	File string
	Line int
}

// An Include is an #include that the compiler follows.
type Include struct {
	// Path is what stands between the quotes or brackets.
	Path   string
	Angled bool
	// File is the name of the file that was opened, or empty.
	File string
	Pos  Pos
}

// Kind is what a symbol stands for.
type Kind uint8

// The kinds of symbols. A program is a function with SEC(), a map a variable in
// the section ".maps".
const (
	Variable Kind = iota
	Function
	Program
	Map
)

func (k Kind) String() string { return [...]string{"variable", "function", "program", "map"}[k] }

// Linkage is who may use a symbol.
type Linkage uint8

// The linkages. Weak is a global symbol that another definition replaces;
// an extern that is weak need not be defined at all.
const (
	Global Linkage = iota
	Weak
	Static
)

func (l Linkage) String() string { return [...]string{"global", "weak", "static"}[l] }

// A Symbol is a function, variable or map that a file defines, or declares and
// uses.
type Symbol struct {
	Name string
	// Section is the argument of SEC(), or empty.
	Section string
	Pos     Pos
	// UsedAt is where an extern is used for the first time.
	UsedAt  Pos
	Kind    Kind
	Linkage Linkage
	// Hidden is set for what is invisible outside of the linked object.
	Hidden bool
	// Defined is not set for an extern.
	Defined bool
	// Used is set when the object needs the symbol: for a definition when it is
	// global or something that is in the object refers to it.
	Used bool
	// Maybe is set when the object may do without the symbol: only associations of
	// _Generic lead to it, and which of them the compiler takes depends on types.
	Maybe bool
}

// Kernel reports whether the kernel or the loader defines the symbol: an extern
// with __ksym or __kconfig.
func (s *Symbol) Kernel() bool {
	return !s.Defined && (strings.HasPrefix(s.Section, ".ksyms") || strings.HasPrefix(s.Section, ".kconfig"))
}

// A Problem is something that cannot be C, or that #error rejects.
type Problem struct {
	Pos  Pos
	Text string
	// Rejected is set for #error: the text is C, but not for these macros.
	Rejected bool
}

// A File is what was found out about a file and the headers that it includes.
type File struct {
	Name string
	// Includes lists what the file and the opened headers include, in order.
	Includes []Include
	// Symbols is sorted by name.
	Symbols []Symbol
	// License is the string in the section "license". HasLicense is set when the
	// file has the section.
	License    string
	HasLicense bool
	Problems   []Problem
	// Records is set when the text of the file or of an opened header mentions a map that hands
	// records to user space: a ring buffer or a perf event array.
	Records bool
	// ArchDependent is set when a conditional asks for the architecture. Then File
	// says what there is for the one of the flags; see Union.
	ArchDependent bool

	definitions, externs []Symbol
	programs             int
}

// detach copies the texts that are parts of the file's own, which is not to stay for
// a few names.
func (f *File) detach() {
	lists := [...][]Symbol{f.Symbols, f.definitions, f.externs}
	size := len(f.License)
	for i := range f.Includes {
		size += len(f.Includes[i].Path)
	}
	for _, symbols := range lists {
		for i := range symbols {
			size += len(symbols[i].Name) + len(symbols[i].Section)
		}
	}
	var all strings.Builder
	all.Grow(size)
	detach := func(text *string) {
		at := all.Len()
		all.WriteString(*text)
		*text = all.String()[at:]
	}
	detach(&f.License)
	for i := range f.Includes {
		detach(&f.Includes[i].Path)
	}
	for _, symbols := range lists {
		for i := range symbols {
			detach(&symbols[i].Name)
			detach(&symbols[i].Section)
		}
	}
}

// Definitions returns what other files may refer to. It is not to be changed.
func (f *File) Definitions() []Symbol {
	return f.definitions
}

// Externs returns what another file must define, or may define if it is weak.
// What the kernel defines is not among it. It is not to be changed.
func (f *File) Externs() []Symbol {
	return f.externs
}

// Programs returns how many programs there are in the object.
func (f *File) Programs() int { return f.programs }

// Scan scans a file.
//
// defines holds macros as the compiler's flag -D takes them: NAME, or NAME=value.
// The architecture is among them, as __TARGET_ARCH_x86. includes holds files that
// are included before the first line, as by the flag -include.
func (s *Scanner) Scan(name string, content []byte, defines []string, includes ...string) *File {
	file := &File{Name: name}
	u := units.Get().(*unit)
	u.begin(s, file, s.flags(defines))
	vmlinux := isVmlinux(name)
	if vmlinux {
		content = directives(content)
	}
	main := &u.main
	*main = lexed{name: name, vmlinux: vmlinux}
	main.read(u.tokens[:0], content)
	u.pp.pushFile(main)
	for _, include := range slices.Backward(includes) {
		// What is put in front last is read first.
		u.pp.include(token{file: main, line: 1}, []token{{kind: kindString, text: `"` + include + `"`}}, false)
	}
	u.parse()
	u.finish()
	file.Includes = slices.Clone(u.pp.includes)
	file.detach()

	// Nothing of the result refers to the unit. What a large file took is not kept.
	u.tokens = main.tokens
	if cap(u.tokens) <= maxKept && cap(u.toks) <= maxKept && len(u.decls) <= maxKept &&
		cap(u.pp.frames) <= maxKept && cap(u.pp.includes) <= maxKept && cap(u.pp.space) <= maxKept && cap(u.pp.argTokens) <= maxKept && len(u.pp.macros) <= maxKept {
		units.Put(u)
	}
	return file
}

// maxKept is how many tokens, names or macros one scan leaves room for to the next.
const maxKept = 1 << 14

var units = sync.Pool{New: func() any {
	return &unit{
		pp: newPreprocessor(), tokens: make([]token, 0, 1024),
		decls: make(map[string]*decl), allRefs: make([]ref, 0, 512),
	}
}}

// flags returns the prelude with flags. Most files have the same, or those of one
// architecture after the other.
func (s *Scanner) flags(defines []string) *macros {
	if len(defines) == 0 {
		return s.prelude
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.flagged {
		if slices.Equal(known.flags, defines) {
			return known.macros
		}
	}
	const enough = 16
	if len(s.flagged) == enough {
		s.flagged = nil
	}
	with := flagged{slices.Clone(defines), s.with(lex("<command line>", []byte(defineLines(defines))))}
	s.flagged = append(s.flagged, with)
	return with.macros
}

// defineLines returns directives for flags.
func defineLines(defines []string) string {
	var b strings.Builder
	for _, define := range defines {
		name, value, ok := strings.Cut(define, "=")
		if !ok {
			value = "1"
		}
		b.WriteString("#define ")
		b.WriteString(name)
		b.WriteByte(' ')
		b.WriteString(strings.ReplaceAll(value, "\n", " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// read reads a file of directives.
func (p *preprocessor) read(f *lexed) {
	p.pushFile(f)
	for {
		if _, ok := p.raw(); !ok {
			return
		}
	}
}

func (s *Scanner) resolve(what Lookup) (string, bool) {
	name, read, ok := s.open(what)
	if !ok {
		return "", false
	}
	return name, s.lexed(name, read) != nil
}

// lexed returns the tokens of a header, or nil when it cannot be read.
func (s *Scanner) lexed(name string, read func() ([]byte, bool)) *lexed {
	s.headers.mu.Lock()
	defer s.headers.mu.Unlock()
	f, known := s.headers.files[name]
	if !known && read != nil {
		// It may be a part of what includes it.
		name = strings.Clone(name)
		if content, ok := read(); ok {
			vmlinux := isVmlinux(name)
			if vmlinux {
				content = directives(content)
			}
			f = lex(name, content)
			f.vmlinux = vmlinux
			f.findTypes()
		}
		s.headers.files[name] = f
	}
	return f
}

// isVmlinux reports whether a header is of the kernel's types. They are thousands,
// and nothing of them makes symbols.
func isVmlinux(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, "vmlinux") && strings.HasSuffix(base, ".h")
}

// directives returns the lines of a header that the preprocessor follows, each in
// its place.
func directives(content []byte) []byte {
	out := make([]byte, 0, 4<<10)
	continued := false // the line goes on
	for line := range bytes.Lines(content) {
		trimmed := bytes.TrimSpace(line)
		if continued || bytes.HasPrefix(trimmed, []byte("#")) {
			out = append(out, line...)
			continued = bytes.HasSuffix(trimmed, []byte("\\"))
			continue
		}
		out = append(out, '\n')
	}
	return out
}

// finish decides what is in the object.
func (u *unit) finish() {
	u.reach()
	u.describe()
}

// reach finds the declarations that the object needs, from those that it has whoever
// uses them.
func (u *unit) reach() {
	queue := u.queue[:0]
	reach := func(d *decl, at Pos) {
		if d.used {
			return
		}
		d.used, d.usedAt = true, at
		queue = append(queue, d)
	}
	for _, d := range u.order {
		if d.root() {
			reach(d, d.pos)
		}
	}
	generic := false
	follow := func(maybe bool) {
		for len(queue) > 0 {
			d := queue[len(queue)-1]
			queue = queue[:len(queue)-1]
			for i := range d.refs {
				ref := &d.refs[i]
				if !u.declared.mayHaveCode(ref.code) {
					continue
				}
				if ref.maybe && !maybe {
					generic = true
				} else if to := u.decls[ref.name]; to != nil && to != d && !to.used {
					to.maybe = maybe
					reach(to, Pos{File: ref.file.name, Line: int(ref.line)})
				}
			}
		}
	}
	follow(false)
	if generic {
		for _, d := range u.order {
			if d.used {
				queue = append(queue, d)
			}
		}
		follow(true)
	}
	u.queue = queue
}

// symbolName is the name that the object has for a declaration.
func (d *decl) symbolName() string {
	if d.label != "" {
		return d.label
	}
	return d.name
}

// symbol describes a declaration.
func (d *decl) symbol() Symbol {
	s := Symbol{
		Name: d.symbolName(), Kind: Variable, Linkage: Global, Hidden: d.hidden, Section: d.section,
		Defined: d.defined, Used: d.used, Pos: d.pos, Maybe: d.maybe,
	}
	switch {
	case d.function && d.defined && isProgramSection(d.section):
		s.Kind = Program
	case d.function:
		s.Kind = Function
	case d.section == ".maps" || d.section == "maps":
		s.Kind = Map
	}
	switch {
	case d.static || d.defined && d.inlineOnly():
		s.Linkage = Static
	case d.weak:
		s.Linkage = Weak
	}
	if !d.defined && d.used {
		s.UsedAt = d.usedAt
	}
	return s
}

// describe makes symbols of the declarations.
func (u *unit) describe() {
	u.order = slices.DeleteFunc(u.order, func(d *decl) bool { return !d.object() })
	slices.SortStableFunc(u.order, func(a, b *decl) int { return strings.Compare(a.symbolName(), b.symbolName()) })
	brief := u.pp.scanner.brief && !u.file.ArchDependent
	symbols := u.symbols[:0]
	if !brief {
		symbols = make([]Symbol, 0, len(u.order))
	}
	definitions, externs := 0, 0
	for _, d := range u.order {
		s := d.symbol()
		switch {
		case s.offered():
			definitions++
		case s.needed():
			externs++
		}
		if s.Kind == Program && s.Used {
			u.file.programs++
		}
		symbols = append(symbols, s)
		if d.defined && d.section == "license" {
			u.file.HasLicense = true
			u.file.License = d.text
		}
	}
	if brief {
		u.symbols = symbols
	} else {
		u.file.Symbols = symbols
	}
	some := make([]Symbol, definitions+externs)
	u.file.definitions, u.file.externs = some[:0:definitions], some[definitions:definitions]
	for i := range symbols {
		switch s := &symbols[i]; {
		case s.offered():
			u.file.definitions = append(u.file.definitions, *s)
		case s.needed():
			u.file.externs = append(u.file.externs, *s)
		}
	}
}

// Union returns what a file is on several architectures together. Of a symbol that
// the file defines on one and needs on another, it says that it is defined. An
// architecture that the file rejects with #error is left out, unless it rejects
// all of them. The first file gives the name, and stays as it is.
func Union(files ...*File) *File {
	accepted := slices.DeleteFunc(slices.Clone(files), func(f *File) bool {
		return slices.ContainsFunc(f.Problems, func(p Problem) bool { return p.Rejected })
	})
	if len(accepted) == 0 {
		return files[0]
	}
	all := &File{Name: files[0].Name, ArchDependent: true}
	symbols := make(map[string]Symbol)
	includes := make(map[Include]bool)
	for _, f := range accepted {
		for _, inc := range f.Includes {
			if !includes[inc] {
				includes[inc] = true
				all.Includes = append(all.Includes, inc)
			}
		}
		for _, p := range f.Problems {
			if !slices.Contains(all.Problems, p) {
				all.Problems = append(all.Problems, p)
			}
		}
		for _, s := range f.Symbols {
			if other, known := symbols[s.Name]; !known || s.rank() > other.rank() {
				symbols[s.Name] = s
			}
		}
		all.Records = all.Records || f.Records
		if f.HasLicense && !all.HasLicense {
			all.HasLicense, all.License = true, f.License
		}
		all.programs = max(all.programs, f.programs)
	}
	for _, name := range slices.Sorted(maps.Keys(symbols)) {
		s := symbols[name]
		all.Symbols = append(all.Symbols, s)
		switch {
		case s.offered():
			all.definitions = append(all.definitions, s)
		case s.needed():
			all.externs = append(all.externs, s)
		}
	}
	return all
}

// rank orders several symbols of one name: the highest one stands for all.
func (s *Symbol) rank() int {
	switch {
	case s.offered():
		return 3
	case s.needed() && !s.Maybe:
		return 2
	case s.needed():
		return 1
	}
	return 0
}

// offered reports whether other files may refer to the symbol.
func (s *Symbol) offered() bool { return s.Defined && s.Linkage != Static && s.Used }

// needed reports whether another file must define the symbol, or may.
func (s *Symbol) needed() bool { return !s.Defined && s.Used && !s.Kernel() }

func isProgramSection(section string) bool {
	return section != "" && section != ".text" && !strings.HasPrefix(section, ".text.")
}
