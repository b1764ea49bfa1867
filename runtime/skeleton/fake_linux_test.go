package skeleton

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/internal/fakemap"
)

// asFake returns a handle on a fake that is made of the same as what inKernel makes.
func asFake[M any](t testing.TB, spec *ebpf.MapSpec, more ...binding.MapTypes) *M {
	t.Helper()
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	f, err := fakemap.New(fakemap.Spec{Type: spec.Type, KeySize: spec.KeySize, ValueSize: spec.ValueSize, MaxEntries: spec.MaxEntries}, cpus)
	if err != nil {
		t.Fatal(err)
	}
	m := new(M)
	base, err := new(UntypedMap).part(m)
	if err != nil {
		t.Fatal(err)
	}
	types := binding.MapTypes{Key: spec.KeySize, Value: spec.ValueSize}
	for _, m := range more {
		types.Padding = m.Padding
	}
	base.init("test", types)
	base.fake = f
	return m
}

// outcome is what a call has returned: values as text, and which errors it is.
func outcome(result any, err error) string {
	text := fmt.Sprintf("%+v", result)
	for _, is := range []error{ebpf.ErrKeyNotExist, ebpf.ErrKeyExist, ebpf.ErrNotSupported, ErrNotLoaded, syscall.E2BIG, syscall.EINVAL, syscall.ENOENT, syscall.EEXIST} {
		if errors.Is(err, is) {
			text += fmt.Sprintf(" [%v]", is)
		}
	}
	if err != nil {
		text += " error"
	}
	return text
}

// same makes many random calls of a map in the kernel and of a fake, and compares what they
// return.
func same[M any](t *testing.T, spec *ebpf.MapSpec, more binding.MapTypes, calls map[string]func(m *M, r *rand.Rand) string) {
	t.Helper()
	names := slices.Sorted(maps.Keys(calls))
	for seed := range uint64(6) {
		real, fake := inKernel[M](t, spec, more), asFake[M](t, spec, more)
		seeds := rand.New(rand.NewPCG(seed, 1))
		var history []string
		for range 400 {
			name, s := names[seeds.IntN(len(names))], seeds.Uint64()
			want := calls[name](real, rand.New(rand.NewPCG(s, 2)))
			got := calls[name](fake, rand.New(rand.NewPCG(s, 2)))
			history = append(history, name+": "+want)
			if got != want {
				t.Fatalf("%v, seed %d: %s of a fake: %s\nthe kernel's: %s\nbefore it:\n%s", spec.Type, seed, name, got, want, strings.Join(history[max(0, len(history)-8):], "\n"))
			}
		}
	}
}

// updates are flags that make sense and one that does not. Both UpdateNoExist and UpdateExist
// are not there: kernels differ, as newer ones take that for maps with values of CPUs.
var updates = []ebpf.MapUpdateFlags{ebpf.UpdateAny, ebpf.UpdateAny, ebpf.UpdateNoExist, ebpf.UpdateExist, 1 << 10}

// paddedKey has padding, which hashes must not compare.
type paddedKey struct {
	A uint8
	_ [3]byte
	B uint32
}

var paddedTypes = binding.MapTypes{Padding: []binding.Span{{Start: 1, End: 4}}}

