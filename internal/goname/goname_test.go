package goname_test

import (
	"slices"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/goname"
)

// A name of the API is what Go makes of itself, so that a name becomes one exactly when
// it collides.
func TestPartsAreGoNames(t *testing.T) {
	for _, name := range slices.Concat(goname.API, goname.Sections, goname.Variants) {
		if got := goname.Export(name); got != name {
			t.Errorf("%s: is %s in Go", name, got)
		}
	}
}
