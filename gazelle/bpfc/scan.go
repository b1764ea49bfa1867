package bpfc

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// A Scanner scans files. It keeps the tokens of the headers that it opened, so
// that many files may include one. It can be used by several goroutines.
type Scanner struct {
	open OpenFunc
	// prelude has the macros that every file begins with.
	prelude map[string]*macro
	names   words

	mu    sync.Mutex
	files map[string]*lexed
	// The flags of the last file.
	flagList  []string
	flagLines *lexed
}

// OpenFunc finds the file that a file includes. It returns the file's name,
// which must be the same for the same file however it is included, and a
// function that reads it. It returns false for a file that is not to be opened,
// such as vmlinux.h or a header of the system.
type OpenFunc func(from, path string, angled bool) (name string, read func() ([]byte, bool), ok bool)

// NewScanner makes a Scanner. open may be nil: then no header is opened.
func NewScanner(open OpenFunc) *Scanner {
	s := &Scanner{open: open, files: make(map[string]*lexed)}
	p := newPreprocessor()
	p.begin(s, new(File))
	p.read(lex("<prelude>", []byte(prelude)))
	s.prelude, s.names = p.macros, p.names
	for _, name := range dynamic {
		s.names.add(name)
	}
	return s
}

// A Pos is a place in a file. Line counts from 1.
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
type Kind string

// The kinds of symbols. A program is a function with SEC(), a map a variable in
// the section ".maps".
const (
	Program  Kind = "program"
	Function Kind = "function"
	Map      Kind = "map"
	Variable Kind = "variable"
)

// Linkage says who may use a symbol.
type Linkage string

// The linkages. Weak is a global symbol that another definition replaces;
// an extern that is weak need not be defined at all.
const (
	Global Linkage = "global"
	Weak   Linkage = "weak"
	Static Linkage = "static"
)

// A Symbol is a function, variable or map that a file defines, or declares and
// uses.
type Symbol struct {
	Name    string
	Kind    Kind
	Linkage Linkage
	// Hidden is set for what is invisible outside of the linked object.
	Hidden bool
	// Section is the argument of SEC(), or empty.
	Section string
	// Defined is not set for an extern.
	Defined bool
	// Used is set when the object needs the symbol: for a definition when it is
	// global or something that is in the object refers to it.
	Used bool
	Pos  Pos
	// UsedAt is where an extern is used for the first time.
	UsedAt Pos
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
	// ArchDependent is set when a conditional asks for the architecture. Then File
	// says what there is for the one of the flags; see Union.
	ArchDependent bool

	definitions, externs []Symbol
	programs             int
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
// The architecture is among them, as __TARGET_ARCH_x86.
func (s *Scanner) Scan(name string, content []byte, defines []string) *File {
	file := &File{Name: name}
	u := units.Get().(*unit)
	u.begin(s, file)
	if len(defines) > 0 {
		u.pp.read(s.flags(defines))
	}
	main := lexInto(u.tokens[:0], name, content)
	u.pp.pushFile(main)
	u.toks = u.parse(u.toks[:0])
	u.finish()
	file.Includes = append([]Include(nil), u.pp.includes...)

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

// flags returns the directives that flags stand for. Most files have the same.
func (s *Scanner) flags(defines []string) *lexed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flagLines == nil || !slices.Equal(s.flagList, defines) {
		s.flagList = slices.Clone(defines)
		s.flagLines = lex("<command line>", []byte(defineLines(defines)))
	}
	return s.flagLines
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

func (s *Scanner) resolve(from, path string, angled bool) (string, bool) {
	name, read, ok := s.open(from, path, angled)
	if !ok {
		return "", false
	}
	return name, s.lexed(name, read) != nil
}

// lexed returns the tokens of a header, or nil when it cannot be read.
func (s *Scanner) lexed(name string, read func() ([]byte, bool)) *lexed {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, known := s.files[name]
	if !known && read != nil {
		if content, ok := read(); ok {
			f = lex(name, content)
		}
		s.files[name] = f
	}
	return f
}

// finish decides what is in the object.
func (u *unit) finish() {
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

	symbol := func(d *decl) string {
		if d.label != "" {
			return d.label
		}
		return d.name
	}
	u.order = slices.DeleteFunc(u.order, func(d *decl) bool { return !d.object() })
	slices.SortStableFunc(u.order, func(a, b *decl) int { return strings.Compare(symbol(a), symbol(b)) })
	symbols := make([]Symbol, 0, len(u.order))
	definitions, externs := 0, 0
	for _, d := range u.order {
		s := Symbol{
			Name: symbol(d), Kind: Variable, Linkage: Global, Hidden: d.hidden, Section: d.section,
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
	u.file.Symbols = symbols
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

// rank says which of several symbols of one name stands for all.
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
