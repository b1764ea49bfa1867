package verify

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// write writes the image of an object, with the code that change makes of it.
func write(t *testing.T, file *File, change func(img *image.Object)) string {
	t.Helper()
	file.Order, file.License, file.Linked = order, "GPL", true
	img, err := imagegen.Build("progs.bpf.o", file.Build())
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(img.Object)
	}
	data, err := img.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "progs.image")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// progs has a program of each verdict.
func progs(t *testing.T) string {
	file := &File{
		Programs: []Program{
			{Name: "good", Section: "xdp", Refs: []string{"flows"}}, {Name: "bad", Section: "?socket"},
			{Name: "nowhere", Section: "fentry/no_such_function"}, {Name: "untargeted", Section: "fexit"},
			{Name: "replacement", Section: "freplace"}, {Name: "own", Section: "custom/hook"}, {Name: "ops", Section: "struct_ops"},
			{Name: "looped", Section: "socket"},
		},
		Vars: []Var{{Section: ".maps", Name: "flows", Type: Map(1, 1<<30, U32, U64)}},
	}
	return write(t, file, func(img *image.Object) {
		// Another register is set than that of the result.
		for _, f := range img.Functions {
			insn := img.Code[8*f.First:]
			switch f.Name {
			case "bad":
				insn[1] = map[bool]byte{false: 0x02, true: 0x20}[isBigEndian]
			case "looped":
				// A call of bpf_loop, without what it takes.
				insn[0] = 0x85
				order.PutUint32(insn[4:], 181)
			}
		}
		// It would be pinned at /sys/fs/bpf.
		img.Maps[0].Pinning = 1
	})
}

func TestRun(t *testing.T) {
	bpftest.NeedsBPF(t)
	file := progs(t)
	report, err := Run(Options{Objects: []string{file}, MaxEntries: 16, Kernel: "mine", Sections: map[string]string{"own": "xdp"}, Limits: []Limit{{"good", "insns", 1}}})
	if err != nil {
		t.Fatal(err)
	}
	type want struct {
		verdict Verdict
		reason  string
	}
	looped := want{Rejected, ""}
	if parseVersion(report.Results[0].Release).before(version{5, 17}) {
		looped = want{NotApplicable, "Linux 5.17 is the first with the helper bpf_loop"}
	}
	for i, want := range []want{
		{Loaded, ""},
		{Rejected, "R0 !read_ok"},
		{NotApplicable, "no function no_such_function"},
		{Failed, `SEC("fexit") names no target: name one with -section untargeted=fexit/FUNCTION`},
		{Failed, "it replaces a function of another program: name a target for it, with -target replacement=OBJECT:PROGRAM"},
		{Loaded, ""},
		{Failed, "no struct_ops table of the object has it: name a target for it, with -target ops=TYPE.MEMBER"},
		looped,
	} {
		r := &report.Results[i]
		if r.Verdict != want.verdict || !strings.Contains(r.Reason, want.reason) {
			t.Errorf("%s: %s: %q, want %s: %q", r.Program, r.Verdict, r.Reason, want.verdict, want.reason)
		}
		if r.Kernel != "mine" || r.Release == "" || r.CPU == "" || r.Object != file {
			t.Errorf("%+v", r)
		}
	}
	good, bad := &report.Results[0], &report.Results[1]
	if good.Insns < 3 || good.InsnsLimit == 0 || good.Memory == 0 || len(good.Log) == 0 || !slices.Equal(good.Over, []string{"insns is 3, and the limit 1"}) {
		t.Errorf("%+v", good)
	}
	if bad.Insns == 0 || !slices.ContainsFunc(bad.Log, func(line string) bool { return strings.Contains(line, "exit") }) {
		t.Errorf("%+v", bad)
	}
	if len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "map flows: is made for 16 elements in place of 1073741824") {
		t.Errorf("notes %q", report.Notes)
	}
	if _, err := os.Stat("/sys/fs/bpf/flows"); err == nil {
		t.Error("the map was pinned")
	}
	if report.Results[5].Section != "xdp" {
		t.Errorf("the section is %q", report.Results[5].Section)
	}
}

