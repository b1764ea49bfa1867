//go:build !linux

package verify

import (
	"errors"
	"runtime"
)

// Run fails: only Linux has a verifier.
func Run(Options) (*Report, error) {
	return nil, errors.New("programs are verified by a kernel of Linux, and this is " + runtime.GOOS + ": run it there, or in a kernel that bpf_verifier_test or bpfvm boots")
}
