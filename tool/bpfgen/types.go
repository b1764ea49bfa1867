package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/sections"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

// sharedTypes writes the Go package of types that several objects have.
func sharedTypes(fs *flag.FlagSet, args []string, std streams) error {
	pkg := fs.String("package", "", "name of the Go `package`")
	out := fs.String("o", "", "`file` to write")
	names := fs.String("names", "", "`file` to write the names of the types to, for -types-from of skeleton and generate")
	types := typesFlag(fs)
	if err := parse(fs, args, "package", "o", "names"); err != nil {
		return err
	}
	if err := skelgen.CheckTypesPackage(*pkg); err != nil {
		return fmt.Errorf("-package %w", err)
	}
	var objects []skelgen.Variant
	var errs []error
	for i, file := range fs.Args() {
		if slices.ContainsFunc(fs.Args()[:i], func(other string) bool { return filepath.Clean(other) == filepath.Clean(file) }) {
			return fmt.Errorf("%s: is given twice: name it once", quote.Text(file))
		}
		elf, err := os.ReadFile(file)
		if err != nil {
			return inFile(file, err)
		}
		// Warnings about the objects come when their skeletons are made.
		quiet := streams{stdout: std.stdout, stderr: new(strings.Builder)}
		v, err := readSkeletonInput(quiet, skeletonInput{file: file, name: filepath.Base(file), elf: elf, policy: &sections.Policy{Own: []string{"*"}}, linked: true})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		objects = append(objects, v)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	src, list, err := skelgen.Types(objects, skelgen.Options{Package: *pkg, Types: *types})
	if err != nil {
		return err
	}
	if err := writeFile(*names, list); err != nil {
		return err
	}
	return writeFile(*out, src)
}

// typesFromArg is the argument of -types-from: the import path of a package of shared types, and
// the name of the file with the list of their names, empty unless the flag is given.
type typesFromArg struct{ importPath, names string }

// typesFromFlag defines the flag for a package of shared types. It reads no file: read does.
func typesFromFlag(fs *flag.FlagSet) *typesFromArg {
	from := new(typesFromArg)
	fs.Func("types-from", "`IMPORTPATH=NAMES` of a package of types that several objects share, with the list of names that bpfgen types has written", func(arg string) error {
		path, names, _ := strings.Cut(arg, "=")
		switch {
		case path == "" || names == "":
			return fmt.Errorf("%q: want IMPORTPATH=NAMES", arg)
		case from.names != "":
			return errors.New("is given twice: make one package of all types")
		}
		*from = typesFromArg{path, names}
		return nil
	})
	return from
}

// read returns the package, nil unless the flag is given.
func (from *typesFromArg) read() (*skelgen.TypesFrom, error) {
	if from.names == "" {
		return nil, nil
	}
	list, err := os.ReadFile(from.names)
	if err != nil {
		return nil, inFile(from.names, err)
	}
	t, err := skelgen.ParseTypes(from.importPath, list)
	if err != nil {
		return nil, inFile(from.names, err)
	}
	return t, nil
}
