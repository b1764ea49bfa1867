package attach_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/attach/progs/calls"
	"github.com/rules-bpf/rules_bpf/tests/attach/progs/cycle"
	"github.com/rules-bpf/rules_bpf/tests/attach/progs/forms"
)

// loadForms loads the chosen programs.
func loadForms(t *testing.T, choose ...func(*forms.Progs) *skeleton.BaseProgram) *forms.Skeleton {
	t.Helper()
	skel, err := forms.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := skel.Close(); err != nil {
			t.Error(err)
		}
	})
	var sections []string
	for _, c := range choose {
		p := c(&skel.Progs)
		p.SetAutoload(true)
		sections = append(sections, p.Section())
	}
	err = skel.Load()
	bpftest.SkipIfRefused(t, strings.Join(sections, " and "), err)
	if err != nil {
		t.Fatal(err)
	}
	return skel
}

// A section that names no target is left alone, and the report says what to call.
func TestBareNames(t *testing.T) {
	bpftest.NeedsBPF(t)
	for method, prog := range map[string]func(*forms.Progs) *skeleton.BaseProgram{
		"AttachKprobe":        func(p *forms.Progs) *skeleton.BaseProgram { return p.BareKprobe.Handle() },
		"AttachKprobeMulti":   func(p *forms.Progs) *skeleton.BaseProgram { return p.BareKprobeMulti.Handle() },
		"AttachSyscall":       func(p *forms.Progs) *skeleton.BaseProgram { return p.BareKsyscall.Handle() },
		"AttachUprobe":        func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUprobe.Handle() },
		"AttachUprobeMulti":   func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUprobeMulti.Handle() },
		"AttachUSDT":          func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUsdt.Handle() },
		"AttachTracepoint":    func(p *forms.Progs) *skeleton.BaseProgram { return p.BareTp.Handle() },
		"AttachRawTracepoint": func(p *forms.Progs) *skeleton.BaseProgram { return p.BareRawTp.Handle() },
		"AttachXDP":           func(p *forms.Progs) *skeleton.BaseProgram { return p.Xdp.Handle() },
		"AttachTC":            func(p *forms.Progs) *skeleton.BaseProgram { return p.Tc.Handle() },
		"AttachCgroup":        func(p *forms.Progs) *skeleton.BaseProgram { return p.CgroupConnect4.Handle() },
		"AttachIter":          func(p *forms.Progs) *skeleton.BaseProgram { return p.IterMap.Handle() },
	} {
		t.Run(method, func(t *testing.T) {
			skel := loadForms(t, prog)
			if err := skel.Attach(); err != nil {
				t.Fatal(err)
			}
			if skel.Links != (forms.Links{}) {
				t.Error("attached to something")
			}
			a := attachmentOf(t, skel, prog(&skel.Progs).Name())
			if a.State != skeleton.NotAttached || !strings.Contains(a.Reason, method) {
				t.Errorf("%v, want it to name %s", a, method)
			}
		})
	}
}

