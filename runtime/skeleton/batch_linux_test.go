package skeleton

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/region"
)

// needsBatches skips t when the kernel has no batches for a map of this type.
func needsBatches(t *testing.T, spec *ebpf.MapSpec) {
	t.Helper()
	bpftest.NeedsBPF(t)
	if v, err := kernelHasBatches(spec); err != nil {
		t.Fatal(err)
	} else if !v {
		t.Skipf("needs a kernel with batches for %s", spec.Type)
	}
}

func kernelHasBatches(spec *ebpf.MapSpec) (bool, error) {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return false, err
	}
	defer m.Close()
	var cursor ebpf.MapBatchCursor
	_, err = m.BatchLookup(&cursor, make([]uint32, 1), make([]byte, 1), nil)
	return !errors.Is(err, ebpf.ErrNotSupported), nil
}

// collect adds what batches hold to a map.
func collect[K comparable, V any](t *testing.T, batches func(func(Batch[K, V], error) bool), most int) map[K]V {
	t.Helper()
	got := make(map[K]V)
	for batch, err := range batches {
		if err != nil {
			t.Fatal(err)
		}
		if len(batch.Keys) != len(batch.Values) || len(batch.Keys) == 0 || len(batch.Keys) > most {
			t.Fatalf("a batch of %d keys and %d values", len(batch.Keys), len(batch.Values))
		}
		for i, key := range batch.Keys {
			if _, ok := got[key]; ok {
				t.Errorf("key %v came twice", key)
			}
			got[key] = batch.Values[i]
		}
	}
	return got
}

func TestBatches(t *testing.T) {
	for _, typ := range []ebpf.MapType{ebpf.Hash, ebpf.LRUHash} {
		t.Run(typ.String(), func(t *testing.T) {
			const entries = 5000
			spec := &ebpf.MapSpec{Type: typ, KeySize: 20, ValueSize: 24, MaxEntries: 2 * entries}
			needsBatches(t, spec)
			m := inKernel[Map[flow, counts]](t, spec, flowTypes)
			want := make(map[flow]counts)
			var keys []flow
			var values []counts
			for i := range uint32(entries) {
				k := flow{Proto: 6, Ports: [2]port{{Number: uint16(i)}, {Number: 443}}, Addr: i}
				v := counts{Flag: uint8(i), Packets: uint64(i) << 33, opaque: [4]byte{1, 2, 3, byte(i)}}
				want[k] = v
				keys, values = append(keys, k), append(values, v)
			}
			// What lies in the padding of keys does not count.
			for i := range keys {
				for _, gap := range flowTypes.Padding {
					bytesOf(&keys[i])[gap.Start] = byte(i) + 1
				}
			}
			if n, err := PutBatch(m, keys, values); err != nil || n != entries {
				t.Fatalf("PutBatch: %d, %v", n, err)
			}
			if v, err := m.Lookup(keys[77]); err != nil || v != values[77] {
				t.Errorf("Lookup: %+v, %v", v, err)
			}
			// Of one entry: some bucket has more, and comes all the same.
			for _, size := range []int{1, 7, 1000, entries, 1 << 30} {
				got := collect(t, LookupBatches(m, size), max(size, 64))
				if !maps.Equal(got, want) {
					t.Errorf("batches of %d: %d entries, want %d", size, len(got), len(want))
				}
			}
			for range LookupBatches(m, 10) {
				break
			}

			n, err := DeleteBatch(m, append(slices.Clone(keys[:100]), flow{Addr: 1 << 31}, keys[100]))
			if n != 100 || !errors.Is(err, ebpf.ErrKeyNotExist) {
				t.Errorf("DeleteBatch with a key that is not there: %d, %v", n, err)
			}
			for _, k := range keys[:100] {
				delete(want, k)
			}
			if got := collect(t, LookupAndDeleteBatches(m, 333), 333); !maps.Equal(got, want) {
				t.Errorf("LookupAndDeleteBatches: %d entries, want %d", len(got), len(want))
			}
			for batch, err := range LookupBatches(m, 10) {
				t.Errorf("an empty map has %v, %v", batch.Keys, err)
			}
		})
	}
}

