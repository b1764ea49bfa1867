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
	types := typesFlag(fs)
	var subs []skelgen.Sub
	fs.Func("subskeleton", "`NAME=IMPORTPATH` of the subskeleton of a library in the object, which the skeleton opens; may be repeated", func(arg string) error {
		sub, err := skelgen.ParseSub(arg)
		subs = append(subs, sub)
		return err
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
	src, err := skelgen.Skeleton(obj, loaded, skelgen.Options{Package: *pkg, Types: *types, Subskeletons: subs})
	if err != nil {
		return inFile(in, err)
	}
	return writeFile(*out, src)
}

// typesFlag defines the flag for C types to declare.
func typesFlag(fs *flag.FlagSet) *[]string {
	var types []string
	fs.Func("type", "C `type` to declare besides those of maps and variables; may be repeated", func(name string) error {
		types = append(types, name)
		return nil
	})
	return &types
}