// A bare name becomes attached by hand.
func TestByHand(t *testing.T) {
	bpftest.NeedsBPF(t)
	run, _ := placeVictim(t)
	for name, tc := range map[string]struct {
		prog   func(*forms.Progs) *skeleton.BaseProgram
		attach func(*forms.Progs) error
		fire   func(*testing.T, *forms.Skeleton)
		needs  func(testing.TB)
	}{
		"kprobe": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareKprobe.Handle() },
			func(p *forms.Progs) error { return errOf(p.BareKprobe.AttachKprobe("security_task_getsid", nil)) }, getsid, bpftest.NeedsKprobes,
		},
		"ksyscall": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareKsyscall.Handle() },
			func(p *forms.Progs) error { return errOf(p.BareKsyscall.AttachSyscall("getsid", nil)) }, getsid, bpftest.NeedsKprobes,
		},
		"uprobe": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUprobe.Handle() },
			func(p *forms.Progs) error { return errOf(p.BareUprobe.AttachUprobe(victimName, "traced_two", nil)) },
			func(*testing.T, *forms.Skeleton) { run() }, nil,
		},
		"kprobe.multi": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareKprobeMulti.Handle() },
			func(p *forms.Progs) error {
				return errOf(p.BareKprobeMulti.AttachKprobeMulti("security_task_get?id", nil))
			}, getsid,
			func(t testing.TB) {
				bpftest.NeedsKernel(t, 5, 18, "kprobe.multi")
				if !kerneltest.Config(t, "CONFIG_FPROBE") {
					t.Skip("needs a kernel with CONFIG_FPROBE")
				}
			},
		},
		"uprobe.multi": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUprobeMulti.Handle() },
			func(p *forms.Progs) error {
				return errOf(p.BareUprobeMulti.AttachUprobeMulti(victimName, "traced_*", nil))
			},
			func(*testing.T, *forms.Skeleton) { run() }, uprobeMulti,
		},
		"usdt": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUsdt.Handle() },
			func(p *forms.Progs) error { return errOf(p.BareUsdt.AttachUSDT(victimName, "victim", "guarded", nil)) },
			func(*testing.T, *forms.Skeleton) { run() }, nil,
		},
		"tp": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareTp.Handle() },
			func(p *forms.Progs) error {
				return errOf(p.BareTp.AttachTracepoint("syscalls", "sys_enter_getsid", nil))
			}, getsid, nil,
		},
		"raw_tp": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareRawTp.Handle() },
			func(p *forms.Progs) error { return errOf(p.BareRawTp.AttachRawTracepoint("task_rename", nil)) }, rename, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.needs != nil {
				tc.needs(t)
			}
			skel := loadForms(t, tc.prog)
			if err := tc.attach(&skel.Progs); err != nil {
				t.Fatal(err)
			}
			if n := len(tc.prog(&skel.Progs).Links()); n != 1 {
				t.Errorf("%d links, want 1", n)
			}
			if tc.fire(t, skel); atomic.LoadUint64(&skel.Bss.Hits) == 0 {
				t.Error("does not fire")
			}
			if err := skel.Detach(); err != nil {
				t.Fatal(err)
			}
			if err := tc.attach(&skel.Progs); err != nil {
				t.Errorf("after Detach: %v", err)
			}
		})
	}
}

// uprobeMulti skips t on kernels without the form.
func uprobeMulti(t testing.TB) { bpftest.NeedsKernel(t, 6, 6, "uprobe.multi") }

