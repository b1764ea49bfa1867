package usersym

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/glob"
)

// libraryDirs are where libraries of the architecture lie on Debian and its
// kin, by GOARCH.
var libraryDirs = map[string]string{
	"386":      "/lib/i386-linux-gnu",
	"amd64":    "/lib/x86_64-linux-gnu",
	"arm":      "/lib/arm-linux-gnueabihf",
	"arm64":    "/lib/aarch64-linux-gnu",
	"mips":     "/lib/mips-linux-gnu",
	"mipsle":   "/lib/mipsel-linux-gnu",
	"mips64le": "/lib/mips64el-linux-gnuabi64",
	"ppc64le":  "/lib/powerpc64le-linux-gnu",
	"riscv64":  "/lib/riscv64-linux-gnu",
	"s390x":    "/lib/s390x-linux-gnu",
}

// FindFile returns the path of a program or a library. A name with a slash is a
// path as it is. A name without one is searched for as libbpf does: a library,
// which is what has ".so" at its end or ".so." in its name, in the directories of
// LD_LIBRARY_PATH, /usr/lib64, /usr/lib and the architecture's own; all else in
// those of PATH, /usr/bin and /usr/sbin.
func FindFile(name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("the path is empty: name a program or a library")
	case strings.Contains(name, "/"):
		return name, nil
	}
	dirs, mode := filepath.SplitList(os.Getenv("PATH")), uint32(unix.R_OK|unix.X_OK)
	more := []string{"/usr/bin", "/usr/sbin"}
	if strings.HasSuffix(name, ".so") || strings.Contains(name, ".so.") {
		dirs, mode = filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")), unix.R_OK
		more = []string{"/usr/lib64", "/usr/lib", libraryDirs[runtime.GOARCH]}
	}
	dirs = append(dirs, more...)
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		path := filepath.Join(dir, name)
		if unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%q is not in any of the directories %s: %w", name, strings.Join(dirs, ":"), fs.ErrNotExist)
}

// File is a program or a library that probes go into. Close it.
type File struct {
	*elf.File
	// Path is the file's.
	Path string
}

// Open opens the program or library of this name, which it searches for as
// FindFile does.
func Open(name string) (*File, error) {
	path, err := FindFile(name)
	if err != nil {
		return nil, err
	}
	f, err := elf.Open(path)
	if err != nil {
		var format *elf.FormatError
		if errors.As(err, &format) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%s: is not a program or a library in ELF format: %w", path, err)
		}
		return nil, err
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		f.Close()
		return nil, fmt.Errorf("%s: is neither a program nor a library, but of ELF type %s", path, f.Type)
	}
	return &File{f, path}, nil
}

// FileOffset returns where in the file the byte lies that is at addr in memory, and the
// segment that has it.
func (f *File) FileOffset(addr uint64) (offset uint64, seg *elf.Prog, ok bool) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && addr >= p.Vaddr && addr-p.Vaddr < p.Memsz {
			return addr - p.Vaddr + p.Off, p, true
		}
	}
	return 0, nil, false
}

// Symbol returns the address of a symbol that the file defines, and whether it has one. Of
// several, it is the first of the table that the debugger uses.
func (f *File) Symbol(name string) (addr uint64, ok bool) {
	for _, read := range []func() ([]elf.Symbol, error){f.Symbols, f.DynamicSymbols} {
		// A table that is missing or damaged counts as empty.
		symbols, _ := read()
		for _, s := range symbols {
			if s.Name == name && s.Section != elf.SHN_UNDEF {
				return s.Value, true
			}
		}
	}
	return 0, false
}

// functions returns the functions that the file defines, those of the table that
// the debugger uses first. Libraries of distributions have the other one only.
func (f *File) functions() ([]elf.Symbol, error) {
	static, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, fmt.Errorf("%s: symbols: %w", f.Path, err)
	}
	dynamic, err := f.DynamicSymbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, fmt.Errorf("%s: dynamic symbols: %w", f.Path, err)
	}
	var funcs []elf.Symbol
	for _, table := range [][]elf.Symbol{static, dynamic} {
		for _, s := range table {
			if elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Section != elf.SHN_UNDEF {
				funcs = append(funcs, s)
			}
		}
	}
	return funcs, nil
}

