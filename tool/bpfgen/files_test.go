//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// outputs are command lines of all subcommands that write a file, with OUT for it.
func outputs(t *testing.T) [][]string {
	t.Helper()
	write(t, "x.bpf.o", object())
	write(t, "vars.o", variables())
	write(t, "event.bpf.o", string((&objtest.File{Vars: []objtest.Var{
		{Section: ".bss", Name: "last", Type: objtest.Struct("event", objtest.M("pid", objtest.U32))},
	}}).Build()))
	builder, err := btf.NewBuilder([]btf.Type{objtest.Struct("task", objtest.M("pid", objtest.S32))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := builder.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, "kernel.btf", string(kernel))
	write(t, "inputs", "a.h\n")
	clang, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FAKE_CLANG", "ok")
	all := [][]string{
		{"skeleton", "-package", "x", "-o", "OUT", "x.bpf.o"},
		{"subskeleton", "-package", "x", "-o", "OUT", "x.bpf.o"},
		{"types", "-package", "x", "-names", "names", "-o", "OUT", "event.bpf.o"},
		{"types", "-package", "x", "-names", "OUT", "-o", "x.go", "event.bpf.o"},
		{"check", "-object", "x.bpf.o", "-o", "OUT", "x.bpf.o"},
		{"link", "-o", "OUT", "vars.o"},
		{"image", "-o", "OUT", "x.bpf.o"},
		{"compile", "-o", "OUT", "--", clang, "-c", "x.c"},
		{"compile", "-o", "x.o", "-inputs", "inputs", "-unused", "OUT", "--", clang, "-c", "x.c"},
		{"vmlinux", "-o", "OUT", "kernel.btf"},
	}
	seen := make(map[string]bool)
	for _, args := range all {
		seen[args[0]] = true
	}
	for _, cmd := range commands() {
		// The first names its Go files itself, verify needs a kernel, and the others write to
		// stdout.
		if !seen[cmd.name] && !slices.Contains([]string{"generate", "inspect", "diff", "verify", "completion"}, cmd.name) {
			t.Errorf("%s is not tested", cmd.name)
		}
	}
	return all
}

// variables is an object for the linker.
func variables() string {
	return string((&objtest.File{Vars: []objtest.Var{{Section: ".data", Name: "limit", Type: objtest.U64}}}).Build())
}

// to returns the arguments with name for OUT.
func to(args []string, name string) []string {
	args = slices.Clone(args)
	for i := range args {
		if args[i] == "OUT" {
			args[i] = name
		}
	}
	return args
}

// The contents of an output do not depend on what it is, and what it is stays.
func TestSpecialOutputs(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range outputs(t) {
		name := strings.Join(args[:2], " ")
		if _, errs, status := bpfgen(to(args, "regular")...); status != 0 {
			t.Fatalf("%s: %s", name, errs)
		}
		want, err := os.ReadFile("regular")
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name+" fifo", func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Skipf("needs a file system that has named pipes: %v", err)
			}
			read := make(chan []byte)
			go func() {
				got, err := os.ReadFile(fifo)
				if err != nil {
					t.Error(err)
				}
				read <- got
			}()
			bpfgen(to(args, fifo)...)
			if got := <-read; !bytes.Equal(got, want) {
				t.Errorf("the pipe had %d bytes, want %d", len(got), len(want))
			}
			checkMode(t, fifo, fs.ModeNamedPipe)
		})
		t.Run(name+" device", func(t *testing.T) {
			null := filepath.Join(t.TempDir(), "null")
			const major, minor = 1, 3
			if err := syscall.Mknod(null, syscall.S_IFCHR|0o666, major<<8|minor); err != nil {
				t.Skipf("needs the right to make device nodes (root, CAP_MKNOD): %v", err)
			}
			if f, err := os.OpenFile(null, os.O_WRONLY, 0); err != nil {
				t.Skipf("needs a temporary directory on a file system without nodev: %v", err)
			} else {
				f.Close()
			}
			for _, out := range []string{null, symlink(t, null)} {
				if _, errs, status := bpfgen(to(args, out)...); status != 0 {
					t.Errorf("status %d: %s", status, errs)
				}
			}
			checkMode(t, null, fs.ModeDevice)
			checkAlone(t, null)
		})
		t.Run(name+" open file", func(t *testing.T) {
			file, err := os.Create(filepath.Join(t.TempDir(), "file"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if _, err := os.Stat("/proc/self/fd"); err != nil {
				t.Skipf("needs /proc: %v", err)
			}
			if _, err := io.WriteString(file, "before\n"); err != nil {
				t.Fatal(err)
			}
			fd, err := syscall.Dup(int(file.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			if _, errs, status := bpfgen(to(args, filepath.Join("/dev/fd", strconv.Itoa(fd)))...); status != 0 {
				t.Errorf("status %d: %s", status, errs)
			}
			if _, err := io.WriteString(file, "after\n"); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(file.Name())
			if err != nil {
				t.Fatal(err)
			}
			if want := "before\n" + string(want) + "after\n"; string(got) != want {
				t.Errorf("the file has %d bytes, want %d", len(got), len(want))
			}
		})
		t.Run(name+" symbolic link", func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "target")
			write(t, target, "kept")
			for _, link := range []string{symlink(t, target), symlink(t, filepath.Join(t.TempDir(), "nothing"))} {
				if _, errs, status := bpfgen(to(args, link)...); status != 0 {
					t.Errorf("status %d: %s", status, errs)
				}
				info, err := os.Lstat(link)
				if err != nil || !info.Mode().IsRegular() {
					t.Errorf("the link is now %v, %v", info, err)
				}
				if got, err := os.ReadFile(link); err != nil || !bytes.Equal(got, want) {
					t.Errorf("has %d bytes, want %d: %v", len(got), len(want), err)
				}
				checkAlone(t, link)
			}
			if got, err := os.ReadFile(target); err != nil || string(got) != "kept" {
				t.Errorf("the target has %q, %v", got, err)
			}
		})
		t.Run(name+" directory", func(t *testing.T) {
			dir := t.TempDir()
			_, errs, status := bpfgen(to(args, dir)...)
			if want := "bpfgen: " + dir + ": is a directory: give the name of a file\n"; status != 1 || !strings.HasSuffix(errs, want) {
				t.Errorf("status %d, %q, want %q", status, errs, want)
			}
		})
	}
}

// A pipe whose reader has gone is an error, and no end of the process by a signal.
func TestClosedPipe(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "vars.o", variables())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("/dev/fd", strconv.Itoa(fd))
	if _, err := os.Lstat(name); err != nil {
		t.Skipf("needs /dev/fd: %v", err)
	}
	if _, errs, status := bpfgen("link", "-o", name, "vars.o"); status != 1 || errs != "bpfgen: "+name+": broken pipe\n" {
		t.Errorf("status %d, %q", status, errs)
	}
}

func checkMode(t *testing.T, name string, want fs.FileMode) {
	t.Helper()
	if info, err := os.Lstat(name); err != nil || info.Mode()&want == 0 {
		t.Errorf("%s is %v now, want %v: %v", name, info, want, err)
	}
}

// checkAlone makes sure that nothing else was left in the directory.
func checkAlone(t *testing.T, name string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}

func symlink(t *testing.T, target string) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	return link
}
