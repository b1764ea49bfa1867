package user_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

var (
	file = flag.String("file", "", "path of a data file among the runfiles")
	word = flag.String("word", "", "what args has")
)

// TestGiven looks at what the attributes of the rule give to a test.
func TestGiven(t *testing.T) {
	if *word != "two words" {
		t.Errorf("-word is %q", *word)
	}
	if got := os.Getenv("INHERITED"); got != "from outside" {
		t.Errorf("INHERITED is %q", got)
	}
	for _, name := range []string{*file, os.Getenv("GIVEN"), "kernels_user/data/directory/b c.txt", "kernels_user/data/directory/link.txt"} {
		path, err := runfiles.Rlocation(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if text, err := os.ReadFile(path); err != nil || len(text) == 0 {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	// As on the host, tests start in the directory of their package.
	if text, err := os.ReadFile("data/a.txt"); err != nil || string(text) != "text\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestOutputs(t *testing.T) {
	if err := os.WriteFile(filepath.Join(os.Getenv("TEST_TMPDIR"), "scratch"), nil, 0o600); err != nil {
		t.Error(err)
	}
	path := filepath.Join(os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR"), "directory", "output file.txt")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("written by a test"), 0o644); err != nil {
		t.Error(err)
	}
}

// TestKernel says which kernel it is.
func TestKernel(t *testing.T) {
	version, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("for %s in %s", runtime.GOARCH, version)
	want := "Linux version 6.1."
	switch target := os.Getenv("TEST_TARGET"); {
	case strings.HasSuffix(target, "_native"):
		return
	case strings.HasSuffix(target, "_arm64"):
		want = "Linux version 6.12."
	}
	if !strings.HasPrefix(string(version), want) {
		t.Errorf("it is another: %s", version)
	}
}

func TestFail(t *testing.T) {
	if os.Getenv("FAIL") != "" {
		t.Error("fails because it is told to")
	}
}
