package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"go/build/constraint"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/gogenerate"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpftarget"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/sections"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

// generation is what one line of go generate asks for. Its flags are those of cilium/ebpf's
// bpf2go, and some more.
type generation struct {
	// ident is the name of the object, and begins the names in the Go files.
	ident   string
	sources []string
	// cc is the compiler, with what stands before its arguments ("ccache clang").
	cc      []string
	cflags  []string
	targets []bpftarget.Target
	tags    constraint.Expr
	pkg     string
	// dir is where the files are written, and they are called stem, _, the target's
	// suffix, suffix and .go.
	dir, stem, suffix string
	makeBase          string
	verbose           bool
	library           bool
	noPrefix          bool
	keepELF           bool
	types             []string
	subskeletons      []skelgen.Sub
	// variants are the names of the variants with the flags for the compiler that each has.
	variants []variantFlag
	// typesFrom is a package of shared types, nil for none: what check has read of
	// typesFromArg.
	typesFrom    *skelgen.TypesFrom
	typesFromArg *typesFromArg
	policy       *sections.Policy
}

const generateUsage = "[FLAG]... NAME FILE.c... [-- CLANGFLAG...]"

const generateHelp = `
NAME begins the names in the Go files, which are exported when it begins with a capital
letter. The flags are those of bpf2go, and stand before, between or after the names, up to
--. In a Go file:

	//go:generate go tool bpfgen generate -type event counter counter.bpf.c -- -I../headers
	//go:generate go tool bpfgen generate -no-prefix -target amd64,arm64 edge edge.bpf.c ../ratelimit/ratelimit.bpf.c
	//go:generate go tool bpfgen generate -library ratelimit ratelimit.bpf.c
`

func generate(fs *flag.FlagSet, args []string, std streams) error {
	g, notes, err := parseGenerate(fs, args, os.Getenv)
	if err != nil {
		return err
	}
	if err := g.check(); err != nil {
		return err
	}
	if std.location, err = lineLocation(os.Getenv); err != nil {
		return err
	}
	for _, note := range notes {
		std.note(note)
	}
	var others []otherLine
	if file := os.Getenv("GOFILE"); file != "" {
		line, _ := strconv.Atoi(os.Getenv("GOLINE"))
		if others, err = g.otherLines(file, line); err != nil {
			return err
		}
		if err := g.checkOthers(others); err != nil {
			return err
		}
	}
	if err := g.run(std); err != nil {
		return err
	}
	return g.noteStale(std, others)
}

