// Package fake has maps in memory behind the handles of package skeleton, for tests that need
// neither a kernel nor rights, on any system.
//
// Code that takes handles, [skeleton.Map] and its like, takes those of this package too:
//
//	func TestTop(t *testing.T) {
//		counts := fake.NewMap(t, map[uint32]uint64{7: 40, 9: 2}, nil)
//		if got := top(counts); got != 7 {
//			t.Errorf("most are of %d, want 7", got)
//		}
//	}
//
// Code that takes a skeleton takes one whose maps are fakes, see [Load].
//
// All that a handle does with elements works, batches and ranges too, with the errors that
// the kernel's maps give: a hash that is full, a key that is not there. The order of a range
// is that in which keys were put, where the kernel has none. What is in the kernel alone is
// not there: Map of a handle returns nil, programs cannot be loaded, run or attached, nothing
// can be pinned, and calls that need it fail with an error. Package bpftest is for tests of that.
package fake

import (
	"errors"
	"math"
	"reflect"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/internal/fakemap"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// Options are the properties of a fake. A nil *Options is the zero value.
type Options struct {
	// Type is the map's type. The zero value is [ebpf.Hash] for [NewMap], [ebpf.PerCPUHash]
	// for [NewPerCPUMap], [ebpf.Queue] for [NewQueue].
	//
	// NewMap has [ebpf.Array] and [ebpf.LRUHash] too, NewPerCPUMap [ebpf.PerCPUArray] and
	// [ebpf.LRUCPUHash], NewQueue [ebpf.Stack]. LRU hashes drop the entry that was put the
	// longest time ago when they are full; the kernel's drop others and earlier, too.
	Type ebpf.MapType
	// MaxEntries is how many entries the map has room for, and for a ring buffer the number
	// of bytes, whole pages in a power of 2. An array has as many elements. 0 is 4096, and
	// 1 MiB for a ring buffer.
	MaxEntries uint32
	// CPUs is the number of possible CPUs: how many values there are for a key in a map that
	// has one for each. 0 is that of this machine, as [ebpf.PossibleCPU] returns it or, on
	// other systems than Linux, [runtime.NumCPU].
	CPUs int
}

// hooks are the functions of package skeleton for this package.
func hooks() fakemap.Hooks[skeleton.UntypedMap, skeleton.Any] {
	return fakemap.Skeleton.(fakemap.Hooks[skeleton.UntypedMap, skeleton.Any])
}

// cpus returns the number of possible CPUs that the options give.
func (o *Options) cpus() int {
	if o != nil && o.CPUs > 0 {
		return o.CPUs
	}
	if n, err := ebpf.PossibleCPU(); err == nil {
		return n
	}
	return runtime.NumCPU()
}

// handle makes m the handle of a fake.
func handle(t testing.TB, m *skeleton.UntypedMap, o *Options, defaults Options, types binding.MapTypes) {
	t.Helper()
	if o != nil && o.Type != 0 {
		defaults.Type = o.Type
	}
	if o != nil && o.MaxEntries != 0 {
		defaults.MaxEntries = o.MaxEntries
	}
	f, err := fakemap.New(fakemap.Spec{
		Type: defaults.Type, KeySize: types.Key, ValueSize: types.Value, MaxEntries: defaults.MaxEntries,
	}, o.cpus())
	if err != nil {
		t.Fatalf("make a fake: %v", err)
	}
	hooks().Handle(m, "fake", types, f)
}

// types describes types of keys and values, which are memory of the map.
func types[K, V any](t testing.TB) binding.MapTypes {
	t.Helper()
	key, value := reflect.TypeFor[K](), reflect.TypeFor[V]()
	for _, typ := range []reflect.Type{key, value} {
		if hooks().HasPointers(typ) {
			t.Fatalf("make a fake: type %v holds Go pointers, which a map cannot have: use a type of the skeleton's package", typ)
		}
		if typ.Size() > math.MaxInt32 {
			t.Fatalf("make a fake: type %v is too large", typ)
		}
	}
	return binding.MapTypes{Key: uint32(key.Size()), Value: uint32(value.Size()), Padding: padding(nil, key, 0)}
}

// padding appends the gaps between the fields of a type that is at an offset, and its blank
// fields, as generated code lists them.
func padding(to []binding.Span, typ reflect.Type, at uintptr) []binding.Span {
	add := func(start, end uintptr) {
		if start < end {
			to = append(to, binding.Span{Start: uint32(start), End: uint32(end)})
		}
	}
	switch typ.Kind() {
	case reflect.Array:
		for i := range typ.Len() {
			to = padding(to, typ.Elem(), at+uintptr(i)*typ.Elem().Size())
		}
	case reflect.Struct:
		end := at
		for i := range typ.NumField() {
			f := typ.Field(i)
			add(end, at+f.Offset)
			end = at + f.Offset + f.Type.Size()
			if f.Name == "_" {
				add(at+f.Offset, end)
			} else {
				to = padding(to, f.Type, at+f.Offset)
			}
		}
		add(end, at+typ.Size())
	}
	return to
}

// NewMap returns a handle on a map in memory with these entries. t fails when they are more
// than there is room for, or when K or V hold Go pointers.
func NewMap[K comparable, V any](t testing.TB, entries map[K]V, o *Options) *skeleton.Map[K, V] {
	t.Helper()
	m := new(skeleton.Map[K, V])
	handle(t, &m.UntypedMap, o, Options{Type: ebpf.Hash, MaxEntries: 4096}, types[K, V](t))
	isType(t, &m.UntypedMap, ebpf.Hash, ebpf.Array, ebpf.LRUHash)
	for key, value := range entries {
		put(t, m.Put(key, value))
	}
	return m
}

// NewPerCPUMap is [NewMap] for a map with a value for each CPU. As with
// [skeleton.PerCPUMap.Put], values that are missing at the end are zero.
func NewPerCPUMap[K comparable, V any](t testing.TB, entries map[K][]V, o *Options) *skeleton.PerCPUMap[K, V] {
	t.Helper()
	m := new(skeleton.PerCPUMap[K, V])
	handle(t, &m.UntypedMap, o, Options{Type: ebpf.PerCPUHash, MaxEntries: 4096}, types[K, V](t))
	isType(t, &m.UntypedMap, ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUCPUHash)
	for key, values := range entries {
		put(t, m.Put(key, values))
	}
	return m
}

// NewQueue returns a handle on a queue or a stack in memory, to which these values were
// pushed in this order.
func NewQueue[V any](t testing.TB, values []V, o *Options) *skeleton.Queue[V] {
	t.Helper()
	q := new(skeleton.Queue[V])
	handle(t, &q.UntypedMap, o, Options{Type: ebpf.Queue, MaxEntries: 4096}, types[struct{}, V](t))
	isType(t, &q.UntypedMap, ebpf.Queue, ebpf.Stack)
	for _, v := range values {
		put(t, q.Push(v))
	}
	return q
}

// NewRingBuffer returns a handle on a ring buffer in memory, into which [Output] puts records
// and which all readers of ring buffers read. It needs Linux.
func NewRingBuffer(t testing.TB, o *Options) *skeleton.RingBuffer {
	t.Helper()
	m := new(skeleton.RingBuffer)
	handle(t, &m.UntypedMap, o, Options{Type: ebpf.RingBuf, MaxEntries: 1 << 20}, binding.MapTypes{})
	isType(t, &m.UntypedMap, ebpf.RingBuf)
	return m
}

// isType fails t unless the fake has one of the types that its handle is for.
func isType(t testing.TB, m *skeleton.UntypedMap, types ...ebpf.MapType) {
	t.Helper()
	for _, typ := range types {
		if m.Type() == typ {
			return
		}
	}
	t.Fatalf("make a fake: a map of type %v has a handle of another kind: the types here are %v", m.Type(), types)
}

func put(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("make a fake: %v", err)
	}
}

