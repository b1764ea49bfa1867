package skeleton

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// setter is a method that changes what Load, or what Attach, does.
type setter struct {
	// set calls it with a value that it takes, and that changes nothing.
	set func(*settable) error
	// wrong call it with values that no kernel takes. Each is an error, and one of Load when
	// nobody looks at it.
	wrong []func(*settable) error
	// refused calls it with a value that the kernel, or the file system, refuses. Load says so.
	refused func(*settable) error
	// always says that it counts after Load too, and until Close.
	always bool
}

// settable is an object that has something for every setter.
type settable struct {
	*Object
	m, ring, tails, outer, data *UntypedMap
	p, traced                   *BaseProgram
	table                       *StructOpsMap
	// other is a map that is none of the object's.
	other *ebpf.Map
}

func openSettable(t *testing.T) *settable {
	t.Helper()
	bpftest.NeedsBPF(t)
	p := kerneltest.Trivial(ebpf.XDP, "xdp")
	traced := kerneltest.Trivial(ebpf.Tracing, "?fentry/vfs_read")
	traced.Name = "traced"
	img := newTestImage(t, []*ebpf.MapSpec{
		array("m"), {Name: "ring", Type: ebpf.RingBuf, MaxEntries: 1 << 16},
		{Name: "tails", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 2},
		{Name: "outer", Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1},
	}, p, traced)
	img.Maps = append(img.Maps, image.Map{Name: ".data", Kind: image.DataMap, Type: uint32(ebpf.Array), KeySize: 4, ValueSize: 4, MaxEntries: 1, Inner: image.NoIndex, Contents: make([]byte, 4)})
	img.StructOps = []image.StructOps{{Name: "table", Section: "?.struct_ops.link", Contents: make([]byte, 8)}}
	o, err := openImage(img, describe(img))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &settable{
		Object: o, m: o.FindMap("m"), ring: o.FindMap("ring"), tails: o.FindMap("tails"), outer: o.FindMap("outer"), data: o.FindMap(".data"),
		p: (*object)(o).prog("p"), traced: (*object)(o).prog("traced"), table: o.structOps[0],
	}
	// It has no inner map, and older kernels have no ring buffers.
	if err := errors.Join(s.outer.SetAutocreate(false), s.ring.SetAutocreate(false)); err != nil {
		t.Fatal(err)
	}
	s.table.ops.Autocreate = false
	if s.other, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.other.Close() })
	return s
}

// of makes a setter of a method that takes one value: one that is right, and wrong ones.
func of[V any](set func(s *settable, v V) error, right V, wrong ...V) setter {
	with := func(v V) func(*settable) error { return func(s *settable) error { return set(s, v) } }
	all := setter{set: with(right)}
	for _, v := range wrong {
		all.wrong = append(all.wrong, with(v))
	}
	return all
}

// alsoWrong adds calls that are wrong by more than their value.
func (s setter) alsoWrong(calls ...func(*settable) error) setter {
	s.wrong = append(s.wrong, calls...)
	return s
}

// refusing adds a call with a value that Load refuses.
func (s setter) refusing(set func(*settable) error) setter {
	s.refused = set
	return s
}

// untilClose says that the setter counts after Load too.
func (s setter) untilClose() setter {
	s.always = true
	return s
}

// wide is a number of more than 31 bits, where an int has them.
func wide(n int64) int {
	if i := int(n); int64(i) == n {
		return i
	}
	return -2
}

// optionsOfKind is the setter SetAttachOptions of a handle, which takes any options, and none.
func optionsOfKind[O any](set func(p *BaseProgram, o *O) error) setter {
	return of(func(s *settable, o *O) error { return set(s.p, o) }, nil).untilClose()
}

