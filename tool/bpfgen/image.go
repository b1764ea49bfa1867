package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
)

func writeImage(fs *flag.FlagSet, args []string, _ streams) error {
	out := fs.String("o", "", "`file` to write")
	withELF := fs.Bool("elf", false, "put the object file into the image too")
	if err := parse(fs, args, "o"); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return usageError{fmt.Errorf("%d objects given, want 1", fs.NArg())}
	}
	in := fs.Arg(0)
	data, err := os.ReadFile(in)
	if err != nil {
		return inFile(in, err)
	}
	obj, err := imagegen.Build(filepath.Base(in), data)
	if err != nil {
		return inFile(in, err)
	}
	if *withELF {
		obj.ELF = string(data)
	}
	encoded, err := obj.Encode()
	if err != nil {
		return inFile(in, err)
	}
	return writeFile(*out, encoded)
}
