package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/gogenerate"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpftarget"
)

// otherLine is another line that runs bpfgen generate.
type otherLine struct {
	// file is the Go file's name, relative to the current directory, and number that of
	// the line.
	file   string
	number int
	g      *generation
}

// outputs are the absolute names of the files that the line writes.
func (o *otherLine) outputs() ([]string, error) {
	var names []string
	for i := range o.g.targets {
		name := o.g.output(&o.g.targets[i])
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(o.file), name)
		}
		name, err := filepath.Abs(name)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// otherLines returns the other lines that could write the files of this line, which is
// that of the Go file with that name and number: those of the current directory, and those
// of the whole module when this line writes to another directory. Of two lines in
// different directories that write the same file, one at least does that.
func (g *generation) otherLines(file string, number int) ([]otherLine, error) {
	files, err := goFiles(".")
	if err != nil {
		return nil, err
	}
	if g.dir != "" {
		if files, err = moduleFiles(); err != nil {
			return nil, err
		}
	}
	var others []otherLine
	for _, name := range files {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // A link to nothing, or a file that was removed just now.
		} else if err != nil {
			return nil, inFile(name, err)
		}
		for _, line := range gogenerate.Lines(name, data, "bpfgen") {
			if name == file && line.Number == number || len(line.Args) == 0 || line.Args[0] != "generate" {
				continue
			}
			// An error in it is reported when that line runs.
			if other, err := parseOther(name, line); err == nil {
				others = append(others, otherLine{name, line.Number, other})
			}
		}
	}
	return others, nil
}

// goFiles returns the names of the Go files of a directory that the go command reads:
// those that begin with a dot, as editors' lock files do, or with an underscore are none.
func goFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, inFile(dir, err)
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, ".go") && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "_") && !e.IsDir() {
			names = append(names, filepath.Join(dir, name))
		}
	}
	return names, nil
}

// moduleFiles returns the names of the Go files in the directories that ./... stands for
// in the root of the module, relative to the current directory.
func moduleFiles() ([]string, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	root := moduleRoot(here)
	var names []string
	err = filepath.WalkDir(root, func(dir string, e fs.DirEntry, err error) error {
		switch {
		case err != nil && e != nil && e.IsDir() && dir != root:
			return fs.SkipDir // It has no package that anyone could build.
		case err != nil:
			return inFile(dir, err)
		case !e.IsDir():
			return nil
		}
		name := e.Name()
		if dir != root {
			if name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				return fs.SkipDir
			}
		}
		files, err := goFiles(dir)
		if err != nil {
			return fs.SkipDir
		}
		for _, file := range files {
			rel, err := filepath.Rel(here, file)
			if err != nil {
				return err
			}
			names = append(names, rel)
		}
		return nil
	})
	return names, err
}

func parseOther(name string, line gogenerate.Line) (*generation, error) {
	env := func(key string) string {
		switch key {
		case "GOFILE":
			return filepath.Base(name)
		case "GOPACKAGE":
			return line.Package
		}
		return ""
	}
	flags := flag.NewFlagSet("generate", flag.ContinueOnError)
	flags.SetOutput(new(bytes.Buffer))
	args := slices.Clone(line.Args[1:])
	for i := range args {
		args[i] = os.ExpandEnv(args[i])
	}
	g, _, err := parseGenerate(flags, args, env)
	return g, err
}

// checkOthers fails when another line writes a file of this one: the last to run would
// win.
func (g *generation) checkOthers(others []otherLine) error {
	for i := range g.targets {
		out := g.output(&g.targets[i])
		abs, err := filepath.Abs(out)
		if err != nil {
			return err
		}
		for _, other := range others {
			names, err := other.outputs()
			if err != nil {
				return err
			}
			if slices.Contains(names, abs) {
				return fmt.Errorf("%s:%d: %s: is written by two lines: give one of them another NAME", quote.Text(other.file), other.number, quote.Text(out))
			}
		}
	}
	return nil
}

// noteObjects reports the files that are left of bpf2go: nothing replaces them.
func (g *generation) noteObjects(std streams) {
	for i := range g.targets {
		object := strings.TrimSuffix(g.output(&g.targets[i]), ".go") + ".o"
		if _, err := os.Stat(object); err == nil {
			std.note(quote.Text(object) + ": is left of bpf2go, and nothing reads it any more: delete it")
		}
	}
}

// noteStale reports the files that are left of targets that are no longer requested. They are
// not removed: a command that go generate does not run, as one of a makefile, may write
// them.
func (g *generation) noteStale(std streams, others []otherLine) error {
	// The names are absolute.
	written := make(map[string]bool)
	for i := range g.targets {
		name, err := filepath.Abs(g.output(&g.targets[i]))
		if err != nil {
			return err
		}
		written[name] = true
	}
	for _, other := range others {
		names, err := other.outputs()
		if err != nil {
			return err
		}
		for _, name := range names {
			written[name] = true
		}
	}
	for _, target := range bpftarget.Suffixes() {
		name := g.output(&bpftarget.Target{Suffix: target})
		abs, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		if written[abs] {
			continue
		}
		data, err := os.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return inFile(name, err)
		case !bytes.HasPrefix(data, []byte("// Code generated by bpfgen generate from ")):
			continue
		}
		what := "it"
		if _, err := os.Stat(name + ".d"); err == nil {
			what = "it and " + filepath.Base(name) + ".d"
		}
		std.note(fmt.Sprintf("%s: is for a target that -target does not name, and was not written: delete %s, unless another command writes it", quote.Text(name), what))
	}
	return nil
}
