// Bpfvm runs a test in a kernel that QEMU boots, of this machine's CPU or another:
//
//	bpfvm -kernel IMAGE -- ./my.test -test.v
//
// bpfvm report and bpfvm merge read what bpf_verifier_test and bpfgen verify have written.
//
// It is also the executable of a bpf_test. Then a file beside it, whose name is its
// own with ".json" at the end, says what to run, in which kernel; that may be the
// one of this machine.
//
// In a kernel of its own, the test finds its files at the same paths as on the host.
// What it writes for Bazel or for `go test` (reports, outputs, coverage) comes back
// to the host. The exit status is the test's.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// exitFailed is the exit status when the test has none.
const exitFailed = 1

// errSkip is an error for which a test is skipped, and does not fail.
type errSkip struct{ reason string }

func (e errSkip) Error() string { return e.reason }

func main() {
	started := time.Now()
	status, err := run(started)
	var skip errSkip
	if errors.As(err, &skip) {
		err = reportSkip(skip.reason)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bpfvm:", err)
		status = exitFailed
	}
	os.Exit(status)
}

func run(started time.Time) (int, error) {
	// Bazel runs it by a path. A name alone was found on PATH, and the file of that name in
	// the current directory is not its own.
	if strings.Contains(os.Args[0], "/") {
		self, err := filepath.Abs(os.Args[0])
		if err != nil {
			return 0, err
		}
		if _, err := os.Stat(self + ".json"); err == nil {
			return runConfig(self+".json", started)
		}
	}
	if len(os.Args) > 1 {
		if subcommand := subcommands[os.Args[1]]; subcommand != nil {
			status, err := subcommand(os.Args[2:], os.Stdout)
			if err != nil {
				// Subcommands have exit statuses of their own.
				fmt.Fprintln(os.Stderr, "bpfvm:", err)
			}
			return status, nil
		}
	}
	return runByHand(os.Args[1:], started)
}
