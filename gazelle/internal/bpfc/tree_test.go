package bpfc_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
)

// repository returns the root of the source tree.
func repository(t testing.TB) string {
	t.Helper()
	// In Bazel's runfiles it is a link into the source tree.
	module, err := filepath.EvalSymlinks("../../../MODULE.bazel")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(filepath.Dir(module))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestTree compares the scanner with clang for all C files of this repository.
func TestTree(t *testing.T) {
	clang := needsClang(t)
	root := repository(t)
	var sources []string
	for _, dir := range []string{"e2e", "examples", "gazelle", "rules", "tests", "tool"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			// A copy of the goldens, for Bazel.
			if err == nil && d.IsDir() && filepath.Base(path) == "goldens" {
				return filepath.SkipDir
			}
			if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".bpf.c") {
				sources = append(sources, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	out := t.TempDir()
	vmlinux := exec.Command("bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c")
	if header, err := vmlinux.Output(); err == nil {
		if err := os.WriteFile(filepath.Join(out, "vmlinux.h"), header, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	object := filepath.Join(out, "object.o")
	compiled := 0
	// Goldens and end-to-end modules have roots of their own, and one golden a
	// directory to search.
	roots := []string{root, filepath.Join(root, "gazelle/testdata"), filepath.Join(root, "e2e/gazelle")}
	search := filepath.Join(root, "gazelle/testdata/directives/search/lib")
	scanner := bpfc.NewScanner(openIn(append(slices.Clip(roots), search)...))
	for _, source := range sources {
		args := []string{"-g", "-O2", "-mcpu=v3", "-target", "bpfel", "-Wno-everything",
			// What the headers here are too old to have is not a function.
			"-Werror=implicit-function-declaration",
			"-D__TARGET_ARCH_x86", `-DLIBC="/libc.so.6"`,
			"-I/usr/include/x86_64-linux-gnu", "-iquote", out, "-I" + search}
		for _, dir := range roots {
			args = append(args, "-iquote", dir)
		}
		name, err := filepath.Rel(root, source)
		if err != nil {
			t.Fatal(err)
		}
		if log, err := exec.Command(clang, append(args, "-c", source, "-o", object)...).CombinedOutput(); err != nil {
			first, _, _ := strings.Cut(string(log), "\n")
			t.Logf("%s does not compile by itself: %s", name, first)
			continue
		}
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		file := scanner.Scan(source, content, []string{"__TARGET_ARCH_x86", `LIBC="/libc.so.6"`})
		diffs, err := disagreements(file, object)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, diff := range diffs {
			t.Errorf("%s: %s", name, diff)
		}
		compiled++
	}
	t.Logf("%d files, %d of them compared", len(sources), compiled)
}
