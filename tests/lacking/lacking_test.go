// Package lacking_test looks at what a user reads, and at what works, on a kernel that lacks
// what others have because of how it was started, or of what is mounted. Each test has a
// machine of its own: it brings the kernel into its state, or the BUILD file has the command
// line that does.
package lacking_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/lacking/progs/probes"
)

type progs = *probes.Progs

// open opens the skeleton with one program.
func open(t *testing.T, choose func(progs) *skeleton.BaseProgram) *probes.Skeleton {
	t.Helper()
	if os.Getenv("IN_VM") == "" {
		t.Skip("needs a machine that QEMU boots, as it changes what all processes see")
	}
	skel := bpftest.Open(t, probes.Open)
	choose(&skel.Progs).SetAutoload(true)
	return skel
}

// attach loads one program and attaches it.
func attach(t *testing.T, choose func(progs) *skeleton.BaseProgram) (*probes.Skeleton, error) {
	t.Helper()
	skel := open(t, choose)
	return skel, attachOpen(skel)
}

func attachOpen(skel *probes.Skeleton) error {
	if err := skel.Load(); err != nil {
		return err
	}
	return skel.Attach()
}

// works checks that a program attaches, and runs when this thread gets a name.
func works(t *testing.T, choose func(progs) *skeleton.BaseProgram) *probes.Skeleton {
	t.Helper()
	skel, err := attach(t, choose)
	if err != nil {
		t.Errorf("%s: %v", choose(&skel.Progs).Name(), err)
		return skel
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	name := []byte("lacking\x00")
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	_, _ = unix.Getsid(os.Getppid())
	if skel.Bss.Hits == 0 {
		t.Errorf("%s does not run", choose(&skel.Progs).Name())
	}
	return skel
}

func asksTypes(p progs) *skeleton.BaseProgram   { return p.AsksTypes.Handle() }
func asksAddress(p progs) *skeleton.BaseProgram { return p.AsksAddress.Handle() }
func rawTp(p progs) *skeleton.BaseProgram       { return p.RawTp.Handle() }
func tpBtf(p progs) *skeleton.BaseProgram       { return p.TpBtf.Handle() }
func fentry(p progs) *skeleton.BaseProgram      { return p.Fentry.Handle() }
func kprobe(p progs) *skeleton.BaseProgram      { return p.Kprobe.Handle() }
func kprobeMulti(p progs) *skeleton.BaseProgram { return p.KprobeMulti.Handle() }
func tracepoint(p progs) *skeleton.BaseProgram  { return p.Tp.Handle() }
func readsKernel(p progs) *skeleton.BaseProgram { return p.ReadsKernel.Handle() }
func writesUser(p progs) *skeleton.BaseProgram  { return p.WritesUser.Handle() }

// unmount takes away all that is mounted at a place, for all of the machine.
func unmount(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		for unix.Unmount(dir, unix.MNT_DETACH) == nil {
		}
	}
}

// sysctl sets a setting of the kernel for the rest of the test.
func sysctl(t *testing.T, name, value string) {
	t.Helper()
	path := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
	before, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, before, 0); err != nil {
			t.Error(err)
		}
	})
}

// A kernel without BTF.
func TestNoBTF(t *testing.T) {
	skel := open(t, rawTp)
	types, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", "/sys/kernel/btf", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmount(t, "/sys/kernel/btf") })

	if err := attachOpen(skel); err != nil {
		t.Errorf("what needs no types: %v", err)
	}
	const none = "BTF of the kernel: it has none (CONFIG_DEBUG_INFO_BTF)"
	_, err = attach(t, asksTypes)
	kerneltest.WantError(t, err, none, "for CO-RE alone, LoadOptions.KernelArchive and KernelTypes bring types")
	_, err = attach(t, tpBtf)
	kerneltest.WantError(t, err, `program tp_btf, SEC("?tp_btf/task_rename"): `+none)
	_, err = attach(t, fentry)
	kerneltest.WantError(t, err, `program fentry, SEC("?fentry/security_task_getsid"): `+none)

	// The types that a program brings are enough for CO-RE.
	skel = open(t, asksTypes)
	if err := skel.LoadWithOptions(skeleton.LoadOptions{KernelTypes: types}); err != nil {
		t.Fatal(err)
	}
}

// No tracefs is mounted. Root needs none.
func TestNoTracefs(t *testing.T) {
	skel := open(t, tracepoint)
	unmount(t, "/sys/kernel/debug/tracing", "/sys/kernel/tracing", "/sys/kernel/debug")
	t.Cleanup(func() {
		if err := unix.Mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, ""); err != nil {
			t.Error(err)
		}
	})
	err := kerneltest.AsUser(t, func() error { return attachOpen(skel) }, unix.CAP_BPF, unix.CAP_PERFMON)
	kerneltest.WantError(t, err, `program tp, SEC("?tp/syscalls/sys_enter_getsid"): `, "tracefs is not mounted, and this process may not mount it for itself", "as root, `mount -t tracefs tracefs /sys/kernel/tracing`")
	works(t, tracepoint)
	works(t, kprobeMulti)
}

