package attach

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/glob"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/refusal"
)

// checkPattern refuses patterns that no function of the kernel has a name for.
func checkPattern(pattern string) error {
	for _, c := range []byte(pattern) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("_.$*?", c) >= 0:
		default:
			return fmt.Errorf("pattern %q: no function of the kernel has a %q in its name", pattern, c)
		}
	}
	return nil
}

// kernelFunctions returns the addresses of the functions of the kernel that can
// be traced and that the pattern matches, as libbpf finds them: from
// available_filter_functions_addrs, and where the kernel has no such file
// (before 6.6) the functions of /proc/kallsyms that are in
// available_filter_functions.
func kernelFunctions(pattern string) ([]uintptr, error) {
	if err := checkPattern(pattern); err != nil {
		return nil, err
	}
	matches := func(name string) bool { return glob.Match(pattern, name) }
	addrs, err := functionAddrs(matches)
	if errors.Is(err, fs.ErrNotExist) {
		addrs, err = intersectedAddrs(matches)
	}
	var told *kernelfs.Error
	if errors.Is(err, unix.EPERM) && !errors.As(err, &told) {
		err = refusal.Advise(err, privilege.Explain())
	}
	if err != nil {
		return nil, fmt.Errorf("list the functions of the kernel that can be traced: %w", err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%q: no function of the kernel that can be traced has such a name: see available_filter_functions in tracefs: %w", pattern, fs.ErrNotExist)
	}
	return addrs, nil
}

// functionAddrs reads lines such as "ffffffff81000000 name [module]".
func functionAddrs(matches func(string) bool) ([]uintptr, error) {
	var addrs []uintptr
	err := forEachLine("available_filter_functions_addrs", func(fields []string) error {
		if len(fields) < 2 || !matches(fields[1]) {
			return nil
		}
		addr, err := kallsyms.ParseAddress(fields[0])
		addrs = append(addrs, uintptr(addr))
		return err
	})
	return addrs, err
}

func intersectedAddrs(matches func(string) bool) ([]uintptr, error) {
	traceable := make(map[string]bool)
	err := forEachLine(traceableFile, func(fields []string) error {
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
	for s, err := range kallsyms.All() {
		if err != nil {
			return addrs, err
		}
		if !s.IsFunction() || !traceable[string(s.Name)] {
			continue
		}
		addr, err := s.Address()
		if err != nil {
			return addrs, err
		}
		addrs = append(addrs, uintptr(addr))
	}
	return addrs, nil
}

// traceableFile lists in tracefs the functions that can be traced.
const traceableFile = "available_filter_functions"

// forEachLine calls line with the fields of each line of a file of tracefs.
func forEachLine(file string, line func(fields []string) error) error {
	f, err := kernelfs.Tracefs.Open(file)
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
