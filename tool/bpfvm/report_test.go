package main

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/tool/internal/verify"
)

// writeReport writes the report of one program in a kernel.
func writeReport(t *testing.T, file, kernel string, insns uint64) {
	t.Helper()
	report := verify.Report{Version: verify.Version, Results: []verify.Result{{Object: "a.bpf.o", Program: "run", Kernel: kernel, CPU: "x86_64", Verdict: verify.Loaded, Insns: insns}}}
	data, err := report.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if filepath.Base(file) != outputsZip {
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(verify.JSONFile)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReport(t *testing.T) {
	t.Chdir(t.TempDir())
	writeReport(t, "old.json", "6.1", 100)
	writeReport(t, "new.json", "6.1", 104)
	writeReport(t, "logs/a_6_1/test.outputs/verifier.json", "6.1", 100)
	writeReport(t, "logs/a_7_2/test.outputs/outputs.zip", "7.2", 90)
	if err := os.Symlink("logs", "bazel-testlogs"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("empty", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		command string
		status  int
		out     string
		err     string
	}{
		{"report old.json old.json", 0, "", ""},
		{"report old.json new.json", 1, "PROGRAM       KERNEL        WHAT   OLD  NEW  CHANGE\na.bpf.o: run  6.1 (x86_64)  insns  100  104  +4.0 % heavier\n", ""},
		{"report new.json old.json", 0, "PROGRAM       KERNEL        WHAT   OLD  NEW  CHANGE\na.bpf.o: run  6.1 (x86_64)  insns  104  100  -3.8 %\n", ""},
		{"report -by 5 old.json new.json", 0, "", ""},
		{"report old.json bazel-testlogs", 0, "PROGRAM       KERNEL        WHAT     OLD  NEW     CHANGE\na.bpf.o: run  7.2 (x86_64)  program  -    loaded  added\n", ""},
		{"report old.json", 2, "", "1 reports given, want 2"},
		{"report -by -1 old.json new.json", 2, "", "not negative"},
		{"report old.json none.json", 2, "", "none.json: no such file or directory"},
		{"report old.json empty", 2, "", "empty: no verifier.json is in the directory: run the bpf_verifier_test before"},
		{"report -x", 2, "", "flag provided but not defined: -x"},
		{"merge", 2, "", "no report given"},
		{"merge old.json new.json", 2, "", "two of the reports have it in kernel 6.1 (x86_64)"},
		{"merge -json all.json -html all.html -md all.md bazel-testlogs", 0, "", ""},
		{"report all.json bazel-testlogs", 0, "", ""},
	} {
		args := strings.Fields(tt.command)
		var out bytes.Buffer
		status, err := subcommands[args[0]](args[1:], &out)
		if status != tt.status || out.String() != tt.out || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: status %d, %v\n%s", tt.command, status, err, &out)
		}
	}
	page, err := os.ReadFile("all.html")
	if err != nil || !bytes.Contains(page, []byte("7.2")) {
		t.Errorf("%v: %s", err, page)
	}
	if table, err := os.ReadFile("all.md"); err != nil || !bytes.HasPrefix(table, []byte("| program | 6.1 | 7.2 |\n")) {
		t.Errorf("%v: %s", err, table)
	}
	for name, run := range subcommands {
		var out bytes.Buffer
		if status, err := run([]string{"-h"}, &out); status != 0 || err != nil || !strings.HasPrefix(out.String(), "usage: bpfvm "+name) {
			t.Errorf("%s: status %d, %v, %s", name, status, err, &out)
		}
	}
	var out bytes.Buffer
	if status, err := subcommands["merge"]([]string{"bazel-testlogs"}, &out); status != 0 || err != nil || strings.Count(out.String(), "kernel ") != 2 {
		t.Errorf("status %d, %v, %s", status, err, &out)
	}
	// `bazel run` changes the directory.
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BUILD_WORKING_DIRECTORY", dir)
	t.Chdir(t.TempDir())
	if status, err := subcommands["report"]([]string{"old.json", "old.json"}, &out); status != 0 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
}
