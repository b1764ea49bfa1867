package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// code returns n instructions, of which those at loads are 64-bit loads and those at
// calls calls.
func code(n int, loads, calls []int) []byte {
	b := bytes.Repeat([]byte{0xb7, 0, 0, 0, 1, 0, 0, 0}, n)
	for _, i := range loads {
		b[InstructionSize*i], b[InstructionSize*(i+1)] = opLoad64, 0
	}
	for _, i := range calls {
		b[InstructionSize*i] = opCall
	}
	return b
}

// full returns an object that has something of everything.
func full() *Object {
	return &Object{
		Name: "all", License: "GPL", KernelVersion: 0x60c01,
		BTF:  []byte("types"),
		Code: code(12, []int{0, 2, 7}, []int{4, 5}),
		Functions: []Function{
			{Name: "first", First: 0, Count: 7, Type: 3, ExceptionCallback: 1},
			{Name: "second", First: 7, Count: 5, ExceptionCallback: NoIndex, Global: true},
		},
		Programs: []Program{{"first", "?xdp", 0}, {"second", "tc", 1}},
		Maps: []Map{
			{Name: "outer", Type: 12, KeySize: 4, ValueSize: 4, MaxEntries: 3, Flags: 4, NUMANode: 1, Extra: 1 << 40, Pinning: 1, KeyType: 1, Inner: 5},
			{Name: ".data", Kind: DataMap, Type: 2, KeySize: 4, ValueSize: 8, MaxEntries: 1, ValueType: 9, Inner: NoIndex, Contents: []byte("contents"), Metadata: true},
			{Name: ".bss", Kind: BssMap, Type: 2, KeySize: 4, ValueSize: 64 << 20, MaxEntries: 1, Inner: NoIndex},
			{Name: ".kconfig", Kind: KconfigMap, Type: 2, KeySize: 4, ValueSize: 16, MaxEntries: 1, Inner: NoIndex},
			{Name: "arena", Type: 33, MaxEntries: 4, Extra: 1 << 44, Inner: NoIndex},
			{Name: "outer.inner", Kind: InnerMap, Type: 2, KeySize: 4, ValueSize: 4, MaxEntries: 1, Inner: NoIndex},
		},
		Externs: []Extern{
			{"bpf_prog_active", KsymVariable, 7, false},
			{"bpf_task_acquire___new", Kfunc, 8, true},
		},
		Kconfig:    []KconfigVar{{"CONFIG_HZ", 0, 4, KconfigInt, true, false}, {"CONFIG_X", 4, 12, KconfigString, false, true}},
		Elements:   []Element{{Map: 0, Key: 1, Target: 2}, {Map: 0, Key: 2, IsProgram: true, Target: 1}},
		StructOps:  []StructOps{{"ops", "?.struct_ops.link", 5, make([]byte, 24), []OpsFunc{{0, 1}, {16, 0}}}, {"none", ".struct_ops", 6, make([]byte, 8), nil}},
		Variables:  []Variable{{"text", 1, 0, 8, 2, true}, {"static", 2, 8, 4, 2, false}, {"list", NoIndex, 8, 8, 3, true}},
		Arena:      Arena{Map: 4, Size: 16, DataSection: 11, Contents: []byte("0123456789abcdef")},
		JumpTables: []JumpTableContents{{1, []uint32{4, 2, 2}}, {0, nil}},
		Relocations: NewTable([]Relocation{
			{0, MapValue, 1, 4}, {2, ExternAddress, 0, 0}, {4, Call, 1, 0}, {5, ExternCall, 1, 0}, {7, JumpTable, 0, 0},
		}),
		CORE:     NewTable([]CORE{{0, 4, 5, 6}, {11, 1, 2, 3}}),
		FuncInfo: NewTable([]FuncInfo{{0, 3}, {7, 4}}),
		LineInfo: NewTable([]LineInfo{{0, 1, 2, 3}, {9, 4, 5, 6}}),
		ELF:      "\x7fELF",
	}
}

func encode(t testing.TB, o *Object) string {
	t.Helper()
	image, err := Encode(o, binary.NativeEndian)
	if err != nil {
		t.Fatal(err)
	}
	return string(image)
}

func TestRoundTrip(t *testing.T) {
	for name, o := range map[string]*Object{"full": full(), "empty": {Name: "x", Arena: Arena{Map: NoIndex}}} {
		t.Run(name, func(t *testing.T) {
			image := encode(t, o)
			got, err := Decode(image)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, o) {
				t.Errorf("got\n%+v\nwant\n%+v", got, o)
			}
			if again := encode(t, o); again != image {
				t.Error("the same object has another image the second time")
			}
			if again := encode(t, got); again != image {
				t.Error("what was decoded has another image")
			}
		})
	}
}

