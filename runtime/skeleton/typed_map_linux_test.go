package skeleton

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"structs"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/internal/region"
)

// counts is as generated code lays it out: padding in the middle and at the end,
// and a field that is not exported.
type counts struct {
	_       structs.HostLayout
	Flag    uint8
	_       [7]byte
	Packets uint64
	opaque  [4]byte
	_       [4]byte
}

// inKernel makes the map that spec describes and returns a handle for it, whose types have
// the sizes of the map, and the given padding and inner types.
func inKernel[M any](t testing.TB, spec *ebpf.MapSpec, more ...binding.MapTypes) *M {
	t.Helper()
	bpftest.NeedsBPF(t)
	km, err := ebpf.NewMap(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { km.Close() })
	m := new(M)
	base, err := new(UntypedMap).part(m)
	if err != nil {
		t.Fatal(err)
	}
	types := binding.MapTypes{Key: spec.KeySize, Value: spec.ValueSize}
	for _, m := range more {
		types.Padding, types.Inner = m.Padding, m.Inner
	}
	base.init("test", types)
	base.loaded.Store(km)
	return m
}

// Of an LRU hash with a list for each CPU, the kernel rounds the number of entries.
func TestAllOfFullMap(t *testing.T) {
	cpus := ebpf.MustPossibleCPU()
	if cpus < 2 {
		t.Skip("needs more than one possible CPU")
	}
	m := inKernel[Map[uint32, uint64]](t, &ebpf.MapSpec{
		Type: ebpf.LRUHash, KeySize: 4, ValueSize: 8, MaxEntries: uint32(4*cpus + 1), Flags: unix.BPF_F_NO_COMMON_LRU,
	})
	// Each CPU fills its list.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.SchedSetaffinity(0, &before); err != nil {
			t.Error(err)
		}
	}()
	key := uint32(0)
	for cpu := range cpus {
		var one unix.CPUSet
		one.Set(cpu)
		if !before.IsSet(cpu) || unix.SchedSetaffinity(0, &one) != nil {
			continue
		}
		for range 5 {
			if err := m.Put(key, 1); err != nil {
				t.Fatal(err)
			}
			key++
		}
	}
	want := map[uint32]bool{}
	for k := range key {
		if _, err := m.Lookup(k); err == nil {
			want[k] = true
		}
	}
	if before.Count() == cpus && len(want) != 5*cpus {
		t.Fatalf("%d entries: the kernel does not round", len(want))
	}
	got := map[uint32]bool{}
	for entry, err := range m.All() {
		if err != nil {
			t.Fatal(err)
		}
		got[entry.Key] = true
	}
	if !maps.Equal(got, want) {
		t.Errorf("All has %d entries, want %d", len(got), len(want))
	}
}

func TestMap(t *testing.T) {
	for _, typ := range []ebpf.MapType{ebpf.Hash, ebpf.LRUHash} {
		m := inKernel[Map[uint32, counts]](t, &ebpf.MapSpec{Type: typ, KeySize: 4, ValueSize: 24, MaxEntries: 1000})
		if _, err := m.Lookup(1); !errors.Is(err, ebpf.ErrKeyNotExist) || !strings.Contains(err.Error(), "map test") {
			t.Errorf("%s: lookup of a key that is not there: %v", typ, err)
		}
		want := map[uint32]counts{}
		for i := range uint32(500) {
			v := counts{Flag: uint8(i), Packets: uint64(i) << 33, opaque: [4]byte{1, 2, 3, byte(i)}}
			if err := m.Put(i, v); err != nil {
				t.Fatal(err)
			}
			want[i] = v
		}
		if v, err := m.Lookup(77); err != nil || v != want[77] {
			t.Errorf("%s: Lookup: %+v, %v", typ, v, err)
		}
		if err := m.Put(77, counts{}, ebpf.UpdateNoExist); !errors.Is(err, ebpf.ErrKeyExist) {
			t.Errorf("%s: UpdateNoExist: %v", typ, err)
		}
		if err := m.Put(7777, counts{}, ebpf.UpdateExist); !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Errorf("%s: UpdateExist: %v", typ, err)
		}
		got := map[uint32]counts{}
		for e, err := range m.All() {
			if err != nil {
				t.Fatal(err)
			}
			got[e.Key] = e.Value
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: All returned %d entries, want %d", typ, len(got), len(want))
		}
		if v, err := LookupAndDelete(m, 3); errors.Is(err, ebpf.ErrNotSupported) {
			// Kernels before 5.14 have it for queues only.
			if err := m.Delete(3); err != nil {
				t.Errorf("%s: Delete: %v", typ, err)
			}
		} else if err != nil || v != want[3] {
			t.Errorf("%s: LookupAndDelete: %+v, %v", typ, v, err)
		}
		if err := m.Delete(3); !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Errorf("%s: second Delete: %v", typ, err)
		}
		// Deleting what comes is allowed, and so is leaving early.
		n := 0
		for e, err := range m.All() {
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Delete(e.Key); err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 499 {
			t.Errorf("%s: %d of 499 entries came while they were deleted", typ, n)
		}
		for range m.All() {
			t.Errorf("%s: an entry of an empty map", typ)
		}
		_ = m.Put(1, counts{})
		_ = m.Put(2, counts{})
		for range m.All() {
			break
		}
	}
}

