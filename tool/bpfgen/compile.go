package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/depfile"
)

func compile(flags *flag.FlagSet, args []string, std streams) error {
	out := flags.String("o", "", "object `file` to write")
	inputs := flags.String("inputs", "", "`file` that lists the headers that clang may read, one per line")
	unused := flags.String("unused", "", "`file` to write: the lines of -inputs that clang did not read")
	if err := parse(flags, args, "o"); err != nil {
		return err
	}
	switch {
	case (*inputs == "") != (*unused == ""):
		return usageError{errors.New("flags -inputs and -unused belong together")}
	case flags.NArg() == 0:
		return usageError{errors.New("no compiler given after --")}
	}
	clang := flags.Arg(0)
	clangArgs, err := expandArgsFile(flags.Args()[1:])
	if err != nil {
		return err
	}

	// Clang writes beside the output, so that a failure later on, or a clang that
	// is killed, leaves no object that looks finished.
	target, err := newOutput(*out)
	if err != nil {
		return err
	}
	defer target.discard()
	object := target.temp
	defer os.Remove(object + ".args")
	own := []string{"-o", object}
	if *unused != "" {
		own = append(own, "-MD", "-MF", object+".d")
		defer os.Remove(object + ".d")
	}
	// Before the caller's: what follows a -- among those are files.
	clangArgs = append(own, clangArgs...)
	if lengthOf(clangArgs) > maxCommandLine {
		if err := writeResponseFile(object+".args", clangArgs); err != nil {
			return fmt.Errorf("%s: %w", *out, err)
		}
		clangArgs = []string{"@" + object + ".args"}
	}
	if err := runClang(clang, clangArgs, std); err != nil {
		return err
	}
	if info, err := os.Stat(object); err != nil || info.Size() == 0 {
		return fmt.Errorf("%s: %s wrote no object: give it -c and a source, and leave -o to bpfgen", *out, clang)
	}
	if *unused != "" {
		deps, err := readDeps(object + ".d")
		if err != nil {
			return fmt.Errorf("%s: the dependency file that %s wrote: %w", *out, clang, quote.Cause(err))
		}
		if err := writeUnused(*unused, *inputs, deps); err != nil {
			return err
		}
	}
	return target.commit()
}

// argsFlag, as the first argument of the compiler, names a file with the rest of them, one a
// line: build systems that write it know nothing of the compiler's way of quoting.
const argsFlag = "-bpfgen-args="

// expandArgsFile returns the arguments of the compiler, those in a file among them.
func expandArgsFile(args []string) ([]string, error) {
	if len(args) == 0 {
		return args, nil
	}
	file, ok := strings.CutPrefix(args[0], argsFlag)
	if !ok {
		return args, nil
	}
	lines, err := readLines(file)
	if err != nil {
		return nil, inFile(file, err)
	}
	return append(lines, args[1:]...), nil
}

// maxCommandLine is how long the arguments of the compiler may be. Windows takes 32,767
// characters, the others more.
const maxCommandLine = 30_000

func lengthOf(args []string) int {
	n := 0
	for _, arg := range args {
		n += len(arg) + len(" ")
	}
	return n
}

// writeResponseFile writes arguments in the way that clang and gcc read them in a file: a
// backslash takes the meaning from each character.
func writeResponseFile(name string, args []string) error {
	var b strings.Builder
	for _, arg := range args {
		b.WriteByte('"')
		for i := range len(arg) {
			if arg[i] == '"' || arg[i] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(arg[i])
		}
		b.WriteString("\"\n")
	}
	return os.WriteFile(name, []byte(b.String()), 0o666)
}

// runClang runs the compiler. Its messages are its own, and so is the status.
func runClang(clang string, args []string, std streams) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, clang, args...)
	cmd.Stdout, cmd.Stderr = std.stdout, std.stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: was interrupted", clang)
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exitError(exit.ExitCode())
	case errors.As(err, &exit):
		return fmt.Errorf("%s: ended without a status: %w", clang, err)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: there is no such compiler: install clang 14 or newer, or give the path of one", clang)
	}
	return fmt.Errorf("%s: cannot be run: %w: give the path of clang 14 or newer", clang, quote.Cause(err))
}

func readDeps(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return depfile.Parse(data)
}

// headerExtensions are those of files that a compile reads only where a source includes them,
// which the compiler reports.
var headerExtensions = []string{".h", ".hh", ".hpp", ".hxx"}

// writeUnused writes the lines of the file inputs that are not among deps. In doubt a file
// counts as used: only headers are written, and none where the assembler reads files too, which
// no dependency file lists.
func writeUnused(unused, inputs string, deps []string) error {
	lines, err := readLines(inputs)
	if err != nil {
		return inFile(inputs, err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	var b strings.Builder
	if !slices.ContainsFunc(deps, includesBinary) {
		for _, line := range depfile.Unused(lines, deps, dir) {
			if slices.Contains(headerExtensions, strings.ToLower(filepath.Ext(line))) {
				b.WriteString(line)
				b.WriteByte('\n')
			}
		}
	}
	return writeFile(unused, []byte(b.String()))
}

// includesBinary reports whether a file that the compiler has read has a directive by which
// the assembler reads another one, or cannot be read.
func includesBinary(file string) bool {
	data, err := os.ReadFile(file)
	return err != nil || bytes.Contains(data, []byte("incbin"))
}
