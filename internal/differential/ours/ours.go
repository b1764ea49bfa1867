//go:build linux

// Package ours is the loader of this repository in the protocol of package differential: it
// loads images as generated code does.
package ours

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/differential"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// Serve loads the object of an image, or one program of it when its name is not empty, and
// keeps it as the protocol says. It is all that its process does.
func Serve(data, program string) error {
	runtime.LockOSThread()
	if err := differential.Isolate(); err != nil {
		return err
	}
	obj, err := skeleton.OpenObject(data)
	if err != nil {
		return Refuse(err)
	}
	defer obj.Close()
	if program != "" {
		for p := range obj.AllPrograms() {
			if err := p.SetAutoload(p.Name() == program); err != nil {
				return err
			}
		}
	}
	if err := obj.Load(); err != nil {
		return Refuse(err)
	}
	loaded, err := made(obj)
	if err != nil {
		return err
	}
	return differential.Serve(loaded)
}

// Refuse is in place of [Serve] for an object that is not loaded.
func Refuse(err error) error {
	fmt.Fprintln(os.Stderr, err)
	loaded := differential.Loaded{Error: -1}
	var errno unix.Errno
	if errors.As(err, &errno) {
		loaded.Error = -int(errno)
	}
	return differential.Serve(loaded)
}

// made returns what the kernel has of the object.
func made(obj *skeleton.Object) (differential.Loaded, error) {
	var loaded differential.Loaded
	for m := range obj.AllMaps() {
		made := differential.Made{Name: m.Name()}
		if m.Map() != nil {
			info, err := m.Map().Info()
			if err != nil {
				return loaded, err
			}
			id, _ := info.ID()
			made.ID = uint32(id)
		}
		loaded.Maps = append(loaded.Maps, made)
	}
	for p := range obj.AllPrograms() {
		made := differential.Made{Name: p.Name(), AttachType: uint32(p.AttachType())}
		if p.Program() != nil {
			info, err := p.Program().Info()
			if err != nil {
				return loaded, err
			}
			id, _ := info.ID()
			made.ID = uint32(id)
		}
		loaded.Programs = append(loaded.Programs, made)
	}
	return loaded, nil
}
