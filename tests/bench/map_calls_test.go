package bench_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/tests/runtime/progs/lifecycle"
)

// BenchmarkMapCalls makes calls of a handle and the same calls of the map of
// cilium/ebpf that it has. They take turns, so that whatever else the machine does
// slows down both; "ratio" is what the handle takes of the other's time.
func BenchmarkMapCalls(b *testing.B) {
	bpftest.NeedsBPF(b)
	skel, err := lifecycle.Open()
	if err != nil {
		b.Fatal(err)
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		b.Fatal(err)
	}
	handle, raw := skel.Maps.Seen, skel.Maps.Seen.Map()
	if err := handle.Put(1, 1); err != nil {
		b.Fatal(err)
	}
	var key, other uint32 = 1, 2
	var value uint64
	for _, call := range []struct {
		name        string
		handle, raw func() error
	}{
		{"Lookup", func() (err error) { value, err = handle.Lookup(key); return err }, func() error { return raw.Lookup(&key, &value) }},
		{"Put", func() error { return handle.Put(key, value) }, func() error { return raw.Put(&key, &value) }},
		{"LookupAbsent", func() error { return absent(second(handle.Lookup(2))) }, func() error { return absent(raw.Lookup(&other, &value)) }},
		{"DeleteAbsent", func() error { return absent(handle.Delete(2)) }, func() error { return absent(raw.Delete(&other)) }},
	} {
		b.Run(call.name, func(b *testing.B) {
			b.ReportAllocs()
			var spent [2]time.Duration
			for b.Loop() {
				for i, f := range []func() error{call.handle, call.raw} {
					start := time.Now()
					for range 100 {
						if err := f(); err != nil {
							b.Fatal(err)
						}
					}
					spent[i] += time.Since(start)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(spent[0].Nanoseconds())/float64(100*b.N), "ns/handle")
			b.ReportMetric(float64(spent[1].Nanoseconds())/float64(100*b.N), "ns/raw")
			b.ReportMetric(float64(spent[0])/float64(spent[1]), "ratio")
		})
	}
}

// absent returns nil when err says that a key is not there.
func absent(err error) error {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return fmt.Errorf("a key that is not there: %v", err)
}

func second[T any](_ T, err error) error { return err }
