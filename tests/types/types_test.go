// Package types_test passes values of every type between C and Go, through the
// kernel's memory: C writes and Go reads, and the other way round.
package types_test

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/types/progs/floats"
	"github.com/rules-bpf/rules_bpf/tests/types/progs/layouts"
	"github.com/rules-bpf/rules_bpf/tests/types/progs/values"
)

// field is a field of C with what C writes to it, and what C expects Go to write.
// The fields are in the order of the C file, which counts them.
type field struct {
	name string
	get  func() any
	set  func()
	c    any
	goes any
}

// at is a field that has an address in Go.
func at[T any](name string, address *T, c, goes T) field {
	return field{name, func() any { return *address }, func() { *address = goes }, c, goes}
}

// by is a field that has a getter and a setter.
func by[T any](name string, get func() T, set func(T), c, goes T) field {
	return field{name, func() any { return get() }, func() { set(goes) }, c, goes}
}

func layoutFields(s *layouts.Skeleton) []field {
	v, e, b, w := &s.Bss.Values, &s.Bss.Endpoints, &s.Bss.Bits, &s.Bss.Wires
	list := s.Data.List.Items(3)
	// The members of a packed struct's members are set all at once.
	point := func() layouts.Point { return w[0].Point() }
	setX := func(x int16) { p := w[0].Point(); p.X = x; w[0].SetPoint(p) }
	setY := func(y int64) { p := w[0].Point(); p.Y = y; w[0].SetPoint(p) }
	sum := func(i int) func() int16 { return func() int16 { return w[0].Sums()[i] } }
	setSum := func(i int) func(int16) {
		return func(v int16) { sums := w[0].Sums(); sums[i] = v; w[0].SetSums(sums) }
	}
	return []field{
		at("values[0].byte", v[0].AsByte(), 11, 201),
		at("values[1].number", v[1].AsNumber(), 0x1122334455667788, 0x8877665544332211),
		at("values[2].point.x", &v[2].AsPoint().X, -12, 1200),
		at("values[2].point.y", &v[2].AsPoint().Y, -13000000000, 1300000000000),
		at("values[3].pair.low", &v[3].AsPair().Low, 14, 1400),
		at("values[3].pair.high", &v[3].AsPair().High, 15, 1500),
		at("values[4].text[0]", &v[4].AsText()[0], 'c', 'g'),
		at("values[4].text[19]", &v[4].AsText()[19], 'd', 'o'),
		at("endpoints[0].version", &e[0].Version, 4, 104),
		at("endpoints[0].v4", e[0].AsV4(), 0x7f000001, 0x0a000001),
		at("endpoints[0].port", &e[0].Port, 80, 8080),
		by("endpoints[0].flags", e[0].Flags, e[0].SetFlags, 5, 2),
		at("endpoints[0].after", &e[0].After, 17, 1700),
		at("endpoints[1].prefix", e[1].AsPrefix(), 0xfe80000000000000, 0x20010db800000000),
		at("endpoints[1].host", e[1].AsHost(), 18, 1800),
		at("endpoints[1].after", &e[1].After, 19, 1900),
		at("bits[0].before", &b[0].Before, 0xff, 0),
		by("bits[0].one", b[0].One, b[0].SetOne, 1, 0),
		by("bits[0].number", b[0].Number, b[0].SetNumber, -64, 63),
		by("bits[0].color", b[0].Color, b[0].SetColor, layouts.Blue, layouts.Red),
		by("bits[0].level", b[0].Level, b[0].SetLevel, layouts.Low, layouts.High),
		by("bits[0].on", b[0].On, b[0].SetOn, true, false),
		by("bits[0].wide", b[0].Wide, b[0].SetWide, 0x10123456789, 0x0fedcba9876),
		by("bits[0].whole", b[0].Whole, b[0].SetWhole, 0xabcd, 0x1234),
		by("bits[0].last", b[0].Last, b[0].SetLast, -0x7123456789abcde, 0x7edcba987654321),
		at("bits[0].after", &b[0].After, 0, 0xff),
		at("bits[1].before", &b[1].Before, 0, 0xff),
		by("bits[1].one", b[1].One, b[1].SetOne, 0, 1),
		by("bits[1].number", b[1].Number, b[1].SetNumber, 63, -64),
		by("bits[1].color", b[1].Color, b[1].SetColor, layouts.Red, layouts.Blue),
		by("bits[1].level", b[1].Level, b[1].SetLevel, layouts.High, layouts.Low),
		by("bits[1].on", b[1].On, b[1].SetOn, false, true),
		by("bits[1].wide", b[1].Wide, b[1].SetWide, 0, 0x1ffffffffff),
		by("bits[1].whole", b[1].Whole, b[1].SetWhole, 0, 0xffff),
		by("bits[1].last", b[1].Last, b[1].SetLast, 0, -1),
		at("bits[1].after", &b[1].After, 0xff, 0),
		by("wider.low", s.Bss.Wider.Low, s.Bss.Wider.SetLow, -0x71234, 0x61234),
		by("wider.middle", s.Bss.Wider.Middle, s.Bss.Wider.SetMiddle, -0x7123456789abcdef, 0x7edcba9876543210),
		by("wider.high", s.Bss.Wider.High, s.Bss.Wider.SetHigh, 0xfedcba9876, 0x0123456789),
		at("wider.after", &s.Bss.Wider.After, 0xff, 0),
		at("wires[0].kind", &w[0].Kind, 21, 210),
		by("wires[0].length", w[0].Length, w[0].SetLength, 0x22222222, 0x2a2a2a2a),
		by("wires[0].stamp", w[0].Stamp, w[0].SetStamp, 0x2323232323232323, 0x2b2b2b2b2b2b2b2b),
		by("wires[0].sums[0]", sum(0), setSum(0), -24, 2400),
		by("wires[0].sums[1]", sum(1), setSum(1), 25, -2500),
		by("wires[0].point.x", func() int16 { return point().X }, setX, -26, 2600),
		by("wires[0].point.y", func() int64 { return point().Y }, setY, 27, -2700),
		by("wires[0].inner", w[0].Inner, w[0].SetInner, 0x1abcd, 0x05432),
		at("wires[0].end", &w[0].End, 28, 208),
		at("wires[1].kind", &w[1].Kind, 31, 131),
		by("wires[1].stamp", w[1].Stamp, w[1].SetStamp, 0x3232323232323232, 0x3b3b3b3b3b3b3b3b),
		by("wires[1].inner", w[1].Inner, w[1].SetInner, 0x00001, 0x1fffe),
		at("wires[1].end", &w[1].End, 33, 133),
		at("frame.kind", &s.Bss.Frame.Kind, 34, 134),
		by("frame.wire.length", s.Bss.Frame.Wire.Length, s.Bss.Frame.Wire.SetLength, 0x35353535, 0x3a3a3a3a),
		at("frame.crc", &s.Bss.Frame.Crc, 0x36363636, 0x3c3c3c3c),
		at("lanes[0].count", &s.Bss.Lanes[0].Count, 41, 4100),
		at("lanes[0].flag", &s.Bss.Lanes[0].Flag, 42, 142),
		at("lanes[1].count", &s.Bss.Lanes[1].Count, 43, 4300),
		at("lanes[1].flag", &s.Bss.Lanes[1].Flag, 44, 144),
		at("list.len", &s.Data.List.Len, 2, 3),
		at("list.items[0]", &list[0], 51, 5100),
		at("list.items[2]", &list[2], 52, 5200),
		at("odd.a", &s.Bss.Odd.A, 53, 5300),
		at("odd.b", &s.Bss.Odd.B, 54, 5400),
		at("node.next", &s.Bss.Node.Next, 0xffff888011111111, 0xffff888022222222),
		at("node.sides.right", &s.Bss.Node.Sides.Right, 0xffff888033333333, 0xffff888044444444),
		at("node.id", &s.Bss.Node.Id, 55, 5500),
	}
}

