// Package goldens compares what tests make with files that hold what is right.
//
// There is one way to write those files anew, for all tests:
//
//	go run ./dev/goldens
package goldens

import (
	"bytes"
	"os"
	"testing"
)

// Env is the environment variable that, when set, makes tests write their files.
// dev/goldens sets it.
const Env = "UPDATE_GOLDENS"

// Updating reports whether the files are to be written.
func Updating() bool { return os.Getenv(Env) != "" }

// Check fails the test when got is not what the file holds, or writes the file. A
// relative path counts from the directory that the test runs in.
func Check(t testing.TB, path string, got []byte) {
	t.Helper()
	if Updating() {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("differs from %s: where the new text is right, run\n  go run ./dev/goldens\ngot:\n%s", path, got)
	}
}
