package load_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

const kernelBTF = "/sys/kernel/btf"

// addModules gives the thread a view of the kernel's BTF in which there are modules, each
// with a type of its own.
func addModules(n int) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	vmlinux, err := os.Open(filepath.Join(kernelBTF, "vmlinux"))
	if err != nil {
		return err
	}
	defer vmlinux.Close()
	if err := unix.Mount("tmpfs", kernelBTF, "tmpfs", 0, ""); err != nil {
		return err
	}
	// The file itself, and not a copy: the kernel decides whether it can be mapped.
	target := filepath.Join(kernelBTF, "vmlinux")
	if err := os.WriteFile(target, nil, 0o444); err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", vmlinux.Fd()), target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	strings, err := stringsEnd(vmlinux)
	if err != nil {
		return err
	}
	for i := range n {
		name := fmt.Sprintf("module_%d", i)
		if err := os.WriteFile(filepath.Join(kernelBTF, name), moduleBTF(name, strings), 0o444); err != nil {
			return err
		}
	}
	return nil
}

// stringsEnd returns how many bytes of strings there are in the kernel's BTF: those of
// modules follow.
func stringsEnd(vmlinux *os.File) (uint32, error) {
	header := make([]byte, 24)
	_, err := vmlinux.ReadAt(header, 0)
	return binary.NativeEndian.Uint32(header[20:]), err
}

// moduleBTF returns BTF with a thousand structs without members.
func moduleBTF(name string, base uint32) []byte {
	const header, count, kindStruct = 24, 1000, 4 << 24
	var types []byte
	texts := []byte{}
	for i := range count {
		types = binary.NativeEndian.AppendUint32(types, base+uint32(len(texts)))
		types = binary.NativeEndian.AppendUint32(types, kindStruct)
		types = binary.NativeEndian.AppendUint32(types, 0)
		texts = fmt.Appendf(texts, "%s_struct_%d\x00", name, i)
	}
	out := binary.NativeEndian.AppendUint32(nil, 0x1eb9f|1<<16)
	for _, v := range []uint32{header, 0, uint32(len(types)), uint32(len(types)), uint32(len(texts))} {
		out = binary.NativeEndian.AppendUint32(out, v)
	}
	return append(append(out, types...), texts...)
}

// forbidMapping makes mmap fail with ENODEV for large files, as it does for the kernel's BTF
// where the kernel cannot map it. Programs and libraries are smaller, most of all in their
// parts.
func forbidMapping() error {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		least = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K
		// Offsets in struct seccomp_data, of the lower halves on little-endian CPUs.
		number, size, fd = 0, 24, 48
	)
	filter := []unix.SockFilter{
		{Code: load, K: number},
		{Code: equal, Jf: 5, K: unix.SYS_MMAP},
		{Code: load, K: size},
		{Code: least, Jf: 3, K: 4 << 20},
		{Code: load, K: fd},
		{Code: equal, Jt: 1, K: ^uint32(0)},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENODEV)},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}