func valueFields(s *values.Skeleton) []field {
	v := s.Bss
	return []field{
		at("flag", &v.Flag, true, false),
		at("letter", &v.Letter, 'c', 'g'),
		at("s8", &v.S8, -1, 101),
		at("u8", &v.U8, 255, 2),
		at("s16", &v.S16, -300, 3000),
		at("u16", &v.U16, 65535, 4),
		at("s32", &v.S32, -500000, 5000000),
		at("u32", &v.U32, 0xffffffff, 6),
		at("s64", &v.S64, -7000000000, 70000000000),
		at("u64", &v.U64, 0xffffffffffffffff, 8),
		at("s128", &v.S128, skeleton.NewInt128(-1, 1<<64-9), skeleton.NewInt128(-10, 11)),
		at("u128", &v.U128, skeleton.NewUint128(12, 13), skeleton.NewUint128(14, 15)),
		at("session", &v.Session, values.SessionIdT(16), 160),
		at("sessions[1]", &v.Sessions[1], values.SessionIdT(17), 170),
		at("name[0]", &v.Name[0], 'c', 'g'),
		at("name[1]", &v.Name[1], 0, 'o'),
		at("name[2]", &v.Name[2], 0, 0),
		at("lines[1][3]", &v.Lines[1][3], 'c', 'g'),
		at("matrix[1][2]", &v.Matrix[1][2], -18, 180),
		at("tiny", &v.Tiny, values.TinyMin, values.TinyMax),
		at("narrow", &v.Narrow, values.NarrowMax, values.NarrowOne),
		at("sign", &v.Sign, values.SignMinus, values.SignPlus),
		at("huge", &v.Huge, values.HugeMax, values.HugeOne),
		at("deep", &v.Deep, values.DeepMin, values.DeepZero),
		at("pointer", &v.Pointer, skeleton.Pointer(0xffff888011111111), 0xffff888022222222),
		at("function", &v.Function, skeleton.Pointer(0xffffffff81000000), 0xffffffff82000000),
		at("buffers[1]", &v.Buffers[1], skeleton.Pointer(0xffff888033333333), 0xffff888044444444),
	}
}