// Zeros take no room, neither in the image nor, where a map has nothing else, in memory.
func TestZeros(t *testing.T) {
	o := full()
	o.Maps[2].Contents = make([]byte, o.Maps[2].ValueSize)
	o.Maps[1].ValueSize = 1 << 20
	o.Maps[1].Contents = make([]byte, 1<<20)
	copy(o.Maps[1].Contents[1000:], "a")
	copy(o.Maps[1].Contents[1<<20-3:], "end")
	o.Arena.Contents = make([]byte, 16)
	image := encode(t, o)
	if len(image) > 2000 {
		t.Errorf("the image has %d bytes", len(image))
	}
	got, err := Decode(image)
	if err != nil {
		t.Fatal(err)
	}
	if got.Maps[2].Contents != nil || got.Arena.Contents != nil {
		t.Error("zeros have contents")
	}
	if !bytes.Equal(got.Maps[1].Contents, o.Maps[1].Contents) {
		t.Error("other contents")
	}
}

func TestCodeZeros(t *testing.T) {
	for _, data := range []string{
		strings.Repeat("\x00", 1000),
		"a" + strings.Repeat("\x00", 1000),
		strings.Repeat("\x00", 1000) + "a",
		"ab\x00c" + strings.Repeat("\x00", minRun) + "b" + strings.Repeat("\x00", minRun-1) + "c" + strings.Repeat("\x00", 999),
	} {
		zeros, ok := codeZeros([]byte(data))
		got, good := decodeZeros(zeros, len(data))
		if !ok || !good || string(got) != data || len(zeros) > len(data)/2 {
			t.Errorf("%q is %q (%v), and then %q (%v)", data, zeros, ok, got, good)
		}
	}
	if zeros, ok := codeZeros([]byte(strings.Repeat("plain\x00text", 100))); ok {
		t.Errorf("text is coded as %q", zeros)
	}
}

func TestOrder(t *testing.T) {
	other := binary.ByteOrder(binary.BigEndian)
	if orderByte(binary.NativeEndian) == bigEndian {
		other = binary.LittleEndian
	}
	image, err := Encode(full(), other)
	if err != nil {
		t.Fatal(err)
	}
	if len(image) != len(encode(t, full())) {
		t.Error("another length in the other byte order")
	}
	if _, err := Decode(string(image)); err == nil || !strings.Contains(err.Error(), "other byte order: compile it for the target platform") {
		t.Errorf("Decode says %v", err)
	}
	if got := other.Uint32(image[lengthAt:]); int(got) != len(image) {
		t.Errorf("the length is %d", got)
	}
}

