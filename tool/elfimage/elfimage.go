// Package elfimage makes images of BPF object files in the program that loads them, for
// package skeleton to open: an object is opened that was not known at build time, such as a
// plugin's, as bpf_object__open_file and bpf_object__open_mem of libbpf do.
//
//	img, err := elfimage.ReadFile("edge.bpf.o")
//	if err != nil { ... }
//	obj, err := skeleton.OpenObject(img)
//
// It is what bpfgen does at build time. A program that imports it contains the reader of object
// files, which others do not need: generated code carries images.
package elfimage

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
)

// Make returns the image of an object file, for skeleton.OpenObject. The file is what clang
// writes with -target bpf -g, or a linker of several such files. name is the object's, for
// messages and the names of its maps in the kernel: a path's last element without .bpf.o or .o.
//
// It fails when elf is not such a file, or has what no loader takes. It does not panic,
// whatever elf is.
func Make(name string, elf []byte) (string, error) {
	img, err := imagegen.Build(filepath.Base(name), elf)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	encoded, err := img.Encode()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return string(encoded), nil
}

// ReadFile returns the image of the object file at a path: see [Make].
func ReadFile(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return Make(path, data)
}
