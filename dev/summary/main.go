// Summary counts the test cases in the XML reports of Bazel's test logs, and
// ends with the line "N passed, N failed, N skipped".
//
//	summary -skips FILE TESTLOGS...
//
// It fails when a test failed, and when one was skipped that the file does not
// list. A line of the file is
//
//	<regular expression for the case's name> <tab> <part of the reason> [<tab> <cpus>]
//
// so that a case may be skipped for the reason that is known, and for no other. With
// cpus, such as "arm64 s390x", it may be in kernels of these alone.
//
// No line is needed where a case says that it needs a newer kernel than its own:
// "needs a kernel with netkit (6.7)" is expected on 6.1 and not on 6.12. The kernel
// of a test whose directory ends in two numbers, and the name of a cpu after them unless
// that is x86_64, as kernels_test_6_1 and kernels_test_6_12_arm64 do, is that one; of
// every other, it is the kernel of this machine.
//
// A table says what ran in which kernel: a line for each test, be it that it had the machine
// for itself or that another test ran it there, and a column for each kernel. Where several
// tests have one name, their lines have the labels.
package main

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	skips := flag.String("skips", "", "file with the skips that are expected")
	flag.Parse()
	ok, err := run(os.Stdout, *skips, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// report is the part of a JUnit report that is looked at.
type report struct {
	Suites []struct {
		Name  string `xml:"name,attr"`
		Cases []struct {
			Name    string    `xml:"name,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct{} `xml:"error"`
			Skipped *struct {
				Text string `xml:",chardata"`
			} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// skip is an expected skip.
type skip struct {
	name   *regexp.Regexp
	reason string
	// cpus of the kernels where it is expected: none is for all.
	cpus []string
}

// run prints the summary of the reports under the directories to w, and reports whether all is
// well.
func run(w io.Writer, skipFile string, directories []string) (bool, error) {
	expected, err := readSkips(skipFile)
	if err != nil {
		return false, err
	}
	machine, err := machineKernel()
	if err != nil {
		return false, err
	}
	var passed, failed, skipped, unexpected int
	ran := matrix{}
	count := func(path string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r report
		if err := xml.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		cases := 0
		target, in := testOf(path)
		for _, s := range r.Suites {
			for _, c := range s.Cases {
				cases++
				cell := ran.cell(target, c.Name, in)
				switch {
				case strings.HasPrefix(c.Name, "Benchmark"):
					// rules_go reports them without a result. Bazel's exit status
					// has it.
				case c.Failure != nil || c.Error != nil:
					failed++
					cell.failed++
					fmt.Fprintf(w, "failed: %s %s\n", path, c.Name)
				case c.Skipped != nil:
					skipped++
					cell.skip(c.Skipped.Text)
					if !isExpected(expected, c.Name, c.Skipped.Text, in.cpu) && !needsNewer(c.Skipped.Text, in.version(machine)) {
						unexpected++
						fmt.Fprintf(w, "skipped, and should not be: %s %s\n%s\n", path, c.Name, c.Skipped.Text)
					}
				default:
					passed++
					cell.passed++
				}
			}
		}
		if cases == 0 {
			return fmt.Errorf("%s: reports no test case: Go tests do with --test_env=GO_TEST_WRAP_TESTV=1", path)
		}
		return nil
	}
	for _, directory := range directories {
		// bazel-testlogs is a link, which WalkDir would not follow.
		directory, err := filepath.EvalSymlinks(directory)
		if err != nil {
			return false, err
		}
		err = filepath.WalkDir(directory, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "test.xml" {
				return err
			}
			return count(path)
		})
		if err != nil {
			return false, err
		}
	}
	ran.print(w)
	if unexpected > 0 {
		fmt.Fprintf(w, "%d tests were skipped that %s does not list\n", unexpected, skipFile)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return passed > 0 && failed == 0 && unexpected == 0, nil
}

func isExpected(skips []skip, name, reason, cpu string) bool {
	for _, s := range skips {
		if s.name.MatchString(name) && strings.Contains(reason, s.reason) && (len(s.cpus) == 0 || slices.Contains(s.cpus, cpu)) {
			return true
		}
	}
	return false
}

// version is a kernel's, such as 6.12.
type version struct{ major, minor int }

func (v version) before(w version) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

// parseVersion reads the two numbers, which a regular expression has found.
func parseVersion(major, minor string) version {
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return version{a, b}
}

var (
	release      = regexp.MustCompile(`^(\d+)\.(\d+)`)
	kernelOfTest = regexp.MustCompile(`_(\d+)_(\d+)(?:_(arm64|riscv64|s390x))?$`)
	since        = regexp.MustCompile(`needs [^\n]*\((?:Linux )?(\d+)\.(\d+)\)`)
)

func machineKernel() (version, error) {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return version{}, err
	}
	m := release.FindStringSubmatch(string(data))
	if m == nil {
		return version{}, fmt.Errorf("the kernel's release %q does not begin with two numbers", data)
	}
	return parseVersion(m[1], m[2]), nil
}

// kernel is what a test ran in: nothing for the machine's own.
type kernel struct {
	number version
	cpu    string
}

// version returns its version, given the machine's.
func (k kernel) version(machine version) version {
	if k == (kernel{}) {
		return machine
	}
	return k.number
}

// testOf returns which test the report at path is of, without the name of its kernel, and in
// which kernel it ran. The report of a shard is in a directory below the test's own.
func testOf(path string) (string, kernel) {
	dir := filepath.Dir(path)
	for strings.HasPrefix(filepath.Base(dir), "shard_") {
		dir = filepath.Dir(dir)
	}
	_, label, ok := strings.Cut(dir, "testlogs/")
	if !ok {
		label = dir
	}
	m := kernelOfTest.FindStringSubmatch(label)
	if m == nil {
		return label, kernel{}
	}
	return strings.TrimSuffix(label, m[0]), kernel{parseVersion(m[1], m[2]), cmp.Or(m[3], "x86_64")}
}

// needsNewer reports whether the reason of a skip names a version after kernel.
func needsNewer(reason string, kernel version) bool {
	m := since.FindStringSubmatch(reason)
	return m != nil && kernel.before(parseVersion(m[1], m[2]))
}

func readSkips(path string) ([]skip, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var skips []skip
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, "\t")
		reason, cpus, _ := strings.Cut(reason, "\t")
		if !ok || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("%s:%d: want a name, a tab and a reason", path, n)
		}
		for _, cpu := range strings.Fields(cpus) {
			if !slices.Contains([]string{"arm64", "riscv64", "s390x", "x86_64"}, cpu) {
				return nil, fmt.Errorf("%s:%d: unknown cpu %q", path, n, cpu)
			}
		}
		re, err := regexp.Compile("^(?:" + name + ")$")
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		skips = append(skips, skip{re, strings.TrimSpace(reason), strings.Fields(cpus)})
	}
	return skips, lines.Err()
}
