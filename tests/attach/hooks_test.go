package attach_test

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/attach/progs/hooks"
)

func openHooks(t *testing.T, choose ...func(*hooks.Progs) *skeleton.BaseProgram) *hooks.Skeleton {
	t.Helper()
	bpftest.NeedsBPF(t)
	skel, err := hooks.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := skel.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range choose {
		c(&skel.Progs).SetAutoload(true)
	}
	// The source fills the array with a program that most tests do not load.
	if !skel.Progs.OnTail.Autoload() {
		if err := skel.Maps.Calls.SetContents(nil); err != nil {
			t.Fatal(err)
		}
	}
	return skel
}

// mustLoadHooks skips the test where the kernel is too old or lets nobody load LSM
// or tracing programs.
func mustLoadHooks(t *testing.T, skel *hooks.Skeleton, since string) {
	t.Helper()
	if older(t, since) {
		t.Skip("needs a kernel with hooks of cgroups (" + since + ")")
	}
	needsHooks(t)
	err := skel.Load()
	if errors.Is(err, unix.EPERM) {
		t.Skipf("needs a kernel that lets root attach lsm_cgroup and fsession: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// needsHooks skips the test on a kernel that is built without programs of such kinds.
func needsHooks(t *testing.T) {
	t.Helper()
	for _, config := range []string{configJIT, "CONFIG_BPF_LSM", configDirect} {
		if !kerneltest.Config(t, config) {
			t.Skip("needs a kernel with " + config)
		}
	}
}

func onBind(p *hooks.Progs) *skeleton.BaseProgram    { return p.OnBind.Handle() }
func onTail(p *hooks.Progs) *skeleton.BaseProgram    { return p.OnTail.Handle() }
func inSession(p *hooks.Progs) *skeleton.BaseProgram { return p.InSession.Handle() }

// bindSocket binds a socket of this process.
func bindSocket(t *testing.T) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// A program on a hook of a cgroup may refer to all that others may: maps, global
// variables, settings, functions of its own and of the kernel, addresses, fields of the
// kernel's types, and program arrays that have it.
func TestCgroupHook(t *testing.T) {
	skel := openHooks(t, onBind, onTail)
	skel.Rodata.Family = unix.AF_INET
	mustLoadHooks(t, skel, "6.0")
	if _, err := skel.Progs.OnBind.AttachCgroup(cgroup(t), nil); err != nil {
		t.Fatal(err)
	}
	bindSocket(t)

	if n, err := skel.Maps.Binds.Lookup(unix.AF_INET); err != nil || n != 1 {
		t.Errorf("%d sockets were bound (%v), want 1", n, err)
	}
	if skel.Bss.GlobalCalls != 3 {
		t.Errorf("the global function was passed %d, want 3", skel.Bss.GlobalCalls)
	}
	if skel.Bss.TailCalls != 1 {
		t.Errorf("%d tail calls, want 1", skel.Bss.TailCalls)
	}
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	if skel.Bss.Version != version {
		t.Errorf("version %#x, want %#x", skel.Bss.Version, version)
	}
	if want := kernelSymbol(t, "security_socket_bind"); skel.Bss.Address != want {
		t.Errorf("address %#x, want %#x", skel.Bss.Address, want)
	}
	if skel.Data.WeakAddress != 0 {
		t.Errorf("address %#x of a symbol that is not there", skel.Data.WeakAddress)
	}
	// It came with 6.2.
	if want := !older(t, "6.2"); skel.Bss.HasKfunc != want {
		t.Errorf("kfunc found: %v, want %v", skel.Bss.HasKfunc, want)
	} else if skel.Bss.HasSame != want || skel.Bss.HasOther {
		t.Errorf("kfunc found by the right declaration: %v, want %v; by a wrong one: %v", skel.Bss.HasSame, want, skel.Bss.HasOther)
	}

	// Programs that trace this one find it by its BTF.
	h, err := skel.Progs.OnBind.Program().Handle()
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	bindSocket(t)
	if n, err := skel.Maps.Binds.Lookup(unix.AF_INET); err != nil || n != 1 {
		t.Errorf("%d sockets were bound after Detach (%v), want 1", n, err)
	}
}

// kernelSymbol returns the address of a function of the kernel.
func kernelSymbol(t *testing.T, name string) uint64 {
	t.Helper()
	symbols, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	before, _, ok := strings.Cut(string(symbols), " T "+name+"\n")
	if !ok {
		t.Fatalf("the kernel has no function %s", name)
	}
	addr, err := strconv.ParseUint(before[strings.LastIndex(before, "\n")+1:], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// A session knows entry from return, and takes a value from the one to the other.
func TestSession(t *testing.T) {
	skel := openHooks(t, inSession)
	mustLoadHooks(t, skel, "7.0")
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	_, _ = unix.Getsid(os.Getppid())
	if b := skel.Bss; b.Entries == 0 || b.Entries != b.Exits || b.Exits != b.Cookies {
		t.Errorf("%d entries, %d exits, %d with the value of the entry", b.Entries, b.Exits, b.Cookies)
	}
}

// The function may be one of a module.
func TestSessionInModule(t *testing.T) {
	if older(t, "7.0") {
		t.Skip("needs a kernel with sessions (7.0)")
	}
	// The kernel loads the module now, if that is not done.
	if err := kerneltest.AddVeth("vebpf0", "vebpf1", 0); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("needs a kernel with the module veth: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kerneltest.DeleteLinkNamed("vebpf0") })
	skel := openHooks(t, func(p *hooks.Progs) *skeleton.BaseProgram { return p.OnModule.Handle() })
	mustLoadHooks(t, skel, "7.0")
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	// Interfaces say who they are when they are set up.
	if _, err := kerneltest.SetUp("vebpf1"); err != nil {
		t.Fatal(err)
	}
	ifindex, err := kerneltest.SetUp("vebpf0")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, make([]byte, 28), 0, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: ifindex, Halen: 6}); err != nil {
		t.Fatal(err)
	}
	if skel.Bss.InModule == 0 {
		t.Error("does not fire")
	}
}

// What Load does not load and what another target makes of it.
func TestHookChosenBeforeLoad(t *testing.T) {
	skel := openHooks(t, func(p *hooks.Progs) *skeleton.BaseProgram { return p.NoHook.Handle() })
	if err := skel.Progs.NoHook.SetTarget(nil, "socket_bind"); err != nil {
		t.Fatal(err)
	}
	mustLoadHooks(t, skel, "6.0")
	if skel.Progs.NoHook.Program() == nil {
		t.Error("was not loaded")
	}
	if skel.Progs.OnBind.Program() != nil || skel.Progs.InSession.Program() != nil {
		t.Error("programs were loaded that are not to be")
	}
}

// The log of the verifier is there when it is asked for.
func TestHookLog(t *testing.T) {
	skel := openHooks(t, onBind)
	if older(t, "6.0") {
		t.Skip("needs a kernel with hooks of cgroups (6.0)")
	}
	needsHooks(t)
	err := skel.LoadWithOptions(skeleton.LoadOptions{LogLevel: ebpf.LogLevelStats})
	if errors.Is(err, unix.EPERM) {
		t.Skipf("needs a kernel that lets root attach lsm_cgroup: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if log := skel.Progs.OnBind.Program().VerifierLog; !strings.Contains(log, "processed") {
		t.Errorf("log %q", log)
	}
}

// An error says what is wrong with which program, where in its source and what to do,
// and leaves nothing open.
func TestHookErrors(t *testing.T) {
	type P = *hooks.Progs
	type K = *skeleton.BaseProgram
	for _, test := range []struct {
		name  string
		since string
		prog  func(P) K
		// want are parts of the error.
		want     []string
		rejected bool
	}{
		{"hook", "6.0", func(p P) K { return p.NoHook.Handle() }, []string{`program no_hook, SEC("?lsm_cgroup/no_such_hook")`, "this kernel has no LSM hook no_such_hook", "SetAutoload(false)"}, false},
		{"function", "7.0", func(p P) K { return p.NoFunction.Handle() }, []string{`program no_function`, "this kernel has no function no_such_function", "SetAutoload(false)"}, false},
		{"kfunc", "6.0", func(p P) K { return p.MissingKfunc.Handle() }, []string{"program missing_kfunc", "kfunc no_such_kfunc", "__weak"}, false},
		{"wrong kfunc", "6.2", func(p P) K { return p.WrongKfunc.Handle() }, []string{"program wrong_kfunc", "kfunc bpf_rcu_read_lock___wrong: has other parameters or results in the kernel: declare it as the kernel does"}, false},
		{"symbol", "6.0", func(p P) K { return p.MissingSymbol.Handle() }, []string{"program missing_symbol", "ksym no_such_symbol", "__weak"}, false},
		{"access", "6.0", func(p P) K { return p.WrongAccess.Handle() }, []string{"program wrong_access", "rejected by the verifier", "hooks.bpf.c:", "return ctx[1000]; // beyond the arguments", "off=8000"}, true},
		{"long log", "6.0", func(p P) K { return p.WrongAtLast.Handle() }, []string{"program wrong_at_last", "ctx[2000]; // beyond the arguments as well", "off=16000"}, true},
		{"weak kfunc", "6.0", func(p P) K { return p.UnaskedKfunc.Handle() }, []string{"program unasked_kfunc", "bpf_ksym_exists", "no_such_weak_kfunc();"}, true},
		{"field", "6.0", func(p P) K { return p.UnaskedField.Handle() }, []string{"program unasked_field", "bpf_core_field_exists", "sock->no_such_field"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if older(t, test.since) {
				t.Skip("needs a kernel with hooks of cgroups (" + test.since + ")")
			}
			needsHooks(t)
			skel := openHooks(t, test.prog, func(p P) K { return p.NotOnHook.Handle() })
			// The first load makes what stays, such as the kernel's BTF.
			_ = skel.Load()
			before := openFiles(t)
			err := skel.Load()
			if errors.Is(err, unix.EPERM) {
				t.Skipf("needs a kernel that lets root attach: %v", err)
			}
			if err == nil {
				t.Fatal("loads")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			var ours *skeleton.VerifierError
			var theirs *ebpf.VerifierError
			if got := errors.As(err, &ours) && errors.As(err, &theirs); got != test.rejected {
				t.Errorf("a verifier error: %v, want %v", got, test.rejected)
			}
			if after := openFiles(t); after != before {
				t.Errorf("%d files are open, before Load it was %d", after, before)
			}
			if skel.Progs.NotOnHook.Program() != nil || skel.Maps.Binds.Map() != nil {
				t.Error("something was left behind")
			}
		})
	}
}

// When another program fails, those on hooks are not left behind.
func TestHookAndAnotherFails(t *testing.T) {
	bpftest.NeedsBPF(t)
	if !older(t, "6.0") {
		needsHooks(t)
	}
	skel := openHooks(t, onBind, onTail, func(p *hooks.Progs) *skeleton.BaseProgram { return p.WrongSocket.Handle() })
	_ = skel.Load()
	before := openFiles(t)
	if err := skel.Load(); err == nil || !strings.Contains(err.Error(), "wrong_socket") {
		t.Errorf("%v does not name the program", err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, before Load it was %d", after, before)
	}
	skel.Progs.WrongSocket.SetAutoload(false)
	mustLoadHooks(t, skel, "6.0")
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// On a kernel that does not know such programs, the error says since when there are
// some, and not what else this kernel lacks.
func TestHookTooNew(t *testing.T) {
	for version, prog := range map[string]func(*hooks.Progs) *skeleton.BaseProgram{
		"6.0": func(p *hooks.Progs) *skeleton.BaseProgram { return p.MissingKfunc.Handle() },
		"7.0": func(p *hooks.Progs) *skeleton.BaseProgram { return p.NoFunction.Handle() },
	} {
		t.Run(version, func(t *testing.T) {
			if !older(t, version) {
				t.Skip("needs a kernel before " + version)
			}
			skel := openHooks(t, prog)
			err := skel.Load()
			if !errors.Is(err, ebpf.ErrNotSupported) || !strings.Contains(err.Error(), "need a kernel of version "+version) {
				t.Errorf("%v does not name the version %s", err, version)
			}
		})
	}
}
