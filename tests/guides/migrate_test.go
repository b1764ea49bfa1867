package guides_test

import (
	"strings"
	"testing"
)

// What the guide shows of the two programs is in them, in this order; the guide
// leaves out what is beside its point.
func TestMigrateGuide(t *testing.T) {
	sources := []string{
		read(t, "MIGRATE_BEFORE", "../../examples/migrate/before/main.go"),
		read(t, "MIGRATE_AFTER", "../../examples/migrate/after/main.go"),
	}
	blocks := strings.Split(read(t, "MIGRATE_GUIDE", "../../docs/migrate.md"), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("the guide shows no code")
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if !inOrder(block, sources[0]) && !inOrder(block, sources[1]) {
			t.Errorf("in neither program:\n%s", block)
		}
	}
}

// inOrder reports whether the lines of a block are lines of the source, in their
// order.
func inOrder(block, source string) bool {
	rest := flat(source)
	for line := range strings.Lines(block) {
		_, after, found := strings.Cut(rest, "\n"+strings.TrimSpace(line)+"\n")
		if !found {
			return false
		}
		rest = "\n" + after
	}
	return true
}
