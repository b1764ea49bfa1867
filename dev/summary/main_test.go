package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	passes = `<testsuites><testsuite name="a"><testcase name="TestA"/><testcase name="TestB"/></testsuite></testsuites>`
	fails  = `<testsuites><testsuite name="a"><testcase name="TestC"><failure message="no"/></testcase></testsuite></testsuites>`
	errs   = `<testsuites><testsuite name="a"><testcase name="TestC"><error message="no"/></testcase></testsuite></testsuites>`
	bench  = `<testsuites><testsuite name="a"><testcase name="BenchmarkE/x"><error message="no result"/></testcase></testsuite></testsuites>`
	skips  = `<testsuites><testsuite name="a"><testcase name="TestD/x+y"><skipped>needs a moon</skipped></testcase></testsuite></testsuites>`
)

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		name    string
		reports []string
		skips   string
		ok      bool
		last    string
		contain string
	}{
		{"passes", []string{passes, passes}, "", true, "4 passed, 0 failed, 0 skipped", ""},
		{"nothing ran", nil, "", false, "0 passed, 0 failed, 0 skipped", ""},
		{"fails", []string{passes, fails}, "", false, "2 passed, 1 failed, 0 skipped", "failed: "},
		{"errors", []string{passes, errs}, "", false, "2 passed, 1 failed, 0 skipped", "failed: "},
		{"benchmark", []string{passes, bench}, "", true, "2 passed, 0 failed, 0 skipped", ""},
		{"skip not listed", []string{passes, skips}, "", false, "2 passed, 0 failed, 1 skipped", "needs a moon"},
		{"skip listed", []string{passes, skips}, "# why\nTestD/x\\+y\tneeds a moon\n", true, "2 passed, 0 failed, 1 skipped", ""},
		{"other reason", []string{passes, skips}, "TestD/.*\tneeds a sun\n", false, "2 passed, 0 failed, 1 skipped", ""},
		{"other name", []string{passes, skips}, "TestD\tneeds a moon\n", false, "2 passed, 0 failed, 1 skipped", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for i, r := range tc.reports {
				sub := filepath.Join(dir, "logs", string(rune('a'+i)))
				if err := os.MkdirAll(sub, 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(sub, "test.xml"), []byte(r), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o777); err != nil {
				t.Fatal(err)
			}
			// As bazel-testlogs is.
			link := filepath.Join(dir, "link")
			if err := os.Symlink(filepath.Join(dir, "logs"), link); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "skips")
			if err := os.WriteFile(file, []byte(tc.skips), 0o666); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			ok, err := run(&out, file, []string{link})
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if ok != tc.ok || lines[len(lines)-1] != tc.last || !strings.Contains(out.String(), tc.contain) {
				t.Errorf("ok is %v, want %v; printed\n%s", ok, tc.ok, out.String())
			}
		})
	}
}

// A skip for want of a newer kernel is expected on older ones, and on no other.
func TestNeedsNewer(t *testing.T) {
	machine := version{6, 18}
	for _, tc := range []struct {
		path, reason string
		want         bool
	}{
		{"testlogs/tests/kernels/kernels_test_6_1/test.xml", "needs a kernel with netkit (6.7)", true},
		{"testlogs/tests/kernels/kernels_test_6_1/shard_1_of_2/test.xml", "needs a kernel with netkit (6.7)", true},
		{"testlogs/tests/kernels/kernels_test_6_12/test.xml", "needs a kernel with netkit (6.7)", false},
		{"testlogs/tests/kernels/kernels_test_6_1_arm64/test.xml", "needs a kernel with netkit (6.7)", true},
		{"testlogs/tests/kernels/kernels_test_7_2_s390x/test.xml", "needs a kernel with netkit (6.7)", false},
		{"testlogs/tests/kernels/kernels_test_5_10/test.xml", "x_test.go:3: needs links of struct_ops maps (Linux 6.4): no\n", true},
		{"testlogs/tests/kernels/kernels_test_6_1_arm64/test.xml", "needs a kernel with netkit (6.7)", true},
		{"testlogs/tests/kernels/kernels_test_6_12_s390x/test.xml", "needs a kernel with netkit (6.7)", false},
		{"testlogs/tests/kernels/kernels_test_5_10/test.xml", "needs a kernel with netkit", false},
		{"testlogs/tests/kernels/kernels_test_5_10/test.xml", "version (6.7)", false},
		{"testlogs/tests/load/load_test/test.xml", "needs a kernel with instruction arrays (6.19)", true},
		{"testlogs/tests/load/load_test/test.xml", "needs a kernel with netkit (6.7)", false},
	} {
		_, in := testOf(filepath.FromSlash(tc.path))
		if got := needsNewer(tc.reason, in.version(machine)); got != tc.want {
			t.Errorf("needsNewer(%q, kernel of %s) = %v, want %v", tc.reason, tc.path, got, tc.want)
		}
	}
	if _, err := machineKernel(); err != nil {
		t.Error(err)
	}
}

