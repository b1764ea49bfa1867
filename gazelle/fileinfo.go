package gazelle

import (
	"errors"
	"io"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
)

// The architectures that the rules compile for, as __TARGET_ARCH_ has them. Files
// are scanned for the first one, and for all when a conditional asks for it: a rule
// has one list of dependencies.
var architectures = []string{"x86", "arm", "arm64", "loongarch", "mips", "powerpc", "riscv", "s390"}

// archFlags has the macros of each architecture: the rules', and what bpf_tracing.h
// makes of them.
var archFlags = func() [][]string {
	var out [][]string
	for _, arch := range architectures {
		out = append(out, []string{"__TARGET_ARCH_" + arch, "bpf_target_" + arch, "bpf_target_defined"})
	}
	return out
}()

// sources reads the C files of a repository.
type sources struct {
	root    string
	scanner *bpfc.Scanner
	// shallow opens no header.
	shallow *bpfc.Scanner
	// is caches which paths are files.
	is map[string]bool
	// scans has what was scanned and may be asked for again.
	scans map[scanKey]*bpfc.File
	// anywhere returns the files of the repository whose path ends like an include, as
	// far as they are known.
	anywhere func(include string) []string
	content  []byte
	// arches has, for a directory of one $GOARCH, those of the others, and archOf the
	// $GOARCH of each.
	arches map[string][]string
	archOf map[string]string

	// What the file that is being scanned is of.
	rel    string
	search []string
}

// A scanKey identifies how a file is scanned. The lists are joined.
type scanKey struct {
	file, rel, defines, search string
}

func newSources() *sources {
	s := &sources{is: make(map[string]bool), scans: make(map[scanKey]*bpfc.File)}
	s.anywhere = func(string) []string { return nil }
	s.scanner = bpfc.NewScanner(func(what bpfc.Lookup) (string, func() ([]byte, bool), bool) {
		name, ok := s.find(what)
		return name, func() ([]byte, bool) {
			content, err := os.ReadFile(s.path(name))
			return content, err == nil
		}, ok
	}).Brief()
	// A scanner keeps the tokens of a name, so this one needs a cache of its own.
	s.shallow = bpfc.NewScanner(func(what bpfc.Lookup) (string, func() ([]byte, bool), bool) {
		name, ok := s.find(what)
		return name, func() ([]byte, bool) { return nil, true }, ok
	})
	return s
}

func (s *sources) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

// A use is what a file is scanned for: the package of the rule, and the flags.
type use struct {
	rel   string
	flags *plan.Flags
}

func (u *use) key(file string) scanKey {
	return scanKey{
		file: file, rel: u.rel,
		defines: strings.Join(u.flags.Defines, "\n"), search: strings.Join(u.flags.Search, "\n") + "\n\n" + strings.Join(u.flags.Forced, "\n") + "\n\n" + strings.Join(u.flags.Named, "\n"),
	}
}

// scan reads a file of the repository, by its path from the root.
func (s *sources) scan(file string, u use) (*bpfc.File, error) {
	key := u.key(file)
	if f, ok := s.scans[key]; ok {
		return f, nil
	}
	f, err := s.scanWith(s.scanner, file, u)
	if err == nil {
		leaveNamed(f, u.flags.Named)
		s.addArches(f, u.flags.Search)
		s.scans[key] = f
	}
	return f, err
}

// leaveNamed removes from what a source includes the files that a rule's flags name by their
// labels: the rule has them already, whichever rule makes them.
func leaveNamed(f *bpfc.File, named []string) {
	if len(named) > 0 {
		f.Includes = slices.DeleteFunc(f.Includes, func(inc bpfc.Include) bool {
			return !inc.Angled && inc.Pos == (bpfc.Pos{File: f.Name, Line: 1}) && slices.Contains(named, inc.Path)
		})
	}
}

// addArches adds what a file includes on other architectures, where a search directory
// depends on $GOARCH.
func (s *sources) addArches(f *bpfc.File, search []string) {
	if len(s.arches) == 0 {
		return
	}
	for _, dir := range search {
		for _, inc := range f.Includes {
			rest, ok := paths.Under(dir, inc.File)
			for _, other := range s.arches[dir] {
				if name := path.Join(other, rest); ok && s.isFile(name) {
					also := inc
					also.File = name
					f.Includes = append(f.Includes, also)
				}
			}
		}
	}
}

