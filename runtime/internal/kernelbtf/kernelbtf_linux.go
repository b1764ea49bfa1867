package kernelbtf

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
)

// dir has the BTF of the kernel and of each module that has some, in sysfs.
const dir = "kernel/btf"

// images are where distributions have the kernel's image, for kernels that do not show
// their BTF themselves: libbpf's list. The verb is for the kernel's release.
var images = []string{
	"/boot/vmlinux-%s",
	"/lib/modules/%[1]s/vmlinux-%[1]s",
	"/lib/modules/%s/build/vmlinux",
	"/usr/lib/modules/%s/kernel/vmlinux",
	"/usr/lib/debug/boot/vmlinux-%s",
	"/usr/lib/debug/boot/vmlinux-%s.debug",
	"/usr/lib/debug/lib/modules/%s/vmlinux",
}

func (k *Kernel) vmlinuxBTF() ([]byte, error) {
	data, mapped, err := k.file(Vmlinux)
	k.lasting = mapped
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	var name unix.Utsname
	if unameErr := unix.Uname(&name); unameErr != nil {
		return nil, err
	}
	for _, image := range images {
		f, openErr := os.Open(fmt.Sprintf(image, unix.ByteSliceToString(name.Release[:])))
		if openErr != nil {
			continue
		}
		data, readErr := imageBTF(f)
		f.Close()
		if readErr == nil {
			return data, nil
		}
	}
	return nil, fmt.Errorf("it has none (CONFIG_DEBUG_INFO_BTF), and there is no vmlinux with BTF where distributions put it; for CO-RE alone, LoadOptions.KernelArchive and KernelTypes bring types: %w", err)
}

// imageBTF returns the BTF in an image, or all of a file that is nothing else.
func imageBTF(f *os.File) ([]byte, error) {
	image, err := elf.NewFile(f)
	if err != nil {
		return io.ReadAll(f)
	}
	section := image.Section(".BTF")
	if section == nil {
		return nil, errors.New("has no section .BTF")
	}
	return section.Data()
}

// file returns what is in a file of sysfs. The kernel's own BTF can be mapped since
// about 6.16; otherwise it is read in one piece, into memory that Close gives back.
func (k *Kernel) file(name string) (data []byte, mapped bool, err error) {
	f, err := kernelfs.Sysfs.Open(dir + "/" + name)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	size := int(info.Size())
	if size <= 0 {
		return nil, false, rawbtf.ErrDamaged
	}
	if name == Vmlinux {
		data, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_POPULATE)
		if err == nil {
			k.memory = append(k.memory, data)
			return data, true, nil
		}
	}
	data, err = k.read(f, size)
	return data, false, err
}

// read returns the contents of a file of the size.
func (k *Kernel) read(f *os.File, size int) ([]byte, error) {
	data, err := k.allocate(size)
	if err != nil {
		return nil, fmt.Errorf("%s: memory for %d bytes: %w", f.Name(), size, err)
	}
	_, err = io.ReadFull(f, data)
	return data, err
}

// hugePage is the size of a huge page on most machines.
const hugePage = 2 << 20

// allocate returns memory that Close gives back: in huge pages if it is large, since it
// takes the kernel longer to give a process so many small pages than to fill them.
func (k *Kernel) allocate(size int) ([]byte, error) {
	around, flags := 0, unix.MAP_POPULATE
	if size >= hugePage {
		around, flags = hugePage, 0
	}
	all, err := unix.Mmap(-1, 0, size+around, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|flags)
	if err != nil {
		return nil, err
	}
	k.memory = append(k.memory, all)
	if around == 0 {
		return all, nil
	}
	start := int(-uintptr(unsafe.Pointer(&all[0])) % hugePage)
	// Where the kernel has none, it gives small ones.
	_ = unix.Madvise(all[start:], unix.MADV_HUGEPAGE)
	return all[start : start+size : start+size], nil
}

func (k *Kernel) moduleBTF(name string) ([]byte, error) {
	data, _, err := k.file(name)
	return data, err
}

// moduleNames returns the names of the modules that have BTF.
func moduleNames() ([]string, error) {
	directory, err := kernelfs.Sysfs.Open(dir)
	if err != nil {
		// The kernel's own BTF is from an image, which has no BTF of modules.
		return nil, nil
	}
	defer directory.Close()
	return directory.Readdirnames(-1)
}

func unmap(memory []byte) { _ = unix.Munmap(memory) }
