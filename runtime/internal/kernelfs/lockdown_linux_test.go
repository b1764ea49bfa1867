package kernelfs

import "testing"

func TestLockdownMode(t *testing.T) {
	for list, want := range map[string]string{
		"[none] integrity confidentiality\n": "",
		"none [integrity] confidentiality\n": "integrity",
		"none integrity [confidentiality]\n": "confidentiality",
		"":                                   "",
	} {
		if got := lockdown(list); got != want {
			t.Errorf("lockdown %q: %q, want %q", list, got, want)
		}
	}
}
