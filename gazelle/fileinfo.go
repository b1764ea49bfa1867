package gazelle

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"

	"github.com/rules-bpf/rules_bpf/gazelle/bpfc"
)

const (
	sourceSuffix = ".bpf.c"
	headerSuffix = ".bpf.h"
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

func isHeader(name string) bool { return strings.HasSuffix(name, ".h") }

// stem is the file's name without what its kind adds.
func stem(name string) string {
	for _, suffix := range []string{sourceSuffix, headerSuffix, ".c", ".h"} {
		if s, ok := strings.CutSuffix(name, suffix); ok && s != "" {
			return s
		}
	}
	return name
}

// isFinal reports whether a file is a whole object by itself: it has programs,
// and a licence to load them under.
func isFinal(f *bpfc.File) bool {
	return f.HasLicense && f.Programs() > 0
}

// scan reads a file of the repository, by its path from the root.
func (l *bpfLang) scan(c *config.Config, name string, defines []string) (*bpfc.File, error) {
	scanner := l.scanner(c)
	if p := l.ahead.take(name, scanner, defines); p != nil {
		return p.file, p.err
	}
	return scanFile(scanner, c.RepoRoot, name, defines)
}

func scanFile(s *bpfc.Scanner, root, name string, defines []string) (*bpfc.File, error) {
	content := contents.Get().(*[]byte)
	defer contents.Put(content)
	var err error
	if *content, err = readInto((*content)[:0], filepath.Join(root, filepath.FromSlash(name))); err != nil {
		return nil, err
	}
	var scans []*bpfc.File
	for _, arch := range archFlags {
		flags := arch
		if len(defines) > 0 {
			flags = append(slices.Clip(flags), defines...)
		}
		scan := s.Scan(name, *content, flags)
		if !scan.ArchDependent {
			return scan, nil
		}
		scans = append(scans, scan)
	}
	return bpfc.Union(scans...), nil
}

// readInto appends what a file has to a buffer. Package os would ask the system
// twice as often, to find out whether one can wait for the file as for a pipe.
func readInto(buf []byte, name string) ([]byte, error) {
	file, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	for err == syscall.EINTR {
		file, err = syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	}
	if err != nil {
		return buf, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer syscall.Close(file) //nolint:errcheck // It was only read.
	for {
		buf = slices.Grow(buf, 512)
		n, err := syscall.Read(file, buf[len(buf):cap(buf)])
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return buf, &fs.PathError{Op: "read", Path: name, Err: err}
		case n <= 0:
			return buf, nil
		default:
			buf = buf[:len(buf)+n]
		}
	}
}

// contents has the memory that one file's content leaves to the next.
var contents = sync.Pool{New: func() any {
	buf := make([]byte, 0, 8<<10)
	return &buf
}}

func (l *bpfLang) scanner(c *config.Config) *bpfc.Scanner {
	search := getConfig(c).search
	key := strings.Join(search, "\n")
	s := l.scanners[key]
	if s == nil {
		s = bpfc.NewScanner(func(from, header string, angled bool) (string, func() ([]byte, bool), bool) {
			for _, name := range candidates(search, from, header, angled) {
				if l.isFile(c, name) {
					return name, func() ([]byte, bool) {
						content, err := os.ReadFile(filepath.Join(c.RepoRoot, filepath.FromSlash(name)))
						return content, err == nil
					}, true
				}
			}
			return "", nil, false
		})
		l.scanners[key] = s
	}
	return s
}

// candidates returns where a header may be, as paths from the root: beside the
// file and below the root when it stands in quotes, and below the search folders.
func candidates(search []string, from, header string, angled bool) []string {
	// It has thousands of types, and nothing that makes symbols.
	if path.Base(header) == "vmlinux.h" || path.IsAbs(header) {
		return nil
	}
	var out []string
	add := func(dir string) {
		if name := path.Join(dir, header); name != ".." && !strings.HasPrefix(name, "../") {
			out = append(out, name)
		}
	}
	if !angled {
		add(path.Dir(from))
		add("")
	}
	for _, dir := range search {
		add(dir)
	}
	return out
}

// isFile reports whether the repository has a file of this path.
func (l *bpfLang) isFile(c *config.Config, name string) bool {
	l.filesMu.Lock()
	is, known := l.files[name]
	l.filesMu.Unlock()
	if !known {
		info, err := os.Stat(filepath.Join(c.RepoRoot, filepath.FromSlash(name)))
		is = err == nil && info.Mode().IsRegular()
		l.filesMu.Lock()
		l.files[name] = is
		l.filesMu.Unlock()
	}
	return is
}

// Headers that no target of the user's has: libbpf's, the kernel's and the
// compiler's come with the toolchain.
var systemPrefixes = []string{
	"asm-generic/", "asm/", "bpf/", "linux/", "sys/", "gnu/", "bits/", "arpa/", "netinet/", "net/if",
}

func isSystemHeader(header string) bool {
	if !strings.Contains(header, "/") {
		switch header {
		case "stdarg.h", "stdbool.h", "stddef.h", "stdint.h", "limits.h", "errno.h", "string.h", "stdlib.h",
			"bpf_helpers.h", "bpf_tracing.h", "bpf_core_read.h", "bpf_endian.h", "usdt.bpf.h":
			return true
		}
	}
	for _, prefix := range systemPrefixes {
		if strings.HasPrefix(header, prefix) {
			return true
		}
	}
	return false
}
