package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
	"github.com/rules-bpf/rules_bpf/tool/internal/subskelobj"
)

func subskeleton(fs *flag.FlagSet, args []string, std streams) error {
	pkg := fs.String("package", "", "name of the Go `package`")
	out := fs.String("o", "", "`file` to write")
	types := typesFlag(fs)
	if err := parse(fs, args, "package", "o"); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return usageError{errors.New("no object given")}
	}
	if err := skelgen.CheckPackage(*pkg); err != nil {
		return fmt.Errorf("-package %w", err)
	}
	lib, err := readLibrary(fs.Args())
	if err != nil {
		return err
	}
	std.warnLosses(fs.Arg(0), lib.Losses)
	std.warn(fs.Arg(0), lib.AddressWarnings)
	src, err := skelgen.Subskeleton(lib, skelgen.Options{Package: *pkg, Types: *types})
	if err != nil {
		return inFile(fs.Arg(0), err)
	}
	return writeFile(*out, src)
}

// readLibrary reads the object files of a library as one.
func readLibrary(files []string) (*bpfobj.Object, error) {
	inputs, err := readInputs(files)
	if err != nil {
		return nil, err
	}
	// The base names only: the output is the same whatever the directory.
	return libraryOf(filepath.Base(files[0]), inputs)
}

// libraryOf reads object files as one library with that name.
func libraryOf(name string, inputs []linker.Input) (*bpfobj.Object, error) {
	elf := inputs[0].Data
	if len(inputs) > 1 {
		var err error
		if elf, err = linker.Link(inputs, linker.Options{Partial: true}); err != nil {
			return nil, err
		}
	}
	lib, err := bpfobj.ReadLibrary(name, elf)
	if err != nil {
		return nil, inFile(inputs[0].Name, err)
	}
	return lib, nil
}

func check(fs *flag.FlagSet, args []string, _ streams) error {
	object := fs.String("object", "", "final `object` that the library is linked into")
	stamp := fs.String("o", "", "empty `file` to write when the object has what the library needs")
	if err := parse(fs, args, "object"); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return usageError{errors.New("no object of the library given")}
	}
	elf, err := os.ReadFile(*object)
	if err != nil {
		return inFile(*object, err)
	}
	final, err := bpfobj.Read(filepath.Base(*object), elf)
	if err != nil {
		return inFile(*object, err)
	}
	lib, err := readLibrary(fs.Args())
	if err != nil {
		return err
	}
	if err := checkLibrary(lib, final); err != nil {
		return inFile(*object, err)
	}
	if *stamp == "" {
		return nil
	}
	return writeFile(*stamp, nil)
}

// checkLibrary compares the object with what the generated code of the library
// carries, byte for byte: so it says what the runtime will.
func checkLibrary(lib, final *bpfobj.Object) error {
	needs := subskelobj.Library(lib)
	raw, err := needs.Marshal()
	if err != nil {
		return err
	}
	carried, err := subskel.Unmarshal(raw)
	if err != nil {
		return err
	}
	carried.Name, carried.Progs = needs.Name, needs.Progs
	return subskel.Check(carried, subskelobj.Object(final))
}