// setters are all of them, by type and method: TestEverySetterIsTested of package runtime_test
// looks for the names.
var setters = map[string]setter{
	"UntypedMap.SetType": of(func(s *settable, v ebpf.MapType) error { return s.m.SetType(v) }, ebpf.Array, ebpf.UnspecifiedMap, ebpf.StructOpsMap).
		refusing(func(s *settable) error { return s.m.SetType(4711) }),
	"UntypedMap.SetKeySize": of(func(s *settable, v uint32) error { return s.m.SetKeySize(v) }, 4).
		refusing(func(s *settable) error { return s.m.SetKeySize(8) }),
	"UntypedMap.SetValueSize": of(func(s *settable, v uint32) error { return s.m.SetValueSize(v) }, 8).
		refusing(func(s *settable) error { return s.m.SetValueSize(0) }),
	"UntypedMap.SetMaxEntries": of(func(s *settable, v uint32) error { return s.m.SetMaxEntries(v) }, 3, 0).
		alsoWrong(func(s *settable) error { return s.ring.SetMaxEntries(1<<31 + 1) }).
		refusing(func(s *settable) error { return s.m.SetMaxEntries(1<<32 - 1) }),
	"BaseMap.SetMaxEntries": of(func(s *settable, v uint32) error { return (&BaseMap{UntypedMap{of: s.m}}).SetMaxEntries(v) }, 3, 0),
	"UntypedMap.SetFlags": of(func(s *settable, v uint32) error { return s.m.SetFlags(v) }, 0).
		refusing(func(s *settable) error { return s.m.SetFlags(1 << 31) }),
	"UntypedMap.SetExtra": of(func(s *settable, v uint64) error { return s.m.SetExtra(v) }, 0).
		refusing(func(s *settable) error { return s.m.SetExtra(1) }),
	"UntypedMap.SetNUMANode": of(func(s *settable, v uint32) error { return s.m.SetNUMANode(v) }, 0).
		refusing(func(s *settable) error { return s.m.SetNUMANode(1 << 30) }),
	"UntypedMap.SetIfindex": of(func(s *settable, v int) error { return s.m.SetIfindex(v) }, 0, -1, wide(1<<31)).
		refusing(func(s *settable) error { return s.m.SetIfindex(1) }),
	"UntypedMap.SetExclusiveProgram": of(func(s *settable, v *BaseProgram) error { return s.m.SetExclusiveProgram(v) }, nil).
		alsoWrong(func(s *settable) error { return s.tails.SetExclusiveProgram(s.p) }, func(s *settable) error { return s.outer.SetExclusiveProgram(s.p) }).
		refusing(func(s *settable) error { return s.m.SetExclusiveProgram(s.traced) }),
	"UntypedMap.SetPinning": of(func(s *settable, v ebpf.PinType) error { return s.m.SetPinning(v) }, ebpf.PinNone, 7),
	"UntypedMap.SetPinPath": of(func(s *settable, v string) error { return s.m.SetPinPath(v) }, "").
		refusing(func(s *settable) error { return s.m.SetPinPath("/proc/no/such/directory/m") }),
	"UntypedMap.SetAutocreate": of(func(s *settable, v bool) error { return s.m.SetAutocreate(v) }, true),
	"UntypedMap.Reuse": of(func(s *settable, v *ebpf.Map) error { return s.m.Reuse(v) }, nil).
		refusing(func(s *settable) error { return s.m.Reuse(s.other) }),
	"UntypedMap.SetInner":        of(func(s *settable, v *ebpf.Map) error { return s.outer.SetInner(v) }, nil),
	"UntypedMap.SetInitialValue": of(func(s *settable, v []byte) error { return s.data.SetInitialValue(v) }, make([]byte, 4), nil, make([]byte, 5)),
	"ProgArray.SetContents": of(func(s *settable, v map[uint32]*BaseProgram) error {
		return (&ProgArray{UntypedMap{of: s.tails}}).SetContents(v)
	}, nil, map[uint32]*BaseProgram{0: nil}, map[uint32]*BaseProgram{0: {owner: (*object)(new(Object))}}),
	"StructOpsMap.SetAutoattach": of(func(s *settable, v bool) error { return s.table.SetAutoattach(v) }, true).untilClose(),
	"StructOpsMap.SetPinLinks":   of(func(s *settable, v bool) error { return s.table.SetPinLinks(v) }, true).untilClose(),

	"BaseProgram.SetAutoload":   of(func(s *settable, v bool) error { return s.p.SetAutoload(v) }, true),
	"BaseProgram.SetAutoattach": of(func(s *settable, v bool) error { return s.p.SetAutoattach(v) }, true).untilClose(),
	"BaseProgram.SetPinLinks":   of(func(s *settable, v bool) error { return s.p.SetPinLinks(v) }, true).untilClose(),
	"BaseProgram.SetType": of(func(s *settable, v ebpf.ProgramType) error { return s.p.SetType(v, s.p.AttachType()) }, ebpf.XDP, ebpf.UnspecifiedProgram).
		refusing(func(s *settable) error { return s.p.SetType(4711, 0) }),
	"BaseProgram.SetAttachType": of(func(s *settable, v ebpf.AttachType) error { return s.p.SetAttachType(v) }, ebpf.AttachXDP).
		refusing(func(s *settable) error {
			return errors.Join(s.p.SetType(ebpf.CGroupSockAddr, 0), s.p.SetAttachType(4711))
		}),
	"BaseProgram.SetTarget": of(func(s *settable, v string) error { return s.traced.SetTarget(nil, v) }, "vfs_read").
		alsoWrong(func(s *settable) error { return s.p.SetTarget(nil, "vfs_read") }).
		refusing(func(s *settable) error {
			return errors.Join(s.traced.SetTarget(nil, "no_such_function"), s.traced.SetAutoload(true))
		}),
	"BaseProgram.SetTargetProgram": setter{set: func(s *settable) error { return s.traced.SetTargetProgram(s.p, "p") }}.
		alsoWrong(
			func(s *settable) error { return s.traced.SetTargetProgram(nil, "p") },
			func(s *settable) error { return s.traced.SetTargetProgram(s.traced, "p") },
			func(s *settable) error {
				return s.traced.SetTargetProgram(&BaseProgram{owner: (*object)(new(Object))}, "p")
			},
			func(s *settable) error { return s.p.SetTargetProgram(s.traced, "p") },
		),
	"BaseProgram.SetFlags": of(func(s *settable, v uint32) error { return s.p.SetFlags(v) }, 0).
		refusing(func(s *settable) error { return s.p.SetFlags(1 << 31) }),
	"BaseProgram.SetIfindex": of(func(s *settable, v int) error { return s.p.SetIfindex(v) }, 0, -1, wide(1<<31)).
		refusing(func(s *settable) error { return s.p.SetIfindex(1<<31 - 1) }),
	"BaseProgram.SetLogLevel": of(func(s *settable, v ebpf.LogLevel) error { return s.p.SetLogLevel(v) }, 0, 8, 1<<31),
	"BaseProgram.SetLogSize":  of(func(s *settable, v uint32) error { return s.p.SetLogSize(v) }, 0, 1<<31),
	"BaseProgram.SetInstructions": of(func(s *settable, v asm.Instructions) error { return s.p.SetInstructions(v) }, nil, asm.Instructions{}, asm.Instructions{asm.Ja.Label("nowhere")}).
		refusing(func(s *settable) error { return s.p.SetInstructions(asm.Instructions{asm.Return()}) }),

	"KprobeProgram.SetAttachOptions":       optionsOfKind(func(p *BaseProgram, o *KprobeOptions) error { return (&KprobeProgram{p}).SetAttachOptions(o) }),
	"KprobeMultiProgram.SetAttachOptions":  optionsOfKind(func(p *BaseProgram, o *KprobeMultiOptions) error { return (&KprobeMultiProgram{p}).SetAttachOptions(o) }),
	"SyscallProbeProgram.SetAttachOptions": optionsOfKind(func(p *BaseProgram, o *SyscallOptions) error { return (&SyscallProbeProgram{p}).SetAttachOptions(o) }),
	"UprobeProgram.SetAttachOptions":       optionsOfKind(func(p *BaseProgram, o *UprobeOptions) error { return (&UprobeProgram{p}).SetAttachOptions(o) }),
	"UprobeMultiProgram.SetAttachOptions":  optionsOfKind(func(p *BaseProgram, o *UprobeMultiOptions) error { return (&UprobeMultiProgram{p}).SetAttachOptions(o) }),
	"USDTProgram.SetAttachOptions":         optionsOfKind(func(p *BaseProgram, o *USDTOptions) error { return (&USDTProgram{p}).SetAttachOptions(o) }),
	"TracepointProgram.SetAttachOptions":   optionsOfKind(func(p *BaseProgram, o *TracepointOptions) error { return (&TracepointProgram{p}).SetAttachOptions(o) }),
	"RawTracepointProgram.SetAttachOptions": optionsOfKind(func(p *BaseProgram, o *RawTracepointOptions) error {
		return (&RawTracepointProgram{p}).SetAttachOptions(o)
	}),
	"TracingProgram.SetAttachOptions": optionsOfKind(func(p *BaseProgram, o *TracingOptions) error { return (&TracingProgram{p}).SetAttachOptions(o) }),
	"IterProgram.SetAttachOptions":    optionsOfKind(func(p *BaseProgram, o *IterOptions) error { return (&IterProgram{p}).SetAttachOptions(o) }),
}

