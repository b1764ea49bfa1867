package skeleton

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/features"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// programCaps returns the capabilities that the kernel wants to see when it loads a
// program, as is_net_admin_prog_type and is_perfmon_prog_type of kernel/bpf/syscall.c
// have them.
func programCaps(typ ebpf.ProgramType) []privilege.Cap {
	switch typ {
	case ebpf.SocketFilter, ebpf.CGroupSKB, ebpf.SkReuseport, ebpf.Syscall:
		return []privilege.Cap{privilege.BPF}
	case ebpf.Kprobe, ebpf.TracePoint, ebpf.PerfEvent, ebpf.RawTracepoint, ebpf.RawTracepointWritable,
		ebpf.Tracing, ebpf.LSM, ebpf.StructOps:
		return []privilege.Cap{privilege.BPF, privilege.Perfmon}
	case ebpf.Extension:
		return []privilege.Cap{privilege.BPF, privilege.NetAdmin, privilege.Perfmon}
	}
	return []privilege.Cap{privilege.BPF, privilege.NetAdmin}
}

// mapCaps returns the capabilities that the kernel wants to see when it creates a map.
func mapCaps(typ ebpf.MapType) []privilege.Cap {
	switch typ {
	case ebpf.SockMap, ebpf.SockHash, ebpf.DevMap, ebpf.DevMapHash, ebpf.XSKMap:
		return []privilege.Cap{privilege.BPF, privilege.NetAdmin}
	case ebpf.StructOpsMap:
		return []privilege.Cap{privilege.BPF, privilege.Perfmon}
	}
	return []privilege.Cap{privilege.BPF}
}

// explainRest says why a load failed that was refused something which is neither a map
// nor a program, such as BTF.
func (o *Object) explainRest(err error) error {
	var btf *loader.BTFError
	if errors.As(err, &btf) && features.IsForbidden(btf.Err) {
		return advise(err, o.whyForbidden(o.allCaps()))
	}
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
		return err
	}
	return advise(err, o.whyRefused(err, o.allCaps()))
}

// allCaps returns the capabilities that all maps and programs of the object need.
func (o *Object) allCaps() []privilege.Cap {
	needed := []privilege.Cap{privilege.BPF}
	for _, m := range o.loader.Maps {
		needed = append(needed, mapCaps(m.Type)...)
	}
	for _, p := range o.loader.Programs {
		if p.Autoload {
			needed = append(needed, programCaps(p.Type)...)
		}
	}
	// CAP_BPF, which has the highest number, comes first, as in the lists above.
	slices.Sort(needed)
	needed = slices.Compact(needed)
	slices.Reverse(needed)
	return needed
}

// whyRefused returns why the kernel refuses a map or a program of the object that needs
// these capabilities, empty when its answer says enough. Where one of them is missing,
// what the rest of the object lacks is named as well, to be given at once.
func (o *Object) whyRefused(err error, needed []privilege.Cap) string {
	if !privilege.Has(needed...) {
		needed = o.allCaps()
	}
	if errors.Is(err, unix.EPERM) && !privilege.InInitialUserNamespace() {
		return o.whyForbidden(needed)
	}
	return whyRefused(err, needed)
}

// whyForbidden returns why the process may not do what needs these capabilities, or a token
// that delegates it.
func (o *Object) whyForbidden(needed []privilege.Cap) string {
	switch t := o.loader.Token; {
	case t.Path != "":
		return fmt.Sprintf("the BPF token from %s does not delegate it (%s), or a security module refuses it: have the bpffs mounted with more", t.Path, t.Delegates())
	case t.Absent != nil:
		return privilege.Explain(needed...) + fmt.Sprintf(", or with a BPF token (LoadOptions.TokenPath), which %v", t.Absent)
	}
	return privilege.Explain(needed...)
}

// isLack reports whether the process has run out of something.
func isLack(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// whyRefused returns why the kernel refuses a map, a program or BTF, empty when its
// answer says enough. needed are the capabilities for it.
func whyRefused(err error, needed []privilege.Cap) string {
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
		return whyNoJIT()
	}
	return ""
}

// lockedMemory returns the limit on locked memory of a kernel that counts it for BPF,
// when there is one.
func lockedMemory() (bytes uint64, limited bool) {
	var limit unix.Rlimit
	if sys.KernelVersion() >= 5<<16|11<<8 || unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) != nil {
		return 0, false
	}
	return limit.Cur, limit.Cur != unix.RLIM_INFINITY
}

// jitSwitch turns the compiler of BPF on and off.
const jitSwitch = "/proc/sys/net/core/bpf_jit_enable"

// whyNoJIT says how to have the kernel compile BPF, which some programs cannot do
// without. It is empty when it does.
func whyNoJIT() string {
	data, err := os.ReadFile(jitSwitch)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "the kernel has no compiler of BPF (CONFIG_BPF_JIT), which this program needs"
	case err != nil:
		return "the program needs the kernel's compiler of BPF: see that `sysctl net.core.bpf_jit_enable` is not 0"
	case strings.TrimSpace(string(data)) == "0":
		return "the kernel's compiler of BPF is off, and this program needs it: `sysctl net.core.bpf_jit_enable=1`"
	}
	return ""
}
