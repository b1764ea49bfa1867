package bpftest

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The file descriptors, in the container, over which it and its manager communicate.
const (
	toManager   = 3
	fromManager = 4
)

// runInContainer is the manager: it starts the test anew in a container, sets up the bpffs
// there, and waits for the test's end.
func runInContainer(t *testing.T, d Delegation) error {
	t.Helper()
	hear, toManager, err := os.Pipe()
	if err != nil {
		return err
	}
	defer hear.Close()
	fromManager, answer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer answer.Close()
	var out strings.Builder
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	// An empty environment: with that of this test, the new process would write into the same
	// files.
	cmd.Env = []string{containerVariable + "=" + t.Name(), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{toManager, fromManager}, &out, &out
	root := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: root, GidMappings: root}
	err = cmd.Start()
	toManager.Close()
	fromManager.Close()
	if err != nil {
		return err
	}
	err = delegate(cmd.Process.Pid, bufio.NewReader(hear), d)
	if err == nil {
		_, err = answer.WriteString("\n")
	}
	answer.Close()
	waited := cmd.Wait()
	t.Logf("in a user namespace of its own:\n%s", out.String())
	if err != nil {
		return fmt.Errorf("delegate: %w", err)
	}
	return waited
}

// delegate sets the options of the bpffs that a process has opened, whose descriptor's number
// it reads from hear.
func delegate(pid int, hear *bufio.Reader, d Delegation) error {
	var number int
	if _, err := fmt.Fscanln(hear, &number); err != nil {
		return err
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(process)
	bpffs, err := unix.PidfdGetfd(process, number, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_getfd", err)
	}
	defer unix.Close(bpffs)
	for _, option := range slices.Sorted(maps.Keys(d)) {
		if err := unix.FsconfigSetString(bpffs, option, d[option]); err != nil {
			return fmt.Errorf("%s=%s: %w", option, d[option], err)
		}
	}
	return os.NewSyscallError("fsconfig", unix.FsconfigCreate(bpffs))
}

// mountDelegated mounts the bpffs, when the manager has set it up.
func mountDelegated() error {
	bpffs, err := unix.Fsopen("bpf", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(bpffs)
	manager, answer := os.NewFile(toManager, "manager"), os.NewFile(fromManager, "answer")
	defer manager.Close()
	defer answer.Close()
	if _, err := fmt.Fprintln(manager, bpffs); err != nil {
		return err
	}
	if _, err := answer.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("the manager has not set up the bpffs: %w", err)
	}
	mount, err := unix.Fsmount(bpffs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(mount)
	return os.NewSyscallError("move_mount", unix.MoveMount(mount, "", unix.AT_FDCWD, "/sys/fs/bpf", unix.MOVE_MOUNT_F_EMPTY_PATH))
}
