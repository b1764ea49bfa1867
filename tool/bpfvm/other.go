//go:build !linux

package main

import (
	"errors"
	"runtime"
	"time"
)

// Bazel builds it for the machine that runs tests, and tests for Linux on any.
func runConfig(string, time.Time) (int, error) {
	return 0, errSkip{"needs a machine with Linux to run on, or QEMU, and this one has " + runtime.GOOS}
}

func runByHand([]string, time.Time) (int, error) {
	return 0, errors.New("runs tests on Linux only, and on other systems the subcommands report and merge: see bpfvm report -h")
}
