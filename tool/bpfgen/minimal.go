package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/btfarchive"
	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmlinuxh"
)

// coreObject is an object whose CO-RE relocations say what of a kernel's types it needs.
type coreObject struct {
	core.Object
	file  string
	order binary.ByteOrder
}

// minimalBTF writes the types that objects need of a kernel, or an archive of those that
// they need of several.
func minimalBTF(out string, objects, files []string, archive bool, std streams) error {
	var all []coreObject
	for _, file := range objects {
		o, err := readCORE(file)
		if err != nil {
			return err
		}
		if len(o.Relos) == 0 {
			// A skeleton has objects for several CPUs, and some may have none.
			std.note(quote.Text(file) + ": has no CO-RE relocations, the only ones that such a file serves: it is left out")
			continue
		}
		if slices.ContainsFunc(o.Relos, func(r core.Relocation) bool { return r.Kind == core.TypeIDTarget }) {
			std.warn(file, []string{"bpf_core_type_id_kernel: is the ID in the file that is written: on a kernel without BTF there is no other"})
		}
		all = append(all, *o)
	}
	if len(all) == 0 {
		return errors.New("no object has CO-RE relocations, so they need no types of a kernel: load them without KernelArchive and KernelTypes")
	}
	if !archive {
		data, err := minimalOf(all, files[0])
		if err != nil {
			return err
		}
		return writeFile(out, data)
	}
	kernels, err := kernelFiles(files)
	if err != nil {
		return err
	}
	var list []btfarchive.Kernel
	for _, file := range kernels {
		data, err := minimalOf(all, file)
		if err != nil {
			return err
		}
		list = append(list, btfarchive.Kernel{Name: kernelName(file), Types: data})
	}
	data, err := btfarchive.Make(list)
	if err != nil {
		return err
	}
	return writeFile(out, data)
}

// minimalOf returns the types of a kernel that the objects need, raw.
func minimalOf(objects []coreObject, file string) ([]byte, error) {
	raw, err := vmlinuxh.Contents(file)
	if err != nil {
		return nil, inFile(file, err)
	}
	kernel, err := rawbtf.Parse(raw, nil)
	if err != nil {
		return nil, inFile(file, fmt.Errorf("%w: give a file with BTF, as /sys/kernel/btf/vmlinux", err))
	}
	var needs []core.Object
	for _, o := range objects {
		if o.order != kernel.Order() {
			return nil, fmt.Errorf("%s: has the other byte order than %s: leave one of them out", quote.Text(file), quote.Text(o.file))
		}
		needs = append(needs, o.Object)
	}
	data, err := core.Minimal(kernel, needs)
	if err != nil {
		return nil, inFile(file, err)
	}
	return data, nil
}

// readCORE reads the CO-RE relocations of an object, which may have none.
func readCORE(file string) (*coreObject, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, inFile(file, err)
	}
	img, err := imagegen.Load(filepath.Base(file), data)
	if err != nil {
		return nil, inFile(file, err)
	}
	o := &coreObject{file: file, order: img.Order}
	if image.Len(img.CORE) == 0 {
		return o, nil
	}
	if o.Types, err = rawbtf.Parse(img.BTF, nil); err != nil {
		return nil, inFile(file, err)
	}
	for _, r := range image.All(img.CORE) {
		o.Relos = append(o.Relos, core.Relocation{Kind: core.Kind(r.Kind), Type: r.Type, Access: o.Types.String(r.Access)})
	}
	return o, nil
}

const kernelSuffix = ".btf"

// kernelName returns the name of the kernel that a file has the types of: the last four
// elements of its path, as collections of kernels' types have it.
func kernelName(file string) string {
	fields := strings.Split(filepath.ToSlash(strings.TrimSuffix(file, kernelSuffix)), "/")
	return strings.Join(fields[max(0, len(fields)-4):], "/")
}

// kernelFiles returns the files, and those in the directories.
func kernelFiles(paths []string) ([]string, error) {
	var files []string
	for _, p := range paths {
		// "." has four elements, too.
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, inFile(p, err)
		}
		n := len(files)
		if files, err = appendKernels(files, abs, nil); err != nil {
			return nil, err
		}
		if len(files) == n {
			return nil, fmt.Errorf("%s: has no files DISTRIBUTION/VERSION/ARCHITECTURE/RELEASE.btf: unpack those that end in .tar.xz", quote.Text(p))
		}
	}
	for _, file := range files {
		if !strings.HasSuffix(file, kernelSuffix) {
			return nil, fmt.Errorf("%s: does not end in .btf: unpack it, if it is a .tar.xz, and leave other files out", quote.Text(file))
		}
		if err := btfarchive.CheckName(kernelName(file)); err != nil {
			return nil, inFile(file, fmt.Errorf("%w: move it", err))
		}
	}
	return files, nil
}

// appendKernels appends the files of kernels in a tree, or the one file that path is. Links are
// followed, as collections have them for what is the same: the name of a kernel has those of
// the links. above are the directories that path is in.
func appendKernels(files []string, path string, above []fs.FileInfo) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(above) > 0:
		return nil, inFile(path, errors.New("is a symbolic link to a file that does not exist: remove it"))
	case err != nil:
		return nil, inFile(path, err)
	case !info.IsDir():
		if strings.HasSuffix(path, kernelSuffix) || len(above) == 0 {
			files = append(files, path)
		}
		return files, nil
	case slices.ContainsFunc(above, func(dir fs.FileInfo) bool { return os.SameFile(dir, info) }):
		return nil, inFile(path, errors.New("is a link to a directory that it is in: remove it, or name the directories beside it"))
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, inFile(path, err)
	}
	for _, e := range entries {
		if files, err = appendKernels(files, filepath.Join(path, e.Name()), append(above, info)); err != nil {
			return nil, err
		}
	}
	return files, nil
}
