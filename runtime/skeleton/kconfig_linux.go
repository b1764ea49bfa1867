package skeleton

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// virtualKconfig returns the value of a variable that is no setting of the
// kernel's, but what libbpf finds out of the running kernel. It fails with
// [fs.ErrNotExist] for a name that is not known.
func virtualKconfig(name string) (uint64, error) {
	switch name {
	case "LINUX_KERNEL_VERSION":
		code, err := features.LinuxVersionCode()
		return uint64(code), err
	case "LINUX_HAS_BPF_COOKIE":
		err := features.HaveProgramHelper(ebpf.Kprobe, asm.FnGetAttachCookie)
		if errors.Is(err, ebpf.ErrNotSupported) {
			return 0, nil
		}
		return 1, err
	case "LINUX_HAS_SYSCALL_WRAPPER":
		prefix := syscallWrappers[runtime.GOARCH]
		if prefix == "" {
			return 0, nil
		}
		found, err := hasKernelSymbol(prefix + "sys_bpf")
		if found {
			return 1, err
		}
		return 0, err
	default:
		return 0, fmt.Errorf("neither a setting of the kernel (CONFIG_...) nor LINUX_KERNEL_VERSION, LINUX_HAS_BPF_COOKIE or LINUX_HAS_SYSCALL_WRAPPER: %w", fs.ErrNotExist)
	}
}

// syscallWrappers are what the names of system calls' functions begin with on
// architectures whose kernels wrap them (ARCH_HAS_SYSCALL_WRAPPER), by GOARCH.
var syscallWrappers = map[string]string{
	"386":     "__ia32_",
	"amd64":   "__x64_",
	"arm64":   "__arm64_",
	"riscv64": "__riscv_",
	"s390x":   "__s390x_",
}

// hasKernelSymbol says whether the kernel has a symbol of that name.
func hasKernelSymbol(name string) (bool, error) {
	for s, err := range kernelSymbols() {
		if err != nil {
			return false, err
		}
		if string(s.name) == name {
			return true, nil
		}
	}
	return false, nil
}

// kernelRelease returns the release of the running kernel, as uname -r does.
func kernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}
