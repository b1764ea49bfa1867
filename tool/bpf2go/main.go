//go:build linux || darwin

// Bpf2go writes the Go file of a BPF object with cilium/ebpf's own generator, the
// package behind the command of the same name, in the version that the module graph
// of the build resolved. It is what the rule bpf2go runs.
//
//	bpf2go -package main -ident counter -o counter_bpfel.go counter.bpf.o
//
// It is not a subcommand of bpfgen, so that a change of that generator can break this
// program and nothing else. Whoever has no Bazel runs cilium/ebpf's command, which
// compiles too.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/build/constraint"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/cmd/bpf2go/gen"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stderr))
}

// run is main with everything handed in, and the exit status handed out.
func run(args []string, stderr io.Writer) int {
	err := generate(args, stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	}
	fmt.Fprintf(stderr, "bpf2go: %v\n", err)
	return 1
}

// options are the flags.
type options struct {
	pkg         string
	ident       string
	types       []string
	globalTypes bool
	constraint  constraint.Expr
	out         string
	object      string
}

func parse(args []string, stderr io.Writer) (*options, error) {
	opts := &options{}
	fs := flag.NewFlagSet("bpf2go", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&opts.pkg, "package", "", "name of the Go `package`")
	fs.StringVar(&opts.ident, "ident", "", "`name` that all names in the file start with")
	fs.BoolVar(&opts.globalTypes, "global-types", true, "declare the types of maps and variables")
	fs.StringVar(&opts.out, "o", "", "`file` to write")
	fs.Func("type", "C `type` to declare besides those of maps and variables; may be repeated", func(name string) error {
		opts.types = append(opts.types, name)
		return nil
	})
	fs.Func("constraint", "`expression` of a go:build line, as \"linux && !race\"", func(expr string) (err error) {
		opts.constraint, err = constraint.Parse("//go:build " + expr)
		return err
	})
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	for _, name := range []string{"package", "ident", "o"} {
		if fs.Lookup(name).Value.String() == "" {
			return nil, fmt.Errorf("flag -%s is missing", name)
		}
	}
	if fs.NArg() != 1 {
		return nil, fmt.Errorf("%d objects given, want 1", fs.NArg())
	}
	opts.object = fs.Arg(0)
	return opts, nil
}

// generate writes the Go file. It embeds the object by its base name, and so has to
// be in the object's directory.
func generate(args []string, stderr io.Writer) error {
	opts, err := parse(args, stderr)
	if err != nil {
		return err
	}
	spec, err := ebpf.LoadCollectionSpec(opts.object)
	if err != nil {
		return fmt.Errorf("%s: cilium/ebpf cannot read the object: %w", opts.object, err)
	}
	types, err := namedTypes(spec.Types, opts.types)
	if err != nil {
		return fmt.Errorf("%s: %w", opts.object, err)
	}
	if opts.globalTypes {
		types = append(types, gen.CollectGlobalTypes(spec)...)
	}
	// What is left holds global variables, and is called like its section.
	declared := slices.DeleteFunc(slices.Sorted(maps.Keys(spec.Maps)), func(name string) bool {
		return strings.HasPrefix(name, ".")
	})
	var src bytes.Buffer
	err = gen.Generate(gen.GenerateArgs{
		Package:     opts.pkg,
		Stem:        opts.ident,
		Constraints: opts.constraint,
		Maps:        declared,
		Variables:   slices.Sorted(maps.Keys(spec.Variables)),
		Programs:    slices.Sorted(maps.Keys(spec.Programs)),
		Types:       types,
		ObjectFile:  filepath.Base(opts.object),
		Output:      &src,
	})
	if err != nil {
		return fmt.Errorf("%s: cilium/ebpf's generator: %w", opts.object, err)
	}
	return os.WriteFile(opts.out, src.Bytes(), 0o666)
}

// namedTypes finds the types that a user asked for. Unlike cilium/ebpf's command it
// takes C's spelling too, "struct event", which tells a struct from a typedef.
func namedTypes(spec *btf.Spec, names []string) ([]btf.Type, error) {
	var types []btf.Type
	for _, name := range names {
		keyword, tag := bpfobj.SplitType(name)
		found, err := spec.AnyTypesByName(tag)
		if err != nil && !errors.Is(err, btf.ErrNotFound) {
			return nil, fmt.Errorf("type %s: %w", name, err)
		}
		found = slices.DeleteFunc(found, func(typ btf.Type) bool {
			return keyword != "" && keyword != keywordOf(typ)
		})
		switch len(found) {
		case 1:
			types = append(types, found[0])
		case 0:
			return nil, fmt.Errorf("type %s: is not in the object's BTF, which has a type only if something in the program uses it: "+
				"declare a variable \"struct %s *unused __attribute__((unused));\", or correct the name", name, tag)
		default:
			return nil, fmt.Errorf("type %s: the object's BTF has %d types of this name: say which, as in \"struct %s\"", name, len(found), tag)
		}
	}
	return types, nil
}

// keywordOf returns the word of C that declares a type.
func keywordOf(typ btf.Type) string {
	switch typ.(type) {
	case *btf.Struct:
		return "struct"
	case *btf.Union:
		return "union"
	case *btf.Enum:
		return "enum"
	case *btf.Typedef:
		return "typedef"
	}
	return ""
}
