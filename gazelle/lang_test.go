package gazelle_test

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/bazelbuild/bazel-gazelle/language"

	bpf "github.com/rules-bpf/rules_bpf/gazelle"
)

// What the environment says of the garbage collector stands.
func TestGarbageCollector(t *testing.T) {
	const before = 123
	defer debug.SetGCPercent(debug.SetGCPercent(before))
	run, ok := bpf.NewLanguage().(language.LifecycleManager)
	if !ok {
		t.Fatal("Gazelle does not tell the language when it begins")
	}
	for _, tc := range []struct {
		name, environment string
		changed           bool
	}{
		{"set", "50", false},
		{"off", "off", false},
		{"not set", "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("GOGC", tc.environment)
			if tc.environment == "" {
				if err := os.Unsetenv("GOGC"); err != nil {
					t.Fatal(err)
				}
			}
			debug.SetGCPercent(before)
			run.Before(t.Context())
			if after := debug.SetGCPercent(before); (after != before) != tc.changed || after < before {
				t.Errorf("GOGC is %d, was %d", after, before)
			}
		})
	}
}