// The table has a line for each suite, also of those that one test runs.
func TestMatrix(t *testing.T) {
	dir := t.TempDir()
	for test, cases := range map[string]string{
		"tests/kernels/kernels_test_6_12": `
			<testcase name="TestKernel"/><testcase name="TestKernel/tests.maps.maps_test"/><testcase name="TestKernel/tests.maps.maps_test/TestA"/>
			<testcase name="TestKernel/tests.maps.maps_test/TestB/x"><skipped>needs the moon</skipped></testcase>`,
		"tests/kernels/kernels_test_7_2_arm64": `
			<testcase name="TestKernel/tests.maps.maps_test/TestA"/><testcase name="TestKernel/tests.maps.maps_test/TestB/x"/>
			<testcase name="TestKernel/tests.core.core_test/TestC"><failure/></testcase>
			<testcase name="TestKernel/tests.two.same_test_native/TestT"/>`,
		"tests/load/load_test_7_2_arm64/shard_1_of_2": `
			<testcase name="TestL"/><testcase name="TestM"><skipped>=== RUN   TestM
    x_test.go:3: needs the moon
more</skipped></testcase>`,
		// Of one name, in two packages and in a test of many.
		"tests/one/same_test_6_12":      `<testcase name="TestS"/>`,
		"tests/two/same_test_6_12":      `<testcase name="TestS"/><testcase name="TestT"/>`,
		"tests/two/same_test_7_2_arm64": `<testcase name="TestS"/>`,
		"tests/three/kernels_test_6_12": `<testcase name="TestKernel/tests.three.same_test/TestS"><failure/></testcase>`,
		// In this machine's kernel.
		"tests/maps/maps_test": `<testcase name="TestA"/>`,
	} {
		sub := filepath.Join(dir, "testlogs", test)
		if err := os.MkdirAll(sub, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, "test.xml"), []byte("<testsuites><testsuite>"+cases+"</testsuite></testsuites>"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	skips := filepath.Join(dir, "skips")
	if err := os.WriteFile(skips, []byte(".*\tneeds the moon\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := run(&out, skips, []string{filepath.Join(dir, "testlogs")}); err != nil {
		t.Fatal(err)
	}
	const want = `
                         6.12        7.2 arm64
core_test                -           0 1 FAILED
load_test                -           1+1
maps_test                1+1         2
//tests/one:same_test    1           -
//tests/three:same_test  0 1 FAILED  -
//tests/two:same_test    2           2
What was skipped in them:
  needs the moon (6.12: 1, 7.2 arm64: 1)
`
	if !strings.Contains(out.String(), want) {
		t.Errorf("printed\n%s", out.String())
	}
}

// What is expected for a cpu is not for another one, nor for the machine's own kernel.
func TestSkipsOfCPU(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []string{"a_test_7_2_s390x", "a_test_7_2", "a_test"} {
		sub := filepath.Join(dir, "testlogs", test)
		if err := os.MkdirAll(sub, 0o777); err != nil {
			t.Fatal(err)
		}
		const report = `<testsuites><testsuite><testcase name="TestA"/><testcase name="TestB"><skipped>needs the moon</skipped></testcase></testsuite></testsuites>`
		if err := os.WriteFile(filepath.Join(sub, "test.xml"), []byte(report), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	skips := filepath.Join(dir, "skips")
	if err := os.WriteFile(skips, []byte("TestB\tneeds the moon\tarm64 s390x\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if ok, err := run(&out, skips, []string{filepath.Join(dir, "testlogs")}); ok || err != nil {
		t.Fatal(ok, err)
	}
	if !strings.Contains(out.String(), "2 tests were skipped that") || strings.Contains(out.String(), "should not be: "+dir+"/testlogs/a_test_7_2_s390x") {
		t.Errorf("printed\n%s", out.String())
	}
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct{ skips, directory, want string }{
		{write("noreason", "TestA\n"), dir, "noreason:1: want a name, a tab and a reason"},
		{write("nothing", "TestA\t\tarm64\n"), dir, "nothing:1: want a name, a tab and a reason"},
		{write("badcpu", "TestA\tx\tarm64 sparc\n"), dir, `badcpu:1: unknown cpu "sparc"`},
		{write("badre", "\n(\tx\n"), dir, "badre:2: error parsing regexp"},
		{filepath.Join(dir, "missing"), dir, "missing"},
		{"", filepath.Join(dir, "missing"), "missing"},
		{"", filepath.Dir(write("empty/test.xml", "<testsuites></testsuites>")), "reports no test case"},
		{"", filepath.Dir(write("bad/test.xml", "<testsuites>")), "test.xml: XML syntax error"},
	} {
		if _, err := run(&bytes.Buffer{}, tc.skips, []string{tc.directory}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error is %v, want one with %q", err, tc.want)
		}
	}
}
