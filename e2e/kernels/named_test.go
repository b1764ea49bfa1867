package named_test

import (
	"os"
	"regexp"
	"runtime"
	"strconv"
	"testing"
)

// The machine is what the attributes say.
func TestMachine(t *testing.T) {
	if got := runtime.NumCPU(); got != 3 {
		t.Errorf("%d cpus, want 3", got)
	}
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`MemTotal: +(\d+) kB`).FindSubmatch(info)
	if m == nil {
		t.Fatalf("no MemTotal in %s", info)
	}
	// The kernel keeps some of it to itself.
	if mb, err := strconv.Atoi(string(m[1])); err != nil || mb>>10 > 512 || mb>>10 < 350 {
		t.Errorf("%s kB, want about 512 MB: %v", m[1], err)
	}
	t.Logf("on %s", runtime.GOARCH)
}
