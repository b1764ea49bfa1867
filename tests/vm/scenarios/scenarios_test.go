// Package scenarios_test has tests that pass, fail, hang and crash, for the test
// in the folder above to run.
package scenarios_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
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
