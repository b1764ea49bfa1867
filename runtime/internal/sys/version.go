package sys

import (
	"fmt"
	"math"
)

// KernelVersion returns the version of the running kernel, as LINUX_VERSION_CODE has it, from
// the beginning of its release: 5.10.0 of "5.10.0-28-amd64". It is the highest number where
// there is none. The kernel's own number may differ after the second dot in kernels of
// distributions, and can only be read by processes that others may trace: not by those whose
// file has capabilities.
func KernelVersion() uint32 {
	release, err := KernelRelease()
	if err != nil {
		return math.MaxUint32
	}
	return parseRelease(release)
}

func parseRelease(release string) uint32 {
	var parts [3]uint32
	n, digits := 0, 0
	for _, c := range []byte(release) {
		switch {
		case '0' <= c && c <= '9' && digits < 9:
			parts[n] = 10*parts[n] + uint32(c-'0')
			digits++
			continue
		case c == '.' && n < len(parts)-1 && digits > 0:
			n, digits = n+1, 0
			continue
		}
		break
	}
	if n == 0 || n == 1 && digits == 0 {
		return math.MaxUint32
	}
	return min(parts[0], 255)<<16 | min(parts[1], 255)<<8 | min(parts[2], 255)
}

// OlderThan reports whether the running kernel is older than a version such as "5.15".
func OlderThan(version string) bool {
	var major, minor uint32
	if n, err := fmt.Sscanf(version, "%d.%d", &major, &minor); n != 2 {
		panic(fmt.Sprintf("version %q: %v", version, err))
	}
	return KernelVersion() < major<<16|minor<<8
}

// SyscallPrefix returns what the names of system calls' functions begin with in the running
// kernel, empty where it does not wrap them (ARCH_HAS_SYSCALL_WRAPPER). The kernel's
// architecture counts and not the program's: one for 386 or arm may run on a kernel of 64
// bits, whose own system calls the names are of.
func SyscallPrefix() string {
	machine, err := KernelMachine()
	if err != nil {
		return ""
	}
	return syscallPrefix(machine)
}

// syscallPrefix is SyscallPrefix for a machine, in the form of uname -m.
func syscallPrefix(machine string) string {
	switch machine {
	case "aarch64", "aarch64_be":
		return "__arm64_"
	case "i386", "i486", "i586", "i686":
		return "__ia32_"
	case "riscv32", "riscv64":
		return "__riscv_"
	case "s390x":
		return "__s390x_"
	case "x86_64":
		return "__x64_"
	}
	return ""
}
