package glob

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		glob, s string
		want    bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"a*", "abc", true}, {"a*", "bac", false},
		{"*c", "abc", true}, {"*c", "abcd", false}, {"a*c", "ac", true}, {"a*c", "abcbc", true}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"*a*b*", "xxaxxbxx", true}, {"*a*b*", "xxbxxaxx", false}, {"a**b", "ab", true}, {"???", "abc", true}, {"???", "ab", false},
		{"tcp_*_sk*b", "tcp_v4_send_skb", true}, {strings.Repeat("*a", 50) + "b", strings.Repeat("a", 1000), false},
	} {
		if got := Match(tc.glob, tc.s); got != tc.want {
			t.Errorf("%q matches %q: %v, want %v", tc.glob, tc.s, got, tc.want)
		}
	}
}
