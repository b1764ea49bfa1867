package runtime_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/runtime/progs/attach"
)

// countingLink stands for a link that the user made.
type countingLink struct {
	link.Link
	closed int
}

func (l *countingLink) Close() error {
	l.closed++
	return nil
}

// loadOne loads the program that choose returns, alone.
func loadOne(t *testing.T, kind string, choose func(*attach.Progs) *skeleton.BaseProgram) *attach.Skeleton {
	t.Helper()
	bpftest.NeedsBPF(t)
	skel, err := attach.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := skel.Close(); err != nil {
			t.Error(err)
		}
	})
	choose(&skel.Progs).SetAutoload(true)
	if err := skel.Load(); err != nil {
		bpftest.SkipIfRefused(t, kind, err)
		t.Fatal(err)
	}
	return skel
}

func TestAttachKinds(t *testing.T) {
	for _, tc := range []struct {
		kind  string
		prog  func(*attach.Progs) *skeleton.BaseProgram
		needs func(testing.TB)
	}{
		{"tp", func(p *attach.Progs) *skeleton.BaseProgram { return p.Tp.Handle() }, nil},
		{"tracepoint", func(p *attach.Progs) *skeleton.BaseProgram { return p.Tracepoint.Handle() }, nil},
		{"raw_tp", func(p *attach.Progs) *skeleton.BaseProgram { return p.RawTp.Handle() }, nil},
		{"raw_tracepoint", func(p *attach.Progs) *skeleton.BaseProgram { return p.RawTracepoint.Handle() }, nil},
		{"tp_btf", func(p *attach.Progs) *skeleton.BaseProgram { return p.TpBtf.Handle() }, nil},
		{"kprobe", func(p *attach.Progs) *skeleton.BaseProgram { return p.Kprobe.Handle() }, bpftest.NeedsKprobes},
		{"kprobe+offset", func(p *attach.Progs) *skeleton.BaseProgram { return p.KprobeOffset.Handle() }, bpftest.NeedsKprobes},
		{"kretprobe", func(p *attach.Progs) *skeleton.BaseProgram { return p.Kretprobe.Handle() }, bpftest.NeedsKprobes},
		{"fentry", func(p *attach.Progs) *skeleton.BaseProgram { return p.Fentry.Handle() }, trampolines},
		{"fexit", func(p *attach.Progs) *skeleton.BaseProgram { return p.Fexit.Handle() }, trampolines},
		{"uprobe", func(p *attach.Progs) *skeleton.BaseProgram { return p.Uprobe.Handle() }, libc},
		{"uprobe.s", func(p *attach.Progs) *skeleton.BaseProgram { return p.UprobeS.Handle() }, sleepableUprobes},
		{"uretprobe", func(p *attach.Progs) *skeleton.BaseProgram { return p.Uretprobe.Handle() }, libc},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			if tc.needs != nil {
				tc.needs(t)
			}
			skel := loadOne(t, tc.kind, tc.prog)
			err := skel.Attach()
			if strings.HasPrefix(tc.kind, "u") && errors.Is(err, fs.ErrNotExist) {
				t.Skipf("needs the C library: %v", err)
			}
			if err != nil {
				bpftest.SkipIfRefused(t, tc.kind, err)
				t.Fatal(err)
			}
			if forks(t, skel) == 0 {
				t.Error("does not fire")
			}
			if err := skel.Detach(); err != nil {
				t.Fatal(err)
			}
			if n := forks(t, skel); n != 0 {
				t.Errorf("fires %d times after Detach", n)
			}
		})
	}
}

// trampolines skips t on a kernel that is built without what fentry programs run through.
func trampolines(t testing.TB) {
	t.Helper()
	kerneltest.NeedsJIT(t)
	if !kerneltest.Config(t, "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS") {
		t.Skip("needs a kernel with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS")
	}
}

