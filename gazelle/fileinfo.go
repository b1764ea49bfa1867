package gazelle

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/walk"

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
	if p := l.ahead[name]; p != nil {
		delete(l.ahead, name)
		<-p.done
		if p.scanner == l.scanner(c) && slices.Equal(p.defines, defines) {
			return p.file, p.err
		}
	}
	return scanFile(l.scanner(c), c.RepoRoot, name, defines)
}

func scanFile(s *bpfc.Scanner, root, name string, defines []string) (*bpfc.File, error) {
	f, err := os.Open(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // It was only read.
	content := contents.Get().(*bytes.Buffer)
	defer contents.Put(content)
	content.Reset()
	if _, err := content.ReadFrom(f); err != nil {
		return nil, err
	}
	var scans []*bpfc.File
	for _, arch := range archFlags {
		flags := arch
		if len(defines) > 0 {
			flags = append(slices.Clip(flags), defines...)
		}
		scan := s.Scan(name, content.Bytes(), flags)
		if !scan.ArchDependent {
			return scan, nil
		}
		scans = append(scans, scan)
	}
	return bpfc.Union(scans...), nil
}

// contents has the memory that one file's content leaves to the next.
var contents = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, 8<<10)) }}

// A pendingScan is one that began before its folder's turn.
type pendingScan struct {
	scanner *bpfc.Scanner
	defines []string
	done    chan struct{}
	file    *bpfc.File
	err     error
}

// aheadFolders is how many folders files are scanned ahead.
const aheadFolders = 16

// scanAhead begins to scan the files of the folders whose turn is probably next,
// while Gazelle, which works with one thread, is busy with this one. A folder
// whose directives say other flags is scanned again.
func (l *bpfLang) scanAhead(c *config.Config, rel string) {
	if rel == "" || c.IndexLazy {
		return
	}
	up := parent(rel)
	info, err := walk.GetDirInfo(up)
	if err != nil {
		return
	}
	at, ok := slices.BinarySearch(info.Subdirs, path.Base(rel))
	if !ok {
		return
	}
	flags := defines(getConfig(c).copts)
	for _, sibling := range info.Subdirs[at+1 : min(at+1+aheadFolders, len(info.Subdirs))] {
		next := path.Join(up, sibling)
		if l.lib.ahead[next] {
			continue
		}
		l.lib.ahead[next] = true
		info, err := walk.GetDirInfo(next)
		if err != nil {
			continue
		}
		for _, name := range info.RegularFiles {
			if !strings.HasSuffix(name, sourceSuffix) {
				continue
			}
			name = path.Join(next, name)
			p := &pendingScan{scanner: l.scanner(c), defines: flags, done: make(chan struct{})}
			l.ahead[name] = p
			go func() {
				defer close(p.done)
				p.file, p.err = scanFile(p.scanner, c.RepoRoot, name, flags)
			}()
		}
	}
}

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
