package skeleton

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// trivial are the instructions of a program that does nothing.
func trivial() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
}

// needUnprivilegedOff skips t where everybody may load some programs.
func needUnprivilegedOff(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile("/proc/sys/kernel/unprivileged_bpf_disabled")
	if err != nil || strings.TrimSpace(string(data)) == "0" {
		t.Skipf("needs kernel.unprivileged_bpf_disabled: %q, %v", data, err)
	}
}

// What a process lacks that may not load something is named.
func TestMissingCapabilities(t *testing.T) {
	bpftest.NeedsBPF(t)
	needUnprivilegedOff(t)
	hash := &ebpf.MapSpec{Name: "m", Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	devices := &ebpf.MapSpec{Name: "m", Type: ebpf.DevMap, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	for name, tc := range map[string]struct {
		maps    []*ebpf.MapSpec
		program *ebpf.ProgramSpec
		caps    []uint
		// want are parts of the error, none if there is to be none.
		want []string
	}{
		"map without any":            {[]*ebpf.MapSpec{hash}, nil, nil, []string{"map m: create it: operation not permitted: this process lacks CAP_BPF:", "setcap cap_bpf+ep"}},
		"map with CAP_BPF":           {[]*ebpf.MapSpec{hash}, nil, []uint{unix.CAP_BPF}, nil},
		"device map with CAP_BPF":    {[]*ebpf.MapSpec{devices}, nil, []uint{unix.CAP_BPF}, []string{"map m", "this process lacks CAP_NET_ADMIN:"}},
		"filter without any":         {nil, kerneltest.Trivial(ebpf.SocketFilter, "socket"), nil, []string{`program p, SEC("socket"): load program`, "this process lacks CAP_BPF:"}},
		"filter with CAP_BPF":        {nil, kerneltest.Trivial(ebpf.SocketFilter, "socket"), []uint{unix.CAP_BPF}, nil},
		"XDP without any":            {nil, kerneltest.Trivial(ebpf.XDP, "xdp"), nil, []string{"this process lacks CAP_BPF and CAP_NET_ADMIN:", "setcap cap_bpf,cap_net_admin+ep"}},
		"XDP with CAP_BPF":           {nil, kerneltest.Trivial(ebpf.XDP, "xdp"), []uint{unix.CAP_BPF}, []string{"this process lacks CAP_NET_ADMIN:"}},
		"XDP with both":              {nil, kerneltest.Trivial(ebpf.XDP, "xdp"), []uint{unix.CAP_BPF, unix.CAP_NET_ADMIN}, nil},
		"raw tracepoint with one":    {nil, kerneltest.Trivial(ebpf.RawTracepoint, "raw_tp/sys_enter"), []uint{unix.CAP_BPF}, []string{"this process lacks CAP_PERFMON:"}},
		"raw tracepoint with both":   {nil, kerneltest.Trivial(ebpf.RawTracepoint, "raw_tp/sys_enter"), []uint{unix.CAP_BPF, unix.CAP_PERFMON}, nil},
		"tracepoint without any":     {nil, kerneltest.Trivial(ebpf.TracePoint, "tp/sched/sched_switch"), nil, []string{"this process lacks CAP_BPF and CAP_PERFMON:"}},
		"kprobe with CAP_SYS_ADMIN":  {nil, kerneltest.Trivial(ebpf.Kprobe, "kprobe"), []uint{unix.CAP_SYS_ADMIN}, nil},
		"map, program without any":   {[]*ebpf.MapSpec{hash}, kerneltest.Trivial(ebpf.XDP, "xdp"), nil, []string{"map m", "this process lacks CAP_BPF and CAP_NET_ADMIN:"}},
		"XDP with CAP_SYS_ADMIN too": {nil, kerneltest.Trivial(ebpf.XDP, "xdp"), []uint{unix.CAP_SYS_ADMIN}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var programs []*ebpf.ProgramSpec
			if tc.program != nil {
				programs = append(programs, tc.program.Copy())
			}
			o := newTestObject(t, tc.maps, programs...)
			defer o.Close()
			err := kerneltest.AsUser(t, o.Load, tc.caps...)
			if tc.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			kerneltest.WantError(t, err, append(tc.want, "!MEMLOCK", "!verifier")...)
			if !errors.Is(err, unix.EPERM) {
				t.Errorf("%v is not %v", err, unix.EPERM)
			}
		})
	}
}

// readsBeyond are the instructions of a program that the verifier rejects.
func readsBeyond() asm.Instructions {
	return asm.Instructions{asm.LoadMem(asm.R0, asm.R1, 10000, asm.Word), asm.Return()}
}

// typedTestObject is newTestObject with types, for which what it has is nothing.
func typedTestObject(t *testing.T, specs []*ebpf.MapSpec, programs ...*ebpf.ProgramSpec) *Object {
	t.Helper()
	o := newTestObject(t, specs, programs...)
	b, err := btf.NewBuilder([]btf.Type{&btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.loader.Image.BTF, err = b.Marshal(nil, nil); err != nil {
		t.Fatal(err)
	}
	return o
}

// Where the kernel has refused the types and the verifier rejects a program then, both are
// said, and each has its own type of error.
func TestRefusedBTF(t *testing.T) {
	bpftest.NeedsBPF(t)
	for _, c := range []struct {
		errno unix.Errno
		want  string
	}{
		{unix.EPERM, "operation not permitted: refused by this kernel, though the process has "},
		{unix.EACCES, "permission denied: refused by this kernel, though the process has "},
		{unix.ENOSYS, "function not implemented: refused by this kernel, though the process has "},
		{unix.EINVAL, "invalid argument"},
	} {
		restore := sys.SetFault(func(cmd sys.Cmd) error {
			if cmd == sys.BTFLoadCmd {
				return c.errno
			}
			return nil
		})
		bad := kerneltest.Trivial(ebpf.SocketFilter, "socket")
		bad.Instructions = readsBeyond()
		o := typedTestObject(t, nil, bad)
		err := o.Load()
		restore()
		o.Close()
		kerneltest.WantError(t, err, `program p, SEC("socket"): rejected by the verifier: `, "\nthis may be for lack of the object's BTF, which the kernel has refused: "+c.want)
		var rejected *VerifierError
		if !errors.As(err, &rejected) || rejected.Program != "p" {
			t.Errorf("%v: %v has no *VerifierError", c.errno, err)
		}
		if !errors.Is(err, c.errno) {
			t.Errorf("%v is not %v", err, c.errno)
		}
	}
}

// Kernels may let everybody load socket filters, and types only those with CAP_BPF.
func TestBTFWithoutCapability(t *testing.T) {
	bpftest.NeedsBPF(t)
	const name = "/proc/sys/kernel/unprivileged_bpf_disabled"
	if os.Getenv("IN_VM") == "" {
		t.Skip("needs a machine that QEMU boots, as it lets everybody load programs")
	}
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("0"), 0); err != nil {
		t.Skipf("needs a kernel that everybody may load programs into: %v", err)
	}
	defer os.WriteFile(name, before, 0)
	array := &ebpf.MapSpec{Name: "m", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	good, bad := kerneltest.Trivial(ebpf.SocketFilter, "socket"), kerneltest.Trivial(ebpf.SocketFilter, "socket")
	bad.Instructions = readsBeyond()
	o := typedTestObject(t, []*ebpf.MapSpec{array}, good)
	defer o.Close()
	if err := kerneltest.AsUser(t, o.Load); err != nil {
		t.Errorf("what does without types: %v", err)
	}
	rejected := typedTestObject(t, []*ebpf.MapSpec{array}, bad)
	defer rejected.Close()
	err = kerneltest.AsUser(t, rejected.Load)
	kerneltest.WantError(t, err, "rejected by the verifier", "\nthis may be for lack of the object's BTF, which the kernel has refused: operation not permitted: this process lacks CAP_BPF: ", "setcap cap_bpf+ep")
	var verr *VerifierError
	if !errors.As(err, &verr) {
		t.Errorf("%v has no *VerifierError", err)
	}
	// With the right, it is the program alone.
	if err := kerneltest.AsUser(t, rejected.Load, unix.CAP_BPF); err == nil || strings.Contains(err.Error(), "BTF") {
		t.Errorf("with CAP_BPF: %v", err)
	}
	storage := typedTestObject(t, []*ebpf.MapSpec{{Name: "m", Type: ebpf.SkStorage, KeySize: 4, ValueSize: 4, Flags: unix.BPF_F_NO_PREALLOC}})
	defer storage.Close()
	kerneltest.WantError(t, kerneltest.AsUser(t, storage.Load), "map m needs the types of the object: load the object's BTF: operation not permitted: this process lacks CAP_BPF: ")
}

// What root lacks in a container, which it cannot get by becoming root.
func TestMissingCapabilitiesOfRoot(t *testing.T) {
	bpftest.NeedsBPF(t)
	needUnprivilegedOff(t)
	o := newTestObject(t, nil, kerneltest.Trivial(ebpf.XDP, "xdp"))
	defer o.Close()
	kerneltest.WantError(t, kerneltest.AsRoot(t, o.Load), "this process lacks CAP_BPF and CAP_NET_ADMIN, though it is root's",
		"`docker run --cap-add BPF --cap-add NET_ADMIN`", "!setcap", "!run it as root")
	if err := kerneltest.AsRoot(t, o.Load, unix.CAP_BPF, unix.CAP_NET_ADMIN); err != nil {
		t.Error(err)
	}
}

// Where tracefs is not mounted, and may not be, nothing else is given as the reason.
func TestAttachWithoutTracefs(t *testing.T) {
	if !kerneltest.Again(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}) {
		return
	}
	// Others must not see it. The root of the first file system of all, which nothing
	// shares, cannot be changed so.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil && !errors.Is(err, unix.EINVAL) {
		t.Fatal(err)
	}
	for _, dir := range []string{"/sys/kernel/debug/tracing", "/sys/kernel/tracing"} {
		for unix.Unmount(dir, unix.MNT_DETACH) == nil {
		}
	}
	o := newTestObject(t, nil, kerneltest.Trivial(ebpf.TracePoint, "tp/sched/sched_switch"))
	defer o.Close()
	err := kerneltest.AsUser(t, func() error {
		if err := o.Load(); err != nil {
			return err
		}
		return o.Attach()
	}, unix.CAP_BPF, unix.CAP_PERFMON)
	kerneltest.WantError(t, err, "tracefs is not mounted, and this process may not mount it for itself", "`mount -t tracefs tracefs /sys/kernel/tracing`", "!refused by this kernel")
}

// Programs attach with the capabilities that they load with; tracepoints need tracefs.
func TestAttachUnprivileged(t *testing.T) {
	bpftest.NeedsBPF(t)
	caps := []uint{unix.CAP_BPF, unix.CAP_PERFMON}
	attachAsUser := func(t *testing.T, spec *ebpf.ProgramSpec) error {
		o := newTestObject(t, nil, spec)
		t.Cleanup(func() { o.Close() })
		return kerneltest.AsUser(t, func() error {
			if err := o.Load(); err != nil {
				return err
			}
			return o.Attach()
		}, caps...)
	}
	t.Run("raw tracepoint", func(t *testing.T) {
		if err := attachAsUser(t, kerneltest.Trivial(ebpf.RawTracepoint, "raw_tp/sys_enter")); err != nil {
			t.Error(err)
		}
	})
	t.Run("tracepoint", func(t *testing.T) {
		err := attachAsUser(t, kerneltest.Trivial(ebpf.TracePoint, "tp/sched/sched_switch"))
		kerneltest.WantError(t, err, `program p, SEC("tp/sched/sched_switch"): tracepoint sched/sched_switch: `, "/sys/kernel/tracing`")
		if err != nil && !strings.Contains(err.Error(), "`mount -t tracefs tracefs /sys/kernel/tracing`") && !strings.Contains(err.Error(), "`mount -o remount,gid=GROUP,mode=750 /sys/kernel/tracing`") {
			t.Errorf("%v does not say what to mount", err)
		}
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v is not %v", err, fs.ErrPermission)
		}
	})
	t.Run("kprobe", func(t *testing.T) {
		bpftest.NeedsKprobes(t)
		const paranoiaSwitch = "/proc/sys/kernel/perf_event_paranoid"
		paranoia := func() (level int) {
			data, err := os.ReadFile(paranoiaSwitch)
			if err == nil {
				level, err = strconv.Atoi(strings.TrimSpace(string(data)))
			}
			if err != nil {
				t.Fatal(err)
			}
			return level
		}
		err := attachAsUser(t, kerneltest.Trivial(ebpf.Kprobe, "kprobe/vfs_read"))
		// Debian's setting, and Ubuntu's.
		if paranoia() > 2 {
			kerneltest.WantError(t, err, "lacks CAP_SYS_ADMIN", "sysctl kernel.perf_event_paranoid=2")
		} else if err != nil {
			t.Error(err)
		}
		if os.Getenv("IN_VM") == "" || err == nil {
			return
		}
		before := fmt.Sprint(paranoia())
		if err := os.WriteFile(paranoiaSwitch, []byte("2"), 0); err != nil {
			t.Fatal(err)
		}
		defer os.WriteFile(paranoiaSwitch, []byte(before), 0)
		if err := attachAsUser(t, kerneltest.Trivial(ebpf.Kprobe, "kprobe/vfs_read")); err != nil {
			t.Error(err)
		}
	})
	t.Run("uprobe", func(t *testing.T) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		file, err := elf.Open(self)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		o := newTestObject(t, nil, kerneltest.Trivial(ebpf.Kprobe, "uprobe"))
		defer o.Close()
		if err := o.Load(); err != nil {
			t.Fatal(err)
		}
		err = kerneltest.AsUser(t, func() error {
			l, err := (&UprobeProgram{o.progs[0]}).AttachUprobe(self, fmt.Sprintf("%#x", file.Section(".text").Offset), nil)
			if err != nil {
				return err
			}
			return l.Close()
			// The directory may be root's.
		}, append(caps, unix.CAP_DAC_READ_SEARCH)...)
		// Kernels before the summer of 2025 let it.
		if err != nil && !strings.Contains(err.Error(), "permission denied") {
			t.Error(err)
		} else if err != nil {
			kerneltest.WantError(t, err, "this process lacks CAP_SYS_ADMIN:")
		}
	})
}

