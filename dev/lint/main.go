// Lint checks all sources of this repository:
//
//	go run ./dev/lint
//
// Go with gofmt, go vet and staticcheck, Starlark with buildifier, shell scripts
// with shellcheck where that is on PATH, and Markdown for links, labels and paths
// that lead nowhere. Bazel builds the generated packages, which vet and staticcheck
// check together with their importers.
//
//	go run ./dev/lint -bazel= [-only gofmt,buildifier,shellcheck,docs]
//
// does without Bazel: packages that import generated ones are then left out.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	module = "github.com/rules-bpf/rules_bpf"
	// tools is the go.mod of the programs that only the workshop runs: in the
	// module's own, they would be a part of every user's build.
	tools = "dev/tools/go.mod"
)

func main() {
	bazel := flag.String("bazel", "./bazelw", "the Bazel that builds what is generated; empty to do without")
	only := flag.String("only", "", "names of checks, with commas between them; all when empty")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*bazel, *only); err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(1)
	}
}

func run(bazel, only string) error {
	root, err := output("", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	l := &linter{root: strings.TrimSpace(root), bazel: bazel}
	if l.files, err = sources(l.root); err != nil {
		return err
	}
	checks := []struct {
		name  string
		check func() error
	}{
		{"gofmt", l.gofmt},
		{"buildifier", l.buildifier},
		{"shellcheck", l.shellcheck},
		{"docs", l.docs},
		{"go", l.vet},
	}
	var names []string
	for _, c := range checks {
		names = append(names, c.name)
	}
	wanted := names
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("-only: no check is called %q: there are %s", name, strings.Join(names, ", "))
		}
	}
	// All of them run, so that one run shows all there is to mend.
	var failed []string
	for _, c := range checks {
		if !slices.Contains(wanted, c.name) {
			continue
		}
		if err := c.check(); err != nil {
			fmt.Fprintf(os.Stderr, "lint: %s: %v\n", c.name, err)
			failed = append(failed, c.name)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

type linter struct {
	root, bazel string
	// files are all sources, relative to root.
	files []string
}

// sources lists the files of the repository, those that are not yet added too.
func sources(root string) ([]string, error) {
	list, err := output(root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	var files []string
	for _, file := range strings.Split(list, "\x00") {
		info, err := os.Lstat(filepath.Join(root, file))
		// Files that git has and that were removed.
		if file == "" || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			files = append(files, file)
		}
	}
	return files, nil
}

func (l *linter) gofmt() error {
	var bad []string
	for _, file := range l.files {
		if path.Ext(file) != ".go" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(l.root, file))
		if err != nil {
			return err
		}
		if want, err := format.Source(data); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		} else if !bytes.Equal(data, want) {
			bad = append(bad, file)
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("not formatted: run\n  gofmt -w %s", strings.Join(bad, " "))
	}
	return nil
}

func isStarlark(file string) bool {
	base := path.Base(file)
	return strings.HasSuffix(base, ".bazel") || strings.HasSuffix(base, ".bzl") || base == "BUILD"
}

func (l *linter) buildifier() error {
	args := []string{"tool", "-modfile=" + tools, "buildifier", "-mode=check", "-lint=warn"}
	for _, file := range l.files {
		if isStarlark(file) {
			args = append(args, file)
		}
	}
	if err := command(l.root, "go", args...).Run(); err != nil {
		return fmt.Errorf("%w: to format, run\n  go tool -modfile=%s buildifier FILES", err, tools)
	}
	return nil
}

func (l *linter) shellcheck() error {
	if _, err := exec.LookPath("shellcheck"); err != nil {
		fmt.Fprintln(os.Stderr, "lint: shellcheck: left out, as it is not on PATH")
		return nil
	}
	args := []string{"--external-sources"}
	for _, file := range l.files {
		if l.isShell(file) {
			args = append(args, file)
		}
	}
	return command(l.root, "shellcheck", args...).Run()
}

func (l *linter) isShell(file string) bool {
	if path.Ext(file) == ".sh" {
		return true
	}
	f, err := os.Open(filepath.Join(l.root, file))
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 64)
	n, _ := f.Read(head)
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	return bytes.HasPrefix(line, []byte("#!")) && bytes.HasSuffix(line, []byte("sh"))
}

// vet runs go vet and staticcheck in a copy of the repository that has the
// generated packages in their places, and where all Go code is one module.
func (l *linter) vet() error {
	copied, err := os.MkdirTemp("", "lint")
	if err != nil {
		return err
	}
	defer os.RemoveAll(copied)

	fences := l.fences()
	var mods []string
	for _, file := range l.files {
		switch {
		case slices.ContainsFunc(fences, func(fence string) bool { return within(file, fence) }):
			continue
		case path.Base(file) == "go.mod":
			mods = append(mods, file)
			continue
		case path.Base(file) == "go.sum":
			continue
		}
		if err := copyFile(filepath.Join(copied, file), filepath.Join(l.root, file)); err != nil {
			return err
		}
	}
	if l.bazel != "" {
		if err := l.generate(copied); err != nil {
			return err
		}
	}
	if err := l.merge(copied, mods); err != nil {
		return err
	}
	if err := removeC(copied); err != nil {
		return err
	}

	var failed []error
	if err := command(copied, "go", "vet", "./...").Run(); err != nil {
		failed = append(failed, fmt.Errorf("go vet: %w", err))
	}
	staticcheck, err := output(l.root, "go", "tool", "-n", "-modfile="+tools, "staticcheck")
	if err != nil {
		return err
	}
	// It takes methods for unused that only a constraint of a type parameter calls.
	if err := command(copied, strings.TrimSpace(staticcheck), "-checks=inherit,-U1000", "./...").Run(); err != nil {
		failed = append(failed, fmt.Errorf("staticcheck: %w", err))
	}
	return errors.Join(failed...)
}

