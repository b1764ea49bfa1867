package main

import (
	"bytes"
	"flag"
	"strings"

	"github.com/rules-bpf/rules_bpf/tool/internal/cpio"
	"github.com/rules-bpf/rules_bpf/tool/internal/kmod"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmproto"
)

func modules(fs *flag.FlagSet, args []string, _ streams) error {
	out := fs.String("o", "", "`file` to write")
	names := fs.String("names", "", "`names` of modules, with commas between")
	if err := parse(fs, args, "o", "names"); err != nil {
		return err
	}
	list, err := kmod.Closure(fs.Args(), strings.Split(*names, ","))
	if err != nil {
		return err
	}
	var data, paths bytes.Buffer
	w := cpio.NewWriter(&data)
	for _, m := range list {
		path := "/lib/modules/" + m.Name + ".ko"
		paths.WriteString(path + "\n")
		if err := w.File(path, 0o644, int64(len(m.Data)), bytes.NewReader(m.Data)); err != nil {
			return err
		}
	}
	if err := w.File(vmproto.ModulesFile, 0o644, int64(paths.Len()), &paths); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return writeFile(*out, data.Bytes())
}
