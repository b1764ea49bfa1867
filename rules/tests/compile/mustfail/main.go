// Mustfail runs a command that has to fail, and keeps what it writes to stderr.
//
//	mustfail OUTPUT COMMAND ARGUMENT...
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "mustfail: %v\n", err)
		os.Exit(1)
	}
}

func run(output string, command []string) error {
	var stderr bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return fmt.Errorf("%s succeeded, and wrote %q", command[0], &stderr)
	case !errors.As(err, &exit):
		return err
	}
	return os.WriteFile(output, stderr.Bytes(), 0o644)
}
