package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/sections"
)

func link(fs *flag.FlagSet, args []string, std streams) error {
	out := fs.String("o", "", "`file` to write")
	partial := fs.Bool("partial", false, "leave what is declared and not defined for another link")
	var allowed []string
	fs.Func("allow-undefined", "`PATTERN` of names that may stay undefined, as a loader of your own fills them in, like \"hook_*\"; may be repeated", func(pattern string) error {
		allowed = append(allowed, pattern)
		return nil
	})
	policy := sectionFlags(fs)
	strict := fs.Bool("strict-sections", false, "refuse programs whose sections give them no type, instead of a warning")
	if err := parse(fs, args, "o"); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return usageError{errors.New("no objects given")}
	}
	if *partial && len(allowed) > 0 {
		return usageError{errors.New("-allow-undefined is for a final link: -partial leaves all names that are not defined")}
	}
	inputs, err := readInputs(fs.Args())
	if err != nil {
		return err
	}
	linked, err := linker.Link(inputs, linker.Options{Partial: *partial, AllowUndefined: allowed})
	if err != nil {
		return err
	}
	if !*partial {
		warnInputs(std, inputs, policy)
		programs, err := linkedPrograms(linked)
		if err != nil {
			return inFile(*out, err)
		}
		if err := checkSections(std, *out, policy, programs, *strict); err != nil {
			return err
		}
	}
	return writeFile(*out, linked)
}

// warnInputs writes warnings about the objects of a final link. They come from what the
// compiler wrote, which shows more than the linked object.
func warnInputs(std streams, inputs []linker.Input, policy *sections.Policy) {
	for _, in := range inputs {
		losses, addresses := bpfobj.ReadLosses(filepath.Base(in.Name), in.Data)
		// Sections of the user's own are for a loader of the user's own.
		std.warnLosses(in.Name, slices.DeleteFunc(losses, func(l *bpfobj.Loss) bool { return policy.IsOwn(l.Section) }))
		std.warn(in.Name, addresses)
	}
}

func readInputs(files []string) ([]linker.Input, error) {
	var inputs []linker.Input
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, inFile(name, err)
		}
		// The name is for messages.
		inputs = append(inputs, linker.Input{Name: quote.Text(name), Data: data})
	}
	return inputs, nil
}
