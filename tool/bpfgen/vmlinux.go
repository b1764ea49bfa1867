package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/rules-bpf/rules_bpf/tool/internal/vmlinuxh"
)

func vmlinux(fs *flag.FlagSet, args []string, std streams) error {
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
	subset := fs.Bool("btf", false, "write BTF and not a header: of the types of -types, or of what the objects of -object ask of the kernel")
	var objects []string
	fs.Func("object", "BPF `object` or its image, of whose CO-RE relocations the BTF says the same as all of the kernel's; may be repeated", func(name string) error {
		objects = append(objects, name)
		return nil
	})
	archive := fs.Bool("archive", false, "write the BTF of several kernels, for LoadOptions.KernelArchive: of .btf files called .../DISTRIBUTION/VERSION/ARCHITECTURE/RELEASE.btf, or all such files in directories")
	if err := parse(fs, args, "o"); err != nil {
		return err
	}
	switch {
	case len(objects) > 0 && (!*subset || len(types) > 0 || *base != ""):
		return usageError{errors.New("-object is for -btf, without -types and -base")}
	case *archive && len(objects) == 0:
		return usageError{errors.New("-archive needs -btf and -object: it has what objects ask of kernels")}
	case *archive && fs.NArg() == 0:
		return usageError{errors.New("no files given")}
	case !*archive && fs.NArg() != 1:
		return usageError{fmt.Errorf("%d files given, want 1", fs.NArg())}
	case *subset && len(types) == 0 && len(objects) == 0:
		return usageError{errors.New("-btf needs -types or -object: the file has all types already")}
	case len(objects) > 0:
		return minimalBTF(*out, objects, fs.Args(), *archive, std)
	}
	var kernel *vmlinuxh.Types
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

func loadTypes(file string, base *vmlinuxh.Types) (*vmlinuxh.Types, error) {
	raw, err := vmlinuxh.Contents(file)
	if err != nil {
		return nil, inFile(file, err)
	}
	types, err := vmlinuxh.Load(raw, base)
	if err != nil {
		return nil, inFile(file, err)
	}
	return types, nil
}
