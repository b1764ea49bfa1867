package verifierlog

import (
	"slices"
	"testing"
)

func TestWithoutFigures(t *testing.T) {
	for _, tc := range []struct{ log, want []string }{
		{nil, nil},
		{[]string{"verification time 3 usec", "stack depth 0", "processed 0 insns"}, nil},
		{[]string{"R1 is bad", "verification time 3 usec", "stack depth 0", "insns processed 7", "processed 7 insns", ""}, []string{"R1 is bad"}},
		{[]string{"processed 5", "5", "processed 6", " "}, []string{"processed 5", "5"}},
	} {
		if got := WithoutFigures(tc.log); !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.log, got, tc.want)
		}
	}
}
