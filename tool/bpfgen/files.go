package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeFile writes a file as a whole or not at all.
func writeFile(name string, data []byte) error {
	tmp, err := createBeside(name)
	if err != nil {
		return err
	}
	// After the rename there is nothing left to remove.
	defer os.Remove(tmp)
	if err := os.WriteFile(tmp, data, 0o666); err != nil {
		return inFile(name, err)
	}
	return rename(tmp, name)
}

// createBeside makes an empty file with a name of its own in the folder of the
// file called name, so that it can be renamed to it later.
func createBeside(name string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp")
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

func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return inFile(to, err)
	}
	return nil
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
		return fmt.Errorf("%s: %w", name, reason(err))
	}
	var all []error
	for _, err := range list.Unwrap() {
		all = append(all, inFile(name, err))
	}
	return errors.Join(all...)
}

// reason is an error of the file system without the file's name, which the
// message has in front already.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
