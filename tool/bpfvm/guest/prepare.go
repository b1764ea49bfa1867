//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

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
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited); err != nil {
		return fmt.Errorf("raise RLIMIT_MEMLOCK: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: softFiles, Max: hardFiles}); err != nil {
		return fmt.Errorf("set RLIMIT_NOFILE: %w", err)
	}
	if err := unix.Sethostname([]byte("bpf-test")); err != nil {
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
		// A folder in sysfs is there when the kernel has the file system for it.
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		return err
	}
	err := unix.Mount(fstype, dir, fstype, 0, "")
	// EBUSY: the kernel itself has mounted /dev.
	if err != nil && err != unix.ENODEV && err != unix.EBUSY {
		return fmt.Errorf("mount %s on %s: %w", fstype, dir, err)
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// placeConfig moves the kernel's configuration to where libbpf and others look
// for it.
func placeConfig() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	if err := os.MkdirAll("/boot", 0o755); err != nil {
		return err
	}
	err := os.Rename(vmproto.ConfigFile, "/boot/config-"+unix.ByteSliceToString(name.Release[:]))
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
	err = unix.FinitModule(int(f.Fd()), "", 0)
	// EEXIST: the kernel has it already, built in or loaded by another module.
	if err == unix.EEXIST {
		return nil
	}
	return err
}
