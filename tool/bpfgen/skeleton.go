package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/normalise"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

func skeleton(fs *flag.FlagSet, args []string, _ streams) error {
	pkg := fs.String("package", "", "name of the Go `package`")
	out := fs.String("o", "", "`file` to write")
	var types []string
	fs.Func("type", "C `type` to declare besides those of maps and variables; may be repeated", func(name string) error {
		types = append(types, name)
		return nil
	})
	if err := parse(fs, args, "package", "o"); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return usageError{fmt.Errorf("%d objects given, want 1", fs.NArg())}
	}
	if err := skelgen.CheckPackage(*pkg); err != nil {
		return fmt.Errorf("-package %w", err)
	}
	in := fs.Arg(0)
	elf, err := os.ReadFile(in)
	if err != nil {
		return inFile(in, err)
	}
	// The base name only: the output is the same whatever the folder.
	obj, err := bpfobj.Read(filepath.Base(in), elf)
	if err != nil {
		return inFile(in, err)
	}
	loaded, err := normalise.Bytes(elf)
	if err != nil {
		return inFile(in, err)
	}
	src, err := skelgen.Skeleton(obj, loaded, skelgen.Options{Package: *pkg, Types: types})
	if err != nil {
		return inFile(in, err)
	}
	return writeFile(*out, src)
}
