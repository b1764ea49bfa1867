package main

import (
	"errors"
	"flag"
	"os"

	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
)

func link(fs *flag.FlagSet, args []string, _ streams) error {
	out := fs.String("o", "", "`file` to write")
	partial := fs.Bool("partial", false, "leave what is declared and not defined for another link")
	if err := parse(fs, args, "o"); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return usageError{errors.New("no objects given")}
	}
	inputs, err := readInputs(fs.Args())
	if err != nil {
		return err
	}
	linked, err := linker.Link(inputs, linker.Options{Partial: *partial})
	if err != nil {
		return err
	}
	return writeFile(*out, linked)
}

func readInputs(files []string) ([]linker.Input, error) {
	var inputs []linker.Input
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, inFile(name, err)
		}
		inputs = append(inputs, linker.Input{Name: name, Data: data})
	}
	return inputs, nil
}