func floatFields(s *floats.Skeleton) []field {
	v := s.Bss
	return []field{
		at("f32", &v.F32, 1.5, -2.5),
		at("f64", &v.F64, 2.5, -3.5),
		at("ratio", &v.Ratio, floats.RatioT(0.25), 0.5),
	}
}

// object is what the skeletons have in common.
type object struct {
	load, close  func() error
	write, check *skeleton.BaseProgram
	fields       []field
}

func openLayouts(t *testing.T) *object {
	s, err := layouts.Open()
	if err != nil {
		t.Fatal(err)
	}
	return &object{s.Load, s.Close, s.Progs.Write.Handle(), s.Progs.Check.Handle(), layoutFields(s)}
}

func openValues(t *testing.T) *object {
	s, err := values.Open()
	if err != nil {
		t.Fatal(err)
	}
	return &object{s.Load, s.Close, s.Progs.Write.Handle(), s.Progs.Check.Handle(), valueFields(s)}
}

func openFloats(t *testing.T) *object {
	s, err := floats.Open()
	if err != nil {
		t.Fatal(err)
	}
	return &object{s.Load, s.Close, s.Progs.Write.Handle(), s.Progs.Check.Handle(), floatFields(s)}
}

func (o *object) mustLoad(t *testing.T) {
	t.Helper()
	bpftest.NeedsBPF(t)
	if err := o.load(); err != nil {
		t.Fatal(err)
	}
}