func TestArrayMap(t *testing.T) {
	m := inKernel[Map[uint32, uint64]](t, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 5})
	if err := m.Put(4, 40); err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for e, err := range m.All() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Value)
	}
	if !slices.Equal(got, []uint64{0, 0, 0, 0, 40}) {
		t.Errorf("All: %v", got)
	}
	if _, err := m.Lookup(5); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("lookup beyond the end: %v", err)
	}
}

func TestPerCPUMap(t *testing.T) {
	cpus := ebpf.MustPossibleCPU()
	for _, typ := range []ebpf.MapType{ebpf.PerCPUHash, ebpf.LRUCPUHash, ebpf.PerCPUArray} {
		// 12 bytes: the kernel puts 16 between the values of two CPUs.
		m := inKernel[PerCPUMap[uint32, [3]uint32]](t, &ebpf.MapSpec{Type: typ, KeySize: 4, ValueSize: 12, MaxEntries: 4})
		values := make([][3]uint32, cpus)
		for i := range values {
			values[i] = [3]uint32{uint32(i), uint32(i) + 1, 0xffffffff}
		}
		if err := m.Put(2, values); err != nil {
			t.Fatal(err)
		}
		if got, err := m.Lookup(2); err != nil || !slices.Equal(got, values) {
			t.Errorf("%s: Lookup: %v, %v", typ, got, err)
		}
		got := make([][3]uint32, cpus+1)
		if err := m.LookupInto(2, got); err != nil || !slices.Equal(got[:cpus], values) {
			t.Errorf("%s: LookupInto: %v, %v", typ, got, err)
		}
		if err := m.LookupInto(2, got[:cpus-1]); err == nil || !strings.Contains(err.Error(), "possible CPUs") {
			t.Errorf("%s: LookupInto a slice that is too short: %v", typ, err)
		}
		n := 0
		for e, err := range m.All() {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if e.Key == 2 && !slices.Equal(e.Value, values) {
				t.Errorf("%s: All: %v", typ, e.Value)
			}
		}
		if want := map[bool]int{true: 4, false: 1}[typ == ebpf.PerCPUArray]; n != want {
			t.Errorf("%s: All returned %d entries, want %d", typ, n, want)
		}
		if err := m.Put(1, values[:1]); err != nil {
			t.Fatal(err)
		}
		if got, err := m.Lookup(1); err != nil || got[0] != values[0] || cpus > 1 && got[1] != [3]uint32{} {
			t.Errorf("%s: values of CPUs that were not given: %v, %v", typ, got, err)
		}
		if err := m.Put(1, make([][3]uint32, cpus+1)); err == nil {
			t.Errorf("%s: more values than CPUs must fail", typ)
		}
		if typ != ebpf.PerCPUArray {
			if err := m.Delete(2); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Lookup(2); !errors.Is(err, ebpf.ErrKeyNotExist) {
				t.Errorf("%s: lookup after Delete: %v", typ, err)
			}
		}
	}
}