// libc skips t where what forks starts is not linked with the library that the uprobes are
// in.
func libc(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(someProgram); err == nil {
		return
	}
	if maps, err := os.ReadFile("/proc/self/maps"); err != nil || !strings.Contains(string(maps), "/libc.so.6\n") {
		t.Skipf("needs the C library in a process: there is no %s, and this test is not linked with it (%v)", someProgram, err)
	}
}

// sleepableUprobes is libc for programs in uprobes that may sleep.
func sleepableUprobes(t testing.TB) {
	t.Helper()
	libc(t)
	if v, err := features.LinuxVersionCode(); err == nil && v < 6<<16 {
		t.Skip("needs a kernel with sleepable programs in uprobes (6.0)")
	}
}

// someProgram is one that most machines have, linked with the C library.
const someProgram = "/bin/ls"

// forks starts a process, one that uses libc where there is one, and returns how
// often the program ran.
func forks(t *testing.T, skel *attach.Skeleton) uint64 {
	t.Helper()
	before := atomic.LoadUint64(&skel.Bss.Hits)
	child := exec.Command(someProgram, "/")
	if _, err := os.Stat(child.Path); errors.Is(err, fs.ErrNotExist) {
		// The machines that QEMU boots have no program but this one.
		child = exec.Command("/proc/self/exe", "-test.run=^$")
		child.Env = []string{"PATH="}
	}
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	return atomic.LoadUint64(&skel.Bss.Hits) - before
}

func TestAttachWithoutTarget(t *testing.T) {
	for name, prog := range map[string]func(*attach.Progs) *skeleton.BaseProgram{
		"kprobe": func(p *attach.Progs) *skeleton.BaseProgram { return p.BareKprobe.Handle() },
		"uprobe": func(p *attach.Progs) *skeleton.BaseProgram { return p.BareUprobe.Handle() },
		"tp":     func(p *attach.Progs) *skeleton.BaseProgram { return p.BareTp.Handle() },
		"raw_tp": func(p *attach.Progs) *skeleton.BaseProgram { return p.BareRawTp.Handle() },
	} {
		t.Run(name, func(t *testing.T) {
			skel := loadOne(t, name, prog)
			if err := skel.Attach(); err != nil {
				t.Fatal(err)
			}
			if skel.Links != (attach.Links{}) {
				t.Errorf("attached to something: %+v", skel.Links)
			}
		})
	}
}

func TestAttachErrors(t *testing.T) {
	for _, tc := range []struct {
		prog func(*attach.Progs) *skeleton.BaseProgram
		want []string
		is   error
	}{
		{func(p *attach.Progs) *skeleton.BaseProgram { return p.TpWithoutCategory.Handle() }, []string{"<category>/<name>"}, nil},
		{func(p *attach.Progs) *skeleton.BaseProgram { return p.KprobeNowhere.Handle() }, []string{"no_such_function_in_any_kernel"}, nil},
		{func(p *attach.Progs) *skeleton.BaseProgram { return p.KprobeBadOffset.Handle() }, []string{`"four" is not a number`}, nil},
		{func(p *attach.Progs) *skeleton.BaseProgram { return p.KretprobeOffset.Handle() }, []string{"takes no offset"}, nil},
		{func(p *attach.Progs) *skeleton.BaseProgram { return p.UprobeNowhere.Handle() }, []string{"/no/such/file"}, fs.ErrNotExist},
		{func(p *attach.Progs) *skeleton.BaseProgram { return p.UprobeNoSymbol.Handle() }, []string{"no function \"no_such_function_in_any_library\""}, fs.ErrNotExist},
		{func(p *attach.Progs) *skeleton.BaseProgram { return p.RawTpNowhere.Handle() }, []string{"no_such_tracepoint"}, nil},
	} {
		var name string
		skel := loadOne(t, "", func(p *attach.Progs) *skeleton.BaseProgram {
			name = tc.prog(p).Name()
			return tc.prog(p)
		})
		err := skel.Attach()
		for _, want := range append(tc.want, "attach attach", "program "+name, "SEC(") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v does not contain %q", name, err, want)
			}
		}
		if tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: %v is not %v", name, err, tc.is)
		}
	}
}
