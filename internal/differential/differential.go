//go:build linux

// Package differential compares two loaders by what the kernel has of an object that each
// has loaded: the instructions that the verifier has left of the programs, their records of
// functions and lines, and the definitions and contents of the maps. One is libbpf
// (package libbpf), the other that of this repository.
//
// # Protocol
//
// Each loader is a process, so that what one leaves behind or breaks does not affect the other.
// It loads the object, prints [Made] as JSON in one line, and keeps all open until its standard
// input ends.
package differential

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Loaded is what a loader says that it has made.
type Loaded struct {
	// Error is the errno of an object that was not loaded, -1 for an error without one.
	// What was to be loaded is listed all the same, if it is known.
	Error int `json:"error"`
	// Maps and Programs are all of the object.
	Maps     []Made `json:"maps"`
	Programs []Made `json:"programs"`
}

// Made is a map or a program in the kernel.
type Made struct {
	// Name is that in the object, or the name of a section.
	Name string `json:"name"`
	// ID is the kernel's, 0 for what was not made.
	ID uint32 `json:"id"`
	// AttachType is a program's expected one.
	AttachType uint32 `json:"attach_type"`
}

// Isolate gives the process, whose only thread or locked thread it must be called from, a
// bpffs of its own on /sys/fs/bpf.
func Isolate() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount bpffs on /sys/fs/bpf: %w", err)
	}
	return nil
}

// Serve is the end of a loader's process that is written in Go.
func Serve(loaded Loaded) error {
	if err := json.NewEncoder(os.Stdout).Encode(loaded); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// RefusedError is of an object that a loader, or the kernel, does not load.
type RefusedError struct {
	Loaded Loaded
	// Messages are what the loader has printed of it.
	Messages string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%v: %s", unix.Errno(max(e.Loaded.Error, -e.Loaded.Error)), strings.TrimSpace(e.Messages))
}

// load runs a loader and takes a snapshot of what it makes. The error of an object that it
// does not load is a [RefusedError].
func load(cmd *exec.Cmd) (*Snapshot, error) {
	var messages strings.Builder
	cmd.Stderr = &messages
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var loaded Loaded
	var snapshot *Snapshot
	err = json.NewDecoder(stdout).Decode(&loaded)
	if err == nil && loaded.Error == 0 {
		snapshot, err = Take(loaded.Maps, loaded.Programs)
	}
	stdin.Close()
	// Messages are complete when it has ended.
	err = errors.Join(err, cmd.Wait())
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w\n%s", cmd.Path, err, messages.String())
	case loaded.Error != 0:
		return nil, &RefusedError{loaded, messages.String()}
	}
	return snapshot, nil
}

// Side is a loader: it returns the command that loads an object, or one program of it
// when its name is not empty.
type Side func(object, program string) *exec.Cmd

// Result is what two loaders make of an object.
type Result struct {
	// Libbpf and Ours are why one does not load it, nil when it does.
	Libbpf, Ours *RefusedError
	// Differences are those of an object that both load. What only one loads has one.
	Differences []Difference
}

// Object loads an object, or one program of it, with both. The error is of the loaders
// themselves.
func Object(libbpf, ours Side, object, program string) (*Result, error) {
	r := new(Result)
	want, err := load(libbpf(object, program))
	if err != nil && !errors.As(err, &r.Libbpf) {
		return nil, err
	}
	got, err := load(ours(object, program))
	if err != nil && !errors.As(err, &r.Ours) {
		return nil, err
	}
	switch {
	case want != nil && got != nil:
		r.Differences = Compare(want, got)
	case want != nil:
		of := program
		if of == "" {
			of = Whole
		}
		r.Differences = []Difference{{of, "libbpf loads it, we do not: " + r.Ours.Error()}}
	}
	return r, nil
}

// Whole stands for all of an object in the place of a program.
const Whole = "*"
