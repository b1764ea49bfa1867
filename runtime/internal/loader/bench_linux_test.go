package loader

import (
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

func BenchmarkPrograms(b *testing.B) {
	bpftest.NeedsBPF(b)
	img := manyPrograms(b, 200, func(i int) asm.Instructions { return returns(int32(i)) })
	b.ReportAllocs()
	for b.Loop() {
		o := Open(img)
		if err := o.Load(Options{}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		o.Close()
		b.StartTimer()
	}
}
