//go:build !linux

package skeleton

import "errors"

var errNotLinux = errors.New("only Linux has it")

func virtualKconfig(string) (uint64, error) { return 0, errNotLinux }

func kernelRelease() (string, error) { return "", errNotLinux }