// Address returns the offset in the file of "symbol", "symbol+offset" or, for one of several
// versions, "symbol@version", and whether an offset was added to the symbol's. A number alone
// is the offset itself. What follows a plus sign and is not a number belongs to the name, as in
// C++'s operator+.
//
// Where several functions have the name, a global one comes before a weak one, and that before
// a local one; two of the same rank at different addresses are an error, as with libbpf.
func (f *File) Address(target string) (offset uint64, hasOffset bool, err error) {
	if offset, err := strconv.ParseUint(target, 0, 64); err == nil {
		return f.codeOffset(offset)
	}
	name := target
	var add uint64
	if i := strings.LastIndexByte(target, '+'); i > 0 {
		if n, err := strconv.ParseUint(target[i+1:], 0, 64); err == nil {
			name, add = target[:i], n
		}
	}
	funcs, err := f.functions()
	if err != nil {
		return 0, false, err
	}
	var found *elf.Symbol
	ambiguous := false
	for i := range funcs {
		s := &funcs[i]
		if !namedBy(s, name) {
			continue
		}
		switch {
		case found == nil || rank(s) > rank(found):
			found, ambiguous = s, false
		case rank(s) == rank(found) && s.Value != found.Value:
			ambiguous = true
		}
	}
	switch {
	case found == nil:
		return 0, false, fmt.Errorf("%s: has no function %q in its symbol tables: %w", f.Path, name, fs.ErrNotExist)
	case ambiguous:
		return 0, false, fmt.Errorf("%s: has several functions %q: add the version (%s@VERSION), or attach by hand", f.Path, name, name)
	case found.Size != 0 && add >= found.Size:
		return 0, false, fmt.Errorf("%s: offset %#x is beyond the end of function %q, which has %#x bytes", f.Path, add, name, found.Size)
	}
	offset, _, ok := f.FileOffset(found.Value)
	if !ok {
		return 0, false, fmt.Errorf("%s: function %q is not in a segment that is loaded", f.Path, name)
	}
	return offset + add, add != 0, nil
}

// codeOffset returns an offset in the file, which must be one of code.
func (f *File) codeOffset(offset uint64) (uint64, bool, error) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && offset >= p.Off && offset-p.Off < p.Filesz {
			return offset, false, nil
		}
	}
	return 0, false, fmt.Errorf("%s: has no code at offset %#x", f.Path, offset)
}

// namedBy reports whether name, with or without a version, means s.
func namedBy(s *elf.Symbol, name string) bool {
	if s.Name == name {
		return true
	}
	base, version, ok := strings.Cut(name, "@")
	return ok && s.Name == base && s.Version == strings.TrimPrefix(version, "@")
}

// rank orders functions of one name.
func rank(s *elf.Symbol) int {
	r := 0
	switch elf.ST_BIND(s.Info) {
	case elf.STB_GLOBAL:
		r = 2
	case elf.STB_WEAK:
		r = 1
	}
	// A hidden version is for programs that were linked with an earlier library.
	if s.HasVersion && !s.VersionIndex.IsHidden() {
		r += 4
	} else if !s.HasVersion {
		r += 2
	}
	return r
}

// Matching returns the offsets in the file of the functions that the pattern, of package
// glob, matches, each once. It fails with [fs.ErrNotExist] when there are none.
func (f *File) Matching(pattern string) ([]uint64, error) {
	funcs, err := f.functions()
	if err != nil {
		return nil, err
	}
	var offsets []uint64
	seen := make(map[uint64]bool)
	for i := range funcs {
		if !glob.Match(pattern, funcs[i].Name) {
			continue
		}
		offset, _, ok := f.FileOffset(funcs[i].Value)
		if ok && !seen[offset] {
			seen[offset] = true
			offsets = append(offsets, offset)
		}
	}
	if len(offsets) == 0 {
		return nil, fmt.Errorf("%s: has no function %q in its symbol tables: %w", f.Path, pattern, fs.ErrNotExist)
	}
	return offsets, nil
}
