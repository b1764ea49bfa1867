package loader

import "golang.org/x/sys/unix"

// mayParallel reports whether the kernel's verifier works for several threads of this
// process at once. For a process without CAP_BPF it does not, and each thread that waits
// would be one more. Capabilities in a user namespace of its own do not count, but such a
// process loads few programs.
func mayParallel() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return false
	}
	return caps[0].Effective>>unix.CAP_SYS_ADMIN&1 != 0 || caps[1].Effective>>(unix.CAP_BPF-32)&1 != 0
}