// The kernel shows addresses to nobody, or to whom it trusts.
func TestNoAddresses(t *testing.T) {
	skel := open(t, asksAddress)
	sysctl(t, "kernel.kptr_restrict", "2")
	err := attachOpen(skel)
	kerneltest.WantError(t, err, "program asks_address", "ksym security_task_getsid: the kernel hides addresses from all processes, as kernel.kptr_restrict is 2: `sysctl kernel.kptr_restrict=1`")
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v is not %v", err, fs.ErrPermission)
	}
	works(t, kprobe)
	works(t, kprobeMulti)

	sysctl(t, "kernel.kptr_restrict", "1")
	if skel := works(t, asksAddress); skel.Bss.Address == 0 {
		t.Error("the address is 0")
	}
	err = kerneltest.AsUser(t, func() error { return attachOpen(skel) }, unix.CAP_BPF, unix.CAP_PERFMON)
	kerneltest.WantError(t, err, "the kernel hides addresses from processes without CAP_SYSLOG", "setcap cap_syslog+ep")
}

// Unprivileged BPF is off.
func TestNoUnprivileged(t *testing.T) {
	skel := open(t, rawTp)
	sysctl(t, "kernel.unprivileged_bpf_disabled", "2")
	err := kerneltest.AsUser(t, func() error { return attachOpen(skel) })
	kerneltest.WantError(t, err, "operation not permitted: this process lacks CAP_BPF and CAP_PERFMON: run it as root, or with `setcap cap_bpf,cap_perfmon+ep` on its file")
	if err := kerneltest.AsUser(t, func() error { return attachOpen(skel) }, unix.CAP_BPF, unix.CAP_PERFMON); err != nil {
		t.Error(err)
	}
}

// The machine has cgroups of version 1 alone.
func TestCgroupV1(t *testing.T) {
	skel := open(t, func(p progs) *skeleton.BaseProgram { return p.Cgroup.Handle() })
	const root = "/sys/fs/cgroup"
	unmount(t, root)
	if err := unix.Mount("none", root, "cgroup", 0, "none,name=lacking"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unmount(t, root)
		if err := unix.Mount("cgroup2", root, "cgroup2", 0, ""); err != nil {
			t.Error(err)
		}
	})
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	attach := func(dir string) error {
		_, err := skel.Progs.Cgroup.AttachCgroup(dir, nil)
		return err
	}
	const old = "program cgroup, SEC(\"?cgroup_skb/egress\"): " + root + ": is a cgroup of version 1, and programs attach to cgroups of version 2: "
	kerneltest.WantError(t, attach(root), old, "no cgroup2 file system is mounted: `mount -t cgroup2 cgroup2 DIRECTORY`", "systemd.unified_cgroup_hierarchy=1")
	// As distributions had it for some years.
	both := t.TempDir()
	if err := unix.Mount("cgroup2", both, "cgroup2", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unmount(t, both)
	kerneltest.WantError(t, attach(root), old, "they are below "+both)
	kerneltest.WantError(t, attach(t.TempDir()), "is not a directory of a cgroup2 file system", "they are below "+both)
	if err := attach(both); err != nil {
		t.Error(err)
	}
}

// lockedDown skips t unless the kernel was started in a mode of lockdown.
func lockedDown(t *testing.T, mode string) {
	t.Helper()
	data, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil || !strings.Contains(string(data), "["+mode+"]") {
		t.Skipf("needs a kernel that is started with lockdown=%s: %q, %v", mode, data, err)
	}
}

// Integrity: programs change nothing.
func TestLockdownIntegrity(t *testing.T) {
	lockedDown(t, "integrity")
	_, err := attach(t, writesUser)
	kerneltest.WantError(t, err, "program writes_user", "rejected by the verifier", "the kernel is locked down (/sys/kernel/security/lockdown says integrity), and does not allow programs to write to the memory of processes")
	for _, choose := range []func(progs) *skeleton.BaseProgram{rawTp, tpBtf, fentry, kprobe, kprobeMulti, tracepoint, readsKernel} {
		works(t, choose)
	}
}

// Confidentiality: programs read nothing but what the verifier knows of.
func TestLockdownConfidentiality(t *testing.T) {
	lockedDown(t, "confidentiality")
	const why = "is locked down (/sys/kernel/security/lockdown says confidentiality)"
	for _, tc := range []struct {
		prog func(progs) *skeleton.BaseProgram
		want []string
	}{
		{readsKernel, []string{"program reads_kernel", "rejected by the verifier", "the kernel " + why + ", and does not allow programs to read its memory by address", "follow the pointers of tp_btf and fentry programs"}},
		{writesUser, []string{"program writes_user", "the kernel " + why + ", and does not allow programs to write to the memory of processes"}},
		{kprobe, []string{`program kprobe, SEC("?kprobe/security_task_getsid"): `, "operation not permitted: refused by this kernel, though the process has CAP_PERFMON: it " + why}},
		{tracepoint, []string{`program tp, SEC("?tp/syscalls/sys_enter_getsid"): `, "/sys/kernel/tracing cannot be used, as the kernel " + why + ": use forms that need no tracefs (raw_tp, tp_btf, fentry)", "!has no tracepoint"}},
		{kprobeMulti, []string{"program kprobe_multi", "/sys/kernel/tracing cannot be used, as the kernel " + why}},
	} {
		skel, err := attach(t, tc.prog)
		kerneltest.WantError(t, err, tc.want...)
		// It is not the target that is missing.
		missing, _ := skel.MissingTargets()
		for _, m := range missing {
			t.Errorf("said to be missing: %v", m)
		}
	}
	for _, choose := range []func(progs) *skeleton.BaseProgram{rawTp, tpBtf, fentry, asksTypes, asksAddress} {
		works(t, choose)
	}
	if skel := works(t, func(p progs) *skeleton.BaseProgram { return p.FollowsPointer.Handle() }); skel.Bss.Pid == 0 {
		t.Error("the program has read no PID")
	}
}
