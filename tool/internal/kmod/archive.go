package kmod

import (
	"bytes"

	"github.com/rules-bpf/rules_bpf/tool/internal/cpio"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmproto"
)

// Archive returns the modules of Closure as a cpio archive, for the guest of bpfvm to
// load.
func Archive(files, names []string) ([]byte, error) {
	list, err := Closure(files, names)
	if err != nil {
		return nil, err
	}
	var data, paths bytes.Buffer
	w := cpio.NewWriter(&data)
	for _, m := range list {
		path := "/lib/modules/" + m.Name + ".ko"
		paths.WriteString(path + "\n")
		if err := w.File(path, 0o644, int64(len(m.Data)), bytes.NewReader(m.Data)); err != nil {
			return nil, err
		}
	}
	if err := w.File(vmproto.ModulesFile, 0o644, int64(paths.Len()), &paths); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}