// scanShallow finds out what a header itself includes.
func (s *sources) scanShallow(file string, u use) (*bpfc.File, error) {
	return s.scanWith(s.shallow, file, u)
}

func (s *sources) scanWith(scanner *bpfc.Scanner, file string, u use) (*bpfc.File, error) {
	var err error
	if s.content, err = readInto(s.content[:0], s.path(file)); err != nil {
		return nil, err
	}
	s.rel, s.search = u.rel, u.flags.Search
	var scans []*bpfc.File
	for _, arch := range archFlags {
		flags := arch
		if len(u.flags.Defines) > 0 {
			flags = slices.Concat(arch, u.flags.Defines)
		}
		scan := scanner.Scan(file, s.content, flags, u.flags.Forced...)
		if !scan.ArchDependent {
			return scan, nil
		}
		scans = append(scans, scan)
	}
	scan := bpfc.Union(scans...)
	scan.Symbols = nil
	return scan, nil
}

// readInto appends what a file has to a buffer.
func readInto(buf []byte, name string) ([]byte, error) {
	// Without the flag, package os sets it and takes it back: four of its ten system calls for
	// a small file.
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return buf, err
	}
	defer file.Close()
	for {
		buf = slices.Grow(buf, 4096)
		n, err := file.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

// find finds the file that an #include names.
func (s *sources) find(what bpfc.Lookup) (string, bool) {
	// Behind where the file itself was found.
	skip := what.Next && slices.Contains(slices.Collect(candidates(s.rel, s.search, what.From, what.Path, what.Angled)), what.From)
	for name := range candidates(s.rel, s.search, what.From, what.Path, what.Angled) {
		if skip {
			skip = name != what.From
		} else if s.isFile(name) {
			return name, true
		}
	}
	if what.Next || what.Angled && isSystemHeader(what.Path) {
		return "", false
	}
	found, ok := meant(s.anywhere(what.Path))
	return found, ok && found != what.From
}

// meant returns the file of the tree that an include means when it finds none otherwise: the
// only candidate, or, of several headers of the kernel's types, the one that has those of
// single architectures below it.
func meant(files []string) (string, bool) {
	if len(files) == 0 {
		return "", false
	}
	top := slices.MinFunc(files, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	if len(files) == 1 {
		return top, true
	}
	elsewhere := func(file string) bool { return !paths.IsWithin(paths.Parent(top), paths.Parent(file)) }
	return top, path.Base(top) == "vmlinux.h" && !slices.ContainsFunc(files, elsewhere)
}

// candidates returns where a header may be, as paths from the root: beside the
// file, in the package of the rule and below the root when it stands in quotes, and
// below the search directories.
func candidates(rel string, search []string, from, header string, angled bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		if path.IsAbs(header) {
			return
		}
		add := func(dir string) bool {
			name := paths.Join(dir, header)
			return paths.Outside(name) || yield(name)
		}
		if !angled {
			beside := paths.Parent(from)
			if !add(beside) || rel != beside && !add(rel) || rel != "" && beside != "" && !add("") {
				return
			}
		}
		for _, dir := range search {
			if !add(dir) {
				return
			}
		}
	}
}

// isFile reports whether the repository has a file of this path.
func (s *sources) isFile(name string) bool {
	is, known := s.is[name]
	if !known {
		info, err := os.Stat(s.path(name))
		is = err == nil && info.Mode().IsRegular()
		s.is[name] = is
	}
	return is
}

// Headers that no target of the user's has: libbpf's, the kernel's and the
// compiler's come with the toolchain.
var systemPrefixes = []string{
	"asm-generic/", "asm/", "bpf/", "linux/", "sys/", "gnu/", "bits/", "arpa/", "netinet/", "net/if",
}

var systemHeaders = []string{
	"stdarg.h", "stdbool.h", "stddef.h", "stdint.h", "limits.h", "errno.h", "string.h", "stdlib.h", "stdio.h",
	"inttypes.h", "time.h", "unistd.h",
}

// libbpfHeaders are those of libbpf that the rules find without bpf/ before them.
var libbpfHeaders = []string{
	"bpf_helpers.h", "bpf_helper_defs.h", "bpf_tracing.h", "bpf_core_read.h", "bpf_endian.h", "usdt.bpf.h",
}

func isSystemHeader(header string) bool {
	if !strings.Contains(header, "/") {
		return slices.Contains(systemHeaders, header)
	}
	return slices.ContainsFunc(systemPrefixes, func(prefix string) bool { return strings.HasPrefix(header, prefix) })
}
