//go:build !linux

package kconfig

import "errors"

var errNotLinux = errors.New("only Linux has it")

func Virtual(string) (uint64, error) { return 0, errNotLinux }
