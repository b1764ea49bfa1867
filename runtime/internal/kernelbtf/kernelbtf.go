// Package kernelbtf opens the BTF of the running kernel and of its modules, without
// decoding it: package rawbtf reads it in place.
//
// A kernel has more than 100,000 types in 5 MB, of which a load wants a few by their names.
// They are mapped where the kernel allows that (6.16), else read, and searched in one pass for
// all names that the load has ([Kernel.Search]). For a kernel that does not show them, they are
// looked for in the images that distributions install. Type IDs of a module continue those of
// the kernel.
//
// Modules are read when one is asked for, or a name that the kernel itself does not have:
// each costs several system calls, and there may be hundreds. One that cannot be read, or is
// unloaded meanwhile, is left out, and [Kernel.Unreadable] says why, for the error when a name
// is not found.
package kernelbtf

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Vmlinux is the name of the kernel itself among those of modules.
const Vmlinux = "vmlinux"

// Kernel is the BTF of the running kernel. It may not be used by several goroutines at
// once.
type Kernel struct {
	vmlinux *rawbtf.Types
	// memory has all that is mapped, vmlinux first.
	memory [][]byte
	// lasting is true when vmlinux is mapped from the kernel's own memory.
	lasting bool
	// names are those that Search was asked for, and lacking those of them that the kernel
	// itself does not have, nil until modules are looked at.
	names, lacking *rawbtf.Names
	// modules are those that have been read, and haveRead is true when these are all.
	modules    []*Module
	haveRead   bool
	types      []*rawbtf.Types
	unreadable error
}

// Module is the BTF of a module.
type Module struct {
	Name  string
	Types *rawbtf.Types
	// fd is a descriptor of it, 0 until one is asked for.
	fd int
}

// unused is what the last Close has left for the next Open: a kernel's BTF that is mapped
// costs the process no memory, and what was found in it need not be looked for again.
var unused atomic.Pointer[Kernel]

// Open returns the BTF of the running kernel, which must be closed after use. It fails
// with [fs.ErrNotExist] when the kernel has none, and says so.
func Open() (*Kernel, error) {
	if k := unused.Swap(nil); k != nil {
		return k, nil
	}
	k := new(Kernel)
	data, err := k.vmlinuxBTF()
	if err == nil {
		k.vmlinux, err = rawbtf.New(data, nil)
	}
	if err != nil {
		k.Close()
		return nil, fmt.Errorf("BTF of the kernel: %w", err)
	}
	return k, nil
}

// Types returns the types of the kernel itself. They are gone after Close.
func (k *Kernel) Types() *rawbtf.Types { return k.vmlinux }

// Search looks for types with the names, in one pass over those of the kernel and, once
// modules are asked for, of each module. Later searches for these names cost nothing.
func (k *Kernel) Search(names *rawbtf.Names) {
	k.names, k.lacking = names, nil
	k.vmlinux.Named(names, func(string, rawbtf.Type) {})
	for _, m := range k.modules {
		k.search(m.Types)
	}
}

// search looks for the names that the kernel does not have in a module.
func (k *Kernel) search(module *rawbtf.Types) {
	if k.names == nil {
		return
	}
	if k.lacking == nil {
		k.lacking = k.vmlinux.Lacking(k.names)
	}
	module.Named(k.lacking, func(string, rawbtf.Type) {})
}

// Modules returns the types of the modules that are loaded, but for those that cannot be
// read: see [Kernel.Unreadable]. They are gone after Close.
func (k *Kernel) Modules() []*rawbtf.Types {
	if k.haveRead {
		return k.types
	}
	k.haveRead = true
	names, err := moduleNames()
	if err != nil {
		k.unreadable = errors.Join(k.unreadable, err)
	}
	for _, name := range names {
		if m := k.Module(name); m != nil {
			k.types = append(k.types, m.Types)
		}
	}
	return k.types
}

