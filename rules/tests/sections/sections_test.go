package sections_test

import (
	"os"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/rules/tests/sections/names"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// A target that allows names has the handle of a legacy name's type, and one for a
// section of the user's own that gets its type later.
func TestHandles(t *testing.T) {
	skel, err := names.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	var _ *skeleton.TCProgram = skel.Progs.Ingress
	var _ *skeleton.BaseProgram = skel.Progs.Count
}

func TestMessages(t *testing.T) {
	const (
		entry = `entry: SEC("xpd") is not a form of SEC() that a loader knows, so the program has no type: did you mean SEC("xdp")?`
		count = `count: SEC("filters/count") is not a form of SEC() that a loader knows, so the program has no type: `
		old   = `ingress: SEC("tc_ingress") is a name that libbpf 1.0 and newer refuse: write SEC("tc"), or allow such names (-legacy-sections; in Bazel legacy_sections = True)`
		taken = `ingress: SEC("tc_ingress") is taken for SEC("tc"): write that, libbpf 1.0 and newer refuse the old name`
	)
	for name, want := range map[string][]string{
		"skeleton_of_misspelt": {count, entry, old},
		"skeleton_with_own":    {entry, taken},
		"strict_link":          {count, entry, old},
	} {
		stderr, err := os.ReadFile(name + ".stderr")
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(stderr), "\n"), "\n")
		if len(lines) != len(want) {
			t.Errorf("%s: %d lines, want %d:\n%s", name, len(lines), len(want), stderr)
		}
		for _, w := range want {
			if !strings.Contains(string(stderr), w) {
				t.Errorf("%s: %q is not in\n%s", name, w, stderr)
			}
		}
	}
}
