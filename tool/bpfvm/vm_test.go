//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/tool/internal/cpio"
)

// fakeMachine returns a machine with a QEMU that is a shell script, in which $accel
// is how it was told to run.
func fakeMachine(t *testing.T, script string) (m *machine, stderr *bytes.Buffer) {
	t.Helper()
	t.Setenv("TEST_UNDECLARED_OUTPUTS_DIR", t.TempDir())
	dir := t.TempDir()
	path := filepath.Join(dir, "qemu")
	head := "#!/bin/sh\nwhile [ \"$1\" != -accel ]; do shift; done\naccel=$2\n"
	if err := os.WriteFile(path, []byte(head+script), 0o755); err != nil {
		t.Fatal(err)
	}
	initrd, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { initrd.Close() })
	stderr = &bytes.Buffer{}
	return &machine{
		name:         "6.1",
		cpu:          cpus[0],
		qemu:         path,
		accelerators: []string{kvm, tcg},
		initrd:       initrd,
		stdout:       &bytes.Buffer{},
		stderr:       stderr,
	}, stderr
}

// started and exited are what the guest sends.
const (
	started = `printf '\267s\0\0\0\0' >&3; `
	exited  = `printf '\267z\0\0\0\0011' >&3; `
)

// Where KVM does not run the kernel, QEMU emulates the CPU, and people hear of it.
func TestNoKVM(t *testing.T) {
	for name, script := range map[string]string{
		"refuses": "[ $accel = kvm ] && echo no access to the device >&2 && exit 1\n" + started + exited,
		"ends":    "[ $accel = kvm ] && exit 0\n" + started + exited,
		// Without the guest's first word.
		"hangs": "[ $accel = kvm ] && exec sleep 60\n" + started + exited,
	} {
		t.Run(name, func(t *testing.T) {
			m, stderr := fakeMachine(t, script)
			status, err := m.run()
			if status != 1 || err != nil {
				t.Errorf("status %d, want 1: %v", status, err)
			}
			got := stderr.String()
			if !strings.Contains(got, "with kvm: kernel 6.1: the kernel did not start") || !strings.Contains(got, "trying tcg instead") {
				t.Errorf("says %q", got)
			}
			if name == "refuses" && !strings.Contains(got, "no access to the device") {
				t.Errorf("says %q, and not what QEMU said", got)
			}
		})
	}
}

// A kernel that ran in KVM is not tried again.
func TestFailsInKVM(t *testing.T) {
	m, stderr := fakeMachine(t, started+"echo oops >&4\n")
	if _, err := m.run(); err == nil || !strings.Contains(err.Error(), "the kernel ended before the test did") || !strings.Contains(err.Error(), "oops") {
		t.Error(err)
	}
	if stderr.Len() > 0 {
		t.Errorf("says %q", stderr)
	}
}

// Where a kernel that panics says so on all ports, that is its end.
func TestPanicsOnPort(t *testing.T) {
	const script = started + "echo '[ 1.0 ] Kernel panic' >&3; echo Kernel panic >&4\n"
	m, _ := fakeMachine(t, script)
	if _, err := m.run(); err == nil || !strings.Contains(err.Error(), "the serial port of the test has something else on it") {
		t.Error(err)
	}
	m, _ = fakeMachine(t, script)
	m.cpu = cpuNamed(t, "s390x")
	if _, err := m.run(); err == nil || !strings.Contains(err.Error(), "the kernel ended before the test did") || !strings.Contains(err.Error(), "Kernel panic") {
		t.Error(err)
	}
}

// What the kernel had to say is shown when the test failed, and then only.
func TestConsole(t *testing.T) {
	m, stderr := fakeMachine(t, started+"echo Out of memory: killed >&4\n"+exited)
	if status, err := m.run(); status != 1 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	if got := stderr.String(); !strings.Contains(got, "status 1") || !strings.Contains(got, "Out of memory: killed") {
		t.Errorf("says %q", got)
	}
	m, stderr = fakeMachine(t, started+"echo noise >&4\n"+strings.ReplaceAll(exited, "0011", "0010"))
	if status, err := m.run(); status != 0 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	if stderr.Len() > 0 {
		t.Errorf("says %q of a test that passes", stderr)
	}
}

// Links become what they lead to, as far as that is somewhere and has an end.
func TestTree(t *testing.T) {
	dir := t.TempDir()
	for _, directory := range []string{"data/a b", "elsewhere"} {
		if err := os.MkdirAll(filepath.Join(dir, directory), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"data/a b/c d", "elsewhere/file"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("text"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"data/directory": "../elsewhere",
		"data/link":      "../elsewhere/file",
		"data/nowhere":   "no/such/file",
		"data/a b/loop":  "..",
		"elsewhere/up":   "../data",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	a := archive{w: cpio.NewWriter(&out), written: map[string]bool{}, first: map[fileID]string{}, open: map[fileID]string{}}
	if err := a.tree("/d", filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"d/a b/c d", "d/directory/file", "d/link", "no/such/file", "d/a b/loop", "d/directory/up"} {
		if !bytes.Contains(out.Bytes(), []byte(want)) {
			t.Errorf("has no %s", want)
		}
	}
	if n := bytes.Count(out.Bytes(), []byte("text")); n != 2 {
		t.Errorf("has the files' content %d times, want 2", n)
	}
}
