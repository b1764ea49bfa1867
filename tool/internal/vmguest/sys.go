//go:build linux

package vmguest

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// What package syscall lacks. The values are those of the CPUs that have the
// kernel's generic ones, as all that bpfvm knows have.
const (
	rlimitMemlock = 8
	tcsbrk        = 0x5409
)

// finitModuleNumbers has the number of the system call finit_module by CPU.
var finitModuleNumbers = map[string]uintptr{"amd64": 313, "arm64": 273, "riscv64": 273, "s390x": 344}

// ifreq is struct ifreq of linux/if.h with the union's flags.
type ifreq struct {
	name  [syscall.IFNAMSIZ]byte
	flags uint16
	_     [22]byte
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

func finitModule(f *os.File) error {
	number, ok := finitModuleNumbers[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("loads no kernel modules on %s", runtime.GOARCH)
	}
	var noParameters [1]byte
	if _, _, errno := syscall.Syscall(number, f.Fd(), uintptr(unsafe.Pointer(&noParameters)), 0); errno != 0 {
		return errno
	}
	return nil
}
