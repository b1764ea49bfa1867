// Package differential_test compares what the runtime makes of this repository's objects
// with what libbpf does.
package differential_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/rules-bpf/rules_bpf/internal/differential"
	"github.com/rules-bpf/rules_bpf/internal/differential/ours"
	"github.com/rules-bpf/rules_bpf/internal/libbpf"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// serveEnv makes the program the process that loads the image of its first argument, or the
// program of it that the second one names.
const serveEnv = "DIFFERENTIAL_SERVE"

func TestMain(m *testing.M) {
	if os.Getenv(serveEnv) == "" {
		os.Exit(m.Run())
	}
	data, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = ours.Serve(string(data), os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command(object, program string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", object+".image", program)
	cmd.Env = append(os.Environ(), serveEnv+"=1")
	return cmd
}

// TestObjects loads each object, and each program by itself of those that libbpf does not
// load as a whole on this kernel.
func TestObjects(t *testing.T) {
	bpftest.NeedsBPFFS(t)
	reference := openReference(t)
	release, err := differential.Release()
	if err != nil {
		t.Fatal(err)
	}
	accepted := readAccepted(t, release)
	t.Logf("libbpf %s, Linux %s", reference.Version, release)
	directory := location(t, "IMAGES")
	var objectsLoaded, programsLoaded int
	var tried []string
	for _, object := range objects(t, directory) {
		name, err := filepath.Rel(directory, object)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			r, err := differential.Object(reference.Command, command, object, "")
			if err != nil {
				t.Fatal(err)
			}
			report(t, accepted.Take(name, r.Differences))
			tried = append(tried, name)
			if r.Libbpf == nil {
				objectsLoaded++
				return
			}
			for _, p := range r.Libbpf.Loaded.Programs {
				r, err := differential.Object(reference.Command, command, object, p.Name)
				if err != nil {
					t.Fatal(err)
				}
				report(t, accepted.Take(name, r.Differences))
				if r.Libbpf == nil {
					programsLoaded++
				}
			}
		})
	}
	t.Logf("libbpf has loaded %d of %d objects, and %d programs of the others", objectsLoaded, len(tried), programsLoaded)
	if objectsLoaded == 0 {
		t.Error("libbpf has loaded no object")
	}
	for _, line := range accepted.Stale(tried) {
		t.Errorf("accepted.txt: %s: there is no such difference", line)
	}
}

func report(t *testing.T, differences []differential.Difference) {
	t.Helper()
	for _, d := range differences {
		t.Errorf("%s: %s", d.Of, d.Text)
	}
}

// objects are the object files below a directory.
func objects(t *testing.T, directory string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(directory, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".o") {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func openReference(t *testing.T) *libbpf.Reference {
	t.Helper()
	reference, err := libbpf.Open(location(t, "LIBBPF_REFERENCE"))
	if errors.Is(err, libbpf.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return reference
}

// readAccepted returns the lines of accepted.txt that are for the kernel.
func readAccepted(t *testing.T, release string) *differential.Accepted {
	t.Helper()
	text, err := os.ReadFile(location(t, "ACCEPTED"))
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := differential.ParseAccepted(string(text), release)
	if err != nil {
		t.Fatalf("accepted.txt: %v", err)
	}
	return accepted
}

// location is that of the runfile, or the directory of runfiles, that a variable names.
func location(t *testing.T, variable string) string {
	t.Helper()
	path, err := runfiles.Rlocation(os.Getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
