// Package vm_test runs tests in kernels that QEMU boots, and looks at how that
// ends.
package vm_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// result is what a run has left.
type result struct {
	status  int
	output  string
	outputs string
}

// kernel is the name of the one that the scenarios run in.
var kernel = os.Getenv("KERNEL")

// run runs scenarios, and sends the signal, if any, once "=== RUN" is there.
func run(t *testing.T, env []string, signal syscall.Signal, args ...string) result {
	t.Helper()
	path, err := runfiles.Rlocation(os.Getenv("SCENARIOS"))
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	r := result{outputs: filepath.Join(tmp, "outputs")}
	if err := os.Mkdir(r.outputs, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{"-test.v"}, args...)...)
	cmd.Env = append(os.Environ(),
		"SCENARIO=inside",
		"GO_TEST_RUN_FROM_BAZEL=",
		"GO_TEST_WRAP=0",
		"TEST_TMPDIR="+tmp,
		"TEST_TIMEOUT=",
		"TEST_UNDECLARED_OUTPUTS_DIR="+r.outputs,
		"XML_OUTPUT_FILE="+filepath.Join(tmp, "test.xml"),
		"TESTBRIDGE_TEST_ONLY=",
	)
	cmd.Env = append(cmd.Env, env...)
	out := &watcher{want: []byte("=== RUN"), seen: make(chan struct{})}
	cmd.Stdout = out
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if signal != 0 {
		go func() {
			<-out.seen
			_ = cmd.Process.Signal(signal)
		}()
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r.status = cmd.ProcessState.ExitCode()
	r.output = out.buf.String()
	shown := r.output
	if len(shown) > 100_000 {
		shown = fmt.Sprintf("%d bytes", len(shown))
	}
	t.Logf("status %d after %v, output:\n%s", r.status, cmd.ProcessState.SystemTime()+cmd.ProcessState.UserTime(), shown)
	if strings.Contains(r.output, "needs kernel") || strings.Contains(r.output, "needs QEMU") {
		t.Skip(r.output)
	}
	checkNothingRuns(t, tmp)
	return r
}

// watcher is a buffer that says when a text has been written to it.
type watcher struct {
	buf  bytes.Buffer
	want []byte
	seen chan struct{}
	done bool
}

func (w *watcher) Write(p []byte) (int, error) {
	n, err := w.buf.Write(p)
	if !w.done && bytes.Contains(w.buf.Bytes(), w.want) {
		w.done = true
		close(w.seen)
	}
	return n, err
}

// checkNothingRuns looks for a QEMU that has the environment of a run. One whose
// runner was killed may take a moment to end.
func checkNothingRuns(t *testing.T, tmp string) {
	t.Helper()
	left := running(t, tmp)
	for range 50 {
		if len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
		left = running(t, tmp)
	}
	t.Errorf("still run: %q", left)
}

// running returns the files of the processes that have the environment of a run.
func running(t *testing.T, tmp string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(file string) bool {
		data, err := os.ReadFile(file)
		return err != nil || !bytes.Contains(data, []byte("TEST_TMPDIR="+tmp+"\x00"))
	})
}