func TestQueue(t *testing.T) {
	for typ, want := range map[ebpf.MapType][]uint64{ebpf.Queue: {1, 2, 3}, ebpf.Stack: {3, 2, 1}} {
		q := inKernel[Queue[uint64]](t, &ebpf.MapSpec{Type: typ, ValueSize: 8, MaxEntries: 3})
		for _, v := range []uint64{1, 2, 3} {
			if err := q.Push(v, ebpf.UpdateAny); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Push(4, ebpf.UpdateAny); !errors.Is(err, unix.E2BIG) {
			t.Errorf("%s: push to a full map: %v", typ, err)
		}
		if v, err := q.Peek(); err != nil || v != want[0] {
			t.Errorf("%s: Peek: %d, %v", typ, v, err)
		}
		var got []uint64
		for range want {
			v, err := q.Pop()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, v)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", typ, got, want)
		}
		if _, err := q.Pop(); !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Errorf("%s: pop from an empty map: %v", typ, err)
		}
		if _, err := q.Peek(); !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Errorf("%s: peek into an empty map: %v", typ, err)
		}
	}
}

func TestMapOfMaps(t *testing.T) {
	inner := &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 10}
	for _, typ := range []ebpf.MapType{ebpf.HashOfMaps, ebpf.ArrayOfMaps} {
		spec := &ebpf.MapSpec{Type: typ, KeySize: 4, ValueSize: 4, MaxEntries: 4, InnerMap: inner}
		m := inKernel[MapOfMaps[uint32, Map[uint32, uint64]]](t, spec, binding.MapTypes{Inner: &binding.MapTypes{Key: 4, Value: 8}})
		one := inKernel[Map[uint32, uint64]](t, inner)
		if err := m.Put(3, one.Map()); err != nil {
			t.Fatal(err)
		}
		again, err := m.Lookup(3)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Map().Close()
		if err := again.Put(5, 55); err != nil {
			t.Fatal(err)
		}
		if v, err := one.Lookup(5); err != nil || v != 55 {
			t.Errorf("%s: %d, %v: the inner map is another", typ, v, err)
		}
		if _, err := m.Lookup(1); !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Errorf("%s: lookup of nothing: %v", typ, err)
		}
		if err := m.Delete(3); err != nil {
			t.Error(err)
		}

		wrong := inKernel[MapOfMaps[uint32, Map[uint32, counts]]](t, spec, binding.MapTypes{Inner: &binding.MapTypes{Key: 4, Value: 24}})
		if err := wrong.Put(0, one.Map()); err != nil {
			t.Fatal(err)
		}
		if _, err := wrong.Lookup(0); err == nil || !strings.Contains(err.Error(), "do not fit") {
			t.Errorf("%s: inner map of another type: %v", typ, err)
		}
	}
}

// flow is a key with padding in the middle, in an array and at the end.
type flow struct {
	_     structs.HostLayout
	Proto uint8
	_     [3]byte
	Ports [2]port
	Addr  uint32
	_     [4]byte
}

// flowTypes says where the padding is, as generated code does.
var flowTypes = binding.MapTypes{Padding: []binding.Span{{Start: 1, End: 4}, {Start: 6, End: 8}, {Start: 10, End: 12}, {Start: 16, End: 20}}}

type port struct {
	_      structs.HostLayout
	Number uint16
	_      [2]byte
}

// Padding in keys is zero, whatever was in the memory before.
func TestKeyPadding(t *testing.T) {
	m := inKernel[Map[flow, uint64]](t, &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 20, ValueSize: 8, MaxEntries: 10}, flowTypes)
	key := flow{Proto: 6, Ports: [2]port{{Number: 80}, {Number: 443}}, Addr: 0x01020304}
	want := make([]byte, 20)
	want[0] = 6
	for at, number := range map[int]uint16{4: 80, 8: 443} {
		nativeOrder.PutUint16(want[at:], number)
	}
	nativeOrder.PutUint32(want[12:], 0x01020304)
	dirty := func() {
		b := bytesOf(&key)
		for _, gap := range flowTypes.Padding {
			for i := gap.Start; i < gap.End; i++ {
				b[i] = 0xdd
			}
		}
	}
	dirty()
	if err := m.Put(key, 7); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Map().NextKeyBytes(nil); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the kernel has the key %v, want %v; %v", got, want, err)
	}
	dirty()
	if v, err := m.Lookup(key); err != nil || v != 7 {
		t.Errorf("Lookup: %d, %v", v, err)
	}
	dirty()
	if err := m.Delete(key); err != nil {
		t.Error(err)
	}
}

