package load_test

import (
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// gateEnv makes the program a gate: it waits for the end of its standard input, and becomes
// the command of its arguments.
const gateEnv = "LOAD_TEST_GATE"

func TestMain(m *testing.M) {
	if os.Getenv(gateEnv) == "" {
		os.Exit(m.Run())
	}
	if err := gate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func gate() error {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	if err := os.Unsetenv(gateEnv); err != nil {
		return err
	}
	return unix.Exec(os.Args[1], os.Args[1:], os.Environ())
}
