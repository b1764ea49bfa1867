package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

func skeleton(fs *flag.FlagSet, args []string, std streams) error {
	pkg := fs.String("package", "", "name of the Go `package`")
	out := fs.String("o", "", "`file` to write")
	types := typesFlag(fs)
	policy := sectionFlags(fs)
	var subs []skelgen.Sub
	fs.Func("subskeleton", "`NAME=IMPORTPATH` of the subskeleton of a library in the object, which the skeleton opens; may be repeated", func(arg string) error {
		sub, err := skelgen.ParseSub(arg)
		subs = append(subs, sub)
		return err
	})
	withELF := fs.Bool("elf", false, "put the object file into the package too, for cilium/ebpf's CollectionSpec: Object.ELF returns it")
	linked := fs.Bool("linked", false, "the object is one that bpfgen link made, which has warned of addresses in data and had their lines to show")
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
	if obj == nil {
		return inFile(in, err)
	}
	if err != nil {
		// All that is misspelt at once, of what could be read.
		return errors.Join(inFile(in, err), checkSections(std, in, policy, obj.Programs, true))
	}
	std.warnLosses(in, obj.Losses)
	if !*linked {
		std.warn(in, obj.AddressWarnings)
	}
	if err := checkSections(std, in, policy, obj.Programs, true); err != nil {
		return err
	}
	if err := linker.Undefined(linker.Input{Name: in, Data: elf}); err != nil {
		return err
	}
	img, err := imagegen.Build(filepath.Base(in), elf)
	if err != nil {
		return inFile(in, err)
	}
	if *withELF {
		img.ELF = string(elf)
	}
	src, err := skelgen.Skeleton(obj, img, skelgen.Options{Package: *pkg, Types: *types, Subskeletons: subs})
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
