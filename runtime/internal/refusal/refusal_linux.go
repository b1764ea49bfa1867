package refusal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
	"github.com/rules-bpf/rules_bpf/runtime/internal/token"
)

// Why returns why the kernel refuses a map, a program, a link or BTF, empty when its
// answer says enough. needed are the capabilities for it.
func Why(err error, needed ...privilege.Cap) string {
	switch {
	case errors.Is(err, unix.EPERM):
		if limit, ok := lockedMemory(); ok && privilege.Has(needed...) {
			return fmt.Sprintf("this kernel, older than Linux 5.11, counts BPF as locked memory, of which the process may have %d bytes: run it as root, or raise the limit (ulimit -l unlimited, LimitMEMLOCK=infinity)", limit)
		}
		return privilege.Explain(needed...)
	case errors.Is(err, unix.EMFILE):
		var limit unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
			return "the process has as many open files as it may: raise the limit (ulimit -n)"
		}
		return fmt.Sprintf("the process has %d open files, as many as it may: raise the limit (ulimit -n, LimitNOFILE=)", limit.Cur)
	case errors.Is(err, unix.ENFILE):
		return "the machine has as many open files as it may: raise fs.file-max"
	case errors.Is(err, unix.ENOMEM):
		return "the kernel has no memory for it: make its maps smaller, or raise the limit of the cgroup (memory.max)"
	case errors.Is(err, sys.ENOTSUPP):
		return WhyNoJIT()
	}
	return ""
}

// WhyLoad is Why for a map, a program or the BTF of an object. Where a capability that it needs
// is missing, all that the object lacks are named, to be given at once. t is the token that it
// was loaded with, or that was looked for.
func WhyLoad(err error, needed, all []privilege.Cap, t token.Token) string {
	if !privilege.Has(needed...) {
		needed = all
	}
	if errors.Is(err, unix.EPERM) && !privilege.InInitialUserNamespace() {
		return WhyForbidden(needed, t)
	}
	return Why(err, needed...)
}

// WhyForbidden returns why the process may not do what needs these capabilities, or a token
// that delegates it.
func WhyForbidden(needed []privilege.Cap, t token.Token) string {
	switch {
	case t.Path != "":
		return fmt.Sprintf("the BPF token from %s does not delegate it (%s), or a security module refuses it: have the bpffs mounted with more", t.Path, t.Delegates())
	case t.Absent != nil:
		return privilege.Explain(needed...) + fmt.Sprintf(", or with a BPF token (LoadOptions.TokenPath), which %v", t.Absent)
	}
	return privilege.Explain(needed...)
}

// lockdown returns how the kernel is locked down, empty when it is not.
func lockdown() string { return kernelfs.Lockdown() }

// lockedMemory returns the limit on locked memory of a kernel that counts it for BPF,
// when there is one.
func lockedMemory() (bytes uint64, limited bool) {
	var limit unix.Rlimit
	if !sys.OlderThan("5.11") || unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) != nil {
		return 0, false
	}
	return limit.Cur, limit.Cur != unix.RLIM_INFINITY
}

// WhyNoTrampoline reports that the kernel has no BPF JIT compiler when that is why it has refused
// a program and its answer does not say so: it answers that there is no memory when it cannot
// make the trampoline that the program is called from, and that the program is wrong when the
// target is another program. It is empty for other programs, and where the kernel has a JIT
// compiler.
func WhyNoTrampoline(err error, typ ebpf.ProgramType, attach ebpf.AttachType) string {
	if !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.EINVAL) || !onTrampoline(typ, attach) || HasJIT() {
		return ""
	}
	return noJIT
}

// WhyNoArena returns why the kernel has no arenas, where it answers so: its JIT compiler makes them.
func WhyNoArena(err error) string {
	switch {
	case !errors.Is(err, unix.EOPNOTSUPP):
		return ""
	case !HasJIT():
		return "the kernel has no BPF JIT compiler (CONFIG_BPF_JIT), which arenas need"
	}
	return "the kernel's BPF JIT compiler for this CPU has no arenas: use a newer kernel, or another kind of map"
}

// onTrampoline reports whether programs are called from a trampoline.
func onTrampoline(typ ebpf.ProgramType, attach ebpf.AttachType) bool {
	switch typ {
	case ebpf.Extension, ebpf.LSM, ebpf.StructOps:
		return true
	case ebpf.Tracing:
		return attach != ebpf.AttachTraceRawTp && attach != ebpf.AttachTraceIter
	}
	return false
}

const noJIT = "the kernel has no BPF JIT compiler (CONFIG_BPF_JIT), which this program needs"

// jitSwitch turns the JIT compiler on and off. Only the first network namespace has it.
const jitSwitch = "/proc/sys/net/core/bpf_jit_enable"

// HasJIT reports whether the kernel was built with a BPF JIT compiler.
func HasJIT() bool {
	if _, err := os.Stat(jitSwitch); err == nil {
		return true
	}
	// The JIT compilers of all architectures have this function.
	return kallsyms.HasFunction("bpf_jit_binary_alloc")
}

// WhyNoJIT returns how to have the kernel compile BPF, which some programs cannot do
// without. It is empty when it does.
func WhyNoJIT() string {
	data, err := os.ReadFile(jitSwitch)
	return whyNoJIT(data, err, HasJIT)
}

// whyNoJIT is WhyNoJIT of what was read from jitSwitch.
func whyNoJIT(data []byte, err error, hasJIT func() bool) string {
	switch {
	case errors.Is(err, fs.ErrNotExist) && !hasJIT():
		return noJIT
	case err != nil:
		return "the program needs the kernel's BPF JIT compiler: see that `sysctl net.core.bpf_jit_enable` is not 0"
	case strings.TrimSpace(string(data)) == "0":
		return "the kernel's BPF JIT compiler is off, and this program needs it: `sysctl net.core.bpf_jit_enable=1`"
	}
	return ""
}
