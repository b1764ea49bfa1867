// Package kernels_test runs tests that are written for the kernel of the machine
// in other kernels: many of them in each machine that QEMU boots, which costs less
// than a machine for each.
package kernels_test

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// report is the part of a test's report for Bazel that is looked at.
type report struct {
	Suites []struct {
		Cases []testcase `xml:"testcase"`
	} `xml:"testsuite"`
}

type testcase struct {
	Name    string   `xml:"name,attr"`
	Seconds float64  `xml:"time,attr"`
	Failure *outcome `xml:"failure"`
	Error   *outcome `xml:"error"`
	Skipped *outcome `xml:"skipped"`
}

type outcome struct {
	Text string `xml:",chardata"`
}

// own are the variables with what Bazel has for this test alone.
var own = []string{
	"GO_TEST_WRAP", "GO_TEST_WRAP_TESTV", "TESTBRIDGE_TEST_ONLY", "TESTBRIDGE_TEST_RUNNER_FAIL_FAST",
	"TEST_PREMATURE_EXIT_FILE", "TEST_SHARD_INDEX", "TEST_SHARD_STATUS_FILE", "TEST_TOTAL_SHARDS",
	"TEST_UNDECLARED_OUTPUTS_DIR", "TEST_WARNINGS_OUTPUT_FILE", "XML_OUTPUT_FILE",
}

// TestKernel has a subtest per test, and below it one per case of that. A test is called as
// its label, with dots: dev/summary reads that.
func TestKernel(t *testing.T) {
	if os.Getenv("IN_VM") == "" {
		t.Skip("needs a machine that QEMU boots")
	}
	for _, name := range strings.Fields(os.Getenv("TESTS")) {
		_, label, _ := strings.Cut(name, "/")
		t.Run(strings.ReplaceAll(label, "/", "."), func(t *testing.T) {
			file, err := runfiles.Rlocation(name)
			if err != nil {
				t.Fatal(err)
			}
			runAll(t, file)
		})
	}
}

// runAll runs the test and reports its cases as subtests of t.
func runAll(t *testing.T, file string) {
	reportFile := filepath.Join(t.TempDir(), "test.xml")
	cmd := exec.Command(file)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(own, name)
	})
	cmd.Env = append(cmd.Env, "GO_TEST_WRAP_TESTV=1", "XML_OUTPUT_FILE="+reportFile)
	out, err := cmd.CombinedOutput()
	status := cmd.ProcessState.ExitCode()
	failed := 0
	data, readErr := os.ReadFile(reportFile)
	if readErr != nil {
		t.Fatalf("%v\n%v\n%s", readErr, err, out)
	}
	var r report
	if err := xml.Unmarshal(data, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cases := 0
	for _, s := range r.Suites {
		for _, c := range s.Cases {
			if strings.HasPrefix(c.Name, "Benchmark") {
				continue
			}
			cases++
			t.Run(c.Name, func(t *testing.T) {
				switch {
				case c.Skipped != nil:
					t.Skip(c.Skipped.Text)
				case c.Failure != nil:
					failed++
					t.Error(c.Failure.Text)
				case c.Error != nil:
					failed++
					t.Error(c.Error.Text)
				}
			})
		}
	}
	t.Log(slowest(&r))
	// It may end before all cases have a result.
	if cases == 0 || (status != 0) != (failed > 0) {
		t.Errorf("%d cases, %d failed: %v\n%s", cases, failed, err, out)
	}
}

// slowest says which cases without cases of their own took most of the time: whoever wants
// the tests to be faster looks there.
func slowest(r *report) string {
	const most, least = 5, 1.0
	var cases []testcase
	for _, s := range r.Suites {
		for _, c := range s.Cases {
			hasCases := slices.ContainsFunc(s.Cases, func(o testcase) bool { return strings.HasPrefix(o.Name, c.Name+"/") && o.Seconds >= least })
			if c.Seconds >= least && !hasCases {
				cases = append(cases, c)
			}
		}
	}
	slices.SortFunc(cases, func(a, b testcase) int { return cmp.Compare(b.Seconds, a.Seconds) })
	text := "slowest:"
	for _, c := range cases[:min(most, len(cases))] {
		text += fmt.Sprintf(" %s %.1f s,", c.Name, c.Seconds)
	}
	return strings.TrimSuffix(text, ",")
}