// A setting that no kernel takes is an error then, and of Load when nobody has looked at it.
// One that only the kernel knows to be wrong is an error of Load. After Load, and after Prepare,
// each says that it comes too late, unless it counts later, and after Close all do.
func TestSetters(t *testing.T) {
	for name, setter := range setters {
		t.Run(name, func(t *testing.T) {
			for i, wrong := range setter.wrong {
				o := openSettable(t)
				err := wrong(o)
				if err == nil || !strings.HasPrefix(err.Error(), "set ") {
					t.Errorf("wrong value %d: %v, want an error that begins with what is set", i, err)
					continue
				}
				if loadErr := o.Load(); loadErr == nil || !strings.Contains(loadErr.Error(), err.Error()) {
					t.Errorf("wrong value %d: Load: %v, want %q", i, loadErr, err)
				}
			}
			if setter.refused != nil {
				o := openSettable(t)
				if err := setter.refused(o); err != nil {
					t.Errorf("a value that the kernel is to refuse: %v", err)
				}
				if err := o.Load(); err == nil || !strings.HasPrefix(err.Error(), "load test: ") {
					t.Errorf("Load of what the kernel is to refuse: %v", err)
				}
			}
			for after, advance := range map[string]func(*settable) error{
				"Load":    func(o *settable) error { return o.Load() },
				"Prepare": func(o *settable) error { return o.Prepare() },
			} {
				o := openSettable(t)
				if err := errors.Join(setter.set(o), setter.set(o)); err != nil {
					t.Fatalf("before %s: %v", after, err)
				}
				if err := advance(o); err != nil {
					t.Fatalf("%s: %v", after, err)
				}
				calls := slices.Clone(setter.wrong)
				if setter.refused != nil {
					calls = append(calls, setter.refused)
				}
				for i, call := range append(calls, setter.set) {
					switch err := call(o); {
					case setter.always && err != nil:
						t.Errorf("after %s, call %d: %v", after, i, err)
					case !setter.always && (!errors.Is(err, ErrLoaded) || !strings.HasPrefix(err.Error(), "set ")):
						t.Errorf("after %s, call %d: %v, want %v", after, i, err, ErrLoaded)
					}
				}
				if err := o.Close(); err != nil {
					t.Fatal(err)
				}
				if err := setter.set(o); !errors.Is(err, ErrClosed) {
					t.Errorf("after Close: %v, want %v", err, ErrClosed)
				}
			}
		})
	}
}
