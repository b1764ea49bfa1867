package verify

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
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

// want is how a result begins.
type want struct {
	verdict Verdict
	reason  string
}

func TestRun(t *testing.T) {
	bpftest.NeedsBPF(t)
	file := progs(t)
	report, err := Run(Options{Objects: []string{file}, MaxEntries: 16, Kernel: "mine", Sections: map[string]string{"own": "xdp"}, Limits: []Limit{{"good", "insns", 1}}})
	if err != nil {
		t.Fatal(err)
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
	preset := func(name, text string) *Preset {
		p, err := ParsePreset(name, "p.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if got := run(Options{Programs: []string{"g*d", "bad"}}); !slices.Equal(got, []string{"good", "bad"}) {
		t.Errorf("%q", got)
	}
	if got := run(Options{Presets: []*Preset{preset("p", `{"programs": ["good"]}`), preset("q", "{}")}, Programs: []string{"good", "bad"}}); !slices.Equal(got, []string{"good [p]", "good [q]", "bad [q]"}) {
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
	// Of a target that is none for the program, and of one that the kernel lacks.
	for program, want := range map[string]want{
		"good":        {Failed, "target " + file + ":good: set target of program good: programs of type XDP have no target at load"},
		"replacement": {NotApplicable, "its target " + file + ":nowhere: "},
	} {
		target := file + map[string]string{"good": ":good", "replacement": ":nowhere"}[program]
		report, err := Run(Options{Objects: []string{file}, Programs: []string{program}, MaxEntries: 16, Targets: map[string]string{program: target}})
		if err != nil {
			t.Errorf("%s: %v", target, err)
		} else if r := &report.Results[0]; r.Verdict != want.verdict || !strings.Contains(r.Reason, want.reason) {
			t.Errorf("%s: %s: %s, want %s: %q", target, r.Verdict, r.Reason, want.verdict, want.reason)
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

// A map that the kernel lacks has to do with the programs that use it, and not with others.
func TestMapsOfProgram(t *testing.T) {
	bpftest.NeedsBPF(t)
	file := write(t, &File{
		Programs: []Program{{Name: "good", Section: "xdp", Refs: []string{"flows"}}, {Name: "bad", Section: "xdp"}, {Name: "lacking", Section: "xdp", Refs: []string{"future"}}},
		Vars:     []Var{{Section: ".maps", Name: "flows", Type: Map(1, 16, U32, U64)}, {Section: ".maps", Name: "future", Type: Map(1, 16, U32, U64)}},
	}, func(img *image.Object) {
		img.Maps[1].Type = 9999
		for _, f := range img.Functions {
			if f.Name == "bad" {
				img.Code[8*f.First+1] = map[bool]byte{false: 0x02, true: 0x20}[isBigEndian]
			}
		}
	})
	report, err := Run(Options{Objects: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Verdict{Loaded, Rejected} {
		if r := &report.Results[i]; r.Verdict != want {
			t.Errorf("%s: %s: %s, want %s", r.Program, r.Verdict, r.Reason, want)
		}
	}
	if r := &report.Results[2]; r.Verdict == Loaded || !strings.Contains(r.Reason, "future") {
		t.Errorf("%s: %s: %s", r.Program, r.Verdict, r.Reason)
	}
}

func TestNeeds(t *testing.T) {
	img := &image.Object{
		Functions: []image.Function{
			{Name: "main", First: 0, Count: 4, ExceptionCallback: image.NoIndex}, {Name: "callee", First: 4, Count: 4, ExceptionCallback: 3},
			{Name: "callback", First: 8, Count: 4, ExceptionCallback: image.NoIndex}, {Name: "thrown", First: 12, Count: 4, ExceptionCallback: image.NoIndex},
			{Name: "other", First: 16, Count: 4, ExceptionCallback: image.NoIndex},
		},
		Maps:  make([]image.Map, 7),
		Arena: image.Arena{Map: 5},
		Relocations: image.NewTable([]image.Relocation{
			{Instruction: 0, Kind: image.Call, Target: 1}, {Instruction: 1, Kind: image.MapFD, Target: 0},
			{Instruction: 4, Kind: image.FuncAddress, Target: 2}, {Instruction: 6, Kind: image.Call, Target: 0},
			{Instruction: 8, Kind: image.MapValue, Target: 2}, {Instruction: 12, Kind: image.MapFD, Target: 3},
			{Instruction: 16, Kind: image.MapFD, Target: 4}, {Instruction: 18, Kind: image.ArenaValue},
		}),
	}
	img.Maps[6].Metadata = true
	for function, want := range map[uint32]needs{
		0: {[]bool{true, false, true, true, false, false, true}, true},
		2: {[]bool{false, false, true, false, false, false, true}, false},
		4: {[]bool{false, false, false, false, true, true, true}, false},
	} {
		if got := needsOf(img, function); got.callbacks != want.callbacks || !slices.Equal(got.maps, want.maps) {
			t.Errorf("%d: %v, want %v", function, got, want)
		}
	}
}

func TestJudge(t *testing.T) {
	rejected := func(cause error, log ...string) error {
		return &skeleton.VerifierError{Hint: "the kernel has no BPF JIT compiler", Err: &ebpf.VerifierError{Cause: cause, Log: log}}
	}
	none := ebpf.ErrNotSupported
	for _, tc := range []struct {
		err     error
		section string
		want    want
	}{
		{fmt.Errorf("load it: %w", unix.ENOMEM), "xdp", want{Failed, "cannot allocate memory"}},
		// Of a kernel without a compiler.
		{fmt.Errorf("no trampoline: %w: %w", unix.ENOMEM, none), "fentry/x", want{NotApplicable, "no trampoline"}},
		{rejected(fmt.Errorf("%w: %w", unix.EINVAL, none), "JIT is required for calling kernel function"), "xdp", want{NotApplicable, "JIT is required for calling kernel function: the kernel has no BPF JIT compiler"}},
		{rejected(unix.EINVAL, "R0 !read_ok", "verification time 7 usec"), "xdp", want{Rejected, "R0 !read_ok"}},
		// Of one that is older than the section.
		{unix.EINVAL, "xdp.frags", want{NotApplicable, `Linux 5.18 is the first with programs of SEC("xdp.frags"), and this is 5.10`}},
		{rejected(unix.EINVAL, "Only fentry/fexit/fmod_ret and lsm programs can be sleepable"), "uprobe.s/x", want{NotApplicable, "Linux 6.0 is the first with programs of SEC(\"uprobe.s\")"}},
		{errSetting{unix.EINVAL}, "xdp.frags", want{Failed, "invalid argument"}},
		{errLacks{fmt.Errorf("its target x: %w", unix.ENOENT)}, "freplace", want{NotApplicable, "its target x"}},
	} {
		r, result := runner{version: version{5, 10}, typ: ebpf.XDP}, Result{Section: tc.section}
		if r.judge(&result, tc.err); result.Verdict != tc.want.verdict || !strings.HasPrefix(result.Reason, tc.want.reason) {
			t.Errorf("%v: %s: %q, want %s: %q", tc.err, result.Verdict, result.Reason, tc.want.verdict, tc.want.reason)
		}
	}
}

// A program of many instructions is not loaded again for its log, which would be as long.
func TestMostLogged(t *testing.T) {
	bpftest.NeedsBPF(t)
	file := write(t, &File{
		Programs: []Program{{Name: "long", Section: "xdp", Refs: []string{"flows", "flows"}}},
		Vars:     []Var{{Section: ".maps", Name: "flows", Type: Map(1, 16, U32, U64)}},
	}, func(img *image.Object) {
		img.Relocations = image.NewTable[image.Relocation](nil)
		var code []byte
		for _, insn := range []asm.Instruction{
			asm.Mov.Imm(asm.R1, 0), asm.Add.Imm(asm.R1, 1), asm.JLT.Imm(asm.R1, 2*mostLogged/3, "again"), asm.Mov.Reg(asm.R0, asm.R2), asm.Mov.Reg(asm.R0, asm.R2), asm.Return(),
		} {
			if insn.OpCode.Class().IsJump() && insn.Reference() != "" {
				insn = asm.JLT.Imm(asm.R1, 2*mostLogged/3, "")
				insn.Offset = -2
			}
			var b bytes.Buffer
			if _, err := insn.Marshal(&b, order); err != nil {
				t.Fatal(err)
			}
			code = append(code, b.Bytes()...)
		}
		copy(img.Code, code)
	})
	report, err := Run(Options{Objects: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	r := &report.Results[0]
	if parseVersion(r.Release).before(version{5, 3}) {
		t.Skip("the kernel has no loops (5.3)")
	}
	if r.Verdict != Rejected || r.Insns <= mostLogged || len(r.Log) > 10 || !strings.Contains(r.Reason, "R2 !read_ok") {
		t.Errorf("%+v", r)
	}
}