// lineLocation returns the location of the line in the module that go generate runs,
// "edge/main.go:7: ", and nothing where the command was called otherwise. go generate ./...
// prints it only of commands that fail.
func lineLocation(getenv func(string) string) (string, error) {
	if getenv("GOFILE") == "" {
		return "", nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	file, err := filepath.Rel(moduleRoot(dir), filepath.Join(dir, getenv("GOFILE")))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s:%s: ", quote.Text(filepath.ToSlash(file)), getenv("GOLINE")), nil
}

// note writes something that is worth knowing and not a fault.
func (s streams) note(text string) { fmt.Fprintf(s.stderr, "bpfgen: note: %s%s\n", s.location, text) }

// parseGenerate reads the command line, and no file: check does. getenv is the
// environment's. notes say which flags of bpf2go mean something else here, or nothing.
func parseGenerate(fs *flag.FlagSet, args []string, getenv func(string) string) (g *generation, notes []string, err error) {
	g = &generation{}
	verbose, _ := strconv.ParseBool(getenv("V"))
	fs.BoolVar(&g.verbose, "verbose", verbose, "print the commands that run and the files that are written ($V)")
	cc := fs.String("cc", "", "C `compiler`, clang 14 or newer; may have arguments, as \"ccache clang\" ($BPF_CLANG, $BPF2GO_CC, clang)")
	cflags := fs.String("cflags", "", "`flags` for the compiler, before those after --; quotes are as in a shell ($BPF_CFLAGS, $BPF2GO_CFLAGS)")
	target := fs.String("target", "bpfel,bpfeb", "`targets` to compile for, separated by commas: "+bpftarget.Names())
	tags := fs.String("tags", "", "build `tags` that the files have besides: a comma is and, a space is or, ! is not")
	fs.StringVar(&g.pkg, "go-package", "", "`name` of the files' package ($GOPACKAGE)")
	fs.StringVar(&g.dir, "output-dir", "", "`directory` for the files, which must exist; the current one unless set")
	fs.StringVar(&g.stem, "output-stem", "", "`beginning` of the files' names; NAME in small letters unless set")
	fs.StringVar(&g.stem, "stem", "", "short for -output-`stem`")
	fs.StringVar(&g.suffix, "output-suffix", "", "`end` of the files' names; _test unless set when $GOFILE is a test")
	fs.StringVar(&g.makeBase, "makebase", "", "write a makefile FILE.go.d for each file, with what it is made from, relative to `directory` ($BPF2GO_MAKEBASE)")
	fs.BoolVar(&g.noPrefix, "no-prefix", false, "declare Skeleton, Open and so on, without NAME: the object has the Go package for itself")
	fs.BoolVar(&g.library, "library", false, "write a subskeleton, that of a library to link into other objects; it has the Go package for itself")
	fs.BoolVar(&g.keepELF, "elf", false, "put the object file into the package too: Object.ELF returns it")
	types := typesFlag(fs)
	fs.Func("subskeleton", "`NAME=IMPORTPATH` of the subskeleton of a library among the sources, which the skeleton opens; may be repeated", func(arg string) error {
		sub, err := skelgen.ParseSub(arg)
		g.subskeletons = append(g.subskeletons, sub)
		return err
	})
	g.typesFromArg = typesFromFlag(fs)
	fs.Func("variant", "`NAME=FLAGS` of a variant of the object, with flags for the compiler after those that all have, as v61=-DKERNEL=601; repeated for each variant, of which the Go file has all", func(arg string) error {
		v, err := parseVariant(arg)
		g.variants = append(g.variants, v)
		return err
	})
	g.policy = sectionFlags(fs)
	strip := fs.String("strip", "", "not needed: a `program` for bpf2go to strip debug information with, which is never in the files here")
	noStrip := fs.Bool("no-strip", false, "not needed: see -strip")
	noGlobalTypes := fs.Bool("no-global-types", false, "not needed: the Go types of maps and variables are always declared")

	positional, clangFlags, err := parseMixed(fs, args)
	if err != nil {
		return nil, nil, err
	}
	if *strip != "" || *noStrip {
		notes = append(notes, "-strip and -no-strip do nothing: no debug information is in the Go files: leave them out")
	}
	if *noGlobalTypes {
		notes = append(notes, "-no-global-types does nothing: fields of the skeleton have these types: leave it out")
	}
	if len(positional) < 2 {
		return nil, nil, usageError{fmt.Errorf("%d names given: want NAME, which begins the Go names, and the C file", len(positional))}
	}
	g.ident, g.sources, g.types = positional[0], positional[1:], *types
	if err := g.setCompiler(cmp.Or(*cc, getenv("BPF_CLANG"), getenv("BPF2GO_CC"), "clang"), cmp.Or(*cflags, getenv("BPF_CFLAGS"), getenv("BPF2GO_CFLAGS")), clangFlags); err != nil {
		return nil, nil, err
	}
	var more []string
	if g.targets, more, err = bpftarget.Parse(*target); err != nil {
		return nil, nil, fmt.Errorf("-%w", err)
	}
	if *tags != "" {
		if g.tags, err = parseTags(*tags); err != nil {
			return nil, nil, err
		}
	}
	g.pkg = cmp.Or(g.pkg, getenv("GOPACKAGE"))
	g.makeBase = cmp.Or(g.makeBase, getenv("BPF2GO_MAKEBASE"))
	g.stem = cmp.Or(g.stem, strings.ToLower(g.ident))
	suffixed := false
	fs.Visit(func(f *flag.Flag) { suffixed = suffixed || f.Name == "output-suffix" })
	if !suffixed && strings.HasSuffix(getenv("GOFILE"), "_test.go") {
		g.suffix = "_test"
	}
	return g, append(notes, more...), nil
}

// parseTags reads build tags in the syntax of build constraints before Go 1.17, as bpf2go
// takes them. Where that syntax has no such word, Go's parser makes the tag ignore of it.
func parseTags(tags string) (constraint.Expr, error) {
	expr, err := constraint.Parse("// +build " + tags)
	if err != nil || strings.Contains(expr.String(), "ignore") && !strings.Contains(tags, "ignore") {
		return nil, fmt.Errorf("-tags %q: is not a list of build tags: want names with a comma for and, a space for or, and ! for not", tags)
	}
	return expr, nil
}

// parseMixed parses flags before, between and after the other arguments, as far as a --,
// and returns these and what follows the --.
func parseMixed(fs *flag.FlagSet, args []string) (positional, rest []string, err error) {
	if i := slices.Index(args, "--"); i >= 0 {
		args, rest = args[:i], args[i+1:]
	}
	for {
		if err := parse(fs, args); err != nil {
			if len(positional) >= 2 {
				err = usageError{fmt.Errorf("%w: flags for clang come after --", err)}
			}
			return nil, nil, err
		}
		args = fs.Args()
		if len(args) == 0 {
			return positional, rest, nil
		}
		positional, args = append(positional, args[0]), args[1:]
	}
}

func (g *generation) setCompiler(cc, cflags string, rest []string) error {
	var err error
	if g.cc, err = gogenerate.Fields(cc); err != nil {
		return fmt.Errorf("-cc %s: %w", cc, err)
	}
	if len(g.cc) == 0 || g.cc[0] == "" {
		return fmt.Errorf("-cc %q: names no compiler: give the path of clang, or leave -cc out", cc)
	}
	words, err := gogenerate.Fields(cflags)
	if err != nil {
		return fmt.Errorf("-cflags %s: %w", cflags, err)
	}
	g.cflags = slices.Concat(words, rest)
	for i, v := range g.variants {
		if g.variants[i].flags, err = gogenerate.Fields(v.value); err != nil {
			return fmt.Errorf("-variant %s=%s: %w", v.name, v.value, err)
		}
		words = append(words, g.variants[i].flags...)
	}
	for _, word := range append(words, rest...) {
		switch {
		case strings.HasPrefix(word, "-M"):
			return fmt.Errorf("%s: dependency files are what -makebase writes: use it instead", word)
		case word == "-o" || word == "-S" || word == "-E" || word == "-emit-llvm":
			return fmt.Errorf("%s: the compiler has to write an object, and bpfgen says where: leave it out", word)
		}
	}
	return nil
}

// check returns what is wrong with the command line, and reads the list of shared types.
func (g *generation) check() error {
	if err := skelgen.CheckPrefix(g.ident); err != nil {
		return fmt.Errorf("NAME %w", err)
	}
	if g.pkg == "" {
		return usageError{errors.New("no Go package: run it from go generate, which sets $GOPACKAGE, or give -go-package")}
	}
	if err := skelgen.CheckPackage(g.pkg); err != nil {
		return fmt.Errorf("-go-package %w", err)
	}
	for _, part := range []struct{ flag, value string }{{"stem", g.stem}, {"suffix", g.suffix}} {
		if strings.ContainsAny(part.value, `/\`) || quote.Text(part.value) != part.value {
			return fmt.Errorf("-output-%s %q: is part of a file's name: use no slashes and what can be printed; -output-dir says where", part.flag, part.value)
		}
	}
	if g.stem[0] == '_' || g.stem[0] == '.' {
		return fmt.Errorf("-output-stem %s: Go does not read files whose names begin so: give another", g.stem)
	}
	for i, name := range g.types {
		if slices.Contains(g.types[:i], name) {
			return fmt.Errorf("-type %s: is given twice: name it once", quote.Name(name))
		}
	}
	if g.library && (len(g.subskeletons) > 0 || g.keepELF || len(g.variants) > 0 || g.typesFromArg.names != "") {
		return usageError{errors.New("-library is for what objects are linked with: -subskeleton, -variant, -types-from and -elf are for the objects")}
	}
	if err := g.checkSources(); err != nil {
		return err
	}
	var err error
	g.typesFrom, err = g.typesFromArg.read()
	return err
}

func (g *generation) checkSources() error {
	for i, name := range g.sources {
		if quote.Text(name) != name {
			return fmt.Errorf("%q: has characters that cannot be printed: rename the file", name)
		}
		if slices.Contains(g.sources[:i], name) {
			return fmt.Errorf("%s: is given twice: name it once", name)
		}
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("%s: there is no such C file: correct the name, which is relative to the directory of the Go file", name)
		case err != nil:
			return inFile(name, err)
		case info.IsDir():
			return fmt.Errorf("%s: is a directory: give the C files", name)
		}
	}
	if g.dir != "" {
		if info, err := os.Stat(g.dir); err != nil || !info.IsDir() {
			return fmt.Errorf("-output-dir %s: there is no such directory: make it first", quote.Name(g.dir))
		}
	}
	return nil
}

// prefix begins the names in the Go files.
func (g *generation) prefix() string {
	if g.noPrefix || g.library {
		return ""
	}
	return g.ident
}

// output returns the name of the Go file for a target.
func (g *generation) output(t *bpftarget.Target) string {
	return filepath.Join(g.dir, g.stem+"_"+t.Suffix+g.suffix+".go")
}

// run writes the files: all of them, or none.
func (g *generation) run(std streams) error {
	if _, err := exec.LookPath(g.cc[0]); err != nil {
		return fmt.Errorf("%s: there is no such compiler: install clang 14 or newer (Debian, Ubuntu: apt install clang; Fedora: dnf install clang), or say where it is with -cc or $BPF_CLANG", quote.Text(g.cc[0]))
	}
	temp, err := os.MkdirTemp("", "bpfgen-")
	if err != nil {
		return fmt.Errorf("%s: no directory can be made in it: %w: set $TMPDIR to one for temporary files", os.TempDir(), quote.Cause(err))
	}
	defer os.RemoveAll(temp)
	c, err := newCompiler(g, temp, std)
	if err != nil {
		return err
	}
	var outputs []*output
	defer func() {
		for _, o := range outputs {
			o.discard()
		}
	}()
	add := func(name string, data []byte) error {
		o, err := newOutput(name)
		if err != nil {
			return err
		}
		outputs = append(outputs, o)
		return os.WriteFile(o.temp, data, 0o666)
	}
	for i := range g.targets {
		t := &g.targets[i]
		src, deps, err := c.source(t)
		if err != nil {
			return err
		}
		name := g.output(t)
		if err := add(name, src); err != nil {
			return err
		}
		if g.makeBase == "" {
			continue
		}
		rules, err := g.makefile(name, deps)
		if err != nil {
			return err
		}
		if err := add(name+".d", rules); err != nil {
			return err
		}
	}
	for _, o := range outputs {
		if err := o.commit(); err != nil {
			return err
		}
		if g.verbose {
			std.note("wrote " + quote.Text(o.name))
		}
	}
	g.noteObjects(std)
	return nil
}

// source returns the Go file for a target, and the files that it was made from: the
// sources, then headers and the list of shared types.
func (c *compiler) source(t *bpftarget.Target) (src []byte, deps []string, err error) {
	expr := t.Constraint()
	if c.tags != nil {
		expr = &constraint.AndExpr{X: expr, Y: c.tags}
	}
	opts := skelgen.Options{
		Package: c.pkg, Prefix: c.prefix(), Types: c.types, Subskeletons: c.subskeletons, TypesFrom: c.typesFrom,
		Command: "generate", Sources: strings.Join(baseNames(c.sources), ", "), Constraint: expr,
	}
	name := c.ident + ".bpf.o"
	if c.library {
		inputs, deps, err := c.compile(t, variantFlag{})
		if err != nil {
			return nil, nil, err
		}
		src, err := c.librarySource(name, inputs, opts)
		return src, deps, err
	}
	variants := c.variants
	if len(variants) == 0 {
		variants = []variantFlag{{}}
	}
	var objects []skeletonInput
	for _, v := range variants {
		inputs, read, err := c.compile(t, v)
		if err != nil {
			return nil, nil, err
		}
		for _, dep := range read {
			if !slices.Contains(deps, dep) {
				deps = append(deps, dep)
			}
		}
		elf, err := linker.Link(inputs, linker.Options{Remedy: "add the file that defines it to the C files of the line, or declare it __weak, __kconfig or __ksym"})
		if err != nil {
			return nil, nil, err
		}
		warnInputs(c.std, inputs, c.policy)
		objects = append(objects, skeletonInput{
			file: strings.Join(c.sources, ", "), name: name, variant: v.name, elf: elf, policy: c.policy, linked: true, keepELF: c.keepELF,
		})
	}
	if c.typesFromArg.names != "" {
		deps = append(deps, c.typesFromArg.names)
	}
	src, err = skeletonOf(c.std, objects, opts)
	return src, deps, err
}

// librarySource returns the Go file for a library. inputs are its objects, which have the
// names of their sources.
func (c *compiler) librarySource(name string, inputs []linker.Input, opts skelgen.Options) ([]byte, error) {
	lib, err := libraryOf(name, inputs)
	if err != nil {
		return nil, err
	}
	c.std.warnLosses(c.sources[0], lib.Losses)
	c.std.warn(c.sources[0], lib.AddressWarnings)
	src, err := skelgen.Subskeleton(lib, opts)
	if err != nil {
		return nil, inFile(c.sources[0], err)
	}
	return src, nil
}

// baseNames returns the paths' last elements: what is written is the same whatever the
// directory.
func baseNames(paths []string) []string {
	var names []string
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	return names
}
