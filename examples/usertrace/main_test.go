package main

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// trace runs a program while run counts, and returns the sums of the columns CALLS
// and PROBES.
func trace(t *testing.T, opts options, name string, args ...string) (calls, probes int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bpftest.Buffer
	go func() {
		defer cancel()
		out.WaitFor(ctx, regexp.MustCompile("counting"))
		for range 3 {
			if err := exec.Command(name, args...).Run(); err != nil {
				t.Error(err)
			}
		}
	}()
	if err := run(ctx, &out, opts); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		// The name of a process may have blanks in it.
		f := strings.Fields(line)
		if len(f) < 5 || f[0] == "PID" {
			continue
		}
		n, err1 := strconv.Atoi(f[len(f)-3])
		m, err2 := strconv.Atoi(f[len(f)-2])
		if err1 != nil || err2 != nil {
			t.Errorf("not a row: %q", line)
		}
		calls, probes = calls+n, probes+m
	}
	return calls, probes
}

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs the program %s: %v", name, err)
	}
	return path
}

func TestFunction(t *testing.T) {
	bpftest.NeedsBPF(t)
	ls := program(t, "ls")
	calls, probes := trace(t, options{function: "libc.so.6:malloc"}, ls, "/")
	if calls == 0 || probes != 0 {
		t.Errorf("%d calls and %d probes, want calls only", calls, probes)
	}
}

// probed are programs that pass USDTs which some systems' packages have.
var probed = []struct {
	probe   string
	command []string
}{
	{"libc.so.6:libc:memory_sbrk_more", []string{"ls", "/"}},
	{"/usr/bin/python3:python:gc__start", []string{"/usr/bin/python3", "-c", "import gc; gc.collect()"}},
}

func TestStaticProbe(t *testing.T) {
	bpftest.NeedsBPF(t)
	tried := 0
	for _, p := range probed {
		path, err := exec.LookPath(p.command[0])
		if err != nil || !hasProbe(t, p.probe) {
			continue
		}
		tried++
		if calls, probes := trace(t, options{probe: p.probe}, path, p.command[1:]...); probes == 0 || calls != 0 {
			t.Errorf("%s: %d calls and %d probes, want probes only", p.probe, calls, probes)
		}
	}
	if tried == 0 {
		t.Skip("needs a C library or a Python with USDTs, and a program that passes one")
	}
}

// hasProbe reports whether the probe can be attached to.
func hasProbe(t *testing.T, probe string) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := run(ctx, new(bytes.Buffer), options{probe: probe})
	if err != nil {
		t.Log(err)
	}
	return err == nil
}

func TestErrors(t *testing.T) {
	bpftest.NeedsBPF(t)
	for want, opts := range map[string]options{
		"nothing to count":               {},
		"write path:symbol":              {function: "malloc"},
		"write path:provider:name":       {probe: "libc:setjmp"},
		`"no-such" is not in any of the`: {function: "no-such:main"},
	} {
		if err := run(t.Context(), new(bytes.Buffer), opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v does not contain %q", opts, err, want)
		}
	}
}
