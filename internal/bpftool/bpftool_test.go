package bpftool

import "testing"

func TestParseVersion(t *testing.T) {
	for line, want := range map[string][2]int{
		"bpftool v7.8.0":           {7, 8},
		"/usr/sbin/bpftool v7.1.0": {7, 1},
		"bpftool v8.0":             {8, 0},
	} {
		if major, minor, ok := parseVersion(line); !ok || [2]int{major, minor} != want {
			t.Errorf("%q is %d.%d, %v, want %v", line, major, minor, ok, want)
		}
	}
	if _, _, ok := parseVersion("something else"); ok {
		t.Error("what has no version has one")
	}
}
