//go:build !linux

package sys

import (
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
)

// errNotLinux is the error of all calls.
var errNotLinux = fmt.Errorf("BPF of Linux: %w", ebpf.ErrNotSupported)

// Bpf fails: only Linux has the system call.
func Bpf(Cmd, unsafe.Pointer, uintptr) (int, error) { return -1, errNotLinux }

func call(Cmd, unsafe.Pointer, uintptr, bool) (int, error) { return -1, errNotLinux }

// Close fails as the others do.
func Close(int) error { return errNotLinux }

// Dup fails as the others do.
func Dup(int) (int, error) { return -1, errNotLinux }

// ProgLoad fails as the others do.
func ProgLoad(*ProgLoadAttr, bool) (int, error) { return -1, errNotLinux }

// KernelRelease fails as the others do.
func KernelRelease() (string, error) { return "", errNotLinux }

// KernelMachine fails as the others do.
func KernelMachine() (string, error) { return "", errNotLinux }
