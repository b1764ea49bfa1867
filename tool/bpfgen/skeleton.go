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
	"github.com/rules-bpf/rules_bpf/tool/internal/sections"
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
	src, err := skeletonOf(std, skeletonInput{file: in, name: filepath.Base(in), elf: elf, policy: policy, linked: *linked, keepELF: *withELF},
		skelgen.Options{Package: *pkg, Types: *types, Subskeletons: subs})
	if err != nil {
		return err
	}
	return writeFile(*out, src)
}

// skeletonInput is an object that a skeleton is made of.
type skeletonInput struct {
	// file is what messages call the object, and name is how the skeleton knows it.
	file, name string
	elf        []byte
	policy     *sections.Policy
	// linked says that the linker has warned of what compilers show and it does not keep.
	linked bool
	// keepELF says that the skeleton carries the object file too.
	keepELF bool
}

// skeletonOf returns the Go file for an object.
func skeletonOf(std streams, in skeletonInput, opts skelgen.Options) ([]byte, error) {
	obj, err := bpfobj.Read(in.name, in.elf)
	if obj == nil {
		return nil, inFile(in.file, err)
	}
	if err != nil {
		// All that is misspelt at once, of what could be read.
		return nil, errors.Join(inFile(in.file, err), checkSections(std, in.file, in.policy, obj.Programs, true))
	}
	std.warnLosses(in.file, obj.Losses)
	if !in.linked {
		std.warn(in.file, obj.AddressWarnings)
	}
	if err := checkSections(std, in.file, in.policy, obj.Programs, true); err != nil {
		return nil, err
	}
	if err := linker.Undefined(linker.Input{Name: in.file, Data: in.elf}); err != nil {
		return nil, err
	}
	img, err := imagegen.Build(in.name, in.elf)
	if err != nil {
		return nil, inFile(in.file, err)
	}
	if in.keepELF {
		img.ELF = string(in.elf)
	}
	src, err := skelgen.Skeleton(obj, img, opts)
	if err != nil {
		return nil, inFile(in.file, err)
	}
	return src, nil
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
