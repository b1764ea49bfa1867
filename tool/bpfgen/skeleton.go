package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
	typesFromArg := typesFromFlag(fs)
	policy := sectionFlags(fs)
	var subs []skelgen.Sub
	fs.Func("subskeleton", "`NAME=IMPORTPATH` of the subskeleton of a library in the object, which the skeleton opens; may be repeated", func(arg string) error {
		sub, err := skelgen.ParseSub(arg)
		subs = append(subs, sub)
		return err
	})
	withELF := fs.Bool("elf", false, "put the object file into the package too, for cilium/ebpf's CollectionSpec: Object.ELF returns it")
	link := fs.String("link", "", "`file` to write the object to that is linked of all OBJECTs, as bpfgen link does; the skeleton is of that one")
	linked := fs.Bool("linked", false, "the object was made by bpfgen link, which has warned of addresses in data, with their lines")
	var variants []variantFlag
	fs.Func("variant", "`NAME=OBJECT`, an object that is one of several variants, in the place of OBJECT; repeated for each", func(arg string) error {
		v, err := parseVariant(arg)
		if err == nil && v.value == "" {
			err = fmt.Errorf("%q: want NAME=OBJECT", arg)
		}
		variants = append(variants, v)
		return err
	})
	if err := parse(fs, args, "package", "o"); err != nil {
		return err
	}
	switch {
	case len(variants) > 0 && fs.NArg() > 0:
		return usageError{fmt.Errorf("%s: is given besides variants: name it with -variant", fs.Arg(0))}
	case *link != "" && (len(variants) > 0 || *linked):
		return usageError{errors.New("-link is for one object that is not linked: leave -variant and -linked out")}
	case *link != "" && fs.NArg() == 0:
		return usageError{errors.New("no objects given")}
	case *link == "" && len(variants) == 0 && fs.NArg() != 1:
		return usageError{fmt.Errorf("%d objects given, want 1: -link links several", fs.NArg())}
	case *link == "" && len(variants) == 0:
		variants = []variantFlag{{value: fs.Arg(0)}}
	}
	if err := skelgen.CheckPackage(*pkg); err != nil {
		return fmt.Errorf("-package %w", err)
	}
	typesFrom, err := typesFromArg.read()
	if err != nil {
		return err
	}
	var inputs []skeletonInput
	add := func(file, variant string, elf []byte, linked bool) {
		// The base name only: the output is the same whatever the directory.
		inputs = append(inputs, skeletonInput{file: file, name: filepath.Base(file), variant: variant, elf: elf, policy: policy, linked: linked, keepELF: *withELF})
	}
	var object []byte
	if *link != "" {
		if object, err = linkForSkeleton(std, fs.Args()); err != nil {
			return err
		}
		add(*link, "", object, true)
	}
	for _, v := range variants {
		elf, err := os.ReadFile(v.value)
		if err != nil {
			return inFile(v.value, err)
		}
		add(v.value, v.name, elf, *linked)
	}
	src, err := skeletonOf(std, inputs, skelgen.Options{Package: *pkg, Types: *types, Subskeletons: subs, TypesFrom: typesFrom})
	if err != nil {
		return err
	}
	if *link != "" {
		if err := writeFile(*link, object); err != nil {
			return err
		}
	}
	return writeFile(*out, src)
}

// linkForSkeleton links the objects of a skeleton. Warnings that need what the linker does not
// keep are written here; those of the skeleton follow.
func linkForSkeleton(std streams, files []string) ([]byte, error) {
	inputs, err := readInputs(files)
	if err != nil {
		return nil, err
	}
	elf, err := linker.Link(inputs, linker.Options{})
	if err != nil {
		return nil, err
	}
	for _, in := range inputs {
		_, addresses := bpfobj.ReadLosses(filepath.Base(in.Name), in.Data)
		std.warn(in.Name, addresses)
	}
	return elf, nil
}

// variantFlag is NAME=VALUE, a flag for one variant.
type variantFlag struct {
	name, value string
	// flags are the words of the value, where these are flags for the compiler.
	flags []string
}

func parseVariant(arg string) (variantFlag, error) {
	name, value, _ := strings.Cut(arg, "=")
	return variantFlag{name: name, value: value}, skelgen.CheckVariant(name)
}

// skeletonInput is an object that a skeleton is made of.
type skeletonInput struct {
	// file is what messages call the object, and name is how the skeleton knows it.
	file, name string
	// variant is what the object is called among several, empty for one that is alone.
	variant string
	elf     []byte
	policy  *sections.Policy
	// linked is true when the linker has written the warnings about what it does not keep.
	linked bool
	// keepELF is true when the skeleton carries the object file too.
	keepELF bool
}

// skeletonOf returns the Go file for an object, or for all variants of one.
func skeletonOf(std streams, inputs []skeletonInput, opts skelgen.Options) ([]byte, error) {
	var variants []skelgen.Variant
	var errs []error
	for _, in := range inputs {
		v, err := readSkeletonInput(std, in)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		variants = append(variants, v)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if inputs[0].variant != "" {
		return skelgen.Variants(variants, opts)
	}
	src, err := skelgen.Skeleton(variants[0].Object, variants[0].Image, opts)
	if err != nil {
		return nil, inFile(inputs[0].file, err)
	}
	return src, nil
}

// readSkeletonInput reads an object, and reports what loaders leave out of it.
func readSkeletonInput(std streams, in skeletonInput) (skelgen.Variant, error) {
	none := skelgen.Variant{}
	obj, err := bpfobj.Read(in.name, in.elf)
	if obj == nil {
		return none, inFile(in.file, err)
	}
	if err != nil {
		// All that is misspelt at once, of what could be read.
		return none, errors.Join(inFile(in.file, err), checkSections(std, in.file, in.policy, obj.Programs, true))
	}
	std.warnLosses(in.file, obj.Losses)
	if !in.linked {
		std.warn(in.file, obj.AddressWarnings)
	}
	if err := checkSections(std, in.file, in.policy, obj.Programs, true); err != nil {
		return none, err
	}
	if err := linker.Undefined(linker.Input{Name: in.file, Data: in.elf}); err != nil {
		return none, err
	}
	img, err := imagegen.Build(in.name, in.elf)
	if err != nil {
		return none, inFile(in.file, err)
	}
	if in.keepELF {
		img.ELF = string(in.elf)
	}
	return skelgen.Variant{Name: in.variant, File: in.file, Object: obj, Image: img}, nil
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
