package attach

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// loadKprobe loads a program for kprobes.
func loadKprobe(t *testing.T) *Program {
	t.Helper()
	bpftest.NeedsKprobes(t)
	return load(t, nil, kerneltest.Trivial(ebpf.Kprobe, "kprobe")).progs[0]
}

// What the kernel answers to probes of all kinds says what is wrong.
func TestRefusedKprobes(t *testing.T) {
	p := loadKprobe(t)
	list, err := os.ReadFile("/sys/kernel/debug/kprobes/blacklist")
	if err != nil {
		t.Skipf("needs debugfs: %v", err)
	}
	symbols, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for line := range strings.Lines(string(symbols)) {
		// "ffffffff81000000 T name"
		count[strings.Fields(line)[2]]++
	}
	var forbidden string
	for line := range strings.Lines(string(list)) {
		// "0xffffffff81000000-0xffffffff81000010	name"
		if name := strings.Fields(line)[1]; count[name] == 1 {
			forbidden = name
			break
		}
	}
	if forbidden == "" {
		t.Skip("needs a function that must not be probed")
	}
	for _, ret := range []bool{false, true} {
		_, err := Kprobe(p, forbidden, ProbeOptions{Return: ret})
		kerneltest.WantError(t, err, "the kernel has function "+forbidden+" and does not allow probes on it", "!has no function")
		if errors.Is(err, fs.ErrNotExist) || !errors.Is(err, unix.EINVAL) {
			t.Errorf("%v, want %v", err, unix.EINVAL)
		}
		_, err = Kprobe(p, "no_such_function", ProbeOptions{Return: ret})
		kerneltest.WantError(t, err, "the kernel has no function no_such_function")
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v is not %v", err, fs.ErrNotExist)
		}
		_, err = Syscall(p, "no_such_call", ProbeOptions{Return: ret})
		kerneltest.WantError(t, err, `system call "no_such_call": the kernel has no function __`)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v is not %v", err, fs.ErrNotExist)
		}
	}
	// Behind all code: nearer ones may be in another function.
	_, err = Kprobe(p, "vfs_read+0x20000000", ProbeOptions{})
	kerneltest.WantError(t, err, "offset 0x20000000 of function vfs_read", "!has no function")
	// A process without the right to is told which.
	err = kerneltest.AsUser(t, func() error { _, err := Kprobe(p, "vfs_read", ProbeOptions{}); return err }, unix.CAP_BPF)
	kerneltest.WantError(t, err, "function vfs_read", "this process lacks CAP_PERFMON:")
}

// A name of a system call's function without what the architecture puts before it.
func TestKprobeOfSyscall(t *testing.T) {
	l, err := Kprobe(loadKprobe(t), "sys_getpid", ProbeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// A pattern that is to be the name of one function, and is that of others too.
func TestUniqueMatch(t *testing.T) {
	if err := checkUnique("vfs_read", 1); err != nil {
		t.Error(err)
	}
	if err := checkUnique("vfs_re*", 3); !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v, want %v", err, unix.EINVAL)
	}
	if _, err := kernelFunctions("vfs_read"); err != nil {
		t.Skipf("needs a kernel that lets root list its functions: %v", err)
	}
	spec := kerneltest.Trivial(ebpf.Kprobe, "kprobe.multi")
	spec.AttachType = ebpf.AttachTraceKprobeMulti
	p := &Program{AttachType: spec.AttachType}
	_, err := KprobeMulti(p, "vfs_re*", KprobeMultiOptions{UniqueMatch: true})
	kerneltest.WantError(t, err, `"vfs_re*" is the name of `, "option UniqueMatch allows one")
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v is not %v", err, unix.EINVAL)
	}
	if sys.OlderThan("5.18") {
		t.Skip("needs a kernel with programs on several functions (5.18)")
	}
	l, err := KprobeMulti(load(t, nil, spec).progs[0], "vfs_read", KprobeMultiOptions{UniqueMatch: true})
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("needs a kernel with CONFIG_FPROBE: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// A program that reads beyond a tracepoint's fields.
func TestTracepointTooShort(t *testing.T) {
	spec := kerneltest.Trivial(ebpf.TracePoint, "tp/sched/sched_switch")
	spec.Instructions = asm.Instructions{asm.LoadMem(asm.R0, asm.R1, 4096, asm.DWord), asm.Mov.Imm(asm.R0, 0), asm.Return()}
	_, err := Tracepoint(load(t, nil, spec).progs[0], "sched", "sched_switch", 0)
	kerneltest.WantError(t, err, "reads beyond the fields of tracepoint sched/sched_switch")
}

// Interfaces that do not exist.
func TestNoInterface(t *testing.T) {
	tc := kerneltest.Trivial(ebpf.SchedCLS, "tc")
	tc.Name = "q"
	o := load(t, nil, kerneltest.Trivial(ebpf.XDP, "xdp"), tc)
	_, err := XDP(o.progs[0], 99999, 0, nil)
	kerneltest.WantError(t, err, "there is no network interface with the index 99999")
	_, err = TC(o.progs[1], 99999, ebpf.AttachTCXIngress, TCOptions{})
	kerneltest.WantError(t, err, "there is no network interface with the index 99999")
}

// The kernel's answers to attaching to functions, which depend on how it is built.
func TestExplainTrampoline(t *testing.T) {
	p := &Program{AttachType: ebpf.AttachTraceFEntry}
	lack := "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS"
	if !kerneltest.Config(t, "CONFIG_BPF_JIT") {
		lack = "CONFIG_BPF_JIT"
	}
	kerneltest.WantError(t, p.explainTrampoline(link.ErrNotSupported), lack, "!lsm=")
	kerneltest.WantError(t, p.explainTrampoline(unix.EBUSY), lack, "!lsm=")
	kerneltest.WantError(t, p.explainTrampoline(unix.ENOENT), "!CONFIG_DYNAMIC")
	p.OnProgram = true
	kerneltest.WantError(t, p.explainTrampoline(unix.EBUSY), "replaced by another program", "!CONFIG_DYNAMIC")
}

// On a kernel without an option, the error names it and the version that has it.
func TestOptionTooNew(t *testing.T) {
	err := lacking(fmt.Errorf("create link: %w", unix.EINVAL), option{false, "Other", "99.0"}, option{true, "Old", "4.0"}, option{true, "Cookie", "99.1"})
	kerneltest.WantError(t, err, "option Cookie needs a kernel of version 99.1 or later: ", "create link")
	if !errors.Is(err, ebpf.ErrNotSupported) || !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v is not %v and %v", err, ebpf.ErrNotSupported, unix.EINVAL)
	}
	if err := lacking(unix.ENOENT, option{true, "Cookie", "99.1"}); err != unix.ENOENT {
		t.Errorf("%v, want %v", err, unix.ENOENT)
	}
	if sys.OlderThan("6.10") {
		_, err := RawTracepoint(load(t, nil, kerneltest.Trivial(ebpf.RawTracepoint, "raw_tp")).progs[0], "task_rename", 1)
		kerneltest.WantError(t, err, "option Cookie needs a kernel of version 6.10 or later")
	}
}
