package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

func skeleton(fs *flag.FlagSet, args []string, _ streams) error {
	pkg := fs.String("package", "", "name of the Go `package`")
	out := fs.String("o", "", "`file` to write")
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
	src, err := skelgen.Skeleton(*pkg, obj, elf)
	if err != nil {
		return inFile(in, err)
	}
	return writeFile(*out, src)
}
