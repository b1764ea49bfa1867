package main

import (
	"flag"
	"strings"

	"github.com/rules-bpf/rules_bpf/tool/internal/kmod"
)

func modules(fs *flag.FlagSet, args []string, _ streams) error {
	out := fs.String("o", "", "`file` to write")
	names := fs.String("names", "", "`names` of modules, with commas between")
	if err := parse(fs, args, "o", "names"); err != nil {
		return err
	}
	data, err := kmod.Archive(fs.Args(), strings.Split(*names, ","))
	if err != nil {
		return err
	}
	return writeFile(*out, data)
}