// mapCalls are calls of a map whose keys are few.
func mapCalls[K comparable](newKey func(r *rand.Rand) K) map[string]func(m *Map[K, [3]uint32], r *rand.Rand) string {
	type handle = *Map[K, [3]uint32]
	value := func(r *rand.Rand) [3]uint32 { return [3]uint32{r.Uint32(), r.Uint32(), r.Uint32()} }
	keysOf := func(r *rand.Rand) (keys []K, values [][3]uint32) {
		for range r.IntN(4) {
			keys, values = append(keys, newKey(r)), append(values, value(r))
		}
		return keys, values
	}
	sorted := func(all map[K][3]uint32) string {
		var lines []string
		for k, v := range all {
			lines = append(lines, fmt.Sprint(k, v))
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	batches := func(m handle, deleting bool, size int) string {
		all := make(map[K][3]uint32)
		seq := LookupBatches(m, size)
		if deleting {
			seq = LookupAndDeleteBatches(m, size)
		}
		for b, err := range seq {
			if err != nil {
				return outcome(sorted(all), err)
			}
			for i, k := range b.Keys {
				all[k] = b.Values[i]
			}
		}
		return sorted(all)
	}
	return map[string]func(m handle, r *rand.Rand) string{
		"Lookup": func(m handle, r *rand.Rand) string { return outcome(m.Lookup(newKey(r))) },
		"Lookup with a flag": func(m handle, r *rand.Rand) string {
			return outcome(m.Lookup(newKey(r), 1<<9))
		},
		"Put": func(m handle, r *rand.Rand) string {
			return outcome(nil, m.Put(newKey(r), value(r), updates[r.IntN(len(updates))]))
		},
		"Put once more":   func(m handle, r *rand.Rand) string { return outcome(nil, m.Put(newKey(r), value(r))) },
		"Delete":          func(m handle, r *rand.Rand) string { return outcome(nil, m.Delete(newKey(r))) },
		"LookupAndDelete": func(m handle, r *rand.Rand) string { return outcome(LookupAndDelete(m, newKey(r))) },
		"All": func(m handle, r *rand.Rand) string {
			all := make(map[K][3]uint32)
			for e, err := range m.All() {
				if err != nil {
					return outcome(sorted(all), err)
				}
				all[e.Key] = e.Value
			}
			return sorted(all)
		},
		"All with Delete": func(m handle, r *rand.Rand) string {
			all := make(map[K][3]uint32)
			for e, err := range m.All() {
				if err != nil {
					return outcome(sorted(all), err)
				}
				all[e.Key] = e.Value
				// Which ones does not depend on the order.
				if e.Value[0]%2 == 0 {
					if err := m.Delete(e.Key); err != nil {
						return outcome(nil, err)
					}
				}
			}
			return sorted(all)
		},
		"LookupBatches":          func(m handle, r *rand.Rand) string { return batches(m, false, r.IntN(12)) },
		"LookupAndDeleteBatches": func(m handle, r *rand.Rand) string { return batches(m, true, 1+r.IntN(12)) },
		"PutBatch": func(m handle, r *rand.Rand) string {
			keys, values := keysOf(r)
			return outcome(PutBatch(m, keys, values))
		},
		"DeleteBatch": func(m handle, r *rand.Rand) string {
			keys, _ := keysOf(r)
			return outcome(DeleteBatch(m, keys))
		},
		"of the map": func(m handle, _ *rand.Rand) string {
			u := &m.UntypedMap
			return fmt.Sprint(u.Name(), u.Type(), u.KeySize(), u.ValueSize(), u.MaxEntries())
		},
	}
}

// Handles do the same on maps in the kernel and in memory.
func TestFakeMaps(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 14, "look-ups in hashes that delete")
	small := func(r *rand.Rand) uint32 { return uint32(r.IntN(12)) }
	for _, tc := range []struct {
		typ     ebpf.MapType
		entries uint32
	}{
		{ebpf.Hash, 8}, // with room for fewer keys than there are
		{ebpf.Array, 8},
		{ebpf.LRUHash, 10_000}, // as the kernel drops others than the oldest
	} {
		spec := &ebpf.MapSpec{Type: tc.typ, KeySize: 4, ValueSize: 12, MaxEntries: tc.entries}
		same(t, spec, binding.MapTypes{}, mapCalls(small))
	}
	padded := func(r *rand.Rand) paddedKey {
		return paddedKey{A: uint8(r.IntN(3)), B: uint32(r.IntN(4))}
	}
	same(t, &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 8, ValueSize: 12, MaxEntries: 8}, paddedTypes, mapCalls(padded))
}

func TestFakePerCPUMaps(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 14, "look-ups in hashes that delete")
	cpus := ebpf.MustPossibleCPU()
	type handle = *PerCPUMap[uint32, [3]uint32]
	key := func(r *rand.Rand) uint32 { return uint32(r.IntN(12)) }
	values := func(r *rand.Rand) [][3]uint32 {
		v := make([][3]uint32, r.IntN(cpus+2))
		for i := range v {
			v[i] = [3]uint32{r.Uint32(), r.Uint32(), r.Uint32()}
		}
		return v
	}
	sorted := func(all map[uint32][][3]uint32) string {
		var b strings.Builder
		for _, k := range slices.Sorted(maps.Keys(all)) {
			fmt.Fprintln(&b, k, all[k])
		}
		return b.String()
	}
	batches := func(m handle, deleting bool, size int) string {
		all := make(map[uint32][][3]uint32)
		seq := LookupPerCPUBatches(m, size)
		if deleting {
			seq = LookupAndDeletePerCPUBatches(m, size)
		}
		for b, err := range seq {
			if err != nil {
				return outcome(sorted(all), err)
			}
			for i, k := range b.Keys {
				all[k] = slices.Clone(b.Values[i])
			}
		}
		return sorted(all)
	}
	calls := map[string]func(m handle, r *rand.Rand) string{
		"Lookup": func(m handle, r *rand.Rand) string { return outcome(m.Lookup(key(r))) },
		"LookupInto": func(m handle, r *rand.Rand) string {
			into := make([][3]uint32, cpus+r.IntN(2))
			return outcome(into, m.LookupInto(key(r), into))
		},
		"Put": func(m handle, r *rand.Rand) string {
			return outcome(nil, m.Put(key(r), values(r), updates[r.IntN(len(updates))]))
		},
		"Delete": func(m handle, r *rand.Rand) string { return outcome(nil, m.Delete(key(r))) },
		"All": func(m handle, r *rand.Rand) string {
			all := make(map[uint32][][3]uint32)
			for e, err := range m.All() {
				if err != nil {
					return outcome(sorted(all), err)
				}
				all[e.Key] = e.Value
			}
			return sorted(all)
		},
		"LookupBatches":          func(m handle, r *rand.Rand) string { return batches(m, false, 1+r.IntN(12)) },
		"LookupAndDeleteBatches": func(m handle, r *rand.Rand) string { return batches(m, true, 1+r.IntN(12)) },
		"PutBatch": func(m handle, r *rand.Rand) string {
			var keys []uint32
			var all [][][3]uint32
			for range r.IntN(3) {
				keys, all = append(keys, key(r)), append(all, values(r))
			}
			return outcome(PutPerCPUBatch(m, keys, all))
		},
		"DeleteBatch": func(m handle, r *rand.Rand) string { return outcome(DeletePerCPUBatch(m, []uint32{key(r), key(r)})) },
	}
	for _, tc := range []struct {
		typ     ebpf.MapType
		entries uint32
	}{{ebpf.PerCPUHash, 8}, {ebpf.PerCPUArray, 8}, {ebpf.LRUCPUHash, 10_000}} {
		same(t, &ebpf.MapSpec{Type: tc.typ, KeySize: 4, ValueSize: 12, MaxEntries: tc.entries}, binding.MapTypes{}, calls)
	}
}

