package vmlinuxh_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/vmlinuxh"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmlinuxh/vmlinuxhtest"
)

const vmlinux = "/sys/kernel/btf/vmlinux"

// clang compiles a C file for BPF.
func clang(t *testing.T, source []byte, directory, name string) string {
	t.Helper()
	path, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang on PATH")
	}
	file := filepath.Join(directory, name)
	if err := os.WriteFile(file, source, 0o666); err != nil {
		t.Fatal(err)
	}
	object := file + ".o"
	cmd := exec.Command(path, "-g", "-O2", "-mcpu=v3", "-Wall", "-Werror", "-target", "bpfel", "-c", file, "-o", object)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out[:min(len(out), 5000)])
	}
	return object
}

// load decodes all types.
func load(t *testing.T, raw []byte) []btf.Type {
	t.Helper()
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var types []btf.Type
	for typ, err := range spec.All() {
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, typ)
	}
	return types
}

// checkHeader compiles the header of raw BTF and compares it with the BTF.
func checkHeader(t *testing.T, raw []byte) {
	t.Helper()
	types, err := vmlinuxh.Load(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkTypes(t, types, load(t, raw))
}

// checkTypes compiles the header of types and compares it with the BTF of these.
func checkTypes(t *testing.T, types *vmlinuxh.Types, source []btf.Type) {
	t.Helper()
	header, err := types.Header(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vmlinux.h"), header, 0o666); err != nil {
		t.Fatal(err)
	}
	asserts, n := vmlinuxhtest.Asserts("vmlinux.h", source)
	clang(t, asserts, dir, "asserts.bpf.c")
	t.Logf("%d asserts hold", n)

	var compiled []btf.Type
	for _, uses := range vmlinuxhtest.Uses("vmlinux.h", header) {
		raw, err := vmlinuxh.Contents(clang(t, uses, dir, "uses.bpf.c"))
		if err != nil {
			t.Fatal(err)
		}
		compiled = append(compiled, load(t, raw)...)
	}
	equal, differences := vmlinuxhtest.Compare(source, compiled)
	t.Logf("%d types equal", equal)
	for i, d := range differences {
		if i == 20 {
			t.Errorf("and %d more", len(differences)-i)
			break
		}
		t.Error(d)
	}
}

// The header of the running kernel has every type as the kernel has it.
func TestRunningKernel(t *testing.T) {
	raw, err := os.ReadFile(vmlinux)
	if err != nil {
		t.Skip("the running kernel has no BTF")
	}
	checkHeader(t, raw)
}
