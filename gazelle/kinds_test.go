package gazelle_test

import (
	"testing"

	"github.com/bazelbuild/bazel-gazelle/language"

	bpf "github.com/rules-bpf/rules_bpf/gazelle"
)

// TestApparentLoads checks that load statements have the name that MODULE.bazel
// gives to rules_bpf.
func TestApparentLoads(t *testing.T) {
	aware, ok := bpf.NewLanguage().(language.ModuleAwareLanguage)
	if !ok {
		t.Fatal("the language does not know of modules")
	}
	for name, want := range map[string]string{
		"":       "@rules_bpf//rules:defs.bzl",
		"my_bpf": "@my_bpf//rules:defs.bzl",
	} {
		loads := aware.ApparentLoads(func(module string) string {
			if module != "rules_bpf" {
				t.Errorf("asks for module %s", module)
			}
			return name
		})
		if len(loads) != 1 || loads[0].Name != want {
			t.Errorf("with the name %q, loads are %v, want %s", name, loads, want)
		}
	}
}
