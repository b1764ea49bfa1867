package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpftarget"
	"github.com/rules-bpf/rules_bpf/tool/internal/depfile"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
)

// compiler compiles the sources of a generation.
type compiler struct {
	*generation
	// temp is a directory for what it writes.
	temp string
	std  streams
	// maps are flags that keep paths of this machine out of the object.
	maps []string
}

func newCompiler(g *generation, temp string, std streams) (*compiler, error) {
	maps, err := prefixMaps()
	if err != nil {
		return nil, err
	}
	// The targets are compiled from the same sources, and most warnings are the same for
	// all.
	std.stderr = &onceWriter{w: std.stderr, written: make(map[string]bool)}
	return &compiler{generation: g, temp: temp, std: std, maps: maps}, nil
}

// onceWriter writes each text once: what a call of Write gets as a whole.
type onceWriter struct {
	w       io.Writer
	written map[string]bool
}

func (w *onceWriter) Write(text []byte) (int, error) {
	key := withoutLine(string(text))
	if w.written[key] {
		return len(text), nil
	}
	w.written[key] = true
	return w.w.Write(text)
}

// prefixMaps returns flags that make paths in the module of the current directory
// relative to that: what a program knows of its sources (the lines in the verifier's log,
// __FILE__) is then the same wherever the module lies. Relative paths are so already.
func prefixMaps() ([]string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	flags := []string{"-fdebug-compilation-dir=."}
	spellings := []string{dir}
	if real, err := filepath.EvalSymlinks(dir); err == nil && real != dir {
		spellings = append(spellings, real)
	}
	for _, dir := range spellings {
		root := moduleRoot(dir)
		rel, err := filepath.Rel(dir, root)
		if err != nil {
			return nil, err
		}
		flags = append(flags, "-ffile-prefix-map="+root+"="+filepath.ToSlash(rel))
	}
	return flags, nil
}

// moduleRoot returns the directory of the go.mod above dir, or dir when there is none.
func moduleRoot(dir string) string {
	for d := dir; ; d = filepath.Dir(d) {
		if info, err := os.Stat(filepath.Join(d, "go.mod")); err == nil && !info.IsDir() {
			return d
		}
		if d == filepath.Dir(d) {
			return dir
		}
	}
}

// withoutLine returns a warning without where a variable is declared, " (file:line): ". Of a
// big-endian object that is not known: debug/dwarf does not read the names in it.
func withoutLine(text string) string {
	before, rest, ok := strings.Cut(text, " (")
	place, after, closed := strings.Cut(rest, "): ")
	if !ok || !closed || strings.ContainsAny(place, "()\n") {
		return text
	}
	return before + ": " + after
}

// compile returns the objects of the sources for a target, by the names of the sources,
// and the files that they were made from: the sources, then headers. variant is the zero
// value for an object that has none.
func (c *compiler) compile(t *bpftarget.Target, variant variantFlag) (objects []linker.Input, deps []string, err error) {
	var headers []string
	for i, source := range c.sources {
		object := filepath.Join(c.temp, fmt.Sprintf("%s-%d.o", t.Suffix, i))
		if err := c.clang(t, variant, source, object); err != nil {
			return nil, nil, err
		}
		data, err := os.ReadFile(object)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %s wrote no object: %w", source, c.cc[0], quote.Cause(err))
		}
		objects = append(objects, linker.Input{Name: source, Data: data})
		read, err := readDeps(object + ".d")
		if err != nil {
			return nil, nil, fmt.Errorf("%s: the dependency file that %s wrote: %w", source, c.cc[0], quote.Cause(err))
		}
		for _, dep := range read {
			if !slices.Contains(c.sources, dep) && !slices.Contains(headers, dep) {
				headers = append(headers, dep)
			}
		}
	}
	return objects, slices.Concat(c.sources, headers), nil
}

// clang runs the compiler. Users' flags, and after these the variant's, can replace what
// stands before them.
func (c *compiler) clang(t *bpftarget.Target, variant variantFlag, source, object string) error {
	args := slices.Concat(c.cc[1:], []string{"-O2", "-mcpu=v3"}, c.cflags, variant.flags)
	for _, define := range t.Defines {
		args = append(args, "-D"+define)
	}
	args = append(args, "--target="+t.Clang, "-g", "-fno-ident")
	args = append(args, c.maps...)
	args = append(args, "-MD", "-MF", object+".d", "-c", source, "-o", object)
	if c.verbose {
		c.std.note("runs " + c.cc[0] + " " + strings.Join(args, " "))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.cc[0], args...)
	cmd.Stdout, cmd.Stderr = c.std.stdout, &stderr
	err := cmd.Run()
	fmt.Fprint(c.std.stderr, stderr.String())
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: was interrupted", c.cc[0])
	case errors.As(err, &exit):
		if variant.name != "" {
			source += ": variant " + variant.name
		}
		return fmt.Errorf("%s: %s does not compile it for %s: %w%s", source, c.cc[0], t.Suffix, err, remedy(stderr.String()))
	}
	return fmt.Errorf("%s: cannot be run: %w: give the path of clang 14 or newer", c.cc[0], quote.Cause(err))
}

// remedies are for what compilers say of a machine that is not set up for BPF.
var remedies = []struct{ text, remedy string }{
	{"'bpf/bpf_", "libbpf's headers are not where clang looks: install libbpf-dev (Debian, Ubuntu) or libbpf-devel (Fedora), or say where bpf/bpf_helpers.h is with -I after --"},
	{"'vmlinux.h' file not found", "make one with \"go tool bpfgen vmlinux -o vmlinux.h /sys/kernel/btf/vmlinux\", and say where it is with -I after --"},
	{"'asm/types.h' file not found", "these headers are those of a CPU, and BPF has none of its own: on Debian and Ubuntu, add -I/usr/include/x86_64-linux-gnu after --, or the directory of this machine's CPU"},
	{"unknown target triple", "this clang was built without BPF: install another, and say where it is with -cc or $BPF_CLANG"},
	{"No available targets are compatible", "this clang was built without BPF: install another, and say where it is with -cc or $BPF_CLANG"},
	{"unrecognized command", "this is not clang: say where clang 14 or newer is with -cc or $BPF_CLANG"},
	{"Must specify a BPF target arch", "the program reads registers, which differ between architectures: give them, as in -target amd64,arm64"},
	{"__BPF_TARGET_MISSING", "the program reads registers, which differ between architectures: give them, as in -target amd64,arm64"},
}

func remedy(stderr string) string {
	for _, r := range remedies {
		if strings.Contains(stderr, r.text) {
			return ": " + r.remedy
		}
	}
	return ""
}

// makefile returns the rules that say what the Go file is made from. Each file has a rule
// without a recipe, so that one that is gone fails no build.
func (g *generation) makefile(name string, deps []string) ([]byte, error) {
	relative := func(file string) (string, error) {
		base, err := filepath.Abs(g.makeBase)
		if err != nil {
			return "", err
		}
		if file, err = filepath.Abs(file); err != nil {
			return "", err
		}
		rel, err := filepath.Rel(base, file)
		if err != nil {
			return "", err
		}
		return depfile.Escape(rel)
	}
	target, err := relative(name)
	if err != nil {
		return nil, err
	}
	var first, others bytes.Buffer
	fmt.Fprintf(&first, "%s:", target)
	for i, dep := range deps {
		rel, err := relative(dep)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&first, " \\\n %s", rel)
		if i >= len(g.sources) {
			fmt.Fprintf(&others, "\n%s:\n", rel)
		}
	}
	first.WriteString("\n")
	return append(first.Bytes(), others.Bytes()...), nil
}
