package kernelfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// An FS is a file system of which the kernel has one. It is used where it is
// mounted, and otherwise through a detached mount: one that is in no mount namespace,
// so that no other process sees it, and that ends with the process.
type FS struct {
	fstype string
	magic  int64
	// dirs are its usual mount points. The first is the one to advise.
	dirs []string
	// option is the Kconfig option that it comes with.
	option string

	mu sync.Mutex
	// detached is nil until it is needed and can be made. That it cannot be made is
	// not remembered: a process may gain the right, or the file system may be mounted.
	detached *os.File
}

// The file systems that the runtime reads.
var (
	Tracefs    = &FS{fstype: "tracefs", magic: unix.TRACEFS_MAGIC, dirs: []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}, option: "CONFIG_TRACING"}
	Debugfs    = &FS{fstype: "debugfs", magic: unix.DEBUGFS_MAGIC, dirs: []string{"/sys/kernel/debug"}, option: "CONFIG_DEBUG_FS"}
	Securityfs = &FS{fstype: "securityfs", magic: unix.SECURITYFS_MAGIC, dirs: []string{"/sys/kernel/security"}, option: "CONFIG_SECURITYFS"}
	// Cgroups are those of version 2.
	Cgroups = &FS{fstype: "cgroup2", magic: unix.CGROUP2_SUPER_MAGIC, dirs: []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}, option: "CONFIG_CGROUPS"}
	Sysfs   = &FS{fstype: "sysfs", magic: unix.SYSFS_MAGIC, dirs: []string{"/sys"}, option: "CONFIG_SYSFS"}
)

// Open opens a file for reading, by its path in the file system. It fails with
// [fs.ErrNotExist] when the file system has no such file. When it can neither be found
// nor mounted, or is not to be read by this process, the error says what to do.
func (f *FS) Open(name string) (*os.File, error) {
	// A visible mount comes first, and is looked up anew each time: a descriptor of
	// it would keep the administrator from unmounting it.
	dir, at, err := f.visible()
	if err != nil {
		return nil, err
	}
	place := at
	if dir == nil {
		at, place = f.fstype, f.dirs[0]
		if dir, err = f.mount(); err != nil {
			return nil, err
		}
	} else {
		defer dir.Close()
	}
	fd, err := openat(int(dir.Fd()), name, unix.O_RDONLY)
	if errors.Is(err, unix.EACCES) {
		return nil, &Error{fmt.Sprintf("this process may not read %s (%v): run it as root, or let a group read: `mount -o remount,gid=GROUP,mode=750 %s`", path.Join(at, name), err, place), err}
	}
	if closed := f.closed(dir, at, err); closed != nil {
		return nil, closed
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path.Join(at, name), Err: err}
	}
	return os.NewFile(uintptr(fd), path.Join(at, name)), nil
}

// closed returns an error when the kernel is locked down so that tracefs cannot be used, nil
// otherwise: it refuses to open the files, or, when it was locked down at its start, there are
// none.
func (f *FS) closed(dir *os.File, at string, err error) error {
	if f != Tracefs || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOENT) {
		return nil
	}
	if errors.Is(err, unix.ENOENT) {
		if fd, err := openat(int(dir.Fd()), "events", unix.O_PATH); err == nil {
			unix.Close(fd)
			return nil
		}
	}
	mode := Lockdown()
	if mode == "" {
		return nil
	}
	return &Error{fmt.Sprintf("%s cannot be used, as the kernel is locked down (/sys/kernel/security/lockdown says %s): use forms that need no tracefs (raw_tp, tp_btf, fentry), or boot without lockdown=%[2]s", at, mode), unix.EPERM}
}

// Lockdown returns how the kernel is locked down, "integrity" or "confidentiality", empty when
// it is not or when that is not known.
func Lockdown() string {
	data, err := Securityfs.ReadFile("lockdown")
	if err != nil {
		return ""
	}
	return lockdown(string(data))
}

// lockdown returns the mode that a list such as "none [integrity] confidentiality" says, empty
// for none.
func lockdown(list string) string {
	_, mode, _ := strings.Cut(list, "[")
	mode, _, _ = strings.Cut(mode, "]")
	if mode == "none" {
		return ""
	}
	return mode
}

// ReadFile returns what is in a file. It fails as [FS.Open] does.
func (f *FS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
}

// MountPoint returns where the file system is mounted, empty when it is not.
func (f *FS) MountPoint() string {
	dir, at, err := f.visible()
	if dir == nil || err != nil {
		return ""
	}
	dir.Close()
	return at
}

// visible returns the directory where the file system is mounted, nil if there is none.
func (f *FS) visible() (*os.File, string, error) {
	for _, at := range f.dirs {
		dir, err := f.directory(at)
		if dir != nil || err != nil {
			return dir, at, err
		}
	}
	// A container may have mounted it elsewhere.
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, "", nil
	}
	for line := range strings.Lines(string(mounts)) {
		// "36 35 0:7 / /place rw,noatime shared:1 - type source rw"
		fields := strings.Fields(line)
		_, after, ok := strings.Cut(line, " - ")
		if !ok || len(fields) < 5 || fields[3] != "/" || !strings.HasPrefix(after, f.fstype+" ") {
			continue
		}
		at := unescape(fields[4])
		dir, err := f.directory(at)
		if dir != nil || err != nil {
			return dir, at, err
		}
	}
	return nil, "", nil
}

// unescape undoes what the kernel does to blanks in paths.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// directory returns a directory when it is of the file system, nil when it is not. A directory
// that only root may look into counts: what is in it is refused later, by name.
func (f *FS) directory(at string) (*os.File, error) {
	// O_DIRECTORY triggers automounts: debugfs mounts tracefs so.
	fd, err := openat(unix.AT_FDCWD, at, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) {
		return nil, &os.PathError{Op: "open", Path: at, Err: err}
	}
	if err != nil {
		return nil, nil
	}
	dir := os.NewFile(uintptr(fd), at)
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil || int64(st.Type) != f.magic {
		dir.Close()
		return nil, nil
	}
	return dir, nil
}

// mount returns a detached mount.
func (f *FS) mount() (*os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.detached != nil {
		return f.detached, nil
	}
	fd, err := detachedMount(f.fstype)
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil, &Error{fmt.Sprintf("the kernel has no %s: it is built without %s", f.fstype, f.option), err}
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSYS):
		return nil, &Error{fmt.Sprintf("%s is not mounted, and this process may not mount it for itself (%v): as root, `mount -t %s %[1]s %[4]s`, or give the container the host's: `-v %[4]s:%[4]s:ro`", f.fstype, err, f.fstype, f.dirs[0]), err}
	case err != nil:
		return nil, fmt.Errorf("mount %s: %w", f.fstype, err)
	}
	f.detached = os.NewFile(uintptr(fd), f.fstype)
	return f.detached, nil
}

// detachedMount mounts the file system nowhere. It needs Linux 5.2.
func detachedMount(fstype string) (int, error) {
	context, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(context)
	// No options: with some, the kernel would change those of all mounts of it.
	if err := unix.FsconfigCreate(context); err != nil {
		return -1, err
	}
	return unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

func openat(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// IsBPFFS reports whether a path is in a bpffs, where BPF objects can be pinned. Its error is
// that of statfs(2), without the path.
func IsBPFFS(path string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return false, os.NewSyscallError("statfs", err)
	}
	return uint32(st.Type) == unix.BPF_FS_MAGIC, nil
}

// An Error is the kernel's answer, with what it means and what to do.
type Error struct {
	text string
	err  error
}

func (e *Error) Error() string { return e.text }
func (e *Error) Unwrap() error { return e.err }