// run runs a program in the kernel.
func run(t *testing.T, prog *skeleton.BaseProgram) uint32 {
	t.Helper()
	result, _, err := prog.Test(make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// expect runs the program that looks at what Go wrote.
func (o *object) expect(t *testing.T) {
	t.Helper()
	if n := run(t, o.check); n != 0 {
		t.Errorf("C does not see what Go wrote to %s", o.fields[n-1].name)
	}
}

func TestTypes(t *testing.T) {
	for name, open := range map[string]func(*testing.T) *object{"layouts": openLayouts, "values": openValues, "floats": openFloats} {
		open := func(t *testing.T) *object {
			o := open(t)
			t.Cleanup(func() {
				if err := o.close(); err != nil {
					t.Error(err)
				}
			})
			return o
		}
		t.Run(name+"/C to Go", func(t *testing.T) {
			o := open(t)
			o.mustLoad(t)
			run(t, o.write)
			for _, f := range o.fields {
				if got := f.get(); !reflect.DeepEqual(got, f.c) {
					t.Errorf("%s is %v, want %v", f.name, got, f.c)
				}
			}
			if n := run(t, o.check); n == 0 {
				t.Error("C takes its own values for Go's")
			}
		})
		t.Run(name+"/Go to C", func(t *testing.T) {
			o := open(t)
			o.mustLoad(t)
			// What C wrote is all different, so that a setter that does too much shows.
			run(t, o.write)
			for _, f := range o.fields {
				f.set()
			}
			o.expect(t)
			for _, f := range o.fields {
				if got := f.get(); !reflect.DeepEqual(got, f.goes) {
					t.Errorf("%s is %v, want %v", f.name, got, f.goes)
				}
			}
		})
		t.Run(name+"/one at a time", func(t *testing.T) {
			o := open(t)
			o.mustLoad(t)
			run(t, o.write)
			for i, f := range o.fields {
				f.set()
				for j, other := range o.fields {
					want := other.c
					if j <= i {
						want = other.goes
					}
					if got := other.get(); !reflect.DeepEqual(got, want) {
						t.Errorf("after %s was set, %s is %v, want %v", f.name, other.name, got, want)
					}
				}
				if n := int(run(t, o.check)); n != 0 && n <= i+1 {
					t.Errorf("C does not see what Go wrote to %s", o.fields[n-1].name)
				}
			}
		})
		t.Run(name+"/before load", func(t *testing.T) {
			o := open(t)
			for _, f := range o.fields {
				f.set()
			}
			o.mustLoad(t)
			o.expect(t)
		})
	}
}

// What the kernel keeps to itself has a place, and nothing in it to touch.
func TestKernelTypes(t *testing.T) {
	s, err := values.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	guarded := &s.DataGuarded.Guarded
	if guarded.Count != 7 || guarded.Last != 9 {
		t.Errorf("count is %d and last %d, want 7 and 9", guarded.Count, guarded.Last)
	}
	if n := reflect.TypeFor[values.BpfSpinLock]().NumField(); n != 2 {
		t.Errorf("spin lock has %d fields, want 2 blank ones", n)
	}
	if got := unsafe.Sizeof(values.BpfSpinLock{}); got != 4 {
		t.Errorf("spin lock has %d bytes, want 4", got)
	}
	if got := unsafe.Sizeof(values.BpfTimer{}); got != 16 {
		t.Errorf("timer has %d bytes, want 16", got)
	}
}

func TestStrings(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{values.TinyMin.String(), "TINY_MIN"},
		{values.HugeMax.String(), "HUGE_MAX"},
		{values.Deep(-7).String(), "Deep(-7)"},
		{layouts.Blue.String(), "BLUE"},
		{layouts.Color(2).String(), "Color(2)"},
		{skeleton.String([]byte{'g', 'o', 0, 'x'}), "go"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
}

// A value with members that are no fields is made in one expression.
func TestCopies(t *testing.T) {
	e := layouts.Endpoint{Version: 4, Port: 80}.WithV4(0x7f000001).WithFlags(5)
	if e.Version != 4 || e.Port != 80 || *e.AsV4() != 0x7f000001 || e.Flags() != 5 {
		t.Errorf("endpoint is %+v", e)
	}
	b := layouts.Bits{Before: 1}.WithNumber(-64).WithOn(true)
	if b.Before != 1 || b.Number() != -64 || !b.On() || b.One() != 0 {
		t.Errorf("bits are %+v", b)
	}
	if again := b.WithOn(false); again.On() || !b.On() {
		t.Error("the copy is the value")
	}
}