// contains fails t unless the output has all of the texts.
func contains(t *testing.T, output string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(output, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
}

func TestPass(t *testing.T) {
	r := run(t, nil, 0, "-test.run=^TestPass$")
	contains(t, r.output, "passing inside\n", "--- PASS: TestPass", "\nPASS\n")
	if r.status != 0 {
		t.Errorf("status %d", r.status)
	}
	if strings.Contains(r.output, "TestFail") || strings.Contains(r.output, "bpfvm") {
		t.Error("the output has more than the test's")
	}
}

func TestFilter(t *testing.T) {
	r := run(t, []string{"TESTBRIDGE_TEST_ONLY=^TestPass$"}, 0)
	contains(t, r.output, "--- PASS: TestPass")
	if r.status != 0 || strings.Contains(r.output, "TestFail") {
		t.Error("runs more than the filter says")
	}
}

func TestFailure(t *testing.T) {
	r := run(t, nil, 0, "-test.run=^TestFail$")
	contains(t, r.output, "fails on purpose", "--- FAIL: TestFail")
	if r.status != 1 {
		t.Errorf("status %d, want 1", r.status)
	}
}

func TestExitStatus(t *testing.T) {
	if r := run(t, nil, 0, "-test.run=^TestExit$"); r.status != 77 {
		t.Errorf("status %d, want 77", r.status)
	}
}

func TestOutputs(t *testing.T) {
	r := run(t, nil, 0, "-test.run=^TestOutputs$")
	if info, err := os.Stat(filepath.Join(r.outputs, "large")); err != nil || info.Size() != 300_000 {
		t.Errorf("the test's output: %v, %v", info, err)
	}
}

// Every byte comes through, and many of them.
func TestOutput(t *testing.T) {
	r := run(t, nil, 0, "-test.v=false", "-test.run=^TestOutput$")
	piece := make([]byte, 1<<16)
	for i := range piece {
		piece[i] = byte(i ^ i>>8)
	}
	if want := strings.Repeat(string(piece), 32) + "PASS\n"; r.output != want {
		t.Errorf("%d bytes, want %d: they differ", len(r.output), len(want))
	}
}

// Data files have the names, links and paths that they have outside.
func TestData(t *testing.T) {
	r := run(t, nil, 0, "-test.run=^TestData$")
	contains(t, r.output, "a b.txt: with spaces\n", "directory/link.txt: with spaces\n", "--- PASS: TestData")
}

// When memory runs out, the kernel's words for it are the explanation.
func TestMemory(t *testing.T) {
	r := run(t, nil, 0, "-test.run=^TestMemory$")
	contains(t, r.output, "=== RUN   TestMemory", "bpfvm: kernel "+kernel+": the test ended with status 137", "Out of memory: Killed process")
	if r.status != 137 {
		t.Errorf("status %d, want 137", r.status)
	}
}

// The test ends itself when its time is up, and says where it was.
func TestTimeout(t *testing.T) {
	// On a busy machine, a kernel may take long to start.
	start := time.Now()
	run(t, nil, 0, "-test.run=^TestPass$")
	timeout := 10*time.Second + 4*time.Since(start)
	r := run(t, []string{fmt.Sprintf("TEST_TIMEOUT=%d", timeout/time.Second)}, 0, "-test.run=^TestHang$")
	contains(t, r.output, "panic: test timed out", ".TestHang(")
	if r.status == 0 {
		t.Error("passes")
	}
}

// A test that does not end, whatever it is told, is ended.
func TestHang(t *testing.T) {
	start := time.Now()
	r := run(t, nil, syscall.SIGTERM, "-test.run=^TestHang$")
	contains(t, r.output, "bpfvm: kernel "+kernel+": the test hangs, or the kernel", "console")
	if r.status != 1 {
		t.Errorf("status %d, want 1", r.status)
	}
	t.Logf("after %v", time.Since(start))
}

// Whoever interrupts a test is rid of QEMU.
func TestInterrupt(t *testing.T) {
	r := run(t, nil, syscall.SIGINT, "-test.run=^TestHang$")
	contains(t, r.output, "bpfvm: kernel "+kernel+": ended by the signal interrupt")
	if r.status != 1 {
		t.Errorf("status %d, want 1", r.status)
	}
}

// So is whoever ends the runner without asking it.
func TestKill(t *testing.T) {
	if r := run(t, nil, syscall.SIGKILL, "-test.run=^TestHang$"); r.status != -1 {
		t.Errorf("status %d, and it was killed", r.status)
	}
}

func TestPanic(t *testing.T) {
	r := run(t, nil, 0, "-test.run=^TestPanic$")
	contains(t, r.output, "bpfvm: kernel "+kernel+": the kernel ended before the test did", "sysrq triggered crash", "Kernel panic")
	if r.status != 1 {
		t.Errorf("status %d, want 1", r.status)
	}
	if data, err := os.ReadFile(filepath.Join(r.outputs, "console.txt")); err != nil || !bytes.Contains(data, []byte("Kernel panic")) {
		t.Errorf("the console among the test's outputs: %v", err)
	}
}
