package attach

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
	"github.com/rules-bpf/rules_bpf/runtime/internal/perfevent"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Kprobe connects p to symbol[+offset], or to an address that begins with 0x.
func Kprobe(p *Program, target string, o ProbeOptions) (link.Link, error) {
	o.Return = o.Return || p.is(secdef.Return)
	if isAddress(target) {
		return kprobeAtAddress(p.Program, target, o)
	}
	symbol, offset, err := splitOffset(target)
	if err != nil {
		return nil, err
	}
	if o.Return && offset != 0 {
		// libbpf refuses it as well: a return probe fires at no offset.
		return nil, fmt.Errorf("target %q: a kretprobe takes no offset", target)
	}
	l, err := kprobeAt(p.Program, symbol, offset, o)
	if !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	// Some loaders put the architecture's prefix before the names of system calls, and objects
	// written for them leave it out.
	if prefix := sys.SyscallPrefix(); prefix != "" && strings.HasPrefix(symbol, "sys_") {
		if l, otherErr := kprobeAt(p.Program, prefix+symbol, offset, o); !errors.Is(otherErr, fs.ErrNotExist) {
			return l, otherErr
		}
	}
	if others := variantsOf(symbol); len(others) > 0 {
		return nil, fmt.Errorf("%w: the compiler has made %s of it, which may be probed instead", err, strings.Join(others, ", "))
	}
	return nil, err
}

// isAddress reports whether the target of a kprobe is an address: no function has such a name.
func isAddress(target string) bool { return strings.HasPrefix(target, "0x") }

func parseAddress(target string) (uint64, error) {
	address, err := strconv.ParseUint(target, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("target %q is not an address: %w", target, errors.Unwrap(err))
	}
	return address, nil
}

// kprobeAtAddress attaches prog to an instruction of the kernel.
func kprobeAtAddress(prog *ebpf.Program, target string, o ProbeOptions) (link.Link, error) {
	address, err := parseAddress(target)
	if err != nil {
		return nil, err
	}
	event, err := perfevent.KprobeAt(address, o.Return)
	event, err = openEvent(event, err, "kprobes", "CONFIG_KPROBE_EVENTS", privilege.Perfmon)
	switch {
	case errors.Is(err, unix.EILSEQ), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("the kernel refuses a probe at address %s: no instruction of its code begins there, or probing it is not allowed, or for a return it is not where a function begins: %w", target, err)
	case err != nil:
		return nil, fmt.Errorf("address %s: %w", target, err)
	}
	return attachEvent(prog, event, o.Cookie, o.Mode)
}

// kprobeAt attaches prog to an offset in a function. It fails with [fs.ErrNotExist]
// when, and only when, the kernel has no such function.
func kprobeAt(prog *ebpf.Program, symbol string, offset uint64, o ProbeOptions) (link.Link, error) {
	event, err := perfevent.Kprobe(symbol, offset, o.Return)
	event, err = openEvent(event, err, "kprobes", "CONFIG_KPROBE_EVENTS", privilege.Perfmon)
	if err != nil {
		return nil, explainKprobe(err, symbol, offset)
	}
	return attachEvent(prog, event, o.Cookie, o.Mode)
}

// explainKprobe explains what the kernel's answer to a kprobe means. Kernels differ in it.
func explainKprobe(err error, symbol string, offset uint64) error {
	where := fmt.Sprintf("function %s", symbol)
	if offset != 0 {
		where = fmt.Sprintf("offset %#x of function %s", offset, symbol)
	}
	switch {
	case errors.Is(err, unix.EILSEQ):
		return fmt.Errorf("no instruction begins at %s: %w", where, err)
	case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %w", where, err)
	}
	found, symErr := countFunctions(symbol)
	switch {
	case symErr != nil:
		return fmt.Errorf("%s: %w (whether the kernel has it cannot be read: %w)", where, err, symErr)
	case found == 0:
		return fmt.Errorf("the kernel has no function %s: %w", symbol, fs.ErrNotExist)
	case found > 1:
		return fmt.Errorf("the kernel has %d functions %s, and there is no way to name one of them: %w", found, symbol, err)
	case errors.Is(err, unix.ENOENT):
		// The function is in a module that is being unloaded.
		return fmt.Errorf("%s: %w", where, err)
	}
	if data, err := kernelfs.Debugfs.ReadFile("kprobes/blacklist"); err == nil && lastFieldIs(data, symbol) {
		return fmt.Errorf("the kernel has function %s and does not allow probes on it, see /sys/kernel/debug/kprobes/blacklist: %w", symbol, unix.EINVAL)
	}
	if offset != 0 {
		return fmt.Errorf("the kernel refuses a probe at %s: no instruction begins there, or the function is shorter: %w", where, err)
	}
	if traceable, fileErr := isTraceable(symbol); fileErr == nil && !traceable {
		return fmt.Errorf("the kernel has function %s and refuses to probe it, as it is not to be traced (notrace): it is not in %s of tracefs: %w", symbol, traceableFile, err)
	}
	return fmt.Errorf("the kernel has function %s and refuses to probe it: %w", symbol, err)
}

