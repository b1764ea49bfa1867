//go:build !linux

package bpftest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
)

// errNotLinux is what the calls fail with. NeedsBPF skips the test for it, so that the tests
// of a program for several systems compile and run on all of them.
var errNotLinux = fmt.Errorf("BPF: %w", errors.ErrUnsupported)

func createMap() error                            { return errNotLinux }
func mounted(string, uint32) bool                 { return false }
func mount(string, string) error                  { return errNotLinux }
func unmount(string) error                        { return errNotLinux }
func unshareNet() error                           { return errNotLinux }
func setNetNS(*os.File) error                     { return errNotLinux }
func setCongestionControl(uintptr, string) error  { return errNotLinux }
func setUp(int) error                             { return errNotLinux }
func addVeth(string, *os.File, string) error      { return errNotLinux }
func addAddr(int, netip.Prefix) error             { return errNotLinux }
func mountDelegated() error                       { return errNotLinux }
func runInContainer(*testing.T, Delegation) error { return errNotLinux }