// Sampling needs the capability that its program does.
func TestSampleUnprivileged(t *testing.T) {
	o := newTestObject(t, nil, kerneltest.Trivial(ebpf.PerfEvent, "perf_event"))
	defer o.Close()
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	err := kerneltest.AsUser(t, func() error {
		p := PerfEventProgram{o.progs[0]}
		_, err := p.AttachSampling(100, nil)
		return err
	}, unix.CAP_BPF)
	kerneltest.WantError(t, err, "open perf event on CPU", "this process lacks CAP_PERFMON:")
}

// The capabilities of a user namespace do not count.
func TestUserNamespace(t *testing.T) {
	needUnprivilegedOff(t)
	if !kerneltest.Again(t, &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: 0, Size: 1}},
	}) {
		return
	}
	o := openTestObject(t, []*ebpf.MapSpec{{Name: "m", Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1}})
	kerneltest.WantError(t, o.Load(), "map m: create it: operation not permitted: this process is in a user namespace")
}

// A process that has run out of something is told so, and not that its programs are
// wrong.
func TestLacksMemory(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 11, "maps of more than 4 GiB")
	// More than any machine has, which the kernel sees before it takes any.
	o := newTestObject(t, []*ebpf.MapSpec{{Name: "m", Type: ebpf.Array, KeySize: 4, ValueSize: 1 << 20, MaxEntries: 1 << 20}})
	defer o.Close()
	err := o.Load()
	if !errors.Is(err, unix.ENOMEM) {
		t.Fatalf("%v is not %v", err, unix.ENOMEM)
	}
	kerneltest.WantError(t, err, "map m", "no memory")
}