// merge writes the go.mod of the copy, in which all is one module: with all that the modules
// of the repository require.
func (l *linter) merge(copied string, mods []string) error {
	var requirements, sums bytes.Buffer
	for _, mod := range mods {
		out, err := output(l.root, "go", "mod", "edit", "-json", mod)
		if err != nil {
			return err
		}
		var file struct {
			Require []struct{ Path, Version string }
		}
		if err := json.Unmarshal([]byte(out), &file); err != nil {
			return fmt.Errorf("%s: %w", mod, err)
		}
		for _, r := range file.Require {
			if r.Path != module {
				fmt.Fprintf(&requirements, "require %s %s\n", r.Path, r.Version)
			}
		}
		sum, err := os.ReadFile(filepath.Join(l.root, strings.TrimSuffix(mod, "mod")+"sum"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		sums.Write(sum)
	}
	version, err := output(l.root, "go", "list", "-m", "-f", "{{.GoVersion}}", module)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("module %s\n\ngo %s\n%s", module, version, requirements.Bytes())
	if err := errors.Join(
		os.WriteFile(filepath.Join(copied, "go.mod"), []byte(text), 0o666),
		os.WriteFile(filepath.Join(copied, "go.sum"), sums.Bytes(), 0o666),
	); err != nil {
		return err
	}
	// This keeps the newer of two versions that are required.
	_, err = output(copied, "go", "list", "-mod=mod", "-e", "-deps", "-test", "./...")
	return err
}

// removeC removes the files in C from directories with Go files, where the go command takes
// them for cgo's. What a package embeds is in a directory without.
func removeC(root string) error {
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !slices.Contains([]string{".c", ".h"}, filepath.Ext(name)) {
			return err
		}
		if beside, err := filepath.Glob(filepath.Join(filepath.Dir(name), "*.go")); len(beside) == 0 || err != nil {
			return err
		}
		return os.Remove(name)
	})
}

// fences are the directories whose packages are left out: repositories of users, and
// those in tests of Gazelle. Without Bazel, those too that import what it generates.
func (l *linter) fences() []string {
	fences := []string{"e2e", "dev/tools", "gazelle/testdata"}
	if l.bazel == "" {
		fences = append(fences, "examples", "rules/tests", "tests")
	}
	return fences
}

func within(file, directory string) bool { return strings.HasPrefix(file, directory+"/") }

// generate has Bazel build all generated packages, and puts them where their
// importpath says.
func (l *linter) generate(copied string) error {
	// Some are built only because another target imports them.
	const targets = `let built = //... except attr(tags, "manual", //...) in
		kind("(bpf2go|bpf_types|bpf_(sub)?skeleton|go_library) rule", $built + labels(deps, $built) + labels(embed, $built)) intersect //...`
	// The sources, and what they embed.
	const expr = `"\n".join([
		"\t".join([target.label.package, info.importpath, f.path])
		for name, info in providers(target).items() if name.endswith("%GoInfo")
		for f in info.srcs + info.embedsrcs if not f.is_source
	])`
	labels, err := output(l.root, l.bazel, "query", targets)
	if err != nil {
		return err
	}
	built := strings.Fields(labels)
	if err := command(l.root, l.bazel, append([]string{"build", "--norun_validations", "--output_groups=compilation_outputs", "--remote_download_outputs=all"}, built...)...).Run(); err != nil {
		return err
	}
	// Of these alone: a query over all targets analyses those that shall fail too.
	list, err := output(l.root, l.bazel, "cquery", "set("+strings.Join(built, " ")+")", "--output=starlark", "--starlark:expr="+strings.Join(strings.Fields(expr), " "))
	if err != nil {
		return err
	}
	workspace, err := output(l.root, l.bazel, "info", "execution_root")
	if err != nil {
		return err
	}
	// The files for this machine: tests build some of the targets for others too.
	bin, err := output(l.root, l.bazel, "info", "bazel-bin")
	if err != nil {
		return err
	}
	own, err := filepath.Rel(strings.TrimSpace(workspace), strings.TrimSpace(bin))
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(list) {
		line = strings.TrimSuffix(line, "\n")
		// A target without generated sources.
		if line == "" {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			return fmt.Errorf("cquery prints %q: want a package, an importpath and a file", line)
		}
		if !within(fields[2], own) {
			continue
		}
		// Without an importpath of its own it is a part of the package around it.
		directory, file := fields[0], fields[2]
		if below, ok := strings.CutPrefix(fields[1], module+"/"); ok {
			directory = below
		}
		if err := copyFile(filepath.Join(copied, directory, filepath.Base(file)), filepath.Join(strings.TrimSpace(workspace), file)); err != nil {
			return err
		}
		n++
	}
	fmt.Fprintf(os.Stderr, "lint: go: with %d generated files\n", n)
	return nil
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o666)
}

func command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Stdout = os.Stdout
	cmd.Stderr = os.Stderr
	return cmd
}

// output runs a command and returns what it prints.
func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, stderr.Bytes())
	}
	return string(out), nil
}
