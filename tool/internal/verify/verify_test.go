package verify

import (
	"encoding/xml"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/goldens"
)

// The figures are at the end of a log, in the forms of old and new kernels.
func TestStats(t *testing.T) {
	for _, tc := range []struct {
		log  string
		want Result
	}{
		{
			"verification time 123 usec\nstack depth 32+0+16\nprocessed 1234 insns (limit 1000000) max_states_per_insn 4 total_states 96 peak_states 90 mark_read 15\n",
			Result{NS: 123000, Stack: 48, Insns: 1234, InsnsLimit: 1000000, MaxStatesPerInsn: 4, States: 96, PeakStates: 90},
		},
		// Debian's 5.10 says it before the figures, and newer ones more behind.
		{"stack depth 8 max 16\nprocessed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0 max_x 3", Result{Stack: 8, Insns: 2, InsnsLimit: 1000000}},
		{"stack depth x\nverification time many usec\nprocessed nothing", Result{}},
		{"", Result{}},
	} {
		var got Result
		got.setStats(lines(tc.log))
		if key := func(r Result) [7]uint64 {
			return [7]uint64{r.NS, r.Stack, r.Insns, r.InsnsLimit, r.MaxStatesPerInsn, r.States, r.PeakStates}
		}; key(got) != key(tc.want) {
			t.Errorf("%q: %+v, want %+v", tc.log, got, tc.want)
		}
	}
}

// A log that is kept in part says so.
func TestLogEnd(t *testing.T) {
	var r Result
	r.setLog(make([]string, logEnd+5))
	if len(r.Log) != logEnd+1 || r.Log[0] != "(5 lines before)" {
		t.Errorf("%d lines, %q", len(r.Log), r.Log[0])
	}
}

