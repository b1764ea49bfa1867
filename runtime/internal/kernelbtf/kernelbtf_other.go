//go:build !linux

package kernelbtf

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// errNotLinux is the error of all that asks for the kernel.
var errNotLinux = fmt.Errorf("BTF of Linux: %w", ebpf.ErrNotSupported)

func (*Kernel) vmlinuxBTF() ([]byte, error) { return nil, errNotLinux }

func (*Kernel) moduleBTF(string) ([]byte, error) { return nil, errNotLinux }

func moduleNames() ([]string, error) { return nil, errNotLinux }

func unmap([]byte) {}
