package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// output is a file that a subcommand writes. A regular one is there as a whole or not at all:
// it is written under another name, and renamed. What is not a regular file (a device, a pipe)
// is written into, as compilers do, and stays what it is.
//
// A symbolic link to a regular file, or to nothing, is replaced, as cc and go build
// do: its target stays as it is. One to a device or a pipe is written through, and so
// is one to an open file of this process (/dev/stdout, /dev/fd/3), whatever that is.
type output struct {
	name string
	// temp is the file that holds the contents until they are complete.
	temp string
	// special is true when temp is copied into what the name stands for, not renamed.
	special bool
}

// newOutput prepares to write the file called name. The caller writes to temp, then
// calls commit, and discard in any case.
func newOutput(name string) (*output, error) {
	special, err := isSpecial(name)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(name)
	if special {
		// The directory may be /dev, where a file of ours has no business.
		dir = os.TempDir()
	}
	temp, err := createTemp(dir, name)
	return &output{name, temp, special}, err
}

// isSpecial reports whether an output is written into, and not replaced.
func isSpecial(name string) (bool, error) {
	if _, open := openDescriptor(name); open {
		return true, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		// An error shows when the file is written.
		return false, nil
	}
	if info.IsDir() {
		return false, fmt.Errorf("%s: is a directory: give the name of a file", quote.Text(name))
	}
	return !info.Mode().IsRegular(), nil
}

// createTemp makes an empty file in the directory dir, with a name of its own after the
// output called name.
func createTemp(dir, name string) (string, error) {
	f, err := os.CreateTemp(dir, filepath.Base(name)+".*.tmp")
	if err != nil {
		return "", inFile(name, err)
	}
	// CreateTemp makes files that only their owner can read; an output has the
	// rights of any other new file, as far as can be known without asking for the
	// process's umask, which cannot be done without changing it.
	err = f.Chmod(0o644)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(f.Name())
		return "", inFile(name, err)
	}
	return f.Name(), nil
}

// commit makes what temp holds the contents of the output.
func (o *output) commit() error {
	if !o.special {
		if err := os.Rename(o.temp, o.name); err != nil {
			return inFile(o.name, err)
		}
		return nil
	}
	data, err := os.ReadFile(o.temp)
	if err != nil {
		return inFile(o.name, err)
	}
	return writeInto(o.name, data)
}

// discard removes what commit has not made the output.
func (o *output) discard() { os.Remove(o.temp) }

// writeFile writes a regular file as a whole or not at all, and anything else as it
// can be written.
func writeFile(name string, data []byte) error {
	if special, err := isSpecial(name); err != nil {
		return err
	} else if special {
		return writeInto(name, data)
	}
	o, err := newOutput(name)
	if err != nil {
		return err
	}
	defer o.discard()
	if err := os.WriteFile(o.temp, data, 0o666); err != nil {
		return inFile(name, err)
	}
	return o.commit()
}

// writeInto writes to what the name stands for, which is not a regular file, or is open
// already.
func writeInto(name string, data []byte) error {
	var f *os.File
	// By its number: opening a descriptor by its name would start at the file's first
	// byte again, and is not possible for a socket.
	switch fd, _ := openDescriptor(name); fd {
	case -1:
		var err error
		if f, err = os.OpenFile(name, os.O_WRONLY, 0); err != nil {
			return inFile(name, err)
		}
		defer f.Close()
	case 1:
		f = os.Stdout
	case 2:
		f = os.Stderr
	default:
		f = os.NewFile(uintptr(fd), name)
		defer f.Close()
	}
	if _, err := f.Write(data); err != nil {
		return inFile(name, err)
	}
	return nil
}

// openDescriptor returns the number of the open file of this process that the name
// stands for by way of symbolic links: that of /dev/stdout is 1 on Linux. It returns
// -1 and false for any other name.
func openDescriptor(name string) (int, bool) {
	const maxLinks = 40 // as the kernel has it
	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(name))
		if err != nil {
			break
		}
		if abs, err := filepath.Abs(dir); err == nil && abs == fmt.Sprintf("/proc/%d/fd", os.Getpid()) {
			if fd, err := strconv.Atoi(filepath.Base(name)); err == nil {
				return fd, true
			}
		}
		target, err := os.Readlink(name)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		name = target
	}
	return -1, false
}

// readLines returns the lines of a file, without their ends.
func readLines(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		lines = append(lines, strings.TrimSuffix(line, "\r"))
	}
	return lines, nil
}

// inFile puts the name of a file before an error. An error that is a list gets
// it on every line, each of which stands for itself.
func inFile(name string, err error) error {
	list, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", quote.Text(name), quote.Cause(err))
	}
	var all []error
	for _, err := range list.Unwrap() {
		all = append(all, inFile(name, err))
	}
	return errors.Join(all...)
}
