package attach

import (
	"strings"
	"testing"
)

// Names of pins are what the kernel takes, and different for different places.
func TestPinNames(t *testing.T) {
	names := make(map[string]string)
	for _, place := range []string{"kprobe-a", "kprobe-a.b", "kprobe-a_b", "kprobe-a/b", "uprobe-" + strings.Repeat("x", 300), "uprobe-" + strings.Repeat("x", 301)} {
		name := pinName("prog", place)
		if other, ok := names[name]; ok || strings.ContainsAny(name, "./") || len(name) > 250 {
			t.Errorf("%s: %s, as %s", place, name, other)
		}
		names[name] = place
	}
}
