package skelimpl_test

import (
	"math"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/runtime/skelimpl"
)

func TestUnknown(t *testing.T) {
	if got := skelimpl.UnknownUint("Mode", math.MaxUint64); got != "Mode(18446744073709551615)" {
		t.Error(got)
	}
	if got := skelimpl.UnknownInt("Mode", -3); got != "Mode(-3)" {
		t.Error(got)
	}
}

func TestVariantName(t *testing.T) {
	for variant, want := range map[int]string{0: "old", 1: "new", 2: "Variant(2)", -1: "Variant(-1)"} {
		if got := skelimpl.VariantName("old new", variant); got != want {
			t.Errorf("%d: %s", variant, got)
		}
	}
}

func TestOpenVariant(t *testing.T) {
	if _, err := skelimpl.OpenVariant("old new", 1, skelimpl.Desc{Name: "probe.bpf.o", Image: "damaged"}); err == nil || !strings.Contains(err.Error(), "open probe.bpf.o, variant new: the BPF object in the generated code is damaged: generate the code again") {
		t.Error(err)
	}
}