// Probes on one process do not see others.
func TestOneProcess(t *testing.T) {
	bpftest.NeedsBPF(t)
	run, _ := placeVictim(t)
	for name, tc := range map[string]struct {
		prog   func(*forms.Progs) *skeleton.BaseProgram
		attach func(*forms.Progs, int) error
		needs  func(testing.TB)
	}{
		"uprobe": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUprobe.Handle() },
			func(p *forms.Progs, pid int) error {
				return errOf(p.BareUprobe.AttachUprobe(victimName, "traced_two", &skeleton.UprobeOptions{PID: pid}))
			}, nil,
		},
		"uprobe.multi": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUprobeMulti.Handle() },
			func(p *forms.Progs, pid int) error {
				return errOf(p.BareUprobeMulti.AttachUprobeMulti(victimName, "traced_*", &skeleton.UprobeMultiOptions{PID: pid}))
			}, uprobeMulti,
		},
		"usdt": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUsdt.Handle() },
			func(p *forms.Progs, pid int) error {
				return errOf(p.BareUsdt.AttachUSDT(victimName, "victim", "guarded", &skeleton.USDTOptions{PID: pid}))
			}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.needs != nil {
				tc.needs(t)
			}
			skel := loadForms(t, tc.prog)
			for pid, want := range map[int]bool{os.Getpid(): false, 0: true} {
				if err := tc.attach(&skel.Progs, pid); err != nil {
					t.Fatal(err)
				}
				before := atomic.LoadUint64(&skel.Bss.Hits)
				run()
				if fired := atomic.LoadUint64(&skel.Bss.Hits) != before; fired != want {
					t.Errorf("attached to process %d: fires %t in another, want %t", pid, fired, want)
				}
				if err := skel.Detach(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestHelpersInWrongState(t *testing.T) {
	skel, err := forms.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := skel.Progs.Xdp.AttachXDP(loopback, nil); !errors.Is(err, skeleton.ErrNotLoaded) {
		t.Errorf("before Load: %v, want %v", err, skeleton.ErrNotLoaded)
	}
	for _, a := range skel.Attachments() {
		if a.State != skeleton.NotLoaded || a.Reason == "" {
			t.Errorf("before Load: %v", a)
		}
	}
	if err := skel.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = skel.Progs.Xdp.AttachXDP(loopback, nil)
	if !errors.Is(err, skeleton.ErrClosed) || !strings.Contains(err.Error(), `program xdp, SEC("?xdp")`) {
		t.Errorf("after Close: %v, want %v with the program's name", err, skeleton.ErrClosed)
	}
}

func TestWrongTargets(t *testing.T) {
	bpftest.NeedsBPF(t)
	placeVictim(t)
	for _, tc := range []struct {
		prog  func(*forms.Progs) *skeleton.BaseProgram
		want  string
		is    error
		needs func(testing.TB)
	}{
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongKprobe.Handle() }, "no_such_function", fs.ErrNotExist, bpftest.NeedsKprobes},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongKprobeMulti.Handle() }, "available_filter_functions", fs.ErrNotExist, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongPattern.Handle() }, `'-'`, nil, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongSyscall.Handle() }, `system call "no_such_call"`, fs.ErrNotExist, bpftest.NeedsKprobes},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongProgram.Handle() }, `"no-such-program" is not in any of the directories`, fs.ErrNotExist, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongLibrary.Handle() }, "/usr/lib64", fs.ErrNotExist, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongSymbol.Handle() }, `has no function "no_such_function"`, fs.ErrNotExist, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongNoSymbol.Handle() }, "<path>:<function>", nil, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongOffset.Handle() }, "beyond the end", nil, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongRetOffset.Handle() }, "takes no offset", nil, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongUprobeMulti.Handle() }, `has no function "no_such_*"`, fs.ErrNotExist, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongProbe.Handle() }, "has no USDT victim:no_such_probe", fs.ErrNotExist, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongProbeTarget.Handle() }, "<path>:<provider>:<name>", nil, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongNoNotes.Handle() }, "has no USDTs", fs.ErrNotExist, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongTp.Handle() }, "<category>/<name>", nil, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongEvent.Handle() }, "no_such_event", fs.ErrNotExist, nil},
		{func(p *forms.Progs) *skeleton.BaseProgram { return p.WrongRawTp.Handle() }, "no_such_tracepoint", fs.ErrNotExist, nil},
	} {
		skel, err := forms.Open()
		if err != nil {
			t.Fatal(err)
		}
		p := tc.prog(&skel.Progs)
		skel.Close()
		t.Run(p.Name(), func(t *testing.T) {
			if tc.needs != nil {
				tc.needs(t)
			}
			if p.Name() == "wrong_kprobe_multi" && !kerneltest.Config(t, "CONFIG_FUNCTION_TRACER") {
				t.Skip("needs CONFIG_FUNCTION_TRACER")
			}
			skel := loadForms(t, tc.prog)
			err := skel.Attach()
			if p.Name() == "wrong_kprobe_multi" && errors.Is(err, fs.ErrPermission) {
				t.Skipf("needs a kernel that lets root list its functions: %v", err)
			}
			for _, want := range []string{tc.want, "program " + p.Name() + ", SEC("} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not contain %q", err, want)
				}
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is not %v", err, tc.is)
			}
			if skel.Links != (forms.Links{}) {
				t.Error("a link is left")
			}
		})
	}
}

// An offset where no instruction of the CPU can begin is named as such. On x86-64 one may
// begin anywhere.
func TestUnalignedOffset(t *testing.T) {
	bpftest.NeedsBPF(t)
	placeVictim(t)
	for name, tc := range map[string]struct {
		prog   func(*forms.Progs) *skeleton.BaseProgram
		attach func(*forms.Progs) error
		needs  func(testing.TB)
	}{
		"uprobe": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUprobe.Handle() },
			func(p *forms.Progs) error {
				return errOf(p.BareUprobe.AttachUprobe(victimName, "traced_one+1", nil))
			}, nil,
		},
		"uprobe.multi": {
			func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUprobeMulti.Handle() },
			func(p *forms.Progs) error {
				return errOf(p.BareUprobeMulti.AttachUprobeMulti(victimName, "", &skeleton.UprobeMultiOptions{Symbols: []string{"traced_two", "traced_one+1"}}))
			}, uprobeMulti,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.needs != nil {
				tc.needs(t)
			}
			err := tc.attach(&loadForms(t, tc.prog).Progs)
			if runtime.GOARCH == "amd64" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			kerneltest.WantError(t, err, "program bare_uprobe", victimName+": offset 0x", "invalid argument: no instruction begins there, as on this CPU ("+runtime.GOARCH+") they begin at multiples of ")
			if !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%v is not %v", err, syscall.EINVAL)
			}
		})
	}
}