// Output does what bpf_ringbuf_output does in a program: it puts a record into a ring buffer,
// which [skeleton.RingReader] reads. tail is what follows T in records that end in an array
// of any length. t fails when the ring buffer is not a fake, or has no room.
func Output[T any](t testing.TB, m *skeleton.RingBuffer, record T, tail ...byte) {
	t.Helper()
	if typ := reflect.TypeFor[T](); hooks().HasPointers(typ) {
		t.Fatalf("type %v holds Go pointers, which a record cannot have: use a type of the skeleton's package", typ)
	}
	ring, ok := hooks().Of(&m.UntypedMap).(*fakemap.Ring)
	if !ok {
		t.Fatalf("ring buffer %s is not a fake: make it with fake.NewRingBuffer or fake.Load", m.Name())
	}
	memory := unsafe.Slice((*byte)(unsafe.Pointer(&record)), unsafe.Sizeof(record))
	err := ring.Output(append(append([]byte(nil), memory...), tail...))
	if errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("ring buffer %s has no room for a record of %d bytes: read it, or give it more", m.Name(), len(memory)+len(tail))
	}
	if err != nil {
		t.Fatalf("ring buffer %s: %v", m.Name(), err)
	}
}

// Load returns a skeleton whose maps are fakes: open is the Open function of its package. It
// is closed when t ends.
//
// The maps are of their declared types and sizes. Maps of types that the functions above do not
// make fail in all calls. Data sections are memory of their own, with the values of
// the object, and zeros in .kconfig: the test puts there what the code is to find. Attach
// fails, and so do settings, as after any Load. To make some before, make them in open:
//
//	skel := fake.Load(t, func() (*counters.Skeleton, error) {
//		skel, err := counters.Open()
//		if err == nil {
//			err = skel.Maps.Counts.SetMaxEntries(2)
//		}
//		return skel, err
//	})
func Load[S interface {
	skeleton.Any
	Close() error
}](t testing.TB, open func() (S, error)) S {
	t.Helper()
	skel, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := skel.Close(); err != nil {
			t.Error(err)
		}
	})
	cpus := (*Options)(nil).cpus()
	err = hooks().Load(skel, func(spec fakemap.Spec) (fakemap.Map, error) { return fakemap.New(spec, cpus) })
	if err != nil {
		t.Fatalf("make fakes: %v", err)
	}
	return skel
}
