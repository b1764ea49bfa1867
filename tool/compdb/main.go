// Command compdb writes compile_commands.json, from which clangd and other editors' tools
// know how BPF sources are compiled, and so what their headers are.
//
//	bazel run @rules_bpf//:compile_commands [-- [-o FILE] TARGETS]
//
// It asks Bazel for the actions BpfCompile of the targets, //... unless others are named, and
// writes an entry for each source and for each header of the repository that one of them may
// include. It builds the objects first, so that generated headers such as vmlinux.h are there;
// where that fails, it says so and goes on. The file is compile_commands.json in the root of
// the workspace unless -o says another, and is replaced.
//
// The Bazel that it runs is that of the variable BAZEL, or bazel or bazelisk on PATH.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compile_commands:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("compile_commands", flag.ContinueOnError)
	output := flags.String("o", "compile_commands.json", "the file to write, from the root of the workspace")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	targets := flags.Args()
	if len(targets) == 0 {
		targets = []string{"//..."}
	}
	workspace := os.Getenv("BUILD_WORKSPACE_DIRECTORY")
	if workspace == "" {
		return errors.New("no workspace: run it with bazel run @rules_bpf//:compile_commands")
	}
	b, err := findBazel(workspace)
	if err != nil {
		return err
	}
	// What does not compile is what the editor is for.
	if err := b.build(targets); err != nil {
		fmt.Fprintf(os.Stderr, "compile_commands: %v: headers that it would have made may be missing\n", err)
	}
	root, err := b.output("info", "execution_root")
	if err != nil {
		return err
	}
	graph, err := b.output("aquery", "--keep_going", "--output=jsonproto", "--experimental_output_paths=off",
		fmt.Sprintf("mnemonic(%q, deps(set(%s)))", mnemonic, strings.Join(targets, " ")))
	switch {
	case err != nil && len(graph) == 0:
		return err
	case err != nil:
		fmt.Fprintf(os.Stderr, "compile_commands: %v: what could not be analysed is left out\n", err)
	}
	entries, err := entriesOf(graph, workspace, strings.TrimSpace(string(root)))
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return fmt.Errorf("%s: no BPF source is compiled for them", strings.Join(targets, " "))
	}
	path := *output
	if !filepath.IsAbs(path) {
		path = filepath.Join(workspace, path)
	}
	return write(path, entries)
}

// write replaces the file in one step, as editors watch it.
func write(path string, entries []entry) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(entries); err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, text.Bytes(), 0o644); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	fmt.Printf("compile_commands: %d entries in %s\n", len(entries), path)
	return nil
}

// bazel is the command of a workspace.
type bazel struct{ path, workspace string }

func findBazel(workspace string) (*bazel, error) {
	if path := os.Getenv("BAZEL"); path != "" {
		return &bazel{path, workspace}, nil
	}
	for _, name := range []string{"bazel", "bazelisk"} {
		if path, err := exec.LookPath(name); err == nil {
			return &bazel{path, workspace}, nil
		}
	}
	return nil, errors.New("neither bazel nor bazelisk is on PATH: name one by the variable BAZEL")
}

func (b *bazel) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.path, args...)
	cmd.Dir = b.workspace
	cmd.Stderr = os.Stderr
	return cmd
}

// output runs a command of Bazel, and returns what it prints, with an error too.
func (b *bazel) output(args ...string) ([]byte, error) {
	out, err := b.command(args...).Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", b.path, args[0], err)
	}
	return out, err
}

// build builds objects, and with them all that they include.
func (b *bazel) build(targets []string) error {
	args := append([]string{"build", "--keep_going", "--output_groups=bpf_object"}, targets...)
	if err := b.command(args...).Run(); err != nil {
		return fmt.Errorf("%s build: %w", b.path, err)
	}
	return nil
}