func TestChoice(t *testing.T) {
	bpftest.NeedsBPF(t)
	file := progs(t)
	run := func(o Options) []string {
		t.Helper()
		o.Objects, o.MaxEntries = []string{file}, 16
		report, err := Run(o)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for i := range report.Results {
			names = append(names, report.Results[i].Name()[len(file)+2:])
		}
		return names
	}
	preset := func(text string) *Preset {
		p, err := ParsePreset("p", "p.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if got := run(Options{Programs: []string{"g*d", "bad"}}); !slices.Equal(got, []string{"good", "bad"}) {
		t.Errorf("%q", got)
	}
	if got := run(Options{Presets: []*Preset{preset(`{"programs": ["good"]}`), preset("{}")}, Programs: []string{"good", "bad"}}); !slices.Equal(got, []string{"good [p]", "good [p]", "bad [p]"}) {
		t.Errorf("%q", got)
	}
	if got := run(Options{Selects: func(r *Result) bool { return strings.HasSuffix(r.Case(), "/bad") }}); !slices.Equal(got, []string{"bad"}) {
		t.Errorf("%q", got)
	}
}

func TestRefused(t *testing.T) {
	bpftest.NeedsBPF(t)
	file := progs(t)
	empty := filepath.Join(t.TempDir(), "empty.o")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		o    Options
		want string
	}{
		{Options{}, "no object is given"},
		{Options{Objects: []string{"/no/such.o"}}, "/no/such.o"},
		{Options{Objects: []string{empty}}, "empty.o: "},
		{Options{Objects: []string{file}, Programs: []string{"god"}}, "program: no program of the objects is called god: did you mean good?"},
		{Options{Objects: []string{file}, Sections: map[string]string{"x": "xdp"}}, "section: no program of the objects is called x"},
		{Options{Objects: []string{file}, Targets: map[string]string{"x": "a:b"}}, "target: no program of the objects is called x"},
		{Options{Objects: []string{file}, Limits: []Limit{{"x", "insns", 1}}}, "limit: no program of the objects is called x"},
	} {
		if _, err := Run(tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
	// What is wrong with a target is said of the program.
	for target, want := range map[string]string{
		"policy":             "want OBJECT:PROGRAM or OBJECT:PROGRAM:FUNCTION",
		"/no/such.o:main":    "its target /no/such.o:main: /no/such.o: no such file",
		file + ":other":      "the object has no program other",
		file + ":good:other": "",
	} {
		report, err := Run(Options{Objects: []string{file}, Programs: []string{"replacement"}, Targets: map[string]string{"replacement": target}})
		if err != nil {
			t.Errorf("%s: %v", target, err)
		} else if r := &report.Results[0]; r.Verdict == Loaded || !strings.Contains(r.Reason, want) {
			t.Errorf("%s: %s: %s, want %q", target, r.Verdict, r.Reason, want)
		}
	}
	for target, want := range map[string]string{
		"tcp_congestion_ops":   "want TYPE.MEMBER",
		"no_such_ops.function": "the object has no struct no_such_ops",
	} {
		report, err := Run(Options{Objects: []string{file}, Programs: []string{"ops"}, Targets: map[string]string{"ops": target}})
		if err != nil {
			t.Errorf("%s: %v", target, err)
		} else if r := &report.Results[0]; r.Verdict != Failed || !strings.Contains(r.Reason, want) {
			t.Errorf("%s: %s: %s, want %q", target, r.Verdict, r.Reason, want)
		}
	}
}

// Who may not use BPF is told so, once.
func TestUnprivileged(t *testing.T) {
	bpftest.NeedsBPF(t)
	err := kerneltest.AsUser(t, mayUseBPF)
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "this process may not use BPF") {
		t.Errorf("%v", err)
	}
}

// A helper that is newer than the kernel is none of the program's faults, and one that the
// kernel does not know, or keeps from the program's type, is.
func TestLackingHelper(t *testing.T) {
	for _, tc := range []struct {
		log     string
		version version
		want    string
	}{
		{"5: (85) call bpf_loop#181\ninvalid func bpf_loop#181\nprocessed 5 insns", version{5, 10}, "Linux 5.17 is the first with the helper bpf_loop, and this is 5.10"},
		{"invalid func unknown#181", version{5, 10}, "Linux 5.17 is the first with the helper bpf_loop, and this is 5.10"},
		{"unknown func bpf_loop#181", version{6, 1}, ""},
		{"program of this type cannot use helper bpf_loop#181", version{6, 12}, ""},
		{"invalid func unknown#195896080", version{5, 10}, ""},
		{"R0 !read_ok", version{5, 10}, ""},
		{"", version{5, 10}, ""},
	} {
		r := runner{version: tc.version}
		if got := r.lackingHelper(strings.Split(tc.log, "\n")); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.log, got, tc.want)
		}
	}
}

// A kernel without callbacks counts other functions than there are.
func TestLackingCallbacks(t *testing.T) {
	const said = "number of funcs in func_info doesn't match number of subprogs"
	for _, tc := range []struct {
		log       string
		callbacks bool
		version   version
		want      bool
	}{
		{said, true, version{5, 10}, true},
		{said, false, version{5, 10}, false},
		{said, true, version{5, 13}, false},
		{"R0 !read_ok", true, version{5, 10}, false},
	} {
		r := runner{version: tc.version, callbacks: tc.callbacks}
		if got := r.lackingCallbacks([]string{tc.log}); (got != "") != tc.want {
			t.Errorf("%+v: %q", tc, got)
		}
	}
}

func TestReason(t *testing.T) {
	err := errors.New("load edge: program xdp_main, SEC(\"xdp\"): load program: the kernel refuses it\n\tat once")
	if got := reason(err); got != "the kernel refuses it; at once" {
		t.Errorf("%q", got)
	}
}
