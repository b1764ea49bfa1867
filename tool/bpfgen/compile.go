package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

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
	clang, clangArgs := flags.Arg(0), flags.Args()[1:]

	// Clang writes beside the output, so that a failure later on, or a clang that
	// is killed, leaves no object that looks finished.
	target, err := newOutput(*out)
	if err != nil {
		return err
	}
	defer target.discard()
	object := target.temp
	own := []string{"-o", object}
	if *unused != "" {
		own = append(own, "-MD", "-MF", object+".d")
		defer os.Remove(object + ".d")
	}
	// In front: what follows a -- of the caller's are files.
	if err := runClang(clang, append(own, clangArgs...), std); err != nil {
		return err
	}
	if info, err := os.Stat(object); err != nil || info.Size() == 0 {
		return fmt.Errorf("%s: %s wrote no object: give it -c and a source, and leave -o to bpfgen", *out, clang)
	}
	if *unused != "" {
		deps, err := readDeps(object + ".d")
		if err != nil {
			return fmt.Errorf("%s: the dependency file that %s wrote: %w", *out, clang, reason(err))
		}
		if err := writeUnused(*unused, *inputs, deps); err != nil {
			return err
		}
	}
	return target.commit()
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
	return fmt.Errorf("%s: cannot be run: %w: give the path of clang 14 or newer", clang, reason(err))
}

func readDeps(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return depfile.Parse(data)
}

// writeUnused writes the lines of the file inputs that are not among deps.
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
	for _, line := range depfile.Unused(lines, deps, dir) {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return writeFile(unused, []byte(b.String()))
}