// Attach attaches with the options that it is given: a cookie and a process.
func TestOptionsOfAttach(t *testing.T) {
	bpftest.NeedsBPF(t)
	run, _ := placeVictim(t)
	skel := loadForms(t, func(p *forms.Progs) *skeleton.BaseProgram { return p.Usdt.Handle() })
	const cookie = 0x1122334455667788
	for name, tc := range map[string]struct {
		opts skeleton.USDTOptions
		want int64
	}{
		"all processes":   {skeleton.USDTOptions{Cookie: cookie}, cookie},
		"another process": {skeleton.USDTOptions{Cookie: cookie, PID: os.Getpid()}, 0},
		"no cookie":       {skeleton.USDTOptions{}, 0},
	} {
		if err := skel.Progs.Usdt.SetAttachOptions(&tc.opts); err != nil {
			t.Fatal(err)
		}
		if err := skel.Attach(); err != nil {
			t.Fatal(err)
		}
		skel.Bss.UsdtCookie = 0
		before := atomic.LoadUint64(&skel.Bss.Hits)
		run()
		if fired := atomic.LoadUint64(&skel.Bss.Hits) != before; fired != (tc.opts.PID == 0) || skel.Bss.UsdtCookie != tc.want {
			t.Errorf("%s: fired: %t, cookie %#x, want %#x", name, fired, skel.Bss.UsdtCookie, tc.want)
		}
		if err := skel.Detach(); err != nil {
			t.Fatal(err)
		}
	}
}

// A program that needs a target before Load says so there.
func TestTargetBeforeLoad(t *testing.T) {
	bpftest.NeedsBPF(t)
	skel, err := forms.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	skel.Progs.Freplace.SetAutoload(true)
	if err := skel.Load(); err == nil || !strings.Contains(err.Error(), "SetTarget") {
		t.Errorf("%v does not name SetTarget", err)
	}
}

// links counts the links in the kernel that keep one of the programs attached.
// Other processes of the machine have links too.
func links(t *testing.T, programs map[ebpf.ProgramID]bool) int {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		n, err := countLinks(programs)
		// EAGAIN: the list has a link, of whomever, that is on its way in or out.
		if errors.Is(err, syscall.EAGAIN) && time.Now().Before(end) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

func countLinks(programs map[ebpf.ProgramID]bool) (n int, err error) {
	it := new(link.Iterator)
	defer it.Close()
	for it.Next() {
		if info, err := it.Link.Info(); err == nil && programs[info.Program] {
			n++
		}
	}
	return n, it.Err()
}

// addIDs adds the numbers that the kernel has for the programs.
func addIDs(t *testing.T, ids map[ebpf.ProgramID]bool, skel *cycle.Skeleton) {
	t.Helper()
	for _, p := range cyclePrograms(skel) {
		ids[idOf(t, p.Program())] = true
	}
}

func idOf(t *testing.T, p *ebpf.Program) ebpf.ProgramID {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, ok := info.ID()
	if !ok {
		t.Fatal("programs have no ids")
	}
	return id
}

func cyclePrograms(skel *cycle.Skeleton) []*skeleton.RawTracepointProgram {
	p := &skel.Progs
	return []*skeleton.RawTracepointProgram{p.P0, p.P1, p.P2, p.P3, p.P4, p.P5, p.P6, p.P7, p.P8, p.P9, p.P10, p.P11}
}

func cycleLinks(skel *cycle.Skeleton) []link.Link {
	l := &skel.Links
	return []link.Link{l.P0, l.P1, l.P2, l.P3, l.P4, l.P5, l.P6, l.P7, l.P8, l.P9, l.P10, l.P11}
}

// Whichever program fails to attach, none stays attached.
func TestNthFails(t *testing.T) {
	bpftest.NeedsBPF(t)
	const programs = 12
	// The first one and the last one always.
	tried := min(programs, kerneltest.Rounds(programs*3))
	for i := range tried {
		n := i * (programs - 1) / (tried - 1)
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			skel, err := cycle.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer skel.Close()
			progs := cyclePrograms(skel)
			if err := skel.Load(); err != nil {
				t.Fatal(err)
			}
			ids := make(map[ebpf.ProgramID]bool)
			addIDs(t, ids, skel)
			// There is nothing to attach then.
			progs[n].Program().Close()
			fds := len(kerneltest.FDs(t))
			err = skel.Attach()
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("program p%d,", n)) {
				t.Errorf("%v does not name program p%d", err, n)
			}
			if n := links(t, ids); n != 0 {
				t.Errorf("%d links are left", n)
			}
			if after := len(kerneltest.FDs(t)); after != fds {
				t.Errorf("%d file descriptors before Attach, %d after", fds, after)
			}
			if skel.Links != (cycle.Links{}) {
				t.Error("a slot is not empty")
			}
			progs[n].SetAutoattach(false)
			if err := skel.Attach(); err != nil {
				t.Errorf("without the program: %v", err)
			}
			if n := links(t, ids); n != programs-1 {
				t.Errorf("%d links without the program, want %d", n, programs-1)
			}
		})
	}
}

