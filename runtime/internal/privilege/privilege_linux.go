package privilege

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
)

// Explain returns what keeps this thread from something that the kernel has refused
// with EPERM or EACCES, and that needs these capabilities: those that it lacks, or what
// else may refuse it when it has them all.
func Explain(needed ...Cap) string {
	effective, err := effective()
	if err != nil {
		return fmt.Sprintf("needs %s, or root (which of them this process has cannot be read: %v)", join(needed), err)
	}
	if !InInitialUserNamespace() {
		return "this process is in a user namespace of its own, as in a rootless container, and the capabilities that it has there do not count: run it outside"
	}
	if missing := effective.missing(needed); len(missing) > 0 {
		if os.Geteuid() == 0 {
			return fmt.Sprintf("this process lacks %s, though it is root's, as in a container or a service without: give it that (`docker run --cap-add %s`, CapabilityBoundingSet=)", join(missing), capAdd(missing))
		}
		return fmt.Sprintf("this process lacks %s: run it as root, or with `setcap %s+ep` on its file", join(missing), setcap(missing))
	}
	if len(needed) == 0 {
		return "refused by this kernel: " + others()
	}
	return "refused by this kernel, though the process has " + join(needed) + ": " + others()
}

// others returns what else may refuse a call, on this machine.
func others() string {
	var suspects []string
	if data, err := os.ReadFile("/proc/thread-self/status"); err == nil && isFiltered(string(data)) {
		suspects = append(suspects, "a seccomp filter is on, as in containers")
	}
	if mode := kernelfs.Lockdown(); mode != "" {
		suspects = append(suspects, "it is locked down (/sys/kernel/security/lockdown says "+mode+")")
	}
	if lsms, err := LSMs(); err == nil && len(lsms) > 0 {
		suspects = append(suspects, "its security modules are "+strings.Join(lsms, ", "))
	}
	if len(suspects) == 0 {
		return "it may be built so, or have a security module that does"
	}
	return strings.Join(suspects, "; ")
}

// isFiltered reports whether the status of a thread (proc_pid_status(5)) says that it has a
// filter of system calls.
func isFiltered(status string) bool { return strings.Contains(status, "\nSeccomp:\t2\n") }

// LSMs returns the active security modules, in the order in which they are asked.
func LSMs() ([]string, error) {
	data, err := kernelfs.Securityfs.ReadFile("lsm")
	if err != nil {
		return nil, err
	}
	return parseLSMs(string(data)), nil
}

// parseLSMs parses "lockdown,capability,bpf", which some kernels end with a NUL.
func parseLSMs(list string) []string {
	list = strings.TrimRight(list, "\n\x00")
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// Has reports whether this thread has capabilities, or those that stand for them.
func Has(caps ...Cap) bool {
	effective, err := effective()
	return err == nil && len(effective.missing(caps)) == 0 && InInitialUserNamespace()
}

// set is a set of capabilities, a bit each.
type set uint64

func (s set) has(c Cap) bool { return s>>c&1 != 0 }

// missing returns those of caps that are not in the set, nor stood for by another that is.
func (s set) missing(caps []Cap) (missing []Cap) {
	for _, c := range caps {
		if !kernelHas(c) {
			c = SysAdmin
		}
		if !s.has(c) && !s.has(SysAdmin) && !slices.Contains(missing, c) {
			missing = append(missing, c)
		}
	}
	return missing
}

// effective returns the effective capabilities of the calling thread.
func effective() (set, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, os.NewSyscallError("capget", err)
	}
	return set(data[0].Effective) | set(data[1].Effective)<<32, nil
}

// kernelHas reports whether the kernel knows a capability.
func kernelHas(c Cap) bool {
	data, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return true
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(data)))
	return err != nil || int(c) <= last
}

// InInitialUserNamespace reports whether capabilities count for all of the kernel. A process
// with several threads, as all of Go are, stays in its user namespace.
var InInitialUserNamespace = sync.OnceValue(func() bool {
	data, err := os.ReadFile("/proc/thread-self/uid_map")
	if err != nil {
		return true
	}
	return isInitial(string(data))
})

// isInitial reports whether a uid_map (user_namespaces(7)) is that of the initial user
// namespace, in which all numbers stand for themselves.
func isInitial(uidMap string) bool {
	return slices.Equal(strings.Fields(uidMap), []string{"0", "0", "4294967295"})
}

// join writes capabilities as a sentence has them.
func join(caps []Cap) string {
	names := make([]string, 0, len(caps))
	for _, c := range caps {
		names = append(names, c.String())
	}
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

// capAdd writes them as options of docker and podman, after the first --cap-add.
func capAdd(caps []Cap) string {
	names := make([]string, 0, len(caps))
	for _, c := range caps {
		names = append(names, strings.TrimPrefix(c.String(), "CAP_"))
	}
	return strings.Join(names, " --cap-add ")
}

// setcap writes them as setcap(8) takes them.
func setcap(caps []Cap) string {
	names := make([]string, 0, len(caps))
	for _, c := range caps {
		names = append(names, strings.ToLower(c.String()))
	}
	return strings.Join(names, ",")
}
