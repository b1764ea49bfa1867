package bpfc_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
)

func BenchmarkScan(b *testing.B) {
	content, err := os.ReadFile(filepath.Join(repository(b), "examples/syslatency/latency/latency.bpf.c"))
	if err != nil {
		b.Fatal(err)
	}
	scanner := bpfc.NewScanner(nil)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		scanner.Scan("latency.bpf.c", content, []string{"__TARGET_ARCH_x86"})
	}
}
