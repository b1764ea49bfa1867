// Package kmod finds kernel modules and what they depend on, in the modules
// themselves: the index that depmod makes is not part of a kernel's package.
package kmod

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ulikunitz/xz"
)

// builtinFile is a file beside the modules: the paths of those that are built
// into the kernel.
const builtinFile = "modules.builtin"

// A Module is a kernel module that can be loaded.
type Module struct {
	// Name is the name by which the kernel lists it.
	Name string
	// Data is the ELF file, decompressed.
	Data []byte
}

// Closure returns the named modules and all that they need, each after what it
// depends on, which is the order in which they load. Files are the files of one
// kernel's module directory. What is built into the kernel is left out.
//
// A name may have - where the kernel has _, as for modprobe.
func Closure(files, names []string) ([]Module, error) {
	c := closure{files: map[string]string{}, builtin: map[string]bool{}, state: map[string]int{}}
	for _, file := range files {
		if path.Base(file) == builtinFile {
			if err := c.addBuiltin(file); err != nil {
				return nil, err
			}
			continue
		}
		if name, ok := nameOf(file); ok {
			c.files[name] = file
		}
	}
	for _, name := range names {
		if err := c.add(normal(name), nil); err != nil {
			return nil, err
		}
	}
	return c.modules, nil
}

type closure struct {
	files   map[string]string
	builtin map[string]bool
	modules []Module
	// state is one of the constants below, and 0 for modules that are not requested.
	state map[string]int
}

const (
	loading = iota + 1
	loaded
)

func (c *closure) addBuiltin(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := nameOf(strings.TrimSpace(line)); ok {
			c.builtin[name] = true
		}
	}
	return nil
}

// add adds a module, which those in chain depend on.
func (c *closure) add(name string, chain []string) error {
	if c.state[name] == loaded || c.builtin[name] {
		return nil
	}
	chain = append(chain, name)
	if c.state[name] == loading {
		return fmt.Errorf("kernel modules that depend on each other: %s", strings.Join(chain, " -> "))
	}
	c.state[name] = loading
	file, ok := c.files[name]
	if !ok {
		by := ""
		if len(chain) > 1 {
			by = fmt.Sprintf(", which %s needs", chain[len(chain)-2])
		}
		return fmt.Errorf("the kernel has no module %q%s (it has %d modules and %d that are built in)",
			name, by, len(c.files), len(c.builtin))
	}
	data, err := read(file)
	if err != nil {
		return err
	}
	needs, err := dependencies(data)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, need := range needs {
		if err := c.add(need, slices.Clone(chain)); err != nil {
			return err
		}
	}
	c.state[name] = loaded
	c.modules = append(c.modules, Module{name, data})
	return nil
}

// nameOf returns the name of the module in a file.
func nameOf(file string) (string, bool) {
	stem, _, ok := strings.Cut(path.Base(file), ".ko")
	return normal(stem), ok
}

func normal(name string) string { return strings.ReplaceAll(name, "-", "_") }

// read returns the content of a module's file, decompressed.
func read(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r io.Reader
	switch ext := path.Ext(file); ext {
	case ".ko":
		return data, nil
	case ".gz":
		r, err = gzip.NewReader(bytes.NewReader(data))
	case ".xz":
		r, err = xz.NewReader(bytes.NewReader(data))
	default:
		return nil, fmt.Errorf("%s: kernel modules that end in %s cannot be read: decompress them, to .ko", file, ext)
	}
	if err == nil {
		data, err = io.ReadAll(r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return data, nil
}

// dependencies returns the modules that have to be loaded before this one.
func dependencies(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("not a kernel module: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("not a kernel module: has no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("section .modinfo: %w", err)
	}
	var needs []string
	for entry := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(entry, "depends="); ok {
			for name := range strings.SplitSeq(list, ",") {
				if name != "" {
					needs = append(needs, normal(name))
				}
			}
		}
	}
	return needs, nil
}