func TestSizesAreChecked(t *testing.T) {
	m := new(UntypedMap)
	m.init("events", binding.MapTypes{Key: 4, Value: 24})
	if err := m.checkSizes(4, 24); err != nil {
		t.Error(err)
	}
	for _, s := range [][2]uint32{{4, 23}, {4, 32}, {8, 24}, {0, 24}} {
		if err := m.checkSizes(s[0], s[1]); err == nil || !strings.Contains(err.Error(), "map events") {
			t.Errorf("sizes %v: %v", s, err)
		}
	}
}

// A map that was made of another type than declared can have elements of other sizes than the
// memory that methods hand to the kernel.
func TestChangedType(t *testing.T) {
	typed := binding.MapTypes{Key: 4, Value: 8}
	perCPU := func(name string) *ebpf.MapSpec {
		return &ebpf.MapSpec{Name: name, Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 3}
	}
	devices := func(name string) *ebpf.MapSpec {
		return &ebpf.MapSpec{Name: name, Type: ebpf.DevMap, KeySize: 4, ValueSize: 4, MaxEntries: 3}
	}
	o := newTestObject(t, []*ebpf.MapSpec{array("wider"), array("hash"), perCPU("narrower"), devices("devices"), devices("larger")})
	defer o.Close()
	for i, typ := range []ebpf.MapType{ebpf.PerCPUArray, ebpf.Hash, ebpf.Array, ebpf.DevMapHash, ebpf.Array} {
		m := o.maps[i]
		if i < 3 {
			m.types = typed
		}
		if err := m.SetType(typ); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.maps[4].SetValueSize(64); err != nil {
		t.Fatal(err)
	}
	library := new(UntypedMap)
	if err := (*object)(o).bindMap(mapDesc{Name: "wider", Handle: library, Types: typed}); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	var key uint32
	value := [16]uint64{15: 7}
	for i, want := range []string{"type PerCPUArray, and the handle is for the declared type Array", "", "declared type PerCPUArray", "", "declared type DevMap"} {
		m := o.maps[i]
		err := m.putElement(unsafe.Pointer(&key), unsafe.Pointer(&value), nil)
		if want == "" {
			if i == 1 && err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
			continue
		}
		kerneltest.WantError(t, err, want)
		kerneltest.WantError(t, m.lookupElement(unsafe.Pointer(&key), unsafe.Pointer(&value), nil), want)
	}
	kerneltest.WantError(t, library.lookupElement(unsafe.Pointer(&key), unsafe.Pointer(&value), nil), "declared type Array")
	narrower := &PerCPUMap[uint32, uint64]{BaseMap{UntypedMap{of: o.maps[2], declared: ebpf.PerCPUArray, types: typed}}}
	for _, err := range narrower.All() {
		kerneltest.WantError(t, err, "declared type PerCPUArray")
	}
	_, err := PutPerCPUBatch(narrower, []uint32{0}, [][]uint64{{1}})
	kerneltest.WantError(t, err, "declared type PerCPUArray")
	for _, err := range LookupPerCPUBatches(narrower, 1) {
		kerneltest.WantError(t, err, "declared type PerCPUArray")
	}
	if value != [16]uint64{15: 7} {
		t.Errorf("the kernel has written %v", value)
	}
}

// So can an inner map.
func TestChangedInnerType(t *testing.T) {
	bpftest.NeedsBPF(t)
	img := newTestImage(t, []*ebpf.MapSpec{{Name: "outer", Type: ebpf.HashOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 2}, array("inner")})
	img.Maps[0].Inner, img.Maps[1].Kind = 1, image.InnerMap
	o, err := openImage(img, describe(img))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	perCPU, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer perCPU.Close()
	m := &MapOfMaps[uint32, Map[uint32, uint64]]{BaseMap{UntypedMap{of: o.maps[0], types: binding.MapTypes{Key: 4, Value: 4, Inner: &binding.MapTypes{Key: 4, Value: 8}}}}}
	if err := m.UntypedMap.SetInner(perCPU); err != nil {
		t.Fatal(err)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if err := m.Put(1, perCPU); err != nil {
		t.Fatal(err)
	}
	h, err := m.Lookup(1)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Map().Close()
	_, err = h.Lookup(0)
	kerneltest.WantError(t, err, "declared type Array")
}

func TestMapBeforeLoad(t *testing.T) {
	var m Map[uint32, uint32]
	var p PerCPUMap[uint32, uint32]
	var q Queue[uint32]
	var r RingBuffer
	var e PerfEventArray
	var mm MapOfMaps[uint32, Map[uint32, uint32]]
	all := func(f func(yield func(error) bool)) (err error) {
		for err = range f {
		}
		return err
	}
	for i, err := range []error{
		second(m.Lookup(1)), second(LookupAndDelete(&m, 1)), m.Put(1, 1), m.Delete(1),
		second(p.Lookup(1)), p.Put(1, nil), p.Delete(1),
		q.Push(1, 0), second(q.Pop()), second(q.Peek()),
		second(NewRingReader[uint32](&r)), second(NewPerfReader[uint32](&e, 4096)),
		mm.Put(1, nil), second(mm.Lookup(1)), mm.Delete(1),
		all(func(yield func(error) bool) {
			m.All()(func(_ Entry[uint32, uint32], err error) bool { return yield(err) })
		}),
		all(func(yield func(error) bool) {
			p.All()(func(_ Entry[uint32, []uint32], err error) bool { return yield(err) })
		}),
	} {
		if !errors.Is(err, ErrNotLoaded) {
			t.Errorf("case %d: %v", i, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Neither what is there nor what is not there costs an allocation.
func TestMapsDoNotAllocate(t *testing.T) {
	hash := inKernel[Map[flow, counts]](t, &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 20, ValueSize: 24, MaxEntries: 100}, flowTypes)
	perCPU := inKernel[PerCPUMap[uint32, [3]uint32]](t, &ebpf.MapSpec{Type: ebpf.PerCPUHash, KeySize: 4, ValueSize: 12, MaxEntries: 10})
	queue := inKernel[Queue[uint64]](t, &ebpf.MapSpec{Type: ebpf.Queue, ValueSize: 8, MaxEntries: 3})
	devices := inKernel[DevMap](t, &ebpf.MapSpec{Type: ebpf.DevMap, KeySize: 4, ValueSize: 4, MaxEntries: 3})
	here, absent := flow{Addr: 1}, flow{Addr: 2}
	for i := range uint32(50) {
		if err := hash.Put(flow{Addr: i, Proto: 17}, counts{}); err != nil {
			t.Fatal(err)
		}
	}
	values := make([][3]uint32, ebpf.MustPossibleCPU())
	for _, c := range []struct {
		name string
		call func() error
		want error
	}{
		{"Put", func() error { return hash.Put(here, counts{Packets: 5}) }, nil},
		{"Put with a flag", func() error { return hash.Put(here, counts{Packets: 5}, ebpf.UpdateNoExist) }, ebpf.ErrKeyExist},
		{"Put of an absent key", func() error { return hash.Put(absent, counts{}, ebpf.UpdateExist) }, ebpf.ErrKeyNotExist},
		{"Lookup", func() error { return second(hash.Lookup(here)) }, nil},
		{"Lookup of an absent key", func() error { return second(hash.Lookup(absent)) }, ebpf.ErrKeyNotExist},
		{"Delete of an absent key", func() error { return hash.Delete(absent) }, ebpf.ErrKeyNotExist},
		{"LookupAndDelete of an absent key", func() error { return second(LookupAndDelete(hash, absent)) }, ebpf.ErrKeyNotExist},
		{"All", func() error {
			n := 0
			for e, err := range hash.All() {
				if err != nil || e.Key.Addr > 50 {
					return err
				}
				n++
			}
			if n < 50 {
				return fmt.Errorf("%d entries", n)
			}
			return nil
		}, nil},
		{"Put of values for all CPUs", func() error { return perCPU.Put(1, values) }, nil},
		{"LookupInto", func() error { return perCPU.LookupInto(1, values) }, nil},
		{"LookupInto of an absent key", func() error { return perCPU.LookupInto(2, values) }, ebpf.ErrKeyNotExist},
		{"Lookup of an absent key for all CPUs", func() error { return second(perCPU.Lookup(2)) }, ebpf.ErrKeyNotExist},
		{"Pop", func() error { return errors.Join(queue.Push(1), second(queue.Peek()), second(queue.Pop())) }, nil},
		{"Pop from an empty queue", func() error { return second(queue.Pop()) }, ebpf.ErrKeyNotExist},
		{"Lookup of an absent device", func() error { return second(devices.Lookup(1)) }, ebpf.ErrKeyNotExist},
	} {
		if err := c.call(); !errors.Is(err, c.want) {
			if errors.Is(err, ebpf.ErrNotSupported) {
				continue // hashes have LookupAndDelete since Linux 5.14
			}
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
			continue
		}
		if n := testing.AllocsPerRun(100, func() { _ = c.call() }); n != 0 && !region.RaceDetector {
			t.Errorf("%s allocates %v times", c.name, n)
		}
	}
}

// emit loads a program that sends what its input begins with to a ring buffer.
func emit(t testing.TB, m *RingBuffer) *ebpf.Program {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:    ebpf.SocketFilter,
		License: "Dual BSD/GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			// skb_load_bytes(skb, 0, fp-32, 32)
			asm.Mov.Imm(asm.R2, 0),
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, -32),
			asm.Mov.Imm(asm.R4, 32),
			asm.FnSkbLoadBytes.Call(),
			// ringbuf_output(map, fp-32, fp-32[0] & 31, 0)
			asm.LoadMapPtr(asm.R1, m.Map().FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -32),
			asm.LoadMem(asm.R3, asm.RFP, -32, asm.Byte),
			asm.And.Imm(asm.R3, 31),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnRingbufOutput.Call(),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	return prog
}

type event struct {
	_    structs.HostLayout
	Size uint8
	_    [7]byte
	Time uint64
}

func TestRingReader(t *testing.T) {
	m := inKernel[RingBuffer](t, &ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize())})
	prog := emit(t, m)
	send := func(size byte, time uint64) {
		t.Helper()
		// The Ethernet header is taken off before the program sees the packet.
		in := make([]byte, 14+64)
		in[14] = size
		binary.NativeEndian.PutUint64(in[14+8:], time)
		in[14+16] = 0xab
		if _, _, err := prog.Test(in); err != nil {
			t.Fatal(err)
		}
	}
	r, err := NewRingReader[event](m)
	if err != nil {
		t.Fatal(err)
	}
	send(16, 1)
	send(8, 2)  // too short
	send(20, 3) // with a tail
	if e, err := r.Read(); err != nil || e.Time != 1 || e.Size != 16 || len(r.Tail()) != 0 {
		t.Errorf("%+v, %v, tail %v", e, err, r.Tail())
	}
	if _, err := r.Read(); !errors.Is(err, ErrRecordSize) {
		t.Errorf("short record: %v", err)
	}
	if e, err := r.Read(); err != nil || e.Time != 3 || !bytes.Equal(r.Tail(), []byte{0xab, 0, 0, 0}) {
		t.Errorf("%+v, %v, tail %v", e, err, r.Tail())
	}
	r.SetDeadline(time.Now())
	if _, err := r.Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}

	send(16, 4)
	send(4, 5)
	send(16, 6)
	r.SetDeadline(time.Now().Add(50 * time.Millisecond))
	var times []uint64
	bad := 0
	for e, err := range r.All() {
		if err != nil {
			bad++
			continue
		}
		times = append(times, e.Time)
	}
	if !slices.Equal(times, []uint64{4, 6}) || bad != 1 {
		t.Errorf("All: %v and %d bad records", times, bad)
	}

	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	for range r.All() {
		t.Error("a record after Close")
	}
}

func TestRecordTypes(t *testing.T) {
	m := inKernel[RingBuffer](t, &ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize())})
	for _, err := range []error{
		second(NewRingReader[*uint32](m)), second(NewRingReader[string](m)),
		second(NewRingReader[struct{ Err fs.FileInfo }](m)), second(NewRingReader[[2][]byte](m)),
	} {
		if err == nil || !strings.Contains(err.Error(), "holds Go pointers") {
			t.Errorf("type with pointers: %v", err)
		}
	}
}