// The same with programs of many forms, whose links are of many kinds: perf events,
// one per location of a USDT, and those that the kernel lists.
func TestNthFormFails(t *testing.T) {
	bpftest.NeedsBPF(t)
	run, _ := placeVictim(t)
	// The forms that all kernels of the tests have, in the order of the object.
	choose := func(p *forms.Progs) []*skeleton.BaseProgram {
		return []*skeleton.BaseProgram{
			p.Tp.Handle(), p.Tracepoint.Handle(), p.RawTp.Handle(), p.RawTracepoint.Handle(), p.TpBtf.Handle(),
			p.Uprobe.Handle(), p.UprobeOffset.Handle(), p.Uretprobe.Handle(), p.UprobeLibrary.Handle(),
			p.Usdt.Handle(), p.UsdtSemaphore.Handle(), p.Iter.Handle(),
		}
	}
	const programs = 12
	// The first one and the last one always.
	tried := min(programs, kerneltest.Rounds(programs*10))
	for i := range tried {
		n := i * (programs - 1) / (tried - 1)
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			skel, err := forms.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer skel.Close()
			progs := choose(&skel.Progs)
			if len(progs) != programs {
				t.Fatalf("%d programs, want %d", len(progs), programs)
			}
			for _, p := range progs {
				p.SetAutoload(true)
			}
			if err := skel.Load(); err != nil {
				t.Fatal(err)
			}
			ids := make(map[ebpf.ProgramID]bool)
			for _, p := range progs {
				ids[idOf(t, p.Program())] = true
			}
			progs[n].Program().Close()
			fds := len(kerneltest.FDs(t))
			for range 2 {
				err = skel.Attach()
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("program %s,", progs[n].Name())) {
					t.Errorf("%v does not name program %s", err, progs[n].Name())
				}
				if n := links(t, ids); n != 0 {
					t.Errorf("%d links are left", n)
				}
				if after := len(kerneltest.FDs(t)); after != fds {
					t.Errorf("%d file descriptors before Attach, %d after", fds, after)
				}
				if skel.Links != (forms.Links{}) {
					t.Error("a slot is not empty")
				}
			}
			fire := func() uint64 {
				before := atomic.LoadUint64(&skel.Bss.Hits)
				run()
				getsid(t, skel)
				rename(t, skel)
				return atomic.LoadUint64(&skel.Bss.Hits) - before
			}
			if hits := fire(); hits != 0 {
				t.Errorf("programs ran %d times", hits)
			}
			progs[n].SetAutoattach(false)
			if err := skel.Attach(); err != nil {
				t.Fatalf("without the program: %v", err)
			}
			for i, p := range progs {
				want := skeleton.Attached
				if i == n {
					want = skeleton.NotAttached
				}
				if a := attachmentOf(t, skel, p.Name()); a.State != want {
					t.Errorf("without the program: %v", a)
				}
			}
			if fire() == 0 {
				t.Error("without the program, none ran")
			}
		})
	}
}

