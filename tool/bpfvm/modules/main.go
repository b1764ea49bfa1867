// Modules packs kernel modules, and what they depend on, into the archive that a guest of
// bpfvm loads them from:
//
//	modules -o modules.cpio -names veth,dummy /lib/modules/6.1/kernel/drivers/net/*.ko
//
// The files are those of one kernel's directory of modules, modules.builtin among them. An
// argument @file stands for the lines of the file, one argument each.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rules-bpf/rules_bpf/tool/internal/kmod"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "modules:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	args, err := expand(args)
	if err != nil {
		return err
	}
	fs := flag.NewFlagSet("modules", flag.ContinueOnError)
	out := fs.String("o", "", "`file` to write, a cpio archive")
	names := fs.String("names", "", "`names` of modules, with commas between")
	fs.SetOutput(io.Discard)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *out == "" || *names == "" {
		return errors.New("-o and -names are required, and the files of a kernel's modules")
	}
	archive, err := kmod.Archive(fs.Args(), strings.Split(*names, ","))
	if err != nil {
		return err
	}
	return os.WriteFile(*out, archive, 0o666)
}

// expand replaces each argument @file by the lines of the file.
func expand(args []string) ([]string, error) {
	var expanded []string
	for _, arg := range args {
		file, ok := strings.CutPrefix(arg, "@")
		if !ok {
			expanded = append(expanded, arg)
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			expanded = append(expanded, strings.TrimSuffix(line, "\n"))
		}
	}
	return expanded, nil
}
