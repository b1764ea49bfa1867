package attach

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
	"github.com/rules-bpf/rules_bpf/runtime/internal/perfevent"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usdt"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usersym"
)

// IsMissing reports whether a program was not attached because its target is not there.
func IsMissing(err error) bool {
	// A file system that cannot be read may well have the target.
	var told *kernelfs.Error
	return errors.Is(err, fs.ErrNotExist) && !errors.As(err, &told)
}

// Find looks for targets that programs are connected to, except for those that are passed to
// the kernel at load. It returns an error for each target, at its index, nil for one that is
// there.
func Find(targets []Target) []error {
	// One pass over the kernel's symbols and one over its types for all.
	functions, tracepoints := make(map[string]bool), make(map[string]bool)
	for _, t := range targets {
		for _, name := range functionNames(t.Auto, t.Name) {
			functions[name] = false
		}
		if t.Auto == secdef.AutoRawTracepoint {
			tracepoints[t.Name] = false
		}
	}
	var noSymbols, noTypes error
	if len(functions) > 0 {
		noSymbols = kallsyms.Functions(functions)
	}
	if len(tracepoints) > 0 {
		noTypes = loader.Tracepoints(tracepoints)
	}
	errs := make([]error, len(targets))
	for i, t := range targets {
		switch names := functionNames(t.Auto, t.Name); {
		case t.Auto == secdef.AutoRawTracepoint:
			if !tracepoints[t.Name] {
				errs[i] = cmp.Or(noTypes, noRawTracepoint(t.Name, fs.ErrNotExist))
			}
		case len(names) > 0:
			if !slices.ContainsFunc(names, func(name string) bool { return functions[name] }) {
				errs[i] = cmp.Or(noSymbols, noFunction(t.Auto, t.Name))
			}
		default:
			errs[i] = findTarget(t.Auto, t.Name)
		}
	}
	return errs
}

// functionNames returns the names that the kernel's function of a target may have, none for a
// target that is not a function, or is malformed.
func functionNames(auto secdef.Auto, target string) []string {
	switch auto {
	case secdef.AutoKprobe:
		symbol, _, err := splitOffset(target)
		if err != nil || isAddress(target) {
			return nil
		}
		if _, function, ok := strings.Cut(symbol, ":"); ok {
			symbol = function // "module:function"
		}
		names := []string{symbol}
		if prefix := sys.SyscallPrefix(); prefix != "" && strings.HasPrefix(symbol, "sys_") {
			names = append(names, prefix+symbol)
		}
		return names
	case secdef.AutoSyscall:
		return syscallFunctions(target)
	}
	return nil
}

// noFunction returns the error that the kernel has none of the functions of a target.
func noFunction(auto secdef.Auto, target string) error {
	if auto == secdef.AutoSyscall {
		return noSyscall(target)
	}
	symbol, _, _ := splitOffset(target)
	return fmt.Errorf("the kernel has no function %s: %w", symbol, fs.ErrNotExist)
}

// findTarget looks for a target, but not for a function of the kernel or for a raw
// tracepoint. Its errors are those of attaching to it.
func findTarget(auto secdef.Auto, target string) error {
	switch auto {
	case secdef.AutoKprobe:
		if isAddress(target) {
			// Only a probe shows whether the kernel has code there that it lets be probed.
			_, err := parseAddress(target)
			return err
		}
		_, _, err := splitOffset(target)
		return err
	case secdef.AutoKprobeMulti:
		_, err := kernelFunctions(target)
		return err
	case secdef.AutoTracepoint:
		category, name, _ := strings.Cut(target, "/")
		_, err := perfevent.TracepointID(category, name)
		if IsMissing(err) {
			return noTracepoint(category, name)
		}
		return err
	case secdef.AutoUprobe:
		return findInFile(target, func(f *usersym.File, function string) error {
			_, _, err := f.Address(function)
			return err
		})
	case secdef.AutoUprobeMulti:
		return findInFile(target, func(f *usersym.File, pattern string) error {
			_, err := f.Matching(pattern)
			return err
		})
	case secdef.AutoUSDT:
		return findInFile(target, func(f *usersym.File, probe string) error {
			provider, name, _ := strings.Cut(probe, ":")
			_, err := usdt.Locations(f, provider, name)
			return err
		})
	}
	return nil
}

// findInFile calls find for the program or library of a target "path:what", with the part after
// the path.
func findInFile(target string, find func(f *usersym.File, what string) error) error {
	path, what, err := SplitUser(target)
	if err != nil {
		return err
	}
	f, err := usersym.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return find(f, what)
}
