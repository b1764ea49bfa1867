// Package linker makes one BPF object of several, as ld -r does for other
// machines. It knows what makes BPF objects different: they contain their types,
// maps are variables, and loaders need functions and variables described without
// gaps or contradictions.
//
// # Model
//
// An input is an [object]: an ELF file, the types in its section .BTF, and what
// .BTF.ext knows of single instructions. Linking takes these steps:
//
//   - Read. Sections that no loader reads (debug information, the compiler's
//     notes) are left behind.
//   - Resolve. A name that is not static is one [globalSymbol] for all files. What a
//     file has under the name is a [symbolRef] to it, and at most one of them is its
//     definition: the strong one, else the first weak one.
//   - Check. All references to a global symbol must have one type, and one section: a
//     kconfig value in one file cannot be a variable in another.
//   - Lay out. Sections of one name become one [section], in which each file's
//     section is an [inputSection]. A definition that lost, such as the body of a weak
//     function, is cut out of it, unless something refers to it without its name.
//   - Relocate. Offsets into a section are adjusted to where their targets have moved,
//     those in jump tables too. Relocations stay relocations: the result is for a loader.
//   - Describe. Types of all files become one .BTF, in which types with one
//     structure are one type. Variables and functions are never merged, as two
//     static ones may be equal in all that BTF says; but the one that the result has
//     inherits the declaration tags of all that have its name. DATASECs and .BTF.ext are
//     rebuilt.
//   - Finish. The result of a final link is given the form that loaders take, by
//     [loadform.Final].
//
// In all of this order matters only where C programmers expect it: between weak
// definitions. The same files in the same order give the same bytes.
//
// # Rules
//
// Two strong definitions of a name are an error. A declaration (extern) never
// defines, and is weak only if all declarations of the name are. A name that is
// hidden in one file is hidden in the result. Static names are their file's own,
// and several files may have equal ones.
//
// Every name that is not static needs BTF. Types are compared by structure: kinds,
// names, sizes, members and parameters; names of parameters, and typedefs and
// qualifiers, do not matter, nor does the length of a variable that is an array,
// which a declaration may leave out. What is behind a pointer is compared by name.
// Declarations of maps must say what the definition says.
//
// A file that defines and refers to nothing has no BTF, and adds nothing. A link of
// such files alone is an error.
//
// Sections of one name must have the same flags and entries of the same size, and
// are concatenated. One may have contents where another is zeros (SHT_NOBITS): the
// result has contents. Sections license and version must be equal and are kept
// once.
//
// What is declared and defined in no file is an error, except in a partial link,
// whose result is to be linked again. Values of the kernel (__kconfig, __ksym) are
// exempt: loaders know them. A weak declaration without a definition is
// the address 0, as in C; a call of it is an instruction that the verifier rejects
// where it can be reached. Where a function is declared weak and there is one, its
// address is a number other than 0: the verifier lets no program have the address of
// a function that is not static, and "if (f) f();" only checks that it exists.
//
// Names that the caller lists stay declared in the result of a final link, weak or
// not: a loader of the user's own fills them in.
//
// In a final link weak definitions become global ones: there is no file left that
// could replace them, and loaders require some to be global.
//
// # libbpf
//
// The rules are those of libbpf's linker. It differs in what it gets wrong: offsets
// of variables that were first seen as extern or weak, statics that share a name
// with a global, weak definitions in two sections, a weak definition that a strong
// one follows after a strong declaration.
package linker

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/glob"
	"github.com/rules-bpf/rules_bpf/tool/internal/loadform"
)

// Input is an object file.
type Input struct {
	// Name is what errors call the file.
	Name string
	// Data are its contents.
	Data []byte
}

// Options are what a link can be asked for.
type Options struct {
	// Partial leaves declarations without a definition as they are, and weak
	// definitions weak: the result is an input of another link.
	Partial bool
	// AllowUndefined are the names, as patterns of package glob, that a final link
	// leaves declared where no file defines them: the loader is one of the user's own,
	// and fills them in. libbpf, cilium/ebpf and the loader of generated code do not
	// take such an object.
	AllowUndefined []string
	// Remedy ends the errors of undefined names: it says what to do. Empty, it is what
	// fits the command bpfgen link.
	Remedy string
}

// Link links the inputs and returns the object file. It does not panic, whatever
// the inputs are. An error can be a list of several, each of which starts with the
// name of a file.
func Link(inputs []Input, opts Options) ([]byte, error) {
	if len(inputs) == 0 {
		return nil, errors.New("no object files given")
	}
	l := newLinker(opts)
	for _, step := range []func() error{
		func() error { return l.read(inputs) },
		l.resolve,
		l.check,
		l.layOut,
		l.undefined,
		l.symbols,
		l.contents,
		l.relocate,
		l.describe,
		l.finish,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	data, err := l.out.Bytes()
	if err != nil {
		return nil, inFile(inputs[0].Name, err)
	}
	return data, nil
}

// finish gives the result of a final link the form that loaders take.
func (l *linker) finish() error {
	if l.opts.Partial {
		return nil
	}
	if err := loadform.Final(l.out); err != nil {
		return inFile(l.objects[0].name, err)
	}
	return nil
}

// Undefined returns an error that lists the names that a file declares, uses and does
// not define, for callers that use the file without linking it. It looks at nothing
// else: what a link would refuse is not an error here.
func Undefined(in Input) error {
	l := newLinker(Options{})
	for _, step := range []func() error{
		func() error { return l.read([]Input{in}) },
		l.resolve,
		l.check,
		l.layOut,
	} {
		if step() != nil {
			return nil
		}
	}
	l.findReferences()
	var errs []error
	for g := range l.all {
		if g.def == nil && g.externSection == "" && g.reachable != nil {
			remedy := "link the object with the file that defines it (bpfgen link, or deps of a rule), or declare it __kconfig or __ksym: generated code fills in no other names"
			if g.weak(false) {
				remedy = "link the object, also if it is the only one (bpfgen link): a weak name that no file defines is 0 then"
			}
			errs = append(errs, g.missing(remedy))
		}
	}
	return errors.Join(errs...)
}

// linker is the state of a link.
type linker struct {
	opts    Options
	objects []*object
	// globals are the names that files share, names in the order in which they were
	// first seen.
	globals map[string]*globalSymbol
	names   []string
	// sections are those of the result, in the order in which they were first seen.
	sections []*section
	byName   map[string]*section
	// tables are the jump tables that are moved, with the sections of code that refer to
	// them.
	tables map[*elfobj.Symbol]*inputSection
	out    *elfobj.File
}

func newLinker(opts Options) *linker {
	return &linker{opts: opts, globals: make(map[string]*globalSymbol), byName: make(map[string]*section), tables: make(map[*elfobj.Symbol]*inputSection)}
}

func (l *linker) order() binary.ByteOrder { return l.out.Order }

// all returns the globals in the order of names.
func (l *linker) all(yield func(*globalSymbol) bool) {
	for _, name := range l.names {
		if !yield(l.globals[name]) {
			return
		}
	}
}

// allows reports whether the name may be left undefined.
func (l *linker) allows(name string) bool {
	return glob.MatchAny(l.opts.AllowUndefined, name)
}

// section is a section of the result.
type section struct {
	*elfobj.Section
	inputs []*inputSection
	// symbol stands for the start of the section; nil until something refers to it.
	symbol *elfobj.Symbol
}

// isSingleton reports whether the section is one of those that are equal in all files.
func isSingleton(name string) bool { return name == "license" || name == "version" }

// inFile puts the name of a file before an error.
func inFile(name string, err error) error { return fmt.Errorf("%s: %w", name, err) }
