package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/rules-bpf/rules_bpf/tool/internal/cheader"
)

func vmlinux(fs *flag.FlagSet, args []string, _ streams) error {
	out := fs.String("o", "", "`file` to write")
	base := fs.String("base", "", "`file` with the BTF of the kernel, when the other one is of a module")
	var types []string
	fs.Func("types", "`names` of types and kfuncs, with commas between: write these and what they need only", func(list string) error {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name != "" {
				types = append(types, name)
			}
		}
		return nil
	})
	subset := fs.Bool("btf", false, "write BTF with the types of -types, not a header")
	if err := parse(fs, args, "o"); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return usageError{fmt.Errorf("%d files given, want 1", fs.NArg())}
	}
	if *subset && len(types) == 0 {
		return usageError{errors.New("-btf needs -types: all types are what the file has already")}
	}
	var kernel *cheader.Types
	var err error
	if *base != "" {
		if kernel, err = loadTypes(*base, nil); err != nil {
			return err
		}
	}
	in := fs.Arg(0)
	all, err := loadTypes(in, kernel)
	if err != nil {
		return err
	}
	write := all.Header
	if *subset {
		write = all.Subset
	}
	data, err := write(types)
	if err != nil {
		return inFile(in, err)
	}
	return writeFile(*out, data)
}

func loadTypes(file string, base *cheader.Types) (*cheader.Types, error) {
	raw, err := cheader.Contents(file)
	if err != nil {
		return nil, inFile(file, err)
	}
	types, err := cheader.Load(raw, base)
	if err != nil {
		return nil, inFile(file, err)
	}
	return types, nil
}