// A program array is filled as the source says.
func TestProgramArray(t *testing.T) {
	bpftest.NeedsBPF(t)
	skel, err := calls.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	action := func(element uint32) uint32 {
		t.Helper()
		skel.Bss.Element = element
		result, _, err := skel.Progs.Caller.Test(make([]byte, 64))
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	const drop, pass, tx = 1, 2, 3
	if got := action(1); got != drop {
		t.Errorf("element 1: action %d, want %d", got, drop)
	}
	if got := action(0); got != pass {
		t.Errorf("element 0, without a program: action %d, want %d", got, pass)
	}
	if err := skel.Maps.Calls.Map().Put(uint32(2), skel.Progs.Other.Program()); err != nil {
		t.Fatal(err)
	}
	if got := action(2); got != tx {
		t.Errorf("element 2: action %d, want %d", got, tx)
	}
}

// What has no link in the kernel cannot be pinned.
func TestPinNotSupported(t *testing.T) {
	bpftest.NeedsBPFFS(t)
	skel := loadForms(t, func(p *forms.Progs) *skeleton.BaseProgram { return p.Socket.Handle() })
	conn := listenUDP(t)
	defer conn.Close()
	if _, err := skel.Progs.Socket.AttachSocket(conn); err != nil {
		t.Fatal(err)
	}
	if err := skel.Links.Socket.Pin("/sys/fs/bpf/rules-bpf-socket"); !errors.Is(err, ebpf.ErrNotSupported) {
		t.Errorf("pinning gives %v, want %v", err, ebpf.ErrNotSupported)
	}
}

// An argument that no program can read does not keep a program from a USDT.
func TestUnreadableArgs(t *testing.T) {
	bpftest.NeedsBPF(t)
	run, _ := placeVictim(t)
	skel := loadForms(t, func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUsdt.Handle() })
	for _, name := range []string{"plain", "guarded"} {
		if _, err := skel.Progs.BareUsdt.AttachUSDT(victimName, "victim", name, nil); err != nil {
			t.Fatal(err)
		}
	}
	errs := skel.Progs.BareUsdt.UnreadableArgs()
	arg, _, _ := strings.Cut(victimOf(t).guardedArgs, " ")
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), fmt.Sprintf("victim:guarded: argument 0, %q: register %s", arg, strings.TrimPrefix(arg, "8@"))) {
		t.Errorf("%v", errs)
	}
	run()
	if atomic.LoadUint64(&skel.Bss.Hits) < 2 {
		t.Error("did not run at both probes")
	}
}

// A USDT whose link is pinned keeps its arguments when another is attached after
// the link was closed.
func TestPinUSDT(t *testing.T) {
	bpftest.NeedsBPF(t)
	bpftest.NeedsBPFFS(t)
	run, _ := placeVictim(t)
	skel := loadForms(t, func(p *forms.Progs) *skeleton.BaseProgram { return p.Usdt.Handle() },
		func(p *forms.Progs) *skeleton.BaseProgram { return p.BareUsdt.Handle() })
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	pin := filepath.Join("/sys/fs/bpf", fmt.Sprintf("rules-bpf-usdt-%d", os.Getpid()))
	err := skel.Links.Usdt.Pin(pin)
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skip("needs links of the kernel for probes (5.15)")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(pin); err != nil {
			t.Error(err)
		}
	})
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	if _, err := skel.Progs.BareUsdt.AttachUSDT(victimName, "victim", "guarded", nil); err != nil {
		t.Fatal(err)
	}
	run()
	if skel.Bss.UsdtCount != int32(len(plainValues)) || skel.Bss.UsdtArgs != plainValues {
		t.Errorf("%d arguments %v, want %v", skel.Bss.UsdtCount, skel.Bss.UsdtArgs, plainValues)
	}
}

// A pinned link stays when the skeleton is closed.
func TestPin(t *testing.T) {
	bpftest.NeedsBPF(t)
	bpftest.NeedsBPFFS(t)
	skel := loadForms(t, func(p *forms.Progs) *skeleton.BaseProgram { return p.RawTp.Handle() })
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/sys/fs/bpf", "rules-bpf-")
	if err != nil {
		t.Fatal(err)
	}
	linkPin, mapPin := filepath.Join(dir, "link"), filepath.Join(dir, "map")
	t.Cleanup(func() {
		os.Remove(linkPin)
		os.Remove(mapPin)
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := skel.Links.RawTp.Pin(linkPin); err != nil {
		t.Fatal(err)
	}
	if err := skel.Maps.Bss.Map().Pin(mapPin); err != nil {
		t.Fatal(err)
	}
	if err := skel.Close(); err != nil {
		t.Fatal(err)
	}
	hits := func() uint64 {
		t.Helper()
		m, err := ebpf.LoadPinnedMap(mapPin, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		value, err := m.LookupBytes(uint32(0))
		if err != nil {
			t.Fatal(err)
		}
		var n uint64
		for _, b := range value {
			n += uint64(b)
		}
		return n
	}
	before := hits()
	rename(t, nil)
	if hits() == before {
		t.Error("a pinned link does not fire after Close")
	}
	l, err := link.LoadPinnedLink(linkPin, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Unpin(), l.Close()); err != nil {
		t.Fatal(err)
	}
}