func TestLacksDescriptors(t *testing.T) {
	if !kerneltest.Again(t, nil) {
		return
	}
	program := kerneltest.Trivial(ebpf.SocketFilter, "socket")
	for name, specs := range map[string][]*ebpf.MapSpec{
		"program": nil,
		"map":     {{Name: "m", Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1}},
	} {
		// What is found out about the kernel takes descriptors too.
		first := newTestObject(t, specs, program.Copy())
		if err := first.Load(); err != nil {
			t.Fatal(err)
		}
		first.Close()
		o := newTestObject(t, specs, program.Copy())
		defer o.Close()
		free, err := unix.Dup(0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(free)
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		low := unix.Rlimit{Cur: uint64(free), Max: limit.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			t.Fatal(err)
		}
		err = o.Load()
		if setErr := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); setErr != nil {
			t.Fatal(setErr)
		}
		kerneltest.WantError(t, err, name+" ", "open files, as many as it may", "!verifier", "!MEMLOCK")
		if !errors.Is(err, unix.EMFILE) {
			t.Errorf("%v is not %v", err, unix.EMFILE)
		}
	}
}

// Before Linux 5.11 the limit on locked memory counts, and only there it is named.
func TestLockedMemory(t *testing.T) {
	if !kerneltest.Again(t, nil) {
		return
	}
	o := newTestObject(t, []*ebpf.MapSpec{{Name: "m", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1 << 20}})
	defer o.Close()
	low := unix.Rlimit{Cur: 1 << 16, Max: 1 << 16}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &low); err != nil {
		t.Fatal(err)
	}
	err := kerneltest.AsUser(t, o.Load, unix.CAP_BPF)
	if sys.KernelVersion() < 5<<16|11<<8 {
		kerneltest.WantError(t, err, "map m", "counts BPF as locked memory, of which the process may have 65536 bytes", "LimitMEMLOCK=infinity")
	} else if err != nil {
		t.Error(err)
	}
}

