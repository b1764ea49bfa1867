package kconfig

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"

	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Virtual returns the value of a variable that is not a Kconfig
// option, but what libbpf finds out about the running kernel. It fails with
// [fs.ErrNotExist] for a name that is not known.
func Virtual(name string) (uint64, error) {
	switch name {
	case "LINUX_KERNEL_VERSION":
		code, err := features.LinuxVersionCode()
		if errors.Is(err, fs.ErrPermission) {
			return uint64(sys.KernelVersion()), nil
		}
		return uint64(code), err
	case "LINUX_HAS_BPF_COOKIE":
		err := features.HaveProgramHelper(ebpf.Kprobe, asm.FnGetAttachCookie)
		if errors.Is(err, ebpf.ErrNotSupported) {
			return 0, nil
		}
		if errors.Is(err, fs.ErrPermission) && sys.KernelVersion() >= 5<<16|15<<8 {
			// The load says which capability is missing.
			return 1, nil
		}
		return 1, err
	case "LINUX_HAS_SYSCALL_WRAPPER":
		prefix := sys.SyscallPrefix()
		if prefix == "" {
			return 0, nil
		}
		found, err := hasKernelSymbol(prefix + "sys_bpf")
		if found {
			return 1, err
		}
		return 0, err
	default:
		return 0, fmt.Errorf("neither a Kconfig option (CONFIG_...) nor LINUX_KERNEL_VERSION, LINUX_HAS_BPF_COOKIE or LINUX_HAS_SYSCALL_WRAPPER: %w", fs.ErrNotExist)
	}
}

// hasKernelSymbol reports whether the kernel has a symbol of that name.
func hasKernelSymbol(name string) (bool, error) {
	for s, err := range kallsyms.All() {
		if err != nil {
			return false, err
		}
		if string(s.Name) == name {
			return true, nil
		}
	}
	return false, nil
}
