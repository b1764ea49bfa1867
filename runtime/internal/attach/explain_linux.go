package attach

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/features"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/refusal"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Explain adds to the kernel's refusal to attach a program what the program's type needs, where
// the kernel's answer does not say so.
func Explain(err error, typ ebpf.ProgramType) error {
	var told *kernelfs.Error
	if errors.As(err, &told) {
		return err // which is not about the program
	}
	if errors.Is(err, unix.EPERM) || features.IsLack(err) {
		return refusal.Advise(err, refusal.Why(err, refusal.ProgramCaps(typ)...))
	}
	return err
}

// explainInterface adds that a network interface does not exist: the kernel's answers to that
// differ.
func explainInterface(err error, ifindex int) error {
	if err == nil {
		return nil
	}
	if noInterface(ifindex) {
		return fmt.Errorf("there is no network interface with the index %d in this network namespace: %w", ifindex, err)
	}
	return err
}

// noInterface reports whether the network namespace is known not to have an interface with
// the index.
func noInterface(ifindex int) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	// SIOCGIFNAME takes the index, and fills in the name.
	request, err := unix.NewIfreq("")
	if err != nil {
		return false
	}
	request.SetUint32(uint32(ifindex))
	return errors.Is(unix.IoctlIfreq(fd, unix.SIOCGIFNAME, request), unix.ENODEV)
}

// explainNetkit explains what else may be wrong with an interface for a program of netkit.
func explainNetkit(err error, ifindex int) error {
	switch {
	case errors.Is(err, unix.ENXIO):
		return fmt.Errorf("network interface %d is not of kind netkit: %w", ifindex, err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("network interface %d is the peer of its pair: give the index of the primary one: %w", ifindex, err)
	}
	return explainInterface(err, ifindex)
}

// noCgroup returns the error for a directory that is not one of a cgroup which takes programs,
// with the directories that are.
func noCgroup(err error, path string) error {
	what := "is not a directory of a cgroup2 file system"
	var st unix.Statfs_t
	if unix.Statfs(path, &st) == nil && int64(st.Type) == unix.CGROUP_SUPER_MAGIC {
		what = "is a cgroup of version 1, and programs attach to cgroups of version 2"
	}
	where := "no cgroup2 file system is mounted: `mount -t cgroup2 cgroup2 DIRECTORY`, or start the machine with version 2 alone (systemd.unified_cgroup_hierarchy=1)"
	if place := kernelfs.Cgroups.MountPoint(); place != "" {
		where = "they are below " + place
	}
	return refusal.Advise(fmt.Errorf("%s: %s: %w", path, what, err), where)
}

// explainTrampoline explains why the kernel does not attach a program to a trampoline at the entry
// or the return of a function.
func (p *Program) explainTrampoline(err error) error {
	busy := errors.Is(err, unix.EBUSY)
	switch {
	case !busy && !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, sys.ENOTSUPP):
		return err
	case busy && p.OnProgram:
		return refusal.Advise(err, "the function is replaced by another program, or traced: detach that first")
	}
	if why := refusal.WhyNoJIT(); why != "" {
		return refusal.Advise(err, why)
	}
	return refusal.Advise(err, "the kernel has no direct calls of ftrace, through which it runs such programs (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, on arm64 since Linux 6.4), or something else has changed the function, such as a live patch")
}

// inactiveLSM returns an error when the kernel runs no programs on hooks of security modules,
// although it attaches them. It returns nil when it does, or when that is not known.
func inactiveLSM() error {
	lsms, err := privilege.LSMs()
	if err != nil || slices.Contains(lsms, "bpf") {
		return nil
	}
	return fmt.Errorf("the kernel runs no programs on hooks of security modules: add bpf to lsm= on its command line, which has %s now (/sys/kernel/security/lsm): %w", strings.Join(lsms, ","), ebpf.ErrNotSupported)
}
