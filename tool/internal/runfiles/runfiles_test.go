package runfiles

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// clear takes away what Bazel says, and calls the executable name.
func clear(t *testing.T, name string) {
	t.Helper()
	for _, variable := range []string{"RUNFILES_MANIFEST_FILE", "RUNFILES_DIR"} {
		t.Setenv(variable, "")
	}
	before := os.Args[0]
	t.Cleanup(func() { os.Args[0] = before })
	os.Args[0] = name
}

func want(t *testing.T, name, want string) {
	t.Helper()
	f, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Path(name); err != nil || got != want {
		t.Errorf("%s is %q, %v, want %q", name, got, err, want)
	}
}

func TestDirectory(t *testing.T) {
	self := filepath.Join(t.TempDir(), "test")
	clear(t, self)
	if _, err := New(); err == nil || !strings.Contains(err.Error(), "has no runfiles") {
		t.Errorf("without runfiles: %v", err)
	}
	if err := os.Mkdir(self+".runfiles", 0o755); err != nil {
		t.Fatal(err)
	}
	want(t, "_main/a/b", self+".runfiles/_main/a/b")
	t.Setenv("RUNFILES_DIR", "/runfiles")
	want(t, "_main/a/../c", "/runfiles/_main/c")
}

func TestManifest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "test")
	clear(t, file)
	text := `_main/file /out/file
_main/directory /out/a b
_main/empty 
 _main/with\sspace\bx /out/with space\bx
`
	if err := os.WriteFile(file+".runfiles_manifest", []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	want(t, "_main/file", "/out/file")
	t.Setenv("RUNFILES_MANIFEST_FILE", file+".runfiles_manifest")
	want(t, "_main/directory", "/out/a b")
	want(t, "_main/directory/c/d", "/out/a b/c/d")
	want(t, "_main/empty", "")
	want(t, `_main/with space\x`, `/out/with space\x`)
	f, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"_main/other", "_main/empty/inner", "_main"} {
		if _, err := f.Path(name); err == nil || !strings.Contains(err.Error(), name+": is not among the runfiles") {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("RUNFILES_MANIFEST_FILE", file+".none")
	if _, err := New(); err == nil {
		t.Error("a manifest that is not there")
	}
}