// Instructions that the kernel is too old for are named, with the remedy.
func TestNewerInstructions(t *testing.T) {
	bpftest.NeedsBPF(t)
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	atomic := asm.FetchAdd.Mem(asm.R10, asm.R2, asm.DWord, -8)
	// BPF_FETCH, as in instructions from a file.
	atomic.Constant = 1
	for name, tc := range map[string]struct {
		ins          asm.Instruction
		major, minor uint32
		remedy       string
	}{
		"atomic": {atomic, 5, 12, `copts = ["-mcpu=v2"]`},
		"sign":   {asm.Instruction{OpCode: asm.OpCode(asm.ALU64Class).SetALUOp(asm.MovSX8).SetSource(asm.RegSource), Dst: asm.R2, Src: asm.R2}, 6, 6, `copts = ["-mcpu=v3"]`},
	} {
		t.Run(name, func(t *testing.T) {
			spec := kerneltest.Trivial(ebpf.SocketFilter, "socket")
			spec.Instructions = asm.Instructions{
				asm.Mov.Imm(asm.R2, 1),
				asm.StoreMem(asm.R10, -8, asm.R2, asm.DWord),
				tc.ins,
				asm.Mov.Imm(asm.R0, 0),
				asm.Return(),
			}
			o := newTestObject(t, nil, spec)
			defer o.Close()
			err := o.Load()
			if version >= tc.major<<16|tc.minor<<8 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			kerneltest.WantError(t, err, "rejected by the verifier", "brought and this kernel", tc.remedy)
			var rejected *VerifierError
			if !errors.As(err, &rejected) || rejected.Hint == "" {
				t.Errorf("%v has no hint", err)
			}
		})
	}
}