// Every byte of an image counts.
func TestDamaged(t *testing.T) {
	image := encode(t, full())
	for i := range len(image) {
		b := []byte(image)
		b[i] ^= 0x55
		if _, err := Decode(string(b)); err == nil {
			t.Errorf("byte %d can be changed", i)
		} else if i != orderAt && i != versionAt && i != versionAt+1 && !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := Decode(image[:i]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

// withPart returns an image that has one more part.
func withPart(t *testing.T, id partID, flags uint32) string {
	e := encoder{coder: coder{order: binary.NativeEndian, write: true, interned: map[string]uint32{}}}
	records(&e, objectPart, []Object{{Arena: Arena{Map: NoIndex}}}, (*Object).fields)
	e.part(id, flags, []byte("something"))
	image, err := e.image()
	if err != nil {
		t.Fatal(err)
	}
	return string(image)
}

func TestUnknownParts(t *testing.T) {
	if _, err := Decode(withPart(t, numParts+5, optional)); err != nil {
		t.Errorf("an optional part: %v", err)
	}
	for name, image := range map[string]string{
		"part": withPart(t, numParts+5, 0),
		"flag": withPart(t, btfPart, 1<<9),
	} {
		if _, err := Decode(image); err == nil || !strings.Contains(err.Error(), "update the runtime") {
			t.Errorf("an unknown %s: %v", name, err)
		}
	}
	image := []byte(encode(t, full()))
	binary.NativeEndian.PutUint16(image[versionAt:], Version+1)
	if _, err := Decode(string(image)); err == nil || !strings.Contains(err.Error(), "version 2 of its format, and this runtime reads version 1") {
		t.Errorf("another version: %v", err)
	}
}

// What refers to something that is missing is found when it is read, and when it is
// written.
func TestCheck(t *testing.T) {
	relocation := func(r Relocation) func(*Object) {
		return func(o *Object) { o.Relocations = NewTable([]Relocation{r}) }
	}
	for want, damage := range map[string]func(*Object){
		`a part of an instruction`:                            func(o *Object) { o.Code = o.Code[:9] },
		`function "second" has no code of its own`:            func(o *Object) { o.Functions[1].First = 6 },
		`function "first" has no code of its own`:             func(o *Object) { o.Functions[0].Count = 0 },
		`function "second" has no code`:                       func(o *Object) { o.Functions[1].Count = 6 },
		`exception callback that is missing`:                  func(o *Object) { o.Functions[0].ExceptionCallback = 2 },
		`program "second" has no function`:                    func(o *Object) { o.Programs[1].Function = 2 },
		`map ".bss" is of a kind`:                             func(o *Object) { o.Maps[2].Kind = InnerMap + 1 },
		`map ".bss" is of a kind that is not`:                 func(o *Object) { o.Maps[1].Kind = InnerMap },
		`map ".data" has 8 bytes of contents`:                 func(o *Object) { o.Maps[1].ValueSize = 9 },
		`map "outer" has a definition`:                        func(o *Object) { o.Maps[0].Inner = 6 },
		`map "outer" has a definition of inner`:               func(o *Object) { o.Maps[0].Inner = 0 },
		`map "outer.inner" has a definition`:                  func(o *Object) { o.Maps[5].Inner = 5 },
		`several maps of Kconfig`:                             func(o *Object) { o.Maps[2].Kind = KconfigMap },
		`variable "CONFIG_X" of .kconfig is not in its map`:   func(o *Object) { o.Kconfig[1].Size = 13 },
		`variable "CONFIG_HZ" of .kconfig has a kind`:         func(o *Object) { o.Kconfig[0].Kind = 0 },
		`variable "CONFIG_HZ" of .kconfig has a kind that`:    func(o *Object) { o.Kconfig[0].Size = 9 },
		`element 0 of maps`:                                   func(o *Object) { o.Elements[0].Map = 5 },
		`element 1 of maps`:                                   func(o *Object) { o.Elements[1].Target = 2 },
		`struct_ops map "ops" has a member`:                   func(o *Object) { o.StructOps[0].Funcs[1].Offset = 17 },
		`struct_ops map "ops" has a member that`:              func(o *Object) { o.StructOps[0].Funcs[1].Offset = 4 },
		`struct_ops map "ops" has a member that is`:           func(o *Object) { o.StructOps[0].Funcs[0].Program = 2 },
		`the arena has`:                                       func(o *Object) { o.Arena.Map = 5 },
		`the arena has a map`:                                 func(o *Object) { o.Arena.Size = 15 },
		`variable "text" has no map`:                          func(o *Object) { o.Variables[0].Map = 0 },
		`variable "text" is not in`:                           func(o *Object) { o.Variables[0].Offset = 1 },
		`variable "list" is not in its section`:               func(o *Object) { o.Variables[2].Offset = 16 },
		`variable "list" has no map`:                          func(o *Object) { o.Arena, o.Variables[2].Offset, o.Variables[2].Size = Arena{Map: NoIndex}, 0, 0 },
		`extern "bpf_prog_active"`:                            func(o *Object) { o.Externs[0].Kind = Kfunc + 1 },
		`jump table 0 has no function`:                        func(o *Object) { o.JumpTables[0].Function = 2 },
		`jump table 0 has a target`:                           func(o *Object) { o.JumpTables[0].Instructions[1] = 5 },
		`relocation 0 refers to something`:                    relocation(Relocation{0, MapFD, 5, 0}),
		`relocation 0 refers to something that`:               relocation(Relocation{4, Call, 2, 0}),
		`relocation 0 refers to something that is`:            relocation(Relocation{0, JumpTable + 1, 0, 0}),
		`relocation 0 is not on an instruction`:               relocation(Relocation{12, MapFD, 0, 0}),
		`relocation 0 is not on an instruction that`:          relocation(Relocation{4, MapFD, 0, 0}),
		`relocation 0 is not on an instruction that it`:       relocation(Relocation{0, ExternCall, 0, 0}),
		`relocation 0 is not on an instruction that it c`:     func(o *Object) { o.Functions[0].Count = 1 },
		`relocation 1 is not on an instruction`:               func(o *Object) { o.Relocations = NewTable([]Relocation{{0, MapFD, 0, 0}, {0, MapFD, 0, 0}}) },
		`CO-RE relocation 1 is not on an instruction`:         func(o *Object) { o.CORE = NewTable([]CORE{{Instruction: 4}, {Instruction: 3}}) },
		`CO-RE relocation 0 is not on an instruction`:         func(o *Object) { o.CORE = NewTable([]CORE{{Instruction: 12}}) },
		`line 0 is not on an instruction`:                     func(o *Object) { o.LineInfo = NewTable([]LineInfo{{Instruction: 1 << 31}}) },
		`function 0 is not on an instruction of a function, `: func(o *Object) { o.FuncInfo = NewTable([]FuncInfo{{Instruction: 12}}) },
		`relocation 0 refers to an arena`: func(o *Object) {
			o.Arena, o.Variables = Arena{Map: NoIndex}, nil
			o.Relocations = NewTable([]Relocation{{0, ArenaValue, 0, 0}})
		},
	} {
		o := full()
		damage(o)
		if _, err := Encode(o, binary.NativeEndian); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Encode says %v", want, err)
		}
	}
}

// rightSums makes the checksums of an image right, so that what comes after them is
// fuzzed.
func rightSums(image []byte) bool {
	if len(image) < headerSize {
		return false
	}
	copy(image, magic)
	order := binary.NativeEndian
	order.PutUint16(image[versionAt:], Version)
	image[orderAt] = orderByte(order)
	order.PutUint32(image[lengthAt:], uint32(len(image)))
	n := order.Uint32(image[countAt:])
	if uint64(n) > uint64(len(image)-headerSize)/partSize {
		return false
	}
	for at := headerSize; at < headerSize+partSize*int(n); at += partSize {
		offset, length := uint64(order.Uint32(image[at+8:])), uint64(order.Uint32(image[at+12:]))
		if offset+length > uint64(len(image)) || order.Uint32(image[at+16:]) > 1<<20 {
			return false
		}
		order.PutUint32(image[at+20:], checksum(image[offset:offset+length]))
	}
	order.PutUint32(image[checksumAt:], headerChecksum(image, int(n)))
	return true
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(encode(f, full())))
	small := full()
	small.Maps[1].ValueSize, small.Maps[1].Contents = 4096, append(make([]byte, 4095), 1)
	small.ELF, small.LineInfo = "", Table[LineInfo]{}
	f.Add([]byte(encode(f, small)))
	f.Add([]byte(encode(f, &Object{Arena: Arena{Map: NoIndex}})))
	f.Fuzz(func(t *testing.T, image []byte) {
		if _, err := Decode(string(image)); err == nil {
			return
		}
		if !rightSums(image) {
			return
		}
		o, err := Decode(string(image))
		if err != nil {
			return
		}
		again, err := Encode(o, binary.NativeEndian)
		if err != nil {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
		got, err := Decode(string(again))
		if err != nil || !reflect.DeepEqual(got, withoutZeros(o)) {
			t.Fatalf("what was decoded is another object after encoding it: %v", err)
		}
	})
}

// large has about what the kernel's larger selftests have.
func large() *Object {
	const programs, maps, variables, instructions = 200, 60, 1000, 60
	o := &Object{Name: "large", License: "GPL", BTF: make([]byte, 100_000), Arena: Arena{Map: NoIndex}}
	o.Code = code(programs*instructions, nil, nil)
	var relocations []Relocation
	var lines []LineInfo
	for i := range uint32(programs) {
		o.Functions = append(o.Functions, Function{Name: strings.Repeat("f", int(i)/10+1), First: i * instructions, Count: instructions, ExceptionCallback: NoIndex})
		o.Programs = append(o.Programs, Program{o.Functions[i].Name, "tracepoint/syscalls/sys_enter", i})
		for j := uint32(0); j < instructions; j += 6 {
			o.Code[InstructionSize*(i*instructions+j)] = opLoad64
			relocations = append(relocations, Relocation{i*instructions + j, MapFD, j, 0})
			lines = append(lines, LineInfo{i*instructions + j, 1, 2, 3}, LineInfo{i*instructions + j + 3, 1, 2, 3})
		}
	}
	for range maps {
		o.Maps = append(o.Maps, Map{Name: "data", Kind: DataMap, Type: 2, ValueSize: 64, Inner: NoIndex, Contents: bytes.Repeat([]byte("8 bytes."), 8)})
	}
	for i := range uint32(variables) {
		o.Variables = append(o.Variables, Variable{strings.Repeat("v", int(i)/30+1), i % maps, 8, 4, i, true})
	}
	o.Relocations, o.LineInfo = NewTable(relocations), NewTable(lines)
	return o
}

func TestAllocations(t *testing.T) {
	image := encode(t, large())
	if n := testing.AllocsPerRun(10, func() {
		if _, err := Decode(image); err != nil {
			t.Fatal(err)
		}
	}); n > 10 {
		t.Errorf("Decode allocates %v times", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	image := encode(b, large())
	b.SetBytes(int64(len(image)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(image); err != nil {
			b.Fatal(err)
		}
	}
}