func TestBatchesOfArray(t *testing.T) {
	spec := &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 10}
	needsBatches(t, spec)
	m := inKernel[Map[uint32, uint64]](t, spec)
	if n, err := PutBatch(m, []uint32{3, 4, 10, 5}, []uint64{30, 40, 100, 50}); n != 2 || err == nil {
		t.Errorf("PutBatch with a key beyond the end: %d, %v", n, err)
	}
	got := collect(t, LookupBatches(m, 3), 3)
	if len(got) != 10 || got[3] != 30 || got[4] != 40 || got[5] != 0 {
		t.Errorf("LookupBatches: %v", got)
	}
	for _, err := range LookupAndDeleteBatches(m, 3) {
		if !errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("LookupAndDeleteBatches: %v", err)
		}
	}
	if n, err := DeleteBatch(m, []uint32{1, 2}); n != 0 || err == nil {
		t.Errorf("DeleteBatch: %d, %v", n, err)
	}
}

func TestBatchesOfTrie(t *testing.T) {
	type prefix struct{ Bits, Addr uint32 }
	spec := &ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 8, MaxEntries: 100, Flags: 1}
	needsBatches(t, spec)
	m := inKernel[Map[prefix, uint64]](t, spec)
	want := make(map[prefix]uint64)
	var keys []prefix
	for i := range uint32(20) {
		keys = append(keys, prefix{32, i})
		want[keys[i]] = uint64(i)
	}
	if n, err := PutBatch(m, keys, slices.Collect(func(yield func(uint64) bool) {
		for i := range uint64(20) {
			yield(i)
		}
	})); n != 20 || err != nil {
		t.Fatal(n, err)
	}
	if got := collect(t, LookupBatches(m, 6), 6); !maps.Equal(got, want) {
		t.Errorf("LookupBatches: %v", got)
	}
	if n, err := DeleteBatch(m, keys); n != 20 || err != nil {
		t.Error(n, err)
	}
}

func TestPerCPUBatches(t *testing.T) {
	cpus := ebpf.MustPossibleCPU()
	for _, typ := range []ebpf.MapType{ebpf.PerCPUHash, ebpf.LRUCPUHash, ebpf.PerCPUArray} {
		t.Run(typ.String(), func(t *testing.T) {
			// 12 bytes: the kernel puts 16 between the values of two CPUs.
			spec := &ebpf.MapSpec{Type: typ, KeySize: 4, ValueSize: 12, MaxEntries: 500}
			if typ == ebpf.LRUCPUHash {
				// It drops entries before it is full: each CPU has a stock of free ones.
				spec.MaxEntries = 1000 + 256*uint32(cpus)
			}
			needsBatches(t, spec)
			m := inKernel[PerCPUMap[uint32, [3]uint32]](t, spec)
			var keys []uint32
			var values [][][3]uint32
			want := make(map[uint32]string)
			for i := range uint32(500) {
				v := make([][3]uint32, cpus)
				for cpu := range v {
					v[cpu] = [3]uint32{i, uint32(cpu), 0xffffffff}
				}
				want[i] = fmt.Sprint(v)
				keys, values = append(keys, i), append(values, v)
			}
			if n, err := PutPerCPUBatch(m, keys, values); n != 500 || err != nil {
				t.Fatalf("PutBatch: %d, %v", n, err)
			}
			check := func(name string, batches iter.Seq2[Batch[uint32, [][3]uint32], error], most int) {
				t.Helper()
				// The values are those of a batch while it is there.
				text := collect(t, func(yield func(Batch[uint32, string], error) bool) {
					for batch, err := range batches {
						texts := Batch[uint32, string]{Keys: batch.Keys}
						for _, v := range batch.Values {
							texts.Values = append(texts.Values, fmt.Sprint(v))
						}
						if !yield(texts, err) {
							return
						}
					}
				}, most)
				if !maps.Equal(text, want) {
					t.Errorf("%s: %d entries, want %d, or others", name, len(text), len(want))
				}
			}
			check("LookupBatches(1)", LookupPerCPUBatches(m, 1), 64)
			check("LookupBatches(90)", LookupPerCPUBatches(m, 90), 90)
			if typ != ebpf.PerCPUArray {
				check("LookupAndDeleteBatches", LookupAndDeletePerCPUBatches(m, 90), 90)
				if n, err := PutPerCPUBatch(m, keys[:2], values[:2]); n != 2 || err != nil {
					t.Error(n, err)
				}
				if n, err := DeletePerCPUBatch(m, keys[:2]); n != 2 || err != nil {
					t.Errorf("DeleteBatch: %d, %v", n, err)
				}
			}
			// Zero for CPUs that are not given, and no CPUs that there are not.
			if n, err := PutPerCPUBatch(m, keys[:1], [][][3]uint32{values[0][:1]}); n != 1 || err != nil {
				t.Error(n, err)
			}
			if got, err := m.Lookup(0); err != nil || got[0] != values[0][0] || cpus > 1 && got[1] != [3]uint32{} {
				t.Errorf("%v, %v", got, err)
			}
			if n, err := PutPerCPUBatch(m, keys[:1], [][][3]uint32{make([][3]uint32, cpus+1)}); n != 0 || err == nil {
				t.Error("more values than CPUs must fail")
			}
		})
	}
}

