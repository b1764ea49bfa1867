// Goldens writes all files anew that tests compare with what they get:
//
//	go run ./dev/goldens
//
// What changed is for git diff to show and for people to judge. The reference of the
// rules is made of what Bazel extracts; -bazel= does without.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/goldens"
)

// modules are the directories of the Go modules that have such tests.
var modules = []string{".", "gazelle", "dev/docs"}

// targets are the tests that need what Bazel makes.
var targets = []string{"//dev/docs:docs_test"}

func main() {
	bazel := flag.String("bazel", "./bazelw", "the Bazel for tests that need one; empty to do without")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*bazel); err != nil {
		fmt.Fprintln(os.Stderr, "goldens:", err)
		os.Exit(1)
	}
}

func run(bazel string) error {
	out, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return fmt.Errorf("git rev-parse: %w: run this in a clone", err)
	}
	if err := os.Chdir(strings.TrimSpace(string(out))); err != nil {
		return err
	}
	if err := os.Setenv(goldens.Env, "1"); err != nil {
		return err
	}
	for _, module := range modules {
		if err := update(module); err != nil {
			return err
		}
	}
	if bazel == "" {
		return nil
	}
	for _, target := range targets {
		if err := command(bazel, "run", target); err != nil {
			return err
		}
	}
	return nil
}

// update runs the tests of a Go module that compare with files.
func update(module string) error {
	list, err := exec.Command("go", "list", "-C", module, "-f", `{{.ImportPath}}{{range .TestImports}} {{.}}{{end}}{{range .XTestImports}} {{.}}{{end}}`, "./...").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	args := []string{"test", "-C", module, "-count=1"}
	for line := range strings.Lines(string(list)) {
		fields := strings.Fields(line)
		for _, imported := range fields[1:] {
			if strings.HasSuffix(imported, "/internal/goldens") {
				args = append(args, fields[0])
				break
			}
		}
	}
	return command("go", args...)
}

func command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout = os.Stdout
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	return nil
}
