package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/verify"
)

// runTest runs a test of this configuration as Bazel does.
func runTest(t *testing.T, c config, vars map[string]string) (out string, failed bool, err error) {
	t.Helper()
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(t.TempDir(), "x_test")
	if err := os.WriteFile(self+".json", data, 0o644); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	failed, err = run([]string{self}, func(name string) string { return vars[name] }, &b)
	if errors.Is(err, unix.EPERM) {
		t.Skipf("needs the right to use BPF: %v", err)
	}
	return b.String(), failed, err
}

// pair is an object with two programs, of which one names no target.
func pair(t *testing.T) string {
	t.Helper()
	file := objtest.File{License: "GPL", Programs: []objtest.Program{{Name: "pass", Section: "xdp"}, {Name: "hook", Section: "fexit"}}}
	path := filepath.Join(t.TempDir(), "pair.bpf.o")
	if err := os.WriteFile(path, file.Build(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun(t *testing.T) {
	object := pair(t)
	dir := t.TempDir()
	vars := map[string]string{"BPF_KERNEL": "7.2_arm64", "XML_OUTPUT_FILE": filepath.Join(dir, "test.xml"), "TEST_UNDECLARED_OUTPUTS_DIR": dir}
	c := config{Objects: []string{object}, Limits: map[string][]string{"pass": {"insns=1"}}, MayFail: map[string][]string{"7.2_arm64": {"hook: Go sets its target"}, "native": {"pass: too long"}}}
	out, failed, err := runTest(t, c, vars)
	if err != nil || !failed || !strings.Contains(out, "\nFAIL: "+object+": pass: insns is 2, and the limit 1 in kernel 7.2 (") {
		t.Errorf("%t, %v: %s", failed, err, out)
	}
	var suites struct {
		Cases []struct {
			Name    string    `xml:"name,attr"`
			Failure *struct{} `xml:"failure"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testsuite>testcase"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "test.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(data, &suites); err != nil || len(suites.Cases) != 2 || suites.Cases[0].Failure == nil || suites.Cases[1].Skipped == nil || suites.Cases[0].Name != object+"/pass" {
		t.Errorf("%v, %s", err, data)
	}
	report, err := verify.ReadFile(filepath.Join(dir, verify.JSONFile))
	if err != nil || len(report.Results) != 2 || report.Results[0].Kernel != "7.2" {
		t.Errorf("%v, %+v", err, report)
	}
	if page, err := os.ReadFile(filepath.Join(dir, verify.PageFile)); err != nil || !bytes.Contains(page, []byte("<title>")) {
		t.Errorf("%v, %s", err, page)
	}

	// In the machine's own kernel, others may fail.
	delete(vars, "BPF_KERNEL")
	if out, failed, err := runTest(t, c, vars); err != nil || !failed || !strings.Contains(out, "FAIL: "+object+": hook: failed in kernel") || strings.Contains(out, "FAIL: "+object+": pass") {
		t.Errorf("%t, %v: %s", failed, err, out)
	}
}

// One of several shards, and a filter, choose among the programs.
func TestChosen(t *testing.T) {
	c := config{Objects: []string{pair(t)}, Presets: []preset{{Name: "all", Text: "{}"}}}
	status := filepath.Join(t.TempDir(), "status")
	out, failed, err := runTest(t, c, map[string]string{"TEST_TOTAL_SHARDS": "2", "TEST_SHARD_INDEX": "0", "TEST_SHARD_STATUS_FILE": status})
	if err != nil || failed || !strings.Contains(out, "pass") || strings.Contains(out, "hook") {
		t.Errorf("%t, %v: %s", failed, err, out)
	}
	if _, err := os.Stat(status); err != nil {
		t.Error(err)
	}
	out, failed, err = runTest(t, c, map[string]string{"TESTBRIDGE_TEST_ONLY": "pair.bpf.o/hook/all$"})
	if err != nil || !failed || strings.Contains(out, "pass") {
		t.Errorf("%t, %v: %s", failed, err, out)
	}
	if out, failed, err := runTest(t, c, map[string]string{"TESTBRIDGE_TEST_ONLY": "nothing"}); err != nil || failed || out != "no programs to load\n" {
		t.Errorf("%t, %v: %s", failed, err, out)
	}
}

func TestMistakes(t *testing.T) {
	object := pair(t)
	for _, tt := range []struct {
		c    config
		vars map[string]string
		want string
	}{
		{config{Objects: []string{object}, Limits: map[string][]string{"pass": {"insns"}}}, nil, "limit insns of program pass: want FIGURE=NUMBER"},
		{config{Objects: []string{object}, MayFail: map[string][]string{"native": {"pass"}}}, nil, `want "PROGRAM: REASON"`},
		{config{Objects: []string{object}, Presets: []preset{{Name: "p", Text: "["}}}, nil, "preset p: "},
		{config{Objects: []string{object}, Presets: []preset{{Name: "p", File: "/none.json"}}}, nil, "/none.json: no such file or directory"},
		{config{Objects: []string{object}}, map[string]string{"TESTBRIDGE_TEST_ONLY": "["}, "--test_filter: "},
		{config{Objects: []string{object}}, map[string]string{"TEST_TOTAL_SHARDS": "2"}, "shard  of 2"},
	} {
		if out, _, err := runTest(t, tt.c, tt.vars); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q: %s", err, tt.want, out)
		}
	}
	if _, err := run([]string{"x", "-v"}, os.Getenv, os.Stdout); err == nil || err.Error() != "-v: takes no arguments" {
		t.Errorf("%v", err)
	}
	if _, err := run([]string{"/none"}, os.Getenv, os.Stdout); err == nil || !strings.Contains(err.Error(), "nothing to run by hand: use bpfgen verify") {
		t.Errorf("%v", err)
	}
}
