package skelimpl_test

import (
	"math"
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
