// Package kallsyms reads the symbols of the running kernel and its modules.
//
// The kernel makes a text of them for each reader, a line for a symbol: its address, a letter
// that says what it is, its name, and its module. That takes some 50 ms, so whoever
// looks for several names does it in one pass ([Functions], [Find]), and a [Symbol] is a view
// of the line, which the next one overwrites.
//
// Names are not unique: static functions of several files may have one, and a module may have
// that of the kernel. Looking up the address of such a name fails with [ErrAmbiguous]; asking
// whether the name exists does not. To a process without the right to see them, the kernel
// shows all addresses as zero.
package kallsyms

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"strconv"
)

// Path has the symbols.
const Path = "/proc/kallsyms"

// Symbol is a symbol of the kernel, until the next one is read.
type Symbol struct {
	Name []byte
	// Kind is a letter as in nm(1).
	Kind byte
	// hex is the address.
	hex []byte
}

// IsFunction reports whether the symbol is that of a function.
func (s Symbol) IsFunction() bool { return bytes.IndexByte([]byte("tTwW"), s.Kind) >= 0 }

// Address returns the symbol's address. It fails with [fs.ErrPermission] when the kernel
// hides it, as it shows zeros then.
func (s Symbol) Address() (uint64, error) {
	addr, err := ParseAddress(string(s.hex))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", Path, err)
	}
	return addr, nil
}

// ParseAddress returns the address in a list of the kernel. It fails with
// [fs.ErrPermission] when the kernel hides it.
func ParseAddress(hex string) (uint64, error) {
	addr, err := strconv.ParseUint(hex, 16, 64)
	if err == nil && addr == 0 {
		err = errHidden
	}
	return addr, err
}

// hiddenError reports that the kernel hides addresses from this process. It is a type so that no
// process makes one when it starts.
type hiddenError struct{}

var errHidden error = hiddenError{}

// restriction is the sysctl that says from whom addresses are hidden. At 2 it is every process;
// at 1, and at 0 where kernel.perf_event_paranoid is above 1, those without CAP_SYSLOG.
const restriction = "/proc/sys/kernel/kptr_restrict"

func (hiddenError) Error() string {
	level, err := os.ReadFile(restriction)
	if err == nil && len(level) > 0 && level[0] == '2' {
		return "the kernel hides addresses from all processes, as kernel.kptr_restrict is 2: `sysctl kernel.kptr_restrict=1`: " + fs.ErrPermission.Error()
	}
	return "the kernel hides addresses from processes without CAP_SYSLOG (kernel.kptr_restrict): run it as root, or with `setcap cap_syslog+ep` on its file: " + fs.ErrPermission.Error()
}

func (hiddenError) Unwrap() error { return fs.ErrPermission }

// All reads the symbols. There are some hundred thousand, so nothing is allocated for one.
func All() iter.Seq2[Symbol, error] {
	return func(yield func(Symbol, error) bool) {
		f, err := os.Open(Path)
		if err != nil {
			yield(Symbol{}, err)
			return
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if !yield(parse(lines.Bytes()), nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Symbol{}, err)
		}
	}
}

// parse reads "ffffffff81000000 T name" or "... t name\t[module]".
func parse(line []byte) Symbol {
	hex, rest, _ := bytes.Cut(line, []byte(" "))
	kind, name, _ := bytes.Cut(rest, []byte(" "))
	name, _, _ = bytes.Cut(name, []byte("\t"))
	s := Symbol{Name: name, hex: hex}
	if len(kind) > 0 {
		s.Kind = kind[0]
	}
	return s
}

// Functions sets those of the names to true that are functions of the kernel or a module.
func Functions(names map[string]bool) error {
	left := len(names)
	for s, err := range All() {
		if err != nil || left == 0 {
			return err
		}
		if found, ok := names[string(s.Name)]; ok && !found && s.IsFunction() {
			names[string(s.Name)] = true
			left--
		}
	}
	return nil
}

// HasFunction reports whether the kernel or a module has a function of the name. It does
// not where the symbols cannot be read.
func HasFunction(name string) bool {
	names := map[string]bool{name: false}
	return Functions(names) == nil && names[name]
}

// ErrAmbiguous reports that the kernel has several symbols of a name.
var ErrAmbiguous = errors.New("the kernel has more than one symbol of this name, and there is no way to name one of them")

// Find sets the addresses of the symbols, and takes those out that the kernel does not
// have. It fails, when it has looked for all, with [fs.ErrPermission] when the kernel hides
// addresses, and with [ErrAmbiguous]. One that is at zero is not an error: some are.
func Find(symbols map[string]uint64) error { return find(symbols, All()) }

func find(symbols map[string]uint64, all iter.Seq2[Symbol, error]) error {
	found := make(map[string]uint64, len(symbols))
	shown := false
	var ambiguous error
	for s, err := range all {
		if err != nil {
			return err
		}
		shown = shown || !s.isZero()
		name := s.Name
		if s.Kind == 'd' {
			// As libbpf: clang's linker gives static variables that it makes global a suffix.
			name, _, _ = bytes.Cut(name, []byte(".llvm."))
		}
		if _, ok := symbols[string(name)]; !ok {
			continue
		}
		addr, err := s.Address()
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		if known, ok := found[string(name)]; ok && known != addr {
			ambiguous = fmt.Errorf("%s: %w", name, ErrAmbiguous)
		}
		found[string(name)] = addr
	}
	clear(symbols)
	maps.Copy(symbols, found)
	if len(found) > 0 && !shown {
		return errHidden
	}
	return ambiguous
}

// isZero reports whether the symbol is at zero, as all are when the kernel hides addresses.
func (s Symbol) isZero() bool { return len(bytes.Trim(s.hex, "0")) == 0 }