func TestParseLimit(t *testing.T) {
	limits, err := ParseLimit("edge.bpf.o/xdp_*=insns=200000,stack=400")
	if want := []Limit{{"edge.bpf.o/xdp_*", "insns", 200000}, {"edge.bpf.o/xdp_*", "stack", 400}}; err != nil || !slices.Equal(limits, want) {
		t.Errorf("%v, %v", limits, err)
	}
	for text, want := range map[string]string{
		"xdp_main":             "want PROGRAM=FIGURE=NUMBER",
		"xdp_main=insns":       "limit insns of program xdp_main: want FIGURE=NUMBER",
		"xdp_main=insn=1":      "there is no figure insn: insns?",
		"xdp_main=pizza=1":     "there is no figure pizza: one of insns, states",
		"xdp_main=insns=1k":    "1k is not a number: give one, without a unit",
		"xdp_main=insns=-1":    "is not a number",
		"xdp_[=insns=1":        "is not a pattern",
		"=insns=1":             "want PROGRAM=FIGURE=NUMBER",
		"xdp_main=insns=1e400": "is not a number",
	} {
		if _, err := ParseLimit(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestParseException(t *testing.T) {
	if e, err := ParseException("xdp_main: needs 5.17"); err != nil || e != (Exception{"xdp_main", "needs 5.17"}) {
		t.Errorf("%v, %v", e, err)
	}
	for _, text := range []string{"xdp_main", "xdp_main: ", ": because", "[: x"} {
		if _, err := ParseException(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestMatches(t *testing.T) {
	for pattern, want := range map[string]bool{
		"xdp_main":                 true,
		"xdp_*":                    true,
		"*":                        true,
		"edge.bpf.o/xdp_main":      true,
		"net/edge.bpf.o/xdp_main":  true,
		"/net/edge.bpf.o/xdp_main": false,
		"dge.bpf.o/xdp_main":       false,
		"*/xdp_main":               true,
		"xdp":                      false,
		"core.bpf.o/xdp_main":      false,
		"a/b/net/edge.bpf.o/x*":    false,
	} {
		if got := matches(pattern, "net/edge.bpf.o", "xdp_main"); got != want {
			t.Errorf("%s: %t", pattern, got)
		}
	}
}

// What a limit, or what may fail, is for must be there, and what is not needed is said.
func TestApply(t *testing.T) {
	report := func() *Report {
		return &Report{Results: []Result{
			{Object: "edge.bpf.o", Program: "main", Verdict: Loaded, Insns: 100, Stack: 48},
			{Object: "edge.bpf.o", Program: "other", Verdict: Rejected, Reason: "R0 !read_ok"},
			{Object: "edge.bpf.o", Program: "old", Verdict: NotApplicable, Reason: "no helper"},
		}}
	}
	o := Options{
		Kernel:   "6.1",
		Limits:   []Limit{{"*", "insns", 9}, {"main", "insns", 200}, {"edge.bpf.o/main", "insns", 99}, {"*", "insns", 1000}, {"main", "stack", 48}},
		MayFail:  []Exception{{"other", "is being mended"}, {"main", "is large"}, {"old", "is old"}},
		programs: named{{"edge.bpf.o", "main"}, {"edge.bpf.o", "other"}, {"edge.bpf.o", "old"}},
	}
	r := report()
	if err := o.apply(r); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.Results[0].Over, ", "); got != "insns is 100, and the limit 99" {
		t.Errorf("over: %q", got)
	}
	if problems := r.Problems(); problems != nil {
		t.Errorf("all may fail: %q", problems)
	}
	if want := []string{"program old may fail in kernel 6.1 (is old), and does not: take it out of what may fail"}; !slices.Equal(r.Notes, want) {
		t.Errorf("%q, want %q", r.Notes, want)
	}

	o.MayFail = nil
	r = report()
	r.Results[0].Kernel, r.Results[0].CPU = "6.1", "x86_64"
	if err := o.apply(r); err != nil {
		t.Fatal(err)
	}
	problems := r.Problems()
	if len(problems) != 2 || problems[0] != "edge.bpf.o: main: insns is 100, and the limit 99 in kernel 6.1 (x86_64): make the program lighter, or raise the limit" || !strings.Contains(problems[1], "other: rejected in kernel") {
		t.Errorf("%q", problems)
	}

	o.Limits = []Limit{{"mian", "insns", 1}}
	if err := o.apply(report()); err == nil || err.Error() != "limit: no program of the objects is called mian: did you mean main?" {
		t.Errorf("%v", err)
	}
	o.Limits, o.MayFail = nil, []Exception{{"nothing", "x"}}
	if err := o.apply(report()); err == nil || !strings.Contains(err.Error(), "may fail: no program of the objects is called nothing: the programs are main, old, other") {
		t.Errorf("%v", err)
	}
}

// sample is a report of two kernels, in no order.
func sample() []*Report {
	log := []string{"0: (71) r0 = *(u8 *)(r1 +7)", "R1 offset is outside of the <packet>", "processed 8 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0"}
	one := &Report{Version: Version, Notes: []string{"edge.bpf.o: map flows: is made for 65536 elements in place of 1048576"}, Results: []Result{
		{
			Object: "edge.bpf.o", Program: "xdp_main", Section: "xdp", Kernel: "6.12", Release: "6.12.107+deb13-cloud-amd64", CPU: "x86_64",
			Verdict: Loaded, Insns: 250000, InsnsLimit: 1000000, States: 9000, PeakStates: 8000, MaxStatesPerInsn: 40, Stack: 96, Jited: 4096, NS: 81234000, Memory: 5 << 20,
			Limits: map[string]uint64{"insns": 200000, "stack": 400}, Over: []string{"insns is 250000, and the limit 200000"}, Log: []string{},
		},
		{
			Object: "edge.bpf.o", Program: "on_exec", Section: `tp/<&">`, Kernel: "6.12", Release: "6.12.107+deb13-cloud-amd64", CPU: "x86_64", Preset: "small",
			Verdict: Loaded, Insns: 12, InsnsLimit: 1000000, Stack: 8, Jited: 90, NS: 40000, Memory: 512, Log: []string{},
		},
	}}
	two := &Report{Version: Version, Results: []Result{
		{
			Object: "edge.bpf.o", Program: "xdp_main", Section: "xdp", Kernel: "5.10", Release: "5.10.0-35-cloud-amd64", CPU: "x86_64",
			Verdict: Rejected, Reason: "R1 offset is outside of the <packet>", Source: "./edge.bpf.c:13: return packet[7];", Insns: 8, InsnsLimit: 1000000, States: 1, PeakStates: 1, Log: log,
		},
		{
			Object: "edge.bpf.o", Program: "on_exec", Section: `tp/<&">`, Kernel: "5.10", Release: "5.10.0-35-cloud-amd64", CPU: "x86_64", Preset: "small",
			Verdict: NotApplicable, Reason: "Linux 5.17 is the first with the helper bpf_loop, and this is 5.10", Log: []string{},
		},
		{
			Object: "core.bpf.o", Program: "policy", Section: "freplace", Kernel: "5.10", Release: "5.10.0-35-cloud-amd64", CPU: "x86_64",
			Verdict: Rejected, Reason: "R0 !read_ok", MayFail: "is <being> mended", Log: []string{},
		},
	}}
	return []*Report{one, two}
}

// Reports are the same whatever order kernels come in, but for the objects' own.
func TestGolden(t *testing.T) {
	merged, err := Merge(sample()...)
	if err != nil {
		t.Fatal(err)
	}
	page := Page(merged)
	cases, err := merged.JUnit()
	if err != nil {
		t.Fatal(err)
	}
	data, err := merged.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"report.txt": merged.Text(), "report.html": page, "report.xml": cases, "report.json": data, "report.md": merged.Markdown()} {
		goldens.Check(t, filepath.Join("testdata", name), data)
	}
	again, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := again.JSON(); err != nil || string(second) != string(data) {
		t.Errorf("read and written again, it is another: %v\n%s", err, second)
	}
	if err := xml.Unmarshal(cases, new(struct {
		XMLName xml.Name `xml:"testsuites"`
	})); err != nil {
		t.Error(err)
	}
	// Nothing of a file, a program or a log is markup, and nothing is fetched.
	for _, bad := range []string{"<packet>", "<being>", `tp/<&`, "http:", "https:", "src="} {
		if strings.Contains(string(page), bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

// What cannot be printed gets to no terminal.
func TestHostileNames(t *testing.T) {
	const bad = "a\x1b[31m\u202e\nb"
	r := &Report{Results: []Result{{Object: bad, Program: bad, Section: bad, Preset: bad, Kernel: bad, Release: bad, CPU: bad, Verdict: Rejected, Reason: bad, Source: bad, Over: []string{bad}, Log: []string{bad}}}, Notes: []string{bad}}
	texts := append(r.Problems(), strings.Split(string(r.Text()), "\n")...)
	for _, text := range append(texts, strings.Split(string(Compare(r, &Report{}, 0).Text()), "\n")...) {
		if strings.ContainsAny(text, "\x1b\u202e\n") {
			t.Errorf("%q", text)
		}
	}
	cases, err := r.JUnit()
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(cases, new(struct{})); err != nil {
		t.Error(err)
	}
}

func TestMergeTwice(t *testing.T) {
	if _, err := Merge(sample()[0], sample()[0]); err == nil || !strings.Contains(err.Error(), "edge.bpf.o: xdp_main: two of the reports have it in kernel 6.12 (x86_64)") {
		t.Errorf("%v", err)
	}
}

func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		"{":              "want a report of the verifier in JSON",
		"[]":             "want a report of the verifier in JSON",
		"{}":             "it has no version",
		`{"version":99}`: "has version 99 of a report's form, and this program knows 1: use a newer one",
		`{"version":1,"results":[{"program":"a","kernel":"6.1","cpu":"arm64","verdict":"loaded"}]}`:                                   "result 0: has no object",
		`{"version":1,"results":[{"object":"o","program":"a","kernel":"6.1","verdict":"loaded"}]}`:                                    "result 0: has no cpu",
		`{"version":1,"results":[{"object":"o","program":"a","kernel":"6.1","cpu":"arm64","verdict":"pizza"}]}`:                       "verdict pizza is unknown to this program",
		`{"version":1,"results":[{"object":"o","program":"a","kernel":"6.1","cpu":"arm64"}]}`:                                         `verdict "" is unknown`,
		`{"version":1,"results":[{"object":"o","program":"a","kernel":"6.1","cpu":"arm64","verdict":"loaded","limits":{"pizza":1}}]}`: "pizza cannot be limited by this program",
	} {
		if _, err := Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestKernelOrder(t *testing.T) {
	r := Report{}
	for _, k := range []kernel{{"6.12", "x86_64"}, {"7.2", "arm64"}, {"5.10", "x86_64"}, {"7.2", "x86_64"}, {"mine", "x86_64"}, {"6.1", "x86_64"}} {
		r.Results = append(r.Results, Result{Kernel: k.name, CPU: k.cpu})
	}
	var got []string
	for _, k := range r.kernels() {
		got = append(got, k.name+" "+k.cpu)
	}
	if want := "5.10 x86_64, 6.1 x86_64, 6.12 x86_64, 7.2 x86_64, 7.2 arm64, mine x86_64"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
}

func TestCompare(t *testing.T) {
	result := func(program string, verdict Verdict, insns uint64) Result {
		return Result{Object: "a.bpf.o", Program: program, Kernel: "6.1", CPU: "x86_64", Verdict: verdict, Insns: insns, NS: insns * 100}
	}
	old := &Report{Results: []Result{result("same", Loaded, 100), result("more", Loaded, 100), result("less", Loaded, 100), result("gone", Loaded, 1), result("broken", Loaded, 1), result("mended", Rejected, 1)}}
	latest := &Report{Results: []Result{result("same", Loaded, 100), result("more", Loaded, 104), result("less", Loaded, 90), result("broken", Rejected, 1), result("mended", Loaded, 7), result("new", Loaded, 5)}}
	c := Compare(old, latest, 0)
	goldens.Check(t, filepath.Join("testdata", "compare.txt"), c.Text())
	if !c.Heavier() {
		t.Error("nothing is heavier")
	}
	for _, tc := range []struct {
		tolerance float64
		heavier   int
	}{{0, 2}, {4, 1}} {
		n := 0
		for _, d := range Compare(old, latest, tc.tolerance).Changes {
			if d.Heavier {
				n++
			}
		}
		if n != tc.heavier {
			t.Errorf("%v %%: %d are heavier, want %d", tc.tolerance, n, tc.heavier)
		}
	}
	if c := Compare(old, old, 0); c.Heavier() || c.Text() != nil {
		t.Errorf("a report and itself: %s", c.Text())
	}
}

// A report without results has an empty list.
func TestNoResults(t *testing.T) {
	data, err := (&Report{Version: Version}).JSON()
	if err != nil || !strings.Contains(string(data), `"results": []`) {
		t.Errorf("%s, %v", data, err)
	}
}

// What no kernel has looked at may be misspelt. It is not noted of one that one kernel has, and
// not from a report that has fewer kernels.
func TestNowhere(t *testing.T) {
	report := func(kernel string, verdicts ...Verdict) *Report {
		r := &Report{Version: Version}
		for i, v := range verdicts {
			r.Results = append(r.Results, Result{Object: "a.bpf.o", Program: string(rune('a' + i)), Kernel: kernel, CPU: "x86_64", Verdict: v})
		}
		return r
	}
	old, err := Merge(report("5.10", NotApplicable, NotApplicable, Loaded))
	if err != nil || len(old.Notes) != 2 {
		t.Fatalf("%q, %v", old.Notes, err)
	}
	all, err := Merge(old, report("6.12", NotApplicable, Rejected, Loaded))
	if err != nil || len(all.Notes) != 1 || !strings.HasPrefix(all.Notes[0], "a.bpf.o: a: applies to none of the kernels: ") {
		t.Errorf("%q, %v", all.Notes, err)
	}
}
