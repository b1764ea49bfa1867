package glob

import "testing"

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "a", true},
		{"a", "ab", false},
		{"a", "", false},
		{"*", "", true},
		{"*", "a/b", true},
		{"my/*", "my/prog/1", true},
		{"my/*", "my", false},
		{"*_prog", "a_prog_prog", true},
		{"*_prog", "a_prog_", false},
		{"a*b*c", "aXbYbc", true},
		{"a*b*c", "aXbYb", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"?mine", "?mine", true},
		{"?mine", "amine", false},
		{"**", "x", true},
		{"*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
	} {
		if got := Match(tt.pattern, tt.name); got != tt.want {
			t.Errorf("Match(%q, %q) = %t", tt.pattern, tt.name, got)
		}
	}
	if !MatchAny([]string{"a", "b*"}, "bc") || MatchAny(nil, "") {
		t.Error("MatchAny")
	}
}
