package skeleton

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usersym"
)

// targetProgram returns a program of a section that does nothing.
func targetProgram(name, section string) *ebpf.ProgramSpec {
	spec := kerneltest.Trivial(ebpf.UnspecifiedProgram, section)
	spec.Name = name
	return spec
}

// wantMissing compares the names of the programs whose targets are missing, and the targets.
func wantMissing(t *testing.T, o *Object, want map[string]string) {
	t.Helper()
	missing, err := o.MissingTargets()
	if err != nil {
		t.Error(err)
	}
	got := make(map[string]string)
	for _, m := range missing {
		got[m.Program] = m.Target
		if m.Map != "" || !strings.HasPrefix(m.Error(), "program "+m.Program+`, SEC("`+m.Section+`"): `) {
			t.Errorf("%+v: %v", m, m)
		}
		if !errors.Is(m, fs.ErrNotExist) && !errors.Is(m, ebpf.ErrNotSupported) {
			t.Errorf("%v is neither %v nor %v", m, fs.ErrNotExist, ebpf.ErrNotSupported)
		}
	}
	for name, target := range want {
		if got[name] != target {
			t.Errorf("program %s: target %q is missing, want %q", name, got[name], target)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("also missing: %v", got)
	}
}

// What programs attach to, and is not there, can be asked for before Load, and is in the
// error of Load or Attach, all of it.
func TestMissingTargets(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 11, "targets in modules")
	bpftest.NeedsTracefs(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Those that Load looks for.
	atLoad := map[string]string{
		"entry":   "fentry/no_such_function",
		"exit":    "fexit/no_such_function",
		"typed":   "tp_btf/no_such_tracepoint",
		"iterate": "iter/no_such_iterator",
	}
	atAttach := map[string]string{
		"probe":       "kprobe/no_such_function",
		"probe_at":    "kretprobe/no_such_function_either",
		"call":        "ksyscall/no_such_call",
		"event":       "tp/sched/no_such_event",
		"raw":         "raw_tp/no_such_tracepoint",
		"user":        "uprobe/" + self + ":no_such_symbol",
		"user_file":   "uprobe//no/such/file:main",
		"static":      "usdt/" + self + ":no:such_probe",
		"in_no_place": "uprobe/no_such_program:main",
	}
	there := map[string]string{
		"entry_there": "fentry/vfs_read", "probe_there": "kprobe/vfs_read+0", "sys_there": "kprobe/sys_getpid", "call_there": "ksyscall/getpid", "event_there": "tp/sched/sched_switch",
		"raw_there": "raw_tp/sched_switch", "byhand": "kprobe", "left": "?kprobe/no_such_function",
	}
	if _, err := usersym.FindFile("libc.so.6"); err == nil {
		there["user_there"] = "uprobe/libc.so.6:malloc"
	}
	var specs []*ebpf.ProgramSpec
	want := make(map[string]string)
	for _, sections := range []map[string]string{atLoad, atAttach, there} {
		for name, section := range sections {
			specs = append(specs, targetProgram(name, section))
			if _, ok := there[name]; !ok {
				_, want[name], _ = strings.Cut(section, "/")
			}
		}
	}
	o := newTestObject(t, nil, specs...)
	defer o.Close()
	wantMissing(t, o, want)

	err = o.Load()
	for name := range atLoad {
		kerneltest.WantError(t, err, name)
	}
	var missing *MissingTargetError
	if !errors.As(err, &missing) || atLoad[missing.Program] != missing.Section {
		t.Errorf("Load: %v has no %T", err, missing)
	}
	// A kernel that is locked down refuses it.
	if err := (*object)(o).prog("entry_there").SetAutoload(false); err != nil {
		t.Fatal(err)
	}
	for name := range atLoad {
		if err := (*object)(o).prog(name).SetAutoload(false); err != nil {
			t.Fatal(err)
		}
		delete(want, name)
	}
	wantMissing(t, o, want)
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	wantMissing(t, o, want)
	if _, err := os.Stat("/sys/bus/event_source/devices/kprobe"); err != nil {
		// Attaching one fails because of that, whatever its target is.
		for _, p := range o.progs {
			if form, _ := p.form(); form.Auto == secdef.AutoKprobe || form.Auto == secdef.AutoSyscall {
				delete(atAttach, p.name)
				if err := p.SetAutoattach(false); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	err = o.Attach()
	for name, section := range atAttach {
		kerneltest.WantError(t, err, "program "+name+`, SEC("`+section+`"): `)
	}
	missing = nil
	if !errors.As(err, &missing) || atAttach[missing.Program] != missing.Section {
		t.Errorf("Attach: %v has no %T", err, missing)
	}
	if slices.ContainsFunc(o.progs, func(p *BaseProgram) bool { return *p.link != nil }) {
		t.Error("a program stays attached")
	}
	// Nothing is missing that is not to be attached.
	for name := range atAttach {
		if err := (*object)(o).prog(name).SetAutoattach(false); err != nil {
			t.Fatal(err)
		}
	}
	wantMissing(t, o, nil)
	if err := o.Attach(); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.MissingTargets(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := (*Object)(nil).MissingTargets(); !errors.Is(err, ErrNotOpen) {
		t.Errorf("of no skeleton: %v", err)
	}
}

// A pattern that no function has, and what cannot be a target, which is another error.
func TestMissingPatterns(t *testing.T) {
	bpftest.NeedsTracefs(t)
	o := newTestObject(t, nil, targetProgram("many", "kprobe.multi/no_such_function*"), targetProgram("odd", "kprobe/vfs_read+x"))
	defer o.Close()
	missing, err := o.MissingTargets()
	if attach.Find([]attach.Target{{Auto: secdef.AutoKprobeMulti, Name: "vfs_read"}})[0] != nil {
		// As a kernel that is locked down.
		kerneltest.WantError(t, err, `program many, SEC("kprobe.multi/no_such_function*"): list the functions of the kernel that can be traced: `)
	} else if len(missing) != 1 || missing[0].Program != "many" || missing[0].Target != "no_such_function*" {
		t.Errorf("missing: %v", missing)
	}
	kerneltest.WantError(t, err, "missing targets of test: ", `program odd, SEC("kprobe/vfs_read+x"): target "vfs_read+x": offset "x" is not a number`)
}