// countFunctions returns how many functions of a name the kernel and its modules have.
func countFunctions(name string) (n int, err error) {
	for s, err := range kallsyms.All() {
		if err != nil {
			return 0, err
		}
		if string(s.Name) == name && s.IsFunction() {
			n++
		}
	}
	return n, nil
}

// variantsOf returns the functions that the compiler has made of one that it has
// changed: "name.isra.0", "name.constprop.0", "name.part.0".
func variantsOf(name string) (names []string) {
	for s, err := range kallsyms.All() {
		if err != nil {
			return nil
		}
		if rest, ok := strings.CutPrefix(string(s.Name), name); ok && strings.HasPrefix(rest, ".") && s.IsFunction() && !strings.HasPrefix(rest, ".cold") {
			names = append(names, string(s.Name))
		}
	}
	return names
}

// isTraceable reports whether a function is in tracefs' list.
func isTraceable(name string) (found bool, err error) {
	err = forEachLine(traceableFile, func(fields []string) error {
		found = found || len(fields) > 0 && fields[0] == name
		return nil
	})
	return found, err
}

// lastFieldIs reports whether a line of text ends in a word.
func lastFieldIs(text []byte, word string) bool {
	for line := range bytes.Lines(text) {
		if fields := bytes.Fields(line); len(fields) > 0 && string(fields[len(fields)-1]) == word {
			return true
		}
	}
	return false
}

// Syscall connects p to the function that serves the system call.
func Syscall(p *Program, name string, o ProbeOptions) (link.Link, error) {
	o.Return = o.Return || p.is(secdef.Return)
	for _, symbol := range syscallFunctions(name) {
		l, err := kprobeAt(p.Program, symbol, 0, o)
		if !errors.Is(err, fs.ErrNotExist) {
			return l, err
		}
	}
	return nil, noSyscall(name)
}

// noSyscall returns the error that the kernel has no function of the system call.
func noSyscall(name string) error {
	return fmt.Errorf("system call %q: the kernel has no function %s: %w", name, strings.Join(syscallFunctions(name), ", "), fs.ErrNotExist)
}

// splitOffset parses "symbol" and "symbol+offset", the offset in bytes and in
// any base that C has.
func splitOffset(s string) (symbol string, offset uint64, err error) {
	symbol, num, ok := strings.Cut(s, "+")
	if symbol == "" {
		return "", 0, fmt.Errorf("target %q names no function", s)
	}
	if !ok {
		return symbol, 0, nil
	}
	offset, err = strconv.ParseUint(num, 0, 64)
	if err != nil {
		return "", 0, fmt.Errorf("target %q: offset %q is not a number: %w", s, num, errors.Unwrap(err))
	}
	return symbol, offset, nil
}

// syscallFunctions returns the names that the function of a system call may
// have, likely ones first: the wrapper where the architecture has them, and what
// SYSCALL_DEFINE makes elsewhere.
func syscallFunctions(name string) []string {
	names := []string{"__se_sys_" + name, "sys_" + name}
	if prefix := sys.SyscallPrefix(); prefix != "" {
		names = slices.Insert(names, 0, prefix+"sys_"+name)
	}
	return names
}

// KprobeMulti connects p to all functions of the kernel that a pattern or the options name.
func KprobeMulti(p *Program, pattern string, o KprobeMultiOptions) (link.Link, error) {
	opts := link.KprobeMultiOptions{Symbols: o.Symbols, Session: p.is(secdef.Session)}
	err := oneOf(choice{pattern != "", "the pattern"}, choice{len(o.Symbols) > 0, "option Symbols"}, choice{len(o.Addresses) > 0, "option Addresses"})
	if err != nil {
		return nil, err
	}
	if err := unordered(pattern, choice{len(o.Cookies) > 0, "option Cookies"}); err != nil {
		return nil, err
	}
	if pattern == "" && o.UniqueMatch {
		return nil, errors.New("option UniqueMatch is for a pattern")
	}
	if pattern != "" {
		if opts.Addresses, err = kernelFunctions(pattern); err != nil {
			return nil, err
		}
		if o.UniqueMatch {
			if err := checkUnique(pattern, len(opts.Addresses)); err != nil {
				return nil, err
			}
		}
	}
	for _, addr := range o.Addresses {
		opts.Addresses = append(opts.Addresses, uintptr(addr))
	}
	if opts.Cookies, err = cookies(max(len(opts.Symbols), len(opts.Addresses)), o.Cookie, o.Cookies); err != nil {
		return nil, err
	}
	if o.Return || p.is(secdef.Return) {
		if opts.Session {
			return nil, errSessionReturn
		}
		return link.KretprobeMulti(p.Program, opts)
	}
	return link.KprobeMulti(p.Program, opts)
}

var errSessionReturn = errors.New("option Return: a session runs at the entry and the return of functions")

// checkUnique returns an error unless a pattern matches one function.
func checkUnique(pattern string, matches int) error {
	if matches == 1 {
		return nil
	}
	return fmt.Errorf("%q is the name of %d functions of the kernel that can be traced, and option UniqueMatch allows one: %w", pattern, matches, unix.EINVAL)
}
