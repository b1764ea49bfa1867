//go:build linux

package vmguest

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"github.com/rules-bpf/rules_bpf/tool/internal/vmproto"
)

// fileSystems are mounted in this order, /dev before all of them.
var fileSystems = []struct{ fstype, dir string }{
	{"proc", "/proc"},
	{"sysfs", "/sys"},
	{"devpts", "/dev/pts"},
	{"tmpfs", "/dev/shm"},
	{"tracefs", "/sys/kernel/tracing"},
	{"debugfs", "/sys/kernel/debug"},
	{"securityfs", "/sys/kernel/security"},
	{"bpf", "/sys/fs/bpf"},
	{"cgroup2", "/sys/fs/cgroup"},
}

// etcFiles are what the C library and Go look things up in.
var etcFiles = map[string]string{
	"/etc/passwd": "root:x:0:0:root:/:/bin/sh\n",
	"/etc/group":  "root:x:0:\n",
	"/etc/hosts":  "127.0.0.1 localhost\n::1 localhost\n",
}

// Limits on the number of open files as most distributions set them.
const (
	softFiles = 1024
	hardFiles = 524288
)

// prepare makes of the bare kernel what programs find on most machines.
func prepare() error {
	for _, f := range fileSystems {
		if err := mount(f.fstype, f.dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll("/tmp", 0o755); err != nil {
		return err
	}
	if err := os.Chmod("/tmp", 0o777|fs.ModeSticky); err != nil {
		return err
	}
	if err := os.MkdirAll("/etc", 0o755); err != nil {
		return err
	}
	for name, content := range etcFiles {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	// Kernels before 5.11 account BPF maps and programs to it.
	unlimited := syscall.Rlimit{Cur: math.MaxUint64, Max: math.MaxUint64}
	if err := syscall.Setrlimit(rlimitMemlock, &unlimited); err != nil {
		return fmt.Errorf("raise RLIMIT_MEMLOCK: %w", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: softFiles, Max: hardFiles}); err != nil {
		return fmt.Errorf("set RLIMIT_NOFILE: %w", err)
	}
	if err := syscall.Sethostname([]byte("bpf-test")); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bring the interface lo up: %w", err)
	}
	if err := placeConfig(); err != nil {
		return err
	}
	return loadModules()
}

// mount mounts a file system, unless the kernel has none of this type.
func mount(fstype, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		// A directory in sysfs is there when the kernel has the file system for it.
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOENT) {
			return nil
		}
		return err
	}
	err := syscall.Mount(fstype, dir, fstype, 0, "")
	// EBUSY: the kernel itself has mounted /dev.
	if err != nil && err != syscall.ENODEV && err != syscall.EBUSY {
		return fmt.Errorf("mount %s on %s: %w", fstype, dir, err)
	}
	return nil
}

func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	req := ifreq{name: [syscall.IFNAMSIZ]byte{'l', 'o'}, flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	return ioctl(fd, syscall.SIOCSIFFLAGS, unsafe.Pointer(&req))
}

// placeConfig moves the kernel's configuration to where libbpf and others look
// for it.
func placeConfig() error {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	if err := os.MkdirAll("/boot", 0o755); err != nil {
		return err
	}
	err = os.Rename(vmproto.ConfigFile, "/boot/config-"+strings.TrimSpace(string(release)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func loadModules() error {
	data, err := os.ReadFile(vmproto.ModulesFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, path := range strings.Fields(string(data)) {
		if err := loadModule(path); err != nil {
			return fmt.Errorf("load the kernel module %s: %w", path, err)
		}
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = finitModule(f)
	// EEXIST: the kernel has it already, built in or loaded by another module.
	if err == syscall.EEXIST {
		return nil
	}
	return err
}