func TestFakeQueues(t *testing.T) {
	type handle = *Queue[uint64]
	for _, typ := range []ebpf.MapType{ebpf.Queue, ebpf.Stack} {
		same(t, &ebpf.MapSpec{Type: typ, ValueSize: 8, MaxEntries: 4}, binding.MapTypes{}, map[string]func(m handle, r *rand.Rand) string{
			"Push": func(m handle, r *rand.Rand) string {
				return outcome(nil, m.Push(r.Uint64(), updates[r.IntN(len(updates))]))
			},
			"Pop":  func(m handle, r *rand.Rand) string { return outcome(m.Pop()) },
			"Peek": func(m handle, r *rand.Rand) string { return outcome(m.Peek()) },
		})
	}
}

// A skeleton whose maps are fakes is loaded, with nothing in the kernel.
func TestLoadFakes(t *testing.T) {
	o := newTestObject(t, []*ebpf.MapSpec{
		{Name: "counts", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 2},
		{Name: "events", Type: ebpf.RingBuf, MaxEntries: 4096},
		{Name: "paths", Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 8, MaxEntries: 2, Flags: 1},
	})
	newFake := func(spec fakemap.Spec) (fakemap.Map, error) { return fakemap.New(spec, 3) }
	counts := o.FindMap("counts")
	if err := counts.SetMaxEntries(1); err != nil {
		t.Fatal(err)
	}
	if err := loadFakes(o, newFake); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"load fakes": loadFakes(o, newFake), "Load": o.Load(), "set": counts.SetMaxEntries(5)} {
		if !errors.Is(err, ErrLoaded) {
			t.Errorf("%s: %v, want that it is loaded", what, err)
		}
	}
	if err := o.Attach(); !errors.Is(err, errFake) {
		t.Errorf("Attach: %v", err)
	}
	put := func(m *UntypedMap, key uint32) error {
		value := uint64(7)
		return m.putElement(unsafe.Pointer(&key), unsafe.Pointer(&value), nil)
	}
	if err := errors.Join(put(counts, 1), put(counts, 1)); err != nil {
		t.Error(err)
	}
	if err := put(counts, 2); !errors.Is(err, syscall.E2BIG) || !strings.Contains(err.Error(), "update map counts") {
		t.Errorf("put into a full map: %v", err)
	}
	if err := put(o.FindMap("paths"), 1); err == nil || !strings.Contains(err.Error(), "map paths: maps of type LPMTrie have no fakes") {
		t.Errorf("map of another type: %v", err)
	}
	if _, err := counts.begin(); err != errFake || counts.Map() != nil {
		t.Errorf("the map in the kernel: %v, %v", counts.Map(), err)
	}

	events := new(RingBuffer)
	events.init("events", binding.MapTypes{})
	events.of = o.FindMap("events")
	reader, err := NewRingReader[uint32](events)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, err := reader.Read()
		read <- err
	}()
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-read; !errors.Is(err, ErrClosed) || !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read: %v, want that the skeleton is closed", err)
	}
	if err := put(counts, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("put after Close: %v", err)
	}
}

// Records of the kernel's form come out of a fake as they went in.
func TestFakeRing(t *testing.T) {
	m := new(RingBuffer)
	m.init("test", binding.MapTypes{})
	f, err := fakemap.New(fakemap.Spec{Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize())}, 1)
	if err != nil {
		t.Fatal(err)
	}
	m.fake = f
	reader, err := NewRingReader[[2]uint32](m)
	if err != nil {
		t.Fatal(err)
	}
	record := []byte{1, 0, 0, 0, 2, 0, 0, 0, 'x'}
	for _, r := range [][]byte{record, record[:3]} {
		if err := f.(*fakemap.Ring).Output(r); err != nil {
			t.Fatal(err)
		}
	}
	value, err := reader.Read()
	if err != nil || !bytes.Equal(bytesOf(&value), record[:8]) || string(reader.Tail()) != "x" {
		t.Errorf("%v, %q, %v", value, reader.Tail(), err)
	}
	if _, err := reader.Read(); !errors.Is(err, ErrRecordSize) {
		t.Errorf("a record that is too short: %v", err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
}
