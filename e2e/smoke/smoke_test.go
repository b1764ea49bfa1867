package smoke_test

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"testing"

	"example.com/smoke/execs"
	"example.com/smoke/nested"
	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/cilium/ebpf/link"
)

func TestOpen(t *testing.T) {
	a, err := execs.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if got := a.Data.Execs; got != 1 {
		t.Errorf("execs is %d, want 1", got)
	}
	if got := a.Bss.LastExec.Pid; got != 0 {
		t.Errorf("last_exec.pid is %d, want 0", got)
	}

	// The repository's cilium/ebpf and the skeleton's are one package.
	var attached link.Link = a.Links.HandleExec
	if attached != nil {
		t.Error("attached before it is loaded")
	}

	b, err := nested.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got := b.Data.Answer; got != 42 {
		t.Errorf("answer is %d, want 42", got)
	}
}

func path(t *testing.T, variable string) string {
	t.Helper()
	path, err := runfiles.Rlocation(os.Getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun(t *testing.T) {
	out, err := exec.Command(path(t, "SMOKE")).CombinedOutput()
	if want := "1 42\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}

// A program for another cpu has an object for that cpu in it.
func TestCross(t *testing.T) {
	for _, variable := range []string{"SMOKE_ARM64", "SMOKE_CROSS"} {
		program, err := os.ReadFile(path(t, variable))
		if err != nil {
			t.Fatal(err)
		}
		file, err := elf.NewFile(bytes.NewReader(program))
		if err != nil {
			t.Fatal(err)
		}
		if file.Machine != elf.EM_AARCH64 {
			t.Errorf("%s is for %v, want %v", variable, file.Machine, elf.EM_AARCH64)
		}
		if !bytes.Contains(program, []byte("compiled for arm64")) {
			t.Errorf("%s has no object that was compiled for arm64", variable)
		}
		if bytes.Contains(program, []byte("compiled for x86")) {
			t.Errorf("%s has an object that was compiled for x86", variable)
		}
	}
}
