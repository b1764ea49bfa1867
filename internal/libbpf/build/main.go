// Command build makes the program of package libbpf for tests under Bazel, which find it
// among their data. On a machine that cannot make it, the file is a text of what is
// missing, and the tests are skipped.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/rules-bpf/rules_bpf/internal/libbpf"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: build OUT")
		os.Exit(1)
	}
	err := libbpf.Build(os.Args[1])
	if errors.Is(err, libbpf.ErrMissing) {
		err = os.WriteFile(os.Args[1], []byte(err.Error()), 0o777)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
