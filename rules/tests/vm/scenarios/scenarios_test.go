// Package scenarios_test has tests that pass, fail, hang and crash, for the test
// in the directory above to run.
package scenarios_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

func TestPass(t *testing.T) { fmt.Println("passing", os.Getenv("SCENARIO")) }

func TestFail(t *testing.T) { t.Error("fails on purpose") }

func TestExit(t *testing.T) { os.Exit(77) }

func TestHang(t *testing.T) { time.Sleep(time.Hour) }

func TestOutputs(t *testing.T) {
	dir := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 300_000), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestOutput writes every byte, and a lot.
func TestOutput(t *testing.T) {
	piece := make([]byte, 1<<16)
	for i := range piece {
		piece[i] = byte(i ^ i>>8)
	}
	for range 32 {
		if _, err := os.Stdout.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
}

// TestData lists the files that it has, by the name of the repository.
func TestData(t *testing.T) {
	first, err := runfiles.Rlocation("rules_bpf/rules/tests/vm/scenarios/data files/a b.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(first)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			text, _ := os.ReadFile(path)
			fmt.Printf("%s: %s\n", strings.TrimPrefix(path, dir+"/"), text)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

var memory [][]byte

// TestMemory takes all that there is.
func TestMemory(t *testing.T) {
	if os.Getenv("SCENARIO") == "" {
		t.Skip("needs a kernel that nobody else uses")
	}
	for {
		piece := make([]byte, 16<<20)
		for i := 0; i < len(piece); i += os.Getpagesize() {
			piece[i] = 1
		}
		memory = append(memory, piece)
	}
}

// TestPanic ends the kernel.
func TestPanic(t *testing.T) {
	if os.Getpid() == 1 || os.Getenv("SCENARIO") == "" {
		t.Skip("needs a kernel that nobody else uses")
	}
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
		t.Fatal(err)
	}
	select {}
}
