package bpftest

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNotLinux is what the calls fail with on other systems.
var errNotLinux = errors.ErrUnsupported

// createMap returns the error with which the kernel refuses this process a map. It makes the
// system call itself and imports nothing of the runtime, so that the tests of all its packages
// can import this one.
func createMap() error {
	attr := struct{ typ, keySize, valueSize, maxEntries uint32 }{unix.BPF_MAP_TYPE_ARRAY, 4, 4, 1}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return os.NewSyscallError("bpf", errno)
	}
	return unix.Close(int(fd))
}

func mounted(dir string, magic uint32) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && uint32(st.Type) == magic
}

func mount(fstype, dir string) error { return unix.Mount(fstype, dir, fstype, 0, "") }

// unmount hides the mount, as what is attached to a cgroup may be closed later.
func unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }

// unshareNet moves the thread to a new network namespace.
func unshareNet() error { return os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNET)) }

// setNetNS moves the thread to a network namespace.
func setNetNS(ns *os.File) error {
	return os.NewSyscallError("setns", unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET))
}

func setCongestionControl(fd uintptr, name string) error {
	return unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
}
