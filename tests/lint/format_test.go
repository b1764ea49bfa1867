// Package lint_test checks the formatting of every source file of this
// repository: Go with gofmt, Starlark with buildifier and its warnings.
package lint_test

import (
	"bytes"
	"go/format"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazelbuild/buildtools/build"
	"github.com/bazelbuild/buildtools/warn"
	"github.com/bazelbuild/rules_go/go/runfiles"
)

// workspace returns the source tree: the runfile is a link into it. A target
// cannot declare files of other packages as inputs, and a list of them in every
// package would be one more thing to forget.
func workspace(t *testing.T) string {
	t.Helper()
	marker, err := runfiles.Rlocation(os.Getenv("WORKSPACE_MARKER"))
	if err != nil {
		t.Fatal(err)
	}
	marker, err = filepath.EvalSymlinks(marker)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(marker)
}

// sources calls f with every file of the source tree, and its path in it.
func sources(t *testing.T, f func(path string, data []byte)) {
	t.Helper()
	root := workspace(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" {
				return filepath.SkipDir
			}
			return nil
		}
		// bazel-* and other links lead out of the tree.
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f(rel, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestGofmt(t *testing.T) {
	n := 0
	sources(t, func(path string, data []byte) {
		if filepath.Ext(path) != ".go" {
			return
		}
		n++
		want, err := format.Source(data)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if !bytes.Equal(data, want) {
			t.Errorf("%s: not formatted: run gofmt -w %s", path, path)
		}
	})
	if n < 10 {
		t.Errorf("found %d Go files only: is the source tree elsewhere?", n)
	}
}

func isStarlark(path string) bool {
	base := filepath.Base(path)
	return strings.HasSuffix(base, ".bazel") || strings.HasSuffix(base, ".bzl") || base == "BUILD"
}

func TestBuildifier(t *testing.T) {
	n := 0
	sources(t, func(path string, data []byte) {
		if !isStarlark(path) {
			return
		}
		n++
		f, err := build.Parse(path, data)
		if err != nil {
			t.Error(err)
			return
		}
		build.Rewrite(f)
		if !bytes.Equal(data, build.Format(f)) {
			t.Errorf("%s: not formatted: run go tool buildifier %s", path, path)
		}
		for _, w := range warn.FileWarnings(f, warn.DefaultWarnings, nil, warn.ModeWarn, nil) {
			t.Errorf("%s:%d: %s: %s", path, w.Start.Line, w.Category, w.Message)
		}
	})
	if n < 10 {
		t.Errorf("found %d Starlark files only: is the source tree elsewhere?", n)
	}
}