// Batches take memory for a batch, and not for each of its entries or for each CPU's values.
func TestBatchesDoNotAllocateForEntries(t *testing.T) {
	cpus := ebpf.MustPossibleCPU()
	const entries = 1000
	spec := &ebpf.MapSpec{Type: ebpf.PerCPUHash, KeySize: 4, ValueSize: 8, MaxEntries: entries}
	needsBatches(t, spec)
	m := inKernel[PerCPUMap[uint32, uint64]](t, spec)
	keys, values := make([]uint32, entries), make([][]uint64, entries)
	for i := range keys {
		keys[i], values[i] = uint32(i), make([]uint64, cpus)
	}
	// What a batch of any size takes.
	const most = 20
	for name, call := range map[string]func(t *testing.T){
		"put": func(t *testing.T) {
			if n, err := PutPerCPUBatch(m, keys, values); n != entries || err != nil {
				t.Fatal(n, err)
			}
		},
		"lookup": func(t *testing.T) {
			n := 0
			for batch, err := range LookupPerCPUBatches(m, 2*entries) {
				if err != nil {
					t.Fatal(err)
				}
				n += len(batch.Keys)
			}
			if n != entries {
				t.Fatalf("%d entries", n)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := PutPerCPUBatch(m, keys, values); err != nil {
				t.Fatal(err)
			}
			if n := testing.AllocsPerRun(5, func() { call(t) }); n > most && !region.RaceDetector {
				t.Errorf("%v allocations for %d entries, want %d at most", n, entries, most)
			}
		})
	}
}

func TestBatchErrors(t *testing.T) {
	m := inKernel[Map[uint32, [8]uint64]](t, &ebpf.MapSpec{Type: ebpf.StackTrace, KeySize: 4, ValueSize: 64, MaxEntries: 4})
	last := func(batches func(func(Batch[uint32, [8]uint64], error) bool)) (err error) {
		for _, err = range batches {
		}
		return err
	}
	for i, err := range []error{
		last(LookupBatches(m, 4)), last(LookupAndDeleteBatches(m, 4)),
		second(PutBatch(m, []uint32{1}, make([][8]uint64, 1))), second(DeleteBatch(m, []uint32{1})),
	} {
		if !errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("case %d of a map without batches: %v", i, err)
		}
	}
	for i, err := range []error{
		last(LookupBatches(m, 0)), last(LookupBatches(m, -1)),
		second(PutBatch(m, []uint32{1}, nil)), second(PutBatch(m, nil, make([][8]uint64, 1))),
	} {
		if err == nil || errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("case %d: %v", i, err)
		}
	}
	if n, err := PutBatch(m, nil, nil); n != 0 || err != nil {
		t.Errorf("a batch of nothing: %d, %v", n, err)
	}

	var closed Map[uint32, [8]uint64]
	var perCPU PerCPUMap[uint32, uint32]
	for i, err := range []error{
		last(LookupBatches(&closed, 4)), second(PutBatch(&closed, nil, nil)), second(DeleteBatch(&closed, nil)),
		second(PutPerCPUBatch(&perCPU, nil, nil)), second(DeletePerCPUBatch(&perCPU, nil)),
	} {
		if !errors.Is(err, ErrNotLoaded) {
			t.Errorf("case %d before Load: %v", i, err)
		}
	}
}

// BenchmarkRead reads a hash of 100,000 entries in the two ways that there are.
func BenchmarkRead(b *testing.B) {
	m := inKernel[Map[uint32, uint64]](b, &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 100_000})
	keys, values := make([]uint32, 100_000), make([]uint64, 100_000)
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := PutBatch(m, keys, values); err != nil {
		b.Fatal(err)
	}
	b.Run("All", func(b *testing.B) {
		for b.Loop() {
			for _, err := range m.All() {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("LookupBatches", func(b *testing.B) {
		for b.Loop() {
			for _, err := range LookupBatches(m, 1000) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
