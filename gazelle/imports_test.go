package gazelle_test

import (
	"os/exec"
	"strings"
	"testing"
)

// In the repository of cilium/ebpf, and in those that replace it with a directory of theirs,
// Gazelle writes the BUILD files of what it would depend on.
func TestWithoutCilium(t *testing.T) {
	command, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go command")
	}
	out, err := exec.Command(command, "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.Lines(string(out)) {
		if strings.HasPrefix(path, "github.com/cilium/") {
			t.Errorf("depends on %s", path)
		}
	}
}
