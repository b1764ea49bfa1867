package skeleton

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strconv"
	"strings"
)

// glob is a pattern as libbpf has them: * stands for any text, ? for any
// character, all else for itself.
type glob string

func (g glob) match(s string) bool {
	// The place after the last star, and how far that one has reached.
	star, reached := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(g) && g[i] == '*':
			star, reached = i+1, j
			i++
		case i < len(g) && (g[i] == '?' || g[i] == s[j]):
			i++
			j++
		case star >= 0:
			reached++
			i, j = star, reached
		default:
			return false
		}
	}
	return strings.Trim(string(g[i:]), "*") == ""
}

func compileGlobs(patterns []string) ([]glob, error) {
	globs := make([]glob, 0, len(patterns))
	for _, p := range patterns {
		for _, c := range []byte(p) {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			case strings.IndexByte("_.$*?", c) >= 0:
			default:
				return nil, fmt.Errorf("pattern %q: no function of the kernel has a %q in its name", p, c)
			}
		}
		if p == "" {
			return nil, errors.New("pattern is empty: name functions, with * for any text and ? for any character")
		}
		globs = append(globs, glob(p))
	}
	return globs, nil
}

// tracefsDirs are where tracefs is mounted.
var tracefsDirs = []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}

func openTracefs(name string) (*os.File, error) {
	var errs []error
	for _, dir := range tracefsDirs {
		f, err := os.Open(dir + "/" + name)
		if err == nil {
			return f, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// kernelFunctions returns the addresses of the functions of the kernel that can
// be traced and that one of the globs matches, as libbpf finds them: from
// available_filter_functions_addrs, and where the kernel has no such file
// (before 6.6) the functions of /proc/kallsyms that are in
// available_filter_functions.
func kernelFunctions(globs []glob) ([]uintptr, error) {
	matches := func(name string) bool {
		for _, g := range globs {
			if g.match(name) {
				return true
			}
		}
		return false
	}
	addrs, err := functionAddrs(matches)
	if errors.Is(err, fs.ErrNotExist) {
		addrs, err = intersectedAddrs(matches)
	}
	if err != nil {
		return nil, fmt.Errorf("list the functions of the kernel: %w", err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%q: no function of the kernel that can be traced has such a name: see available_filter_functions in tracefs: %w", globs, fs.ErrNotExist)
	}
	return addrs, nil
}

// functionAddrs reads lines such as "ffffffff81000000 name [module]".
func functionAddrs(matches func(string) bool) ([]uintptr, error) {
	var addrs []uintptr
	err := forEachLine(func() (*os.File, error) { return openTracefs("available_filter_functions_addrs") }, func(fields []string) error {
		if len(fields) < 2 || !matches(fields[1]) {
			return nil
		}
		addr, err := parseAddr(fields[0])
		addrs = append(addrs, addr)
		return err
	})
	return addrs, err
}

func intersectedAddrs(matches func(string) bool) ([]uintptr, error) {
	traceable := make(map[string]bool)
	err := forEachLine(func() (*os.File, error) { return openTracefs("available_filter_functions") }, func(fields []string) error {
		// "name" or "name [module]"
		if len(fields) > 0 && matches(fields[0]) {
			traceable[fields[0]] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var addrs []uintptr
	for s, err := range kernelSymbols() {
		if err != nil {
			return addrs, err
		}
		if !bytes.ContainsAny(s.kind, "tTwW") || !traceable[string(s.name)] {
			continue
		}
		addr, err := s.address()
		if err != nil {
			return addrs, err
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// kallsyms has the symbols of the kernel and its modules.
const kallsyms = "/proc/kallsyms"

// A kernelSymbol is a line of kallsyms, until the next one is read.
type kernelSymbol struct{ addr, kind, name []byte }

// address fails with [fs.ErrPermission] when the kernel hides it.
func (s kernelSymbol) address() (uintptr, error) {
	addr, err := parseAddr(string(s.addr))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", kallsyms, err)
	}
	return addr, nil
}

// kernelSymbols reads the symbols of the kernel. There are some hundred thousand, so
// nothing is allocated for one.
func kernelSymbols() iter.Seq2[kernelSymbol, error] {
	return func(yield func(kernelSymbol, error) bool) {
		f, err := os.Open(kallsyms)
		if err != nil {
			yield(kernelSymbol{}, err)
			return
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// "ffffffff81000000 T name" or "... t name\t[module]"
			addr, rest, _ := bytes.Cut(lines.Bytes(), []byte(" "))
			kind, name, _ := bytes.Cut(rest, []byte(" "))
			name, _, _ = bytes.Cut(name, []byte("\t"))
			if !yield(kernelSymbol{addr, kind, name}, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(kernelSymbol{}, err)
		}
	}
}

func parseAddr(s string) (uintptr, error) {
	addr, err := strconv.ParseUint(s, 16, strconv.IntSize)
	if err != nil {
		return 0, err
	}
	if addr == 0 {
		return 0, fmt.Errorf("the kernel hides addresses: see kernel.kptr_restrict: %w", fs.ErrPermission)
	}
	return uintptr(addr), nil
}

func forEachLine(open func() (*os.File, error), line func(fields []string) error) error {
	f, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if err := line(strings.Fields(lines.Text())); err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	return lines.Err()
}