// A kernel that does not compile BPF is named. Only a machine of the test's own may be
// changed so.
func TestNoJIT(t *testing.T) {
	bpftest.NeedsBPF(t)
	if os.Getenv("IN_VM") == "" {
		t.Skip("needs a machine that QEMU boots")
	}
	if err := os.WriteFile("/proc/sys/net/core/bpf_jit_enable", []byte("0"), 0); err != nil {
		t.Skipf("needs a kernel whose BPF JIT compiler can be turned off: %v", err)
	}
	defer func() {
		if err := os.WriteFile("/proc/sys/net/core/bpf_jit_enable", []byte("1"), 0); err != nil {
			t.Error(err)
		}
	}()
	// A callback, which is compiled or not there.
	bpftest.NeedsKernel(t, 5, 13, "callbacks")
	function := func(name string, params ...btf.FuncParam) *btf.Func {
		number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
		return &btf.Func{Name: name, Type: &btf.FuncProto{Return: number, Params: params}, Linkage: btf.StaticFunc}
	}
	values := &ebpf.MapSpec{Name: "values", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	spec := kerneltest.Trivial(ebpf.SocketFilter, "socket")
	callback := asm.LoadImm(asm.R2, -1, asm.DWord)
	callback.Src = asm.PseudoFunc
	spec.Instructions = asm.Instructions{
		btf.WithFuncMetadata(asm.LoadMapPtr(asm.R1, 0).WithReference("values").WithSymbol("p"), function("p")),
		callback.WithReference("each"),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnForEachMapElem.Call(),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
		btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 0).WithSymbol("each"), function("each")),
		asm.Return(),
	}
	o := newTestObject(t, []*ebpf.MapSpec{values}, spec)
	defer o.Close()
	kerneltest.WantError(t, o.Load(), "program p", "BPF JIT compiler is off", "sysctl net.core.bpf_jit_enable=1")
}

