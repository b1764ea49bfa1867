package token

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Variable is the environment variable that says from which bpffs tokens are made. It is
// libbpf's. When it is set and empty, no token is made.
const Variable = "LIBBPF_BPF_TOKEN_PATH"

// defaultPath is where libbpf looks for a bpffs, too.
const defaultPath = "/sys/fs/bpf"

// Token is a BPF token. Its zero value stands for none.
type Token struct {
	// FD is its descriptor, 0 for none.
	FD int
	// Path is that of the bpffs which it is from.
	Path string
	// Absent is why there is no token, nil where none was asked for.
	Absent error
}

// Open makes a token from the bpffs at path, as libbpf does: when path is empty, from the one
// that [Variable] names, else from the one at /sys/fs/bpf. It fails when there is none where
// one was asked for, by path or variable; otherwise the token has the reason in Absent.
func Open(path string) (Token, error) {
	if path != "" {
		return asked(path)
	}
	if path, set := os.LookupEnv(Variable); set {
		if path == "" {
			return Token{}, nil
		}
		t, err := asked(path)
		if err != nil {
			err = fmt.Errorf("%s: %w", Variable, err)
		}
		return t, err
	}
	if privilege.InInitialUserNamespace() {
		return Token{}, nil
	}
	t, err := create(defaultPath)
	t.Absent = err
	return t, nil
}

func asked(path string) (Token, error) {
	t, err := create(path)
	if err != nil {
		return Token{}, fmt.Errorf("make a BPF token from %s: %w", path, err)
	}
	return t, nil
}

// Close closes the descriptor.
func (t *Token) Close() error {
	if t.FD == 0 {
		return nil
	}
	fd := t.FD
	t.FD = 0
	return sys.Close(fd)
}

func create(path string) (Token, error) {
	dir, err := unix.Open(path, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Token{}, explain(path, err, os.NewSyscallError("open", err))
	}
	defer unix.Close(dir)
	fd, err := sys.TokenCreate(dir)
	if err != nil {
		return Token{}, explain(path, err, os.NewSyscallError("bpf(BPF_TOKEN_CREATE)", err))
	}
	return Token{FD: fd, Path: path}, nil
}

// HowToGet is advice: who provides a token, and how.
const HowToGet = "a service manager or container manager mounts a bpffs for this user namespace, with the options delegate_cmds, delegate_maps, delegate_progs and delegate_attachs (systemd: PrivateUsers=yes, PrivateBPF=yes, BPFDelegateCommands=any, BPFDelegateMaps=any, BPFDelegatePrograms=any, BPFDelegateAttachments=any; Incus, LXD: security.delegate_bpf)"

// explain adds to the kernel's answer what it means: see bpf_token_create of kernel/bpf/token.c.
func explain(path string, errno, err error) error {
	var means string
	switch {
	case errors.Is(errno, unix.EOPNOTSUPP):
		means = "this process is in the initial user namespace, where there are no tokens: it needs capabilities of its own, and no token"
	case errors.Is(errno, fs.ErrNotExist):
		means = "the bpffs is not there, or delegates nothing: " + HowToGet
	case errors.Is(errno, unix.ENOTDIR):
		means = "it is not a directory: a token is made from the directory where a bpffs is mounted"
	case errors.Is(errno, unix.EPERM), errors.Is(errno, unix.EACCES):
		means = "the bpffs is that of another user namespace, or this process lacks CAP_BPF in its own: " + HowToGet
	case errors.Is(errno, unix.EINVAL):
		if v := sys.KernelVersion(); v < 6<<16|9<<8 {
			means = fmt.Sprintf("tokens came with Linux 6.9, and this kernel is %d.%d", v>>16, v>>8&0xff)
			break
		}
		if is, err := kernelfs.IsBPFFS(path); err == nil && !is {
			means = "there is no bpffs mounted: " + HowToGet
			break
		}
		means = "it is a directory in a bpffs, and not where that is mounted"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, means)
}

// Delegates returns what the bpffs delegates, as its mount options say it, empty when that
// cannot be read.
func (t Token) Delegates() string {
	dir, err := unix.Open(t.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(dir)
	info, err := os.ReadFile(fmt.Sprintf("/proc/thread-self/fdinfo/%d", dir))
	if err != nil {
		return ""
	}
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return ""
	}
	return delegates(string(info), string(mounts))
}

// delegates returns the delegation options of a mount: the one that fdinfo of a descriptor
// names, among those in mountinfo (proc_pid_mountinfo(5)).
func delegates(fdinfo, mountinfo string) string {
	_, id, _ := strings.Cut(fdinfo, "mnt_id:\t")
	id, _, _ = strings.Cut(id, "\n")
	for line := range strings.Lines(mountinfo) {
		if !strings.HasPrefix(line, id+" ") {
			continue
		}
		fields := strings.Fields(line)
		var options []string
		for _, option := range strings.Split(fields[len(fields)-1], ",") {
			if strings.HasPrefix(option, "delegate_") {
				options = append(options, option)
			}
		}
		return strings.Join(options, ",")
	}
	return ""
}