// Module returns the types of a module, nil when no module of the name is loaded and has
// BTF, or its BTF cannot be read: see [Kernel.Unreadable].
func (k *Kernel) Module(name string) *Module {
	for _, m := range k.modules {
		if m.Name == name {
			return m
		}
	}
	if name == "" || name == Vmlinux || strings.ContainsRune(name, '/') {
		return nil
	}
	data, err := k.moduleBTF(name)
	if errors.Is(err, fs.ErrNotExist) {
		// Unloaded meanwhile, or there is no such module.
		return nil
	}
	m := &Module{Name: name}
	if err == nil {
		m.Types, err = rawbtf.New(data, k.vmlinux)
	}
	if err != nil {
		k.unreadable = errors.Join(k.unreadable, fmt.Errorf("BTF of module %s: %w", name, err))
		return nil
	}
	k.modules = append(k.modules, m)
	k.search(m.Types)
	return m
}

// Unreadable returns why some modules are not among those that were asked for.
func (k *Kernel) Unreadable() error { return k.unreadable }

// FD returns a descriptor of the BTF that the types are of, as the kernel takes it: 0 for
// its own. It belongs to k, which closes it.
func (k *Kernel) FD(types *rawbtf.Types) (int, error) {
	for _, m := range k.modules {
		if m.Types != types {
			continue
		}
		if m.fd == 0 {
			fd, err := openByName(m.Name)
			if err != nil {
				return 0, fmt.Errorf("BTF of module %s: %w", m.Name, err)
			}
			m.fd = fd
		}
		return m.fd, nil
	}
	return 0, nil
}

// openByName returns a descriptor of the BTF of a module that is loaded.
func openByName(name string) (int, error) {
	for id := uint32(0); ; {
		next, err := sys.GetNextID(sys.BTFNextIDCmd, id)
		if err != nil {
			return 0, err
		}
		id = next
		fd, err := sys.GetFDByID(sys.BTFFDByIDCmd, id)
		if errors.Is(err, fs.ErrNotExist) {
			// Gone meanwhile.
			continue
		}
		if err != nil {
			return 0, err
		}
		var text [64]byte
		info := sys.BTFInfo{Name: sys.PointerToSlice(text[:]), NameLen: uint32(len(text))}
		err = sys.GetInfoByFD(fd, &info)
		if err == nil && info.KernelBTF != 0 && sys.Text(text[:]) == name {
			return fd, nil
		}
		sys.Close(fd)
		if err != nil {
			return 0, err
		}
	}
}

// OfProgram returns the types of the BTF that a program was loaded with.
func OfProgram(fd int) (*rawbtf.Types, error) {
	var prog sys.ProgInfo
	if err := sys.GetInfoByFD(fd, &prog); err != nil {
		return nil, err
	}
	if prog.BTFID == 0 {
		return nil, errors.New("it was loaded without")
	}
	btf, err := sys.GetFDByID(sys.BTFFDByIDCmd, prog.BTFID)
	if err != nil {
		return nil, err
	}
	defer sys.Close(btf)
	var info sys.BTFInfo
	if err := sys.GetInfoByFD(btf, &info); err != nil {
		return nil, err
	}
	data := make([]byte, info.Size)
	info = sys.BTFInfo{BTF: sys.PointerToSlice(data), Size: info.Size}
	if err := sys.GetInfoByFD(btf, &info); err != nil {
		return nil, err
	}
	return rawbtf.New(data, nil)
}

// Close gives the memory back, that of modules in any case: others may be loaded by the
// next Open.
func (k *Kernel) Close() {
	for _, m := range k.modules {
		if m.fd != 0 {
			sys.Close(m.fd)
		}
	}
	memory := k.memory
	if k.lasting && k.vmlinux != nil {
		left := &Kernel{vmlinux: k.vmlinux, memory: memory[:1:1], lasting: true}
		if unused.CompareAndSwap(nil, left) {
			memory = memory[1:]
		}
	}
	for _, m := range memory {
		unmap(m)
	}
	*k = Kernel{}
}
