package sys

import (
	"math"
	"testing"
)

func TestParseRelease(t *testing.T) {
	for release, want := range map[string]uint32{
		"5.10.0-28-amd64": 5<<16 | 10<<8,
		"6.18.5":          6<<16 | 18<<8 | 5,
		"6.1":             6<<16 | 1<<8,
		"4.14.300":        4<<16 | 14<<8 | 255,
		"7.2.0+":          7<<16 | 2<<8,
		"":                math.MaxUint32,
		"six":             math.MaxUint32,
		"6":               math.MaxUint32,
		"6.":              math.MaxUint32,
		".1.2":            math.MaxUint32,
	} {
		if got := parseRelease(release); got != want {
			t.Errorf("%q: %#x, want %#x", release, got, want)
		}
	}
}

func TestSyscallPrefix(t *testing.T) {
	for machine, want := range map[string]string{
		"x86_64": "__x64_", "i686": "__ia32_", "aarch64": "__arm64_", "riscv64": "__riscv_", "s390x": "__s390x_",
		"armv7l": "", "ppc64le": "", "": "",
	} {
		if got := syscallPrefix(machine); got != want {
			t.Errorf("%q: %q, want %q", machine, got, want)
		}
	}
}

func TestOlderThan(t *testing.T) {
	for version, want := range map[string]bool{"2.6": false, "255.255": true} {
		if got := OlderThan(version); got != want {
			t.Errorf("than %s: %t", version, got)
		}
	}
}
