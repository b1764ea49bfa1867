package gazelle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazel-contrib/bazel-gazelle/v2/cmd/gazelle/update"
	"github.com/bazelbuild/bazel-gazelle/language"
	golang "github.com/bazelbuild/bazel-gazelle/language/go"
	"github.com/bazelbuild/bazel-gazelle/language/proto"

	bpf "github.com/rules-bpf/rules_bpf/gazelle"
	"github.com/rules-bpf/rules_bpf/internal/goldens"
)

// runGazelle in the environment makes the test binary run as Gazelle: what a run
// logs and whether it fails is a part of what the goldens say.
const (
	runGazelle = "RULES_BPF_RUN_GAZELLE"
	withoutBPF = "RULES_BPF_WITHOUT_BPF"
)

func TestMain(m *testing.M) {
	if os.Getenv(runGazelle) == "" {
		os.Exit(m.Run())
	}
	log.SetPrefix("gazelle: ")
	log.SetFlags(0)
	//lint:ignore SA1019 gazelle_binary takes this version
	languages := []language.Language{proto.NewLanguage(), golang.NewLanguage()}
	if os.Getenv(withoutBPF) == "" {
		languages = append(languages, bpf.NewLanguage())
	}
	wd, err := os.Getwd()
	if err == nil {
		err = update.Run(context.Background(), languages, wd, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// gazelle runs Gazelle in a repository, and returns what it logs.
func gazelle(t testing.TB, repo string, args ...string) (stderr string, exit int) {
	t.Helper()
	stderr, state := start(t, repo, args...)
	return strings.ReplaceAll(stderr, repo, "REPO"), state.ExitCode()
}

func start(t testing.TB, repo string, args ...string) (string, *os.ProcessState) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"update", "-repo_root", repo}, args...)...)
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), runGazelle+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState
}

// copyCase makes a repository of a case: the BUILD files are those with the suffix.
// The case stands in a directory of its name, so that all cases together are one
// repository, too, which can be built.
func copyCase(t testing.TB, name, suffix string) string {
	t.Helper()
	repo := t.TempDir()
	for _, file := range []string{"MODULE.bazel", "BUILD.in"} {
		copyFile(t, filepath.Join("testdata", file), filepath.Join(repo, strings.Replace(file, "BUILD.in", "BUILD.bazel", 1)))
	}
	err := filepath.WalkDir(filepath.Join("testdata", name), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel("testdata", path)
		if err != nil {
			return err
		}
		switch filepath.Ext(path) {
		case ".in", ".out":
			if filepath.Ext(path) != suffix {
				return nil
			}
			rel = filepath.Join(filepath.Dir(rel), "BUILD.bazel")
		}
		copyFile(t, path, filepath.Join(repo, rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, content, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// buildFiles returns the BUILD files of a repository below a directory.
func buildFiles(t testing.TB, repo, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(filepath.Join(repo, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "BUILD.bazel" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(filepath.Join(repo, dir), filepath.Dir(path))
		out[filepath.ToSlash(rel)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// lines returns the lines of a file of a case, or nothing when there is none.
func lines(name string) []string {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

// TestGolden runs Gazelle over each case of testdata and compares the BUILD files
// with those named BUILD.out.
func TestGolden(t *testing.T) {
	cases, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if !c.IsDir() || c.Name() == "fuzz" {
			continue
		}
		t.Run(c.Name(), func(t *testing.T) {
			t.Parallel()
			golden(t, c.Name())
		})
	}
}

func golden(t *testing.T, name string) {
	dir := filepath.Join("testdata", name)
	args := lines(filepath.Join(dir, "arguments.txt"))
	repo := copyCase(t, name, ".in")
	stderr, exit := gazelle(t, repo, args...)
	got := buildFiles(t, repo, name)

	stderrFile := filepath.Join(dir, "expectedStderr.txt")
	if goldens.Updating() {
		for rel, content := range got {
			if err := os.WriteFile(filepath.Join(dir, rel, "BUILD.out"), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if stderr != "" {
			if err := os.WriteFile(stderrFile, []byte(stderr), 0o644); err != nil {
				t.Fatal(err)
			}
		} else {
			_ = os.Remove(stderrFile)
		}
	}

	wantStderr, _ := os.ReadFile(stderrFile)
	if stderr != string(wantStderr) {
		t.Errorf("logged:\n%s\nwant:\n%s", stderr, wantStderr)
	}
	wantExit := 0
	if exitCode := lines(filepath.Join(dir, "expectedExitCode.txt")); exitCode != nil {
		wantExit = 1
	}
	if exit != wantExit {
		t.Errorf("exit status %d, want %d", exit, wantExit)
	}
	want := buildFiles(t, copyCase(t, name, ".out"), name)
	compare(t, "the first run", got, want)
	if wantExit != 0 {
		return
	}

	gazelle(t, repo, args...)
	compare(t, "a second run", buildFiles(t, repo, name), want)

	for rel := range want {
		gazelle(t, repo, "-r=false", "-index=lazy", name+"/"+rel)
	}
	compare(t, "runs over single directories with -index=lazy", buildFiles(t, repo, name), want)

	repo = copyCase(t, name, ".in")
	gazelle(t, repo, append([]string{"-index=lazy"}, args...)...)
	compare(t, "a first run with -index=lazy", buildFiles(t, repo, name), want)

	repo = copyCase(t, name, ".out")
	for rel := range want {
		gazelle(t, repo, "-r=false", "-index=none", name+"/"+rel)
	}
	compare(t, "runs over single directories with -index=none", buildFiles(t, repo, name), want)
}

func compare(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for rel, content := range want {
		if got[rel] != content {
			t.Errorf("after %s, %s/BUILD.bazel is:\n%s\nwant:\n%s", what, rel, got[rel], content)
		}
	}
	for rel, content := range got {
		if _, ok := want[rel]; !ok {
			t.Errorf("%s makes %s/BUILD.bazel:\n%s", what, rel, content)
		}
	}
}