// What a program is to attach to and the kernel lacks is named.
func TestNoTarget(t *testing.T) {
	bpftest.NeedsBPF(t)
	for want, spec := range map[string]*ebpf.ProgramSpec{
		"this kernel has no function no_such_thing":   {Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFEntry, SectionName: "fentry/no_such_thing"},
		"this kernel has no tracepoint no_such_thing": {Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, SectionName: "tp_btf/no_such_thing"},
		"this kernel has no iterator no_such_thing":   {Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, SectionName: "iter/no_such_thing"},
		"this kernel has no LSM hook no_such_thing":   {Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, SectionName: "lsm/no_such_thing"},
	} {
		spec.Name, spec.AttachTo, spec.License, spec.Instructions = "p", "no_such_thing", "GPL", trivial()
		o := newTestObject(t, nil, spec)
		defer o.Close()
		err := o.Load()
		kerneltest.WantError(t, err, `program p, SEC("`+spec.SectionName+`"): `+want)
		if !errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("%v is not %v", err, ebpf.ErrNotSupported)
		}
	}
}

// A function that the target program does not have.
func TestNoFunctionInProgram(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 6, "functions with linkage")
	bpftest.NeedsBPF(t)
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	context := btf.FuncParam{Name: "ctx", Type: &btf.Pointer{Target: &btf.Struct{Name: "xdp_md"}}}
	fn := &btf.Func{Name: "main", Type: &btf.FuncProto{Return: number, Params: []btf.FuncParam{context}}, Linkage: btf.GlobalFunc}
	spec := kerneltest.Trivial(ebpf.XDP, "xdp")
	spec.Instructions[0] = btf.WithFuncMetadata(spec.Instructions[0].WithSymbol("main"), fn)
	target, err := ebpf.NewProgram(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	for section, want := range map[string]string{
		"freplace/nowhere": `program p, SEC("freplace/nowhere"): the target program has no function "nowhere": change the name given to SetTarget`,
		"fentry/nowhere":   `program p, SEC("fentry/nowhere"): the target program has no function "nowhere": change the name given to SetTarget`,
	} {
		spec := kerneltest.Trivial(ebpf.Extension, section)
		spec.Instructions[0] = btf.WithFuncMetadata(spec.Instructions[0], fn)
		spec.AttachTarget = target
		o := newTestObject(t, nil, spec)
		defer o.Close()
		kerneltest.WantError(t, o.Load(), want)
	}
}

// Maps that are to be pinned where no bpffs is.
func TestPinDirectory(t *testing.T) {
	bpftest.NeedsBPF(t)
	for dir, want := range map[string]string{
		t.TempDir():                        "`mount -t bpf bpf ",
		filepath.Join(t.TempDir(), "none"): "make the directory",
	} {
		o := newTestObject(t, []*ebpf.MapSpec{{Name: "m", Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1, Pinning: ebpf.PinByName}})
		defer o.Close()
		err := o.LoadWithOptions(LoadOptions{PinRoot: dir})
		kerneltest.WantError(t, err, "map m: is to be pinned, and "+dir, want)
	}
}

// A slot whose link was closed, and one that was detached, say so.
func TestClosedLinks(t *testing.T) {
	bpftest.NeedsBPF(t)
	raw, event := kerneltest.Trivial(ebpf.RawTracepoint, "raw_tp/sys_enter"), kerneltest.Trivial(ebpf.TracePoint, "tp/sched/sched_switch")
	event.Name = "q"
	o := newTestObject(t, nil, raw, event)
	defer o.Close()
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if err := o.Attach(); err != nil {
		t.Fatal(err)
	}
	for i, a := range o.Attachments() {
		if a.State != Attached {
			t.Errorf("attached: %v", a)
		}
		if err := (*o.progs[i].link).Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range o.Attachments() {
		if a.State != NotAttached || a.Reason != linkClosed {
			t.Errorf("closed: %v", a)
		}
	}
	// Links that the user has put there.
	for _, p := range o.progs {
		*p.link = new(closeCounted)
		p.unattached = notCalled
	}
	if err := o.Detach(); err != nil {
		t.Fatal(err)
	}
	for _, a := range o.Attachments() {
		if a.State != NotAttached || a.Reason != detached {
			t.Errorf("detached: %v", a)
		}
	}
}

// closeCounted is a link of the user's.
type closeCounted struct {
	link.Link
	closed int
}

func (l *closeCounted) Close() error {
	l.closed++
	return nil
}

func (l *closeCounted) Closed() bool { return l.closed > 0 }
