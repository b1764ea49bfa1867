//go:build linux

package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unpack makes empty files.
func unpack(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Of a kernel, what distributions put beside it is found.
func TestFindKernel(t *testing.T) {
	for _, tc := range []struct {
		files, image, config, modules, err string
	}{
		{
			files:   "boot/vmlinuz-6.1 boot/config-6.1 lib/modules/6.1/kernel/x.ko",
			image:   "boot/vmlinuz-6.1",
			config:  "boot/config-6.1",
			modules: "lib/modules/6.1",
		},
		{
			files:   "usr/lib/modules/7.2/vmlinuz usr/lib/modules/7.2/config usr/lib/modules/7.2/kernel/x.ko",
			image:   "usr/lib/modules/7.2/vmlinuz",
			config:  "usr/lib/modules/7.2/config",
			modules: "usr/lib/modules/7.2",
		},
		{files: "boot/vmlinux-6.12", image: "boot/vmlinux-6.12"},
		{files: "boot/vmlinuz-6.1 boot/vmlinux-6.1 boot/vmlinux-6.1.gz usr/lib/modules/6.1/vmlinux", image: "boot/vmlinuz-6.1", modules: "usr/lib/modules/6.1"},
		{files: "boot/vmlinuz-6.1 boot/vmlinuz-6.2", err: "more than one kernel"},
		{files: "README", err: "has no boot/vmlinuz-*"},
	} {
		dir := unpack(t, strings.Fields(tc.files)...)
		f, j := handFlags{kernel: dir}, job{}
		modules, err := f.findKernel(&j)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: %v", tc.files, err)
			}
			continue
		}
		rel := func(path string) string { return strings.TrimPrefix(path, dir+"/") }
		if err != nil || rel(j.image) != tc.image || rel(j.config) != tc.config || rel(modules) != tc.modules {
			t.Errorf("%s: %s %s %s: %v", tc.files, rel(j.image), rel(j.config), rel(modules), err)
		}
		// By the image itself it is the same, and what is said comes first.
		f = handFlags{kernel: j.image, config: "mine", modules: dir}
		again := job{}
		if modules, err = f.findKernel(&again); err != nil || again.image != j.image || again.config != "mine" || modules != dir {
			t.Errorf("%s: %s %s %s: %v", tc.files, again.image, again.config, modules, err)
		}
	}
	dir := unpack(t, "usr/lib/modules/7.2/vmlinuz")
	if err := os.Symlink("usr/lib", filepath.Join(dir, "lib")); err != nil {
		t.Fatal(err)
	}
	if image, err := imageIn(dir); err != nil || !strings.HasSuffix(image, "lib/modules/7.2/vmlinuz") {
		t.Errorf("one kernel by two paths: %s, %v", image, err)
	}
}

func TestHandErrors(t *testing.T) {
	for args, want := range map[string]string{
		"":                                "needs a kernel",
		"-kernel x":                       "needs a test",
		"-kernel x -cpus 0 test":          "-cpus",
		"-kernel x -- no.such/test":       "no.such/test",
		"-kernel x " + os.Args[0] + " -m": "no such file",
		"-kernel /dev/null -load veth " + os.Args[0]: "set -modules",
		"-kernel /dev/null -modules y " + os.Args[0]: "-modules y: is no directory",
	} {
		status, err := runByHand(strings.Fields(args), time.Time{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: status %d, %v, want %q", args, status, err, want)
		}
	}
}

func TestNoQEMU(t *testing.T) {
	t.Setenv("PATH", "")
	dir := unpack(t, "vmlinuz")
	for _, c := range cpus {
		f := handFlags{kernel: filepath.Join(dir, "vmlinuz")}
		_, err := f.job([]string{executable(t, c.machine, 2, binary.LittleEndian, "")}, time.Time{})
		if err == nil || !strings.Contains(err.Error(), "needs QEMU for "+c.name) || c.emulator().Packages == "" || !strings.Contains(err.Error(), c.emulator().Packages) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What a Go test writes comes back, but not that by which its result is cached.
func TestHandRun(t *testing.T) {
	t.Setenv("GOCOVERDIR", "/gocover")
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	run, err := handRun("/a/x.test", strings.Fields("-test.v -test.outputdir=out -test.cpuprofile=cpu -test.coverprofile /c/over --test.testlogfile=/log/file -- -test.trace=no"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/c/over", "/gocover", filepath.Join(dir, "out/cpu")}
	if got := slices.Sorted(slices.Values(run.Results)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("comes back: %q, want %q", got, want)
	}
	for _, directory := range []string{dir, "/c", filepath.Join(dir, "out"), "/gocover", "/log", os.TempDir()} {
		if !slices.Contains(run.Dirs, directory) {
			t.Errorf("there is no directory %s: %q", directory, run.Dirs)
		}
	}
	if run.Dir != dir || run.Args[0] != "/a/x.test" || len(run.Args) != 9 {
		t.Errorf("%+v", run)
	}
}

// The guest builds from the sources that bpfvm has, and once. The other CPUs' are
// built by Bazel.
func TestBuiltGuest(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("needs the go command: %v", err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c := cpuNamed(t, "arm64")
	guest, err := builtGuest(c)
	if err != nil {
		t.Fatal(err)
	}
	if of, err := cpuOf(guest); err != nil || of != c {
		t.Errorf("the guest is for %v: %v", of, err)
	}
	if err := c.checkLibraries(guest); err != nil {
		t.Error(err)
	}
	before, err := os.Stat(guest)
	if err != nil {
		t.Fatal(err)
	}
	again, err := builtGuest(c)
	if err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(again); err != nil || !os.SameFile(before, after) {
		t.Errorf("it is built again: %v", err)
	}
}

func TestNoGo(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if _, err := builtGuest(cpus[0]); err == nil || !strings.Contains(err.Error(), "needs the command go") {
		t.Error(err)
	}
}

// Whoever interrupts the build of the guest has no directory of it left, and no process.
func TestInterruptedGuest(t *testing.T) {
	bin, cache := t.TempDir(), t.TempDir()
	started := filepath.Join(bin, "started")
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte("#!/bin/sh\necho $$ >"+started+"\nsleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", cache)
	directory := filepath.Join(cache, "rules_bpf", "bpfvm")
	stale := filepath.Join(directory, "build1")
	if err := os.MkdirAll(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(stale, old, old); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if data, err := os.ReadFile(started); err == nil && len(data) > 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		_ = unix.Kill(os.Getpid(), unix.SIGTERM)
	}()
	if _, err := builtGuest(cpus[0]); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Error(err)
	}
	if left, err := os.ReadDir(directory); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	pid, err := os.ReadFile(started)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err == nil {
		t.Error("the build still runs")
	}
}
