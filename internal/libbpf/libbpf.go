// Package libbpf runs libbpf, to which the loader of this repository is compared. Only
// tests and tools of the workshop need it.
//
// It is a program in C, linked statically with the libbpf that the machine has, so that it
// runs in virtual machines too: [Build] makes it, [Open] takes one that is made.
package libbpf

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed reference/reference.c
var source string

// ErrMissing is of a machine that cannot make the program. The text says what it needs.
var ErrMissing = errors.New("needs clang and the static libraries of libbpf, libelf, zlib and zstd, on this machine or in the root directory of bazelw")

// Build compiles the program to a file. The libraries are those of the root directory that
// bazelw has set up last, or else the machine's.
func Build(path string) error {
	clang, err := exec.LookPath("clang")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	args := []string{"-x", "c", "-O2", "-Wall", "-static", "-o", path, "-", "-lbpf", "-lelf", "-lz", "-lzstd"}
	if root := newestRoot(); root != "" {
		args = append([]string{"--sysroot=" + root}, args...)
	}
	cmd := exec.Command(clang, args...)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %w\n%s", ErrMissing, err, out)
	}
	return nil
}

// newestRoot returns bazelw's root directory with libbpf, empty when there is none.
func newestRoot() string {
	cache := os.Getenv("RULES_BPF_BAZELW_CACHE")
	if cache == "" {
		if user, err := os.UserCacheDir(); err == nil {
			cache = filepath.Join(user, "rules_bpf", "bazelw")
		}
	}
	var newest string
	var made time.Time
	libraries, _ := filepath.Glob(filepath.Join(cache, "root-*/usr/lib/*/libbpf.a"))
	for _, library := range libraries {
		info, err := os.Stat(library)
		if err == nil && info.ModTime().After(made) {
			// From usr/lib/ARCH/libbpf.a.
			newest, made = filepath.Join(library, "../../../.."), info.ModTime()
		}
	}
	return newest
}

// Reference is the program.
type Reference struct {
	path string
	// Version is libbpf's.
	Version string
}

// Open returns the program of a file. A file that is not the program says what was missing to
// build it: the error is [ErrMissing].
func Open(path string) (*Reference, error) {
	out, err := exec.Command(path, "version").Output()
	if errors.Is(err, syscall.ENOEXEC) {
		text, _ := os.ReadFile(path)
		return nil, fmt.Errorf("%w: %s", ErrMissing, text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Reference{path, strings.TrimSpace(string(out))}, nil
}

// Command loads an object, or one program of it when its name is not empty, and speaks the
// protocol of package differential.
func (r *Reference) Command(object, program string) *exec.Cmd {
	args := []string{"load", object}
	if program != "" {
		args = append(args, program)
	}
	return exec.Command(r.path, args...)
}

// Spent is what opening and loading an object has taken: CPU time in user and kernel mode,
// and the time that passed.
type Spent struct {
	CPU, Wall time.Duration
}

// Time opens, loads and destroys an object several times in one process, as skeletons of
// bpftool do. [ParseTimes] reads what the command prints.
func (r *Reference) Time(count int, object string) *exec.Cmd {
	return exec.Command(r.path, "time", strconv.Itoa(count), object)
}

// Records has an object send records and reads them: from a BPF ring buffer, or with perf from a
// perf event array, as many bursts. It returns the CPU time of one record. What the object must
// have stands in the program's source.
func (r *Reference) Records(perf bool, bursts int, object string) (nanoseconds float64, err error) {
	kind := "ring"
	if perf {
		kind = "perf"
	}
	out, err := exec.Command(r.path, "records", kind, strconv.Itoa(bursts), object).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		return 0, err
	}
	var records, spent float64
	if _, err := fmt.Sscan(string(out), &records, &spent); err != nil || records == 0 {
		return 0, fmt.Errorf("%q: %v", out, err)
	}
	return spent / records, nil
}

// ParseTimes reads the times, and the process's peak of resident memory, in bytes.
func ParseTimes(text string) (spent []Spent, peak int64, err error) {
	for line := range strings.Lines(text) {
		var s Spent
		if n, _ := fmt.Sscan(line, &s.CPU, &s.Wall); n == 2 {
			spent = append(spent, s)
			continue
		}
		if _, err := fmt.Sscan(line, &peak); err != nil {
			return nil, 0, fmt.Errorf("%q: %w", line, err)
		}
	}
	return spent, peak << 10, nil
}
