//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sys/unix"
)

// nobody is the user that commands run as: files of the store are not theirs to write.
const nobody = 65534

// buildDir is where a command finds its inputs.
const buildDir = "/build"

// A sandbox is what a new process of this program makes of itself before it becomes the
// command: namespaces of its own, with nothing of this machine but programs and libraries.
type sandbox struct {
	// Root has the programs, Dir the inputs, as its directory build.
	Root, Dir string
	// Shared are inputs that are not in Dir.
	Shared []sharedDir
	// WorkingDir is relative to buildDir.
	WorkingDir string
	Args       []string
	// AsNobody is true when the command runs as another user.
	AsNobody bool
}

// sandboxVariable has a sandbox, in JSON, for the process that is to become a command.
const sandboxVariable = "EXECUTOR_SANDBOX"

// programs are the directories of the root that commands see, as far as they are there.
var programs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// devices are those of this machine that they see.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

func giveAway(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(path, nobody, nobody)
}

// sandboxed returns the command in its sandbox. Its environment is what the action says.
func sandboxed(ctx context.Context, root, dir string, shared []sharedDir, c *repb.Command) (*exec.Cmd, error) {
	if len(c.GetArguments()) == 0 {
		return nil, errors.New("the command has no arguments")
	}
	data, err := json.Marshal(sandbox{root, dir, shared, c.GetWorkingDirectory(), c.GetArguments(), os.Geteuid() == 0})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = []string{sandboxVariable + "=" + string(data)}
	for _, v := range c.GetEnvironmentVariables() {
		cmd.Env = append(cmd.Env, v.GetName()+"="+v.GetValue())
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		// Without root these rights need a user namespace, in which there is no other user to
		// become.
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return cmd, nil
}

// become makes the sandbox and becomes the command.
func become(text string) error {
	var s sandbox
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	if err := os.Unsetenv(sandboxVariable); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	if err := unix.Chdir(filepath.Join(buildDir, s.WorkingDir)); err != nil {
		return fmt.Errorf("%s: %w", s.WorkingDir, err)
	}
	if err := s.drop(); err != nil {
		return fmt.Errorf("give up rights: %w", err)
	}
	program, err := exec.LookPath(s.Args[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", program, unix.Exec(program, s.Args, os.Environ()))
}

// drop gives up the right to write to files that others own, or that are for reading.
func (s *sandbox) drop() error {
	if s.AsNobody {
		return errors.Join(unix.Setgroups(nil), unix.Setresgid(nobody, nobody, nobody), unix.Setresuid(nobody, nobody, nobody))
	}
	// The root of a user namespace would have all capabilities after exec.
	const noRoot, noRootLocked = 1 << 0, 1 << 1
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, noRoot|noRootLocked, 0, 0, 0); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}

// enter makes the root directory of the command, and moves there.
func (s *sandbox) enter() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	root := filepath.Join(s.Dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("none", root, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", root, err)
	}
	for _, dir := range programs {
		if err := show(filepath.Join(s.Root, dir), filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	for _, device := range devices {
		if err := show(device, filepath.Join(root, device)); err != nil {
			return err
		}
	}
	if err := bind(filepath.Join(s.Dir, "build"), filepath.Join(root, buildDir), 0); err != nil {
		return err
	}
	for _, dir := range s.Shared {
		if err := bind(dir.From, filepath.Join(root, buildDir, dir.To), unix.MS_RDONLY); err != nil {
			return err
		}
	}
	for dir, fstype := range map[string]string{"/proc": "proc", "/tmp": "tmpfs"} {
		to := filepath.Join(root, dir)
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("none", to, fstype, unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	// This mounts the old root over the new one, from where it is unmounted.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the machine's root: %w", err)
	}
	return unix.Chdir("/")
}

// show lets the command see what is at a path, for reading.
func show(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return bind(from, to, unix.MS_RDONLY)
	}
	// /bin is a link on most distributions.
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	return os.Symlink(target, to)
}

func bind(from, to string, flags uintptr) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if info.IsDir() {
		err = os.Mkdir(to, 0o755)
	} else {
		err = os.WriteFile(to, nil, 0o644)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", from, err)
	}
	if flags == 0 {
		return nil
	}
	// Flags of the mount stay, as a user namespace may not clear them.
	var st unix.Statfs_t
	if err := unix.Statfs(to, &st); err != nil {
		return err
	}
	kept := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME)
	if err := unix.Mount("", to, "", unix.MS_REMOUNT|unix.MS_BIND|flags|kept, ""); err != nil {
		return fmt.Errorf("mount %s for reading: %w", from, err)
	}
	return nil
}
